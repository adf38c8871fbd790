"""Conformance of every registered figure, then what single figures promise."""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

import reports
from reports.figure import Figure, all_figures
from reports.figures import comparison, cost, energy, memory, roofline, table, time_breakdown, timeline
from reports.headline import best_of
from reports.parts import family_seconds
from simulator.result import Energy, Provenance, Result
from simulator.timeline import Span, Timeline

HERE = Path(reports.__file__).parent


def counted(result: Result) -> Result:
    """``result`` with an energy that holds that of its operators."""
    spent = sum(operator.energy_j for phase in result.phases for operator in phase.operators)
    return msgspec.structs.replace(result, energy=Energy(1.1 * spent, 1.5 * spent, 2.0 * spent))


def priced(result: Result, price: str, electricity: str = "0.08 USD/kWh") -> Result:
    """``result`` with these two numbers in its provenance."""
    rows = (
        Provenance(f"price of {result.pools[0].device} (somebody)", price, "sourced", "a list"),
        Provenance("here electricity", electricity, "assumed", "a guess", "site.electricity"),
    )
    return msgspec.structs.replace(
        result, provenance=(*result.provenance, *rows), configuration={**result.configuration, "site": "here"}
    )


def by_name(figure: Figure) -> str:
    return figure.name


@pytest.mark.parametrize("figure", all_figures(), ids=by_name)
def test_conformance(figure: Figure, seven: list[Result]) -> None:
    assert re.fullmatch(r"[a-z-]+", figure.name)
    assert figure.title
    assert figure.reading.endswith(".")
    shown = {"what-if": seven[:1], "energy": [counted(seven[0])], "cost": [priced(seven[0], "6.88 USD/h")]}.get(
        figure.name, seven
    )
    assert figure.applies(shown)
    drawn = figure.draw(shown)
    assert isinstance(drawn, Markup)
    assert figure.draw(shown) == drawn
    still = (figure.draw_static or figure.draw)(shown)
    assert "<script" not in still
    assert "data-live" not in still
    assert "aria-label" in drawn or "<h3" in drawn
    assert "#0101" not in drawn
    assert not figure.applies([])


@pytest.mark.parametrize("figure", all_figures(), ids=by_name)
def test_bare_results_are_no_reason_to_fail(figure: Figure, one: Result) -> None:
    bare = msgspec.structs.replace(
        one, phases=(), roofs=(), breakdown={}, bound={}, metrics={}, intervals={}, provenance=(), pools=()
    )
    if figure.applies([bare, bare]):
        assert figure.draw([bare, bare])


def test_every_file_is_a_figure() -> None:
    files = {path.stem for path in (HERE / "figures").glob("[!_]*.py")}
    assert len(all_figures()) == len(files) == len({figure.name for figure in all_figures()})


def test_every_operator_with_flops_is_a_dot_that_says_its_name(one: Result) -> None:
    drawn = roofline.draw([one])
    names = [o.name for phase in one.phases for o in phase.operators if o.flops > 0.0]
    titles = re.findall(r"<title>(\S+) \(", drawn)
    assert sorted(titles) == sorted(names)
    assert "operators without matrix FLOPs" in drawn


def test_a_dollar_is_no_formula(one: Result) -> None:
    roofs = tuple(msgspec.structs.replace(roof, label="$x_1$ & co") for roof in one.roofs)
    assert ">$x_1$ &amp; co" in roofline.draw([msgspec.structs.replace(one, roofs=roofs)])


def test_dots_lie_within_the_axes(seven: list[Result]) -> None:
    panels = roofline.panels_of(seven)
    limits = roofline.limits_of(panels)
    assert [len(panel.dots) > 0 for panel in panels] == [True] * 8
    for panel in panels:
        assert all(limits.left < dot.intensity < limits.right for dot in panel.dots)
        assert all(limits.bottom < dot.rate < limits.top for dot in panel.dots)


def test_bars_of_time_are_whole(seven: list[Result]) -> None:
    for result in seven:
        bars = time_breakdown.bars_of(result)
        phases = [bar.name for bar in bars if bar.name != "outside"]
        assert phases == ["whole", *(phase.name for phase in result.phases)]
        for bar in bars:
            assert sum(part.width for part in bar.families) == pytest.approx(100.0)


def test_bars_of_phases_hold_what_no_operator_takes(one: Result) -> None:
    prompt, whole = one.metrics["ttft_s"], one.metrics["e2e_s"]
    assert prompt is not None
    assert whole is not None
    metrics = {**one.metrics, "ttft_s": prompt + 0.25, "e2e_s": whole + 1.0}
    breakdown = {**one.breakdown, "transfer": 1.0}
    waited = msgspec.structs.replace(one, metrics=metrics, breakdown=breakdown)
    bars = {bar.name: bar for bar in time_breakdown.bars_of(waited)}
    added = {name: float(_seconds_of(bar, "transfers")) for name, bar in bars.items()}
    assert added == {"whole": 1.0, "prefill": 0.25, "decode": 0.75}
    twice = msgspec.structs.replace(one, phases=tuple(phase for phase in one.phases for _ in range(2)))
    assert [bar.name for bar in time_breakdown.bars_of(twice)] == ["whole", "prefill", "decode"]


def _seconds_of(bar: time_breakdown.Bar, family: str) -> float:
    hint = next(part.hint for part in bar.families if part.name == family)
    number, unit = hint.removeprefix(f"{family}: ").split(",")[0].split()
    return float(number) * {"s": 1.0, "ms": 1e-3}[unit]


