"""The file of a calibration: it says what was fitted, loads as what it was, and predicts the same."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.calibrations import Calibrations, Residuals, load_calibration, use_calibration
from hardware_specs.devices import device_names, load_device
from hardware_specs.facts import Fact, Mark
from hardware_specs.records import DeviceSpec
from simulator.calibration.machine_device import Hardware, cpu_device
from simulator.calibration.samples import Measurement
from simulator.calibration.use import read_calibration
from simulator.calibration.write import calibrations_text, machine_text
from simulator.devices.model import compile_device
from simulator.kernels.roofline import TIME
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator
from workloads.runtimes.catalogue import load_runtime

MeasureAs = Callable[..., list[Measurement]]
OperatorsOf = Callable[[str], list[Operator]]
Seconds = Callable[..., npt.NDArray[np.float64]]
RUNTIME = "torch-cpu-2.13"


@pytest.fixture
def measured_machine(fitted_machine: Calibrations, fitted_samples: list[Measurement]) -> Calibrations:
    """The calibration of a machine whose device was measured, too: facts of all marks, fits and sources."""
    streams = [Measurement("stream", op.stream_copy("s", 1e9), 0.0252, 0.025, 0.026),
               Measurement("stream", op.stream_copy("s", 9e6), 6.3e-5, 6e-5, 7e-5)]  # fmt: skip
    hardware = Hardware("small-cpu", 'AMD "EPYC" 9654', "AMD", 2, 24684084.0 * 1024, 32e6)
    spec = cpu_device(hardware, [*fitted_samples, *streams], RUNTIME, "2026-11-25")
    tdp = Fact(90.0, "w", "90 W", Mark.ASSUMED, "a guess: \\ and ' and \"")
    spec = msgspec.structs.replace(spec, power=msgspec.structs.replace(spec.power, tdp=tdp))
    return msgspec.structs.replace(fitted_machine, device=spec)


@pytest.fixture
def path(measured_machine: Calibrations, tmp_path: Path) -> Path:
    place = tmp_path / "small-cpu.toml"
    place.write_text(machine_text(measured_machine), encoding="utf-8")
    return place


def test_entries_and_environment_are_read_as_they_were(path: Path, measured_machine: Calibrations) -> None:
    found = load_calibration(path)
    assert found.calibrations == measured_machine.calibrations
    assert found.environment == measured_machine.environment
    assert (found.id, found.notes) == ("small-cpu", measured_machine.notes)
    assert read_calibration(path) == found


def facts_of(record: Any, place: str = "") -> dict[str, Fact]:
    """Facts of a record by their place, at any depth."""
    if isinstance(record, Fact):
        return {place: record}
    if isinstance(record, dict):
        return {key: fact for name, value in record.items() for key, fact in facts_of(value, f"{place}.{name}").items()}
    if isinstance(record, msgspec.Struct):
        return facts_of({name: getattr(record, name) for name in record.__struct_fields__}, place)
    return {}


def test_the_device_is_read_with_the_origin_of_each_number(path: Path, measured_machine: Calibrations) -> None:
    read, written = load_calibration(path).device, measured_machine.device
    assert read is not None and written is not None
    before, after = facts_of(written), facts_of(read)
    assert list(before) == list(after) and len(before) >= 7
    assert {fact.mark for fact in before.values()} == {Mark.SOURCED, Mark.CALIBRATED, Mark.ASSUMED}
    for name, fact in before.items():
        assert after[name].value == pytest.approx(fact.value, rel=1e-3), name
        assert (after[name].mark, after[name].dimension, after[name].text) == (fact.mark, fact.dimension, fact.text)
        assert (after[name].origin, after[name].fit) == (fact.origin, fact.fit), name
    for name in ("id", "device_class", "vendor", "name", "default_runtime", "year", "notes"):
        assert getattr(read, name) == getattr(written, name)
    assert read.compute.unit_name == "core" and read.cache and read.cache.kind == "last-level cache"


@pytest.mark.usefixtures("calibration_file")
def test_predictions_are_those_before_writing(
    path: Path, measured_machine: Calibrations, operators_of: OperatorsOf, seconds_by: Seconds
) -> None:
    """Under the runtime that was measured, of the device that the file defines."""
    assert measured_machine.device is not None
    assert use_calibration(path) == "small-cpu"
    assert "small-cpu" in device_names()
    model = compile_device(load_device("small-cpu"), load_runtime(RUNTIME))
    assert len(model.choice.entries) == len(measured_machine.calibrations)
    kinds = {"more products": "gemm", "more decode": "attention_decode", "more prefill": "attention_prefill"}
    for what in (*kinds, "norm", "activation", "softmax"):
        kind = kinds.get(what, what)
        entries = [each for each in measured_machine.calibrations if kind in each.operators]
        narrowest = min(entries, key=lambda each: len(each.operators))
        values = {name: fact.value for name, fact in narrowest.facts.items()}
        before = seconds_by(measured_machine.device, operators_of(what), values)
        after = model.cost(columns_of(operators_of(what)))[TIME]
        assert after == pytest.approx(before, rel=1e-3), what


def test_written_again_it_is_the_same(path: Path) -> None:
    assert machine_text(load_calibration(path)) == path.read_text(encoding="utf-8")


def test_a_calibration_of_a_known_device_brings_none(fitted_machine: Calibrations, tmp_path: Path) -> None:
    bare = msgspec.structs.replace(fitted_machine, device=None, environment={}, id="epyc-9654")
    place = tmp_path / "epyc-9654.toml"
    place.write_text(machine_text(bare))
    assert load_calibration(place) == bare
    assert "[device" not in place.read_text() and "[environment" not in place.read_text()
    (tmp_path / "one.toml").write_text('id = "epyc-9654"\n' + calibrations_text(bare.calibrations, bare.notes))
    assert load_calibration(tmp_path / "one.toml") == bare


def test_what_was_held_out_is_written(fitted_machine: Calibrations, tmp_path: Path) -> None:
    left = Residuals(9, 3, 0.04, 0.03, 0.01, 0.02, (-0.1, -0.05, 0.05, 0.1))
    entry = msgspec.structs.replace(fitted_machine.calibrations[0], held_out=left, weights="packed")
    place = tmp_path / "x.toml"
    place.write_text(machine_text(msgspec.structs.replace(fitted_machine, calibrations=(entry,))))
    assert load_calibration(place).calibrations == (entry,)


TEXT = st.text(st.characters(codec="utf-8"), max_size=30)


@given(environment=st.dictionaries(TEXT, TEXT, max_size=4), notes=TEXT)
def test_any_text_is_kept(environment: dict[str, str], notes: str) -> None:
    found = Calibrations("small-cpu", (), notes=notes, environment=environment)
    read = tomllib.loads(machine_text(found))
    assert read.get("environment", {}) == environment
    assert read["notes"] == notes


def test_law_parameters_of_a_device_are_written(small_cpu: DeviceSpec, tmp_path: Path) -> None:
    fixed = {"row_tile": Fact(6.0, "number", "6", Mark.ASSUMED, "AVX2 kernels of OpenBLAS")}
    spec = msgspec.structs.replace(small_cpu, parameters=fixed)
    place = tmp_path / "x.toml"
    place.write_text(machine_text(Calibrations("small-cpu", (), device=spec)))
    read = load_calibration(place).device
    assert read is not None and read.parameters["row_tile"].value == 6.0
    assert facts_of(read).keys() == facts_of(spec).keys()
