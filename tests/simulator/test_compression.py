"""Compression on devices: what it gains where hardware and software can use it, and what is said where they cannot."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.devices import device_names, load_device
from hardware_specs.dtypes import COMPUTE_DTYPES
from hardware_specs.errors import InputError
from silicost.scenarios import inference_scenario, training_scenario
from simulator.devices.model import compile_device
from simulator.formats import SPARSE_REACHED, no_sparsity, precision_of
from simulator.kernels.roofline import TIME
from simulator.prepared import prepare
from simulator.result import Result
from simulator.scenario import Formats
from simulator.simulate import simulate
from workloads.graph import GraphBuilder
from workloads.operators import Operator, gemm, skipping
from workloads.runtimes.catalogue import load_runtime

MODEL = "llama-3-8b"


def run(device: str = "a100-sxm-80gb", **asked: Any) -> Result:
    return simulate(inference_scenario(MODEL, device, **({"batch": 1, "isl": 512, "osl": 64} | asked)))


def seconds(product: Operator, device: str, runtime: str = "ideal") -> float:
    b = GraphBuilder()
    with b.block("one"):
        b.add(product)
    model = compile_device(load_device(device), load_runtime(runtime))
    return float(model.cost(b.build().columns)[TIME].sum())


# 2:4


@pytest.mark.parametrize("size", [4096, 8192, 16384])
def test_large_sparse_products_gain_what_was_measured_on_an_a100(size: int) -> None:
    """Up to 1.7 times: torchao/sparsity/README.md (cuSPARSELt, 16 bits, A100); never more than the twofold peak."""
    dense = gemm("gemm", size, size, size, "bf16")
    stored = gemm("gemm", size, size, size, "bf16", weight_bits=9.0)
    sparse = skipping(stored, 2.0, SPARSE_REACHED)
    assert 1.4 <= seconds(dense, "a100-sxm-80gb") / seconds(sparse, "a100-sxm-80gb") <= 1.8


def test_sparse_marlin_gains_what_was_measured_on_an_a100() -> None:
    """Llama 3 8B: 180.8 tokens/s with int4 in groups of 64, 226.0 with 2:4 besides (torchao/sparsity/README.md)."""
    asked: dict[str, Any] = {"runtime": "torch-compile-2.4", "weight_dtype": "int4:group=64", "isl": 128}
    dense, sparse = (run(**asked, sparsity=zeros).metrics["tpot_s"] for zeros in ("", "2:4"))
    assert dense and sparse and dense / sparse == pytest.approx(226.02 / 180.80, rel=0.15)


def test_packed_weights_gain_less_than_their_bytes() -> None:
    """Marlin: close to fourfold for products of up to 16 to 32 rows, little for large batches (arXiv:2408.11743)."""

    def gain(rows: int) -> float:
        packed = gemm("gemm", rows, 18432, 72 * 256, "fp16", weight_bits=4.125, dequantize=1)
        return seconds(gemm("gemm", rows, 18432, 72 * 256, "fp16"), "a10g") / seconds(packed, "a10g")

    assert 2.5 <= gain(1) <= 4.0
    assert gain(1024) < 1.5


@pytest.mark.parametrize(
    ("device", "runtime", "dtype", "why"),
    [
        ("v100-sxm-32gb", "torch-eager-2.4", "fp16", "v100-sxm-32gb has no units for 2:4 sparse weights in fp16"),
        ("tpu-v5p", "", "bf16", "tpu-v5p has no units"),
        ("a100-sxm-80gb", "vllm-0.19", "bf16", "vllm-0.19 has no kernels for 2:4 sparse bf16 weights"),
        ("xeon-8480-plus", "", "bf16", "has no units"),
    ],
)
def test_nothing_is_gained_where_hardware_or_software_cannot(device: str, runtime: str, dtype: str, why: str) -> None:
    asked = {"device": device, "runtime": runtime, "dtype": dtype}
    dense, sparse = run(**asked), run(**asked, sparsity="2:4")
    assert dense.metrics["tpot_s"] == sparse.metrics["tpot_s"]
    assert dense.metrics["ttft_s"] == sparse.metrics["ttft_s"]
    assert dense.memory == sparse.memory
    assert any("gains nothing, weights are stored dense" in warning and why in warning for warning in sparse.warnings)


def test_something_is_gained_where_both_can() -> None:
    dense, sparse = (run(runtime="torch-compile-2.4", batch=8, isl=2048, sparsity=zeros) for zeros in ("", "2:4"))
    assert not sparse.warnings
    for name in ("ttft_s", "tpot_s"):
        one, other = dense.metrics[name], sparse.metrics[name]
        assert one and other and 1.2 < one / other < 2.0
    ends = 2 * 128256 * 4096 * 2.0
    norms = 65 * 4096 * 2.0
    assert sparse.memory.weights - ends - norms == pytest.approx((dense.memory.weights - ends - norms) * 9 / 16)
    assert sparse.energy.device < dense.energy.device


def test_a_gain_is_of_a_dtype_that_the_device_multiplies() -> None:
    for name in device_names():
        compute = load_device(name).compute
        assert compute.sparse.keys() <= compute.peaks.keys() & set(COMPUTE_DTYPES), name
        assert all(1.0 < gain.value <= 2.0 for gain in compute.sparse.values()), name


def test_experts_stay_dense() -> None:
    dense, sparse = (
        prepare(inference_scenario("mixtral-8x7b", "h100-sxm-80gb", batch=1, isl=8, osl=2, tp=2, runtime="ideal",
                                   sparsity=zeros)).precision
        for zeros in ("", "2:4")
    )  # fmt: skip
    assert (sparse.stack_bits, sparse.weight_bits) == (9.0, dense.weight_bits)


# Zeros anywhere


def test_zeros_anywhere_save_bytes_where_the_runtime_unpacks_them() -> None:
    """Intel Xeon with AMX, OpenVINO: weights of 8-bit products with zeros left out of memory."""
    asked = {"device": "xeon-8480-plus", "runtime": "openvino-2025", "weight_dtype": "int8"}
    dense, sparse = (run(**asked, sparsity=zeros) for zeros in ("", "0.7"))
    assert sparse.memory.weights < dense.memory.weights
    assert dense.metrics["tpot_s"] and sparse.metrics["tpot_s"]
    assert sparse.metrics["tpot_s"] < dense.metrics["tpot_s"]
    bits = prepare(inference_scenario(MODEL, batch=1, isl=8, osl=2, **asked, sparsity="0.7")).precision.stack_bits
    assert bits == pytest.approx(0.3 * 8.0 + 1.0)


def test_few_zeros_are_not_worth_a_mask() -> None:
    formats = Formats("bf16", "int8", sparsity="0.1")
    spec, runtime = load_device("xeon-8480-plus"), load_runtime("openvino-2025")
    assert "8.2 bits a weight" in no_sparsity(formats, precision_of(formats, spec), spec, runtime)


@settings(max_examples=15, deadline=None)
@given(zeros=st.floats(0.15, 0.9), more=st.floats(0.0, 0.09))
def test_more_zeros_never_take_more_memory(zeros: float, more: float) -> None:
    asked: dict[str, Any] = {"device": "xeon-8480-plus", "runtime": "openvino-2025", "weight_dtype": "int8", "osl": 2}
    one, other = (run(**asked, sparsity=f"{share:.4f}").memory.weights for share in (zeros, zeros + more))
    assert other <= one


# Activations


def test_activations_choose_the_dtype_of_products() -> None:
    spec = load_device("h100-sxm-80gb")

    def found(weight: str, activation: str) -> tuple[str, int, float]:
        p = precision_of(Formats("bf16", weight, activation=activation), spec)
        return p.compute, int(p.dequantize), p.weight_bits

    assert found("", "fp8") == ("fp8", 0, 8.0), "weights in the same format where none is named"
    assert found("int8", "int8:dynamic") == ("int8", 0, 8.0)
    assert found("int4", "int8:static") == ("int8", 1, 4.15625), "W4A8 unpacks to 8 bits"
    assert found("int8", "bf16") == ("bf16", 1, 8.0), "W8A16 unpacks to 16 bits"
    assert found("int4", "fp8") == ("fp8", 1, 4.15625)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"device": "a100-sxm-80gb", "activation_dtype": "fp8"}, "has no such units"),
        ({"device": "h100-sxm-80gb", "activation_dtype": "int8", "weight_dtype": "bf16"}, "are not narrowed"),
    ],
)
def test_activations_that_cannot_be_are_refused(asked: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run(**asked)


def test_scales_cost_an_operator_and_static_ones_less() -> None:
    dynamic, static = (
        run("h100-sxm-80gb", batch=8, isl=2048, runtime="ideal", activation_dtype=f"fp8:{scales}").metrics["ttft_s"]
        for scales in ("dynamic", "static")
    )
    assert dynamic and static and static < dynamic
    names = {o.name for phase in run("h100-sxm-80gb", activation_dtype="int8:dynamic").phases for o in phase.operators}
    assert "attention.qkv.quantize" in names and "mlp.down.quantize" in names


# Caches


def test_a_scale_for_each_token_and_head_shows_in_the_cache() -> None:
    plain, scaled = (run("h100-sxm-80gb", kv_dtype=kv).memory.kv for kv in ("int8", "int8:group=head"))
    assert scaled / plain == pytest.approx((8.0 + 32.0 / 128.0) / 8.0)
    four = run("h100-sxm-80gb", kv_dtype="int4:group=head:zero=0").memory.kv
    assert four / plain == pytest.approx((4.0 + 16.0 / 128.0) / 8.0)


# Models


@settings(max_examples=12, deadline=None)
@given(part=st.sampled_from(("layers", "ffn")), share=st.floats(0.2, 0.8))
def test_a_pruned_model_is_never_slower(part: str, share: float) -> None:
    whole, less = run(runtime="ideal"), run(runtime="ideal", prune={part: share})
    for name in ("ttft_s", "tpot_s", "j_per_output_token"):
        one, other = whole.metrics[name], less.metrics[name]
        assert one and other and other <= one * (1.0 + 1e-12)
    assert less.memory.weights < whole.memory.weights


def test_low_rank_takes_fewer_bytes_and_more_kernels() -> None:
    whole, low = run(runtime="torch-eager-2.4"), run(runtime="torch-eager-2.4", low_rank=0.25)
    assert low.memory.weights < 0.55 * whole.memory.weights
    eager = low.metrics["tpot_s"]
    graphs = run(runtime="ideal", low_rank=0.25).metrics["tpot_s"]
    assert eager and graphs and graphs < eager
    names = [o.name for o in low.phases[0].operators]
    assert "mlp.down.first" in names and "mlp.down.second" in names and "mlp.down" not in names


def test_quality_is_carried_and_changes_nothing() -> None:
    plain, rated = run(prune="layers=0.25"), run(prune="layers=0.25", quality=0.93)
    assert rated.metrics["model_quality"] == 0.93 and "model_quality" not in plain.metrics
    assert {k: v for k, v in rated.metrics.items() if k != "model_quality"} == plain.metrics
    assert rated.configuration["quality"] == 0.93
    assert any(row.what == "quality of the compressed model" for row in rated.provenance)
    assert any(row.value == "layers 32 -> 24" for row in rated.provenance), "what was done is said"


def test_scenarios_of_other_compressions_have_other_hashes() -> None:
    asked = [{}, {"prune": "layers=0.25"}, {"low_rank": 0.25}, {"sparsity": "2:4"}, {"activation_dtype": "int8"}]
    hashes = {inference_scenario(MODEL, "h100-sxm-80gb", batch=1, isl=8, osl=2, **each).hash for each in asked}  # type: ignore[arg-type]
    assert len(hashes) == len(asked)


# Training


def test_pruned_models_can_be_trained_and_sparse_ones_not() -> None:
    asked = {"global_batch": 8, "seq_len": 512, "micro_batch": 1, "count": 8, "tp": 1, "dp": 8}
    whole, less = (
        simulate(training_scenario("llama-3.2-1b", "h100-sxm-80gb", prune=prune, **asked)).metrics["step_time_s"]  # type: ignore[arg-type]
        for prune in ("", "layers=0.5")
    )
    assert whole and less and less < whole
    with pytest.raises(InputError, match="--sparsity: is of inference"):
        simulate(training_scenario("llama-3.2-1b", "h100-sxm-80gb", sparsity="2:4", **asked))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="leave --low-rank out"):
        simulate(training_scenario("llama-3.2-1b", "h100-sxm-80gb", low_rank=0.25, lora_rank=8, **asked))  # type: ignore[arg-type]
