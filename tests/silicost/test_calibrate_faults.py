"""The real ``silicost calibrate cpu`` in a process of its own, for seconds: killed, without torch, on one core."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from hardware_specs.calibrations import Calibrations
from simulator.calibration.samples import Samples, read_samples
from simulator.calibration.use import read_calibration

WITHOUT_TORCH = """
from importlib.machinery import PathFinder
found = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] == "torch" else found(name, path, target)
PathFinder.find_spec = find_spec
"""
"""A sitecustomize.py that makes torch look as if it was not installed."""
SMALL = "--quick --budget 20s --only numpy.products"
"""Six cases, which take a second or two."""


class Ended(NamedTuple):
    """What a run left behind."""

    status: int
    out: str
    err: str
    file: Path

    @property
    def calibration(self) -> Calibrations:
        return read_calibration(self.file)

    @property
    def samples(self) -> Samples:
        return read_samples(self.file.with_suffix(".samples.parquet"))


Start = Callable[..., "subprocess.Popen[str]"]
Calibrate = Callable[..., Ended]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """``start("--quick", packages=folder, core=0)``: begins a calibration to ``mine.toml``."""

    def run(flags: str, *, packages: Path | None = None, core: int | None = None) -> subprocess.Popen[str]:
        # Libraries that other tests have imported may have limited the threads of what this process starts.
        environment = {name: text for name, text in os.environ.items() if not name.endswith("_NUM_THREADS")}
        environment |= {"SILICOST_DATA_DIR": str(tmp_path), "COLUMNS": "200"}
        if packages is not None:
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(packages), os.environ.get("PYTHONPATH"))))
        command = [
            sys.executable,
            "-m",
            "silicost",
            "calibrate",
            "cpu",
            *flags.split(),
            "--out",
            str(tmp_path / "mine.toml"),
        ]

        def on_one_core() -> None:
            if core is not None:
                os.sched_setaffinity(0, {core})

        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=on_one_core
        )  # fmt: skip

    return run


@pytest.fixture
def calibrate(start: Start, tmp_path: Path) -> Calibrate:
    """As ``start``; waits for the end."""

    def run(flags: str = SMALL, *, packages: Path | None = None, core: int | None = None) -> Ended:
        process = start(flags, packages=packages, core=core)
        out, err = process.communicate(timeout=300)
        return Ended(process.returncode, out, err, tmp_path / "mine.toml")

    return run


def is_measured(ended: Ended) -> None:
    """A calibration of numpy on this machine, and its samples."""
    assert ended.status == 0, ended.err
    assert "Traceback" not in ended.err
    assert {each.probe for each in ended.samples.measurements} == {"numpy.products"}
    assert ended.samples.environment["complete"] == "yes"
    found = ended.calibration
    assert found.device is not None and found.device.default_runtime == "numpy-2"
    assert found.device.compute.peaks["fp32"].value > 1e8
    assert found.device.memory.bandwidth.value > 1e8
    assert {"power.missing", "power.idle_w"} & set(found.environment)
    if reason := found.environment.get("power.missing"):
        assert f"silicost: no power: {reason}\n" in ended.err


def test_a_killed_calibration_goes_on_where_it_was(start: Start, calibrate: Calibrate, tmp_path: Path) -> None:
    kept_in = tmp_path / "mine.samples.parquet"
    process = start(SMALL.removeprefix("--quick "))
    give_up = time.monotonic() + 240.0
    while not kept_in.exists() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, err
    kept = read_samples(kept_in)
    assert kept.environment["complete"] == "no"
    assert len(kept.measurements) >= 1
    assert not (tmp_path / "mine.toml").exists()
    ended = calibrate()
    is_measured(ended)
    number = len(kept.measurements)
    assert f"silicost: went on from {number} samples of a run that was interrupted\n" in ended.err
    first = ended.samples.measurements[:number]
    assert [(each.key, each.time_s, each.at) for each in first] == [
        (each.key, each.time_s, each.at) for each in kept.measurements
    ]
    assert len(ended.samples.measurements) > number
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".mine.toml")]


def test_without_torch_numpy_is_measured_and_it_says_so(calibrate: Calibrate, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "sitecustomize.py").write_text(WITHOUT_TORCH)
    ended = calibrate(SMALL + ",torch.products,torch.decode", packages=packages)
    is_measured(ended)
    for probe in ("torch.products", "torch.decode"):
        assert f"silicost: {probe}: torch is not installed (pip install torch)\n" in ended.err
    assert not [name for name in ended.calibration.environment if name.startswith("software.torch.")]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinities")
def test_one_core_is_calibrated(calibrate: Calibrate) -> None:
    ended = calibrate(core=min(os.sched_getaffinity(0)))
    is_measured(ended)
    spec = ended.calibration.device
    assert spec is not None and spec.compute.units is not None
    assert spec.compute.units.value == 1.0
    assert ended.calibration.environment["allowance.logical_cores"] == "1"
    assert {each.threads for each in ended.samples.measurements} <= {0, 1}


def test_without_torch_and_other_probes_nothing_can_be_measured(calibrate: Calibrate, tmp_path: Path) -> None:
    """One that is there but cannot be loaded is as good as none."""
    torch = tmp_path / "packages" / "torch"
    torch.mkdir(parents=True)
    (torch / "__init__.py").write_text('raise ImportError("libtorch_cpu.so: cannot open shared object file")')
    ended = calibrate("--quick --budget 2s --only torch.", packages=torch.parent)
    assert (ended.status, ended.out) == (2, "")
    reason = "torch.products: torch cannot be loaded (libtorch_cpu.so: cannot open shared object file)"
    assert ended.err == f"silicost: --only: a calibration needs matrix products; {reason}\n"
    assert not ended.file.exists()
