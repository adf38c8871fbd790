"""From texts to the values of an axis: "a,b,c", "1:512:*2", "128:4096:+128", "1x,2x,4x", "3 TB/s:6 TB/s:+500 GB/s"."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

from hardware_specs.errors import InputError, UnitError, clipped
from hardware_specs.units import dimension_of, parse_quantity
from simulator.explore.points import Value
from simulator.explore.space import LARGEST_WHOLE, MOST_VALUES, Range

_NUMBER: Final = r"[+-]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?"
_QUANTITY: Final = re.compile(rf"({_NUMBER})(\s*)(\D.*)?")
_WHOLE: Final = re.compile(r"[+-]?\d[\d_]*")
_NO_NUMBER: Final = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_PIECE: Final = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)')\s*(,|$)|([^,]*)(,|$)""")
_SWITCHES: Final = {"true": True, "false": False}
_ALLOWED: Final = "write start:stop:+step or start:stop:*factor, as 128:4096:+128 or 1:512:*2"
_LARGEST_EXPONENT: Final = 300
"""Numbers beyond 1e300 or within 1e-300 are slips."""
_LONGEST: Final = 40
"""Longest text of a number [characters]."""
_PRECISE: Final = Context(prec=50)
"""Products of a factor: more digits than a text of a number may have, so that a stop that is met is met exactly."""


def values_of(given: object, place: str = "") -> tuple[Value, ...]:
    """The values of one axis.

    Args:
        given: a text, its items separated by commas; a number or bool; or a list of items, numbers and bools.
            An item is a whole number (int), another number (float), true or false (bool), a text, or a range:
            ``start:stop:+step`` or ``start:stop:*factor``, with the stop where it is met, of numbers or of quantities
            with units. A quantity ("2x", "3 TB/s") stays the text that it is, and what stands in quotes is a text,
            commas included.
        place: where it stands, for errors ("--batch", "study.toml: axes.batch").

    Returns:
        The values as they stand; a range of whole numbers gives ints, another floats, each the nearest to its exact
        decimal; a range of quantities gives texts in the unit of its start.

    Raises:
        InputError: an empty item, a number that is not finite or too large, a range without a step, with a step that
            does not lead from start to stop, or with units that differ in kind, or more than 10 million values.
    """
    values: list[Value] = []
    for item in _items(given, place):
        found = _of_item(item, place) if isinstance(item, _Item) else (item,)
        if len(values) + len(found) > MOST_VALUES:
            raise _error(place, str(given), f"more than {MOST_VALUES:,} values; take a larger step")
        values.extend(found)
    return tuple(values)


@dataclass(frozen=True)
class _Item:
    """What stands between two commas, outside quotes."""

    text: str


@dataclass(frozen=True)
class _Amount:
    """A number of a range, in the unit of its start."""

    number: Fraction
    whole: bool


def _items(given: object, place: str) -> Iterator[Value | _Item]:
    if isinstance(given, str):
        yield from _split(given, place)
    elif isinstance(given, Sequence) and given:
        for one in given:
            yield _Item(one.strip()) if isinstance(one, str) and one.strip() else _single(one, place)
    else:
        yield _single(given, place)


def _single(given: object, place: str) -> Value:
    if isinstance(given, (bool, str)):
        return given
    if isinstance(given, (int, float)):
        return _checked(given, str(given), place)
    raise _error(place, repr(given), "no value; allowed: texts, numbers, true, false, and lists of them")


def _split(text: str, place: str) -> Iterator[Value | _Item]:
    """The items of a text between its commas; quoted ones are texts already."""
    at, more = 0, True
    while more:
        match = _PIECE.match(text, at)
        assert match is not None
        if match[3] is not None:
            yield match[1] if match[1] is not None else match[2]
        else:
            item = match[4].strip()
            if not item:
                raise _error(place, text, "an item is empty; write values between the commas")
            if item[0] in "\"'":
                raise _error(place, text, f"the quote {item[0]} is not closed before the next comma")
            yield _Item(item)
        at, more = match.end(), (match[3] or match[5]) == ","


def _of_item(item: _Item, place: str) -> Sequence[Value]:
    text = item.text
    parts = [part.strip() for part in text.split(":")]
    if _NO_NUMBER.fullmatch(parts[0]):
        raise _error(place, text, "not a finite number (in quotes it is a text)")
    if len(parts) > 1 and (_QUANTITY.fullmatch(parts[0]) or (len(parts) == 3 and parts[2][:1] in ("+", "*"))):
        return _Ladder(text, parts, place).values()
    if text.lower() in _SWITCHES:
        return (_SWITCHES[text.lower()],)
    if _WHOLE.fullmatch(text):
        return (_checked(_exact(text, text, place).numerator, text, place),)
    if re.fullmatch(_NUMBER, text):
        return (_checked(float(_exact(text, text, place)), text, place),)
    return (text,)


def range_of(name: str, low: object, high: object, *, log: bool = False, whole: bool = False, place: str = "") -> Range:
    """The continuous axis between two ends, each a number or a quantity of one kind; in the unit of the low end.

    Raises:
        InputError: an end that is no finite number, of another unit, or what ``Range`` refuses.
    """
    ends = f"{low} to {high}"
    parts = _Parts(str(low).strip(), ends, place)
    first, last = (float(parts.amount(str(end).strip()).number) for end in (low, high))
    try:
        return Range(name, first, last, log=log, whole=whole, unit=parts.unit)
    except InputError as error:
        raise InputError(f"{place}: {error}" if place else str(error)) from None


