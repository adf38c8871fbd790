"""Settings of a launch and where each comes from; what could not be said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """One flag or key of the software: its value, the field of the result that it is of, that field's value."""

    flag: str
    value: str
    field: str
    field_value: str
    note: str = ""


class Unsaid(NamedTuple):
    """A field that no setting stands for, and why."""

    field: str
    value: str
    why: str


class Launch(NamedTuple):
    """What starts the software: the text, its settings, what is unsaid, and doubts."""

    runtime: str
    text: str
    settings: tuple[Setting, ...]
    unsaid: tuple[Unsaid, ...]
    doubts: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The keys that programs read."""
        return {
            "schema": 1, "runtime": self.runtime, "text": self.text,
            "settings": [each._asdict() for each in self.settings], "unsaid": [each._asdict() for each in self.unsaid],
            "doubts": list(self.doubts),
        }  # fmt: skip


def header(title: str, settings: Sequence[Setting], unsaid: Sequence[Unsaid], doubts: Sequence[str]) -> list[str]:
    """Comments that say where each setting comes from, each on one line whatever the result holds: a line break in a
    name would end the comment and be run by the shell."""
    wide = max((len(f"{each.flag} {each.value}") for each in settings), default=0)
    lines = [f"# {title}"]
    for each in settings:
        what = f"{each.flag} {each.value}".strip()
        lines.append(f"# {what:{min(wide, 48)}}  <- {each.field} = {each.field_value}{_noted(each.note)}")
    lines += [f"# not said: {each.field} = {each.value}: {each.why}" for each in unsaid]
    lines += [f"# doubt: {doubt}" for doubt in doubts]
    return [_one_line(line) for line in lines]


def _one_line(text: str) -> str:
    """``text`` with what does not print, line breaks above all, as escapes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _noted(note: str) -> str:
    return f" ({note})" if note else ""
