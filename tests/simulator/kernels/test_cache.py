"""Compiled kernels are found again by their sources, wherever these lie."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.kernels.cache import cache_directory

ROOT = Path(__file__).parents[3]
ASK = """
from simulator.kernels.roofline import padded
assert padded(5.0, 4.0) == 8.0
stats = padded.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def test_compiled_code_is_kept_per_source() -> None:
    first = cache_directory()
    assert first == cache_directory()
    assert first.is_dir()
    assert len(first.name) == 16


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the packages that a kernel needs."""
    for room in ("simulator", "workloads", "hardware_specs"):
        shutil.copytree(ROOT / room, tmp_path / "copy" / room, ignore=shutil.ignore_patterns("__pycache__", "data"))
    return tmp_path / "copy"


def hits_and_misses(folder: Path, cache: Path) -> tuple[int, int]:
    """How often a process that imports the packages of ``folder`` found a kernel compiled, and had to compile it."""
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    environment |= {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", ASK], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    hits, misses = ran.stdout.split()
    return int(hits), int(misses)


def test_kernels_are_found_by_their_sources(checkout: Path, tmp_path: Path) -> None:
    """Another checkout finds them compiled; one in which a file is changed that they may call does not."""
    cache = tmp_path / "cache"
    assert hits_and_misses(ROOT, cache) == (0, 1)
    assert hits_and_misses(checkout, cache) == (1, 0)
    (checkout / "simulator" / "devices" / "added.py").write_text("A = 1\n")
    assert hits_and_misses(checkout, cache) == (0, 1)
    assert len(list((cache / "silicost" / "kernels").iterdir())) == 2
