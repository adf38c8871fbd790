"""A whole calibration on a machine whose probes are replaced: budget, faults, a kill half-way, and what is said."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from hardware_specs.calibrations import Calibrations
from hardware_specs.devices import device_names, load_device
from hardware_specs.errors import InputError
from hardware_specs.records import DeviceSpec
from simulator.calibration import machine_run as module
from simulator.calibration import session, timing
from simulator.calibration.machine.busy import Reading
from simulator.calibration.machine.environment import Environment, read_environment
from simulator.calibration.machine_fit import fit_machine
from simulator.calibration.machine_run import (
    Asked,
    calibrate_cpu,
    catalogue_name,
    cpu_machine,
    device_of,
    fit_samples,
    hardware_of,
    probes_for,
    resumable,
)
from simulator.calibration.power.energy import Energy
from simulator.calibration.power.power_meters import NoMeter
from simulator.calibration.probes.registry import Call, Case, Machine, Probe
from simulator.calibration.samples import Measurement, Samples, read_samples, write_samples
from workloads import operators as op
from workloads.operators import Operator

NOW = datetime.datetime.now(datetime.UTC)
RUNTIME = "torch-cpu-2.13"
QUIET = Reading(0.0, 0.0, 0.0, 0.0, 0.0, 0, 0.0, 2)
Tree = Callable[[Mapping[str, str]], Path]
Seconds = Callable[..., Any]


@pytest.fixture
def here(epyc_vm: Path) -> Environment:
    return read_environment(epyc_vm, environ={}, today=NOW.date())


def quiet(name: str, done: int, of: int) -> None:
    pass


# --- what is measured ---------------------------------------------------------------------------------------------


MACHINE = Machine("cpu", 2, 32e6, 9e8, ("fp32", "bf16"))


def test_all_probes_of_a_cpu_are_there() -> None:
    probes, missing = probes_for(MACHINE)
    names = [probe.name for probe in probes]
    assert {"stream", "torch.products", "torch.decode", "numpy.products", "torch.dispatch"} <= set(names) | set(missing)
    assert all("cpu" in probe.targets for probe in probes)
    assert "torch.launch" not in names


def test_probes_are_chosen_by_the_beginnings_of_their_names() -> None:
    probes, missing = probes_for(MACHINE, ("numpy.", "torch.dec", "stream"))
    found = {probe.name for probe in probes} | set(missing)
    assert {"torch.decode", "stream", "numpy.products", "numpy.vector"} <= found
    assert all(name.startswith(("numpy.", "torch.dec", "stream")) for name in found)


def test_an_unknown_probe_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"--only 'steam': no probe of that name; did you mean 'stream'\? \(allowed: "):
        probes_for(MACHINE, ("torch.", "steam"))


def test_probes_that_cannot_run_say_why() -> None:
    """numpy multiplies in fp32 alone."""
    probes, missing = probes_for(replace(MACHINE, dtypes=("bf16",)), ("numpy.products", "torch.products"))
    assert "numpy.products" not in {probe.name for probe in probes}
    assert "fp32" in missing["numpy.products"]


@pytest.mark.parametrize(
    ("isa", "quick", "dtypes"),
    [((), False, ("fp32",)), (("avx2",), False, ("fp32", "bf16")), (("avx512_vnni",), False, ("fp32", "bf16", "int8")),
     (("avx512_vnni",), True, ("fp32", "bf16")), (("i8mm",), False, ("fp32", "int8"))],
)  # fmt: skip
def test_dtypes_go_by_the_instructions(here: Environment, isa: tuple[str, ...], quick: bool, dtypes: Any) -> None:
    machine = cpu_machine(msgspec.structs.replace(here, processor=replace_in(here.processor, isa=isa)), quick)
    assert machine.dtypes == dtypes
    assert machine.quick is quick


def replace_in(part: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(part, **changes)


def test_the_machine_is_what_this_process_may_use_of_it(here: Environment) -> None:
    machine = cpu_machine(here, quick=False)
    assert (machine.target, machine.cores, machine.cache_bytes) == ("cpu", 2, 32 * 2.0**20)
    assert machine.memory_bytes == 0.9e9
    small = msgspec.structs.replace(here, memory=replace_in(here.memory, available_bytes=10**9))
    assert cpu_machine(small, quick=False).memory_bytes == pytest.approx(0.35e9)
    assert cpu_machine(Environment(), quick=False).memory_bytes == pytest.approx(0.7e9)
    assert cpu_machine(Environment(), quick=False).cores == 1


QUOTAS = {"a quarter": ("25000 100000", 1), "one and a half": ("150000 100000", 1), "two": ("200000 100000", 2)}


@pytest.mark.parametrize("name", QUOTAS)
def test_a_cpu_quota_leaves_fewer_cores(epyc_vm: Path, write_tree: Tree, name: str) -> None:
    quota, cores = QUOTAS[name]
    write_tree({"sys/fs/cgroup/unified/cpu.max": quota, "sys/fs/cgroup/unified/cgroup.controllers": "cpu"})
    limited = read_environment(epyc_vm, environ={}, today=NOW.date())
    assert cpu_machine(limited, quick=False).cores == cores
    assert hardware_of(limited, "mine").cores == cores


def test_one_core_of_an_affinity(epyc_vm: Path, write_tree: Tree) -> None:
    write_tree({"proc/self/status": "Cpus_allowed_list:\t1"})
    assert cpu_machine(read_environment(epyc_vm, environ={}, today=NOW.date()), quick=False).cores == 1


def test_hardware_is_what_the_system_says(here: Environment) -> None:
    found = hardware_of(here, "mine")
    assert (found.id, found.name, found.vendor, found.cores) == ("mine", "AMD EPYC", "AuthenticAMD", 2)
    assert found.memory_bytes == 24684084 * 1024
    limited = msgspec.structs.replace(here, allowance=replace_in(here.allowance, memory_limit_bytes=2**30))
    assert hardware_of(limited, "mine").memory_bytes == 2**30
    unlimited = msgspec.structs.replace(here, allowance=replace_in(here.allowance, memory_limit_bytes=2**50))
    assert hardware_of(unlimited, "mine").memory_bytes == 24684084 * 1024
    assert hardware_of(Environment(), "mine")[:4] == ("mine", "mine", "unknown", 1)


def test_the_usual_runtime_is_that_with_the_most_samples(here: Environment) -> None:
    rows = [*samples_at(NOW, 3), *(replace(each, runtime="numpy-2") for each in samples_at(NOW, 2))]
    rows.append(Measurement("stream", op.stream_copy("s", 1e9), 0.03, 0.03, 0.03))
    assert device_of("mine", here, rows, "2026-11-25").default_runtime == RUNTIME
    alone = [replace(each, runtime="") for each in rows]
    assert device_of("mine", here, alone, "2026-11-25").default_runtime == "ideal"


# --- what is taken up again ---------------------------------------------------------------------------------------


def samples_at(at: datetime.datetime, count: int = 2) -> tuple[Measurement, ...]:
    text = at.isoformat(timespec="seconds")
    products = [op.gemm("product", 8, 64 * (number + 1), 64, "fp32") for number in range(count)]
    return tuple(Measurement("torch.products", o, 1e-4, 1e-4, 1e-4, 5, RUNTIME, at=text) for o in products)


def interrupted(
    path: Path, environment: Environment, at: datetime.datetime = NOW, device: str = "mine", complete: str = "no"
) -> Asked:
    about = {**environment.as_texts(), "device": device, "complete": complete}
    write_samples(path, Samples(samples_at(at), about))
    return Asked("cpu", "mine", 60.0, False, (), path)


def test_samples_of_an_interrupted_run_are_taken_up(tmp_path: Path, here: Environment) -> None:
    asked = interrupted(tmp_path / "kept.parquet", here)
    assert [each.key for each in resumable(asked, here)] == [each.key for each in samples_at(NOW)]
    an_hour_ago = interrupted(tmp_path / "kept.parquet", here, NOW - datetime.timedelta(hours=1))
    assert len(resumable(an_hour_ago, here)) == 2


def test_nothing_is_taken_up_of_another_run(tmp_path: Path, here: Environment, xeon: Path) -> None:
    path = tmp_path / "kept.parquet"
    assert resumable(interrupted(path, here, complete="yes"), here) == ()
    assert resumable(interrupted(path, here, device="other"), here) == ()
    assert resumable(interrupted(path, here, NOW - datetime.timedelta(hours=25)), here) == ()
    assert resumable(interrupted(path, read_environment(xeon, environ={}, today=NOW.date())), here) == ()
    assert resumable(replace(interrupted(path, here), fresh=True), here) == ()
    assert resumable(replace(interrupted(path, here), samples=tmp_path / "none.parquet"), here) == ()
    write_samples(path, Samples(samples_at(NOW), {**here.as_texts(), "device": "mine"}))
    assert resumable(replace(interrupted(path, here, complete=""), samples=path), here) == ()


@pytest.mark.parametrize(
    ("part", "changes"),
    [("processor", {"model": "AMD EPYC 9654"}), ("allowance", {"quota_cores": 1.0}),
     ("clocks", {"governor": "powersave"}), ("software", {"libraries": {"torch": "2.14.0"}})],
)  # fmt: skip
def test_nothing_is_taken_up_of_a_machine_that_changed(
    tmp_path: Path, here: Environment, part: str, changes: dict[str, Any]
) -> None:
    then = msgspec.structs.replace(here, clocks=replace_in(here.clocks, governor="performance"))
    then = msgspec.structs.replace(then, software=replace_in(then.software, libraries={"torch": "2.13.0"}))
    asked = interrupted(tmp_path / "kept.parquet", then)
    assert len(resumable(asked, then)) == 2
    assert resumable(asked, msgspec.structs.replace(then, **{part: replace_in(getattr(then, part), **changes)})) == ()


@pytest.mark.parametrize("at", ["", "yesterday", "2026-11-25T12:00:00"])
def test_samples_without_a_time_are_old(tmp_path: Path, here: Environment, at: str) -> None:
    asked = interrupted(tmp_path / "kept.parquet", here)
    kept = read_samples(asked.samples)
    rows = tuple(replace(each, at=at) for each in kept.measurements)
    write_samples(asked.samples, Samples(rows, kept.environment))
    assert resumable(asked, here) == ()


def test_broken_samples_are_refused(tmp_path: Path, here: Environment) -> None:
    asked = interrupted(tmp_path / "kept.parquet", here)
    asked.samples.write_bytes(b"half of it")
    with pytest.raises(InputError, match=r"kept\.parquet: not a Parquet file"):
        resumable(asked, here)
    assert resumable(replace(asked, fresh=True), here) == ()


# --- a whole run --------------------------------------------------------------------------------------------------


@dataclass
class Bench(timing.WallTime):
    """A machine that takes as long as the law says for what its probes call, and whose time passes only then."""

    seconds_of: Callable[[Operator], float]
    now: float = 5000.0
    ran: list[Operator] = field(default_factory=list)
    kill_after: int = 10**9
    fails: str = ""
    threads: list[int] = field(default_factory=list)
    probes: dict[str, Probe] = field(default_factory=dict)

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def round_s(self, call: Callable[[], object], calls: int) -> float:
        each: Any = call()
        self.now += calls * each
        return float(calls * each)

    def case(self, operator: Operator, variant: str = "", threads: int = 0) -> Case:
        def prepare() -> Call:
            if len(self.ran) >= self.kill_after:
                raise KeyboardInterrupt
            if self.fails and self.fails in operator.name:
                raise RuntimeError(f"{operator.name} is not supported\nhere")
            self.ran.append(operator)
            self.now += 0.05  # inputs are made
            return lambda: self.seconds_of(operator)

        return Case(operator, prepare, 1e6, variant, threads)


PRODUCTS = [
    op.gemm("product", m, n, k, "fp32") for n, k in ((1024, 1024), (2048, 640), (512, 3072)) for m in (1, 4, 64, 512)
]
MORE = [op.gemm("product", m, n, k, "fp32") for n, k in ((768, 768), (4096, 1024), (320, 960)) for m in (2, 16, 256)]
DECODE = [op.attention("decode", 1, n, 8, kv, 64, batch=b, dtype="fp32", kv_bits=32.0)
          for n, b in ((64, 1), (512, 4), (2048, 1)) for kv in (2, 8)]  # fmt: skip
STREAMS = [replace(op.stream_copy("stream", bytes_), batch=batch) for bytes_, batch in ((4e8, 1.0), (1e9, 100.0))]


def probe_of(
    name: str, cases: Iterable[Case], more: Iterable[Case] = (), runtime: str = RUNTIME, missing: str = ""
) -> Probe:
    listed, further = list(cases), list(more)
    runtimes: dict[Any, str] = {"cpu": runtime} if runtime else {}
    return Probe(name, ("cpu",), runtimes, lambda machine: missing, lambda machine: listed, lambda machine: further)


@pytest.fixture
def bench(
    monkeypatch: pytest.MonkeyPatch, small_cpu: DeviceSpec, seconds_by: Seconds, truth: dict[str, float]
) -> Bench:
    noise = np.random.default_rng(0)
    modelled = [*PRODUCTS, *MORE, *DECODE]
    known = dict(zip(modelled, seconds_by(small_cpu, modelled, truth).tolist(), strict=True))
    known |= {o: o.moved_bytes / (40e9 if o.batch == 1.0 else 150e9) for o in STREAMS}

    def seconds_of(operator: Operator) -> float:
        return float(known[operator] * np.exp(noise.normal(0.0, 0.005)))

    made = Bench(seconds_of)
    case = made.case
    probes = [
        probe_of("stream", [case(o, "triad", threads=2) for o in STREAMS], runtime=""),
        probe_of("torch.products", map(case, PRODUCTS), map(case, MORE)),
        probe_of("torch.decode", map(case, DECODE)),
        probe_of("torch.absent", map(case, PRODUCTS), missing="torch is not installed (pip install torch)"),
    ]
    time = SimpleNamespace(perf_counter=made.perf_counter, sleep=made.sleep)
    for place in (module, session, timing):
        monkeypatch.setattr(place, "time", time)
    monkeypatch.setattr(session, "clock_for", lambda machine, graph: made)
    monkeypatch.setattr(session, "other_call", lambda library, machine: lambda: None)
    monkeypatch.setattr(session, "AmidOthers", lambda other: made)
    monkeypatch.setattr(session, "gc", SimpleNamespace(collect=lambda: None))
    made.probes |= {probe.name: probe for probe in probes}
    monkeypatch.setattr(module, "PROBES", made.probes)
    monkeypatch.setattr(module, "PROBE_FILES", ())
    monkeypatch.setattr(module, "set_threads", made.threads.append)
    monkeypatch.setattr(module, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(module, "meter_for", lambda target: NoMeter("no RAPL counters under /sys/class/powercap"))
    readings = itertools.count()
    monkeypatch.setattr(module, "read_counters", lambda: QUIET._replace(at_s=float(next(readings))))
    monkeypatch.setattr(module, "fit_machine", not_fitted)
    return made


def not_fitted(spec: DeviceSpec, measurements: object, environment: dict[str, str], *_: object) -> Calibrations:
    """What fits would give is of no interest in most of these tests."""
    return Calibrations(spec.id, (), device=spec, environment=dict(environment))


@pytest.fixture
def fitting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The same, and samples are fitted."""
    monkeypatch.setattr(module, "fit_machine", fit_machine)
    return bench


