"""Products of packed weights on CPUs: who unpacks how often, and what a bit costs."""

from __future__ import annotations

import pytest

from hardware_specs.devices import load_device
from simulator.devices.model import compile_device
from simulator.kernels.roofline import COMPUTE, TIME
from simulator.validation.requests import threads_in
from workloads import operators as op
from workloads.formats import load_format
from workloads.graph import columns_of
from workloads.operator_record import Operator
from workloads.runtimes.catalogue import load_runtime

RYZEN = load_device("ryzen-9-7950x")


def product(rows: int, name: str) -> Operator:
    stored = load_format(name)
    return op.gemm(
        "x", rows, 4096, 4096, "bf16", weight_bits=stored.bits_per_weight, dequantize=2 if stored.codebook else 1
    )


def seconds(runtime: str, rows: int, name: str, row: int = COMPUTE) -> float:
    model = compile_device(RYZEN, load_runtime(runtime), calibrated=False)
    return float(model.cost(columns_of([product(rows, name)]))[row, 0])


def test_llama_cpp_unpacks_for_each_row_and_ik_for_eight() -> None:
    for name in ("q4_k_s", "q5_k_s", "iq3_s"):
        assert seconds("llamacpp-cpu", 64, name) == pytest.approx(64 * seconds("llamacpp-cpu", 1, name))
        assert seconds("ik-llamacpp-2025", 8, name) < 8 * seconds("ik-llamacpp-2025", 1, name)
        dots = seconds("ik-llamacpp-2025", 8, "q8_0")
        assert seconds("ik-llamacpp-2025", 8, name) - dots == pytest.approx(
            seconds("ik-llamacpp-2025", 1, name) - dots / 8
        )


def test_more_places_cost_more_and_codebooks_most() -> None:
    times = [seconds("llamacpp-cpu", 32, name) for name in ("q8_0", "q4_0", "q5_0", "iq2_xxs", "iq3_s")]
    assert times == sorted(times)
    assert len(set(times)) == len(times)


def test_tables_cost_by_the_bit() -> None:
    wide, narrow = seconds("t-mac-2024", 1, "q4_0"), seconds("t-mac-2024", 1, "tq2_0")
    assert wide / narrow == pytest.approx(load_format("q4_0").bits_per_weight / load_format("tq2_0").bits_per_weight)


def test_a_factor_of_plain_products_does_not_touch_packed_ones() -> None:
    plain = op.gemm("x", 64, 4096, 4096, "bf16")
    models = [
        compile_device(RYZEN, load_runtime(name), calibrated=False) for name in ("llamacpp-cpu", "torch-cpu-2.13")
    ]
    slow, quick = (float(model.cost(columns_of([plain]))[TIME, 0]) for model in models)
    assert slow > quick
    assert load_runtime("llamacpp-cpu").factors.gemm.value < 0.5
    lanes_s = 2.0 / float(models[0].record["dot_peak"]) * 4096**2
    assert seconds("llamacpp-cpu", 1, "q8_0") == pytest.approx(lanes_s * float(models[0].record["dot_row_ops"]))


@pytest.mark.parametrize(
    ("text", "threads"),
    [
        ("best over thread counts: 2 threads; DDR speed", "2"),
        ("shared prompt (-pps), -t 32", "32"),
        ("n_devices=2", ""),
        ("", ""),
        ("multi-threads", ""),
    ],
)
def test_threads_in_words(text: str, threads: str) -> None:
    assert threads_in(text) == threads
