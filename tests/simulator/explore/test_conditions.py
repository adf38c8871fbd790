"""Conditions equal what exact arithmetic in plain Python says; what makes no sense is refused."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError, UnitError, UnknownName
from simulator.explore.conditions import Condition, parse_condition
from simulator.explore.space import Axis, Column, Range, Space, Value

AXES: dict[str, tuple[Value, ...]] = {
    "device": ("h100", "tpu-v5p", "a100"),
    "partner": ("a100", "h100"),
    "tp": (1, 2, 4, 8),
    "pp": (1, 3),
    "share": (0.1, 0.2, 0.3),
    "memory.bandwidth": ("1 TB/s", "3000 GB/s", "6 TB/s"),
    "size": ("1x", "150%", "2x"),
    "flash": (True, False),
}
SPACE = Space(tuple(Axis((name,), tuple((value,) for value in values)) for name, values in AXES.items()))
EVERY = [dict(zip(AXES, row, strict=True)) for row in itertools.product(*AXES.values())]
SI = {"TB/s": 10**12, "GB/s": 10**9, "x": 1, "%": Fraction(1, 100)}
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def kept(*texts: str) -> list[dict[str, Value]]:
    space = Space(SPACE.axes, tuple(map(parse_condition, texts)))
    points = space.points(0, space.size)
    return [points.row(i) for i in range(len(points))]


def exact(value: Value) -> Any:
    """A value as exact arithmetic sees it."""
    if isinstance(value, bool) or (isinstance(value, str) and not value[0].isdigit()):
        return value
    if isinstance(value, str):
        number, unit = (value[:-1], value[-1]) if value[-1] in "x%" else value.split(" ")
        return Fraction(number) * SI[unit]
    return Fraction(str(value))


def term(factors: list[str], row: dict[str, Value]) -> Any:
    sizes = [exact(row[f]) if f in row else exact(f.strip("'")) if not f[0].isdigit() else Fraction(f) for f in factors]
    product = sizes[0]
    for size in sizes[1:]:
        product *= size
    return product


NUMBERS = st.lists(st.sampled_from(["tp", "pp", "share", "size", "2", "0.3", "1.5", "8"]), min_size=1, max_size=3)


@st.composite
def comparisons(draw: Any) -> tuple[str, Callable[[dict[str, Value]], bool]]:
    """The text of a comparison, and the same in Python."""
    kind = draw(st.sampled_from(["numbers", "texts", "alternatives", "switch"]))
    if kind == "numbers":
        left, right, sign = draw(NUMBERS), draw(NUMBERS), draw(st.sampled_from(sorted(OPERATORS)))
        return (
            f"{' * '.join(left)} {sign} {'*'.join(right)}",
            lambda row: OPERATORS[sign](term(left, row), term(right, row)),
        )
    sign = draw(st.sampled_from(["==", "!="]))
    if kind == "texts":
        other = draw(st.sampled_from(["partner", "h100", "tpu-v5p", "'b200'"]))
        return f"device {sign} {other}", lambda row: OPERATORS[sign](exact(row["device"]), term([other], row))
    if kind == "switch":
        wanted = draw(st.sampled_from(["true", "false"]))
        return f"flash {sign} {wanted}", lambda row: OPERATORS[sign](row["flash"], wanted == "true")
    name = draw(st.sampled_from(["device", "partner", "tp"]))
    options = draw(st.lists(st.sampled_from(AXES[name]), min_size=1, max_size=3))
    return f"{name} in {'|'.join(map(str, options))}", lambda row: row[name] in options


@settings(deadline=None)
@given(st.lists(comparisons(), max_size=2), st.lists(comparisons(), min_size=1, max_size=2))
def test_conditions_equal_exact_arithmetic(when: list[Any], then: list[Any]) -> None:
    spoken = set(AXES) & {word.strip("'") for text, _ in [*when, *then] for word in text.replace("*", " ").split()}
    text = " and ".join(text for text, _ in then)
    if when:
        text = f"if {' and '.join(text for text, _ in when)} then {text}"
    wanted = [r for r in EVERY if not all(f(r) for _, f in when) or all(f(r) for _, f in then)]
    if spoken:
        assert kept(text) == wanted
    else:
        with pytest.raises(InputError, match="speaks of no axis"):
            kept(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("memory.bandwidth >= 3 TB/s", ["3000 GB/s", "6 TB/s"]),
        ("memory.bandwidth == 3TB/s", ["3000 GB/s"]),
        ("memory.bandwidth > 3 TB/s", ["6 TB/s"]),
        ("memory.bandwidth in 1000 GB/s|6 TB/s", ["1 TB/s", "6 TB/s"]),
        ("2 * memory.bandwidth <= 2 TB/s", ["1 TB/s"]),
        ("memory.bandwidth * tp <= 6 TB/s and tp == 8", []),
        ("memory.bandwidth * tp <= 6 TB/s and tp == 2", ["1 TB/s", "3000 GB/s"]),
    ],
)
def test_quantities_compare_in_si_units(text: str, wanted: list[str]) -> None:
    found = {row["memory.bandwidth"] for row in kept(text)}
    assert found == set(wanted)


def test_numbers_are_equal_within_rounding() -> None:
    assert 3 * 0.1 != 0.3
    assert {row["share"] for row in kept("share * 3 == 0.3")} == {0.1}
    assert {row["share"] for row in kept("share * 3 > 0.3")} == {0.2, 0.3}
    assert {row["share"] for row in kept("share * 3 <= 0.3")} == {0.1}


def test_continuous_axes_take_part() -> None:
    space = Space((Axis(("n",), ((1,), (2,))), Range("bw", 1.0, 5.0, unit="TB/s")), (parse_condition("bw <= 2 TB/s"),))
    points = space.of_unit(np.array([[0.1, 0.0], [0.1, 0.25], [0.9, 0.26], [0.9, 1.0]]))
    assert space.keeps(points).tolist() == [True, True, False, False]
    both = parse_condition("n * 1.2 TB/s >= bw")
    assert both.holds(points.columns).tolist() == [True, False, True, False]


def test_values_that_do_not_occur_cost_nothing_and_change_nothing() -> None:
    column = Column(np.array([99_999, 3, 3], dtype=np.int32), tuple(f"{i} GB" for i in range(100_000)))
    columns = {"a": column, "b": Column.of_values([99_999, 3, 4])}
    assert parse_condition("a == 3 GB").holds(columns).tolist() == [False, True, True]
    assert parse_condition("b * 1 GB == a").holds(columns).tolist() == [True, True, False]


def test_a_condition_remembers_what_it_was() -> None:
    condition = parse_condition("if tp == 8 then pp == 1 and device in h100|a100", "study.toml")
    assert (condition.text, condition.place) == ("if tp == 8 then pp == 1 and device in h100|a100", "study.toml")
    assert (len(condition.given), len(condition.wanted)) == (1, 2)
    columns = {name: column for axis in SPACE.axes for name, column in axis.columns.items()}
    assert condition.check(columns) == ("tp", "pp", "device")
    assert isinstance(condition, Condition)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "it ends where a name"),
        ("tp", "it ends where one of =="),
        ("tp <=", "it ends where a name"),
        ("<= 4", "there is '<=' where a name"),
        ("tp = 4", "there is '='.*equality is =="),
        ("tp == 4 pp == 1", "unknown unit 'pp'"),
        ("tp == pp pp == 1", "there is 'pp' where 'and' or the end"),
        ("tp == 4 or pp == 1", "there is 'or' where 'and' or the end.*joined by 'and'"),
        ("not tp == 4", "there is 'not'"),
        ("if tp == 4", "it ends where 'then' or 'and'"),
        ("if tp == 4 then", "it ends where a name"),
        ("tp == 4 then pp == 1", "there is 'then' where 'and' or the end"),
        ("tp ** 2 == 4", r"there is '\*' where a name"),
        ("tp in 1|", "it ends where a name"),
        ("device == 'h100", '"\'" does not belong here'),
        ("tp == __import__('os')", "there is 'os' where 'and' or the end"),
        ("tp <= 1e400", "is not finite"),
        ("tp <= 4 TBB/s", "unknown unit 'TBB/s'"),
    ],
)
def test_texts_that_are_no_conditions(text: str, wanted: str) -> None:
    with pytest.raises(InputError, match=f"^lab.toml: condition .*{wanted}") as error:
        parse_condition(text, "lab.toml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "kind", "wanted"),
    [
        ("dp == 1", UnknownName, "unknown axis 'dp' .in quotes it is a text; the axes are device"),
        ("tp * pq <= 8", UnknownName, "unknown axis 'pq'"),
        ("devcie == h100", UnknownName, "unknown axis 'devcie'; did you mean 'device'"),
        ("device == h10", UnknownName, "unknown axis or value of device 'h10'; did you mean 'h100'"),
        ("device in h100|a10", UnknownName, "unknown axis or value of device 'a10'; did you mean 'a100'"),
        ("tp == four", UnknownName, "unknown axis 'four'"),
        ("device <= 8", UnitError, "unit clash: 'device' is a text, '8' is a number; only numbers"),
        ("device == 8", UnitError, "unit clash: 'device' is a text, '8' is a number; they are never equal"),
        ("device < partner", UnitError, "unit clash"),
        ("device * tp == 8", UnitError, "unit clash: a product takes numbers"),
        ("tp == 'four'", UnitError, "unit clash"),
        ("tp in 1|'four'", UnitError, "unit clash: 'tp' is a number, 'four' is a text"),
        ("flash == 1", UnitError, "unit clash: 'flash' is true or false, '1' is a number"),
        ("flash < true", UnitError, "unit clash"),
        ("memory.bandwidth >= 3 GB", UnitError, "'memory.bandwidth' is in bytes_per_s, '3 GB' is in bytes"),
        ("memory.bandwidth >= 3", UnitError, "unit clash"),
        ("memory.bandwidth * memory.bandwidth >= 3 TB/s", UnitError, "one quantity at most"),
        ("'tp' == 4", UnitError, "unit clash"),
        ("tp * pp in 1|2", InputError, "the left side of 'in' is no single axis"),
        ("1 in 1|2", InputError, "the left side of 'in' is no single axis"),
        ("1 <= 2", InputError, "speaks of no axis; the axes are device, partner"),
    ],
)
def test_conditions_that_make_no_sense(text: str, kind: type[InputError], wanted: str) -> None:
    with pytest.raises(kind, match=f"^lab.toml: condition .*{wanted}"):
        Space(SPACE.axes, (parse_condition(text, "lab.toml"),))


def test_an_axis_of_mixed_kinds_has_no_order_but_equality() -> None:
    axis = Axis(("bw",), (("2x",), ("6 TB/s",), ("auto",)))
    space = Space((axis,), (parse_condition("bw in 2x|6000 GB/s"),))
    assert len(space.points(0, 3)) == 2
    with pytest.raises(UnitError, match=r"'bw' is a text or .* number"):
        Space((axis,), (parse_condition("bw >= 2"),))


@pytest.mark.parametrize(("text", "wanted"), [("x == auto", "auto"), ("x == 0", 0), ("x == 0 B", "0 B")])
def test_values_of_other_kinds_are_never_equal(text: str, wanted: Value) -> None:
    points = Space((Axis(("x",), (("auto",), (0,), ("0 B",), (1,))),), (parse_condition(text),)).points(0, 4)
    assert [points.row(i)["x"] for i in range(len(points))] == [wanted]
