"""Why rows were left out, counted."""

from __future__ import annotations

from collections import Counter


class Reasons:
    """Collects reasons; ``texts`` are "reason" or "reason (n rows)", in the order of the file."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, reason: str, rows: int = 1) -> None:
        """``rows`` more were left out for ``reason``."""
        self._counts[reason] += rows

    @property
    def texts(self) -> tuple[str, ...]:
        """One text for each reason."""
        return tuple(f"{reason} ({n} rows)" if n > 1 else reason for reason, n in self._counts.items())
