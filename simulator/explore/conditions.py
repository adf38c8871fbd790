"""Conditions on points: "tp * pp <= 8", "if device == tpu-v5p then dtype in bf16|int8"; parsed, never executed.

CONDITION   [if COMPARISON {and COMPARISON} then] COMPARISON {and COMPARISON}
COMPARISON  TERM (== | != | <= | < | >= | >) TERM, or NAME in VALUE|VALUE|...
TERM        a product (*) of names, numbers and quantities ("3 TB/s"), or a text alone, in quotes where a name of
            an axis could be meant
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from hardware_specs.errors import InputError, clipped
from hardware_specs.units import dimension_of, parse_quantity
from simulator.explore.comparisons import OPERATORS, Comparison, Factor, all_hold, check, names_in
from simulator.explore.points import Column

_TOKEN: Final = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|(==|!=|<=|>=|=|<|>|\*|\|)|([^\s"'=!<>*|]+)|(.))""")
_NUMBER: Final = re.compile(r"[+-]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?")
_KEYWORDS: Final = ("if", "then", "and", "in", "or", "not")
_GRAMMAR: Final = "write 'tp * pp <= 8', 'dtype in bf16|fp8' or 'if COMPARISON then COMPARISON', joined by 'and'"


@dataclass(frozen=True)
class Condition:
    """What points have to hold: where all of ``given`` hold, all of ``wanted`` too.

    Numbers that differ by less than one part in 10^12 are equal. Quantities compare in SI units, whatever they are
    written in; texts, true and false are equal or not.
    """

    text: str
    given: tuple[Comparison, ...]
    wanted: tuple[Comparison, ...]
    place: str = ""

    def check(self, columns: Mapping[str, Column]) -> tuple[str, ...]:
        """The names that it speaks of, in order.

        Args:
            columns: a column with all values of every name; of a continuous one, its ends.

        Raises:
            UnknownName: a word that is no name, and no value of the name that it is compared with.
            UnitError: a text compared with a number, a time with a size.
            InputError: no name at all.
        """
        names: dict[str, None] = {}
        for comparison in (*self.given, *self.wanted):
            check(comparison, columns, _label(self.text, self.place))
            names.update(dict.fromkeys(names_in(comparison, columns)))
        if not names:
            raise InputError(
                f"{_label(self.text, self.place)}: speaks of no axis; the axes are {clipped(', '.join(columns))}"
            )
        return tuple(names)

    def holds(self, columns: Mapping[str, Column]) -> NDArray[np.bool_]:
        """Whether each of n points holds it, shape [n]."""
        count = len(next(iter(columns.values())))
        wanted = all_hold(self.wanted, columns, count)
        return wanted | ~all_hold(self.given, columns, count) if self.given else wanted


def _label(text: str, place: str) -> str:
    return f"{place + ': ' if place else ''}condition {clipped(text)!r}"


def parse_condition(text: str, place: str = "") -> Condition:
    """The condition that a text says.

    Args:
        text: as the grammar of this file allows.
        place: where it stands, for errors ("study.toml: conditions[0]").

    Raises:
        InputError: not that grammar; says where it ends.
    """
    return _Parser(text, place).condition()


class _Parser:
    """Tokens of a text, from left to right: (kind, text) with kind "quoted", "sign" or "word"."""

    def __init__(self, text: str, place: str) -> None:
        self.text, self.place = text, place
        self.at, self.tokens = 0, [("end", "")]
        found = []
        for match in _TOKEN.finditer(text.rstrip()):
            if match[5] is not None:
                self.refuse(f"{match[5]!r} does not belong here; {_GRAMMAR}")
            quoted = match[1] if match[1] is not None else match[2]
            if quoted is not None:
                found.append(("quoted", quoted))
            else:
                found.append(("sign", match[3]) if match[3] else ("word", match[4]))
        self.tokens = [*found, ("end", "")]

    def condition(self) -> Condition:
        given: tuple[Comparison, ...] = ()
        if self.takes("if"):
            given = self.comparisons()
            if not self.takes("then"):
                self.refuse_here("'then' or 'and'")
        wanted = self.comparisons()
        if self.now[0] != "end":
            self.refuse_here("'and' or the end")
        return Condition(self.text, given, wanted, self.place)

    def comparisons(self) -> tuple[Comparison, ...]:
        found = [self.comparison()]
        while self.takes("and"):
            found.append(self.comparison())
        return tuple(found)

    def comparison(self) -> Comparison:
        left = self.chain("*")
        if self.takes("in"):
            return Comparison(left, "in", self.chain("|"))
        kind, sign = self.now
        if kind != "sign" or sign not in OPERATORS:
            self.refuse_here("one of == != <= < >= > in")
        self.at += 1
        return Comparison(left, sign, self.chain("*"))

    def chain(self, sign: str) -> tuple[Factor, ...]:
        found = [self.factor()]
        while self.now == ("sign", sign):
            self.at += 1
            found.append(self.factor())
        return tuple(found)

    def factor(self) -> Factor:
        kind, token = self.now
        if kind not in ("quoted", "word") or (kind == "word" and token in _KEYWORDS):
            self.refuse_here("a name, a number or a text")
        self.at += 1
        if kind == "quoted":
            return Factor(token)
        if token in ("true", "false"):
            return Factor(token == "true")
        if not _NUMBER.fullmatch(token):
            return Factor(token, bare=True)
        if self.now[0] == "word" and self.now[1] not in _KEYWORDS:
            self.at += 1
            quantity = f"{token} {self.tokens[self.at - 1][1]}"
            parse_quantity(quantity, dimension_of(quantity), self.label())
            return Factor(quantity)
        return Factor(parse_quantity(token, "number", self.label()))

    @property
    def now(self) -> tuple[str, str]:
        return self.tokens[self.at]

    def takes(self, keyword: str) -> bool:
        taken = self.now == ("word", keyword)
        self.at += taken
        return taken

    def refuse_here(self, wanted: str) -> NoReturn:
        kind, token = self.now
        found = "it ends" if kind == "end" else f"there is {clipped(token)!r}"
        hint = "; equality is ==" if token == "=" else f"; {_GRAMMAR}" if token in ("or", "not") else ""
        self.refuse(f"{found} where {wanted} should be{hint}")

    def refuse(self, why: str) -> NoReturn:
        raise InputError(f"{self.label()}: {why}")

    def label(self) -> str:
        return _label(self.text, self.place)
