"""From a calibration and its samples to the page: what it predicts, what it leaves out, what it says falls short."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from hardware_specs.calibrations import Calibration, Calibrations, Residuals
from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Fit, Mark
from hardware_specs.records import Cache, Compute, DeviceSpec, Memory
from reports.calibration import MachineCard
from silicost.calibration_machine import caches_of, roofs_of, scalings_of, streams_of
from silicost.calibration_page import card_of, write_calibration_page
from simulator.calibration.machine.environment import Environment
from simulator.calibration.machine.processor import Cache as CacheFact
from simulator.calibration.machine.processor import Processor
from simulator.calibration.machine_fit import FEWEST, neutral
from simulator.calibration.samples import Measurement
from simulator.devices.model import compile_device
from simulator.kernels.roofline import TIME
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator
from workloads.runtimes.catalogue import load_runtime

RUNTIME = "ideal"


def fact(value: float, dimension: str) -> Fact:
    return Fact(value, dimension, f"{value:g}", Mark.ASSUMED, "a test")


SPEC = DeviceSpec(
    id="my-cpu", device_class="cpu", vendor="Me", name="My CPU", default_runtime=RUNTIME,
    compute=Compute({"fp32": fact(2e11, "flops"), "bf16": fact(4e11, "flops")}, units=fact(2.0, "number"),
                    unit_name="core"),
    memory=Memory("DRAM", fact(32e9, "bytes"), fact(2e10, "bytes_per_s")),
    cache=Cache("L3", fact(2.0**25, "bytes"), fact(1.6e11, "bytes_per_s")),
)  # fmt: skip
FIT = Fit("my-cpu-gemm", ("torch.products",), "a rule", "2026-11-25", rows=24, groups=("aa bb cc dd",))
RESIDUALS = Residuals(24, 4, 0.12, 0.08, 0.1, 0.1, (-0.5, -0.2, 0.3, 0.6))
PARAMETERS = {"gemm_share": "0.9", "stream_share": "0.8", "gemm_floor_s": "20 us"}
GEMM = Calibration(
    ("gemm", "batched_gemm"), PARAMETERS, FIT, RESIDUALS, ("fp32",), (RUNTIME,),
    intervals={"gemm_share": ("0.85", "0.95"), "stream_share": ("0.01", "1"), "gemm_floor_s": ("10 us", "40 us")},
    held_out_error_shape=0.12, held_out_error_family=0.5,
)  # fmt: skip
TEXTS = Environment(
    date="2026-11-25",
    processor=Processor(model="My CPU", caches=(
        CacheFact(1, "data", 1 << 15, 1, 4, 2), CacheFact(1, "instruction", 1 << 15, 1, 4, 2),
        CacheFact(2, "unified", 1 << 20, 1, 4, 2), CacheFact(3, "unified", 1 << 25, 4, 1, 1),
    )),
).as_texts()  # fmt: skip
FOUND = Calibrations("my-cpu", (GEMM,), device=SPEC, environment={**TEXTS, "device": "my-cpu", "target": "cpu"})


def sample(operator: Operator, time_s: float, **changes: Any) -> Measurement:
    row = Measurement("torch.products", operator, time_s, 0.99 * time_s, 1.02 * time_s, 9, RUNTIME,
                      at="2026-11-25T10:00:00+00:00")  # fmt: skip
    return replace(row, **changes)


def product(m: float, n: float, k: float, dtype: str = "fp32", **changes: Any) -> Measurement:
    operator = op.gemm("product", m, n, k, dtype)
    return sample(operator, max(operator.flops / 1.5e11, operator.weight_bytes / 1.6e10) + 2e-5, **changes)


def stream(name: str, threads: int, set_bytes: float, rate: float, passes: int = 2) -> Measurement:
    operator = replace(op.stream_copy(f"stream.{name}", passes * set_bytes), batch=float(passes), vector_flops=1e6)
    time_s = operator.moved_bytes / rate
    return sample(operator, time_s, probe="stream", runtime="", variant=name, threads=threads)


PRODUCTS = [product(m, n, k) for n, k in ((1024, 1024), (768, 3072)) for m in (1, 4, 64, 1024)]
VECTORS = [sample(op.norm("norm", rows, 1024, "fp32"), rows * 2e-6 + 1e-5, probe="torch.vector", variant="rms")
           for rows in (1, 4, 16, 64, 256, 1024)]  # fmt: skip
STREAMS = [
    stream(name, threads, size, threads * rate)
    for name in ("triad", "read")
    for threads in (1, 2)
    for size, rate in ((2.0**15, 8e10), (2.0**20, 4e10), (2.0**23, 2e10), (2.0**28, 1e10))
]
OTHERS = [
    sample(op.elementwise("dispatch.add", 1, 1, "fp32"), 1e-6, probe="torch.dispatch", variant="dispatch"),
    *(replace(product(1536, 1536, 1536), probe="torch.scaling", variant="scaling", threads=threads,
              time_s=0.05 / threads**0.9, low_s=0.01, high_s=0.06) for threads in (1, 2)),
    sample(replace(op.elementwise("multiply_add", 8, 512, "fp32", inputs=1), vector_flops=1.9e9), 1e-2,
           probe="registers", runtime="", variant="registers", threads=2),
    sample(op.transfer("disk.read", 2.0**25), 0.02, probe="disk", runtime="", variant="direct"),
]  # fmt: skip
ALL = [*PRODUCTS, *VECTORS, *STREAMS, *OTHERS]


@pytest.fixture(scope="module")
def card() -> MachineCard:
    return card_of(FOUND, ALL, {"disk": "in memory"}, ["busy"])


def said(card: MachineCard) -> dict[str, str]:
    return {each.what: each.why for each in (*card.absent, *card.shortfalls)}


def test_predictions_are_those_of_the_device_with_these_parameters(card: MachineCard) -> None:
    """The same as a device that names the parameters itself, and the interval of the entry's residuals."""
    own = msgspec.structs.replace(SPEC, parameters=GEMM.facts)
    model = compile_device(own, neutral(load_runtime(RUNTIME)), calibrated=False, timed_alone=True)
    expected = model.cost(columns_of([each.operator for each in PRODUCTS]))[TIME]
    points = [point for point in card.points if point.priced_by == "matrix products"][: len(PRODUCTS)]
    np.testing.assert_allclose([point.predicted_s for point in points], expected, rtol=1e-12)
    np.testing.assert_allclose([point.low_80_s for point in points], expected * math.exp(-0.2))
    np.testing.assert_allclose([point.high_80_s for point in points], expected * math.exp(0.3))
    assert [point.what for point in points[:2]] == [
        "product, m 1, n 1024, k 1024, fp32",
        "product, m 4, n 1024, k 1024, fp32",
    ]


