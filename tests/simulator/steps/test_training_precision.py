"""Training steps in the precisions that people train in, end to end: what is faster, what fits."""

from __future__ import annotations

from typing import Any

import pytest

from silicost.scenarios import training_scenario
from simulator.result import Result
from simulator.simulate import simulate


def step(model: str = "llama-2-7b", device: str = "h100-sxm-80gb", **how: Any) -> Result:
    given: dict[str, Any] = {"global_batch": 8, "seq_len": 2048, "recompute": "full", **how}
    return simulate(training_scenario(model, device, **given))


def seconds(**how: Any) -> float:
    return step(**how).metrics["step_time_s"] or 0.0


def casts(result: Result) -> float:
    return sum(o.time_s for phase in result.phases for o in phase.operators if ".quantize" in o.name)


def test_precisions_by_speed() -> None:
    """Products in tf32 run at half the rate of bf16, those in fp32 on the vector units."""
    fp32, tf32, bf16, fp8 = (seconds(dtype=dtype) for dtype in ("fp32", "tf32", "bf16", "fp8"))
    assert fp8 < bf16 < tf32 < fp32
    assert tf32 > 1.5 * bf16
    assert fp32 > 3.0 * tf32
    assert fp8 > 0.5 * bf16


def test_recipes_by_what_their_casts_move() -> None:
    found = {name: casts(step(dtype="fp8", recipe=name)) for name in ("fp8-delayed", "fp8-tensorwise", "fp8-rowwise")}
    assert 0.0 < found["fp8-delayed"] < found["fp8-tensorwise"] < found["fp8-rowwise"]
    assert casts(step()) == 0.0


def test_casts_are_counted_once() -> None:
    """Those of the recipe are operators; the law adds none of its own to the products."""
    wide, narrow = step(), step(dtype="fp8", recipe="fp8-delayed")

    def products(result: Result) -> float:
        return sum(
            o.time_s for p in result.phases for o in p.operators
            if o.name.partition(".")[0] in ("attention", "mlp") and ".quantize" not in o.name
        )  # fmt: skip

    assert products(narrow) < products(wide)
    assert products(narrow) + casts(narrow) < products(wide)


def test_wide_ends_cost_time() -> None:
    assert seconds(dtype="fp8", recipe="fp8-tensorwise") < seconds(dtype="fp8", recipe="fp8-tensorwise:ends=2")


def test_memory_of_trained_weights_is_that_of_16_bits() -> None:
    assert step(dtype="fp8").memory.weights == step().memory.weights


def test_tf32_keeps_32_bits() -> None:
    tf32, bf16 = step(dtype="tf32"), step()
    assert tf32.memory.weights == pytest.approx(2.0 * bf16.memory.weights, rel=0.01)


def qlora(model: str, device: str, rank: int = 64, **how: Any) -> Result:
    own: dict[str, Any] = {
        "global_batch": 1,
        "seq_len": 512,
        "runtime": "torch-eager-2.4",
        "weight_dtype": "nf4",
        **how,
    }
    return step(model, device, lora_rank=rank, **own)


@pytest.mark.parametrize(("model", "device"), [("llama-65b", "a40"), ("llama-30b", "rtx-4090")])
def test_qlora_fits_where_its_authors_ran_it(model: str, device: str) -> None:
    """65B on a GPU of 48 GB, 33B on one of 24 GB (Dettmers et al., arXiv:2305.14314, abstract and section 1), with
    states of the optimizer paged out."""
    packed, wide = qlora(model, device, offload="optimizer"), qlora(model, device, weight_dtype="bf16")
    assert packed.pools[0].fits
    assert wide.memory.total > 2.0 * packed.pools[0].capacity_bytes


def test_qlora_of_7b_takes_less_than_10_gb() -> None:
    """Llama 2 7B in less than 10 GB (torchtune, "Fine-Tuning Llama2 with QLoRA")."""
    assert 4e9 < qlora("llama-2-7b", "rtx-4090", 8).memory.total < 10e9


def test_packed_weights_are_slower_than_wide_ones() -> None:
    """They are written to memory and read again three times: forward, the second forward, backward."""
    wide, packed = (qlora("llama-2-7b", "a100-sxm-80gb", 16, weight_dtype=w) for w in ("bf16", "nf4"))
    unpacked = [o for p in packed.phases for o in p.operators if ".unpack" in o.name]
    assert {o.name.rpartition(".")[2] for o in unpacked} == {"unpack", "scales", "recompute", "backward"}
    assert (packed.metrics["step_time_s"] or 0.0) > 1.05 * (wide.metrics["step_time_s"] or 0.0)
