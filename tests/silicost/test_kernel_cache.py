"""What is said of kernels that are to be compiled."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from silicost.kernel_cache import tell_of_compiling


def kernel(kept: dict[str, Any], signatures: list[Any]) -> Any:
    file = SimpleNamespace(_load_index=lambda: kept)
    return SimpleNamespace(signatures=signatures, _cache=SimpleNamespace(_cache_file=file))


@pytest.mark.parametrize(
    ("made", "terminal", "said"),
    [
        (kernel({}, []), True, "silicost: compiling kernels, about a minute, once\n"),
        (kernel({}, []), False, ""),
        (kernel({"key": "file"}, []), True, ""),
        (kernel({}, ["compiled"]), True, ""),
        (object(), True, ""),
    ],
)
def test_a_terminal_is_told_of_compiling_once(
    made: Any, terminal: bool, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    tell_of_compiling(made)
    assert capsys.readouterr().err == said


def test_numba_tells_what_is_kept() -> None:
    from simulator.kernels.fleet.run import run

    run_: Any = run
    assert isinstance(run_._cache._cache_file._load_index(), dict)
