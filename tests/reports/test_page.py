"""The page as a browser and an attacker see it."""

import math
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

import reports
from hardware_specs.errors import InputError
from reports.page import render_report, write_report
from reports.palette import INKS, ROLES
from simulator.result import MemoryUse, OperatorCost, PhaseCost, Provenance, Result, Roof
from simulator.timeline import Span, Timeline

Parse = Callable[[str], Any]
CSP = (
    "default-src 'none'; connect-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


@pytest.fixture(scope="module")
def text(seven: list[Result]) -> str:
    return render_report(seven, "Seven results", "A lead.")


@pytest.fixture(scope="module")
def page(text: str, parse: Parse) -> Any:
    return parse(text)


def test_same_results_same_bytes(text: str, seven: list[Result]) -> None:
    assert render_report(seven, "Seven results", "A lead.") == text


def test_size(text: str) -> None:
    assert len(text.encode()) < 2_000_000


def test_policy_is_exact(page: Any) -> None:
    assert page.values("http-equiv") == ["Content-Security-Policy"]
    assert CSP in page.values("content")


def test_nothing_comes_from_elsewhere(page: Any) -> None:
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert page.values("src") == []
    assert all(value.startswith("#") for value in page.values("href"))
    assert not [found for found in page.attributes if "http" in found[2].lower() and found[1] not in ("title",)]
    code = "".join(page.code)
    assert "http" not in code
    assert "@import" not in code
    assert not re.search(r"url\((?!#)", code)
    assert page.scripts == 2
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_ids_are_unique_and_references_resolve(page: Any, text: str) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    wanted = {value[1:] for value in page.values("href")} | set(page.values("aria-labelledby"))
    wanted |= set(re.findall(r"url\(#([^)]+)\)", text))
    assert wanted <= set(ids)


def test_headings_descend_by_one(page: Any) -> None:
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_colour_is_defined_for_light_and_dark(text: str) -> None:
    templates = Path(reports.__file__).parent / "templates"
    light, dark = ((templates / name).read_text() for name in ("page.css", "dark.css"))
    for name in (*INKS, *ROLES):
        assert f"--{name}:" in light
        assert f"--{name}:" in dark
    assert set(re.findall(r"var\(--([\w-]+)\)", text)) - {"c"} <= set(re.findall(r"--([\w-]+):", light))


def test_null_metrics_show_their_reason(page: Any) -> None:
    shown = " ".join(page.shown)
    assert "no price is known for alveo-v80" in shown
    assert "0 USD" not in re.findall(r"[\d.,]+ USD", shown)


def test_every_input_and_its_mark_is_shown(page: Any, one: Result) -> None:
    for row in one.provenance:
        assert page.shown.count(row.what) == 7
    assert {"sourced", "assumed", "calibrated"} <= set(page.shown)


def _with_strings(result: Result, bad: str) -> Result:
    """``result`` with ``bad`` wherever a string of any content can stand."""
    operators = [msgspec.structs.replace(o, name=bad, kind=bad, family=bad, bound=bad, dtype=bad) for o in
                 result.phases[0].operators]  # fmt: skip
    operators.append(OperatorCost(bad, bad, bad, bad, 1.0, math.nan, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, math.inf, bad))
    pool = msgspec.structs.replace(result.pools[0], name=bad, device=bad, device_class=bad, runtime=bad)
    return msgspec.structs.replace(
        result, kind=bad, title=bad, scenario_hash=bad, laws_hash=bad, silicost_version=bad,
        configuration={bad: bad, "device": bad},
        metrics={**result.metrics, "ttft_s": math.nan, "tpot_s": math.inf, "e2e_s": -1.0, bad: 1.0, "x_s": None},
        reasons={"ttft_s": bad, "x_s": bad}, warnings=(bad,), bound={bad: bad},
        provenance=(Provenance(bad, bad, bad, bad),), pools=(pool, pool),
        phases=(PhaseCost(bad, math.nan, tuple(operators)),), breakdown={bad: 1.0, "gemm": math.nan},
        roofs=(*(Roof(r.device, bad, r.kind, r.value) for r in result.roofs), Roof(bad, bad, bad, math.inf)),
        memory=MemoryUse(math.nan, kv=-1.0), memory_capacity_bytes=0.0,
        timeline=Timeline((Span(bad, bad, bad, bad, 0.0, 1.0, math.nan), Span(bad, bad, "d", bad, 0.5, math.inf, 0.0))),
    )  # fmt: skip


def test_hostile_strings_are_only_text(one: Result, hostile: str, parse: Parse) -> None:
    text = render_report([_with_strings(one, hostile), one], hostile, hostile)
    text.encode("utf-8")
    page = parse(text)
    assert (page.scripts, page.tags.count("style")) == (2, 1)
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not {"\u202e", "\x00", "\x07"} & set(text)
    assert "nan" not in " ".join(page.shown).lower().split()
    if hostile.startswith("<script>"):
        assert any(hostile in shown for shown in page.shown)
    assert not any("http" in value for value in page.values("style"))


def test_one_result_and_none_make_a_page(one: Result, parse: Parse) -> None:
    assert "All results side by side" not in render_report([one], "One")
    parse(render_report([], "None"))


def test_file_is_whole_or_absent(tmp_path: Path, one: Result) -> None:
    target = tmp_path / "deep" / "report.html"
    write_report(target, [one], "One")
    assert target.read_text(encoding="utf-8") == render_report([one], "One")
    assert {path.name for path in target.parent.iterdir()} == {"report.html", "report.page.json"}
    with pytest.raises(InputError, match="cannot be written"):
        write_report(target / "below-a-file.html", [one], "One")


def test_matplotlib_is_imported_only_to_draw() -> None:
    code = "import sys, reports.page, reports.figure; reports.figure.all_figures(); print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