def test_what_has_no_entry_is_priced_by_the_priors(card: MachineCard) -> None:
    norms = [point for point in card.points if point.what.startswith("norm rms")]
    assert len(norms) == len(VECTORS)
    model = compile_device(SPEC, neutral(load_runtime(RUNTIME)), calibrated=False, timed_alone=True)
    expected = model.cost(columns_of([each.operator for each in VECTORS]))[TIME]
    np.testing.assert_allclose([point.predicted_s for point in norms], expected)
    assert {point.priced_by for point in norms} == {""}
    assert "norm in fp32 (ideal)" in said(card)["no entry of their own"]


def test_an_entry_of_one_kind_goes_before_one_of_many() -> None:
    every = ("norm", "rope", "activation", "elementwise", "softmax")
    parameters = {"vector_floor_s": "5 us"}
    entries = [
        msgspec.structs.replace(GEMM, operators=kinds, parameters=parameters, intervals={}, held_out_error_shape=shape)
        for kinds, shape in ((every, None), (("norm",), 0.2))
    ]
    both, wide = (
        card_of(msgspec.structs.replace(FOUND, calibrations=tuple(chosen)), VECTORS)
        for chosen in (entries, entries[:1])
    )
    assert {point.priced_by for point in both.points} == {"norm"}
    assert {point.priced_by for point in wide.points} == {"all vector operators"}
    assert math.isnan(wide.entries[0].median)
    assert said(wide)["no entry of their own"].startswith("norm in fp32")
    assert "no entry of their own" not in said(both)


