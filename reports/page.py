"""The one page engine: results to one HTML file that needs nothing but itself.

The same results give the same bytes: the page holds no date, no counter and no random id.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from markupsafe import Markup

from reports.answers import answer_of
from reports.definitions import term_of
from reports.figure import Figure, Results, all_figures, drawn
from reports.figures.differences import MOST_VALUED
from reports.headline import device_class, headlines_of, kind_name, metrics_of
from reports.numbers import Cell, cell_of, metric_of
from reports.page_data import Page, write_page
from reports.palette import role
from reports.rests import Rests, anchor_of, rests_of
from reports.templating import render_page
from reports.text import labels_of
from simulator.result import OperatorCost, Result

MOST_OPERATORS: Final = 20
PROOF: Final = "comparison"
"""The figure that shows at once which of several results is best; it stands first."""


class Top(NamedTuple):
    """An operator of a phase and its share of the result's operator time."""

    phase: str
    operator: OperatorCost
    share: float


class Section(NamedTuple):
    """One result, ready for the template."""

    anchor: str
    label: str
    kind: str
    device_class: str
    colour: str
    result: Result
    headlines: list[Cell]
    cells: list[Cell]
    missing: list[Cell]
    operators: list[Top]
    operators_in_all: int
    shown_share: float
    rests: list[Rests]
    rests_by_name: dict[str, str]


def write_report(path: Path | str, results: Sequence[Result], title: str, lead: str = "", static: bool = False) -> None:
    """Write the page of ``results`` to ``path``, whole or not at all.

    Raises:
        InputError: the place cannot be written.
    """
    html = render_report(results, title, lead, static)
    write_page(Path(path), html, Page("results", tuple(results), title, lead))


def render_report(results: Sequence[Result], title: str, lead: str = "", static: bool = False) -> str:
    """The page of ``results`` as one HTML document.

    Args:
        results: in the order of their sections; tables rank them by themselves.
        title: heading of the page.
        lead: one paragraph below it.
        static: without scripts.
    """
    figures = in_order(drawn(all_figures(), results, static), len(results))
    labels = labels_of(results)
    sections = [
        _section(place, label, result) for place, (label, result) in enumerate(zip(labels, results, strict=True))
    ]
    return render_page(
        "page.html",
        static,
        title=title,
        lead=lead,
        figures=figures,
        leading=int(bool(figures) and figures[0][0].name == PROOF),
        sections=sections,
        answer=answer_of(results),
        terms=[term_of(name) for name in metrics_of(results)],
        metric_of=metric_of,
        versions=sorted({result.laws_hash for result in results}),
    )


def in_order(figures: Sequence[tuple[Figure[Results], Markup]], count: int) -> list[tuple[Figure[Results], Markup]]:
    """What shows the best comes first. Beside the first of a few stand all values: no other table is needed."""
    names = {figure.name for figure, _ in figures}
    few = count <= MOST_VALUED and "differences" in names
    kept = [pair for pair in figures if not (few and pair[0].name == "table")]
    first = (PROOF, "differences") if few else (PROOF,)
    return sorted(kept, key=lambda pair: first.index(pair[0].name) if pair[0].name in first else len(first))


def _section(place: int, label: str, result: Result) -> Section:
    cells = [cell_of(result, name) for name in metrics_of([result])]
    tops = _tops(result)
    return Section(
        anchor=f"result-{place + 1}",
        label=label,
        kind=kind_name(result.kind),
        device_class=device_class(result),
        colour=role("class", device_class(result)),
        result=result,
        headlines=[cell_of(result, name) for name in headlines_of(result)],
        cells=cells,
        missing=[cell for cell in cells if cell.value is None],
        operators=tops[:MOST_OPERATORS],
        operators_in_all=len(tops),
        shown_share=sum(top.share for top in tops[:MOST_OPERATORS]),
        rests=rests_of(result, place),
        rests_by_name={name: anchor_of(place, name) for name in result.metrics},
    )


def _tops(result: Result) -> list[Top]:
    """Operators, the longest first; their order in the result breaks ties."""
    pairs = [(phase.name, operator) for phase in result.phases for operator in phase.operators if operator.time_s > 0.0]
    total = sum(operator.time_s for _, operator in pairs)
    pairs.sort(key=lambda pair: -pair[1].time_s)
    return [Top(phase, operator, operator.time_s / total) for phase, operator in pairs]
