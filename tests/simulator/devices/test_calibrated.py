"""Calibrations: shipped ones fit the laws, and the nearest one holds for an operator."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from hardware_specs import calibrations
from hardware_specs.calibrations import (
    Calibration,
    Calibrations,
    Residuals,
    SizeRange,
    calibration_names,
    calibrations_of,
)
from hardware_specs.catalogue import Catalogue
from hardware_specs.devices import device_names, load_device
from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Fit, Mark
from hardware_specs.records import DEVICE_CLASSES
from simulator.calibration.write import calibrations_text
from simulator.devices import calibrated
from simulator.devices.calibrated import choice_of, stack_of
from simulator.devices.model import compile_device
from simulator.devices.registry import law_of
from simulator.kernels.roofline import TIME
from workloads import operators as op
from workloads.graph import columns_of
from workloads.runtimes.catalogue import load_runtime, runtime_names

SHIPPED = [(name, entry) for name in calibration_names() for entry in calibrations_of(name)]


@pytest.mark.parametrize(("name", "entry"), SHIPPED, ids=[entry.fit.id for _, entry in SHIPPED])
def test_a_shipped_entry_says_what_it_rests_on(name: str, entry: Calibration) -> None:
    device_class = name if name in DEVICE_CLASSES else load_device(name).device_class
    known = {parameter.name: parameter for parameter in law_of(device_class).parameters}
    for parameter, fact in entry.facts.items():
        assert fact.dimension == known[parameter].dimension
        if known[parameter].free:
            slack = 1e-3 * known[parameter].high
            assert known[parameter].low - slack <= fact.value <= known[parameter].high + slack
    assert entry.fit.sources and entry.fit.rows and entry.fit.date and entry.fit.rule
    assert len(entry.fit.rows_sha256) == 64 and entry.fit.digests
    assert all(len(digest) == 8 for digest in entry.fit.digests)
    assert set(entry.runtimes) <= set(runtime_names()) and set(entry.fit.devices) <= set(device_names())
    assert entry.residuals.rows and entry.residuals.quantiles == tuple(sorted(entry.residuals.quantiles))


def test_every_device_compiles_under_its_usual_runtime() -> None:
    for name in calibration_names():
        if name not in DEVICE_CLASSES:
            spec = load_device(name)
            model = compile_device(spec, load_runtime(spec.default_runtime))
            assert len(model.records) == 1 + len(model.choice.entries) > 1
            assert np.isfinite(model.cost(columns_of([op.gemm("x", 64, 4096, 4096, "fp32")]))).all()


def entry(
    name: str,
    share: str,
    operators: tuple[str, ...] = ("gemm",),
    split_by: tuple[str, ...] = ("n", "k"),
    **more: object,
) -> Calibration:
    left = Residuals(10, 5, 0.1, 0.1, 0.05, 0.1, (-0.3, -0.2, 0.2, 0.3))
    fit = Fit(name, ("lab",), "a rule", "2026-01-01", rows=10, split_by=split_by, groups=("00000000",))
    return msgspec.convert(
        {"operators": operators, "parameters": {"gemm_sustained": share}, "fit": fit, "residuals": left, **more},
        Calibration,
    )


def shares(
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, list[Calibration]],
    device: str,
    runtime: str,
    *operators: op.Operator,
) -> list[float]:
    """The share that holds for each operator."""
    monkeypatch.setattr(calibrated, "calibrations_of", lambda name: tuple(files.get(name, ())))
    calibrated._choice.cache_clear()
    fresh = msgspec.structs.replace(load_runtime(runtime))
    try:
        model = compile_device(load_device(device), fresh)
    finally:
        calibrated._choice.cache_clear()
    return [float(model.records[i]["gemm_sustained"]) for i in model.which(columns_of(operators))]


BF16, FP8 = op.gemm("x", 8, 64, 64), op.gemm("x", 8, 64, 64, "fp8")


def test_the_nearest_entry_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    other, version, own = (
        entry(r, s, runtimes=(r,)) for r, s in (("trtllm-1.0", "0.5"), ("vllm-0.6", "0.6"), ("vllm-0.19", "0.7"))
    )
    of_class = entry("any", "0.4")
    h100 = "h100-sxm-80gb"
    for entries, expected in (([other], 0.5), ([other, version], 0.6), ([other, version, own], 0.7), ([], 0.4)):
        assert shares(monkeypatch, {h100: entries, "gpu": [of_class]}, h100, "vllm-0.19", BF16) == [expected]
    only_fp8 = entry("fp8", "0.3", dtypes=("fp8",))
    assert shares(monkeypatch, {h100: [only_fp8], "gpu": [of_class]}, h100, "vllm-0.19", BF16, FP8) == [0.4, 0.3]


def test_what_one_model_showed_stays_with_its_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = entry("narrow", "0.5", split_by=("m", "n", "k"), runtimes=("trtllm-1.0",))
    files = {"h100-sxm-80gb": [narrow], "gpu": [entry("any", "0.4")]}
    assert shares(monkeypatch, files, "h100-sxm-80gb", "vllm-0.19", BF16) == [0.4]
    assert shares(monkeypatch, files, "h100-sxm-80gb", "trtllm-0.9", BF16) == [0.5]


def test_packed_and_scaled_weights_have_entries_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = op.gemm("x", 8, 64, 64, weight_bits=4.5, dequantize=True)
    scaled = op.gemm("x", 8, 64, 64, "fp8", weight_bits=8.25)
    files = {
        "gpu": [
            entry("plain", "0.4"),
            entry("packed", "0.5", weights="packed"),
            entry("scaled", "0.6", weights="scaled"),
        ]
    }
    assert shares(monkeypatch, files, "h100-sxm-80gb", "vllm-0.19", BF16, packed, scaled) == [0.4, 0.5, 0.6]
    assert shares(monkeypatch, {"gpu": files["gpu"][:1]}, "h100-sxm-80gb", "vllm-0.19", scaled) == [0.4]


def test_a_parameter_that_the_user_sets_goes_before_a_calibration() -> None:
    from silicost.scenarios import inference_scenario
    from simulator.prepared import prepare

    changes = {"device.parameters.gemm_sustained": "0.21"}
    scenario = inference_scenario("llama-3.1-8b", "h100-sxm-80gb", batch=1, isl=8, osl=1, changes=changes)
    assert np.all(prepare(scenario).model.records["gemm_sustained"] == 0.21)


def test_names_that_do_not_exist_are_refused_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"gpu": [entry("wrong", "0.4", operators=("gem",))]}
    with pytest.raises(InputError, match="calibration wrong: operators: no such name 'gem'; did you mean 'gemm'"):
        shares(monkeypatch, files, "h100-sxm-80gb", "vllm-0.19", BF16)


def test_the_stack_is_the_runtime_without_its_version() -> None:
    assert stack_of("vllm-0.19") == "vllm" and stack_of("llamacpp-vulkan-2025") == "llamacpp-vulkan"


def test_choice_of_a_device_without_any_measurement_is_that_of_its_class() -> None:
    spec = load_device("mi300x")
    assert spec.id not in calibration_names()
    assert {chosen.own_device for chosen in choice_of(spec, load_runtime("vllm-rocm-2025")).entries} <= {False}
    priced = compile_device(spec, load_runtime("vllm-rocm-2025")).cost(columns_of([BF16]))
    assert priced[TIME, 0] > 0.0


def test_a_factor_that_the_user_changes_counts_where_the_runtime_is_calibrated() -> None:
    """vllm-0.6 has entries of its own on an H100: they hold its factors, but not what the user makes of them."""
    from silicost.scenarios import inference_scenario
    from simulator.prepared import prepare

    product = columns_of([op.gemm("x", 4096, 8192, 8192)])

    def seconds(changes: dict[str, str]) -> float:
        scenario = inference_scenario(
            "llama-3.1-8b", "h100-sxm-80gb", batch=1, isl=8, osl=1, runtime="vllm-0.6", changes=changes
        )
        model = prepare(scenario).model
        assert model.choice.entries[model.which(product)[0] - 1].own_runtime
        return float(model.cost(product)[TIME, 0])

    assert seconds({"runtime.factors.gemm": "0.5x"}) > 1.8 * seconds({})


def test_a_power_limit_must_leave_something() -> None:
    spec = load_device("h100-sxm-80gb")
    static_w = float(compile_device(spec, load_runtime("ideal")).record["static_w"])
    fact = Fact(0.9 * static_w, "w", "little", Mark.ASSUMED, "a test")
    with pytest.raises(InputError, match="leaves nothing above the static power"):
        compile_device(msgspec.structs.replace(spec, parameters={"cap_w": fact}), load_runtime("ideal"))


def test_parameters_outside_their_physical_range_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"gemm_sustained = '7' must be from 0\.3 to 1\.05"):
        shares(monkeypatch, {"gpu": [entry("wrong", "7")]}, "h100-sxm-80gb", "vllm-0.19", BF16)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('operators = ["gemm"]', "operators = []", "operators is empty"),
        ("own = 0.1", "own = 1e6", "residuals.own 1000000.0 must be from 0 to 5"),
        ("own = 0.1", "own = -1.0", "residuals.own -1.0 must be from 0 to 5"),
        ("[-0.3, -0.2, 0.2, 0.3]", "[0.3, -0.2, 0.2, 0.3]", "must be four rising numbers"),
        ("[-0.3, -0.2, 0.2, 0.3]", "[1.0]", "must be four rising numbers"),
        ("measured.gemm]", "measured.norm]", "measured.norm: must be of an operator of the entry: gemm"),
        ('"2 FLOP"', '"0.5 FLOP"', "measured.gemm.flops .* must be the smallest and the largest call"),
        ('"3 B"', '"-3 B"', "measured.gemm.moved_bytes .* must be the smallest and the largest call"),
    ],
)
def test_files_of_ones_own_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    sizes = {"gemm": SizeRange(("1 FLOP", "2 FLOP"), ("3 B", "4 B"))}
    text = calibrations_text([entry("mine", "0.5", measured=sizes)], "")
    assert old in text
    (tmp_path / "a40.toml").write_text(text)
    monkeypatch.setattr(calibrations, "_CATALOGUE", Catalogue("calibration", Calibrations, tmp_path))
    assert len(calibrations_of("a40")) == 1
    (tmp_path / "a40.toml").write_text(text.replace(old, new))
    monkeypatch.setattr(calibrations, "_CATALOGUE", Catalogue("calibration", Calibrations, tmp_path))
    with pytest.raises(InputError, match=f"a40.toml: calibration mine: .*{message}"):
        calibrations_of("a40")
