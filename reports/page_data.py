"""What a page shows, as a file beside it: ``report.page.json`` of ``report.html``, from which it can be made again.

The file is JSON: the form of the page, its title and lead, and its subject with the fields of its own records, named
tuples as arrays. JSON knows no NaN and no infinity: they are the texts "nan", "inf" and "-inf".
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec
import numpy as np

from hardware_specs.errors import InputError, UnknownName, clipped
from hardware_specs.files import is_stream, write_texts
from reports.calibration import MachineCard
from reports.capacity import CapacityCard
from reports.compared import Comparison
from reports.recommendation import Recommendation
from reports.scorecard import Scorecard
from reports.serving import ServedCard
from reports.study import StudyCard
from reports.whatif import WhatIf
from simulator.result import Result

SCHEMA: Final = 1
"""Version of the file: it grows by one when a field goes away or changes its meaning."""
Form = Literal[
    "results", "served", "study", "scorecard", "calibration", "whatif", "comparison", "recommendation", "capacity"
]
Subject = (
    tuple[Result, ...] | ServedCard | StudyCard | Scorecard | MachineCard | WhatIf | Comparison | Recommendation
    | CapacityCard
)  # fmt: skip
TYPES: Final[dict[str, Any]] = {
    "results": tuple[Result, ...], "served": ServedCard, "study": StudyCard, "scorecard": Scorecard,
    "calibration": MachineCard, "whatif": WhatIf, "comparison": Comparison,
    "recommendation": Recommendation, "capacity": CapacityCard,
}  # fmt: skip
SUFFIX: Final = ".page.json"


class Page(NamedTuple):
    """What a page shows; ``title`` and ``lead`` are of results, whose subject has none."""

    form: Form
    subject: Subject
    title: str = ""
    lead: str = ""


def data_place(page: Path) -> Path:
    """Where the data of the page at ``page`` lies."""
    return page.parent / f"{page.stem}{SUFFIX}"


def write_page(path: Path, html: str, page: Page) -> None:
    """Write a page and its data beside it, both or none; where ``path`` is a device or a FIFO, the page alone.

    Raises:
        InputError: a place cannot be written.
    """
    write_texts(page_texts(path, html, page))


def page_texts(path: Path, html: str, page: Page) -> dict[Path, str | bytes]:
    """The files that ``write_page`` writes, for ``hardware_specs.files.write_texts``."""
    return {path: html} if is_stream(path) else {path: html, data_place(path): data_of(page)}


def data_of(page: Page) -> bytes:
    """``page`` as JSON; the same page gives the same bytes."""
    whole = {"schema": SCHEMA, "form": page.form, "title": page.title, "lead": page.lead, "subject": page.subject}
    return msgspec.json.encode(_said(msgspec.to_builtins(whole, enc_hook=_array_as_list))) + b"\n"


def page_from(table: Any, place: str) -> Page:
    """The page in a file that ``data_of`` has made.

    Args:
        table: the file, decoded.
        place: its name, for errors.

    Raises:
        InputError: of another version, with an unknown form, or with a field that is missing or of another kind.
    """
    schema, form = table.get("schema"), table.get("form")
    if schema != SCHEMA:
        raise InputError(f"{place}: schema {clipped(repr(schema))}: this version of silicost reads schema {SCHEMA}")
    if form not in TYPES:
        raise UnknownName("form of a page", str(form), TYPES, f"allowed: {', '.join(TYPES)}", place)
    try:
        subject = msgspec.convert(table.get("subject"), TYPES[form], strict=False, dec_hook=_list_as_array)
        title, lead = (msgspec.convert(table.get(name, ""), str) for name in ("title", "lead"))
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        raise InputError(f"{place}: no page of form {form!r}: {clipped(str(error))}") from None
    return Page(form, subject, title, lead)


def _array_as_list(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in a page")


def _list_as_array(kind: Any, value: Any) -> Any:
    """An array of the kind that a record declares; msgspec asks for nothing else."""
    (dtype,) = get_args(get_args(kind)[1])
    return np.array(value, dtype)


def _said(value: Any) -> Any:
    """``value`` with texts for numbers that are not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        # A lone surrogate has no place in a file; a page shows the same in its stead.
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_said(key): _said(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_said(each) for each in value]
    return value
