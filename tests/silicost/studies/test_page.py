"""From the folder of a study to its page: levels, spreads, ratios, shares, cells and words, against brute force."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.study import Best, Factor, Gain, Ratio, Reason, StudyCard, measure_of
from silicost.scenarios import inference_scenario
from silicost.studies import page as study_page
from silicost.studies import page_points as study_points
from silicost.studies.page import card_of, write_study_page
from silicost.studies.page_effects import groups_of, heat_of, ratios_of, shares_of, spreads_of
from silicost.studies.page_points import levels_of, numbers_of, read_rows, value_of, words_of
from silicost.studies.page_words import answer_of, price_words
from silicost.studies.study import Study, study_of
from silicost.studies.summary import Summary, summarise
from silicost.studies.work import prepare_study
from simulator.explore.executors import InProcess, run_parts
from simulator.explore.reading import Study as Stored
from simulator.explore.reading import open_study
from simulator.explore.space import Axis, Range
from simulator.explore.store import open_store
from simulator.simulate import simulate

SCENARIO = {"model": "llama-3.1-8b", "isl": 512, "osl": 64}
AXES = {
    "device.memory.bandwidth": "1x,2x,4x", "device": ["h100-sxm-80gb", "l40s", "rtx-4090"], "batch": "1:256:*4",
    "weight_dtype": ["bf16", "int4"],
}  # fmt: skip
METRICS = ["tpot_s", "output_tokens_per_s", "usd_per_million_output_tokens", "memory_bytes"]
Ran = tuple[Study, Stored, Summary]
Run = Callable[..., Ran]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``run(axes=...)``: a study that was answered, its folder, what it found."""

    def answered(part: int = 50, **tables: Any) -> Ran:
        table = {"title": "A study", "question": "Which?", "metrics": METRICS, "scenario": SCENARIO, "axes": AXES}
        asked = study_of({**table, **tables}, "s", Path())
        prepared, folder = prepare_study(asked, (), part), tmp_path_factory.mktemp("study")
        with open_store(folder, prepared.definition, lambda _: None) as writer:
            run_parts(writer, InProcess(), prepared.work)
        stored = open_study(folder)
        return asked, stored, summarise(stored, asked.metrics, asked.objectives)

    return answered


@pytest.fixture(scope="session")
def ran(run: Run) -> Ran:
    return run(constraints=["tpot_s <= 40 ms"])


@pytest.fixture(scope="session")
def card(ran: Ran) -> StudyCard:
    return card_of(*ran, "silicost sweep it")


@pytest.fixture(scope="session")
def frame(ran: Ran) -> pd.DataFrame:
    found = ran[1].to_pandas()
    for name in ("device", "weight_dtype", "device.memory.bandwidth", "reason"):
        found[name] = found[name].astype(str)
    return found


def test_factors_are_the_axes_in_their_order(card: StudyCard) -> None:
    assert [factor.name for factor in card.factors] == list(AXES)
    assert card.factors[0].levels == ("1x", "2x", "4x")
    assert card.factors[0].places == (1.0, 2.0, 4.0)
    assert card.factors[1].places == ()
    assert card.factors[2].places == (1.0, 4.0, 16.0, 64.0, 256.0)
    assert (card.rows, card.feasible) == (90, card.rows - sum(reason.points for reason in card.reasons))
    assert {reason.code for reason in card.reasons} == {"memory", "tpot_s"}


def test_spreads_are_quantiles_of_feasible_points(card: StudyCard, frame: pd.DataFrame) -> None:
    for factor, spreads in zip(card.factors, card.spreads, strict=True):
        for measure, levels in zip(card.metrics, spreads, strict=True):
            for level, spread in zip(factor.levels, levels, strict=True):
                here = frame[frame[factor.name].astype(str) == level]
                values = here.loc[here["feasible"], measure.name].dropna()
                assert (spread.asked, spread.feasible) == (len(here), int(here["feasible"].sum()))
                if len(values):
                    expected = np.quantile(values, [0.1, 0.5, 0.9])
                    np.testing.assert_allclose([spread.low, spread.median, spread.high], expected, rtol=1e-12)
                else:
                    assert math.isnan(spread.median)