def test_entries_stand_by_family_and_those_of_many_kinds_last() -> None:
    kinds = (("norm", "rope", "activation", "elementwise", "softmax"), ("softmax",), ("norm",), ("gemm",))
    found = [msgspec.structs.replace(GEMM, operators=each, parameters={}, intervals={}) for each in kinds]
    card = card_of(msgspec.structs.replace(FOUND, calibrations=tuple(found)), [])
    assert [entry.label for entry in card.entries] == ["matrix products", "norm", "softmax", "all vector operators"]


def test_curves_run_through_the_law_at_measured_rows(card: MachineCard) -> None:
    assert [(panel.n, panel.k) for panel in card.products] == [(1024.0, 1024.0), (768.0, 3072.0)]
    predicted = {point.what: point for point in card.points}
    for panel in card.products:
        (curve,) = panel.curves
        assert [point.m for point in curve.points] == [1.0, 4.0, 64.0, 1024.0]
        law, roof = dict(zip(curve.rows, curve.law, strict=True)), dict(zip(curve.rows, curve.roof, strict=True))
        for point in curve.points:
            call = predicted[f"product, m {point.m:g}, n {panel.n:g}, k {panel.k:g}, fp32"]
            assert law[point.m] == pytest.approx(call.flops / call.predicted_s, rel=1e-9)
            assert point.low < point.rate < point.high
        assert max(curve.roof) == 2e11
        assert all(law[m] <= 1.0001 * roof[m] for m in law)
    assert len(card.products[0].curves[0].rows) > 30


def test_roofs_are_those_of_the_device_and_of_single_caches(card: MachineCard) -> None:
    roofs = {roof.label: roof for roof in card.roofs}
    assert {name: roofs[name].value for name in ("fp32", "bf16", "DRAM", "cache")} == {
        "fp32": 2e11, "bf16": 4e11, "DRAM": 2e10, "cache": 1.6e11,
    }  # fmt: skip
    seen = {name: roof.value for name, roof in roofs.items() if not roof.fitted}
    assert seen == pytest.approx({"L1": 1.6e11, "L2": 8e10, "L3": 4e10, "multiply-adds in registers": 1.9e11})
    assert [(mark.label, mark.one_bytes, mark.all_bytes) for mark in card.caches] == [
        ("L1", 2.0**15, 2.0**16), ("L2", 2.0**20, 2.0**21), ("L3", 2.0**25, 2.0**25),
    ]  # fmt: skip
    gpu = caches_of(SPEC, Environment.from_texts(TEXTS), "gpu")
    assert [mark.label for mark in gpu] == ["L3"]
    assert [roof.label for roof in roofs_of(SPEC, ALL, streams_of(ALL), gpu, 2)].count("L3") == 2


def test_streams_count_all_passes_and_arrays_once(card: MachineCard) -> None:
    far = max(card.streams, key=lambda point: (point.stream == "triad", point.threads, point.set_bytes))
    assert (far.stream, far.threads, far.set_bytes) == ("triad", 2, 2.0**28)
    assert far.rate == pytest.approx(2e10)
    assert far.low < far.rate < far.high


def test_threads_are_compared_on_the_same_call() -> None:
    found = {each.what: each for each in scalings_of(ALL)}
    assert found["product, m 1536, n 1536, k 1536, fp32, ideal"].speedups == pytest.approx((1.0, 2**0.9))
    assert found["triad from memory"].speedups == pytest.approx((1.0, 2.0))
    assert set(found) == {"product, m 1536, n 1536, k 1536, fp32, ideal", "triad from memory", "read from memory"}


