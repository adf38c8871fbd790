"""Probes of a GPU, whose calls run on torch for the CPU here: every call of a GPU's design that is small enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="torch is not installed")

from simulator.calibration.cuda_clock import Uncapturable, clock_for  # noqa: E402
from simulator.calibration.probes import (  # noqa: E402
    torch_attention,
    torch_calls,
    torch_copies,
    torch_fp8,
    torch_launch,
    torch_products,
    torch_vector,
)
from simulator.calibration.probes.registry import PROBES, Case, Machine  # noqa: E402
from simulator.calibration.timing import time_call  # noqa: E402
from workloads import operators as op  # noqa: E402
from workloads.operators import OpKind  # noqa: E402

DTYPES = ("bf16", "fp16", "fp8", "int8")
GPU = Machine("gpu", 4, 50e6, 20e9, DTYPES)
CPU = Machine("cpu", 2, 30e6, 1e9, ("fp32", "bf16", "int8"))
SMALL = 3e6
Design = Callable[[Machine], Iterator[Case]]
KERNELS: tuple[Design, ...] = (
    torch_products.cases, torch_products.more, torch_products.gradients, torch_attention.prefill_cases,
    torch_attention.decode_cases, torch_attention.backwards, torch_vector.cases, torch_vector.training,
    torch_fp8.fp8_cases, torch_fp8.more_fp8, torch_fp8.int8_cases, torch_fp8.more_int8,
)  # fmt: skip
LARGE: tuple[Design, ...] = (torch_products.gradients, torch_attention.backwards, torch_vector.training)
"""Designs without a small case."""
OTHERS: tuple[Design, ...] = (torch_launch.operators, torch_copies.copies)


class OnCpu(Machine):
    """A GPU as probes see it, whose tensors lie on the CPU."""

    @property
    def torch_device(self) -> str:
        return "cpu"


FAKE = OnCpu("gpu", 2, 0.0, 40e6, DTYPES)


def small(design: Design, machine: Machine = FAKE) -> list[Case]:
    """The smaller cases of each kind and variant, three at most."""
    found: dict[tuple[object, ...], list[Case]] = {}
    for case in design(machine):
        o = case.operator
        if case.bytes <= SMALL and o.flops < 3e8:
            found.setdefault((o.kind, o.name, o.dtype, case.variant), []).append(case)
    return [case for cases in found.values() for case in sorted(cases, key=lambda each: each.bytes)[:3]]


@pytest.mark.parametrize("design", [each for each in [*KERNELS, *OTHERS] if each not in LARGE])
def test_calls_of_a_gpu_run(design: Design) -> None:
    cases = small(design)
    assert cases
    with torch.no_grad():
        for case in cases:
            assert case.prepare()() is not None, case


def test_training_of_a_gpu_runs() -> None:
    m, n, k = 12, 20, 28
    torch.manual_seed(3)
    dx = torch_products._prepare_dgrad(FAKE, op.gemm("product", m, n, k, "bf16"))()
    assert dx.shape == (m, n)
    dw = torch_products._prepare_wgrad(FAKE, op.gemm("product.wgrad", n, k, m, "bf16", weights=False))()
    assert dw.shape == (n, k)
    loss = torch_vector._prepare(FAKE, op.softmax("loss", 8, 100, "fp32"), "loss")()
    assert 0.0 < float(loss) < 100.0
    forward = op.attention("attention", 16, 16, 4, 2, 64, batch=2)
    gradients = torch_attention._prepare_backward(FAKE, op.attention_backward(forward))()
    assert [tuple(each.shape) for each in gradients] == [(2, 4, 16, 64), (2, 2, 16, 64), (2, 2, 16, 64)]


def test_gradients_on_a_gpu_are_never_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    attend = torch.nn.functional.scaled_dot_product_attention

    def on_gpu(*tensors: Any, **flags: Any) -> Any:
        y = attend(*tensors, **flags)
        return SimpleNamespace(is_cuda=True, shape=y.shape)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", on_gpu)
    monkeypatch.setattr(torch, "ones_like", lambda y: torch.ones(y.shape))
    operator = op.attention_backward(op.attention("attention", 16, 16, 4, 2, 64))
    assert isinstance(torch_attention._prepare_backward(FAKE, operator), Uncapturable)


def test_optimizer_steps_of_a_gpu_run_and_are_never_captured() -> None:
    call = torch_vector._prepare_update(FAKE, 64, 64)
    assert isinstance(call, Uncapturable)
    call()
    assert not isinstance(torch_vector._prepare_update(CPU, 64, 64), Uncapturable)


@pytest.mark.parametrize("design", KERNELS)
@pytest.mark.parametrize("quick", [False, True])
def test_kernels_of_a_gpu_are_timed_without_launches_and_none_twice(design: Design, quick: bool) -> None:
    cases = list(design(Machine("gpu", 4, 50e6, 20e9, DTYPES, quick)))
    assert cases
    assert all(case.graph for case in cases)
    assert all(case.variant.split()[-1] in ("graph", "queued") for case in cases)
    keys = [(case.operator, case.variant) for case in cases]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("design", KERNELS)
def test_designs_of_a_gpu_have_room_and_end_soon(design: Design) -> None:
    for case in design(GPU):
        assert 0.0 < case.bytes < GPU.memory_bytes, case
        assert case.operator.flops <= 6e12, case


@pytest.mark.parametrize(
    "design", [*KERNELS[:8], torch_copies.copies, torch_launch.calls], ids=lambda design: design.__qualname__
)
def test_a_cpu_has_no_graphs(design: Design) -> None:
    cases = list(design(CPU))
    assert cases
    assert not any(case.graph or "graph" in case.variant or "queued" in case.variant for case in cases)


def test_products_of_a_gpu_go_from_decode_to_prefill_of_large_models() -> None:
    shapes = {(c.operator.m, c.operator.n, c.operator.k) for c in torch_products.cases(GPU)}
    assert {(1, 4096, 4096), (8192, 4096, 4096), (1, 14336, 4096), (1, 8192, 8192), (1, 768, 2048)} <= shapes
    assert {c.operator.dtype for c in torch_products.cases(GPU)} == {"bf16", "fp16"}
    assert {c.operator.dtype for c in torch_products.cases(CPU)} == {"fp32", "bf16", "int8"}


def test_shapes_are_those_that_eight_bit_products_take() -> None:
    for case in [*torch_fp8.fp8_cases(GPU), *torch_fp8.more_fp8(GPU)]:
        assert case.operator.n % 16 == 0 and case.operator.k % 16 == 0
    for case in [*torch_fp8.int8_cases(GPU), *torch_fp8.more_int8(GPU)]:
        assert case.operator.m > 16 and case.operator.n % 8 == 0 and case.operator.k % 8 == 0
    ways = {case.variant for case in torch_fp8.fp8_cases(GPU)}
    assert ways == {"tensor graph", "row graph", "row quantised graph"}


@pytest.mark.parametrize("way", ["tensor", "row", "row quantised"])
def test_fp8_products_are_products(way: str) -> None:
    m, n, k = 20, 48, 64
    operator = op.gemm("product", m, n, k, "fp8")
    torch.manual_seed(3)
    y = torch_fp8.prepare_fp8(FAKE, operator, way)()
    torch.manual_seed(3)
    w = torch_calls.filled(FAKE, "fp8", n, k).float()
    x = torch_calls.filled(FAKE, "bf16" if way.endswith("quantised") else "fp8", m, k).float()
    assert y.dtype == torch.bfloat16
    assert torch.allclose(y.float(), x @ w.t(), rtol=0.05, atol=0.12)


def test_int8_products_are_products() -> None:
    m, n, k = 24, 16, 40
    torch.manual_seed(3)
    y = torch_fp8.prepare_int8(FAKE, op.gemm("product", m, n, k, "int8"))()
    torch.manual_seed(3)
    x, w = torch_calls.filled(FAKE, "int8", m, k), torch_calls.filled(FAKE, "int8", n, k)
    assert y.dtype == torch.int32
    assert torch.equal(y, x.int() @ w.int().t())


def test_eight_bit_operators_count_what_calls_move() -> None:
    given = next(c.operator for c in torch_fp8.fp8_cases(GPU) if c.variant == "tensor graph")
    assert given.read_bytes == given.m * given.k
    assert given.write_bytes == 2.0 * given.m * given.n
    wide = next(c.operator for c in torch_fp8.fp8_cases(GPU) if "quantised" in c.variant)
    assert wide.read_bytes == 2.0 * wide.m * wide.k
    whole = next(c.operator for c in torch_fp8.int8_cases(GPU))
    assert (whole.read_bytes, whole.write_bytes) == (whole.m * whole.k, 4.0 * whole.m * whole.n)


@pytest.mark.parametrize(
    ("capability", "hip", "reason"),
    [((8, 0), None, "8.9"), ((8, 9), None, ""), ((9, 0), None, ""), ((12, 0), None, ""), ((9, 4), "6.2", "AMD")],
)
def test_fp8_says_which_gpus_have_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], hip: str | None, reason: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.version, "hip", hip, raising=False)
    found = torch_fp8.missing_fp8(GPU)
    assert (reason in found) if reason else found == ""


def test_dtypes_that_were_not_asked_for_are_missing() -> None:
    machine = Machine("gpu", 4, 50e6, 20e9, ("bf16",))
    assert "fp8 is none of" in torch_fp8.missing_fp8(machine)
    assert "int8 is none of" in torch_fp8.missing_int8(machine)


@pytest.mark.parametrize("name", ["torch.launch", "torch.eager", "torch.copies", "torch.transfers", "torch.fp8"])
def test_without_a_gpu_each_probe_says_so(name: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert PROBES[name].targets == ("gpu",)
    assert PROBES[name].missing(GPU) == "torch sees no GPU"


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("grouped", [True, False])
def test_the_kernel_of_attention_is_asked_for(monkeypatch: pytest.MonkeyPatch, causal: bool, grouped: bool) -> None:
    operator = op.attention("attention", 8 if causal else 1, 8, 4, 2 if grouped else 4, 64, batch=3)
    assert torch_attention.kernel_of(FAKE, operator) in ("flash", "math")
    asked: list[tuple[Any, ...]] = []

    def choose(q: Any, k: Any, v: Any, mask: Any, dropout: float, is_causal: bool, enable_gqa: bool) -> int:
        asked.append((tuple(q.shape), tuple(k.shape), q.stride(2), k.stride(2), is_causal, enable_gqa, q.requires_grad))
        return 3

    monkeypatch.setattr(torch, "_fused_sdp_choice", choose)
    assert torch_attention.kernel_of(FAKE, operator) == "cudnn"
    new, kv = (8, 2 if grouped else 4) if causal else (1, 2 if grouped else 4)
    assert asked == [((3, 4, new, 64), (3, kv, 8, 64), 4 * 64, 64, causal, grouped, False)]
    torch_attention.kernel_of(FAKE, op.attention_backward(operator))
    assert asked[1][-1] is True


def test_the_kernel_of_attention_is_in_the_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {case.variant for case in torch_attention.decode_cases(GPU)} == {"graph"}
    monkeypatch.setattr(torch_calls, "missing", lambda machine: "")
    monkeypatch.setattr(torch_attention, "kernel_of", lambda machine, operator: "math")
    assert {case.variant for case in torch_attention.decode_cases(GPU)} == {"math graph"}
    assert {case.variant for case in torch_attention.backwards(GPU)} == {"math queued"}
    assert {case.variant for case in torch_attention.decode_cases(CPU)} == {""}


def test_attention_of_a_gpu_asks_as_its_calls_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes, strides and flags that the choice is asked with are those that the call is made with."""
    asked, called = [], []

    def note(into: list[Any], q: Any, k: Any, v: Any, is_causal: bool, enable_gqa: bool) -> None:
        into.append((q.shape, q.stride(), k.shape, k.stride(), v.stride(), is_causal, enable_gqa))

    def choose(q: Any, k: Any, v: Any, mask: Any, dropout: float, is_causal: bool, enable_gqa: bool) -> int:
        note(asked, q, k, v, is_causal, enable_gqa)
        return 1

    def attend(q: Any, k: Any, v: Any, is_causal: bool = False, enable_gqa: bool = False) -> Any:
        note(called, q, k, v, is_causal, enable_gqa)
        return q

    monkeypatch.setattr(torch, "_fused_sdp_choice", choose)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
    for new in (1, 6):
        operator = op.attention("attention", new, 6, 4, 2, 64, batch=2)
        torch_attention.kernel_of(FAKE, operator)
        prepare = torch_attention._prepare_decode if new == 1 else torch_attention._prepare_prefill
        prepare(FAKE, operator)()
    assert asked == called


