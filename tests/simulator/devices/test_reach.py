"""Interpolated or extrapolated: by the entry that prices a call, its kind, its FLOPs and its moved bytes."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from hardware_specs.calibrations import Calibration, Residuals, SizeRange
from hardware_specs.devices import load_device
from hardware_specs.errors import UnitError
from hardware_specs.facts import Fit
from simulator.devices import calibrated
from simulator.devices.model import DeviceModel, compile_device
from simulator.formats import SPARSE_REACHED
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator
from workloads.runtimes.catalogue import load_runtime

H100 = "h100-sxm-80gb"
RUNTIME = "vllm-0.19"
MEASURED = {"gemm": SizeRange(("1e6 FLOP", "1e9 FLOP"), ("1 kB", "1 MB"))}
INSIDE = op.gemm("x", 256, 256, 256)
LARGE = op.gemm("x", 8192, 8192, 8192)
NARROW = op.gemm("x", 1, 2048, 2048)
BATCHED = op.gemm("x", 128, 256, 256, batch=2)
PLAIN = op.gemm("x", 64, 4096, 4096)
PACKED = op.gemm("x", 64, 4096, 4096, weight_bits=4.125, dequantize=1)
SCALED = op.gemm("x", 64, 4096, 4096, "fp8", weight_bits=8.25)
SPARSE = op.skipping(op.gemm("x", 64, 4096, 4096, weight_bits=9.0), 2.0, SPARSE_REACHED)
WIDE = {"gemm": SizeRange(("1 FLOP", "1 EFLOP"), ("1 B", "1 EB"))}


def entry(operators: tuple[str, ...] = ("gemm", "batched_gemm"), **more: object) -> Calibration:
    left = Residuals(10, 5, 0.1, 0.1, 0.05, 0.1, (-0.3, -0.2, 0.2, 0.3))
    fit = Fit("mine", ("lab",), "a rule", "2026-01-01", rows=10, split_by=("n", "k"), groups=("00000000",))
    given = {"operators": operators, "parameters": {"gemm_sustained": "0.7"}, "fit": fit, "residuals": left}
    return msgspec.convert({**given, "runtimes": (RUNTIME,), "measured": MEASURED, **more}, Calibration)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    calibrated._choice.cache_clear()
    yield
    calibrated._choice.cache_clear()


def model_with(
    monkeypatch: pytest.MonkeyPatch, *entries: Calibration, place: str = H100, device: str = H100
) -> DeviceModel:
    files = {place: entries}
    calibrated._choice.cache_clear()
    monkeypatch.setattr(calibrated, "calibrations_of", lambda name: files.get(name, ()))
    return compile_device(load_device(device), msgspec.structs.replace(load_runtime(RUNTIME)))


def said(model: DeviceModel, *calls: Operator) -> list[str]:
    reach = model.reach(columns_of(calls))
    assert not (reach.interpolated & reach.extrapolated).any()
    words = np.where(reach.interpolated, "interpolated", np.where(reach.extrapolated, "extrapolated", "not recorded"))
    return [str(word) for word in words]


def test_a_call_is_interpolated_between_both_pairs_of_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with(monkeypatch, entry())
    assert said(model, INSIDE, LARGE) == ["interpolated", "extrapolated"]
    assert 1e6 < NARROW.flops < 1e9 and NARROW.moved_bytes > 1e6
    assert said(model, NARROW) == ["extrapolated"]


def test_the_ends_themselves_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = SizeRange((f"{INSIDE.flops} FLOP",) * 2, (f"{INSIDE.moved_bytes} B",) * 2)
    model = model_with(monkeypatch, entry(measured={"gemm": ends}))
    assert said(model, INSIDE, op.gemm("x", 257, 256, 256)) == ["interpolated", "extrapolated"]


def test_a_kind_or_a_format_that_was_not_measured_is_extrapolated(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with(monkeypatch, entry(dtypes=("bf16",)))
    assert said(model, BATCHED, op.gemm("x", 256, 256, 256, "fp8"), op.norm("x", 8, 64)) == ["extrapolated"] * 3


def test_without_a_range_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with(monkeypatch, entry(measured={}))
    assert said(model, INSIDE, LARGE, op.norm("x", 8, 64)) == ["not recorded", "not recorded", "extrapolated"]


def test_what_was_measured_on_others_is_extrapolated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(model_with(monkeypatch, entry(), place="gpu"), INSIDE) == ["extrapolated"]
    fit = msgspec.structs.replace(entry().fit, devices=("a40",))
    assert said(model_with(monkeypatch, entry(fit=fit)), INSIDE) == ["extrapolated"]


def test_each_entry_has_its_own_range(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"gemm": SizeRange(("0 FLOP", "1 FLOP"), ("0 B", "1 B"))}
    model = model_with(monkeypatch, entry(dtypes=("bf16",)), entry(dtypes=("fp8",), measured=small))
    assert said(model, INSIDE, op.gemm("x", 256, 256, 256, "fp8")) == ["interpolated", "extrapolated"]


def test_weights_that_an_entry_was_not_fitted_to_are_extrapolated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed and scaled weights are priced by a plain entry where there is none of theirs; it measured neither."""
    calls = (PLAIN, PACKED, SCALED, SPARSE)
    model = model_with(monkeypatch, entry(measured=WIDE))
    assert set(model.which(columns_of(calls)).tolist()) == {1}
    assert said(model, *calls) == ["interpolated", "extrapolated", "extrapolated", "extrapolated"]
    unrecorded = model_with(monkeypatch, entry(measured={}))
    assert said(unrecorded, *calls) == ["not recorded", "extrapolated", "extrapolated", "extrapolated"]


def test_entries_of_packed_and_scaled_weights_interpolate_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [entry(measured=WIDE, weights=weights) for weights in ("plain", "packed", "scaled")]
    sparse = op.skipping(PACKED, 2.0, SPARSE_REACHED)
    words = said(model_with(monkeypatch, *entries), PLAIN, PACKED, SCALED, SPARSE, sparse)
    assert words == ["interpolated", "interpolated", "interpolated", "extrapolated", "extrapolated"]


def test_packed_scaled_and_sparse_products_of_16_bits_were_not_measured_on_an_h100() -> None:
    model = compile_device(load_device(H100), load_runtime(RUNTIME))
    scaled = op.gemm("x", 64, 4096, 4096, weight_bits=16.25)
    assert said(model, PLAIN, PACKED, scaled, SPARSE) == ["interpolated", *["extrapolated"] * 3]


def test_sizes_have_units() -> None:
    wrong = entry(measured={"gemm": SizeRange(("1 FLOP", "2 B"), ("3 B", "4 B"))})
    message = r"^calibration mine: measured\.gemm\.flops: '2 B' is a size, not a count of operations"
    with pytest.raises(UnitError, match=message):
        wrong.sizes  # noqa: B018
