"""Columns of many batches are what ``simulate`` says of each, on devices, plans and models of all kinds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from silicost.scenarios import inference_scenario
from simulator.bulk.metrics import METRICS, batch_columns
from simulator.bulk.static_batches import Batches
from simulator.prepared import prepare
from simulator.scenario import Scenario
from simulator.simulate import simulate

CASES = {
    "gpu": ("llama-3.1-8b", "h100-sxm-80gb", {}),
    "gpu, tensor parallel": ("llama-3.1-70b", "a100-sxm-80gb", {"tp": 4, "price": "2 USD/h"}),
    "gpu, pipeline": ("llama-3.1-70b", "h100-sxm-80gb", {"tp": 2, "pp": 4}),
    "gpu, pipeline of few in flight": ("llama-3.1-70b", "h100-sxm-80gb", {"pp": 8, "runtime": "llamacpp-2024"}),
    "gpu, replicas": ("llama-3.1-8b", "h100-sxm-80gb", {"dp": 3, "runtime": "torch-eager-2.4"}),
    "gpu, experts": ("mixtral-8x7b", "h200-sxm-141gb", {"tp": 2, "ep": 2}),
    "gpu, experts in two halves": (
        "mixtral-8x7b",
        "h200-sxm-141gb",
        {"tp": 1, "dp": 8, "ep": 8, "runtime": "sglang-deepep-2025"},
    ),
    "gpu, latents": ("deepseek-v2-lite", "h100-sxm-80gb", {}),
    "gpu, windows": ("gemma-2-9b", "l40s", {"dtype": "bf16", "weight_dtype": "int8"}),
    "gpu, states": ("mamba-2.8b", "a100-sxm-80gb", {}),
    "encoder": ("bert-large", "a100-sxm-80gb", {}),
    "cpu": ("qwen2.5-1.5b", "xeon-8480-plus", {}),
    "tpu": ("llama-3.1-8b", "tpu-v5p", {"tp": 4}),
    "fpga": ("gpt2", "alveo-u280", {"dtype": "int8"}),
    "asic": ("llama-3.1-8b", "gaudi-2", {}),
}


def scenario(case: str, batch: int, isl: int, osl: int) -> Scenario:
    model, device, hardware = CASES[case]
    return inference_scenario(model, device, batch=batch, isl=isl, osl=osl, **hardware)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES)
def test_columns_are_those_of_simulate(case: str) -> None:
    rng = np.random.default_rng(len(case))
    whole = [(1, 1, 1), (1, 128, 2), (7, 300, 10), (64, 2048, 300), (33, 9000, 11), (5, 8193, 1)]
    whole += [tuple(int(v) for v in row) for row in rng.integers((1, 1, 1), (300, 20_000, 900), (6, 3))]
    encoder = CASES[case][0].startswith("bert")
    rows = [(b, min(i, 512) if encoder else i, 1 if encoder else o) for b, i, o in whole]
    work = Batches(*np.array(rows, np.int64).T)
    prepared = prepare(scenario(case, 1, 1, 1))
    columns, fits = batch_columns(prepared, work, METRICS, intervals=True)
    for number, row in enumerate(rows):
        result = simulate(scenario(case, *row))
        expected: dict[str, float | None] = {
            **result.metrics, "memory_bytes": result.memory.total, "device_j": result.energy.device,
            "facility_j": result.energy.facility,
        }  # fmt: skip
        assert fits[number] == result.fits, row
        for name in METRICS:
            value = expected.get(name)
            found = float(columns[name][number])
            if value is None:
                assert math.isnan(found), (row, name)
            else:
                assert found == pytest.approx(value, rel=1e-9), (row, name)
            if value is not None and name in result.intervals:
                for end in ("p10", "p90"):
                    expected_end = getattr(result.intervals[name], end)
                    assert columns[f"{name}.{end}"][number] == pytest.approx(expected_end, rel=1e-9), (row, name, end)
