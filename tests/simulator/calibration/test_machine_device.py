"""The measured CPU as a device: peaks and bandwidths are the best that probes reached at each level."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hardware_specs.errors import InputError
from hardware_specs.facts import Mark
from hardware_specs.records import DeviceSpec
from simulator.calibration.machine_device import Hardware, cpu_device
from simulator.calibration.samples import Measurement
from simulator.devices.model import compile_device
from simulator.kernels.roofline import TIME
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator
from workloads.runtimes.catalogue import load_runtime

CACHE = 32e6
HERE = Hardware("my-cpu", "AMD EPYC", "AuthenticAMD", 2, 24e9, CACHE)


def product(rate: float, dtype: str = "fp32", batch: int = 1, m: int = 512, **more: object) -> Measurement:
    operator = op.gemm("product", m, 1024, 1024, dtype, batch=batch, weights=batch == 1)
    return measured("products", operator, operator.flops / rate, **more)


def stream(rate: float, part: float, passes: float = 1.0, **more: object) -> Measurement:
    """A stream whose arrays fill a part of the cache, walked through several times in a call."""
    operator = replace(op.stream_copy("stream.copy", passes * part * CACHE), batch=passes)
    return measured("stream", operator, operator.moved_bytes / rate, **more)


def measured(probe: str, operator: Operator, time_s: float, **more: object) -> Measurement:
    return Measurement(probe, operator, time_s, time_s, time_s, **more)  # type: ignore[arg-type]


ENOUGH = [product(100e9), product(190e9), product(180e9), stream(30e9, 8.0), stream(38e9, 8.0), stream(140e9, 0.3)]


def device(measurements: list[Measurement], hardware: Hardware = HERE) -> DeviceSpec:
    return cpu_device(hardware, measurements, "torch-cpu-2.13", "2026-11-25")


def bandwidths(measurements: list[Measurement]) -> tuple[float, float]:
    spec = device([product(100e9), *measurements])
    assert spec.cache and spec.cache.bandwidth
    return spec.memory.bandwidth.value, spec.cache.bandwidth.value


def test_the_best_of_each_level_counts() -> None:
    spec = device(ENOUGH)
    assert {dtype: peak.value for dtype, peak in spec.compute.peaks.items()} == {"fp32": pytest.approx(190e9)}
    assert spec.memory.bandwidth.value == pytest.approx(38e9)
    assert spec.cache and spec.cache.bandwidth
    assert spec.cache.bandwidth.value == pytest.approx(140e9)


def test_what_it_is_and_where_each_number_comes_from() -> None:
    spec = device(ENOUGH)
    assert (spec.id, spec.device_class, spec.vendor, spec.name) == ("my-cpu", "cpu", "AuthenticAMD", "AMD EPYC")
    assert (spec.default_runtime, spec.year, spec.compute.unit_name) == ("torch-cpu-2.13", 2026, "core")
    assert spec.compute.units and spec.cache
    told = (spec.compute.units, spec.memory.capacity, spec.cache.capacity)
    assert [fact.value for fact in told] == [2.0, 24e9, CACHE]
    assert all(fact.mark is Mark.SOURCED and fact.date == "2026-11-25" for fact in told)
    assert spec.cache.bandwidth
    for fact in (*spec.compute.peaks.values(), spec.memory.bandwidth, spec.cache.bandwidth):
        assert fact.mark is Mark.CALIBRATED
        assert fact.fit and fact.fit.devices == ("my-cpu",) and fact.fit.rows == len(ENOUGH)


def test_every_dtype_has_its_own_peak_and_products_of_a_batch_count() -> None:
    more = [product(300e9, "bf16"), product(410e9, "bf16", batch=4), product(9e9, "int8")]
    peaks = device([*ENOUGH, *more]).compute.peaks
    assert {dtype: peak.value for dtype, peak in peaks.items()} == pytest.approx(
        {"fp32": 190e9, "bf16": 410e9, "int8": 9e9}
    )


def test_multiply_adds_in_registers_count_for_dtypes_with_products() -> None:
    """Only they say what fp64 units do, but a device that multiplies no fp64 matrices gets no peak of it."""
    loops = [
        measured("registers", replace(op.elementwise("fma", 8, 512, dtype), vector_flops=1e9), 1e9 / rate,
                 variant="registers", threads=2)
        for dtype, rate in (("fp32", 230e9), ("fp64", 115e9))
    ]  # fmt: skip
    peaks = device([*ENOUGH, *loops]).compute.peaks
    assert {dtype: peak.value for dtype, peak in peaks.items()} == {"fp32": pytest.approx(230e9)}


@pytest.mark.parametrize(
    ("part", "passes", "level"),
    [(3.1, 1.0, 0), (50.0, 1.0, 0), (0.59, 1.0, 1), (0.07, 40.0, 1), (0.59, 100.0, 1),
     (0.05, 100.0, None), (0.61, 1.0, None), (2.9, 1.0, None), (1.0, 9.0, None)],
)  # fmt: skip
def test_the_level_of_a_stream_goes_by_what_its_arrays_fill(part: float, passes: float, level: int | None) -> None:
    """Not by how many bytes a call moves; what may come from two levels at once, or from caches above, counts for
    neither."""
    found = bandwidths([stream(20e9, 8.0), stream(100e9, 0.3), stream(900e9, part, passes)])
    expected = [20e9, 100e9]
    if level is not None:
        expected[level] = 900e9
    # A cache that seems slower than memory is as fast as it.
    assert found == pytest.approx((expected[0], max(expected)))


def test_calls_on_fewer_cores_do_not_count() -> None:
    alone = [product(500e9, threads=1), stream(90e9, 8.0, threads=1), stream(800e9, 0.3, threads=1)]
    found, expected = device([*ENOUGH, *alone]), device(ENOUGH)
    assert found.compute.peaks["fp32"].value == expected.compute.peaks["fp32"].value
    assert bandwidths([*ENOUGH, *alone]) == bandwidths(ENOUGH)
    assert device([*ENOUGH, product(500e9, threads=2)]).compute.peaks["fp32"].value == pytest.approx(500e9)


def test_weights_of_one_row_stand_in_for_streams() -> None:
    """Two products of one row: the best rate at which weights came is the bandwidth; many rows say nothing of it."""
    rows = [product(rate, m=1) for rate in (10e9, 12e9)]
    found = device([*rows, product(190e9)]).memory.bandwidth.value
    weights = op.gemm("product", 1, 1024, 1024, "fp32").weight_bytes
    assert found == pytest.approx(max(weights / each.time_s for each in rows))
    assert bandwidths([*rows, stream(5e9, 8.0)])[0] == pytest.approx(5e9)


def test_without_a_known_cache_there_is_none() -> None:
    spec = device([product(1e11), stream(30e9, 8.0), stream(90e9, 0.3)], HERE._replace(cache_bytes=0.0))
    assert spec.cache is None
    assert spec.memory.bandwidth.value == pytest.approx(90e9)


def test_a_cache_without_a_stream_is_as_fast_as_memory() -> None:
    assert bandwidths([stream(30e9, 8.0)]) == pytest.approx((30e9, 30e9))


def test_an_unnamed_maker() -> None:
    assert device(ENOUGH, HERE._replace(vendor="")).vendor == "unknown"


@pytest.mark.parametrize(
    ("measurements", "lacks"),
    [([], "no matrix product"), ([stream(30e9, 8.0)], "no matrix product"), ([product(1e11)], "no stream from memory"),
     ([product(1e11), stream(9e10, 0.3)], "no stream from memory"), ([product(1e11, m=1, threads=1)], "not on all")],
)  # fmt: skip
def test_too_little_is_refused(measurements: list[Measurement], lacks: str) -> None:
    with pytest.raises(InputError, match=f"^my-cpu: .*{lacks}"):
        device(measurements)


def test_the_device_can_be_priced() -> None:
    model = compile_device(device(ENOUGH), load_runtime("torch-cpu-2.13"))
    operators = [op.gemm("x", 8, 1024, 1024, "fp32"), op.norm("n", 8, 1024, "fp32")]
    assert (model.cost(columns_of(operators))[TIME] > 0.0).all()
