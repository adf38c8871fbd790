"""``silicost export``: saved runs for other programs: traces, tables, Markdown, figures for print."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hardware_specs.errors import InputError, UnknownName, clipped
from hardware_specs.files import is_file, write_texts
from silicost.commands.flags import word_of
from silicost.output import write_out

if TYPE_CHECKING:
    from reports.page_data import Page
    from reports.print_figure import Kind
    from silicost.saved import Saved


class As(StrEnum):
    """What a run is exported as."""

    TRACE = "trace"
    CSV = "csv"
    PARQUET = "parquet"
    JSONL = "jsonl"
    ARROW = "arrow"
    MARKDOWN = "markdown"
    SVG = "svg"
    PNG = "png"
    PDF = "pdf"


FIGURES: Final = (As.SVG, As.PNG, As.PDF)
TABLES: Final = (As.CSV, As.PARQUET, As.JSONL, As.ARROW)
POINTS: Final = "points"
"""The table of a study: a row for each point."""


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A saved run or study, as silicost report takes it.")],
    form: Annotated[As, typer.Option("--as", help=f"{', '.join(As)}.", parser=word_of(As), metavar="FORM")],
    table: Annotated[
        str,
        typer.Option(
            "--table", help="metrics, operators, phases, pools or spans of results; points of a study; ranking."
        ),
    ] = "",
    figure: Annotated[str, typer.Option("--figure", help="One figure by name; default all that the run has.")] = "",
    width: Annotated[
        float | None,
        typer.Option("--width", help="Inches that figures are wide, default 6.9; 3.3 suits a column.", metavar="IN"),
    ] = None,
    columns: Annotated[str, typer.Option("--columns", help="Columns of a study's points, by commas.")] = "",
    sql: Annotated[str, typer.Option("--sql", help="Query over the table 'study' instead of all points.")] = "",
    out: Annotated[
        str, typer.Option("--out", help="File, or folder for several figures; default stdout, or beside the run.")
    ] = "",
) -> None:
    """Write a saved run for another program: Perfetto, a spreadsheet, pandas, a pull request, a paper."""
    from silicost.saved import STUDY, read_saved, run_folder

    _check_flags(
        form, table=table, figure=figure, columns=columns, sql=sql, width="" if width is None else f"{width:g}"
    )
    folder = run_folder(run)
    if form in TABLES and folder is not None and (folder / STUDY).is_file() and table in ("", POINTS):
        _points(folder, form, out, columns, sql)
        return
    saved = read_saved(run)
    if form in (As.JSONL, As.ARROW) or columns or sql or table == POINTS:
        page_alone = saved.page.form == "study"
        what = "is the page of a study without its rows; name the folder they are in" if page_alone else "is no study"
        raise InputError(f"{clipped(run)}: {what}; --as jsonl, --as arrow, --columns, --sql and points are of those")
    if out and form not in FIGURES:
        _check_other_ending(out, form)
    if form in FIGURES:
        _figures(saved, form, figure, out, width)
        return
    data = _data(saved, form, table)
    if out:
        _write({Path(out): data})
    elif isinstance(data, str):
        write_out(data)
    else:
        _write({_beside(saved) / f"{table or 'metrics'}.{form}": data})


def _check_flags(form: As, **given: str) -> None:
    """Refuse flags that a form has no use for.

    Raises:
        InputError: naming both.
    """
    used = {"table": TABLES, "figure": FIGURES, "columns": TABLES, "sql": TABLES, "width": FIGURES}
    for name, text in given.items():
        if text and form not in used[name]:
            raise InputError(f"--{name} {clipped(text)}: --as {form} has none; it goes with {', '.join(used[name])}")


def _check_ending(out: str, form: As) -> None:
    """Refuse a file whose name says another form than it has.

    Raises:
        InputError: naming both.
    """
    if Path(out).suffix != f".{form}":
        raise InputError(f"--out {clipped(out)}: must end in .{form} for --as {form}")


def _check_other_ending(out: str, form: As) -> None:
    """Refuse a file whose name ends as that of another form, of Parquet any but its own.

    Raises:
        InputError: naming both.
    """
    ending = Path(out).suffix.removeprefix(".")
    if form is As.PARQUET:
        _check_ending(out, form)
    elif ending in tuple(As) and ending != form:
        raise InputError(f"--out {clipped(out)}: ends in .{ending}, which --as {form} does not write")


def _points(folder: Path, form: As, out: str, columns: str, sql: str) -> None:
    """The points of a study, as ``silicost study export`` writes them; the form says what the file is."""
    from silicost.commands.study import export_table

    if not out and form is not As.CSV:
        out = str(folder / f"{POINTS}.{form}")
    if out:
        _check_ending(out, form)
    export_table(folder, out, columns, sql)


def _data(saved: Saved, form: As, table: str) -> str | bytes:
    """A trace, a table or a summary."""
    from reports.exports.markdown import comparison_text, result_text
    from reports.exports.summaries import summary_of
    from reports.exports.tables import csv_of, parquet_of

    subject = saved.page.subject
    if form is As.TRACE:
        return _trace(saved)
    if form is As.MARKDOWN:
        from reports.compared import Comparison

        if isinstance(subject, Comparison):
            return comparison_text(subject)
        return result_text(subject) if isinstance(subject, tuple) else summary_of(saved.name, saved.page)
    rows = _rows(saved.name, saved.page, table or "metrics")
    return csv_of(rows) if form is As.CSV else parquet_of(rows)


def _rows(name: str, page: Page, table: str) -> list[dict[str, object]]:
    """A table of a run.

    Raises:
        UnknownName: it has no such table, or none with a row in it.
    """
    from reports.comparing import entries_of, named_after
    from reports.exports import tables
    from reports.recommendation import Recommendation

    known: dict[str, Callable[[], tables.Rows]] = {"metrics": lambda: tables.metric_rows(entries_of([(name, page)]))}
    subject = page.subject
    if isinstance(subject, tuple):
        results = named_after(name, subject) if len(subject) == 1 else subject
        known = {each: partial(make, results) for each, make in tables.TABLES.items()} if results else {}
    elif isinstance(subject, Recommendation):
        known["ranking"] = partial(tables.ranking_rows, subject)
    rows = known[table]() if table in known else []
    if not rows:
        # The others are made only to say which of them the run has.
        there = [each for each, make in known.items() if each != table and make()]
        raise UnknownName("table", table, there, f"{name} has {', '.join(there) or 'none'}", "--table")
    return rows


def _trace(saved: Saved) -> str:
    """The timelines of results, or the run over time of a served one.

    Raises:
        InputError: it has neither.
    """
    from reports.exports.trace import served_trace_of, trace_of
    from reports.serving import ServedCard

    subject = saved.page.subject
    if isinstance(subject, ServedCard) and subject.over_time is not None:
        return "".join(served_trace_of(subject))
    if isinstance(subject, tuple):
        if not any(result.timeline.spans for result in subject):
            sys.stderr.write(f"silicost: note: {saved.name} has no timeline; the trace has memory alone\n")
        return "".join(trace_of(subject))
    raise InputError(
        f"{saved.name}: is a {saved.page.form}, which has no timeline; --as trace takes results and served runs"
    )


def _figures(saved: Saved, form: As, name: str, out: str, width_in: float | None) -> None:
    """Figures for print: one to a file, all to a folder; of the usual width where ``width_in`` is None.

    Raises:
        UnknownName: the run has no figure of that name.
        InputError: it has none, or the width is none of print.
    """
    from reports.print_figure import WIDTH_IN, WIDTHS_IN, figures_for, printed

    width_in = WIDTH_IN if width_in is None else width_in
    if not WIDTHS_IN[0] <= width_in <= WIDTHS_IN[1]:
        raise InputError(f"--width {width_in:g}: must be from {WIDTHS_IN[0]:g} to {WIDTHS_IN[1]:g} inches")
    kind: Kind = "svg" if form is As.SVG else "png" if form is As.PNG else "pdf"
    found = {each.name: each for each in figures_for(saved.page.form, saved.page.subject)}
    if not found:
        raise InputError(f"{saved.name}: has no figure for print" + (f" ({saved.lacks})" if saved.lacks else ""))
    if name:
        if name not in found:
            raise UnknownName("figure", name, found, f"{saved.name} has {', '.join(found)}", "--figure")
        place = Path(out) if out else _beside(saved) / f"{name}.{form}"
        _check_ending(str(place), form)
        _write({place: printed(found[name], saved.page.subject, kind, width_in)})
        return
    folder = Path(out) if out else _beside(saved) / "figures"
    if is_file(folder):
        raise InputError(f"--out {clipped(out)}: is a file; all figures go to a folder, one (--figure) to a file")
    drawn = {each: printed(figure, saved.page.subject, kind, width_in) for each, figure in found.items()}
    _write({folder / f"{each}.{form}": data for each, data in drawn.items()})


def _beside(saved: Saved) -> Path:
    from silicost.saved import RUNS

    return saved.folder if saved.folder is not None else RUNS / saved.name


def _write(files: dict[Path, str | bytes]) -> None:
    write_texts(files)
    for place in files:
        sys.stderr.write(f"silicost: written: {place}\n")
