"""Parts whose columns differ go into one table."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.explore.columns import ColumnInfo, arrow_table, fitted, kind_of, unified
from simulator.explore.points import Column, Points


def info(kind: str, unit: str = "", name: str = "x") -> ColumnInfo:
    return ColumnInfo(name, kind, unit, True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "kind"),
    [(("a", "b"), "text"), ((1, 2), "int"), ((1, 2.0), "float"), ((True, False), "bool"), ((True, 1), "text"),
     ((1, "1x"), "text"), ((), "text")],
)  # fmt: skip
def test_kinds_of_values(values: tuple[str | int | float | bool, ...], kind: str) -> None:
    assert kind_of(values) == kind


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (info("int"), info("int"), info("int")),
        (info("int"), info("float"), info("float")),
        (info("float", "TB/s"), info("float", "TB/s"), info("float", "TB/s")),
        (info("float", "TB/s"), info("float", "GB/s"), info("text")),
        (info("bool"), info("int"), info("text")),
        (info("text"), info("int"), info("text")),
    ],
)
def test_what_holds_both(one: ColumnInfo, other: ColumnInfo, both: ColumnInfo) -> None:
    assert unified((one,), (other,)) == unified((other,), (one,)) == (both,)


def test_new_columns_come_last() -> None:
    assert [each.name for each in unified((info("int"),), (info("int", name="y"), info("int")))] == ["x", "y"]


@pytest.mark.parametrize(
    ("column", "wanted", "values"),
    [
        (Column.of_values([1, 2]), info("float"), [1.0, 2.0]),
        (Column.of_values([1, 2]), info("text"), ["1", "2"]),
        (Column.of_values([True, False]), info("text"), ["true", "false"]),
        (Column.of_numbers(np.array([1.5, 2.0]), "TB/s"), info("text"), ["1.5 TB/s", "2.0 TB/s"]),
        (Column.of_numbers(np.array([1.5, 2.0]), "x"), info("text"), ["1.5x", "2.0x"]),
        (Column.of_values(["a", "b"]), info("text"), ["a", "b"]),
    ],
)
def test_columns_of_a_part_become_those_of_the_study(
    column: Column, wanted: ColumnInfo, values: list[str | float]
) -> None:
    table, infos = arrow_table(Points({"x": column}), {})
    (batch,) = table.to_batches()
    found = fitted(
        batch, {each.name: each for each in infos}, (wanted, info("float", name="y"), info("text", name="z"))
    )
    assert found.to_pydict() == {"x": values, "y": [None, None], "z": [None, None]}