def test_launches_are_eager_awaited_and_in_graphs() -> None:
    cases = list(torch_launch.calls(GPU))
    ways = [(case.variant, case.graph) for case in cases[:3]]
    assert ways == [("eager", False), ("latency", False), ("graph", True)]
    assert len({case.operator.kind for case in cases}) == 4
    assert max(case.operator.moved_bytes for case in cases) < 1e5
    assert {case.variant for case in torch_launch.calls(CPU)} == {"eager"}
    assert not PROBES["torch.launch"].runtime and not PROBES["torch.eager"].runtime


def test_a_dispatch_is_timed_on_the_cpu() -> None:
    for case in torch_launch.calls(CPU):
        timing = time_call(case.prepare(), clock_for(CPU, case.graph), budget_s=0.02, warm_s=0.001)
        assert 0.0 < timing.low_s <= timing.median_s <= timing.high_s < math.inf


def test_a_wait_follows_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[None] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(None))
    case = next(case for case in torch_launch.calls(FAKE) if case.variant == "latency")
    call = case.prepare()
    call()
    call()
    assert len(waits) == 2


def test_eager_operators_are_the_smallest_of_each_kind() -> None:
    cases = list(torch_launch.operators(GPU))
    assert all(case.variant.split()[-1] == "eager" and not case.graph for case in cases)
    kinds = {case.operator.kind for case in cases}
    assert {OpKind.GEMM, OpKind.ROPE, OpKind.NORM, OpKind.ATTENTION_DECODE, OpKind.ATTENTION_PREFILL} <= kinds
    least = min(case.operator.moved_bytes for case in torch_vector.cases(GPU) if case.operator.name == "rope")
    assert {case.operator.moved_bytes for case in cases if case.operator.name == "rope"} == {least}
    assert len(cases) < 40


