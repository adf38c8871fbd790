"""Pages of strings and numbers that would break a page that trusted them: nothing runs, nothing overflows."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reports.page_data import data_place, page_from
from reports.rendering import render_page_of
from simulator.result import Result
from tests.reports.browser.conftest import KINDS, Open
from tests.reports.browser.test_every_page import BEYOND, WIDTHS, violations

BAD = (
    "</script><script>window.broken = 1</script>\"'><img src=x onerror='window.broken = 2'></style>"
    "<svg onload='window.broken = 3'>{{ 7 * 7 }} -->]]> \u202egnp.exe \u05e9\u05dc\u05d5\u05dd \U0001f680 \x00\x07 "
)
LONG = BAD + "x" * 10_000
FORMS = {"dimension", "better", "kind", "metric_dimension", "across_dimension", "up_dimension", "device_class", "bound"}
"""Fields whose texts are one of a few words."""


def poisoned(value: Any, field: str = "") -> Any:
    """``value`` with a hostile text for every text of a record that may be any."""
    if isinstance(value, str):
        return value if field in FORMS or not value else LONG
    if isinstance(value, msgspec.Struct):
        names = [each.name for each in msgspec.structs.fields(value)]
        return msgspec.structs.replace(value, **{name: poisoned(getattr(value, name), name) for name in names})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [each.name for each in dataclasses.fields(value)]
        return dataclasses.replace(value, **{name: poisoned(getattr(value, name), name) for name in names})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(poisoned(each, name) for name, each in zip(value._fields, value, strict=True)))
    if isinstance(value, tuple):
        return tuple(poisoned(each, field) for each in value)
    if isinstance(value, dict):
        return {key: poisoned(each, field) for key, each in value.items()}
    return value


def without_numbers(result: Result) -> Result:
    """A result whose metrics are no numbers, and one that nobody has documented."""
    bad = dict(zip(result.metrics, (math.nan, math.inf, -math.inf, -1.0, None), strict=False))
    return msgspec.structs.replace(result, metrics={**result.metrics, **bad, LONG: 1e300})


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "demo"])
def test_hostile_text_is_only_text(kind: str, page_of: Callable[[str], Path], open_page: Open, tmp_path: Path) -> None:
    table = json.loads(data_place(page_of(kind)).read_bytes())
    page = page_from(table, kind)
    subject = poisoned(page.subject)
    if page.form == "results":
        subject = (*subject, without_numbers(subject[0]))
    place = tmp_path / "hostile.html"
    place.write_text(render_page_of(page._replace(subject=subject, title=LONG, lead=LONG)), encoding="utf-8")
    opened = open_page(place)
    assert opened.ask("window.broken") is None
    assert opened.ask("document.images.length") == 0
    assert opened.page.locator("h1").inner_text().startswith("</script><script>window.broken")
    for width in WIDTHS:
        opened.page.set_viewport_size({"width": width, "height": 900})
        assert opened.ask(BEYOND) == [], width
    assert opened.complaints == []
    assert opened.requests == [place.as_uri()]


def test_the_checks_would_find_something(open_page: Open, tmp_path: Path) -> None:
    """A page that is wrong in each way that the others must not be."""
    place = tmp_path / "wrong.html"
    place.write_text(
        "<!DOCTYPE html><html><title>x</title><body><p style='width:3000px;color:#bbb'>pale</p><input>"
        "<script>console.error('loud'); fetch('file:///nowhere').catch(() => 0)</script></body></html>"
    )
    opened = open_page(place)
    assert opened.ask(BEYOND)
    assert {rule for rule, _ in violations(opened)} >= {"color-contrast", "html-has-lang", "label"}
    assert any("loud" in said for said in opened.complaints)
    assert len(opened.requests) == 2
