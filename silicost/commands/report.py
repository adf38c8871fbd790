"""``silicost report``: a page of what other commands have left on the disk; several results beside each other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hardware_specs.errors import InputError, clipped
from hardware_specs.files import is_file, is_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.page_data import Page
    from silicost.saved import Saved

LONGEST_NAME: Final = 80
"""Characters of the folder that a page goes to by itself."""
Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...",
        help="Folder of a run or study, result.json, page, calibration, or a name in runs/.",
    ),
]


def report(
    runs: Runs,
    out: Annotated[
        str, typer.Option("--out", help="The page; default report.html in the run's folder or in ./runs/NAME/.",
                          metavar="FILE.html")
    ] = "",
    static: Annotated[bool, typer.Option("--static", help="Without scripts: for mail, wikis, viewers.")] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:  # fmt: skip
    """Make the page of a run, study, scorecard or calibration again; of several results a page that compares them."""
    from reports.page_data import write_page
    from reports.rendering import render_page_of
    from silicost.saved import read_saved

    saved = [read_saved(text) for text in runs]
    page = page_of(saved)
    place = place_of(out, saved)
    html = render_page_of(page, static)
    write_page(place, html, page)
    for each in saved:
        if each.lacks:
            sys.stderr.write(f"silicost: note: {each.lacks}\n")
    sys.stderr.write(f"silicost: report: {place}\n")
    if open_it:
        show_in_browser(place)


def page_of(saved: Sequence[Saved]) -> Page:
    """One page of all: results side by side, anything else as a table of metrics.

    Raises:
        InputError: too many, or of kinds that have no metric in common.
    """
    from reports.comparing import MOST, compare, entries_of, named_after
    from reports.page_data import Page

    if len(saved) == 1:
        return saved[0].page
    subjects = [(each.name, each.page.subject) for each in saved]
    if all(isinstance(subject, tuple) for _, subject in subjects):
        results = tuple(
            result for name, subject in subjects if isinstance(subject, tuple) for result in named_after(name, subject)
        )
        if len(results) > MOST:
            raise InputError(f"{len(results)} results: must be at most {MOST} on one page")
        return Page("results", results, f"{len(results)} results beside each other", _from(saved))
    shown = compare(entries_of((each.name, each.page) for each in saved), lead=_from(saved))
    return Page("comparison", shown)


def _from(saved: Sequence[Saved]) -> str:
    return f"From {', '.join(each.name for each in saved[:-1])} and {saved[-1].name}."


def place_of(out: str, saved: Sequence[Saved]) -> Path:
    """Where the page goes.

    Raises:
        InputError: ``out`` is a folder, or does not end in .html; a page of more than was read lies where the page
            would go by itself.
    """
    from reports.page_data import data_place
    from silicost.saved import RUNS

    if out:
        if not out.endswith(".html") or is_folder(Path(out)):
            raise InputError(f"--out {clipped(out)}: must be a file that ends in .html")
        return Path(out)
    if len(saved) == 1 and saved[0].folder is not None:
        return saved[0].folder / "report.html"
    name = "-and-".join(each.name for each in saved)
    if len(name) > LONGEST_NAME:
        name = f"{saved[0].name[:40]}-and-{len(saved) - 1}-others"
    place = RUNS / name.replace("/", "-") / "report.html"
    if any(each.lacks for each in saved) and is_file(data_place(place)):
        raise InputError(f"{saved[0].lacks}; {place} has more and stays as it is: name another page with --out")
    return place


def show_in_browser(place: Path) -> None:
    """Open a page in the browser of this machine, or say that there is none."""
    import webbrowser

    try:
        shown = webbrowser.open(place.resolve().as_uri())
    except webbrowser.Error:
        shown = False
    if not shown:
        sys.stderr.write(f"silicost: no browser was found here; open {place} yourself\n")
