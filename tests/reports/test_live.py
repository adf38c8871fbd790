"""Live figures: what stands in a page for them, and that no text gets out of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bokeh.models import ColumnDataSource, LinearColorMapper
from markupsafe import Markup

from reports import live
from reports.svg import colour
from reports.text import plain

WHOLE_BUNDLES = True


def made(name: str = "a", extra: int = 0) -> live.Live:
    """A figure of three points, after ``extra`` models that nobody sees."""
    for _ in range(extra):
        ColumnDataSource()
    plot = live.plot(200, x_axis_type="log")
    source = ColumnDataSource({"x": np.array([1.0, 2.0]), "what": [plain(name), "m0"]}, name="points")
    shade = LinearColorMapper(palette=[colour("series-1"), colour("family-gemm")], low=0.0, high=1.0)
    dots = plot.scatter(
        "x", "x", source=source, fill_color={"field": "x", "transform": shade}, line_color=colour("ink")
    )
    plot.add_tools(live.hover([live.Said(name, "what"), live.Said("x", "x", "s")], renderers=[dots]))
    return live.live_of("key", [plot], {"name": plain(name)})


def test_same_models_same_bytes_whatever_was_made_before() -> None:
    assert made() == made(extra=7)
    numbers = re.findall(r'"id":"(m\d+)"', made().data)
    first_seen = list(dict.fromkeys(numbers))
    assert first_seen == [f"m{k}" for k in range(len(first_seen))]


def test_colours_go_by_their_name() -> None:
    data = made().data
    assert "#0101" not in data
    assert "var(--family-gemm)" in data
    # Text that looks like a colour of ours stays what it is where no colour is.
    assert "#010100" in made("#010100").data


def test_hostile_text_is_only_data(hostile: str) -> None:
    data = made(hostile).data
    assert isinstance(data, Markup)
    data.encode("utf-8")
    assert not set("<>&\u2028\u2029\x00") & set(data)
    assert json.loads(data)["settings"]["name"] == plain(hostile)


def test_numbers_that_json_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        live.escaped({"settings": float("nan")})


@pytest.mark.parametrize(
    ("marks", "wanted"),
    [([], []), (["core"], ["core"]), (["core tables", "core"], ["core", "tables"]), ([""], [None])],
)
def test_a_page_holds_each_part_of_bokeh_once_and_only_where_it_is_needed(
    marks: list[str], wanted: list[str | None]
) -> None:
    found = live.scripts_in(Markup(f'<div data-live="{mark}"></div>') for mark in marks)
    assert [len(each) for each in found] == [len(live.scripts_in([Markup(f'<i data-live="{w}">')])[0]) if w == "core"
                                             else len(found[k]) for k, w in enumerate(wanted)]  # fmt: skip
    assert all(("Bokeh" in each) == (each != "") for each in found)
    assert not any("</script" in each.lower() for each in found)


def test_what_only_looks_like_a_mark_is_none() -> None:
    assert live.scripts_in([Markup.escape('<div data-live="core">')]) == []


def test_the_parts_of_bokeh_are_those_of_the_installed_package() -> None:
    import bokeh

    (core,) = live.scripts_in([Markup('<div data-live="core"></div>')])
    assert (Path(bokeh.__file__).parent / "server/static/js/bokeh.min.js").read_text(encoding="utf-8") == core
    assert bokeh.__version__ in core


def test_bokeh_is_imported_only_to_draw() -> None:
    code = "import sys, reports.page, reports.study_page, reports.serving_page; print('bokeh' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_units_go_from_large_to_small_and_are_those_of_the_tables() -> None:
    found = dict(live.units("s"))
    assert found[1e-3] == "ms"
    assert list(found) == sorted(found, reverse=True)
    tokens: Any = live.units("tokens/s")
    assert tokens[-1][1] == "tokens/s"
