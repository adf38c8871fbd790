from __future__ import annotations

from typing import Any

import pytest

from hardware_specs.errors import UnknownName
from reports import comparing
from reports.exports import tables
from reports.page_data import Page
from silicost.commands.export import _rows


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of tables as they are made; spans are empty."""
    names: list[str] = []

    def maker(name: str) -> Any:
        return lambda subject: names.append(name) or ([] if name == "spans" else [{"of": name}])

    monkeypatch.setattr(tables, "TABLES", {name: maker(name) for name in tables.TABLES})
    monkeypatch.setattr(comparing, "named_after", lambda name, results: results)
    return names


def test_a_table_is_made_without_the_others(made: list[str]) -> None:
    subject: Any = (None,)
    assert _rows("one", Page("results", subject), "operators") == [{"of": "operators"}]
    assert made == ["operators"]


@pytest.mark.parametrize("table", ["spans", "nothing"])
def test_tables_that_have_rows_are_named(made: list[str], table: str) -> None:
    subject: Any = (None,)
    with pytest.raises(UnknownName, match="one has metrics, operators, phases, pools"):
        _rows("one", Page("results", subject), table)
    assert sorted(set(made)) == sorted(tables.TABLES)


def test_no_results_have_no_table() -> None:
    with pytest.raises(UnknownName, match="has none"):
        _rows("one", Page("results", ()), "metrics")
