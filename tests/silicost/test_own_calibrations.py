"""``--calibration`` in the commands that predict: the device it defines, what is said about it, and bad files."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.calibration import staleness
from simulator.calibration.machine.environment import Environment
from simulator.devices.registry import law_of

Run = Callable[..., Any]
MakeFile = Callable[..., Path]
ASKED = "simulate --model smollm-135m --isl 32 --osl 4 --format json"
DAY = datetime.datetime.now(datetime.UTC).date()
HERE = {
    "date": str(DAY), "processor.model": "AMD EPYC 9654", "processor.architecture": "x86_64",
    "allowance.logical_cores": "4", "allowance.physical_cores": "4", "clocks.governor": "performance",
    "software.libraries.torch": "2.13.0",
}  # fmt: skip
SCENARIO = """
[workload]
kind = "inference"
model = "smollm-135m"
[traffic]
batch = 1
isl = 32
osl = 4
[system]
device = "my-cpu"
"""
POINTS = "device,op,m,n,k,dtype,runtime,measured_s\nmy-cpu,gemm,64,1024,1024,fp32,torch-eager-2.4,3e-4\n"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``here(name=text)``: what this machine is."""

    def be(**changes: str) -> None:
        texts = HERE | {name.replace("__", "."): text for name, text in changes.items()}
        monkeypatch.setattr(staleness, "environment_here", lambda _: Environment.from_texts(texts))

    be()
    return be


def test_the_device_is_that_of_the_file(silicost: Run, calibration_file: MakeFile, here: Run) -> None:
    path = calibration_file(environment=HERE)
    ran = silicost(f"{ASKED} --calibration {path}")
    assert (ran.status, ran.err) == (0, "")
    assert ran.json["pools"][0]["device"] == "my-cpu"
    named = silicost(f"{ASKED} --calibration {path} --device my-cpu")
    assert named.json == ran.json
    rows = {row["what"]: row for row in ran.json["provenance"]}
    assert rows["calibration my-cpu"]["value"] == f"AMD EPYC 9654, 4 cores, on {DAY}"
    assert rows["calibration my-cpu"]["origin"] == "this machine, as it is now"
    assert "fit my-cpu-gemm-bf16" in rows["my-cpu gemm, batched_gemm in bf16"]["origin"]


def test_the_last_file_names_the_device(silicost: Run, calibration_file: MakeFile) -> None:
    one, two = calibration_file("1.toml", device="one-cpu"), calibration_file("2.toml", device="two-cpu")
    assert silicost(f"{ASKED} --calibration {one} --calibration {two}").json["pools"][0]["device"] == "two-cpu"
    both = silicost(f"{ASKED} --calibration {one} --calibration {two} --device one-cpu")
    assert both.json["pools"][0]["device"] == "one-cpu"


def test_without_device_and_file_the_device_is_missing(silicost: Run, refused: Run, calibration_file: MakeFile) -> None:
    assert "Missing option '--device'" in refused(ASKED)
    silicost(f"{ASKED} --calibration {calibration_file()}")
    assert "Missing option '--device'" in refused(ASKED)
    of_class = calibration_file("cpu.toml", device="cpu", brings=False)
    assert "Missing option '--device'" in refused(f"{ASKED} --calibration {of_class}")


def test_entries_for_a_shipped_device(silicost: Run, calibration_file: MakeFile) -> None:
    asked = f"{ASKED} --device epyc-9654 --runtime torch-eager-2.4"
    before = silicost(asked).json
    after = silicost(f"{asked} --calibration {calibration_file(device='epyc-9654', brings=False)}").json
    assert after["ttft_s"] != before["ttft_s"]
    assert after["scenario_hash"] != before["scenario_hash"]
    assert after["memory_capacity_bytes"] == before["memory_capacity_bytes"]


def test_training_scenarios_and_catalogues(silicost: Run, calibration_file: MakeFile, tmp_path: Path) -> None:
    path = calibration_file()
    trained = silicost(f"train --model smollm-135m --global-batch 2 --seq-len 64 --format json --calibration {path}")
    assert trained.json["pools"][0]["device"] == "my-cpu"
    (tmp_path / "ask.toml").write_text(SCENARIO)
    ran = silicost(f"run {tmp_path / 'ask.toml'} --format json --calibration {path}")
    assert ran.json["ttft_s"] == silicost(f"{ASKED} --calibration {path}").json["ttft_s"]
    assert "my-cpu" in silicost(f"devices list --calibration {path} --format csv").out
    assert "My CPU" in silicost(f"devices show my-cpu --calibration {path}").out
    assert "my-cpu-gemm-fp32" in silicost(f"calibrations show my-cpu --calibration {path}").out
    assert "my-cpu-gemm-fp32" in silicost(f"calibrations show {path}").out
    assert [row["id"] for row in silicost("calibrations list --format json").json].count("my-cpu") == 8


