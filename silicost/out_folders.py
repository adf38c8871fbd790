"""Folders that commands write to, checked before anything is computed: one folder holds one kind of thing."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from hardware_specs.errors import InputError, clipped
from hardware_specs.files import is_file
from silicost.saved import RESULT, STUDY
from simulator.result_json import is_result

RECOMMENDATION: Final = "recommendation.json"
A_STUDY: Final = "a study"
A_RECOMMENDATION: Final = "a recommendation"
A_RUN: Final = "a simulated run"
A_SERVED: Final = "a served run"


def check_out(text: str, kind: str = "", flag: str = "--out") -> None:
    """Refuse a place that a command cannot put its files in.

    Args:
        text: the folder, which need not be there.
        kind: what the command writes, as ``kind_of`` calls it; "": what checks by itself.

    Raises:
        InputError: it or a folder above it is a file, or it holds something of another kind, which the new files
            would hide or be hidden by.
    """
    folder = Path(text)
    for place in (folder, *folder.parents):
        if is_file(place):
            raise InputError(f"{flag} {clipped(str(place))}: is a file, not a folder")
    there = kind_of(folder) if kind else ""
    if there and there != kind:
        raise InputError(
            f"{flag} {clipped(text)}: holds {there}, which {kind} cannot lie beside; name an empty or new folder"
        )


def kind_of(folder: Path) -> str:
    """What a folder holds; "" for none of those that commands write, and for what is not there."""
    if is_file(folder / STUDY):
        return A_STUDY
    if is_file(folder / RECOMMENDATION):
        return A_RECOMMENDATION
    try:
        whole = msgspec.json.decode((folder / RESULT).read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    first = whole[0] if isinstance(whole, list) and whole else whole
    return A_RUN if is_result(first) else A_SERVED if isinstance(first, dict) else ""
