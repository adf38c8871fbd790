"""A run of probes on a clock of its own: turns, visits, failures, the deadline, and what is kept when it is killed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from simulator.calibration import session as module
from simulator.calibration import timing
from simulator.calibration.power.energy import Energy
from simulator.calibration.probes.registry import Call, Case, Machine, Probe, Target
from simulator.calibration.samples import Measurement, Samples, read_samples, write_samples
from simulator.calibration.session import VISITS, Session, in_turns, measurement, middle_of
from simulator.calibration.timing import Timing
from workloads import operators as op

MACHINE = Machine("cpu", 2, 32e6, 1e6, ("fp32",))


@dataclass
class World(timing.WallTime):
    """A machine on which time passes only while calls run.

    Args:
        seconds: what a call of each operator takes, by its name; of a list one visit after the other.
        ran: names of the operators that were timed, in order.
        others: libraries whose calls went before those that were timed.
    """

    seconds: dict[str, float | list[float]] = field(default_factory=dict)
    now: float = 1000.0
    ran: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def perf_counter(self) -> float:
        return self.now

    def case(self, name: str, bytes_: float = 0.0, dtype: str = "fp32", fails: BaseException | None = None) -> Case:
        def prepare() -> Call:
            self.ran.append(name)
            if fails is not None:
                raise fails
            return lambda: name

        return Case(op.norm(name, 1, len(name) + 1, dtype), prepare, bytes_)

    def round_s(self, call: Callable[[], object], calls: int) -> float:
        asked = self.seconds.get(str(call()), 0.01)
        each = asked[min(self.visits(str(call())), len(asked)) - 1] if isinstance(asked, list) else asked
        self.now += calls * each
        return calls * each

    def visits(self, name: str) -> int:
        return self.ran.count(name)


def probe_of(name: str, cases: Iterable[Case], runtime: str = "numpy-2") -> Probe:
    listed = list(cases)
    runtimes: dict[Target, str] = {"cpu": runtime} if runtime else {}
    return Probe(name, ("cpu",), runtimes, lambda machine: "", lambda machine: listed)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=made.perf_counter))
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=made.perf_counter))
    monkeypatch.setattr(module, "clock_for", lambda machine, graph: made)
    monkeypatch.setattr(module, "other_call", lambda library, machine: made.others.append(library))
    monkeypatch.setattr(module, "AmidOthers", lambda other: made)
    monkeypatch.setattr(module, "gc", SimpleNamespace(collect=lambda: None))
    return made


def session_of(world: World, seconds: float = 1e6, path: Path | None = None, **more: object) -> Session:
    return Session(MACHINE, {"device": "mine"}, path, world.now + seconds, **more)  # type: ignore[arg-type]


def work_of(world: World, names: Sequence[str]) -> list[tuple[Probe, Case]]:
    cases = [world.case(name) for name in names]
    probe = probe_of("p", cases)
    return [(probe, case) for case in cases]


def test_turns_are_by_how_many_cases_a_probe_has() -> None:
    world = World()
    probes = [probe_of("few", map(world.case, "ab")), probe_of("many", map(world.case, "12345678")), probe_of("no", ())]
    turns = in_turns(probes, lambda probe: probe.cases(MACHINE))
    names = [case.operator.name for _, case in turns]
    assert sorted(names) == sorted("ab12345678")
    assert all(probe.name == ("few" if case.operator.name in "ab" else "many") for probe, case in turns)
    for many in range(1, 9):
        upto = names[: many + sum(name in "ab" for name in names[: many + 2])]
        few = sum(name in "ab" for name in upto)
        assert abs(few / 2 - (len(upto) - few) / 8) <= 0.5


def test_the_cases_of_a_probe_are_spread_over_its_list() -> None:
    """Wherever the time ends, no stretch of a design is left out for long: 0, 8, 4, 12, 2 ..."""
    world = World()
    names = [f"{number:02}" for number in range(16)]
    turns = in_turns([probe_of("p", map(world.case, names))], lambda probe: probe.cases(MACHINE))
    order = [int(case.operator.name) for _, case in turns]
    assert sorted(order) == list(range(16))
    for taken in (2, 4, 8):
        assert {place * taken // 16 for place in order[:taken]} == set(range(taken))


def test_every_case_is_visited_several_times_with_the_others_in_between(world: World) -> None:
    session = session_of(world)
    session.run(work_of(world, "abc"))
    assert world.ran == list("abc" * VISITS)
    assert [each.operator.name for each in session.measurements] == list("abc")


def test_the_middle_visit_counts_and_its_interval_covers_all(world: World) -> None:
    world.seconds = {"a": [0.010, 0.030, 0.020], "b": [0.05, 0.05, 0.05]}
    session = session_of(world)
    session.run(work_of(world, "ab"))
    first = session.measurements[0]
    assert (first.time_s, first.low_s, first.high_s) == (0.020, 0.010, 0.030)
    assert first.repeats == 15
    assert session.disturbed_share == 0.5
    assert session.measurements[1].time_s == session.measurements[1].high_s == 0.05


def test_the_middle_of_two_is_the_faster_one() -> None:
    case = World().case("a")
    visits = [measurement("p", case, "", Timing(t, t, t - 0.1, t + 0.2, 5, 0)) for t in (2.0, 1.0)]
    found = middle_of(visits)
    assert (found.time_s, found.low_s, found.repeats) == (1.0, 0.9, 10)
    assert found.high_s == 2.0
    assert middle_of(visits[:1]) == visits[0]


def test_small_differences_between_visits_are_no_disturbance(world: World) -> None:
    world.seconds = {"a": [0.010, 0.012, 0.011]}
    session = session_of(world)
    assert session.disturbed_share == 0.0
    session.run(work_of(world, "a"))
    assert session.disturbed_share == 0.0


def test_a_measurement_says_what_ran(world: World) -> None:
    case = replace(world.case("a"), variant="triad", threads=2)
    session = session_of(world)
    session.run([(probe_of("stream", [case], "torch-cpu-2.13"), case)])
    (found,) = session.measurements
    assert (found.probe, found.runtime, found.variant, found.threads) == ("stream", "torch-cpu-2.13", "triad", 2)
    assert found.operator == case.operator
    assert math.isnan(found.power_w) and math.isnan(found.clock_hz)
    assert found.at.endswith("+00:00")


def test_calls_of_a_runtime_come_between_others_of_its_library(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that measure the machine itself, or what a call alone takes, do not."""
    asked: list[bool] = []

    def clock_for(machine: Machine, graph: bool) -> World:
        asked.append(graph)
        return world

    monkeypatch.setattr(module, "clock_for", clock_for)
    case = world.case("a")
    small = replace(case, variant="dispatch")
    alone = [(probe_of("stream", [case], ""), case), (probe_of("torch.dispatch", [small]), small)]
    amid = [(probe_of(f"{library}.products", [case]), case) for library in ("torch", "numpy", "torch")]
    session = session_of(world)
    session.run(alone)
    assert (asked, world.others) == ([False] * 2 * VISITS, [])
    session.run([*amid, (probe_of("torch.decode", [case]), case)])
    assert (len(asked), world.others) == (2 * VISITS, ["torch", "numpy"])