def test_ratios_compare_points_that_differ_in_nothing_else(card: StudyCard, frame: pd.DataFrame) -> None:
    good = frame[frame["feasible"]]
    others = ["device", "batch", "weight_dtype"]
    assert [gain.level for gain in card.gains] == ["1x", "2x", "4x"]
    for gain in card.gains:
        pairs = good[good["device.memory.bandwidth"] == gain.level].merge(
            good[good["device.memory.bandwidth"] == "1x"], on=others, suffixes=("", "_first")
        )
        for measure, ratio in zip(card.metrics, gain.ratios, strict=True):
            expected = pairs[measure.name] / pairs[f"{measure.name}_first"]
            assert ratio.pairs == len(expected)
            np.testing.assert_allclose(ratio.median, expected.median(), rtol=1e-12)
            np.testing.assert_allclose([ratio.low, ratio.high], np.quantile(expected, [0.1, 0.9]), rtol=1e-12)
    assert card.gains[2].ratios[0].median < card.gains[1].ratios[0].median < 1.0


def test_the_best_at_each_level_is_the_best_of_the_table(card: StudyCard, frame: pd.DataFrame) -> None:
    for gain in card.gains:
        here = frame[frame["feasible"] & (frame["device.memory.bandwidth"] == gain.level)]
        row = here.sort_values("tpot_s").iloc[0]
        assert gain.best is not None
        assert gain.best.value == row["tpot_s"]
        assert dict(gain.best.configuration)["device"] == row["device"]


def test_best_points_have_the_intervals_of_simulate(card: StudyCard) -> None:
    assert card.best[0] is not None
    has = dict(card.best[0].configuration)
    result = simulate(
        inference_scenario(
            "llama-3.1-8b", has["device"], batch=int(has["batch"]), isl=512, osl=64, weight_dtype=has["weight_dtype"],
            changes={"device.memory.bandwidth": has["device.memory.bandwidth"]},
        )
    )  # fmt: skip
    interval = result.intervals["tpot_s"]
    assert (card.best[0].low, card.best[0].high) == (interval.p10, interval.p90)
    assert card.best[0].low < card.best[0].value < card.best[0].high
    assert card.best[3] is not None
    assert math.isnan(card.best[3].low)


def test_the_map_is_over_the_two_factors_with_the_largest_shares(card: StudyCard, frame: pd.DataFrame) -> None:
    heat = card.heat
    assert heat is not None
    largest = sorted(range(4), key=lambda k: -card.shares[0].of[k])[:2]
    assert {heat.rows, heat.columns} == set(largest)
    rows, columns = card.factors[heat.rows], card.factors[heat.columns]
    for (i, row), (j, column) in itertools.product(enumerate(rows.levels), enumerate(columns.levels)):
        here = frame[(frame[rows.name].astype(str) == row) & (frame[columns.name].astype(str) == column)]
        values = here.loc[here["feasible"], "tpot_s"]
        cell = heat.cells[i][j]
        assert (cell.asked, cell.feasible) == (len(here), len(values))
        assert cell.median == pytest.approx(values.median()) if len(values) else math.isnan(cell.median)


def test_every_feasible_point_is_in_the_cloud_with_what_it_has(card: StudyCard, frame: pd.DataFrame) -> None:
    cloud = card.cloud
    assert cloud is not None
    assert cloud.points == len(cloud.x_values) == card.feasible
    assert cloud.objectives == ("tpot_s:lower", "output_tokens_per_s:higher")
    good = frame[frame["feasible"]]
    np.testing.assert_array_equal(cloud.x_values, good["tpot_s"])
    for k, name in enumerate(cloud.names):
        said = [cloud.labels[k][code] for code in cloud.codes[:, k]]
        assert said == [words_of(value) for value in good[name]]
    assert cloud.coloured_by in ("device", "weight_dtype")
    colours = [cloud.legend[k] for k in cloud.colours]
    assert colours == list(good[cloud.coloured_by])
    assert len(cloud.front) == len({(point.x, point.y) for point in cloud.front})


