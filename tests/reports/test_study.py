"""The page of a study, and what its figures promise."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

import reports
from reports.axis import Axis, axis_of
from reports.calibration import Group
from reports.fact_figures import STUDY_ASKED, STUDY_PROVENANCE
from reports.figure import Figure
from reports.live_figures import front
from reports.slo_box import allowed, bounds_of
from reports.study import (
    Best,
    Bin,
    Bound,
    Cloud,
    Contest,
    Crossing,
    Curve,
    Factor,
    FrontPoint,
    Gain,
    Heat,
    Measure,
    Mixture,
    Ratio,
    Reason,
    Shares,
    Spread,
    StudyCard,
    better_first,
    measure_of,
)
from reports.study_figures import bars, gains, heat, lines, pareto, reasons, shares
from reports.study_page import FIGURES, render_study, write_study
from reports.study_scales import band_text, is_log, scale_of
from reports.text import plain

Parse = Callable[[str], Any]
NAN = math.nan
TPOT, RATE = measure_of("tpot_s", "lower"), measure_of("output_tokens_per_s", "higher")
COST = measure_of("usd_per_million_output_tokens", "lower")


def spreads_at(values: tuple[float, ...], asked: int = 4) -> tuple[Spread, ...]:
    return tuple(
        Spread(asked, 0 if math.isnan(v) else asked - k % 2, 0.5 * v, v, 2.0 * v) for k, v in enumerate(values)
    )


def cloud_of(count: int = 24, **changes: Any) -> Cloud:
    """``count`` points on a curve, every fourth of them on the front."""
    x = np.geomspace(0.004, 0.05, count)
    y = 1e3 * np.geomspace(1.0, 30.0, count)
    batch = tuple(str(1 << k) for k in range(6))
    front = tuple(
        FrontPoint(float(x[k]), float(y[k]), (float(x[k]), float(y[k])), (("device", "fast"), ("batch", batch[k % 6])))
        for k in range(0, count, 4)
    )
    cloud = Cloud(
        0, 1, ("tpot_s:lower", "output_tokens_per_s:higher"), front, names=("device", "batch"),
        labels=(("fast", "slow"), batch), x_values=x, y_values=y,
        codes=np.stack([np.arange(count) % 2, np.arange(count) % 6], axis=1), colours=np.arange(count) % 3 - 1,
        coloured_by="device", legend=("fast", "slow"),
    )  # fmt: skip
    return dataclasses.replace(cloud, **changes)


def card_of(**changes: Any) -> StudyCard:
    factors = (
        Factor("device.memory.bandwidth", ("1x", "2x", "4x"), (1.0, 2.0, 4.0)),
        Factor("device", ("fast", "slow")),
        Factor("batch", ("1 – 8", "9 – 64"), (4.0, 32.0), binned=True),
    )
    ratio = Ratio(6, 0.4, 0.5, 0.6)
    card = StudyCard(
        title="Faster memory", question="What if memory were faster?", answer="It takes half as long.", rows=24,
        feasible=20, metrics=(TPOT, RATE),
        best=(Best(0.004, (("device", "fast"), ("batch", "1")), 0.003, 0.006), Best(30e3, (("device", "slow"),))),
        factors=factors,
        gains=(
            Gain("1x", Best(0.01, (("device.memory.bandwidth", "1x"), ("device", "fast"))), (Ratio(8, 1, 1, 1),) * 2),
            Gain("2x", Best(0.007, (("device.memory.bandwidth", "2x"), ("device", "slow"))), (ratio, ratio)),
            Gain("4x", None, (Ratio(0, NAN, NAN, NAN),) * 2),
        ),
        shares=(Shares(20, (0.5, 0.3, 0.1)), Shares(20, (0.7, 0.2, 0.2))),
        spreads=(
            (spreads_at((0.01, 0.007, NAN)), spreads_at((1e3, 2e3, NAN))),
            (spreads_at((0.007, 0.01)), spreads_at((2e3, 1e3))),
            (spreads_at((0.007, 0.01)), spreads_at((2e3, 1e3))),
        ),
        heat=Heat(1, 0, (spreads_at((0.01, 0.007, NAN)), spreads_at((0.02, 0.014, 0.012)))),
        cloud=cloud_of(),
        reasons=(Reason("memory", 3, "does not fit"), Reason("tpot_s", 1, "not tpot_s <= 0.05")),
        asked=(Group("axes", (("batch", "1, 2"),)),), provenance=(Group("run", (("command", "silicost sweep x"),)),),
        silicost_version="0.1.0", laws_hash="ab12",
    )  # fmt: skip
    return dataclasses.replace(card, **changes)


def mixture_of(other: str = "alone") -> Mixture:
    """A mixture that begins to pay between the second and the third value of its axis."""
    axis = Factor("batch", ("1", "4", "16"), (1.0, 4.0, 16.0))
    curves = (Curve("both", (0.02, 0.01, 0.002)), Curve(other, (0.01, 0.008, NAN)))
    crossing = Crossing(other, 4.0, 16.0, 7.0, True)
    contest = Contest(0, curves, (crossing,), "It pays in batch at 16.", ((other, "better in batch at 16"),))
    return Mixture(axis, (("rate", "2"),), (contest,))


NOTHING = StudyCard("Nothing", "", "No point has an answer.", 0, 0, (), ())


@pytest.fixture(scope="module")
def card() -> StudyCard:
    return card_of()


@pytest.fixture(scope="module")
def text(card: StudyCard) -> str:
    return render_study(card)


@pytest.fixture(scope="module")
def page(text: str, parse: Parse) -> Any:
    return parse(text)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_conformance(figure: Figure[StudyCard], card: StudyCard) -> None:
    assert re.fullmatch(r"[a-z-]+", figure.name)
    assert figure.reading.endswith(".")
    if figure.name == "mixture":
        card = dataclasses.replace(card, mixtures=(mixture_of(),))
    assert figure.applies(card)
    drawn = figure.draw(card)
    assert isinstance(drawn, Markup)
    assert figure.draw(card) == drawn
    assert "#0101" not in drawn
    assert not figure.applies(NOTHING)


def test_every_file_is_a_figure_with_a_place_of_its_own() -> None:
    files = {path.stem for path in (Path(reports.__file__).parent / "study_figures").glob("[!_]*.py")}
    assert {STUDY_ASKED, STUDY_PROVENANCE} < set(FIGURES)
    assert len(FIGURES) == len(files) + 2 == len({f.name for f in FIGURES}) == len({f.order for f in FIGURES})


def test_same_card_same_bytes(card: StudyCard, text: str) -> None:
    assert render_study(card) == text
    assert len(text.encode()) < 2_000_000
    assert len(render_study(card, static=True).encode()) < 300_000


def test_the_page_needs_nothing_but_itself(page: Any, text: str) -> None:
    assert page.values("http-equiv") == ["Content-Security-Policy"]
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert page.scripts == 2
    assert all(value.startswith("#") for value in page.values("href"))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    wanted = {value[1:] for value in page.values("href")} | set(page.values("aria-labelledby"))
    assert wanted | set(re.findall(r"url\(#([^)]+)\)", "".join(page.values("clip-path")))) <= set(ids)
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_what_scrolls_or_reacts_can_be_reached_by_keyboard(page: Any) -> None:
    classes = [(tag, value) for tag, name, value in page.attributes if name == "class"]
    reacting = sum(value in ("scroll", "scroll axes") for _, value in classes)
    assert reacting >= 7
    # What is drawn live is reached from when it is there (tests/reports/browser).
    assert sum(value == "stage" for _, value in classes) == 3
    assert page.values("tabindex").count("0") == reacting
    assert all(page.values("aria-label"))


def test_question_answer_and_best_points_come_first(page: Any) -> None:
    shown = " ".join(page.shown)
    order = [
        "Faster memory", "What if memory were faster?", "It takes half as long.", "24 points, 20", "4.00 ms",
        "3.00 ms – 6.00 ms", "Every feasible point", "For each value of the first axis", "silicost sweep x",
    ]  # fmt: skip
    places = [shown.index(each) for each in order]
    assert places == sorted(places)


def test_every_colour_is_defined(card: StudyCard) -> None:
    css = (Path(reports.__file__).parent / "templates" / "page.css").read_text()
    drawn = "".join(figure.draw(card) for figure in FIGURES if figure.applies(card))
    assert "var(--series-1)" in drawn
    assert set(re.findall(r"var\(--([\w-]+)\)", drawn)) - {"c"} <= set(re.findall(r"--([\w-]+):", css))


def hostile_card(bad: str) -> StudyCard:
    """A card with ``bad`` wherever a string of any content can stand."""
    configuration = ((bad, bad), ("batch", bad))
    factors = (Factor(bad, (bad, bad + "2"), (1.0, 2.0)), Factor(bad + "3", (bad, bad + "2")))
    measures = (TPOT._replace(title=bad), RATE._replace(title=bad, dimension=bad))
    spread = spreads_at((0.01, 0.02))
    best = (FrontPoint(0.01, 10.0, (0.01, 10.0), configuration), FrontPoint(0.02, 20.0, (0.02, 20.0), configuration))
    return StudyCard(
        title=bad, question=bad, answer=bad, rows=4, feasible=3, metrics=measures,
        best=(Best(0.01, configuration), None), factors=factors,
        gains=tuple(Gain(bad, Best(0.01, configuration), (Ratio(1, 1.0, 1.0, 1.0),) * 2) for _ in range(2)),
        shares=(Shares(3, (0.5, 0.4)),) * 2, spreads=((spread, spread),) * 2, heat=Heat(1, 0, (spread, spread)),
        cloud=cloud_of(4, front=best, names=(bad, bad), labels=((bad, bad), (bad,) * 6), coloured_by=bad,
                       legend=(bad, bad)),
        reasons=(Reason(bad, 1, bad),), asked=(Group(bad, ((bad, bad),)),), provenance=(Group(bad, ((bad, bad),)),),
        sample=bad, silicost_version=bad, laws_hash=bad,
    )  # fmt: skip


def test_hostile_strings_are_only_text(hostile: str, parse: Parse) -> None:
    text = render_study(hostile_card(hostile))
    text.encode("utf-8")
    page = parse(text)
    assert page.scripts == 2
    assert page.tags.count("style") == 1
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    (data,) = (code for code in page.code if code.startswith('{"models"'))
    assert not {"\u202e", "\x00", "\x07"} & set("".join(page.shown) + data)
    assert not any("http" in value for value in page.values("style"))
    assert not set("<>&") & set(data)
    assert json.loads(data)["settings"]["names"] == [plain(hostile)] * 2
    if hostile.startswith("<script>"):
        assert any(hostile in shown for shown in page.shown)


def test_nothing_at_all_makes_a_page(parse: Parse) -> None:
    page = parse(render_study(NOTHING))
    assert "No point has an answer." in page.shown
    assert not {figure.title for figure in FIGURES} & set(page.shown)


PARTS: dict[str, Any] = {
    "gains": (), "cloud": None, "heat": None, "reasons": (), "asked": (), "provenance": (), "shares": (),
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_what_is_missing_leaves_the_rest(card: StudyCard, part: str, parse: Parse) -> None:
    without = dataclasses.replace(card, **{part: PARTS[part]})
    page = parse(render_study(without))
    left_out = {figure.title for figure in FIGURES if figure.applies(card) and not figure.applies(without)}
    assert len(left_out) == 1
    assert not left_out & set(page.shown)


def test_a_mixture_stands_in_place_of_medians(card: StudyCard, parse: Parse) -> None:
    other = "<img src=x>"
    page = parse(render_study(dataclasses.replace(card, mixtures=(mixture_of(other),) * 8)))
    assert "Where the mixture pays" in page.shown
    assert "Along each axis of numbers" not in page.shown
    assert "begins to pay" in page.shown
    assert "4 and 16" in page.shown
    assert "img" not in page.tags
    assert any("Not drawn: 2 further values" in shown for shown in page.shown)


def test_the_file_is_written_whole(tmp_path: Path, card: StudyCard, text: str) -> None:
    write_study(tmp_path / "deep" / "page.html", card)
    assert (tmp_path / "deep" / "page.html").read_text(encoding="utf-8") == text


def test_matplotlib_is_imported_only_to_draw() -> None:
    code = "import sys, reports.study_page; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def data_of(drawn: str) -> Any:
    """What the live figure in ``drawn`` is drawn from."""
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', drawn)
    return json.loads(text)


def test_every_point_can_be_asked_what_it_has(card: StudyCard) -> None:
    assert card.cloud is not None
    points = front.points_of(card.cloud, card)
    said = [
        [each.levels[code] for each, code in zip(points.brushes, row, strict=True)] for row in points.codes.tolist()
    ]
    assert said[:3] == [["fast", "1"], ["slow", "2"], ["fast", "4"]]
    settings = data_of(pareto.draw(card))["settings"]
    assert settings["names"] == ["device", "batch"]
    assert settings["levels"] == [list(each.levels) for each in points.brushes]
    assert [1e-3, "ms"] in settings["metrics"][0]["units"]


@pytest.mark.parametrize(
    ("texts", "levels", "ordered"),
    [
        (("3", "1", "2"), ("1", "2", "3"), True),
        (("1,024 W", "700 W", "95.5 W"), ("95.5 W", "700 W", "1,024 W"), True),
        (("1 GiB", "700 MiB", "2 GiB"), ("1 GiB", "700 MiB", "2 GiB"), False),
    ],
)
def test_a_brush_of_ranges_is_ordered_by_the_numbers_of_the_front_or_not_at_all(
    texts: tuple[str, ...], levels: tuple[str, ...], ordered: bool
) -> None:
    placed = tuple(FrontPoint(0.01 * (k + 1), 1e3, (0.01, 1e3), (("power", text),)) for k, text in enumerate(texts))
    cloud = cloud_of(0, front=placed, bins=(Bin(0.01, 0.02, 1e3, 2e3, 30_000),), names=(), labels=())
    factor = Factor("power", ("1 – 2", "3 – 4"), (1.5, 3.5), binned=True)
    points = front.points_of(cloud, card_of(cloud=cloud, factors=(factor,)))
    (brush,) = points.brushes
    assert (brush.levels, brush.ordered) == (levels, ordered)
    assert tuple(brush.levels[code] for code in points.codes[:, 0].tolist()) == texts


def test_what_is_said_of_the_box_is_what_is_drawn() -> None:
    bounds = (Bound(TPOT, True, 0.05), Bound(TPOT, False, 0.01), Bound(TPOT, True, 0.02), Bound(COST, True, 3.0))
    drawn = pareto.draw_static(card_of(bounds=bounds))
    (said,) = re.findall(r"The shaded box[^.]*?point: (.*?)\.(?: |</p>)", drawn)
    assert re.findall(r"<bdi>(.*?)</bdi>", said) == [bounds[1].said, bounds[2].said]
    assert "shaded box" not in pareto.draw_static(card_of(bounds=bounds[3:]))


def boxes_of(bounds: tuple[Bound, ...]) -> list[dict[str, Any]]:
    """The annotations of a live front that shade room between bounds."""
    around = data_of(pareto.draw(card_of(bounds=bounds)))["models"]["roots"][0]["attributes"]["center"]
    return [each["attributes"] for each in around if each["name"] == "BoxAnnotation"]


def test_a_box_is_what_all_bounds_of_a_metric_leave() -> None:
    bounds = (Bound(TPOT, False, 0.01), Bound(TPOT, True, 0.05), Bound(TPOT, True, 0.02), Bound(RATE, False, 2e3))
    own = bounds_of(TPOT, bounds)
    assert own == (bounds[0], bounds[2])
    assert allowed(own, (0.001, 1.0)) == (0.01, 0.02)
    assert allowed(own, (0.001, 0.015)) == (0.01, 0.015)
    (box,) = boxes_of(bounds)
    assert (box["left"], box["right"], box["bottom"]) == (0.01, 0.02, 2e3)
    assert not boxes_of((Bound(TPOT, False, 0.03), Bound(TPOT, True, 0.02)))


def test_levels_of_a_brush_stand_in_the_order_of_the_study(card: StudyCard) -> None:
    cloud = cloud_of(3, labels=(("fast", "slow"), ("16", "2", "4")), codes=np.array([[0, 0], [1, 1], [0, 2]]))
    factors = (Factor("device", ("fast", "slow")), Factor("batch", ("2", "4", "16"), (2.0, 4.0, 16.0)))
    points = front.points_of(cloud, card_of(cloud=cloud, factors=factors))
    assert [each.levels for each in points.brushes] == [("fast", "slow"), ("2", "4", "16")]
    assert [each.ordered for each in points.brushes] == [False, True]
    assert points.codes[:, 1].tolist() == [2, 0, 1]


def test_a_still_page_has_the_same_front_without_scripts(card: StudyCard) -> None:
    assert "application/json" not in pareto.draw_static(card)
    assert "data-live" not in pareto.draw_static(card)
    still = re.findall(r"<svg.*?</svg>", pareto.draw_static(card), re.DOTALL)
    assert still == re.findall(r"<svg.*?</svg>", pareto.draw(card), re.DOTALL)


def test_twenty_thousand_points_make_a_page_of_less_than_three_and_a_half_megabytes() -> None:
    page = render_study(card_of(cloud=cloud_of(20_000)))
    assert len(page.encode()) < 3_500_000


def test_counted_points_are_cells_that_say_how_many() -> None:
    bins = (Bin(0.001, 0.002, 1.0, 2.0, 7_000), Bin(0.002, 0.004, 1.0, 2.0, 1), Bin(0.1, 0.2, 4.0, 8.0, 20_000))
    empty: dict[str, Any] = {"x_values": np.zeros(0), "y_values": np.zeros(0), "codes": np.zeros((0, 2), np.int64),
             "colours": np.zeros(0, np.int64), "legend": ()}  # fmt: skip
    cloud = cloud_of(bins=bins, **empty)
    assert cloud.points == 27_001
    drawn = pareto.draw(card_of(cloud=cloud))
    assert "27,001 feasible points, counted in 3 cells" in drawn
    assert {"7,000 points", "1 point", "20,000 points"} <= set(re.findall(r"<title>([\d,]+ points?)</title>", drawn))
    assert "are of the points of the front alone" in drawn
    across, up = pareto.axes_of(cloud)
    assert across.at(0.001) > 0.0
    assert up.at(8.0) < 100.0


def test_the_front_is_drawn_named_and_listed(card: StudyCard) -> None:
    drawn = pareto.draw(card)
    assert drawn.count("device fast, batch ") == 6
    assert drawn.count('<th scope="row"') == 6
    assert "Better lies left and above." in drawn
    assert "4 infeasible points are not drawn" in drawn
    three = cloud_of(objectives=("tpot_s", "output_tokens_per_s", "tpot_s"))
    best = tuple(point._replace(values=(*point.values, 1.0)) for point in three.front)
    assert "front is that of 3 objectives" in pareto.draw(card_of(cloud=dataclasses.replace(three, front=best)))


@given(
    st.lists(st.tuples(st.floats(0.1, 9.0), st.floats(0.1, 9.0)), min_size=1, max_size=30),
    st.sampled_from(["lower", "higher"]), st.sampled_from(["lower", "higher"]),
)  # fmt: skip
def test_the_border_of_a_front_is_never_better_than_the_front(
    values: list[tuple[float, float]], x_better: str, y_better: str
) -> None:
    signs = [1.0 if better == "lower" else -1.0 for better in (x_better, y_better)]
    costs = [(signs[0] * x, signs[1] * y) for x, y in values]
    best = {p for p in costs if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in costs)}
    front = [FrontPoint(signs[0] * x, signs[1] * y, (), ()) for x, y in best]
    xs, ys = pareto.steps_of(front, x_better, y_better)
    for x, y in zip(xs, ys, strict=True):
        assert any(p[0] <= signs[0] * x and p[1] <= signs[1] * y for p in best)
    for (x, y), (u, v) in pairwise(zip(xs, ys, strict=True)):
        assert x == u or y == v


def test_of_a_long_front_the_ends_are_shown() -> None:
    points = [FrontPoint(float(k), 1.0, (), ()) for k in range(1000)]
    shown = pareto.spread(points, 20)
    assert len(shown) == 20
    assert (shown[0], shown[-1]) == (points[0], points[-1])
    assert pareto.spread(points[:5], 20) == points[:5]


def test_rows_compare_with_the_first_level(card: StudyCard) -> None:
    first, second, third = gains.rows_of(card)
    assert (first.best, first.configuration) == ("10.0 ms", "device fast")
    assert [cell.text for cell in second.cells] == ["0.500\u00a0×", "0.500\u00a0×"]
    assert [cell.gains for cell in second.cells] == [True, False]
    assert second.cells[0].band == "0.400 – 0.600"
    assert (third.best, third.value) == ("no feasible point", None)
    assert [cell.text for cell in third.cells] == ["none", "none"]


def test_of_many_levels_feasible_ones_are_shown_the_ends_included() -> None:
    many = tuple(
        Gain(str(k), None if k % 3 == 1 else Best(1.0, ()), (Ratio(1, 1.0, 1.0, 1.0),) * 2) for k in range(100)
    )
    card = card_of(gains=many, factors=(Factor("batch", tuple(map(str, range(100)))),))
    rows = gains.rows_of(card)
    assert len(rows) == gains.MOST_LEVELS
    assert (rows[0].level, rows[-1].level) == ("0", "99")
    assert all(row.value is not None for row in rows)
    drawn = gains.draw(card)
    assert "51 values between these, 33 values without a feasible point" in drawn


def test_a_ratio_near_one_is_no_gain() -> None:
    assert not gains.cell_of(Ratio(3, 0.99, 0.999, 1.0), TPOT).gains
    assert gains.cell_of(Ratio(3, 0.9, 0.98, 1.0), TPOT).gains
    assert gains.cell_of(Ratio(3, 1.0, 1.2, 1.3), RATE).gains
    assert not gains.cell_of(Ratio(3, 0.8, 0.9, 1.0), RATE).gains


def test_shares_stand_by_size_and_say_what_is_left() -> None:
    panel = shares.panel_of("TPOT", ("a", "b", "c"), Shares(10, (0.1, 0.5, 0.2)))
    assert [(line.name, line.value) for line in panel.lines] == [
        ("b", "50 %"), ("c", "20 %"), ("a", "10 %"), ("axes together", "20 %"),
    ]  # fmt: skip
    over = shares.panel_of("TPOT", ("a", "b"), Shares(10, (0.7, 0.6)))
    assert [line.name for line in over.lines] == ["a", "b"]
    assert "add up to 130 %" in over.note
    assert not shares.applies(card_of(shares=(Shares(3, (NAN, NAN, NAN)),) * 2))


def test_cells_are_stronger_the_better(card: StudyCard) -> None:
    ends = (0.01, 0.04)
    cells = [heat.cell_of(s, TPOT, 1e-3, ends, 0.01, "here") for s in spreads_at((0.01, 0.02, 0.04, NAN))]
    assert [cell.text for cell in cells] == ["10.0", "20.0", "40.0", "–"]
    assert cells[0].strength > cells[1].strength > cells[2].strength == cells[3].strength == 0
    assert [cell.best for cell in cells] == [True, False, False, False]
    rates = [heat.cell_of(s, RATE, 1.0, ends, 0.04, "here") for s in spreads_at((0.01, 0.04))]
    assert [cell.best for cell in rates] == [False, True]
    assert rates[0].strength < rates[1].strength
    one = heat.cell_of(spreads_at((0.01,))[0], TPOT, 1.0, (0.01, 0.01), 0.01, "here")
    assert one.best
    drawn = heat.draw(card)
    assert drawn.count("<td") == 6
    assert "slow, device.memory.bandwidth 4x: 12.0 ms" in drawn


@pytest.mark.parametrize(("better", "strengths"), [("lower", (58, 58, 0)), ("higher", (0, 0, 58))])
def test_a_median_of_zero_has_a_cell(better: str, strengths: tuple[int, ...]) -> None:
    """Shares and dollars may be zero beside positive ones."""
    share = measure_of("waiting_share", better)
    card = card_of(heat=Heat(1, 0, (spreads_at((0.0, 0.1, 0.4)),)), metrics=(share, RATE), factors=(
        Factor("a", ("x", "y", "z")), Factor("b", ("u",))))  # fmt: skip
    cells = re.findall(r'<td class="num( best)?" title="[^"]*"( style="[^"]*)?[^>]*>([^<]*)<', heat.draw(card))
    assert [cell[2].split()[0] for cell in cells] == ["0", "10.0", "40.0"]
    assert [bool(cell[0]) for cell in cells] == [better == "lower", False, better == "higher"]
    said = [re.search(r"(\d+)%", cell[1]) for cell in cells]
    assert [int(each[1]) if each else 0 for each in said] == list(strengths)


def test_of_too_many_cells_the_best_are_shown() -> None:
    levels = tuple(f"level {k:02}" for k in range(60))
    cells = tuple(spreads_at((1.0 + (k * 7) % 60, NAN)) for k in range(60))
    card = card_of(factors=(Factor("a", levels), Factor("b", ("x", "y"))), heat=Heat(0, 1, cells))
    drawn = heat.draw(card)
    kept = {levels[k] for k in range(60) if (k * 7) % 60 < heat.MOST_ROWS}
    assert set(re.findall(r'<th scope="row"><bdi>(level \d+)', drawn)) == kept
    assert f"{60 - heat.MOST_ROWS} more values of" in drawn


def test_lines_name_every_level_and_say_where_nothing_is_feasible(card: StudyCard) -> None:
    drawn = lines.draw(card)
    assert drawn.count("<svg") == 4
    assert "device.memory.bandwidth 2x: 7.00 ms [3.50 ms – 14.0 ms], 3 of 4 points feasible" in drawn
    assert "No feasible point at 4x." in drawn
    assert "2 ranges with equally many points." in drawn
    lone = dataclasses.replace(card, spreads=((spreads_at((0.01, NAN, NAN)),) * 2,) * 3)
    assert not lines.applies(lone)


def test_names_stand_by_their_median(card: StudyCard) -> None:
    factor = card.factors[1]
    panel = bars.panel_of(factor, RATE, spreads_at((1e3, 4e3)))
    assert [line.level for line in panel.lines] == ["slow", "fast"]
    assert [line.note for line in panel.lines] == ["3 of 4", ""]
    for line in panel.lines:
        assert 0.0 <= line.low < line.median < line.high <= 100.0
    assert [line.level for line in bars.panel_of(factor, TPOT, spreads_at((1e3, 4e3))).lines] == ["fast", "slow"]
    some = card_of(spreads=((spreads_at((1.0, NAN, 2.0)),) * 2,), factors=(Factor("x", ("a", "b", "c")),))
    assert "No feasible point at <bdi>b<" in bars.draw(some)


@given(st.floats(-6.0, 6.0), st.floats(0.02, 8.0), st.sampled_from(["s", "j", "bytes", "usd", "tokens/s", "fraction"]))
def test_ticks_do_not_run_into_each_other(low: float, span: float, dimension: str) -> None:
    measure = Measure("m", "M", dimension, "lower")
    axis = axis_of([10.0**low, 10.0 ** (low + span)])
    ticks = bars.ticks_on(axis, measure)
    assert all(after.at - before.at >= 4.0 * len(after.text) / 2 for before, after in pairwise(ticks))


@given(st.floats(-6.0, 6.0), st.floats(0.02, 8.0))
def test_every_scale_has_ticks_on_it(low: float, span: float) -> None:
    axis = Axis(low, low + span)
    scale = scale_of(axis, TPOT)
    assert len(scale.values) >= 2 or span > 1.9
    assert all(low - 1e-9 <= math.log10(value) <= low + span + 1e-9 for value in scale.values)


def test_levels_over_many_times_are_logarithmic() -> None:
    assert is_log(Factor("batch", ("1", "64"), (1.0, 64.0)))
    assert not is_log(Factor("bandwidth", ("1x", "4x"), (1.0, 4.0)))
    assert not is_log(Factor("zero", ("0", "64"), (0.0, 64.0)))


def test_reasons_stand_by_their_points() -> None:
    drawn = reasons.draw(card_of(reasons=tuple(Reason(f"r{k}", k, "why") for k in range(1, 31)), rows=1000))
    assert re.findall(r"<bdi>(r\d+)</bdi>", drawn)[:3] == ["r30", "r29", "r28"]
    assert "10 more reasons are not shown" in drawn


def test_the_best_come_first_and_unknown_ones_last() -> None:
    assert better_first(TPOT, [2.0, NAN, 1.0]) == [2, 0, 1]
    assert better_first(RATE, [2.0, NAN, 1.0]) == [0, 2, 1]


def test_metrics_beside_the_documented_ones_have_titles() -> None:
    assert measure_of("memory_bytes", "lower").text(2e9) == "2.00 GB"
    assert measure_of("device_j", "lower").title == "Energy of the devices"
    assert TPOT.text(NAN) == "none"
    assert band_text(TPOT, (0.001, 0.001, 0.001)) == "1.00 ms"
