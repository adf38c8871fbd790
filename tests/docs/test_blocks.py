"""No block of code on a page is left alone: it is run here, by another test, by a session, or it says why it is not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import sessions

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = {
    "README.md": "tests/docs/test_examples.py",
    "goodput.md": "tests/simulator/goodput/test_published.py",
    "retrieval.md": "tests/simulator/serving/test_search_tables.py",
    "schedules.md": "tests/simulator/schedules/test_page.py",
    "traffic.md": "tests/workloads/traffic/test_record.py",
    "training_configs.md": "tests/workloads/training_configs/test_read.py",
    "training_memory.md": "tests/simulator/steps/test_memory_page.py",
    "training_precision.md": "tests/silicost/test_train.py",
}
"""Pages whose blocks another test runs."""
STUDY = """cat > study.toml <<END
[scenario]
model = "smollm-135m"
isl = 64
osl = 8
[axes]
device = ["l4", "t4"]
batch = [1, 2]
END"""
DESIGN = (
    "silicost design ./my-npu.toml --set clock=80% --set array_cols=0.5x --node 7nm --out ./my-npu-7nm.toml > /dev/null"
)
BEFORE = {
    "sweeps.md": "silicost sweep ./what-if.toml > /dev/null",
    "scale_out.md": STUDY,
    "accelerator_design.md": DESIGN,
}
"""What a page has its reader do before its code, or takes for granted."""
CODE = ("py", "python", "pycon", "sh", "yaml")


class Code(NamedTuple):
    """A block of code without a name: nobody's file."""

    page: str
    block: sessions.Block


def codes() -> list[Code]:
    """All of them, but those of sessions."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if not sessions.is_session(text):
            found += [Code(page.name, each) for each in sessions.blocks_of(text) if each.kind in CODE]
    return found


def is_run_here(code: Code) -> bool:
    """Python, and blocks that are commands of silicost alone."""
    text = code.block.text.replace("\\\n", " ")
    commands = code.block.kind == "sh" and text.startswith("silicost ")
    return (code.block.kind in ("py", "python") or commands) and not code.block.why and code.page not in ELSEWHERE


HERE = [each for each in codes() if is_run_here(each)]


def test_every_block_is_run_or_says_why_not() -> None:
    alone = [
        f"{each.page}: {each.block.text.splitlines()[0]}"
        for each in codes()
        if each not in HERE and not each.block.why and each.page not in ELSEWHERE
    ]
    assert alone == []
    for page, test in ELSEWHERE.items():
        assert page in (ROOT / test).read_text(encoding="utf-8"), f"{test} does not read {page}"


@pytest.mark.parametrize("code", HERE, ids=lambda code: code.page)
def test_a_block_runs(code: Code, tmp_path: Path) -> None:
    page = next(path for path in PAGES if path.name == code.page)
    for block in sessions.blocks_of(page.read_text(encoding="utf-8")):
        if block.name and block.kind != "diff":
            sessions.write_file(block, tmp_path)
    (tmp_path / "block").write_text(code.block.text)
    run = "python block" if code.block.kind in ("py", "python") else "source ./block"
    script = f"set -e\n{sessions.SHELL}\n{BEFORE.get(code.page, '')}\n{run}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "Traceback" not in ran.stderr
