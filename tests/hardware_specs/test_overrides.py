"""What-if changes of facts: absolute, relative, and refused with the place and the nearest name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.facts import Mark
from hardware_specs.overrides import apply_overrides

H100 = load_device("h100-sxm-80gb")


def test_absolute_and_relative_changes() -> None:
    changed = apply_overrides(H100, {"memory.bandwidth": "6 TB/s", "compute.peaks.bf16": "2x", "power.tdp": "50%"})
    assert changed.memory.bandwidth.value == 6e12
    assert changed.compute.peaks["bf16"].value == 2 * H100.compute.peaks["bf16"].value
    assert changed.power.tdp and changed.power.tdp.value == 350.0
    assert changed.memory.bandwidth.mark is Mark.ASSUMED and changed.memory.bandwidth.origin == "set by the user"
    assert changed.compute.peaks["fp8"] == H100.compute.peaks["fp8"]
    assert H100.memory.bandwidth.value == 3.35e12, "the record itself stays as it was"


def test_a_law_parameter_may_be_new() -> None:
    assert apply_overrides(H100, {"parameters.launch_s": "2 us"}).parameters["launch_s"].value == pytest.approx(2e-6)


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("memory.bandwith", "6 TB/s", ["no field 'bandwith'", "did you mean 'bandwidth'?", "allowed:"]),
        ("memry.bandwidth", "6 TB/s", ["no field 'memry'", "did you mean 'memory'?"]),
        ("memory", "6 TB/s", ["needs a field after 'memory'", "bandwidth"]),
        ("memory.bandwidth.value", "6 TB/s", ["'bandwidth' is a number", "'value'"]),
        ("compute.peaks", "2x", ["needs one more name after 'peaks'", "bf16"]),
        ("compute.peaks.fp7", "2x", ["no field 'fp7'"]),
        ("memory.kind", "HBM9", ["'kind' is 'HBM3'", "no number to change"]),
        ("memory.bandwidth", "6 W", ["is a power, not a bandwidth"]),
        ("memory.bandwidth", "0x", ["must be positive"]),
        ("memory.bandwidth", "-1 TB/s", ["must be positive"]),
        ("price.purchase", "2x", ["no value is known that could be scaled"]),
    ],
)
def test_errors_repeat_the_flag(path: str, text: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        apply_overrides(H100, {path: text})
    assert str(caught.value).startswith(f"--set {path}={text}: ")
    for word in words:
        assert word in str(caught.value)


def test_a_missing_record_cannot_be_changed() -> None:
    assert load_device("groq-lpu-v1").cache is None
    with pytest.raises(InputError, match="has no 'cache' to change"):
        apply_overrides(load_device("groq-lpu-v1"), {"cache.capacity": "1 MiB"})


@given(st.floats(0.01, 100.0))
def test_scaling_scales(factor: float) -> None:
    changed = apply_overrides(H100, {"memory.bandwidth": f"{factor:.6f}x"})
    assert changed.memory.bandwidth.value == pytest.approx(3.35e12 * float(f"{factor:.6f}"))


def test_usable_bytes_change_as_the_capacity_does() -> None:
    spec = load_device("h100-sxm-80gb")
    assert spec.memory.usable is not None
    doubled = apply_overrides(spec, {"memory.capacity": "2x"}, "--set device.")
    assert doubled.memory.usable is not None
    assert doubled.memory.usable.value == pytest.approx(2.0 * spec.memory.usable.value)
    both = apply_overrides(spec, {"memory.capacity": "2x", "memory.usable": "50 GB"}, "--set device.")
    assert both.memory.usable is not None
    assert both.memory.usable.value == 50e9
