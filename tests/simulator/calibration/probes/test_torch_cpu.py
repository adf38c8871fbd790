"""Probes of torch on a CPU: calls give what operators say, operands come from memory, designs have room and end."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="torch is not installed")

from simulator.calibration.probes import torch_attention, torch_calls, torch_products, torch_vector  # noqa: E402
from simulator.calibration.probes.registry import PROBES, Case, Machine  # noqa: E402
from simulator.calibration.samples import Measurement  # noqa: E402
from workloads import operators as op  # noqa: E402
from workloads.operators import Operator, OpKind, element_bytes  # noqa: E402

DTYPES = ("fp32", "bf16", "int8")
SMALL = Machine("cpu", 2, 1e6, 60e6, DTYPES)
REAL = Machine("cpu", 2, 32e6, 9e8, DTYPES)
TINY = Machine("cpu", 1, 0.0, 20e6, ("fp32",))
PROBES_OF_TORCH = (
    "torch.products", "torch.gradients", "torch.prefill", "torch.decode", "torch.attention_backward", "torch.vector",
    "torch.training",
)  # fmt: skip


def every(name: str, machine: Machine, more: bool = True) -> list[Case]:
    probe = PROBES[name]
    return [*probe.cases(machine), *(probe.more(machine) if more else ())]


def smallest(name: str, machine: Machine = SMALL) -> list[Case]:
    """The two smallest cases of each kind, dtype and variant that fit."""
    found: dict[tuple[object, ...], list[Case]] = {}
    for case in every(name, machine):
        o = case.operator
        if case.bytes <= machine.memory_bytes and o.flops < 3e9:
            found.setdefault((o.kind, o.name, o.dtype, case.variant), []).append(case)
    return [case for cases in found.values() for case in sorted(cases, key=lambda each: each.operator.moved_bytes)[:2]]


@pytest.mark.parametrize("name", PROBES_OF_TORCH)
def test_calls_give_what_the_operator_says(name: str) -> None:
    cases = smallest(name)
    assert cases
    torch.manual_seed(1)
    for case in cases:
        with torch.no_grad():
            call: Callable[[], Any] = case.prepare()
            for _ in range(3):
                result = call()
        check_result(case.operator, result)


def check_result(o: Operator, result: Any) -> None:
    if o.kind == OpKind.OPTIMIZER or o.name == "loss":
        assert result is None or result.ndim == 0
        return
    parts = result if isinstance(result, tuple) else (result,)
    if o.kind == OpKind.ATTENTION_BACKWARD:
        assert sum(part.numel() for part in parts) * element_bytes(o.dtype) == o.write_bytes
        return
    (numbers,) = {sum(part.numel() for part in parts)}
    if o.kind == OpKind.SAMPLING:
        assert numbers == o.m
    elif o.kind in (OpKind.ATTENTION_PREFILL, OpKind.ATTENTION_DECODE):
        assert tuple(result.shape) == (o.batch, o.heads, o.m, o.k)
    else:
        assert numbers == o.m * o.n * o.batch
        assert tuple(parts[0].shape[-2:]) == (o.m, o.n) or o.name in ("rope", "embedding")
    if o.dtype != "int8":
        assert all(bool(torch.isfinite(part.float()).all()) for part in parts)
        assert parts[0].dtype == torch_calls.torch_dtype(o.dtype) or o.kind == OpKind.SAMPLING


def test_what_decode_writes_is_a_number_in_every_dtype() -> None:
    """Operands share one block: keys written in one dtype are weights in another."""
    with torch.no_grad():
        for dtype in ("fp32", "bf16", "fp32"):
            for batch in (1, 3):
                torch_attention._prepare_decode(SMALL, torch_attention._attention(1, 40, (4, 4, 64), batch, dtype))()
    for dtype in ("fp32", "bf16", "fp16"):
        for tensor in torch_calls.cold(SMALL, dtype, 512, 1024):
            size = tensor.float().abs()
            assert float(size.min()) > 1e-6 and float(size.max()) < 1e3


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("heads", [(4, 4, 16), (8, 2, 16)])
def test_decode_writes_its_new_keys_and_attends_to_all_before_them(dtype: str, heads: tuple[int, int, int]) -> None:
    o = torch_attention._attention(1, 12, heads, 3, dtype)
    with torch.no_grad():
        calls: list[Callable[[], Any]] = [torch_attention._prepare_decode(TINY, o) for _ in range(2)]
        first, again = (call() for call in calls)
    assert first.shape == again.shape == (3, heads[0], 1, 16)
    assert o.kind == OpKind.ATTENTION_DECODE and o.n == 12.0


def test_prompts_attend_causally() -> None:
    o = torch_attention._attention(6, 6, (4, 2, 8), 1, "fp32")
    q, k, v = torch_attention._inputs(TINY, o, 6, 6)
    with torch.no_grad():
        found = torch_attention._attend(o, causal=True)(q, k, v)
    grouped_k, grouped_v = (x.repeat_interleave(2, dim=1) for x in (k, v))
    scores = q @ grouped_k.transpose(-1, -2) / math.sqrt(8.0)
    scores = scores.masked_fill(torch.ones(6, 6).triu(1).bool(), -math.inf)
    assert torch.allclose(found, scores.softmax(-1) @ grouped_v, atol=1e-5)


@pytest.mark.parametrize("name", ["torch.products", "torch.decode"])
def test_operands_take_turns_that_no_cache_holds(name: str) -> None:
    """Weights, keys and values of one call have left a cache of this size when they come again."""
    for case in every(name, REAL):
        o = case.operator
        each = o.weight_bytes or o.read_bytes
        turns = torch_calls.copies(REAL, each)
        assert turns * each > 2.0 * REAL.cache_bytes or turns >= 64 or each > 0.3 * REAL.memory_bytes, o
        assert case.bytes >= min(turns * each, 2.0 * REAL.cache_bytes)


def test_operands_take_turns() -> None:
    seen: list[int] = []
    call = torch_calls.in_turn([1, 2, 3], seen.append)
    for _ in range(7):
        call()
    assert seen == [1, 2, 3, 1, 2, 3, 1]


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_cold_operands_are_numbers_and_lie_apart(dtype: str) -> None:
    found = torch_calls.cold(SMALL, dtype, 64, 128)
    each = 64 * 128 * element_bytes(dtype)
    assert len(found) * each > 2.0 * SMALL.cache_bytes
    places = sorted(tensor.data_ptr() for tensor in found)
    assert all(later - place >= each for place, later in pairwise(places))
    for tensor in found[:3]:
        assert tensor.shape == (64, 128) and tensor.dtype == torch_calls.torch_dtype(dtype)
        size = tensor.float().abs()
        assert bool(torch.isfinite(size).all()) and 1e-6 < float(size.max()) < 1e3


def test_an_operand_larger_than_all_others_is_alone() -> None:
    (only,) = torch_calls.cold(TINY, "fp32", 4096, 1024)
    assert only.shape == (4096, 1024)


def test_filled_tensors_repeat_a_block() -> None:
    for dtype in DTYPES:
        tensor = torch_calls.filled(REAL, dtype, 3, 50000)
        assert tensor.shape == (3, 50000) and tensor.dtype == torch_calls.torch_dtype(dtype)
        flat = tensor.flatten()
        assert torch.equal(flat[: 1 << 16], flat[1 << 16 : 1 << 17])
        assert len(flat[:1000].unique()) > 5


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", PROBES_OF_TORCH)
def test_designs_have_room_end_soon_and_have_no_case_twice(name: str, quick: bool) -> None:
    machine = Machine("cpu", 2, 32e6, 9e8, DTYPES, quick)
    cases = every(name, machine)
    assert cases
    keys = [Measurement(name, each.operator, 1.0, 1.0, 1.0, 1, "", each.variant, each.threads).key for each in cases]
    assert len(set(keys)) == len(keys)
    for case in cases:
        assert case.bytes > 0.0
        assert case.operator.flops <= 2.5e10
        assert case.operator.dtype in DTYPES
    fitting = sum(case.bytes <= machine.memory_bytes for case in cases)
    assert fitting >= 0.9 * len(cases)


def test_quick_designs_are_smaller() -> None:
    quick = Machine("cpu", 2, 32e6, 9e8, ("fp32", "bf16"), True)
    whole = Machine("cpu", 2, 32e6, 9e8, ("fp32", "bf16"))
    for name in PROBES_OF_TORCH:
        assert len(every(name, quick, more=False)) <= len(every(name, whole, more=False))


def test_products_go_from_decode_to_prefill() -> None:
    for machine in (REAL, Machine("cpu", 2, 32e6, 9e8, ("fp32",), True)):
        rows = {case.operator.m for case in torch_products.cases(machine)}
        assert 1 in rows and max(rows) >= 1024 and len(rows) >= 6


def test_eight_bit_products_alone_have_whole_numbers() -> None:
    """Norms and attention in int8 do not exist."""
    kinds = {
        case.operator.kind for name in PROBES_OF_TORCH for case in every(name, REAL) if case.operator.dtype == "int8"
    }
    assert kinds == {OpKind.GEMM}
    (case, *_) = [each for each in smallest("torch.products") if each.operator.dtype == "int8"]
    with torch.no_grad():
        call: Callable[[], Any] = case.prepare()
        assert call().dtype == torch.int32


def test_rotary_embedding_turns_queries_and_keys() -> None:
    o = op.rope("rope", 5, 4 * 64, "fp32")
    call: Callable[[], Any] = torch_vector._rotation(TINY, o)
    queries, keys = call()
    assert queries.shape == (1, 3, 5, 64) and keys.shape == (1, 1, 5, 64)


# --- without torch ------------------------------------------------------------------------------------------------


@pytest.fixture
def forgetting() -> Iterator[None]:
    torch_calls.cannot_load.cache_clear()
    yield
    torch_calls.cannot_load.cache_clear()


@pytest.mark.usefixtures("forgetting")
def test_torch_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    for name in PROBES_OF_TORCH:
        assert PROBES[name].missing(REAL) == "torch is not installed (pip install torch)"


def failing(error: Exception) -> Callable[[str], object]:
    def load(name: str) -> object:
        raise error

    return load


@pytest.mark.usefixtures("forgetting")
@pytest.mark.parametrize(
    ("error", "why"),
    [(ImportError("libtorch.so: no such file\nmore"), "libtorch.so: no such file"), (OSError(), "OSError()"),
     (RuntimeError("built for another numpy"), "built for another numpy")],
)  # fmt: skip
def test_torch_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch, error: Exception, why: str) -> None:
    monkeypatch.setattr(importlib, "import_module", failing(error))
    assert torch_calls.cannot_load() == f"torch cannot be loaded ({why})"


def test_torch_is_there() -> None:
    assert torch_calls.cannot_load() == ""
    assert all(PROBES[name].missing(REAL) == "" for name in PROBES_OF_TORCH)
