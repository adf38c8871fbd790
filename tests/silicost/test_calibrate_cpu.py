"""``silicost calibrate cpu``, ``fit`` and ``show`` in this process: what is refused, written, said, and predicted."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from hardware_specs import calibrations
from hardware_specs.calibrations import Calibrations
from hardware_specs.catalogue import Catalogue
from hardware_specs.devices import load_device
from silicost.commands.calibrate import budget_of
from simulator.calibration import machine_run
from simulator.calibration.machine.environment import Environment
from simulator.calibration.machine_fit import neutral, with_records
from simulator.calibration.machine_run import Asked, Calibrated
from simulator.calibration.samples import Measurement, Samples, write_samples
from simulator.calibration.use import read_calibration
from simulator.devices.model import compile_device
from simulator.kernels.roofline import TIME
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator
from workloads.runtimes.catalogue import load_runtime

Run = Callable[..., Any]
MakeFile = Callable[..., Path]
RUNTIME = "torch-cpu-2.13"
NOW = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
ABOUT = {
    "date": NOW[:10], "processor.model": "Small CPU", "processor.vendor": "AMD", "device": "small-cpu", "target": "cpu",
    "allowance.physical_cores": "2", "memory.total_bytes": "24000000000", "complete": "yes",
    "processor.caches": '[{"level":3,"kind":"unified","bytes":32000000,"cores":2,"count":1,"usable":1}]',
    "power.missing": "no RAPL counters",
}  # fmt: skip
TRUTH = {"gemm_share": 0.8, "stream_share": 0.6, "kv_share": 0.8, "decode_floor_s": 2e-5, "gemm_floor_s": 2e-5}


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of this process stay as they are."""
    monkeypatch.setattr(machine_run, "set_threads", lambda cores: None)
    monkeypatch.setattr(machine_run, "keep_freed_memory", lambda: None)


BAD = {
    "--budget soon": "--budget", "--budget 1s": "--budget 1s: must be from 2 s to 24 h",
    "--budget 0s": "--budget 0s: must be from 2 s to 24 h", "--budget 25h": "--budget 25h: must be from 2 s to 24 h",
    "--budget 5GB": "--budget", "--budget -5s": "--budget", "--budget nan": "--budget",
    "--out mine.json": "--out mine.json: must be a file that ends in .toml",
    "--samples mine.csv": "--samples mine.csv: must be a file that ends in .parquet",
    "--name My_CPU": "--name 'My_CPU': must be small letters, digits",
    "--name cpu/one": "--name 'cpu/one': must be small letters, digits",
    "--name ../one": "--name '../one': must be small letters, digits",
    "--only stream,torch.product,numpy.product5": "--only 'numpy.product5': no probe of that name; did you mean",
    "--only stream": "--only: a calibration needs matrix products",
    "--device my-cpu": "--device my-cpu: goes with --from",
    "--format yaml": "'yaml' is not allowed",
    "--from none.txt": "--from needs --device", "--from none.txt --device epyc-9654": "none.txt",
}  # fmt: skip