def test_calls_on_some_cores_or_without_work_stand_under_no_roof(card: MachineCard) -> None:
    assert len(card.points) == len(PRODUCTS) + len(VECTORS) + len(STREAMS) // 2 + 1
    assert [(each.what, each.way) for each in card.dispatches] == [("add", RUNTIME)]
    assert [(copy.what, copy.way) for copy in card.copies] == [("disk read", "direct")]


def test_ways_to_start_a_call_are_told_apart() -> None:
    operator = op.norm("norm", 1, 64, "bf16")
    ways = [("rms eager", "torch.eager"), ("graph", "torch.launch"), ("", "torch.launch")]
    rows = [sample(operator, 1e-5, variant=variant, probe=probe, runtime="") for variant, probe in ways]
    found = [(each.what, each.way) for each in card_of(FOUND, rows).dispatches]
    assert found == [("norm rms, 1 × 64", "eager"), ("norm, 1 × 64", "graph"), ("norm, 1 × 64", "torch.launch")]


def test_threads_are_missed_only_where_they_have_a_say() -> None:
    assert "thread scaling" not in said(card_of(FOUND, PRODUCTS))
    assert "thread scaling" in said(card_of(FOUND, [replace(each, threads=2) for each in PRODUCTS]))


def test_the_summary(card: MachineCard) -> None:
    peaks, errors, samples = card.cards
    assert card.title == "Calibration of My CPU"
    assert card.lead == "Measured on 2026-11-25 on 2 cores."
    assert (peaks.name, peaks.figure, peaks.sub) == ("fp32 products (assumed)", "200 GFLOP/s", "My CPU, 2 cores")
    assert ("L3 size", "32 MiB") in peaks.lines
    assert (errors.figure, errors.lines[0]) == ("8.0\u00a0%", ("matrix products", "8.0\u00a0% fp32"))
    assert samples.figure == str(len(ALL))


def test_the_middle_error_goes_by_samples() -> None:
    entries = [
        msgspec.structs.replace(
            GEMM,
            fit=msgspec.structs.replace(FIT, rows=rows),
            residuals=msgspec.structs.replace(RESIDUALS, median=median),
        )
        for rows, median in ((10, 0.01), (10, 0.02), (100, 0.3), (10, 0.9))
    ]
    found = msgspec.structs.replace(FOUND, calibrations=tuple(entries))
    assert card_of(found, PRODUCTS).cards[1].figure == "30\u00a0%"
    assert card_of(found, PRODUCTS).cards[1].lines[0][1] == "1.0 – 90\u00a0% fp32"


def test_what_falls_short_is_said(card: MachineCard) -> None:
    words = said(card)
    assert words["while measuring"] == "busy"
    assert words["disk"] == "in memory"
    assert words["power"] == "nothing read the power during any call"
    assert words["attention, decode"] == "no sample is of it"
    assert words["parameters that samples do not determine"].startswith("1 of 3 ")
    assert words["disturbed samples"].startswith("of 2 of ")
    assert "memory hierarchy" not in words
    assert "far off on new shapes" not in words


def test_the_meter_says_why_there_is_no_power() -> None:
    found = msgspec.structs.replace(FOUND, environment={**FOUND.environment, "power.missing": "no counters"})
    assert said(card_of(found, PRODUCTS))["power"] == "no counters"
    assert "power" not in said(card_of(found, [replace(PRODUCTS[0], power_w=50.0)]))


def test_remarks_of_a_run_are_said_once() -> None:
    texts = {**FOUND.environment, "remark.0": "busy", "remark.1": "hot", "power.idle_w": "12.5"}
    card = card_of(msgspec.structs.replace(FOUND, environment=texts), [], remarks=["busy"])
    assert [each.why for each in card.shortfalls if each.what == "while measuring"] == ["busy", "hot"]
    assert card.idle_w == 12.5
    broken = msgspec.structs.replace(FOUND, environment={"power.idle_w": "much"})
    assert math.isnan(card_of(broken, []).idle_w)


