"""Fits recover the parameters that made the samples, and outliers hardly move them."""

from __future__ import annotations

import numpy as np
import pytest

from hardware_specs.devices import load_device
from simulator.calibration.fit import Sample, fit_parameters
from simulator.devices.model import DeviceModel, compile_device
from simulator.devices.registry import Parameter
from simulator.kernels.roofline import TIME
from workloads import operators as op
from workloads.graph import OpColumns, columns_of
from workloads.runtimes.catalogue import load_runtime


def free(name: str, low: float, high: float) -> Parameter:
    return Parameter(name, "number", lambda _: 0.0, "", low, high)


FREE = (
    free("gemm_sustained", 0.3, 1.0),
    free("gemm_fill_depth", 0.0, 800.0),
    free("gemm_stream_share", 0.4, 1.0),
    free("gemm_floor_s", 1e-7, 2e-5),
)
TRUTH = {"gemm_sustained": 0.71, "gemm_fill_depth": 230.0, "gemm_stream_share": 0.66, "gemm_floor_s": 6e-6}


@pytest.fixture(scope="module")
def model() -> DeviceModel:
    return compile_device(load_device("a100-sxm-80gb"), load_runtime("ideal"), calibrated=False)


@pytest.fixture(scope="module")
def columns() -> OpColumns:
    sizes = [
        (m, n, k) for m in (1, 8, 64, 256, 700, 2048, 5000) for n in (1280, 4096, 11008) for k in (1024, 4096, 8192)
    ]
    return columns_of([op.gemm("x", *size) for size in sizes])


def truth(model: DeviceModel, columns: OpColumns) -> np.ndarray:
    records = model.records.copy()
    for name, value in TRUTH.items():
        records[name] = value
    return DeviceModel(model.spec, model.runtime, records, model.choice, model.errors, ()).cost(columns)[TIME]


def test_parameters_are_recovered(model: DeviceModel, columns: OpColumns) -> None:
    fit = fit_parameters([Sample(model, columns, truth(model, columns))], FREE)
    assert np.abs(fit.residuals).max() < 0.02
    for name, value in TRUTH.items():
        assert fit.values[name] == pytest.approx(value, rel=0.1), name


def test_noise_and_outliers_hardly_move_them(model: DeviceModel, columns: OpColumns) -> None:
    rng = np.random.default_rng(1)
    measured = truth(model, columns) * np.exp(rng.normal(0.0, 0.03, len(columns.m)))
    measured[::12] *= 3.0
    fit = fit_parameters([Sample(model, columns, measured)], FREE)
    assert fit.values["gemm_sustained"] == pytest.approx(TRUTH["gemm_sustained"], rel=0.1)
    assert fit.values["gemm_stream_share"] == pytest.approx(TRUTH["gemm_stream_share"], rel=0.1)


def test_the_device_is_left_as_it_was(model: DeviceModel, columns: OpColumns) -> None:
    before = model.records.copy()
    fit_parameters([Sample(model, columns, truth(model, columns))], FREE[:1], most_steps=20)
    assert np.array_equal(model.records, before)


def test_what_cannot_be_fitted_is_refused(model: DeviceModel, columns: OpColumns) -> None:
    with pytest.raises(ValueError, match="positive"):
        fit_parameters([Sample(model, columns, np.zeros(len(columns.m)))], FREE)
    with pytest.raises(ValueError, match="low < high"):
        fit_parameters([Sample(model, columns, truth(model, columns))], [free("gemm_sustained", 1.0, 0.3)])