def test_what_fails_is_told_once_and_not_tried_again(world: World) -> None:
    bad = [
        world.case("a", fails=RuntimeError("out of memory\nat line 3")), world.case("b"),
        world.case("c", fails=NotImplementedError("later")),
    ]  # fmt: skip
    probe, other = probe_of("p", bad), probe_of("q", [world.case("d", fails=MemoryError())])
    session = session_of(world)
    session.run([(probe, case) for case in bad] + [(other, case) for case in other.cases(MACHINE)])
    assert [each.operator.name for each in session.measurements] == ["b"]
    assert session.failures == {"p": "a fp32: out of memory", "q": "d fp32: MemoryError"}
    assert [world.visits(name) for name in "abcd"] == [1, VISITS, 1, 1]


def test_a_call_that_fails_while_it_is_timed_is_a_failure_too(world: World) -> None:
    def call() -> object:
        raise TypeError("unsupported operand")

    case = Case(op.norm("a", 1, 1), lambda: call, 0.0)
    session = session_of(world)
    session.run([(probe_of("p", [case]), case)])
    assert session.failures == {"p": "a bf16: unsupported operand"}


def test_what_does_not_fit_into_memory_is_passed_over(world: World) -> None:
    cases = [world.case("a", bytes_=1e6), world.case("b", bytes_=1.1e6)]
    session = session_of(world)
    session.run([(probe_of("p", cases), case) for case in cases])
    assert set(world.ran) == {"a"}
    assert session.failures == {}


def test_what_is_known_is_not_measured_again(world: World) -> None:
    work = work_of(world, "abc")
    first = session_of(world)
    first.run(work[:2])
    world.ran.clear()
    second = session_of(world, measurements=list(first.measurements))
    second.run(work)
    assert world.ran == ["c"] * VISITS
    assert second.measurements[:2] == first.measurements
    assert len(second.measurements) == 3


def test_the_same_call_under_another_probe_or_runtime_is_another_case(world: World) -> None:
    case = world.case("a")
    session = session_of(world)
    session.run([(probe_of("p", [case]), case)])
    for probe in (probe_of("q", [case]), probe_of("p", [case], "torch-cpu-2.13")):
        again = session_of(world, measurements=list(session.measurements))
        again.run([(probe, case)])
        assert len(again.measurements) == 2