def test_poor_entries_are_named() -> None:
    poor = msgspec.structs.replace(
        GEMM, held_out_error_shape=0.48, residuals=msgspec.structs.replace(RESIDUALS, mape=0.48),
        fit=msgspec.structs.replace(FIT, groups=("aa bb",)),
    )  # fmt: skip
    words = said(card_of(msgspec.structs.replace(FOUND, calibrations=(poor,)), PRODUCTS[:2]))
    assert words["far off on new shapes"].startswith("matrix products in fp32 (48\u00a0%)")
    assert words["hardly better than priors"].startswith("matrix products in fp32")
    assert words["few shapes"].startswith("matrix products in fp32")
    assert words["too few samples"] == f"product in fp32 (2): an entry takes {FEWEST}"


@pytest.mark.parametrize("measurements", [[], PRODUCTS, STREAMS, VECTORS[:1], OTHERS], ids=range(5))
def test_missing_parts_make_a_page_that_says_so(tmp_path: Path, measurements: Sequence[Measurement]) -> None:
    write_calibration_page(tmp_path / "page.html", FOUND, measurements)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert ("Memory hierarchy</h2>" in text) == (measurements is STREAMS)
    assert ("no sample is a stream" in text) == (measurements is not STREAMS)
    assert ("Products over rows</h2>" in text) == (measurements is PRODUCTS)
    assert "nothing read the power" in text


def test_a_calibration_without_a_device_has_entries_alone() -> None:
    bare = card_of(Calibrations("my-cpu", (GEMM,)), PRODUCTS)
    assert not (bare.roofs or bare.products or bare.environment)
    assert all(math.isnan(point.predicted_s) for point in bare.points)
    assert bare.entries[0].parameters[0].meaning == ""


def test_an_unknown_runtime_is_said_and_not_priced() -> None:
    rows = [replace(each, runtime="no-such-runtime") for each in PRODUCTS]
    card = card_of(FOUND, [*rows, *PRODUCTS])
    assert "not priced here" in said(card)["no-such-runtime"]
    assert sum(math.isfinite(point.predicted_s) for point in card.points) == len(PRODUCTS)


def test_a_parameter_that_no_law_has_is_refused() -> None:
    entry = msgspec.structs.replace(GEMM, parameters={"gemm_shar": "0.9"}, intervals={})
    with pytest.raises(InputError, match="no law parameter 'gemm_shar'; did you mean 'gemm_share'"):
        card_of(msgspec.structs.replace(FOUND, calibrations=(entry,)), PRODUCTS)


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    pages = []
    for name in ("one", "two"):
        write_calibration_page(tmp_path / name, FOUND, ALL)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]
    assert len(pages[0]) < 300_000


def test_the_environment_is_grouped_and_escaped(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>\u202e\x00"
    texts = {**FOUND.environment, "processor.model": bad, bad: bad, "software.variables.LD_PRELOAD": bad}
    found = msgspec.structs.replace(FOUND, environment=texts)
    groups = {group.name: dict(group.rows) for group in card_of(found, []).environment}
    assert set(groups) == {"machine", "settings", "run"}
    assert bad in groups["machine"]["CPU"]
    assert groups["settings"]["variables"] == f"LD_PRELOAD={bad}"
    assert groups["run"] == {"device": "my-cpu", "target": "cpu", bad: bad}
    write_calibration_page(tmp_path / "page.html", found, [replace(PRODUCTS[0], runtime=bad, variant=bad, probe=bad)])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("<script>") == 2
    assert not {"\u202e", "\x00"} & set(text)


def test_an_environment_that_cannot_be_read_is_shown_as_it_is() -> None:
    found = msgspec.structs.replace(FOUND, environment={"processor.sockets": "many"})
    (group,) = card_of(found, []).environment
    assert group.rows == (("processor.sockets", "many"),)
