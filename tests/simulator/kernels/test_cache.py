"""Compiled kernels are found again by their sources, wherever these lie."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.kernels.cache import CONSTANTS, Store, digests, directory_of, sources

ROOT = Path(__file__).parents[3]
ASK = """
from simulator.kernels.roofline import padded
assert padded(5.0, 4.0) == 8.0
stats = padded.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def test_the_directory_goes_by_every_source() -> None:
    seen = digests(sources())
    first = directory_of(seen)
    assert first == directory_of(seen)
    assert first.is_dir()
    assert len(first.name) == 16
    for path in (ROOT / CONSTANTS[0], ROOT / "simulator" / "devices" / "gpu.py"):
        assert seen[path]
        assert directory_of(seen | {path: "changed"}) != first


def test_a_source_that_changes_meanwhile_leaves_the_directory() -> None:
    store = Store()
    first, source = store.directory, ROOT / "simulator" / "kernels" / "roofline.py"
    assert store.is_current(source)
    store._seen[source] = "as it was"
    assert not store.is_current(source)
    store.leave()
    assert store.is_current(source)
    assert store.directory != first
    assert first.is_dir()


def test_a_folder_of_others_is_no_place_for_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the user's own cache cannot be written, a shared temporary folder must be ours alone."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path / "file" / "below")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine = tmp_path / f"silicost-{os.getuid()}"
    assert directory_of({}).parent.parent == mine
    assert mine.stat().st_mode & 0o077 == 0
    mine.chmod(0o777)
    assert directory_of({}).name.startswith("silicost-kernels-")


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