def test_few_colours_go_to_the_alternatives_with_the_best_points(run: Run) -> None:
    devices = ["l4", "a10g", "a100-sxm-80gb", "h100-sxm-80gb", "h200-sxm-141gb", "b200-sxm", "mi300x", "t4"]
    card = card_of(*run(axes={"batch": [1, 4], "device": devices}, scenario=SCENARIO))
    assert card.cloud is not None
    assert len(card.cloud.legend) == 6
    assert not {"l4", "t4"} & set(card.cloud.legend)
    assert int((card.cloud.colours < 0).sum()) == 2 * 2 - sum(reason.points for reason in card.reasons)


def test_the_answer_names_the_best_and_what_the_first_axis_does(card: StudyCard) -> None:
    best = card.best[0]
    assert best is not None
    assert card.answer.startswith(f"The lowest time per output token is {card.metrics[0].text(best.value)}, with ")
    assert "like for like, device.memory.bandwidth 4x has 0." in card.answer
    assert f"median of {card.gains[2].ratios[0].pairs} pairs of points that differ in nothing else" in card.answer
    assert card.answer.endswith(".")


TPOT, RATE = measure_of("tpot_s", "lower"), measure_of("mfu_decode", "higher")
NAN = math.nan


@pytest.mark.parametrize(
    ("best", "ratios", "places", "said"),
    [
        (
            1,
            (0.5, 0.4),
            (1.0, 2.0, 4.0),
            "tp 2 has 0.500× that of 1 (median of 9 pairs of points that differ in nothing else)",
        ),
        (2, (0.5, 1.2), (), "tp 4 has 1.20× that of 1"),
        (0, (1.1, 1.3), (1.0, 2.0, 4.0), "tp 4 has 1.30× that of 1"),
        (0, (1.1, 1.3), (), "tp 2 has 1.10× that of 1"),
        (2, (1.1, NAN), (), "tp 2 has 1.10× that of 1"),
        (0, (NAN, NAN), (), "is 10.0 ms, with tp 2."),
    ],
)
def test_answers_compare_the_level_of_the_best(
    best: int, ratios: Sequence[float], places: tuple[float, ...], said: str
) -> None:
    levels = ("1", "2", "4")
    gains = [
        Gain(level, Best(0.01 + abs(k - best), ()), (Ratio(0 if math.isnan(ratio) else 9, ratio, ratio, ratio),))
        for k, (level, ratio) in enumerate(zip(levels, (1.0, *ratios), strict=True))
    ]
    answer = answer_of([TPOT], [Best(0.01, (("tp", "2"),))], gains, [Factor("tp", levels, places)], [])
    assert said in answer
    assert ("like for like" in answer) == ("has" in said)
    rate = answer_of([RATE], [Best(0.01, (("tp", "2"),))], gains, [Factor("tp", levels, places)], [])
    assert rate.startswith("The highest MFU of the decode is 1.00 %, with tp 2")


def test_a_pair_is_two_points() -> None:
    gains = [Gain("1", None, (Ratio(1, 1.0, 1.0, 1.0),)), Gain("2", None, (Ratio(1, 0.5, 0.5, 0.5),))]
    answer = answer_of([TPOT], [Best(0.01, ())], gains, [Factor("tp", ("1", "2"))], [])
    assert "(two points that differ in nothing else)" in answer


