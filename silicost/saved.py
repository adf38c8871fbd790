"""What commands have left on the disk, read back: folders of runs and studies, results, pages' data, calibrations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from hardware_specs.errors import InputError, clipped, nearest
from hardware_specs.files import is_file, is_folder
from reports.page_data import SUFFIX, Page, data_place, page_from
from simulator.result_json import is_result, result_from

if TYPE_CHECKING:
    from simulator.calibration.samples import Measurement
    from simulator.result import Result

RUNS: Final = Path("runs")
"""Where runs and studies lie that no ``--out`` puts elsewhere."""
RESULT, PAGE_DATA, STUDY = "result.json", f"report{SUFFIX}", "study.json"
ALLOWED: Final = (
    "allowed: a folder of a run or study, result.json, a page or its .page.json, a calibration (.toml), a name in runs/"
)


class Saved(NamedTuple):
    """What was read: a short name, what a page shows of it, its folder (None: it is a file elsewhere), and what the
    file lacks, in words."""

    name: str
    page: Page
    folder: Path | None = None
    lacks: str = ""


def read_saved(text: str) -> Saved:
    """What lies at the path ``text``, or in ``runs/`` under that name.

    Raises:
        InputError: nothing is there, or nothing that can be read: with the nearest names, and what is allowed.
    """
    if not text.strip():
        raise InputError(f"'': names no run; {ALLOWED}")
    place, folder = Path(text), run_folder(text)
    if folder is not None:
        return _of_folder(folder)
    if is_file(place):
        return _of_file(place)
    raise InputError(f"{clipped(text)}: there is no such file or folder{_meant(place)}; {ALLOWED}")


def run_folder(text: str) -> Path | None:
    """The folder at the path ``text``, or in ``runs/`` under that name; None where neither is there."""
    place = Path(text)
    if is_folder(place):
        return place
    return RUNS / text if text.strip() and not is_file(place) and is_folder(RUNS / text) else None


def _meant(place: Path) -> str:
    """The neighbours and the runs that a slip may have meant, in words."""
    known: dict[str, str] = {}
    for folder in (RUNS, place.parent):
        for each in _inside(folder):
            if each.is_dir() or each.suffix in (".json", ".toml", ".html"):
                known[each.name] = str(each)
    close = [known[name] for name in nearest(place.name, known)]
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _of_folder(folder: Path) -> Saved:
    """A folder: its study, else the data of its page, else its result."""
    name = folder.resolve().name
    if is_file(folder / STUDY):
        return Saved(name, _study(folder), folder)
    for place in (folder / PAGE_DATA, folder / RESULT):
        if is_file(place):
            return _of_file(place)._replace(name=name, folder=folder)
    others = sorted(folder.glob(f"*{SUFFIX}"))
    if len(others) == 1:
        return _of_file(others[0])._replace(name=name, folder=folder)
    held = f"several {SUFFIX} files, name one" if others else f"holds no {STUDY}, {PAGE_DATA} or {RESULT}"
    inside = [each.name for each in folder.iterdir() if (each / RESULT).is_file() or (each / STUDY).is_file()]
    hint = f"; it has folders of runs: {clipped(', '.join(sorted(inside)))}" if inside and not others else ""
    raise InputError(f"{clipped(str(folder))}: {held}{hint}; {ALLOWED}")


def _of_file(place: Path) -> Saved:
    """A file, by how its name ends and by what is in it."""
    if place.suffix == ".html":
        data = data_place(place)
        if not is_file(data):
            raise InputError(f"{place}: is a page without its data ({data.name}); run the command that made it again")
        place = data
    if place.suffix == ".toml":
        return _calibration(place)
    if place.name == STUDY:
        return _of_folder(place.parent)
    if place.suffix != ".json":
        raise InputError(f"{clipped(str(place))}: is no file that a report is made of; {ALLOWED}")
    table = _json(place)
    name = _name_of(place)
    if isinstance(table, dict) and {"form", "subject"} <= table.keys():
        return Saved(name, page_from(table, str(place)))
    rows = table if isinstance(table, list) else [table]
    if rows and all(map(is_result, rows)):
        results = tuple(result_from(row, str(place)) for row in rows)
        whole = _whole(place, results)
        if whole is not None:
            return Saved(name, whole)
        title = results[0].title if len(results) == 1 else f"{len(results)} results of {name}"
        lacks = f"{place}: has no operators and no timeline, so that figures of them are left out"
        return Saved(name, Page("results", results, title), lacks=lacks)
    beside = place.with_name(PAGE_DATA)
    if place.name == RESULT and is_file(beside):
        return _of_file(beside)._replace(name=name)
    raise InputError(f"{place}: is JSON of another kind, or of a served run without {PAGE_DATA} beside it; {ALLOWED}")


def _whole(place: Path, results: tuple[Result, ...]) -> Page | None:
    """The page's data beside ``result.json``, which has the operators and timelines of the same results too."""
    beside = place.with_name(PAGE_DATA)
    if place.name != RESULT or not is_file(beside):
        return None
    page = _of_file(beside).page
    shown = page.subject if isinstance(page.subject, tuple) else ()
    same = [each.metrics for each in shown] == [each.metrics for each in results]
    return page if same else None


def _name_of(place: Path) -> str:
    """A file that is named as every run names it is called by its folder."""
    own = place.name.removesuffix(SUFFIX).removesuffix(".json")
    return place.resolve().parent.name if own in ("result", "report") else own


def _json(place: Path) -> Any:
    try:
        text = place.read_bytes()
    except OSError as error:
        raise InputError(f"{place}: cannot be read ({error.strerror})") from None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        hint = "; NaN and Infinity are no numbers of JSON" if b"NaN" in text or b"Infinity" in text else ""
        raise InputError(f"{place}: no JSON: {clipped(str(error))}{hint}") from None


def _study(folder: Path) -> Page:
    """The page of a study, from its rows; of another command (a search for capacity), the one that lies beside them."""
    from silicost.studies.page import card_of
    from silicost.studies.study import study_from_text
    from silicost.studies.summary import summarise
    from simulator.explore.reading import open_study

    stored = open_study(folder)
    try:
        asked = study_from_text(stored.manifest.definition.text)
    except (InputError, msgspec.DecodeError):
        beside = folder / PAGE_DATA
        if is_file(beside):
            return page_from(_json(beside), str(beside))
        why = f"is a study of another command, whose --report did not put {PAGE_DATA} there; its rows: silicost export"
        raise InputError(f"{folder}: {why} {clipped(str(folder))} --as csv") from None
    found = summarise(stored, asked.metrics, asked.objectives)
    return Page("study", card_of(asked, stored, found))


def _calibration(place: Path) -> Saved:
    """The page of a calibration file, with its samples where they lie beside it."""
    from silicost.calibration_page import card_of
    from simulator.calibration.samples import read_samples
    from simulator.calibration.use import read_calibration

    found = read_calibration(place)
    samples = place.with_suffix(".samples.parquet")
    measurements: Sequence[Measurement] = read_samples(samples).measurements if is_file(samples) else ()
    lacks = "" if measurements else f"{place}: {samples.name} is not beside it, so that no sample is shown"
    return Saved(place.stem, Page("calibration", card_of(found, measurements)), lacks=lacks)