def asked_of(tmp_path: Path, budget_s: float = 60.0, **more: Any) -> Asked:
    given: dict[str, Any] = {"quick": False, "only": ()} | more
    return Asked("cpu", "mine", budget_s, samples=tmp_path / "kept.parquet", **given)


def test_a_run_measures_fits_and_keeps(fitting: Bench, tmp_path: Path, here: Environment) -> None:
    made = calibrate_cpu(asked_of(tmp_path), here, quiet)
    assert made.found.id == "mine"
    assert made.resumed == 0 and made.remarks == ()
    assert made.missing == {"torch.absent": "torch is not installed (pip install torch)"}
    spec = made.found.device
    assert spec is not None and spec.compute.units and spec.compute.units.value == 2.0
    assert spec.memory.bandwidth.value == pytest.approx(40e9, rel=0.02)
    assert {each.operators[0] for each in made.found.calibrations} == {"gemm", "attention_decode"}
    kept = read_samples(tmp_path / "kept.parquet")
    assert kept.environment["complete"] == "yes"
    assert kept.environment["device"] == "mine" and kept.environment["target"] == "cpu"
    assert kept.environment["processor.model"] == "AMD EPYC"
    assert [each.key for each in kept.measurements] == [each.key for each in made.measurements]
    assert fitting.threads == [2]
    assert fitting.now - 5000.0 < 62.0
    told: list[str] = []
    again = fit_samples(kept, lambda name, done, of: told.append(name))
    assert again.device == made.found.device
    assert again.calibrations == made.found.calibrations
    assert len(told) == 3


