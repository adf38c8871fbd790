"""Failure rates: every class has one, counts and rates agree, the usual errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError, UnknownName
from hardware_specs.facts import Mark
from hardware_specs.records import DEVICE_CLASSES
from hardware_specs.reliability import load_reliability, reliability_names, reliability_of

HOUR = 3600.0
RUN = 54 * 24 * HOUR


@pytest.mark.parametrize("name", DEVICE_CLASSES)
def test_every_class_has_facts_by_its_name(name: str) -> None:
    assert name in load_reliability(name).device_classes or name in reliability_names()


@pytest.mark.parametrize("name", reliability_names())
def test_numbers_are_plausible(name: str) -> None:
    spec = load_reliability(name)
    for fact in (spec.device_mtbf, spec.host_mtbf, spec.network_mtbf, spec.software_mtbf):
        assert fact is None or 1000.0 <= fact.value / HOUR <= 1e7
    for fact in (spec.detect, spec.restart, spec.warmup):
        assert fact.mark == Mark.ASSUMED
        assert 1.0 <= fact.value <= HOUR


def test_rates_of_hopper_are_the_counts_of_llama_3() -> None:
    spec = load_reliability("h100")
    parts = ((spec.device_mtbf, 16384, 268), (spec.host_mtbf, 2048, 53), (spec.network_mtbf, 2048, 35),
             (spec.software_mtbf, 2048, 63))  # fmt: skip
    for fact, units, count in parts:
        assert fact is not None
        assert fact.mark == Mark.SOURCED
        assert fact.value == pytest.approx(RUN * units / count, rel=1e-4)
    assert sum(count for *_, count in parts) == 419


@pytest.mark.parametrize(
    ("device", "facts"),
    [
        ("h100-sxm-80gb", "h100"),
        ("a100-sxm-80gb", "a100"),
        ("rtx-4090", "gpu"),
        ("tpu-v5p", "tpu"),
        ("epyc-9654", "cpu"),
    ],
)
def test_a_device_has_its_own_facts_else_those_of_its_class(device: str, facts: str) -> None:
    assert reliability_of(load_device(device)).id == facts


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown reliability 'tpuv'; did you mean 'tpu'\? \(allowed: a100"):
        load_reliability("tpuv")
    own = tmp_path / "mine.toml"
    times = "".join(
        f'{key} = {{ value = "1 min", assumed = "why" }}\n' for key in ("detect", "restart", "warmup", "repair")
    )
    own.write_text(f'name = "mine"\ndevices = 8\n{times}')
    with pytest.raises(InputError, match="mine: no MTBF; give device_mtbf"):
        load_reliability(own)