def test_copies_grow_to_what_fits() -> None:
    sizes = [case.operator.read_bytes for case in torch_copies.copies(GPU)]
    assert sizes[0] == 2**20 and sizes[-1] == 2**30
    tight = [case.operator.read_bytes for case in torch_copies.copies(Machine("gpu", 2, 0.0, 80e6, ("bf16",)))]
    assert tight == [2**20, 2**22, 2**24]
    quick = [case.operator.read_bytes for case in torch_copies.copies(Machine("gpu", 2, 0.0, 20e9, ("bf16",), True))]
    assert quick[-1] == sizes[-1] and len(quick) == 2


def test_a_copy_copies() -> None:
    call = torch_copies._prepare_copy(CPU, 1 << 20)
    target = call()
    assert isinstance(target, torch.Tensor)
    assert target.numel() * target.element_size() == 1 << 20
    before = target.clone()
    target.zero_()
    call()
    assert before.abs().sum() > 0.0
    assert torch.equal(target, before)


def test_nothing_is_sent_from_a_cpu_to_itself() -> None:
    assert "host and device are one" in torch_copies.missing_transfers(CPU)
    assert list(torch_copies.transfers(CPU)) == []
    assert list(torch_copies.transfers(GPU)) == [] or torch.cuda.is_available()