def test_the_deadline_ends_a_run(world: World) -> None:
    world.seconds = dict.fromkeys("abcd", 0.2)
    session = session_of(world, seconds=1.0)
    session.run(work_of(world, "abcd"))
    assert 0 < len(session.measurements) < 4
    assert session.left_s <= 0.0
    assert world.now < 1001.0 + 2 * 0.2 + 1e-6
    world.ran.clear()
    session.run(work_of(world, "xyz"))
    assert world.ran == []


def test_progress_is_told(world: World) -> None:
    told: list[tuple[str, int, int]] = []
    session = session_of(world, tell=lambda *words: told.append(words))
    session.run(work_of(world, "ab"))
    assert told[:-1] == [(f"p {'ab'[place % 2]} fp32", place, 2 * VISITS) for place in range(2 * VISITS)]
    name, done, of = told[-1]
    assert name == ""
    assert done == of


def test_samples_are_kept_every_few_seconds(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.parquet"
    counts: list[tuple[float, int]] = []

    def counted(place: Path, samples: Samples) -> None:
        write_samples(place, samples)
        counts.append((world.now, len(samples.measurements)))
        assert samples.environment["complete"] == "no"

    monkeypatch.setattr(module, "write_samples", counted)
    names = "abcdefgh"
    world.seconds = dict.fromkeys(names, 0.5)
    session_of(world, path=path).run(work_of(world, names))
    times = [now for now, _ in counts]
    assert len(times) >= 3
    assert all(5.0 < later - now <= 7.5 for now, later in pairwise(times))
    assert counts[0][1] == 1
    assert len(read_samples(path).measurements) == counts[-1][1] == 8


def test_a_killed_run_keeps_its_samples(world: World, tmp_path: Path) -> None:
    path = tmp_path / "kept.parquet"
    world.seconds = {"a": 1.0, "b": 1.0}
    cases = [world.case("a"), world.case("b"), world.case("c", fails=KeyboardInterrupt())]
    session = session_of(world, path=path)
    probe = probe_of("p", cases)
    with pytest.raises(KeyboardInterrupt):
        session.run([(probe, case) for case in cases])
    kept = read_samples(path)
    assert kept.environment == {"device": "mine", "complete": "no"}
    assert kept.measurements[0].key == session.measurements[0].key
    assert [each.operator.name for each in kept.measurements] == ["a"]


def test_the_end_says_whether_all_is_done(world: World, tmp_path: Path) -> None:
    path = tmp_path / "kept.parquet"
    session = session_of(world, path=path)
    session.run(work_of(world, "ab"))
    for done, word in ((False, "no"), (True, "yes")):
        session.save(done)
        kept = read_samples(path)
        assert kept.environment == {"device": "mine", "complete": word}
        assert len(kept.measurements) == 2
    assert session.environment == {"device": "mine"}


def test_without_a_file_nothing_is_kept(world: World, tmp_path: Path) -> None:
    session = session_of(world)
    session.run(work_of(world, "ab"))
    session.save(done=True)
    assert list(tmp_path.iterdir()) == []


@dataclass
class FakeMeter:
    """Reads 40 W over the time of the world; half of it lies between calls where ``idle_s`` passes."""

    world: World
    missing: str = ""
    idle_s: float = 0.0
    _start: float = 0.0

    def start(self) -> None:
        self._start = self.world.now

    def stop(self) -> Energy:
        self.world.now += self.idle_s
        seconds = self.world.now - self._start
        return Energy(40.0 * seconds, seconds, 2.5e9)


def measured(world: World, meter: FakeMeter) -> dict[str, Measurement]:
    world.seconds = {"a": 0.01, "b": 0.05, "c": 0.02, "dd": 0.01}
    cases = [world.case("a"), world.case("b"), world.case("c", dtype="bf16"), world.case("never")]
    p, q = probe_of("p", cases), probe_of("q", [world.case("dd")])
    work = [(p, case) for case in cases[:3]] + [(q, case) for case in q.cases(MACHINE)]
    session = session_of(world)
    session.run(work)
    session.measure_power(meter, [*work, (p, cases[3])])
    assert world.visits("never") == 0
    return {each.operator.name: each for each in session.measurements}


def test_power_is_read_under_the_longest_call_of_each_probe_and_dtype(world: World) -> None:
    found = measured(world, FakeMeter(world))
    assert {name for name, each in found.items() if not math.isnan(each.power_w)} == {"b", "c", "dd"}
    assert found["b"].power_w == pytest.approx(40.0)
    assert found["b"].clock_hz == 2.5e9
    assert found["b"].time_s == 0.05


@pytest.mark.parametrize(("missing", "idle_s"), [("no RAPL here", 0.0), ("", 0.5)])
def test_no_power_without_a_meter_or_with_pauses_between_calls(world: World, missing: str, idle_s: float) -> None:
    found = measured(world, FakeMeter(world, missing, idle_s))
    assert all(math.isnan(each.power_w) for each in found.values())
