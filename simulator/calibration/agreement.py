"""Whether calibrations agree: parameters within their intervals, and the times that they predict.

Two estimates a < b with 95% intervals are z standard deviations apart, taken on a log scale (fits move parameters on
one) and on the sides that face each other::

    z    = ln(b / a) / sqrt(sd_a^2 + sd_b^2)
    sd_a = ln(a's upper end / a) / 1.96          sd_b = ln(b / b's lower end) / 1.96

They agree where z is at most 1.96: then the difference is no more than 95% of repeats of the two fits show by chance.
Parameters of one law trade off against each other (a share of the peak against a floor), so that they can differ where
the times do not; what matters is the predicted times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import median
from typing import Final, NamedTuple

from hardware_specs.calibrations import Calibration, Calibrations
from hardware_specs.facts import Fact
from hardware_specs.units import dimension_of, parse_quantity
from simulator.uncertainty.intervals import Z95

NARROW: Final = 3.0
"""Ratio of the ends of an interval up to which the samples determine a parameter: a wide interval agrees with most."""


class Estimate(NamedTuple):
    """A parameter of one calibration: its text, its value [SI] and the ends of its 95% interval, None where it has
    none."""

    text: str
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def narrow(self) -> bool:
        """Whether its samples determine it."""
        return self.low is not None and self.high is not None and 0.0 < self.high <= NARROW * self.low


class Pair(NamedTuple):
    """Two of several calibrations, by their places, and how far apart they say a parameter is.

    ``deviations`` are standard deviations of the difference; None where an interval is missing. ``agrees``: they are at
    most ``Z95``.
    """

    first: int
    second: int
    deviations: float | None

    @property
    def agrees(self) -> bool | None:
        """Whether the two agree within their intervals; None where that cannot be said."""
        return None if self.deviations is None else self.deviations <= Z95


class Compared(NamedTuple):
    """One parameter of the entries for the same operators, dtypes, runtimes and weights in several calibrations.

    ``estimates`` has one for each calibration, None where it has no such entry or parameter.
    """

    operators: tuple[str, ...]
    dtypes: tuple[str, ...]
    runtimes: tuple[str, ...]
    weights: str
    parameter: str
    estimates: tuple[Estimate | None, ...]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every two calibrations that have it."""
        known = [(place, each) for place, each in enumerate(self.estimates) if each is not None]
        return tuple(Pair(i, j, deviations(a, b)) for (i, a), (j, b) in combinations(known, 2))

    @property
    def farthest(self) -> Pair | None:
        """The two that are the farthest apart; None where none can be compared."""
        told = [pair for pair in self.pairs if pair.deviations is not None]
        return max(told, key=lambda pair: pair.deviations or 0.0, default=None)

    @property
    def narrow(self) -> bool:
        """Whether the samples of each calibration that has it determine it."""
        return all(each.narrow for each in self.estimates if each is not None)


def deviations(a: Estimate, b: Estimate) -> float | None:
    """Standard deviations between two estimates; infinite where neither has any room, None without intervals.

    Of values that are not positive the scale is not the logarithm, but the value itself.
    """
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return None
    below, above = (a, b) if a.value <= b.value else (b, a)
    if below.value == above.value:
        return 0.0
    assert below.high is not None
    assert above.low is not None
    numbers = [below.value, below.high, above.low, above.value]
    if min(numbers) > 0.0:
        numbers = [math.log(number) for number in numbers]
    low, low_end, high_end, high = numbers
    sd = math.hypot(max(low_end - low, 0.0), max(high - high_end, 0.0)) / Z95
    return (high - low) / sd if sd > 0.0 else math.inf


