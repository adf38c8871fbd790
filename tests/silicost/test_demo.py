"""``silicost demo``: one report of all device classes, that needs nothing from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_demo(silicost: Callable[..., Any], tmp_path: Path) -> None:
    ran = silicost("demo --out", str(tmp_path / "demo"))
    assert ran.status == 0, ran.err
    results = json.loads((tmp_path / "demo" / "result.json").read_text())
    classes = {pool["device_class"] for result in results for pool in result["pools"]}
    assert classes == {"cpu", "gpu", "tpu", "fpga", "asic"}
    assert {result["kind"] for result in results} == {"inference", "training"}
    assert all(result["fits"] for result in results)
    inferences = [result["configuration"] for result in results if result["kind"] == "inference"]
    questions = {(asked["model"], asked["batch"], asked["isl"], asked["osl"]) for asked in inferences}
    assert questions == {("llama-3.1-8b", 4, 1024, 128)}
    assert {pool["weight_dtype"] for asked in inferences for pool in asked.get("pools", [asked])} == {"int8"}
    assert "in int8 weights everywhere" in (tmp_path / "demo" / "report.html").read_text()
    page = (tmp_path / "demo" / "report.html").read_text()
    page = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)  # the policy stops scripts from loading
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert not re.search(r"url\(\s*['\"]?(?:https?:)?//", page)
    assert "h100-sxm-80gb" in page
    assert all(result["title"] in ran.out.replace("\n", " ") for result in results)
    assert f"report: {tmp_path / 'demo' / 'report.html'}" in ran.err