def test_without_a_feasible_point_the_answer_says_why(run: Run, tmp_path: Path) -> None:
    asked, stored, found = run(axes={"batch": [1, 2]}, scenario={**SCENARIO, "model": "llama-3.1-70b", "device": "l4"})
    card = card_of(asked, stored, found)
    assert card.answer == "No point is feasible: most of them because of memory (does not fit the memory)."
    assert card.best == (None,) * 4
    write_study_page(tmp_path / "page.html", asked, stored, found)
    text = (tmp_path / "page.html").read_text()
    assert "Why points are infeasible</h2>" in text
    assert "Pareto front</h2>" not in text
    assert answer_of([TPOT], [None], [], [], []) == "No point has an answer."


def test_linked_axes_are_one_factor(run: Run) -> None:
    card = card_of(
        *run(
            axes={"batch": [1, 4]},
            linked=[
                {"tp": [1, 2, 4], "count": [1, 2, 4]},
                {"device": ["l40s", "h100-sxm-80gb"], "dtype": ["bf16", "fp8"]},
            ],
        )
    )
    assert [factor.name for factor in card.factors] == ["batch", "tp, count", "device, dtype"]
    assert card.factors[1].levels == ("1, 1", "2, 2", "4, 4")
    assert card.factors[1].places == (1.0, 2.0, 4.0)
    assert card.factors[2].levels == ("l40s, bf16", "h100-sxm-80gb, fp8")
    assert card.factors[2].places == ()


def test_an_axis_with_one_value_is_no_factor(run: Run) -> None:
    card = card_of(*run(axes={"batch": [4], "device": ["l40s", "h100-sxm-80gb"]}))
    assert [factor.name for factor in card.factors] == ["device"]
    assert card.heat is None
    assert card.best[0] is not None
    assert dict(card.best[0].configuration)["batch"] == "4"


def test_one_metric_has_no_front(run: Run) -> None:
    card = card_of(*run(axes={"batch": [1, 4], "device": ["l40s", "h100-sxm-80gb"]}, metrics=["tpot_s"]))
    assert card.cloud is None
    assert len(card.gains) == 2


def test_a_metric_without_values_is_said_and_not_drawn(run: Run) -> None:
    card = card_of(*run(axes={"batch": [1, 4]}, scenario={**SCENARIO, "device": "ipu-mk2", "model": "qwen2-0.5b"}))
    assert card.best[2] is None
    assert math.isnan(card.shares[2].of[0])
    assert ("ipu-mk2", "none known") in next(group for group in card.asked if group.name == "prices").rows


def test_samples_are_in_ranges_and_have_no_pairs(run: Run) -> None:
    card = card_of(
        *run(
            axes={
                "device.memory.bandwidth": {"low": "1x", "high": "4x", "log": True},
                "batch": {"low": 1, "high": 64, "log": True}, "device": ["l40s", "h100-sxm-80gb"],
            },
            sample={"kind": "sobol", "n": 128, "seed": 3},
        )
    )  # fmt: skip
    bandwidth, batch, _ = card.factors
    assert bandwidth.binned
    assert len(bandwidth.levels) == 16
    assert bandwidth.places == tuple(sorted(bandwidth.places))
    assert all(level.endswith("x") for level in bandwidth.levels)
    assert {spread.asked for spread in card.spreads[0][0]} == {8}
    assert batch.levels[0].startswith("1")
    assert card.gains == ()
    assert ("sample", "sobol, 128 points, seed 3") in next(g for g in card.asked if g.name == "points").rows
    assert card.best[0] is not None
    assert card.best[0].low < card.best[0].value < card.best[0].high