def test_what_is_left_of_the_time_goes_to_other_shapes(bench: Bench, tmp_path: Path, here: Environment) -> None:
    full = calibrate_cpu(asked_of(tmp_path), here, quiet)
    shapes = {(each.operator.n, each.operator.k) for each in full.measurements if each.operator.name == "product"}
    assert shapes & {(768, 768), (4096, 1024), (320, 960)}
    bench.ran.clear()
    quick = calibrate_cpu(asked_of(tmp_path, quick=True, fresh=True), here, quiet)
    shapes = {(each.operator.n, each.operator.k) for each in quick.measurements if each.operator.name == "product"}
    assert shapes == {(1024, 1024), (2048, 640), (512, 3072)}


@pytest.mark.parametrize("budget_s", [1.0, 2.5])
def test_the_budget_ends_a_run(bench: Bench, tmp_path: Path, here: Environment, budget_s: float) -> None:
    """In the middle of the first design, or of what is added to it."""
    made = calibrate_cpu(asked_of(tmp_path, budget_s), here, quiet)
    first, added = len(PRODUCTS) + len(DECODE) + len(STREAMS), len(MORE)
    assert 0 < len(made.measurements) < (first if budget_s == 1.0 else first + added)
    assert (len(made.measurements) > first) == (budget_s == 2.5)
    assert 0.7 * budget_s < bench.now - 5000.0 < budget_s + 0.3
    assert read_samples(tmp_path / "kept.parquet").environment["complete"] == "yes"


