"""Serving is tested with step tables made by hand (``hand_made``) and against a ``plain_scheduler``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from silicost.scenarios import inference_scenario
from simulator.prepared import Prepared, prepare

sys.path.append(str(Path(__file__).parent))


def _pool(runtime: str) -> Prepared:
    return prepare(inference_scenario("gpt2", "a100-sxm-80gb", batch=1, isl=1, osl=1, runtime=runtime))


@pytest.fixture(scope="session")
def pools() -> tuple[Prepared, ...]:
    """Pools whose host takes time for every iteration and sequence: behind the devices, and before them."""
    return _pool("vllm-0.19"), _pool("vllm-0.6")


@pytest.fixture(scope="session")
def bare() -> Prepared:
    """A pool whose host takes no time."""
    return _pool("ideal")