def test_what_was_asked_and_what_it_rests_on(card: StudyCard, ran: Ran) -> None:
    asked = {group.name: dict(group.rows) for group in card.asked}
    assert asked["all points share"] == {"model": "llama-3.1-8b", "isl": "512", "osl": "64"}
    assert asked["axes"]["batch"] == "1, 4, 16, 64, 256"
    assert asked["points"] == {"sample": "grid", "constraint": "tpot_s <= 0.04", "answered by": "closed form"}
    assert asked["prices"]["h100-sxm-80gb"] == price_words("h100-sxm-80gb")
    assert "USD/h, runpod on-demand" in asked["prices"]["h100-sxm-80gb"]
    rests = {group.name: dict(group.rows) for group in card.provenance}
    assert rests["run"]["command"] == "silicost sweep it"
    assert rests["run"]["points"] == "90 of 90 in 2 parts"
    assert rests["versions"]["numpy"] == np.__version__
    facts = rests["what the numbers depend on"]
    assert facts["laws"] == card.laws_hash == ran[1].manifest.definition.facts["laws"]
    assert facts["specs and questions"] == ran[1].manifest.definition.evaluator
    assert facts["calibrations"] == "those that come with silicost"


@pytest.mark.parametrize(
    ("device", "said"),
    [("h100-sxm-80gb", "3.99 USD/h, runpod on-demand"), ("wse-3", "2500000 USD to buy, over three years"),
     ("ipu-mk2", "none known"), ("no-such", "not known")],
)  # fmt: skip
def test_prices_say_whose_they_are(device: str, said: str) -> None:
    assert said in price_words(device)


def test_the_same_study_gives_the_same_bytes(ran: Ran, tmp_path: Path) -> None:
    pages = []
    for name in ("one", "two"):
        write_study_page(tmp_path / name, *ran, command="silicost sweep it")
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]
    assert len(pages[0]) < 2_000_000