def test_a_killed_run_goes_on_where_it_was(bench: Bench, tmp_path: Path, here: Environment) -> None:
    bench.kill_after = 12
    with pytest.raises(KeyboardInterrupt):
        calibrate_cpu(asked_of(tmp_path), here, quiet)
    kept = read_samples(tmp_path / "kept.parquet")
    assert kept.environment["complete"] == "no"
    assert kept.measurements
    before = {each.key: each.time_s for each in kept.measurements}
    bench.ran.clear()
    bench.kill_after = 10**9
    made = calibrate_cpu(asked_of(tmp_path), here, quiet)
    assert made.resumed == len(before)
    after = {each.key: each.time_s for each in made.measurements}
    assert {key: after[key] for key in before} == before
    assert len(after) >= len(PRODUCTS) + len(DECODE) + len(STREAMS)
    assert all(each.operator not in bench.ran for each in kept.measurements)
    bench.ran.clear()
    again = calibrate_cpu(asked_of(tmp_path, quick=True), here, quiet)
    assert again.resumed == 0
    assert bench.ran


def test_a_run_asked_to_be_fresh_forgets(bench: Bench, tmp_path: Path, here: Environment) -> None:
    bench.kill_after = 12
    with pytest.raises(KeyboardInterrupt):
        calibrate_cpu(asked_of(tmp_path), here, quiet)
    bench.kill_after = 10**9
    assert calibrate_cpu(asked_of(tmp_path, quick=True, fresh=True), here, quiet).resumed == 0


