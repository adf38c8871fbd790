"""Operator rows: priced together as alone, reasons for what cannot be priced, intervals, groups of devices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hardware_specs.calibrations import calibrations_of
from hardware_specs.devices import load_device
from hardware_specs.systems import links_of, system_for
from simulator.devices import calibrated
from simulator.devices.model import compile_device
from simulator.kernels.roofline import TIME
from simulator.network.communicator import Communicator, collective_cost
from simulator.network.topology import Network
from simulator.uncertainty.intervals import collective_error, interval, prior_error
from simulator.validation.ops import group_of, kernels_alone, predict_ops
from simulator.validation.points import Points
from workloads.graph import columns_of
from workloads.operators import OpKind, attention, gemm, norm
from workloads.runtimes.catalogue import load_runtime

MakePoints = Callable[..., Points]
GEMM = {"source": "lab", "device": "h100-sxm-80gb", "op": "gemm", "dtype": "bf16", "m": 512, "n": 4096, "k": 4096,
        "measured_s": 3e-5, "software": "vLLM 0.19"}  # fmt: skip
DECODE = {"source": "lab", "device": "h100-sxm-80gb", "op": "attention_decode", "dtype": "bf16", "batch": 16,
          "heads": 32, "kv_heads": 8, "head_dim": 128, "q_len": "", "kv_len": 4096, "measured_s": 1e-4,
          "software": "vLLM 0.19"}  # fmt: skip
NORM = {"source": "lab", "device": "a100-sxm-80gb", "op": "rmsnorm", "dtype": "fp16", "rows": 4096, "cols": 8192,
        "measured_s": 1e-4, "software": ""}  # fmt: skip
REDUCE = {"source": "lab", "device": "h100-sxm-80gb", "op": "all_reduce", "dtype": "", "n_devices": 8, "nodes": 1,
          "message_bytes": 1 << 26, "measured_s": 4e-4, "software": "NCCL"}  # fmt: skip


def test_rows_priced_together_are_priced_as_alone(points: MakePoints) -> None:
    outcome = predict_ops(points("ops", [GEMM, DECODE, NORM]))
    operators = [
        gemm("g", 512, 4096, 4096),
        attention("a", 1, 4096, 32, 8, 128, batch=16),
        norm("n", 4096, 8192, "fp16"),
    ]
    pairs = [("h100-sxm-80gb", "vllm-0.19"), ("h100-sxm-80gb", "vllm-0.19"), ("a100-sxm-80gb", "vllm-0.19")]
    for i, (operator, (device, runtime)) in enumerate(zip(operators, pairs, strict=True)):
        assert outcome.runtime[i] == runtime
        model = compile_device(load_device(device), kernels_alone(load_runtime(runtime)), timed_alone=True)
        assert outcome.predicted[i] == model.cost(columns_of([operator]))[TIME, 0]


def test_kernels_are_timed_without_what_lies_between_them(points: MakePoints) -> None:
    eager = {**GEMM, "m": 1, "n": 128, "k": 128, "software": "torch eager"}
    outcome = predict_ops(points("ops", [eager]))
    runtime = load_runtime(str(outcome.runtime[0]))
    whole = compile_device(load_device("h100-sxm-80gb"), runtime).cost(columns_of([gemm("g", 1, 128, 128)]))[TIME, 0]
    assert not runtime.graph_mode
    assert whole == pytest.approx(runtime.launch.value + runtime.graph_launch.value)
    assert 0.0 < outcome.predicted[0] < 0.5 * whole


def test_intervals_are_those_of_the_calibration_else_of_the_family(points: MakePoints) -> None:
    cpu = {**GEMM, "device": "epyc-9654", "dtype": "fp32"}
    outcome = predict_ops(points("ops", [{**GEMM, "device": "rtx-4090"}, cpu, REDUCE, GEMM]))
    for i, device in ((0, "rtx-4090"), (3, "h100-sxm-80gb")):
        model = compile_device(load_device(device), load_runtime("vllm-0.19"))
        chosen = model.choice.entries[model.which(columns_of([gemm("g", 512, 4096, 4096)]))[0] - 1]
        found = [math.log(end[i] / outcome.predicted[i]) for end in (outcome.low_80, outcome.high_80)]
        cut = chosen.entry.residuals.quantiles[1:3]
        assert chosen.own_runtime == (chosen.doubt == 0.0) == (i == 0)
        if i == 0:
            assert found == pytest.approx(cut)
        else:
            assert found[0] < cut[0] < 0.0 < cut[1] < found[1], "kernels of another stack are doubted more"
    for i, error in ((1, prior_error("cpu", "gemm")), (2, collective_error(True, 1))):
        ends = interval(float(outcome.predicted[i]), math.hypot(*error))
        assert (outcome.low_80[i], outcome.high_80[i]) == pytest.approx((ends.p10, ends.p90))
        assert (outcome.low_95[i], outcome.high_95[i]) == pytest.approx((ends.p2_5, ends.p97_5))


def test_regimes_name_what_bounds_a_row(points: MakePoints) -> None:
    large = {**GEMM, "m": 8192, "n": 8192, "k": 8192}
    tiny = {**GEMM, "m": 1, "n": 64, "k": 64}
    outcome = predict_ops(points("ops", [large, DECODE, tiny, REDUCE]))
    assert outcome.regime.tolist() == ["compute", "memory", "overhead", "communication"]


def group(library: str) -> Communicator:
    spec = load_device("h100-sxm-80gb")
    system = system_for(spec, 8)
    return Network(system, links_of(system), spec, system.groups[0], range(8)).communicator(8, 1, library)


def test_a_row_that_names_a_library_is_that_library_alone(points: MakePoints) -> None:
    rows = [{**REDUCE, "software": text} for text in ("nccl-2.27.3", "NCCL (torch.distributed, kineto)", "oneccl-2021")]
    outcome = predict_ops(points("ops", rows))
    for i, library in enumerate(("nccl", "nccl-profiled", "oneccl")):
        expected = collective_cost(OpKind.ALL_REDUCE, float(1 << 26), group(library)).seconds
        assert outcome.predicted[i] == pytest.approx(expected, rel=1e-12)


def test_other_rows_take_the_library_and_the_factor_of_their_runtime(points: MakePoints) -> None:
    outcome = predict_ops(points("ops", [{**REDUCE, "message_bytes": 8192, "software": "TensorRT-LLM 1.0"}]))
    runtime = load_runtime("trtllm-1.0")
    assert (outcome.runtime[0], runtime.collectives) == ("trtllm-1.0", "custom-all-reduce")
    alone = collective_cost(OpKind.ALL_REDUCE, 8192.0, group(runtime.collectives))
    assert alone.algorithm == "one-shot"
    assert outcome.predicted[0] == pytest.approx(alone.seconds / runtime.factors.collective.value)


def test_an_all_gather_that_counts_one_rank_is_counted_whole(points: MakePoints) -> None:
    row = {**REDUCE, "op": "all_gather", "software": "oneccl-2021"}
    outcome = predict_ops(points("ops", [row]))
    expected = collective_cost(OpKind.ALL_GATHER, 8.0 * (1 << 26), group("oneccl")).seconds
    assert outcome.predicted[0] == pytest.approx(expected)


def test_only_groups_that_the_fit_used_are_fitted(points: MakePoints) -> None:
    seen = {**REDUCE, "source": "nccl", "software": "nccl-2.27.3", "n_devices": 4}
    rows = [seen, {**seen, "n_devices": 8}, {**seen, "source": "lab"}, {**seen, "device": "mi300x"}]
    assert predict_ops(points("ops", rows)).fitted.tolist() == [True, False, False, False]


def test_devices_on_more_nodes_than_they_need_cross_the_network() -> None:
    spec = load_device("h100-sxm-80gb")
    for count, nodes, sizes in ((8, 1, (8, 1)), (2, 2, (1, 2)), (16, 2, (8, 2))):
        found = group_of(spec, count, nodes, "nccl")
        assert (found.inner.size, found.outer.size) == sizes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"device": "h1000"}, "unknown device 'h1000'"),
        ({"device": ""}, "device missing"),
        ({"op": "gem"}, "unknown op 'gem'; did you mean 'gemm'?"),
        ({"m": ""}, "m missing"),
        ({"m": "many"}, "m 'many': must be from 1 to 1e+09"),
        ({"n": "-1"}, "n '-1': must be from 1"),
        ({"n": "1e-320"}, "n '1e-320': must be from 1"),
        ({"k": "inf"}, "k 'inf': must be from 1"),
        ({"m": "1e30"}, "m '1e30': must be from 1"),
        ({"measured_s": ""}, "measured_s missing"),
        ({"measured_s": "0"}, "measured_s '0': must be a positive number"),
        ({"measured_s": "1e-320"}, "measured_s '1e-320': must be from 1e-15 to 1e+15"),
        ({"dtype": "fp4"}, "cannot compute in fp4"),
        ({"dtype": "bf15"}, "unknown storage format 'bf15'"),
        ({"op": "all_reduce", "message_bytes": 1024, "n_devices": 2.5}, "n_devices '2.5': must be a whole number"),
        ({"op": "all_reduce", "message_bytes": 1024, "n_devices": 8, "nodes": 1.5}, "nodes '1.5': must be a whole"),
        ({**DECODE, "heads": 32.5}, "heads '32.5': must be a whole number"),
        ({"op": "all_reduce", "message_bytes": 1024, "n_devices": 1}, "n_devices 1: must be at least 2"),
        ({"op": "all_reduce", "message_bytes": 1024, "n_devices": 3, "nodes": 2}, "nodes 2: must divide the 3 devices"),
        ({**DECODE, "q_len": 9, "kv_len": 8}, "kv_len below q_len"),
        ({**DECODE, "op": "mla_decode", "head_dim": 64}, "head_dim of MLA"),
    ],
)
def test_rows_that_cannot_be_predicted_say_why(points: MakePoints, change: dict[str, Any], said: str) -> None:
    outcome = predict_ops(points("ops", [GEMM, {**GEMM, **change}, NORM]))
    assert outcome.skip_reason[1].startswith(said) or said in outcome.skip_reason[1]
    assert np.isnan(outcome.predicted[1])
    assert outcome.skip_reason[[0, 2]].tolist() == ["", ""]
    assert (outcome.predicted[[0, 2]] > 0.0).all()


def test_a_missing_column_skips_the_rows_that_need_it(points: MakePoints) -> None:
    outcome = predict_ops(points("ops", [{"op": "gemm", "measured_s": 1e-5, "device": "t4", "dtype": "fp16"}]))
    assert outcome.skip_reason.tolist() == ["m missing"]


def test_twenty_thousand_rows(points: MakePoints) -> None:
    rng = np.random.default_rng(0)
    shapes = rng.integers(1, 8192, (20_000, 3)).tolist()
    rows = [{**GEMM, "m": m, "n": n, "k": k} for m, n, k in shapes]
    told: list[int] = []
    outcome = predict_ops(points("ops", rows), told.append)
    assert (outcome.predicted > 0.0).all()
    assert told == [20_000]


def test_a_row_of_a_device_that_a_class_was_fitted_to_counts_as_seen(
    points: MakePoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry of the class does not say which rows were left out: none of these devices' rows tests it."""
    entries = calibrations_of("gpu")
    of_products = next(each for each in entries if "gemm" in each.operators and "fp32" in each.dtypes)
    source, device = of_products.fit.sources[0], of_products.fit.devices[0]
    monkeypatch.setattr(calibrated, "calibrations_of", lambda name: entries if name == "gpu" else ())
    calibrated._choice.cache_clear()
    row = {**GEMM, "source": source, "device": device, "dtype": "fp32", "software": "torch eager"}
    try:
        outcome = predict_ops(points("ops", [row, {**row, "source": "another lab"}]))
    finally:
        calibrated._choice.cache_clear()
    assert outcome.fitted.tolist() == [True, False]