def test_texts_of_people_are_only_text(run: Run, tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>\u202e"
    ran = run(axes={"batch": [1, 4]}, title=bad, question=bad, scenario={**SCENARIO, "device": "l40s"})
    write_study_page(tmp_path / "page.html", *ran, command=bad)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert text.count("&lt;script&gt;alert(1)") >= 3


def test_too_many_points_are_counted_and_the_rest_is_of_a_sample(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_page, "MOST_DRAWN", 10)
    monkeypatch.setattr(study_points, "MOST_KEPT", 45)
    monkeypatch.setattr(study_page, "MOST_KEPT", 45)
    card = card_of(*ran)
    assert card.cloud is not None
    assert len(card.cloud.x_values) == 0
    assert card.cloud.points == card.feasible
    assert 20 < sum(spread.asked for spread in card.spreads[0][0]) < 70
    assert card.sample.startswith("From ")
    assert "of the 90 points, drawn at random (seed 0)" in card.sample
    whole = card_of(*ran, "")
    assert card.sample == whole.sample


def test_cells_hold_the_points_that_are_counted_in_them(ran: Ran, frame: pd.DataFrame) -> None:
    kept = read_rows(ran[1], ["tpot_s"], ["tpot_s", "output_tokens_per_s"])
    good = frame[frame["feasible"]]
    assert sum(each.points for each in kept.bins) == len(good)
    for each in kept.bins:
        x, y = good["tpot_s"], good["output_tokens_per_s"]
        inside = (x >= each.x_low * 0.9999) & (x < each.x_high * 1.0001)
        inside &= (y >= each.y_low * 0.9999) & (y < each.y_high * 1.0001)
        assert int(inside.sum()) >= each.points
    assert len({(each.x_low, each.y_low) for each in kept.bins}) == len(kept.bins)


def test_points_without_a_place_are_counted() -> None:
    cells = study_points._Cells(("a", "b"))
    import pyarrow as pa

    batch = pa.record_batch(
        {"a": [1.0, 0.0, None, 1e-200, 3.0], "b": [1.0, 1.0, 1.0, 1e200, 2.0], "feasible": [True] * 4 + [False]}
    )
    cells.add(batch)
    assert cells.off == 2
    assert sum(each.points for each in cells.bins()) == 2
    assert study_points._Cells(("a", "b")).bins() == ()


codes_of = st.lists(st.integers(0, 3), min_size=1, max_size=40)


@given(codes_of, st.randoms(use_true_random=False))
def test_spreads_agree_with_numpy(codes: list[int], draw: Any) -> None:
    values = np.array([draw.choice([NAN, draw.uniform(0.1, 9.0)]) for _ in codes])
    feasible = np.array([draw.random() < 0.7 for _ in codes])
    found = spreads_of(np.array(codes), 4, values, feasible)
    for level, spread in enumerate(found):
        here = np.array(codes) == level
        own = values[here & feasible & np.isfinite(values)]
        assert (spread.asked, spread.feasible) == (int(here.sum()), int((here & feasible).sum()))
        if len(own):
            np.testing.assert_allclose(
                [spread.low, spread.median, spread.high], np.quantile(own, [0.1, 0.5, 0.9]), rtol=1e-12
            )
        else:
            assert math.isnan(spread.low)


def grid_of(*sizes: int) -> list[np.ndarray[Any, Any]]:
    return [each.ravel() for each in np.meshgrid(*map(np.arange, sizes), indexing="ij")]


def test_shares_of_a_product_add_up_to_one() -> None:
    """log y = a(x1) + b(x2): no interaction, so that main effects explain all, in proportion to their variances."""
    one, two, idle = grid_of(4, 5, 3)
    values = np.exp(2.0 * one + 0.5 * two)
    shares = shares_of([one, two, idle], values, np.ones(60, bool), False)
    variances = np.array([4.0 * 15.0 / 12.0, 0.25 * 24.0 / 12.0, 0.0])
    np.testing.assert_allclose(np.array(shares.of), variances / variances.sum(), atol=1e-12)
    assert shares.points == 60
    assert shares.of[2] == 0.0


def test_what_only_axes_together_explain_has_no_share() -> None:
    one, two = grid_of(2, 2)
    shares = shares_of([one, two], np.exp(np.where(one == two, 1.0, -1.0)), np.ones(4, bool), False)
    np.testing.assert_allclose(np.array(shares.of), [0.0, 0.0], atol=1e-12)


def test_chance_has_no_share_in_samples() -> None:
    draw = np.random.default_rng(5)
    codes = draw.integers(0, 20, 100)
    values = np.exp(draw.normal(size=100))
    by_chance = shares_of([codes], values, np.ones(100, bool), False).of[0]
    corrected = shares_of([codes], values, np.ones(100, bool), True).of[0]
    assert by_chance > 0.1
    assert corrected < 0.5 * by_chance


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], [NAN, 2.0, -1.0]])
def test_what_does_not_vary_has_no_shares(values: list[float]) -> None:
    shares = shares_of([np.array([0, 1, 0])], np.array(values), np.ones(3, bool), False)
    assert math.isnan(shares.of[0])


def test_ratios_skip_points_without_a_partner() -> None:
    first, other = grid_of(2, 3)
    values = np.array([1.0, 2.0, 4.0, 3.0, 8.0, NAN])
    feasible = np.array([True, True, True, True, True, True])
    (alone,), (pairs,) = ratios_of(first, 2, [other], [values], feasible)
    assert (alone.pairs, alone.median) == (3, 1.0)
    assert (pairs.pairs, pairs.low < pairs.median < pairs.high, pairs.median) == (2, True, 3.5)
    feasible[1] = False
    assert ratios_of(first, 2, [other], [values], feasible)[1][0].pairs == 1
    assert ratios_of(first, 2, [other], [values], np.zeros(6, bool))[1][0].pairs == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=30))
def test_groups_are_equal_where_all_is_equal(rows: list[tuple[int, int]]) -> None:
    columns = [np.array([row[k] for row in rows], np.int64) for k in (0, 1)]
    groups = groups_of(columns, len(rows))
    for (i, one), (j, other) in itertools.combinations(enumerate(rows), 2):
        assert (groups[i] == groups[j]) == (one == other)
    assert sorted(set(groups.tolist())) == list(range(len(set(rows))))