def test_a_run_killed_while_it_fits_has_all_its_samples(
    bench: Bench, tmp_path: Path, here: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "fit_machine", killed)
        calibrate_cpu(asked_of(tmp_path, quick=True), here, quiet)
    kept = read_samples(tmp_path / "kept.parquet")
    assert len(kept.measurements) == len(PRODUCTS) + len(DECODE) + len(STREAMS)
    assert fit_samples(kept, quiet).device is not None


def test_what_fails_is_told_and_the_rest_goes_on(bench: Bench, tmp_path: Path, here: Environment) -> None:
    bench.fails = "decode"
    made = calibrate_cpu(asked_of(tmp_path, quick=True), here, quiet)
    assert made.missing["torch.decode"] == "decode fp32: decode is not supported"
    assert {each.probe for each in made.measurements} == {"stream", "torch.products"}


@pytest.mark.parametrize(("fails", "lacks"), [("product", "no matrix product"), ("stream", "no stream from memory")])
def test_too_little_is_refused_and_its_samples_are_kept(
    bench: Bench, tmp_path: Path, here: Environment, fails: str, lacks: str
) -> None:
    bench.fails = fails
    bench.probes["torch.products"] = probe_of("torch.products", [bench.case(o) for o in PRODUCTS if o.m > 1.0])
    with pytest.raises(InputError, match=f"^mine: the samples hold {lacks}"):
        calibrate_cpu(asked_of(tmp_path, quick=True), here, quiet)
    kept = read_samples(tmp_path / "kept.parquet").measurements
    assert kept
    assert not any(fails in each.operator.name for each in kept)


