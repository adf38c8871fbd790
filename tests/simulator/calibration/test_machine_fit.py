"""Samples that the law of a CPU made, with 3% noise: their fit predicts other shapes, and says how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from hardware_specs.calibrations import Calibration, Calibrations
from hardware_specs.records import DeviceSpec
from simulator.calibration.entry import uncalibrated
from simulator.calibration.fit import fit_parameters, interval_of, log_ratios
from simulator.calibration.machine_fit import (
    Part,
    entry_of,
    fit_machine,
    free_of,
    kernels_of,
    measured_of,
    neutral,
    page_rate,
    parts_of,
    vector_entries,
    with_records,
)
from simulator.calibration.samples import Measurement
from simulator.devices.model import compile_device
from simulator.kernels.roofline import OVERHEAD, TIME
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator, OpKind
from workloads.runtimes.catalogue import load_runtime

MeasureAs = Callable[..., list[Measurement]]
OperatorsOf = Callable[[str], list[Operator]]
Seconds = Callable[..., npt.NDArray[np.float64]]
DAY = "2026-11-25"
KIND = {"products": "gemm", "prefill": "attention_prefill", "decode": "attention_decode", "norm": "norm"}


def entry(found: Calibrations, kind: str) -> Calibration:
    """The entry of its own of a kind of operator."""
    (only,) = [each for each in found.calibrations if each.operators[0] == kind and len(each.operators) <= 2]
    return only


def values_of(entry: Calibration) -> dict[str, float]:
    return {name: fact.value for name, fact in entry.facts.items()}


def one_part(measurements: Sequence[Measurement]) -> Part:
    (part,) = parts_of(measurements, 2)
    return part


@pytest.mark.parametrize("what", ["products", "prefill", "decode"])
def test_shapes_that_no_fit_saw_are_predicted(
    fitted_machine: Calibrations, small_cpu: DeviceSpec, operators_of: OperatorsOf, truth: dict[str, float],
    seconds_by: Seconds, what: str,
) -> None:  # fmt: skip
    others = operators_of(f"more {what}")
    predicted = seconds_by(small_cpu, others, values_of(entry(fitted_machine, KIND[what])))
    off = np.abs(predicted / seconds_by(small_cpu, others, truth) - 1.0)
    assert np.median(off) < 0.03
    assert off.max() < 0.12
    priors = np.abs(seconds_by(small_cpu, others, {}) / seconds_by(small_cpu, others, truth) - 1.0)
    assert np.median(priors) > 4.0 * np.median(off)


def test_vector_operators_that_were_not_measured_have_an_entry(
    fitted_machine: Calibrations, small_cpu: DeviceSpec, truth: dict[str, float], seconds_by: Seconds
) -> None:
    (together,) = [each for each in fitted_machine.calibrations if len(each.operators) > 4]
    assert {"norm", "softmax", "rope", "embedding"} <= set(together.operators)
    assert "stream_copy" not in together.operators
    assert together.runtimes == ("torch-cpu-2.13",)
    unseen = [op.softmax("s", rows, cols, "fp32") for rows in (1, 64, 2048) for cols in (256, 4096)]
    predicted = seconds_by(small_cpu, unseen, values_of(together))
    assert predicted == pytest.approx(seconds_by(small_cpu, unseen, truth), rel=0.1)
    assert together.held_out_error_family == together.residuals.mape < 0.1
    assert together.held_out_error_shape is None


def test_every_entry_says_how_far_off_it_is(fitted_machine: Calibrations, fitted_samples: list[Measurement]) -> None:
    alone = [each for each in fitted_machine.calibrations if len(each.operators) <= 4]
    assert len(alone) == 5
    for each in alone:
        assert each.held_out_error_shape == each.residuals.mape
        assert 0.005 < each.residuals.mape < 0.07
        assert each.held_out_error_family is not None
        assert each.held_out_error_family > 3.0 * each.residuals.mape
        assert each.dtypes == ("fp32",)
        assert each.fit.date == DAY and each.fit.devices == ("small-cpu",) and len(each.fit.rows_sha256) == 64
        assert each.fit.sources == ("torch.products",)
    assert sum(each.fit.rows or 0 for each in alone) == len(fitted_samples)
    assert entry(fitted_machine, "gemm").operators == ("gemm", "batched_gemm")


def test_the_machine_comes_with_its_calibration(fitted_machine: Calibrations, small_cpu: DeviceSpec) -> None:
    assert fitted_machine.id == "small-cpu"
    assert fitted_machine.device == small_cpu
    assert fitted_machine.environment["remark.0"] == "noisy\nneighbours"


def test_true_parameters_lie_inside_their_intervals(
    small_cpu: DeviceSpec, measure_as: MeasureAs, operators_of: OperatorsOf, truth: dict[str, float]
) -> None:
    """About as often as 95% says, over parameters and runs; what the samples determine has a narrow one."""
    told = {
        "gemm_share": 0.2,
        "stream_share": 0.2,
        "attention_share": 0.4,
        "decode_math_share": 0.3,
        "vector_share": 0.3,
    }
    inside: list[bool] = []
    for what in ("products", "prefill", "decode", "norm"):
        for seed in range(14, 18):
            part = one_part(measure_as(operators_of(what), seed=seed))
            rows, free = measured_of(small_cpu, part), free_of(small_cpu, part.kinds[0])
            sample = rows.sample._replace(model=with_records(rows.sample.model, {"gemm_vector_rows": 2.0}))
            values = fit_parameters([sample], free, 250).values
            low, high = interval_of([sample], values, free, rows.keys)
            for parameter in free:
                name = parameter.name
                assert parameter.low <= low[name] < high[name] <= parameter.high
                assert low[name] <= values[name] <= high[name]
                if name in truth:
                    inside.append(low[name] <= truth[name] <= high[name])
                assert (high[name] - low[name]) / values[name] < told.get(name, np.inf), name
    assert len(inside) == 4 * 20
    assert 0.88 <= np.mean(inside) < 1.0


@pytest.mark.parametrize(("noise", "alike"), [(0.02, 1), (0.1, 1), (0.1, 4)])
def test_an_interval_is_that_of_the_mean_where_one_parameter_is_free(
    small_cpu: DeviceSpec, measure_as: MeasureAs, noise: float, alike: int
) -> None:
    """Of the logarithm of a share of the bandwidth: 1.96 sd / sqrt(n), n the groups where rows of one are alike."""
    known = {"kv_share": 0.5, "decode_math_share": 1.0, "decode_overlap": 10.0, "decode_floor_s": 1e-7}
    reads = [op.attention("a", 1, 4000, 64, 64, 64, batch=b, dtype="fp32", kv_bits=32.0) for b in range(1, 41)]
    rows = measure_as(reads, known, noise=0.0)
    off = np.repeat(np.random.default_rng(5).normal(0.0, noise, 40 // alike), alike)
    rows = [replace(row, time_s=row.time_s * float(np.exp(by))) for row, by in zip(rows, off, strict=True)]
    measured = measured_of(small_cpu, one_part(rows))
    sample = measured.sample._replace(model=with_records(measured.sample.model, known))
    (share,) = [each for each in free_of(small_cpu, OpKind.ATTENTION_DECODE) if each.name == "kv_share"]
    values = fit_parameters([sample], [share]).values
    low, high = interval_of([sample], values, [share], [str(place // alike) for place in range(40)])
    width = np.log(high["kv_share"] / low["kv_share"]) / 2.0
    assert width == pytest.approx(1.96 * float(np.std(off)) / np.sqrt(40 / alike), rel=0.3)


def test_a_value_at_the_end_of_its_range_lies_in_its_interval(small_cpu: DeviceSpec, measure_as: MeasureAs) -> None:
    known = {"kv_share": 1.0, "decode_math_share": 1.0, "decode_overlap": 10.0, "decode_floor_s": 1e-7}
    reads = [op.attention("a", 1, 4000, 64, 64, 64, batch=b, dtype="fp32", kv_bits=32.0) for b in range(1, 9)]
    measured = measured_of(small_cpu, one_part(measure_as(reads, known)))
    sample = measured.sample._replace(model=with_records(measured.sample.model, known))
    (share,) = [each for each in free_of(small_cpu, OpKind.ATTENTION_DECODE) if each.name == "kv_share"]
    low, high = interval_of([sample], {"kv_share": 0.9999}, [share], measured.keys)
    assert low["kv_share"] < 0.98 < high["kv_share"] == 0.9999


def test_intervals_of_what_samples_do_not_move_are_wide(fitted_machine: Calibrations) -> None:
    """No prompt of the design is so short of anything else that the share of its softmax shows."""
    found = entry(fitted_machine, "attention_prefill")
    widths = {name: float(high.split()[0]) / float(low.split()[0]) for name, (low, high) in found.intervals.items()}
    assert widths["prefill_softmax_share"] > 10.0
    assert widths["attention_share"] < 1.6


@pytest.mark.parametrize("what", ["products", "decode", "norm"])
def test_what_the_priors_say_as_well_is_not_shipped(
    small_cpu: DeviceSpec, measure_as: MeasureAs, operators_of: OperatorsOf, what: str
) -> None:
    as_priors = measure_as(operators_of(what), {}, noise=0.0)
    assert fit_machine(small_cpu, as_priors, {}, DAY).calibrations == ()


def test_what_is_shipped_is_better_than_the_priors(
    small_cpu: DeviceSpec, measure_as: MeasureAs, operators_of: OperatorsOf
) -> None:
    """In the mean or in the median: noise alone makes a fit look better now and then."""
    shipped = 0
    for seed in range(2):
        both = parts_of(measure_as([*operators_of("norm"), *operators_of("activation")], {}, seed=seed), 2)
        rows = [(part.label, measured_of(small_cpu, part)) for part in both]
        found = [(entry_of(small_cpu, part, DAY, {}), [row]) for part, row in zip(both, rows, strict=True)]
        found += [(entry, rows) for entry in vector_entries(small_cpu, both, DAY)]
        for made, own in found:
            priors = uncalibrated(own)
            better = made is not None and (made.residuals.mape < priors.mape or made.residuals.median < priors.median)
            assert made is None or better
        shipped += sum(made is not None for made, _ in found)
    assert shipped < 4


def test_vector_operators_say_what_pages_of_products_cost(
    small_cpu: DeviceSpec, measure_as: MeasureAs, operators_of: OperatorsOf, truth: dict[str, float]
) -> None:
    paged = {**truth, "page_bytes_per_s": 2e9}
    products = operators_of("products")[::3]
    assert max(each.write_bytes for each in products) < 2.0**25 < max(each.write_bytes for each in operators_of("norm"))
    rows = [*measure_as(products, paged), *measure_as(operators_of("norm"), paged)]
    found = fit_machine(small_cpu, rows, {}, DAY)
    shown, given = (values_of(entry(found, kind))["page_bytes_per_s"] for kind in ("norm", "gemm"))
    assert given == shown == pytest.approx(2e9, rel=0.3)
    assert "page_bytes_per_s" not in entry(found, "gemm").intervals
    assert page_rate(found.calibrations, "torch-cpu-2.13") == {"page_bytes_per_s": shown}
    assert page_rate(found.calibrations, "numpy-2") == {}


def test_pages_that_nothing_shows_are_left_to_the_fit(fitted_machine: Calibrations) -> None:
    assert page_rate(fitted_machine.calibrations, "torch-cpu-2.13") == {}
    assert "page_bytes_per_s" in entry(fitted_machine, "gemm").intervals


@pytest.mark.parametrize("most", [1.0, 2.0, 4.0])
def test_rows_that_run_as_matrix_vector_products_are_found(
    small_cpu: DeviceSpec, measure_as: MeasureAs, operators_of: OperatorsOf, truth: dict[str, float], most: float
) -> None:
    rows = measure_as(operators_of("products"), {**truth, "gemm_vector_rows": most}, seed=3)
    measured = measured_of(small_cpu, one_part(rows))
    assert kernels_of(measured, free_of(small_cpu, OpKind.GEMM)) == {"gemm_vector_rows": most}


def test_rows_of_vectors_are_asked_of_laws_that_know_them(fitted_machine: Calibrations, small_cpu: DeviceSpec) -> None:
    assert values_of(entry(fitted_machine, "gemm"))["gemm_vector_rows"] == 2.0
    assert "gemm_vector_rows" not in entry(fitted_machine, "attention_decode").parameters
    part = Part("torch-cpu-2.13", (OpKind.ATTENTION_DECODE,), "fp32", ())
    assert kernels_of(measured_of(small_cpu, part), free_of(small_cpu, OpKind.ATTENTION_DECODE)) == {}


def test_a_disturbed_shape_shows_in_the_error_and_not_in_the_others(
    small_cpu: DeviceSpec, measure_as: MeasureAs, operators_of: OperatorsOf, truth: dict[str, float],
    seconds_by: Seconds,
) -> None:  # fmt: skip
    rows = measure_as(operators_of("decode"), seed=7)
    clean = entry_of(small_cpu, one_part(rows), DAY, {})
    rows[5] = replace(rows[5], time_s=4.0 * rows[5].time_s)
    found = entry_of(small_cpu, one_part(rows), DAY, {})
    assert clean and found
    assert found.residuals.mape > clean.residuals.mape + 0.5 * 0.75 / len(rows)
    others = operators_of("more decode")
    off = seconds_by(small_cpu, others, values_of(found)) / seconds_by(small_cpu, others, truth) - 1.0
    assert np.median(np.abs(off)) < 0.05


def product(m: int = 8, n: int = 64, dtype: str = "fp32", batch: int = 1) -> Operator:
    return op.gemm("product", m, n, 64, dtype, batch=batch, weights=batch == 1)


def test_parts_are_by_runtime_kind_and_dtype(measure_as: MeasureAs) -> None:
    rows = [
        *measure_as([product(m) for m in (1, 2, 3)]), *measure_as([product(m, batch=4) for m in (1, 2)]),
        *measure_as([product(m, dtype="bf16") for m in range(1, 6)]),
        *measure_as([product(m) for m in range(1, 6)], runtime="numpy-2", probe="numpy.products"),
        *measure_as([op.norm("n", m, 64, "fp32") for m in range(1, 6)]),
        *measure_as([op.attention("a", 1, m, 2, 2, 64, dtype="fp32") for m in range(1, 6)]),
    ]  # fmt: skip
    parts = parts_of(rows[::-1], 2)
    assert [part.label for part in parts] == [
        "numpy-2-gemm+batched_gemm-fp32", "torch-cpu-2.13-gemm+batched_gemm-bf16",
        "torch-cpu-2.13-gemm+batched_gemm-fp32", "torch-cpu-2.13-attention_decode-fp32", "torch-cpu-2.13-norm-fp32",
    ]  # fmt: skip
    assert [len(part.rows) for part in parts] == [5] * 5
    assert parts[2].scope.operators == ("gemm", "batched_gemm") and parts[2].scope.dtypes == ("fp32",)


@pytest.mark.parametrize(
    "other",
    [{"threads": 1}, {"threads": 4}, {"variant": "dispatch"}, {"variant": "scaling"}, {"variant": "registers"},
     {"runtime": ""}],
    ids=str,
)  # fmt: skip
def test_calls_that_the_law_does_not_describe_are_left_out(measure_as: MeasureAs, other: dict[str, object]) -> None:
    """Those on some of the cores, those that measure something else, those of no runtime."""
    own = [*measure_as([product(m) for m in (1, 2, 3)]), *measure_as([product(m) for m in (4, 5)], threads=2)]
    mixed = [*own, *(replace(each, **other) for each in measure_as([product(m) for m in range(6, 12)]))]  # type: ignore[arg-type]
    assert parts_of(mixed, 2) == parts_of(own, 2)
    assert len(one_part(own).rows) == 5


def test_few_samples_are_no_part(measure_as: MeasureAs, small_cpu: DeviceSpec) -> None:
    few = measure_as([product(m) for m in (1, 2, 3)])
    assert parts_of(few, 2) == []
    assert fit_machine(small_cpu, few, {}, DAY).calibrations == ()
    assert len(parts_of([*few, *measure_as([product(9)])], 2)) == 1


def test_few_samples_of_one_shape_are_fitted_all_the_same(measure_as: MeasureAs, small_cpu: DeviceSpec) -> None:
    """What a short run on a small machine may leave; folds of rows stand in for folds of shapes."""
    found = entry_of(small_cpu, one_part(measure_as([product(m, 512) for m in (1, 8, 64, 512)], noise=0.0)), DAY, {})
    assert found is None or found.residuals.rows == 4


def test_fits_are_to_kernels_without_factors_of_the_runtime(small_cpu: DeviceSpec) -> None:
    slow = load_runtime("torch-eager-2.4")
    operator = columns_of([product(64, 2048)])
    bare = compile_device(small_cpu, neutral(slow), calibrated=False)
    assert bare.record["factors"].tolist() == [1.0] * len(bare.record["factors"])
    assert bare.record["launch_s"] == 0.0
    assert neutral(slow).graph_launch == slow.graph_launch
    ready = load_runtime("torch-cpu-2.13")
    assert neutral(ready).launch == ready.launch
    cost = compile_device(small_cpu, neutral(ready), calibrated=False).cost(operator)
    assert cost[TIME, 0] > cost[OVERHEAD, 0] > 0.0


def test_free_parameters_are_those_of_the_family(small_cpu: DeviceSpec) -> None:
    gemm = {parameter.name for parameter in free_of(small_cpu, OpKind.GEMM)}
    decode = {parameter.name for parameter in free_of(small_cpu, OpKind.ATTENTION_DECODE)}
    assert {"gemm_share", "stream_share", "gemm_floor_s"} <= gemm
    assert {"kv_share", "decode_floor_s"} <= decode
    assert gemm.isdisjoint(decode)
    assert free_of(small_cpu, OpKind.ALL_REDUCE) == []


def test_fits_are_the_same_again(
    fitted_machine: Calibrations, small_cpu: DeviceSpec, measure_as: MeasureAs, operators_of: OperatorsOf
) -> None:
    rows = measure_as(operators_of("decode"), seed=2)
    again = fit_machine(small_cpu, rows, {}, DAY)
    assert msgspec.json.encode(again.calibrations[0]) == msgspec.json.encode(entry(fitted_machine, "attention_decode"))


def test_progress_is_told(measure_as: MeasureAs, operators_of: OperatorsOf, small_cpu: DeviceSpec) -> None:
    told: list[tuple[str, int, int]] = []
    fit_machine(small_cpu, measure_as(operators_of("decode")), {}, DAY, lambda *words: told.append(words))
    assert told == [("torch-cpu-2.13-attention_decode-fp32", 0, 1), ("", 1, 1)]


def test_written_parameters_are_those_of_the_fit(
    small_cpu: DeviceSpec, measure_as: MeasureAs, operators_of: OperatorsOf
) -> None:
    """Four digits and a unit, of the very fit to all samples; nothing is held back from it."""
    part = one_part(measure_as(operators_of("decode")))
    rows = measured_of(small_cpu, part)
    found = entry_of(small_cpu, part, DAY, {})
    assert found is not None and found.fit.rows == len(part.rows) and found.held_out is None
    best = fit_parameters([rows.sample], free_of(small_cpu, OpKind.ATTENTION_DECODE), 250).values
    assert values_of(found) == pytest.approx(best, rel=1e-3)
    assert np.abs(log_ratios([rows.sample], values_of(found))).mean() < 0.03