def compared(found: Sequence[Calibrations]) -> tuple[Compared, ...]:
    """Every parameter of any of the calibrations, side by side, in the order in which they first name it; before them
    the measured rates of their devices, of which parameters are shares.

    Raises:
        UnitError: a value or an end of an interval that is no quantity.
    """
    entries: list[dict[tuple[object, ...], Calibration]] = [
        {_key(entry): entry for entry in each.calibrations} for each in found
    ]
    keys = dict.fromkeys(key for each in entries for key in each)
    rows = _rates(found)
    for key in keys:
        those = [each.get(key) for each in entries]
        one = next(entry for entry in those if entry is not None)
        for name in dict.fromkeys(name for entry in those if entry for name in entry.parameters):
            estimates = tuple(estimate_of(entry, name) if entry else None for entry in those)
            rows.append(Compared(one.operators, one.dtypes, one.runtimes, one.weights, name, estimates))
    return tuple(rows)


def _rates(found: Sequence[Calibrations]) -> list[Compared]:
    """Peaks and bandwidths of the devices that the calibrations bring; they have no intervals."""
    facts: list[dict[str, Fact]] = []
    for device in (each.device for each in found):
        own = {}
        if device is not None:
            own = {f"peak {dtype}": fact for dtype, fact in device.compute.peaks.items()}
            own["memory bandwidth"] = device.memory.bandwidth
            if device.cache is not None and device.cache.bandwidth is not None:
                own["cache bandwidth"] = device.cache.bandwidth
        facts.append(own)
    names = dict.fromkeys(name for own in facts for name in own)
    return [
        Compared(
            ("device",), (), (), "", name,
            tuple(Estimate(own[name].text, own[name].value) if name in own else None for own in facts),
        )
        for name in names
    ]  # fmt: skip


def estimate_of(entry: Calibration, name: str) -> Estimate | None:
    """The parameter ``name`` of an entry; None where it has none."""
    fact = entry.facts.get(name)
    if fact is None:
        return None
    ends = entry.intervals.get(name)
    if not ends:
        return Estimate(fact.text, fact.value)
    place = f"calibration {entry.fit.id}: intervals.{name}"
    low, high = (parse_quantity(end, dimension_of(fact.text), place) for end in ends)
    return Estimate(fact.text, fact.value, low, high)


class Agreement(NamedTuple):
    """How many parameters could be compared and how many of them agree in every pair; the same of those with narrow
    intervals; by how much the median and the farthest differ [standard deviations]."""

    compared: int
    agree: int
    narrow: int
    narrow_agree: int
    median: float
    farthest: float


def agreement_of(rows: Sequence[Compared]) -> Agreement:
    """The count over all parameters that at least two calibrations give with intervals."""
    told = [(row, pair.deviations or 0.0) for row in rows if (pair := row.farthest) is not None]
    if not told:
        return Agreement(0, 0, 0, 0, math.nan, math.nan)
    narrow = [far for row, far in told if row.narrow]
    far = [far for _, far in told]
    return Agreement(
        len(far), sum(each <= Z95 for each in far), len(narrow), sum(each <= Z95 for each in narrow),
        median(far), max(far),
    )  # fmt: skip


class Ratio(NamedTuple):
    """Predicted times of one question under several calibrations [s]; None where one of them has no answer."""

    what: str
    seconds: tuple[float | None, ...]

    @property
    def ratios(self) -> tuple[float | None, ...]:
        """Each time over that of the first calibration."""
        first = self.seconds[0]
        return tuple(None if time is None or not first else time / first for time in self.seconds)


def spread_of(rows: Sequence[Ratio]) -> Mapping[str, float]:
    """Over all questions and later calibrations: the geometric mean of their ratio to the first, and the typical and
    the largest distance from 1 as a factor, mean and maximum of exp(|ln ratio|)."""
    logs = [math.log(ratio) for row in rows for ratio in row.ratios[1:] if ratio]
    if not logs:
        return {"mean": math.nan, "typical": math.nan, "largest": math.nan}
    return {
        "mean": math.exp(math.fsum(logs) / len(logs)),
        "typical": math.exp(math.fsum(map(abs, logs)) / len(logs)),
        "largest": math.exp(max(map(abs, logs))),
    }


def _key(entry: Calibration) -> tuple[object, ...]:
    return frozenset(entry.operators), frozenset(entry.dtypes), frozenset(entry.runtimes), entry.weights
