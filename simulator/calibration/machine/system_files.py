"""What Linux says of a machine in small files below /proc and /sys, or below another root that looks like it."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

_BINARY: Final = {"K": 2**10, "M": 2**20, "G": 2**30}


class SystemFiles(NamedTuple):
    """The files below ``root``. What is not there, or may not be read, is "" or None."""

    root: Path = Path("/")

    def text(self, place: str) -> str:
        """The text of a file, without white space around it."""
        try:
            return (self.root / place).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def number(self, place: str) -> int | None:
        """The whole number that a file holds."""
        return whole(self.text(place))

    def names(self, folder: str, pattern: str = "*") -> list[str]:
        """Places in ``folder`` whose name fits ``pattern``, those with smaller numbers first."""
        found = [path.name for path in (self.root / folder).glob(pattern)]
        return [f"{folder}/{name}" for name in sorted(found, key=lambda name: (len(name), name))]

    def exists(self, place: str) -> bool:
        """Whether there is such a file or folder."""
        try:
            return (self.root / place).exists()
        except OSError:
            return False


def whole(text: str) -> int | None:
    """The whole number that ``text`` says, decimal or hexadecimal with 0x; None for anything else."""
    try:
        return int(text, 16 if text.lower().startswith("0x") else 10)
    except ValueError:
        return None


def listed(text: str) -> tuple[int, ...]:
    """The numbers of a list of CPUs or nodes as the kernel writes it: "0-2,8" is 0, 1, 2, 8."""
    found: list[int] = []
    for part in text.replace("\n", ",").split(","):
        first, _, last = part.strip().partition("-")
        low, high = whole(first), whole(last or first)
        if low is not None and high is not None:
            found += range(low, high + 1)
    return tuple(found)


def size_bytes(text: str) -> int | None:
    """Bytes of a size as sysfs writes it: "1024K"."""
    number = whole(text.rstrip("KMG"))
    return None if number is None else number * _BINARY.get(text[-1:], 1)


def chosen(text: str) -> str:
    """The choice in brackets of a list of choices: "always [madvise] never" is "madvise"."""
    _, opened, rest = text.partition("[")
    return rest.partition("]")[0] if opened else text
