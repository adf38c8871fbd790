"""Which differences between two environments put a calibration in doubt."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hardware_specs.errors import InputError
from simulator.calibration.machine.accelerators import read_accelerators
from simulator.calibration.machine.drift import Difference, age_days, differences, doubts
from simulator.calibration.machine.environment import Environment, read_environment
from simulator.calibration.machine.nvml import Nvml
from simulator.calibration.machine.software import Blas

TODAY = datetime.date(2026, 11, 25)
replace = msgspec.structs.replace


@pytest.fixture
def here(xeon: Path) -> Environment:
    return read_environment(xeon, environ={}, today=TODAY)


def with_part(environment: Environment, part: str, **changes: Any) -> Environment:
    return replace(environment, **{part: replace(getattr(environment, part), **changes)})


def test_nothing_differs_from_itself(here: Environment) -> None:
    assert differences(here, here) == ()
    assert differences(here, Environment.from_texts(here.as_texts()), "gpu") == ()
    assert doubts(here, here, TODAY) == ()


@pytest.mark.parametrize(
    ("part", "changes", "kind", "name", "then", "now"),
    [
        ("processor", {"model": "AMD EPYC"}, "machine", "CPU", "Intel(R) Xeon(R) Platinum 8480+", "AMD EPYC"),
        ("allowance", {"physical_cores": 4}, "machine", "cores in use", "8", "4"),
        ("memory", {"total_bytes": 1_200_000_000_000}, "machine", "memory", "1.081 TB", "1.2 TB"),
        ("processor", {"microcode": "0x1"}, "software", "microcode", "0x2b000603", "0x1"),
        ("clocks", {"governor": "powersave"}, "settings", "governor", "performance", "powersave"),
        ("clocks", {"boost": False}, "settings", "boost", "on", "off"),
        ("memory", {"huge_pages": "always"}, "settings", "transparent huge pages", "madvise", "always"),
        ("allowance", {"quota_cores": 1.5}, "settings", "CPU quota", "none", "1.5 cores"),
        ("allowance", {"memory_limit_bytes": 10**9}, "settings", "memory limit", "none", "1 GB"),
        ("software", {"variables": {"OMP_NUM_THREADS": "1"}}, "settings", "OMP_NUM_THREADS", "not set", "1"),
    ],
)
def test_each_difference_is_told(
    here: Environment, part: str, changes: dict[str, Any], kind: Any, name: str, then: str, now: str
) -> None:
    other = with_part(here, part, **changes)
    assert differences(here, other) == (Difference(kind, name, then, now),)
    assert differences(other, here) == (Difference(kind, name, now, then),)


def test_software_that_was_there(here: Environment) -> None:
    then = with_part(
        here, "software", libraries={"numpy": "2.4.6", "torch": "2.13.0"}, blas=(Blas("numpy", "mkl", "1"),)
    )
    now = with_part(here, "software", libraries={"numpy": "2.5.0", "numba": "0.68"}, blas=(Blas("numpy", "mkl", "2"),))
    assert differences(then, now) == (
        Difference("software", "numpy", "2.4.6", "2.5.0"),
        Difference("software", "torch", "2.13.0", "not installed"),
        Difference("software", "BLAS of numpy", "mkl 1", "mkl 2"),
    )


def test_what_one_side_does_not_know_is_no_difference(here: Environment) -> None:
    blank = replace(Environment(), software=replace(here.software, blas=(), torch={}))
    assert differences(here, blank) == () == differences(blank, here)
    torn = with_part(here, "software", libraries={"torch": "2.13.0"}, variables={"OMP_NUM_THREADS": "1"})
    assert differences(torn, Environment()) == () == differences(Environment(), torn)
    known = with_part(here, "software", blas=(Blas("numpy", "openblas", "1", "pthreads", "SkylakeX", 8),))
    unknown = with_part(here, "software", blas=(Blas("numpy", "openblas", "1"),))
    assert differences(known, unknown) == () == differences(unknown, known)


def test_small_changes_do_not_matter(here: Environment) -> None:
    other = with_part(here, "memory", total_bytes=int(here.memory.total_bytes or 0) * 99 // 100, available_bytes=5)
    other = replace(with_part(other, "clocks", current_hz=1e9), kernel="6.8.0-51-generic", date="2026-11-20")
    other = with_part(other, "software", python=here.software.python + ".1")
    assert differences(here, other) == ()


def test_gpus_count_for_gpus_only(here: Environment, nvml_of: Any, h100: dict[str, Any]) -> None:
    system = {"nvmlSystemGetDriverVersion": "550.54"}
    then = replace(here, accelerators=read_accelerators(Nvml(nvml_of(h100, **system)), {}))
    capped = h100 | {"EnforcedPowerLimit": 500000, "CurrentClocksEventReasons": 0, "ClockInfo": {1: 345, 2: 1593}}
    now = replace(here, accelerators=read_accelerators(Nvml(nvml_of(capped, nvmlSystemGetDriverVersion="570.1")), {}))
    assert differences(then, now, "cpu") == ()
    assert differences(then, now, "gpu") == (
        Difference("software", "NVIDIA driver", "550.54", "570.1"),
        Difference("settings", "power limit of GPU 0", "700 W", "500 W"),
    )


def test_age() -> None:
    assert age_days(Environment(date="2026-11-20"), TODAY) == 5
    assert age_days(Environment(), TODAY) is None
    with pytest.raises(InputError, match="'yesterday'"):
        age_days(Environment(date="yesterday"), TODAY)


def test_doubts_are_sentences(here: Environment) -> None:
    then = with_part(replace(here, date="2026-01-01"), "processor", model="AMD EPYC")
    then = with_part(then, "software", libraries=dict.fromkeys("abcdef", "1"))
    now = with_part(here, "software", libraries=dict.fromkeys("abcdef", "2"))
    assert doubts(then, now, TODAY) == (
        "calibrated on another machine: CPU was AMD EPYC, is Intel(R) Xeon(R) Platinum 8480+",
        "calibrated with other software: a was 1, is 2; b was 1, is 2; c was 1, is 2; d was 1, is 2; and 2 more",
        "calibrated 328 days ago, on 2026-01-01",
    )
    assert len(doubts(then, now, TODAY, old_days=400)) == 2