def test_samples_that_cannot_be_kept_end_a_run_at_once(bench: Bench, tmp_path: Path, here: Environment) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"kept\.parquet: cannot be written"):
        calibrate_cpu(replace(asked_of(tmp_path), samples=tmp_path / "file" / "kept.parquet"), here, quiet)
    assert len(bench.ran) == 1


def test_a_busy_machine_is_remarked_in_the_file(
    bench: Bench, tmp_path: Path, here: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = QUIET._replace(at_s=10.0, busy_s=14.0, own_s=6.0, steal_s=1.0)
    readings = iter([QUIET, after])
    monkeypatch.setattr(module, "read_counters", lambda: next(readings))
    made = calibrate_cpu(asked_of(tmp_path, quick=True), here, quiet)
    text = "other processes use 0.8 of 2 cores, the hypervisor takes 0.1 of 2 cores away; times will be noisy"
    assert made.remarks == (text,)
    assert made.found.environment["remark.0"] == text
    assert read_samples(tmp_path / "kept.parquet").environment["remark.0"] == text


def test_a_quota_that_stops_the_run_is_remarked(
    bench: Bench, tmp_path: Path, here: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = iter([QUIET, QUIET._replace(at_s=10.0, busy_s=6.0, own_s=6.0, quota_s=4.0)])
    monkeypatch.setattr(module, "read_counters", lambda: next(readings))
    made = calibrate_cpu(asked_of(tmp_path, quick=True), here, quiet)
    assert made.remarks == ("a CPU quota stops this process 40% of the time; times will be noisy",)


def test_visits_that_differ_are_remarked(bench: Bench, tmp_path: Path, here: Environment) -> None:
    steady = bench.seconds_of
    bench.seconds_of = lambda operator: steady(operator) * (1.5 if len(bench.ran) % 3 else 1.0)
    made = calibrate_cpu(asked_of(tmp_path, quick=True), here, quiet)
    assert len(made.remarks) == 1
    assert made.remarks[0].endswith("% of the calls took more than 1.25 times as long at one visit as at another")


def test_without_a_meter_it_says_why(bench: Bench, tmp_path: Path, here: Environment) -> None:
    made = calibrate_cpu(asked_of(tmp_path, quick=True), here, quiet)
    assert made.found.environment["power.missing"] == "no RAPL counters under /sys/class/powercap"
    assert all(math.isnan(each.power_w) for each in made.measurements)


@dataclass
class FakeMeter:
    """Draws 30 W at rest and 80 W under calls."""

    bench: Bench
    missing: str = ""
    _start: tuple[float, int] = (0.0, 0)

    def start(self) -> None:
        self._start = self.bench.now, len(self.bench.ran)

    def stop(self) -> Energy:
        seconds = self.bench.now - self._start[0]
        return Energy((80.0 if self.bench.ran else 30.0) * seconds, seconds, 3e9)


def test_power_is_read_at_rest_and_under_calls(
    bench: Bench, tmp_path: Path, here: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "meter_for", lambda target: FakeMeter(bench))
    made = calibrate_cpu(asked_of(tmp_path, quick=True), here, quiet)
    assert made.found.environment["power.idle_w"] == "30.0"
    assert "power.missing" not in made.found.environment
    drawn = [each for each in made.measurements if not math.isnan(each.power_w)]
    assert {each.probe for each in drawn} == {"stream", "torch.products", "torch.decode"}
    assert all(each.power_w == pytest.approx(80.0) and each.clock_hz == 3e9 for each in drawn)


def test_power_of_what_was_measured_before_a_kill_is_read_too(
    bench: Bench, tmp_path: Path, here: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate_cpu(asked_of(tmp_path, quick=True), here, quiet)
    kept = read_samples(tmp_path / "kept.parquet")
    write_samples(tmp_path / "kept.parquet", Samples(kept.measurements, {**kept.environment, "complete": "no"}))
    bench.ran.clear()
    monkeypatch.setattr(module, "meter_for", lambda target: FakeMeter(bench))
    made = calibrate_cpu(asked_of(tmp_path, quick=True), here, quiet)
    assert made.resumed == len(kept.measurements)
    assert sum(not math.isnan(each.power_w) for each in made.measurements) == 3
    assert len(bench.ran) == 3


def test_one_core_is_enough(fitting: Bench, tmp_path: Path, epyc_vm: Path, write_tree: Tree) -> None:
    """A container with a quota of one and a half cores: threads run on one, and calls on two do not count."""
    write_tree({"sys/fs/cgroup/unified/cpu.max": "150000 100000", "sys/fs/cgroup/unified/cgroup.controllers": "cpu"})
    limited = read_environment(epyc_vm, environ={}, today=NOW.date())
    streams = probe_of("stream", [fitting.case(o, "triad", threads=1) for o in STREAMS], runtime="")
    fitting.probes["stream"] = streams
    made = calibrate_cpu(asked_of(tmp_path, quick=True), limited, quiet)
    assert fitting.threads == [1]
    spec = made.found.device
    assert spec is not None and spec.compute.units and spec.compute.units.value == 1.0
    assert {each.operators[0] for each in made.found.calibrations} == {"gemm", "attention_decode"}
    assert made.found.environment["allowance.quota_cores"] == "1.5"


def test_without_products_nothing_is_begun(bench: Bench, tmp_path: Path, here: Environment) -> None:
    with pytest.raises(InputError, match=r"^--only: a calibration needs matrix products; add torch\.products or numpy"):
        calibrate_cpu(asked_of(tmp_path, only=("stream",)), here, quiet)
    bench.probes["torch.products"] = probe_of("torch.products", (), missing="torch is not installed")
    with pytest.raises(InputError, match=r"products; torch\.products: torch is not installed$"):
        calibrate_cpu(asked_of(tmp_path), here, quiet)
    assert bench.ran == [] and not (tmp_path / "kept.parquet").exists()


def test_only_some_probes(bench: Bench, tmp_path: Path, here: Environment) -> None:
    made = calibrate_cpu(asked_of(tmp_path, quick=True, only=("torch.p", "stream")), here, quiet)
    assert {each.probe for each in made.measurements} == {"torch.products", "stream"}
    assert made.missing == {}


@pytest.mark.parametrize("name", ["My CPU", "../mine", "", "a/b", "mine\n"])
def test_samples_of_a_name_that_is_no_id(name: str) -> None:
    with pytest.raises(InputError, match=r"the device of these samples .* must be small letters"):
        fit_samples(Samples(samples_at(NOW), {"device": name}), quiet)


@pytest.mark.parametrize(
    ("name", "found"),
    [("NVIDIA H100 80GB HBM3", "h100-sxm-80gb"), ("NVIDIA H100 PCIe", "h100-pcie-80gb"), ("NVIDIA H200", "h200-sxm"),
     ("NVIDIA A100-SXM4-80GB", "a100-sxm-80gb"), ("NVIDIA GeForce RTX 4090", "rtx-4090"), ("Tesla T4", "t4"),
     ("NVIDIA Nameless", "")],
)  # fmt: skip
def test_gpus_of_the_catalogue_are_found_by_what_drivers_call_them(name: str, found: str) -> None:
    gpus = [each for each in device_names() if load_device(each).device_class == "gpu"]
    assert catalogue_name(name, gpus) == found if found != "h200-sxm" else catalogue_name(name, gpus).startswith("h200")


def test_samples_that_do_not_say_whose_they_are() -> None:
    with pytest.raises(InputError, match="do not say of which machine"):
        fit_samples(Samples(samples_at(NOW), {}), quiet)


def test_samples_without_a_description_but_a_name() -> None:
    rows = [*samples_at(NOW, 5), Measurement("stream", op.stream_copy("s", 1e9), 0.03, 0.03, 0.03)]
    found = fit_samples(Samples(tuple(rows), {"device": "mine"}), quiet)
    assert found.id == "mine"
    assert found.device is not None and found.device.cache is None