@pytest.mark.parametrize(("devices", "reachable", "way"), [(1, True, ""), (2, True, "peer"), (4, False, "peer.host")])
def test_all_ways_between_host_and_devices_are_measured(
    monkeypatch: pytest.MonkeyPatch, devices: int, reachable: bool, way: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    monkeypatch.setattr(torch.cuda, "can_device_access_peer", lambda one, other: reachable)
    cases = list(torch_copies.transfers(GPU))
    ways = {"h2d.pinned", "d2h.pinned", "h2d.pageable", "d2h.pageable"} | ({way} if way else set())
    assert {case.variant for case in cases} == ways
    assert all(case.operator.kind == OpKind.TRANSFER and not case.graph for case in cases)
    assert {case.operator.message_bytes for case in cases} == {float(1 << power) for power in range(12, 29, 2)}


@pytest.mark.parametrize("way", ["h2d.pinned", "d2h.pinned", "h2d.pageable", "d2h.pageable"])
def test_pinned_copies_do_not_wait_and_pageable_ones_are_not_pinned(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    made: list[SimpleNamespace] = []
    copied: list[tuple[str, str, bool]] = []

    def ones(size: int, dtype: Any, pin_memory: bool = False, device: str = "host") -> SimpleNamespace:
        tensor = SimpleNamespace(device=device, pinned=pin_memory, size=size)
        tensor.copy_ = lambda other, non_blocking: copied.append((other.device, tensor.device, non_blocking))
        made.append(tensor)
        return tensor

    monkeypatch.setattr(torch, "ones", ones)
    torch_copies._prepare_transfer(GPU, way, 4096)()
    host = next(tensor for tensor in made if tensor.device == "host")
    assert host.pinned == way.endswith("pinned")
    between = ("host", "cuda") if way.startswith("h2d") else ("cuda", "host")
    assert copied == [(*between, way.endswith("pinned"))]
    assert {tensor.size for tensor in made} == {4096}