@pytest.mark.parametrize("command", ["validate", "explain"])
def test_measured_rows(silicost: Run, calibration_file: MakeFile, here: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "points.csv").write_text(POINTS)
    here(clocks__governor="powersave")
    path = calibration_file(environment=HERE)
    ran = silicost(f"{command} {tmp_path / 'points.csv'} --calibration {path} --format json")
    assert ran.status == 0, ran.err
    setting = "governor (performance then, powersave now)"
    assert ran.err == f"silicost: warning: calibration my-cpu: made under other settings: {setting}\n"


def test_a_law_parameter_is_changed_by_set(silicost: Run, calibration_file: MakeFile) -> None:
    path = calibration_file()
    free = next(p for p in law_of("cpu").parameters if p.free and "gemm" in p.families and p.dimension == "number")
    set_to = f"device.parameters.{free.name}={free.low + 0.1 * (free.high - free.low):g}"
    plain, changed = (silicost(f"{ASKED} --calibration {path} {more}").json for more in ("", f"--set {set_to}"))
    assert plain["ttft_s"] != changed["ttft_s"]
    rows = {row["path"]: row for row in changed["provenance"]}
    assert rows[f"device.parameters.{free.name}"]["origin"] == "set by the user"


def test_another_machine_is_normal_use(silicost: Run, calibration_file: MakeFile, here: Run, tmp_path: Path) -> None:
    here(processor__model="Intel Xeon 8480+", clocks__governor="powersave")
    ran = silicost(f"{ASKED} --calibration {calibration_file(environment=HERE)} --out {tmp_path / 'out'}")
    text = f"made on AMD EPYC 9654, 4 cores, on {DAY}; this machine is another one"
    assert ran.err == f"silicost: calibration my-cpu: {text}\n"
    assert ran.json["warnings"] == []
    assert ran.json["provenance"][-1]["origin"] == text
    assert text in (tmp_path / "out" / "report.html").read_text()


def test_doubts_are_warnings(silicost: Run, calibration_file: MakeFile, here: Run, tmp_path: Path) -> None:
    here(software__libraries__torch="2.14.0")
    old = str(DAY - datetime.timedelta(days=181))
    path = calibration_file(environment=HERE | {"date": old})
    ran = silicost(f"{ASKED} --calibration {path} --out {tmp_path / 'out'}")
    lines = [
        "calibration my-cpu: made with other software: torch (2.13.0 then, 2.14.0 now)",
        f"calibration my-cpu: made 181 days ago, on {old}",
    ]
    assert ran.err == "".join(f"silicost: warning: {line}\n" for line in lines)
    assert ran.json["warnings"] == lines
    assert lines[0] in (tmp_path / "out" / "report.html").read_text()


BAD = [
    ("nope.toml", None, "nope.toml: no such calibration file"),
    ("points.csv", POINTS, "must be a .toml file as 'silicost calibrate' writes it; measured points go to"),
    ("broken.toml", "a = [", "broken.toml: not valid TOML"),
    ("other.toml", 'vendor = "x"', "other.toml: vendor: unknown key"),
    ("device.toml", 'device_class = "gpu"', "device.toml: describes a device, not a calibration of one"),
    ("empty.toml", "", "empty.toml: missing key 'calibrations'"),
]


@pytest.mark.parametrize(("name", "text", "message"), BAD, ids=[name for name, _, _ in BAD])
@pytest.mark.parametrize("command", [ASKED, "run two-devices", "validate", "devices list"])
def test_bad_files(refused: Run, tmp_path: Path, command: str, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    assert message in refused(f"{command} --calibration {tmp_path / name}")


def test_a_bad_entry(refused: Run, calibration_file: MakeFile) -> None:
    path = calibration_file(change=('operators = ["gemm", "batched_gemm"]', 'operators = ["gem"]'))
    message = "mine.toml: calibration my-cpu-gemm-fp32: operators: no such name 'gem'; did you mean 'gemm'? (allowed: "
    assert message in refused(f"{ASKED} --calibration {path}")