def test_training_bars_sum_to_the_step(seven: list[Result]) -> None:
    step = next(result for result in seven if result.kind == "training")
    inside = family_seconds(operator for phase in step.phases for operator in phase.operators)
    assert [bar.name for bar in time_breakdown.bars_of(msgspec.structs.replace(step, breakdown=inside))] == [
        "whole", *(phase.name for phase in step.phases)
    ]  # fmt: skip
    *_, last = time_breakdown.bars_of(msgspec.structs.replace(step, breakdown={**inside, "bubble": 3.0}))
    assert (last.name, last.time, [part.name for part in last.families]) == ("outside", "3.00 s", ["pipeline bubble"])


def test_fractions_of_an_own_peak_have_no_best(seven: list[Result]) -> None:
    for name in ("mfu_prefill", "mbu_decode"):
        assert best_of(seven[:5], name) is None


def test_memory_beyond_the_capacity_is_said(seven: list[Result]) -> None:
    drawn = memory.draw(seven)
    assert drawn.count("does not fit") == 2
    assert drawn.count("bar cut") == 1
    assert "86.9 ×" in drawn


def test_the_best_fits(seven: list[Result]) -> None:
    inference = seven[:5]
    fastest = max(range(5), key=lambda i: inference[i].metrics["output_tokens_per_s"] or 0.0)
    assert not inference[fastest].fits
    best = best_of(inference, "output_tokens_per_s")
    assert best == 0
    assert inference[best].fits
    assert best_of(inference[:1], "output_tokens_per_s") is None
    assert best_of([seven[0], seven[0]], "ttft_s") is None


def test_tables_rank_by_the_first_headline(seven: list[Result]) -> None:
    tables = table.tables_of(seven)
    assert [t.kind for t in tables] == ["inference", "training", "train-then-infer"]
    keys = [
        (row.fits, next(cell.value or 0.0 for cell in row.cells if cell.name == "output_tokens_per_s"))
        for row in tables[0].rows
    ]
    assert keys == sorted(keys, reverse=True)


def test_what_does_not_fit_is_hollow(seven: list[Result]) -> None:
    assert "hollow" not in comparison.draw([result for result in seven if result.fits])
    assert comparison.draw(seven).count("hollow") == comparison.draw(seven).count("(does not fit)") - 1


def test_places_on_the_axis_keep_the_order_of_values(seven: list[Result]) -> None:
    assert comparison.applies(seven)
    assert not comparison.applies(seven[:1])
    axis = comparison.Axis(-3.0, 2.0)
    assert axis.at(1e-3) == 0.0
    assert axis.at(1e2) == 100.0
    assert axis.at(1.0) == pytest.approx(60.0)
    assert axis.at(0.0) == axis.at(1e-9) == 0.0


def test_an_empty_timeline_is_left_out(one: Result) -> None:
    assert not timeline.applies([one])
    point = Timeline((Span("x", "gemm", "gpu0", "compute", 1.0, 1.0, 0.0),))
    assert not timeline.applies([msgspec.structs.replace(one, timeline=point)])


def test_merging_is_said(mixed_of: Callable[[int], Result]) -> None:
    few, many = timeline.draw([mixed_of(10)]), timeline.draw([mixed_of(3000)])
    assert "60 spans, each drawn by itself" in few
    said = re.search(r"18000 spans are drawn as (\d+) bars", many)
    assert said
    assert 100 < int(said[1]) < 6000
    assert few.count("<title>") == 60
    assert many.count("<title>") == int(said[1])


def test_a_timeline_of_some_steps_says_so(mixed_of: Callable[[int], Result]) -> None:
    whole = mixed_of(10)
    assert "that the whole takes" not in timeline.draw([whole])
    longer = msgspec.structs.replace(whole, metrics={"makespan_s": 2.0})
    assert "of the 2.00 s that the whole takes" in timeline.draw([longer])


spans = st.lists(
    st.tuples(st.floats(0, 100), st.floats(1e-3, 20), st.sampled_from(["gemm", "vector"])), min_size=1, max_size=60
).map(lambda rows: [Span("s", family, "d", "compute", start, start + length, 0.0) for start, length, family in rows])


@given(spans, st.floats(0, 10))
def test_merging_loses_no_span_and_joins_only_small_ones(many: list[Span], pixel: float) -> None:
    bars = timeline.merged(many, pixel)
    assert sum(bar.spans for bar in bars) == len(many)
    assert min(bar.start_s for bar in bars) == min(span.start_s for span in many)
    assert max(bar.end_s for bar in bars) == max(span.end_s for span in many)
    assert all(bar.end_s - bar.start_s < 3.0 * pixel for bar in bars if bar.spans > 1)
    assert pixel > 0.0 or len(bars) == len(many)


def test_parts_of_the_energy_sum_to_that_of_the_facility(one: Result) -> None:
    spent = sum(operator.energy_j for phase in one.phases for operator in phase.operators)
    pieces = energy.pieces_of(counted(one))
    assert sum(piece.energy_j for piece in pieces) == pytest.approx(2.0 * spent)
    assert [piece.name for piece in pieces[-3:]] == ["devices that wait", "hosts", "cooling and losses"]
    assert energy.pieces_of(msgspec.structs.replace(one, energy=Energy(0.5 * spent, spent, spent))) == []


def test_steps_of_the_cost_follow_each_other(one: Result) -> None:
    drawn = cost.draw([priced(one, "6.88 USD/h")])
    starts = [float(found) for found in re.findall(r"margin-left:([\d.]+)%", drawn)]
    lengths = [float(found) for found in re.findall(r";width:([\d.]+)%\">", drawn)]
    assert starts == [0.0, pytest.approx(lengths[0], abs=2e-3), 0.0]
    assert lengths[-1] == pytest.approx(100.0)
