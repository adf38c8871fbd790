"""What a pool does that does not say: as its runtime does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_fleets import fleet, pool, served, value

from hardware_specs.errors import InputError
from silicost.serving.answer import fleet_of
from silicost.serving.tables import PrefixTable, SessionsTable, TrafficTable

TALK = TrafficTable(
    rate=2.0, requests=60, isl="200", osl="20", sessions=SessionsTable("fixed:value=4", "1 s", system=200)
)
SAYS_NOTHING: dict[str, Any] = {"scheduler": ""}


def setup_of(traffic: TrafficTable = TALK, **changes: Any) -> Any:
    return fleet_of(fleet(pool(**(SAYS_NOTHING | changes)), traffic=traffic), "f.toml").pools[0].setup


@pytest.mark.parametrize(("runtime", "device", "schedule", "sequences", "keeps"), [
    ("vllm-2023", "l4", "vllm-v0", 256, False), ("vllm-0.6", "h100-sxm-80gb", "vllm-v0", 256, False),
    ("vllm-0.10", "l4", "vllm-v1", 256, True), ("vllm-0.19", "h100-sxm-80gb", "vllm-v1", 1024, True),
    ("vllm-0.19", "a100-sxm-80gb", "vllm-v1", 256, True), ("sglang-0.5", "h100-sxm-80gb", "prefill-first", 256, True),
    ("trtllm-1.0", "h100-sxm-80gb", "no-evict", 256, False),
])  # fmt: skip
def test_as_the_runtime(runtime: str, device: str, schedule: str, sequences: int, keeps: bool) -> None:
    setup = setup_of(runtime=runtime, device=device)
    assert (setup.schedule, setup.limits.sequences, setup.unit_blocks > 0) == (schedule, sequences, keeps)
    other = setup_of(runtime=runtime, device=device, scheduler="sarathi", max_num_seqs=7, prefix_caching=not keeps)
    assert (other.schedule, other.limits.sequences, other.unit_blocks > 0) == ("sarathi", 7, not keeps)


def test_prefixes_are_kept_where_there_are_any() -> None:
    plain = TrafficTable(rate=20.0, requests=60, isl="200", osl="20")
    assert setup_of(plain, runtime="vllm-0.10").unit_blocks == 0
    assert setup_of(runtime="vllm-0.10", swap="1 GB").unit_blocks == 0
    assert setup_of(runtime="vllm-0.10", model="mamba-2.8b").unit_blocks == 0
    assert setup_of(runtime="vllm-0.10", block_size=48).unit_blocks == 2
    usual, off, asked = (
        served(fleet(pool(runtime="vllm-0.10", **each), traffic=TALK))
        for each in ({}, {"prefix_caching": False}, {"prefix_cache": PrefixTable()})
    )  # fmt: skip
    assert value(usual, "prefix_hit_rate") > 0.3
    assert off.found.outcome.values["prefix_hit_rate"] is None
    np.testing.assert_array_equal(usual.requests["e2e_s"], asked.requests["e2e_s"])
    with pytest.raises(InputError, match="pool a: prefix_caching: is off, and prefix_cache says how it is"):
        setup_of(prefix_caching=False, prefix_cache=PrefixTable())