@pytest.mark.parametrize("flags", BAD)
def test_bad_flags_are_refused_before_anything_is_measured(
    refused: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(machine_run, "_calibrated", never)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SILICOST_DATA_DIR", str(tmp_path))
    assert BAD[flags] in refused(f"calibrate cpu {flags}")
    assert list(tmp_path.rglob("*.parquet")) == list(tmp_path.rglob("*.toml")) == []


def test_places_that_cannot_be_written_are_refused_before_anything_is_measured(
    refused: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.toml").mkdir()
    monkeypatch.setattr(machine_run, "calibrate_cpu", lambda *_: pytest.fail("measured"))
    message = refused(f"calibrate cpu --out {tmp_path / 'file' / 'x.toml'}")
    assert "x.toml" in message and "cannot be written (" in message
    if Path("/proc/self").exists():
        assert "cannot be written (" in refused("calibrate cpu --out /proc/self/x.toml")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["file", "folder.toml"]


def test_samples_that_cannot_be_fitted(refused: Run, tmp_path: Path) -> None:
    assert "none.parquet: no such file of samples" in refused(f"calibrate fit {tmp_path / 'none.parquet'}")
    (tmp_path / "text.parquet").write_text("m,n,k")
    assert "text.parquet: not a Parquet file of samples" in refused(f"calibrate fit {tmp_path / 'text.parquet'}")
    write_samples(tmp_path / "nameless.parquet", Samples((), {}))
    assert "do not say of which machine" in refused(f"calibrate fit {tmp_path / 'nameless.parquet'}")
    write_samples(tmp_path / "empty.parquet", Samples((), ABOUT))
    assert "small-cpu: the samples hold no matrix product" in refused(f"calibrate fit {tmp_path / 'empty.parquet'}")
    write_samples(tmp_path / "bad.parquet", Samples((), ABOUT | {"allowance.physical_cores": "many"}))
    assert "physical_cores" in refused(f"calibrate fit {tmp_path / 'bad.parquet'}")


def test_what_cannot_be_shown(refused: Run, tmp_path: Path) -> None:
    assert "nope" in refused("calibrate show nope")
    assert "no such calibration file" in refused(f"calibrate show {tmp_path / 'none.toml'}")


# --- what a run says and writes -----------------------------------------------------------------------------------


def product(m: int = 8) -> Measurement:
    return Measurement("torch.products", op.gemm("product", m, 64, 64, "fp32"), 1e-4, 1e-4, 1e-4, 5, RUNTIME, at=NOW)


@pytest.fixture
def calibrated(calibration_file: MakeFile, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What replaces the measuring: fields of what it gives, and afterwards "asked", what it was asked for."""
    found = read_calibration(calibration_file(environment={"date": "2026-11-25"}))
    given: dict[str, Any] = {
        "found": found, "measurements": (product(1), product(2)), "resumed": 0, "missing": {}, "remarks": ()
    }  # fmt: skip

    def instead(asked: Asked, environment: Environment, tell: Callable[[str, int, int], None]) -> Calibrated:
        given["asked"] = asked
        tell("torch.products product fp32", 1, 2)
        return Calibrated(**{name: given[name] for name in Calibrated._fields})

    monkeypatch.setattr(machine_run, "calibrate_cpu", instead)
    return given


def test_a_quiet_run_says_where_its_results_are(silicost: Run, calibrated: dict[str, Any], tmp_path: Path) -> None:
    place = tmp_path / "deep" / "mine.toml"
    ran = silicost(f"calibrate cpu --out {place} --name my-cpu")
    assert ran.status == 0
    samples = place.with_suffix(".samples.parquet")
    assert ran.err == f"silicost: 2 samples: {samples}\nsilicost: calibration: {place}\n"
    assert read_calibration(place) == calibrated["found"]
    assert calibrated["asked"] == Asked("cpu", "my-cpu", budget_of("", False), False, (), samples, False)
    assert [path.name for path in place.parent.iterdir()] == ["mine.toml"]


def test_what_was_asked_for_is_passed_on(silicost: Run, calibrated: dict[str, Any], tmp_path: Path) -> None:
    kept = tmp_path / "s.parquet"
    flags = f"--quick --only torch.,stream --fresh --samples {kept} --name other --out {tmp_path / 'x.toml'}"
    silicost(f"calibrate cpu {flags}")
    assert calibrated["asked"] == Asked("cpu", "other", budget_of("", True), True, ("torch.", "stream"), kept, True)
    silicost(f"calibrate cpu --quick --budget 1.5min --out {tmp_path / 'x.toml'}")
    assert calibrated["asked"].budget_s == 90.0
    assert budget_of("", True) < 40.0 <= budget_of("", False) <= 180.0


def test_without_a_place_it_goes_where_it_is_found(
    silicost: Run, calibrated: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SILICOST_DATA_DIR", str(tmp_path))
    ran = silicost("calibrate cpu --name my-cpu")
    assert ran.status == 0
    assert (tmp_path / "calibrations" / "my-cpu.toml").is_file()
    assert calibrated["asked"].samples == tmp_path / "calibrations" / "my-cpu.samples.parquet"


def test_all_that_makes_figures_doubtful_is_said(silicost: Run, calibrated: dict[str, Any], tmp_path: Path) -> None:
    calibrated["missing"] = {"torch.products": "torch is not installed (pip install torch)", "numpy.vector": "no room"}
    calibrated["resumed"] = 7
    calibrated["remarks"] = ("other processes use 0.8 of 2 cores; times will be noisy",)
    ran = silicost(f"calibrate cpu --out {tmp_path / 'x.toml'}")
    lines = [line.removeprefix("silicost: ") for line in ran.err.splitlines()]
    assert lines[:4] == [
        "torch.products: torch is not installed (pip install torch)", "numpy.vector: no room",
        "went on from 7 samples of a run that was interrupted",
        "other processes use 0.8 of 2 cores; times will be noisy",
    ]  # fmt: skip
    assert ran.status == 0


def test_power_that_cannot_be_read_is_said(silicost: Run, calibrated: dict[str, Any], tmp_path: Path) -> None:
    reason = "no RAPL counters under /sys/class/powercap"
    about = {**calibrated["found"].environment, "power.missing": reason}
    calibrated["found"] = msgspec.structs.replace(calibrated["found"], environment=about)
    ran = silicost(f"calibrate cpu --out {tmp_path / 'x.toml'}")
    assert f"silicost: no power: {reason}\n" in ran.err


def test_a_calibration_without_entries_says_so(silicost: Run, calibrated: dict[str, Any], tmp_path: Path) -> None:
    calibrated["found"] = msgspec.structs.replace(calibrated["found"], calibrations=())
    ran = silicost(f"calibrate cpu --out {tmp_path / 'x.toml'}")
    assert ran.status == 0
    assert "silicost: no entry: " in ran.err


@pytest.mark.parametrize("command", ["cpu --name my-cpu --out {}", "show {}"])
def test_formats(silicost: Run, calibrated: dict[str, Any], calibration_file: MakeFile, command: str) -> None:
    path = calibration_file("mine.toml", environment={"date": "2026-11-25"})
    asked = f"calibrate {command.format(path)}"
    entries = calibrated["found"].calibrations
    table = silicost(asked)
    assert "gemm batched_gemm" in table.out and "vector operators" in table.out
    rows = silicost(f"{asked} --format csv").out.splitlines()
    expected = len(entries) if command.startswith("cpu") else sum(len(each.parameters) for each in entries)
    assert len(rows) == 1 + expected
    read = silicost(f"{asked} --format json")
    assert msgspec.convert(read.json["calibrations"], tuple[calibrations.Calibration, ...]) == entries


# --- what it is good for ------------------------------------------------------------------------------------------


def operators() -> list[Operator]:
    weights = ((512, 512), (1536, 512), (512, 1536), (1024, 1024), (2048, 640))
    reads = ((1, 64), (1, 512), (4, 256), (1, 2048))
    return [
        *(op.gemm("product", m, n, k, "fp32") for n, k in weights for m in (1, 4, 32, 256)),
        *(op.attention("attention", 1, n, 8, kv, 64, batch=b, dtype="fp32", kv_bits=32.0)
          for b, n in reads for kv in (2, 8)),
    ]  # fmt: skip


def samples() -> Samples:
    """What a CPU of 200 GFLOP/s and 40 GB/s would measure, by the law, with 2% noise."""
    spec = load_device("epyc-9654")
    scaled = {"fp32": msgspec.structs.replace(spec.compute.peaks["fp32"], value=200e9)}
    units = msgspec.structs.replace(spec.compute.units, value=2.0) if spec.compute.units else None
    compute = msgspec.structs.replace(spec.compute, peaks=scaled, units=units)
    bandwidth = msgspec.structs.replace(spec.memory.bandwidth, value=40e9)
    spec = msgspec.structs.replace(
        spec, compute=compute, memory=msgspec.structs.replace(spec.memory, bandwidth=bandwidth), cache=None
    )
    model = with_records(compile_device(spec, neutral(load_runtime(RUNTIME)), calibrated=False), TRUTH)
    times = model.cost(columns_of(operators()))[TIME] * np.exp(
        np.random.default_rng(1).normal(0.0, 0.02, len(operators()))
    )
    rows = [
        Measurement("torch.calls", o, t, 0.9 * t, 1.1 * t, 9, RUNTIME, at=NOW)
        for o, t in zip(operators(), times.tolist(), strict=True)
    ]
    rows.append(Measurement("stream", op.stream_copy("stream.copy", 1e9), 0.025, 0.02, 0.03, 9, "", "copy", 2, at=NOW))
    big = op.gemm("product", 2048, 2048, 2048, "fp32")
    rows.append(Measurement("torch.calls", big, big.flops / 200e9, 0.01, 0.1, 9, RUNTIME, at=NOW))
    return Samples(tuple(rows), ABOUT)


@pytest.fixture(scope="module")
def fitted_samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("samples") / "small.parquet"
    write_samples(place, samples())
    return place


@pytest.mark.usefixtures("calibration_file")
def test_a_fit_predicts_what_the_machine_would_measure(
    silicost: Run, fitted_samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "data" / "calibrations" / "small-cpu.toml"
    ran = silicost(f"calibrate fit {fitted_samples} --out {place} --format json")
    assert (ran.status, ran.err) == (0, f"silicost: calibration: {place}\n")
    assert {entry["operators"][0] for entry in ran.json["calibrations"]} == {"attention_decode", "gemm"}
    found = read_calibration(place)
    check_predictions(found)
    asked = "simulate --model smollm-135m --isl 64 --osl 8 --dtype fp32 --format json"
    by_file = silicost(f"{asked} --calibration {place}")
    assert by_file.status == 0, by_file.err
    assert by_file.json["pools"][0]["device"] == "small-cpu"
    monkeypatch.setenv("SILICOST_DATA_DIR", str(tmp_path / "data"))
    own = Catalogue("calibration", Calibrations, calibrations._CATALOGUE.folder)
    monkeypatch.setattr(calibrations, "_CATALOGUE", own)
    calibrations.calibrations_digest.cache_clear()
    by_name = silicost(f"{asked} --device small-cpu")
    assert by_name.status == 0, by_name.err
    for metric in ("ttft_s", "tpot_s", "output_tokens_per_s"):
        assert by_name.json[metric] == by_file.json[metric]
    assert "small-cpu" in silicost("devices list --format csv").out


def check_predictions(found: Calibrations) -> None:
    """Every sample within a few percent of the model that the file defines."""
    assert found.device is not None
    model = compile_device(found.device, load_runtime(RUNTIME), calibrated=False)
    rows = [each for each in samples().measurements if each.runtime]
    off = []
    for entry in found.calibrations:
        own = [each for each in rows if each.operator.kind.name.lower() in entry.operators]
        values = {name: fact.value for name, fact in entry.facts.items()}
        predicted = with_records(model, values).cost(columns_of([each.operator for each in own]))[TIME]
        off += list(np.abs(predicted / np.array([each.time_s for each in own]) - 1.0))
    assert len(off) == len(rows)
    assert np.median(off) < 0.04


def test_samples_of_one_kind_are_fitted_alone(silicost: Run, tmp_path: Path) -> None:
    """A run that was killed early: what there is of it is used."""
    whole = samples()
    rows = tuple(each for each in whole.measurements if each.operator.name != "attention")
    write_samples(tmp_path / "half.parquet", Samples(rows, {**ABOUT, "complete": "no"}))
    ran = silicost(f"calibrate fit {tmp_path / 'half.parquet'} --out {tmp_path / 'x.toml'} --format json")
    assert [entry["operators"] for entry in ran.json["calibrations"]] == [["gemm", "batched_gemm"]]
    odd = tuple(replace(each, threads=1) for each in rows)
    write_samples(tmp_path / "odd.parquet", Samples(odd, ABOUT))
    assert silicost(f"calibrate fit {tmp_path / 'odd.parquet'}").status == 2
