"""Notes on calibrations in use: none where nothing changed, calm about other machines, plain about doubts."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from hardware_specs.errors import InputError
from silicost.scenarios import inference_scenario
from simulator.calibration import staleness
from simulator.calibration.machine.drift import OLD_DAYS
from simulator.calibration.machine.environment import Environment
from simulator.calibration.staleness import Note, environment_here, made_on, notes_on, with_notes
from simulator.calibration.use import use_calibration
from simulator.devices.registry import law_of
from simulator.simulate import simulate

MakeFile = Callable[..., Path]
TODAY = datetime.date(2026, 11, 25)
CPU = {
    "date": "2026-11-20", "processor.model": "AMD EPYC 9654", "processor.architecture": "x86_64",
    "processor.family": "25", "processor.model_number": "17", "processor.stepping": "1",
    "allowance.logical_cores": "4", "allowance.physical_cores": "4", "memory.total_bytes": "64000000000",
    "memory.huge_pages": "madvise", "clocks.governor": "performance", "software.silicost": "0.1.0",
    "software.python": "CPython 3.11.7", "software.libraries.torch": "2.13.0", "software.libraries.numpy": "2.4.6",
    "software.libraries.scipy": "1.17.1",
}  # fmt: skip
GPU = CPU | {
    "accelerators": '[{"name":"NVIDIA H100","driver":"570.1","memory_bytes":80000000000,"power_limit_w":700.0}]',
}
NEW_CPU = {"processor.model": "Intel Xeon 8480+", "processor.model_number": "143"}


def notes(
    calibration_file: MakeFile, then: Mapping[str, str], now: Mapping[str, str], runtime: str = "torch-eager-2.4",
    today: datetime.date = TODAY, **more: str,
) -> tuple[Note, ...]:  # fmt: skip
    use_calibration(calibration_file(environment=then, **more))
    return notes_on({"my-cpu": [runtime]}, Environment.from_texts(now), today)["my-cpu"]


def test_nothing_is_said_where_nothing_changed(calibration_file: MakeFile) -> None:
    assert notes(calibration_file, CPU, CPU) == ()


def test_another_machine_is_said_calmly_and_nothing_else_is_compared(calibration_file: MakeFile) -> None:
    now = CPU | NEW_CPU | {"software.libraries.torch": "2.14.0", "clocks.governor": "powersave"}
    (note,) = notes(calibration_file, CPU, now)
    assert note.text == "made on AMD EPYC 9654, 4 cores, on 2026-11-20; this machine is another one"
    assert not note.doubt
    assert str(note) == f"calibration my-cpu: {note.text}"


def test_the_same_machine_used_in_part(calibration_file: MakeFile) -> None:
    now = CPU | {"allowance.logical_cores": "2", "allowance.physical_cores": "2"}
    (note,) = notes(calibration_file, CPU, now)
    assert not note.doubt
    assert note.text.startswith(
        "made on AMD EPYC 9654, 4 cores, on 2026-11-20; differs here: cores in use (4 then, 2 now)"
    )


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({"software.libraries.torch": "2.14.0"}, "made with other software: torch (2.13.0 then, 2.14.0 now)"),
        ({"clocks.governor": "powersave"}, "made under other settings: governor (performance then, powersave now)"),
        ({"allowance.quota_cores": "1.5"}, "made under other settings: CPU quota (none then, 1.5 cores now)"),
        (
            {"software.variables.OMP_NUM_THREADS": "1"},
            "made under other settings: OMP_NUM_THREADS (not set then, 1 now)",
        ),
    ],
)
def test_what_changed_on_the_machine_is_a_doubt(
    calibration_file: MakeFile, now: Mapping[str, str], expected: str
) -> None:
    assert notes(calibration_file, CPU, CPU | now) == (Note("my-cpu", expected, True),)


@pytest.mark.parametrize(
    "now",
    [
        {"software.libraries.scipy": "1.18.0"},
        {"software.libraries.numpy": "2.5.0"},
        {"software.silicost": "0.2.0"},
        {"software.python": "CPython 3.12.1"},
        {"software.variables.CUDA_VISIBLE_DEVICES": "0"},
        {"memory.total_bytes": "64000000512"},
    ],
)
def test_what_does_not_bear_on_the_runtime_is_no_doubt(calibration_file: MakeFile, now: Mapping[str, str]) -> None:
    assert notes(calibration_file, CPU, CPU | now) == ()


def test_a_library_that_is_not_here_is_no_doubt(calibration_file: MakeFile) -> None:
    now = {name: text for name, text in CPU.items() if name != "software.libraries.torch"}
    assert notes(calibration_file, CPU, now) == ()


@pytest.mark.parametrize(("more", "old"), [(OLD_DAYS, False), (OLD_DAYS + 1, True)])
def test_age(calibration_file: MakeFile, more: int, old: bool) -> None:
    made = datetime.date(2026, 11, 20)
    found = notes(calibration_file, CPU, CPU, today=made + datetime.timedelta(days=more))
    assert found == ((Note("my-cpu", f"made {more} days ago, on 2026-11-20", True),) if old else ())


def test_a_file_without_an_environment_has_the_age_of_its_fits(calibration_file: MakeFile) -> None:
    assert notes(calibration_file, {}, CPU | NEW_CPU) == ()
    later = TODAY + datetime.timedelta(days=200)
    assert [note.text for note in notes(calibration_file, {}, CPU, today=later)] == ["made 200 days ago, on 2026-11-25"]


def test_a_law_that_had_fewer_parameters(calibration_file: MakeFile) -> None:
    free = next(p.name for p in law_of("cpu").parameters if p.free and "gemm" in p.families)
    (note,) = notes(calibration_file, CPU, CPU, without=free)
    assert note.doubt
    assert note.text.startswith(f"made for another cpu law of silicost 0.1.0, without {free}: class priors stand in")


def on_gpu(calibration_file: MakeFile, now: Mapping[str, str]) -> list[tuple[str, bool]]:
    """Notes on a calibration of a GPU without entries."""
    path = calibration_file(device="h100-sxm-80gb", brings=False, environment=GPU)
    head = path.read_text().split("[[calibrations]]")[0]
    path.write_text(f"calibrations = []\n{head}")
    use_calibration(path)
    found = notes_on({"h100-sxm-80gb": ["torch-eager-2.4"]}, Environment.from_texts(now), TODAY)
    return [(note.text, note.doubt) for note in found["h100-sxm-80gb"]]


ELSEWHERE = ("made on NVIDIA H100, on 2026-11-20; this machine is another one", False)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", []),
        ("NVIDIA H100", "NVIDIA A100", [ELSEWHERE]),
        (GPU["accelerators"], "[]", [ELSEWHERE]),
        ("570.1", "580.2", [("made with other software: NVIDIA driver (570.1 then, 580.2 now)", True)]),
        ("700.0", "400.0", [("made under other settings: power limit of GPU 0 (700 W then, 400 W now)", True)]),
    ],
    ids=["same", "other GPU", "no GPU", "driver", "limit"],
)
def test_gpus(calibration_file: MakeFile, old: str, new: str, expected: list[tuple[str, bool]]) -> None:
    changed = {name: text.replace(old, new) if old else text for name, text in GPU.items()}
    assert on_gpu(calibration_file, changed | {"memory.total_bytes": "1"}) == expected


def test_another_cpu_beside_the_gpu_is_named(calibration_file: MakeFile) -> None:
    (note,) = on_gpu(calibration_file, GPU | {"processor.model": "other"})
    assert note[0].endswith("differs here: CPU (AMD EPYC 9654 then, other now)")


def test_results_carry_the_notes(calibration_file: MakeFile) -> None:
    use_calibration(calibration_file(environment=CPU))
    scenario = inference_scenario("smollm-135m", "my-cpu", batch=1, isl=8, osl=2)
    plain = simulate(scenario)
    result, found = with_notes(plain, scenario, Environment.from_texts(CPU), TODAY)
    (row,) = result.provenance[len(plain.provenance) :]
    assert (row.what, row.value) == ("calibration my-cpu", "AMD EPYC 9654, 4 cores, on 2026-11-20")
    assert (row.origin, row.mark, found) == ("this machine, as it is now", "calibrated", ())
    assert result.warnings == plain.warnings
    now = Environment.from_texts(CPU | {"clocks.governor": "powersave"})
    result, found = with_notes(plain, scenario, now, TODAY + datetime.timedelta(days=400))
    assert [note.doubt for note in found] == [True, True]
    assert result.warnings[len(plain.warnings) :] == tuple(map(str, found))
    assert all(note.text in result.provenance[-1].origin for note in found)


def test_without_ones_own_nothing_is_read(calibration_file: MakeFile, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(staleness, "read_environment", lambda **_: read.append("read") or Environment())
    scenario = inference_scenario("smollm-135m", "h100-sxm-80gb", batch=1, isl=8, osl=2)
    plain = simulate(scenario)
    assert with_notes(plain, scenario) == (plain, ())
    use_calibration(calibration_file())
    own = inference_scenario("smollm-135m", "my-cpu", batch=1, isl=8, osl=2)
    result, found = with_notes(plain, own)
    assert (found, read) == ((), [])
    assert result.provenance[-1].origin == "its file does not say on which machine"
    use_calibration(calibration_file("with.toml", environment=CPU))
    with_notes(plain, own)
    assert read == ["read"]


def test_reading_this_machine_loads_no_torch_and_asks_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    loaded = "torch" in sys.modules
    here = environment_here("cpu")
    assert ("torch" in sys.modules) == loaded
    assert here.accelerators_missing == "not asked"
    assert here.software.libraries["numpy"]


def test_a_broken_date(calibration_file: MakeFile) -> None:
    use_calibration(calibration_file("date.toml", environment=CPU | {"date": "yesterday"}))
    with pytest.raises(InputError, match=r"date 'yesterday' is none"):
        notes_on({"my-cpu": []}, Environment(), TODAY)


def test_what_was_calibrated_in_words() -> None:
    two = GPU["accelerators"].replace("}]", '},{"name":"NVIDIA H100"}]')
    assert made_on(Environment.from_texts(GPU | {"accelerators": two}), "gpu") == "2 x NVIDIA H100, on 2026-11-20"
    assert made_on(Environment.from_texts(CPU | {"allowance.quota_cores": "1.5"}), "cpu").startswith(
        "AMD EPYC 9654, 1.5 cores"
    )
    assert made_on(Environment(), "cpu") == ""