class _Parts:
    """The numbers of a range, in the unit of the first."""

    def __init__(self, first: str, text: str, place: str) -> None:
        self.text, self.place = text, place
        match = _QUANTITY.fullmatch(first)
        if match is None:
            raise self.refused(f"{first!r} is no number; allowed: 128, 0.5, 3 TB/s")
        self.gap, self.unit = match[2], match[3] or ""
        self.dimension = dimension_of(first)

    def amount(self, part: str) -> _Amount:
        """A number with its unit."""
        match = _QUANTITY.fullmatch(part)
        if match is None:
            raise self.refused(f"{part!r} is no number; allowed: 128, 0.5, 3 TB/s")
        unit = match[3] or ""
        where = f"{self.place}: {clipped(self.text)!r}" if self.place else repr(clipped(self.text))
        parse_quantity(part, self.dimension, where)
        if bool(unit) != bool(self.unit):
            raise UnitError(f"{where}: {part!r} has the unit {unit!r}, the start {self.unit!r}")
        number = self.plain(match[1])
        if unit == self.unit:
            return number
        return _Amount(number.number * self._scale(unit) / self._scale(self.unit), False)

    def plain(self, part: str) -> _Amount:
        """A number without a unit."""
        if not re.fullmatch(_NUMBER, part):
            raise self.refused(f"{part!r} is no plain number; allowed: 2, 1.5")
        return _Amount(_exact(part, self.text, self.place), bool(_WHOLE.fullmatch(part)))

    def with_unit(self, number: int | float) -> str:
        """The text of a quantity."""
        plain = int(number) if number == int(number) and abs(number) < 1e15 else number
        return f"{plain!r}{self.gap}{self.unit}"

    def refused(self, why: str) -> InputError:
        """The error that says why the range is none."""
        return _error(self.place, self.text, why)

    def _scale(self, unit: str) -> Fraction:
        return Fraction(repr(parse_quantity(f"1 {unit}", self.dimension)))


class _Ladder:
    """A range: start, stop, and the step or factor between neighbours."""

    def __init__(self, text: str, parts: Sequence[str], place: str) -> None:
        if len(parts) != 3 or parts[2][:1] not in ("+", "*"):
            raise _error(place, text, f"a range with no +step or *factor; {_ALLOWED} (in quotes it is a text)")
        self.parts = _Parts(parts[0], text, place)
        self.grows, by = parts[2][0] == "*", parts[2][1:].strip()
        self.start, self.stop = self.parts.amount(parts[0]), self.parts.amount(parts[1])
        self.step = self.parts.plain(by) if self.grows else self.parts.amount(by)
        self._check()

    def values(self) -> Sequence[Value]:
        """All values, from start to stop."""
        whole = self.start.whole and self.step.whole
        numbers = list(self._products(whole) if self.grows else self._sums(whole))
        for number in (numbers[0], numbers[-1]):
            _checked(number, self.parts.text, self.parts.place)
        return [self.parts.with_unit(number) for number in numbers] if self.parts.unit else numbers

    def _sums(self, whole: bool) -> Iterable[int | float]:
        """start + i step, exact over the common denominator and rounded once each."""
        start, step, stop = self.start.number, self.step.number, self.stop.number
        under = math.lcm(start.denominator, step.denominator)
        last = math.floor((stop - start) / step)
        numerators = range(int(start * under), int((start + last * step) * under) + 1, int(step * under))
        return numerators if whole else (numerator / under for numerator in numerators)

    def _products(self, whole: bool) -> Iterator[int | float]:
        """start factor^i, in whole numbers or 50 digits."""
        if whole:
            number = self.start.number.numerator
            while number <= self.stop.number:
                yield number
                number *= self.step.number.numerator
            return
        value, factor, stop = (_decimal(amount.number) for amount in (self.start, self.step, self.stop))
        while value <= stop:
            yield float(value)
            value = _PRECISE.multiply(value, factor)

    def _check(self) -> None:
        start, stop, step = self.start.number, self.stop.number, self.step.number
        if self.grows and start <= 0:
            raise self.parts.refused("a factor needs a start above zero; write start:stop:+step")
        if step <= (1 if self.grows else 0):
            kind, least = ("factor", "1") if self.grows else ("step", "0")
            raise self.parts.refused(f"the {kind} must be above {least}: values go up from the start")
        if stop < start:
            raise self.parts.refused("the stop lies below the start: values go up, write the smaller number first")
        rungs = 1 + math.floor(_log(stop / start) / _log(step) if self.grows else (stop - start) / step)
        if rungs > MOST_VALUES:
            raise self.parts.refused(f"about {rungs:,} values, more than {MOST_VALUES:,}; take a larger step")


def _exact(number: str, text: str, place: str) -> Fraction:
    """The number as it is written."""
    digits = number.replace("_", "")
    if len(digits) > _LONGEST:
        raise _error(place, text, f"a number of {len(digits)} characters; at most {_LONGEST}")
    decimal = Decimal(digits)
    if decimal and abs(decimal.adjusted()) > _LARGEST_EXPONENT:
        raise _error(place, text, f"out of range; allowed: up to 1e{_LARGEST_EXPONENT} and down to "
                     f"1e-{_LARGEST_EXPONENT}")  # fmt: skip
    return Fraction(decimal)


def _decimal(number: Fraction) -> Decimal:
    return _PRECISE.divide(Decimal(number.numerator), Decimal(number.denominator))


def _log(number: Fraction) -> float:
    return float(_decimal(number).ln(_PRECISE))


def _checked(number: int | float, text: str, place: str) -> int | float:
    if isinstance(number, float) and not math.isfinite(number):
        raise _error(place, text, "not a finite number")
    if isinstance(number, int) and abs(number) >= LARGEST_WHOLE:
        raise _error(place, text, "a whole number of more than 64 bits; write it as a decimal (1e20)")
    return number


def _error(place: str, text: str, why: str) -> InputError:
    return InputError(f"{place + ': ' if place else ''}{clipped(text)!r}: {why}")
