"""The fit of shipped calibrations, on measurements that the law itself made."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from hardware_specs.calibrations import Calibrations
from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.facts import group_digest
from hardware_specs.reader import read_record
from simulator.calibration.split import HELD_OUT, folds_of
from simulator.devices.model import DeviceModel, compile_device
from simulator.kernels.roofline import TIME
from simulator.validation.ops import kernels_alone
from workloads import operators as op
from workloads.graph import columns_of
from workloads.runtimes.catalogue import load_runtime

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import calibration_sizes
import fit_operators

TRUTH = {"gemm_sustained": 0.62, "gemm_stream_share": 0.7, "gemm_floor_s": 7e-6}
SHAPES = [(n, k) for n in (1280, 2560, 4096, 8192) for k in (1024, 4096, 14336)]
ROWS = [(m, n, k) for n, k in SHAPES for m in (1, 8, 32, 128, 512, 1024, 2048, 4096)]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A points file of an RTX A6000, which nobody measured, and the folder of what was fitted to it."""
    folder = tmp_path_factory.mktemp("fit")
    model = compile_device(load_device("rtx-a6000"), kernels_alone(load_runtime("vllm-0.19")), calibrated=False)
    records = model.records.copy()
    for name, value in TRUTH.items():
        records[name] = value
    columns = columns_of([op.gemm("x", *row) for row in ROWS])
    seconds = DeviceModel(model.spec, model.runtime, records, model.choice, model.errors, ()).cost(columns)[TIME]
    noise = np.exp(np.random.default_rng(2).normal(0.0, 0.02, len(ROWS)))
    table = pd.DataFrame(ROWS, columns=["m", "n", "k"]).assign(
        source="lab", device="rtx-a6000", op="gemm", dtype="bf16", software="vLLM 0.19", measured_s=seconds * noise
    )
    table.to_csv(folder / "lab.csv", index=False)
    found = fit_operators.fit_all(dict(fit_operators.measured_rows([folder / "lab.csv"])), "", "2026-01-01")
    fit_operators.write(found, folder / "calibrations", partly=False)
    return folder / "lab.csv", folder / "calibrations"


def test_the_parameters_come_back(fitted: tuple[Path, Path]) -> None:
    (entry,) = read_record(fitted[1] / "rtx-a6000.toml", Calibrations).calibrations
    assert entry.operators == ("gemm", "batched_gemm") and entry.dtypes == ("bf16", "fp16")
    assert entry.runtimes == ("vllm-0.19",) and entry.fit.split_by == ("n", "k")
    for name, value in TRUTH.items():
        assert entry.facts[name].value == pytest.approx(value, rel=0.15), name
    assert entry.residuals.mape < 0.04
    assert entry.held_out is not None and entry.held_out.mape < 0.04


def test_a_quarter_of_the_shapes_is_held_out(fitted: tuple[Path, Path]) -> None:
    (entry,) = read_record(fitted[1] / "rtx-a6000.toml", Calibrations).calibrations
    keys = [f"n={n} k={k}" for n, k in SHAPES]
    held = {key for key, fold in zip(keys, folds_of(keys), strict=True) if fold == HELD_OUT}
    assert len(held) == 3
    assert set(entry.fit.digests) == {group_digest(key) for key in keys if key not in held}
    assert entry.held_out is not None and entry.held_out.groups == 3
    assert entry.fit.rows == 9 * 8


def test_one_device_is_no_class(fitted: tuple[Path, Path]) -> None:
    assert [path.name for path in fitted[1].iterdir()] == ["rtx-a6000.toml"]


def test_a_part_keeps_the_rest(fitted: tuple[Path, Path], tmp_path: Path) -> None:
    (entry,) = read_record(fitted[1] / "rtx-a6000.toml", Calibrations).calibrations
    fit_operators.write({"a40": [entry]}, tmp_path, partly=True)
    names = [each.fit.id for each in read_record(tmp_path / "a40.toml", Calibrations).calibrations]
    assert entry.fit.id in names and len(names) > 1 and names == sorted(names)


def test_sizes_are_recorded_without_a_fit(
    fitted: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the fit wrote itself comes back, to the byte; rows of which one differs are not taken for its rows."""
    points, whole = fitted[0], (fitted[1] / "rtx-a6000.toml").read_bytes()
    (entry,) = read_record(fitted[1] / "rtx-a6000.toml", Calibrations).calibrations
    least, most = (float(end.split()[0]) for end in entry.measured["gemm"].flops)
    seen = [2.0 * m * n * k for m, n, k in ROWS if group_digest(f"n={n} k={k}") in entry.fit.digests]
    assert (least, most) == pytest.approx((min(seen), max(seen)), rel=1e-3)
    place = tmp_path / "rtx-a6000.toml"
    bare = msgspec.structs.replace(entry, measured={})
    fit_operators.write({"rtx-a6000": [bare]}, tmp_path, partly=False)
    without = place.read_bytes()
    rows = dict(fit_operators.seen_by_fits(dict(fit_operators.measured_rows([points]))))
    assert calibration_sizes.record(place, rows) == ()
    assert place.read_bytes() == whole != without
    (tmp_path / "lab.csv").write_text(points.read_text().replace("vLLM 0.19,", "vLLM 0.19,1"))
    others = dict(fit_operators.seen_by_fits(dict(fit_operators.measured_rows([tmp_path / "lab.csv"]))))
    place.write_bytes(without)
    assert calibration_sizes.record(place, others) == (entry.fit.id,)
    assert place.read_bytes() == without
    assert f"other rows: {entry.fit.id}" in capsys.readouterr().out
    place.write_bytes(b"# by hand\n" + without)
    with pytest.raises(InputError, match=r"is not as benchmarks/fit_operators\.py writes it"):
        calibration_sizes.record(place, rows)