def test_heat_is_by_rows_and_columns() -> None:
    one, two = grid_of(2, 3)
    heat = heat_of((1, 0), [one, two], [2, 3], np.arange(1.0, 7.0), np.ones(6, bool))
    assert [[cell.median for cell in row] for row in heat.cells] == [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([1, 2, 4.0], (1.0, 2.0, 4.0)),
        (["1x", "2x"], (1.0, 2.0)),
        (["1 GB/s", "3 TB/s"], (1e9, 3e12)),
        (["2 USD/h", "4 USD/h"], (2 / 3600, 4 / 3600)),
        (["1x", "3 TB/s"], ()),
        (["1x", 2], ()),
        (["bf16", "fp8"], ()),
        ([True, False], ()),
        ([1, "auto"], ()),
    ],
)
def test_numbers_and_quantities_of_one_kind_have_places(values: list[Any], places: tuple[float, ...]) -> None:
    assert numbers_of(Axis(("x",), tuple((value,) for value in values))) == pytest.approx(places)


def test_linked_numbers_lie_where_the_first_that_tells_them_apart_lies() -> None:
    axis = Axis(("pp", "tp"), ((1, 1), (1, 2), (2, 4)))
    assert numbers_of(axis) == (1.0, 2.0, 4.0)
    assert numbers_of(Axis(("a", "b"), ((1, 1), (1, 2), (2, 1)))) == ()


def test_levels_follow_the_study_whatever_the_table_holds() -> None:
    devices = pd.Categorical(["b", "a", "b"], categories=["a", "zz", "b"])
    frame = pd.DataFrame({"device": devices, "batch": [4, 1, 4]})
    device, codes = levels_of(Axis(("device",), (("b",), ("c",), ("a",))), frame)
    assert device.levels == ("b", "a")
    assert codes.tolist() == [0, 1, 0]
    batch, codes = levels_of(Axis(("batch",), ((1,), (2,), (4,))), frame)
    assert (batch.levels, batch.places, codes.tolist()) == (("1", "4"), (1.0, 4.0), [1, 0, 1])
    both, codes = levels_of(Axis(("batch", "device"), ((1, "a"), (4, "b"))), frame)
    assert (both.levels, codes.tolist()) == (("1, a", "4, b"), [1, 0, 1])


def test_long_axes_and_continuous_ones_become_ranges_of_equal_numbers() -> None:
    values = np.arange(1, 1001)
    axis, codes = levels_of(Axis(("isl",), tuple((int(v),) for v in values)), pd.DataFrame({"isl": values}))
    assert axis.binned
    assert len(axis.levels) == 16
    assert axis.levels[0] == "1 – 63"
    counts = np.bincount(codes)
    assert counts.min() >= 62
    assert counts.max() <= 63
    few, codes = levels_of(Range("batch", 1, 4, whole=True), pd.DataFrame({"batch": [4, 1, 4, 2]}))
    assert (few.levels, few.binned, codes.tolist()) == (("1", "2", "4"), False, [2, 0, 2, 1])
    share, _ = levels_of(Range("x", 0.5, 4.0, unit="x"), pd.DataFrame({"x": np.linspace(0.5, 4.0, 100)}))
    assert share.levels[0].startswith("0.5")
    assert all(level.endswith("x") for level in share.levels)


def test_values_in_words_and_for_scenarios() -> None:
    assert [words_of(v, u) for v, u in ((4.0, ""), (2.5, "x"), (3.14159, "TB/s"), (True, ""), ("a", ""))] == [
        "4", "2.5x", "3.142 TB/s", "true", "a",
    ]  # fmt: skip
    assert value_of(np.float64(2.5), "x") == "2.5x"
    assert value_of(np.int64(3)) == 3
    assert value_of(3.25, "TB/s") == "3.25 TB/s"


def test_reasons_of_the_card_are_those_of_the_summary(card: StudyCard, ran: Ran) -> None:
    assert card.reasons == tuple(
        Reason(code, count, ran[2].details[code]) for code, count in ran[2].reasons.most_common()
    )
