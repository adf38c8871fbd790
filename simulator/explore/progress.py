"""How far a study is."""

from __future__ import annotations

from typing import NamedTuple


class Progress(NamedTuple):
    """What is done of a study's points; ``kept`` ones were there before, ``given_up`` ones cannot be computed.

    ``rows`` counts rows of the table, fewer than points where conditions drop some; ``seconds`` since the first part
    was computed [s].
    """

    parts: int
    points: int
    parts_kept: int = 0
    parts_made: int = 0
    parts_given_up: int = 0
    points_kept: int = 0
    points_made: int = 0
    points_given_up: int = 0
    rows: int = 0
    seconds: float = 0.0

    @property
    def parts_done(self) -> int:
        """Parts that are dealt with."""
        return self.parts_kept + self.parts_made + self.parts_given_up

    @property
    def points_done(self) -> int:
        """Points that are dealt with."""
        return self.points_kept + self.points_made + self.points_given_up

    @property
    def points_per_s(self) -> float:
        """Points computed a second [1/s]; 0 as long as none is."""
        return self.points_made / self.seconds if self.seconds > 0.0 else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds until all is done at the rate so far [s]; None as long as there is none."""
        left = self.points - self.points_done
        if not left:
            return 0.0
        return left / self.points_per_s if self.points_per_s > 0.0 else None
