"""Calibrations of one's own: they hold from when they are used, and what cannot be priced is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hardware_specs.calibrations import load_calibration
from hardware_specs.devices import device_names, load_device
from hardware_specs.errors import InputError
from simulator.calibration.use import missing_parameters, own_calibration, read_calibration, use_calibration
from simulator.devices.calibrated import choice_of
from simulator.devices.model import compile_device
from simulator.devices.registry import law_of
from simulator.kernels.roofline import TIME
from workloads.graph import columns_of
from workloads.operators import gemm
from workloads.runtimes.catalogue import load_runtime

PRODUCT = columns_of([gemm("x", 64, 2048, 2048, "fp32")])
MakeFile = Callable[..., Path]


def seconds(device: str, runtime: str = "torch-eager-2.4") -> float:
    return float(compile_device(load_device(device), load_runtime(runtime)).cost(PRODUCT)[TIME, 0])


def test_a_file_with_a_device_defines_it(calibration_file: MakeFile) -> None:
    path = calibration_file()
    assert "my-cpu" not in device_names()
    assert own_calibration("my-cpu") is None
    assert use_calibration(path) == "my-cpu"
    assert "my-cpu" in device_names()
    assert load_device("my-cpu").name == "My CPU"
    assert own_calibration("my-cpu") == read_calibration(path)
    chosen = choice_of(load_device("my-cpu"), load_runtime("torch-eager-2.4")).entries
    assert len(chosen) == 8
    assert all(each.own_device and each.own_runtime for each in chosen)


@pytest.mark.parametrize(("device", "brings"), [("my-cpu", True), ("epyc-9654", False), ("epyc-9654", True)])
def test_calibrations_can_be_switched_in_one_process(calibration_file: MakeFile, device: str, brings: bool) -> None:
    """Neither the choice of entries nor the compiled model of the same spec and runtime is an old one."""
    before = None if device == "my-cpu" else seconds(device)
    one, two = (calibration_file(f"{scale}.toml", device=device, brings=brings, scale=scale) for scale in (1.0, 0.5))
    use_calibration(one)
    first = seconds(device)
    use_calibration(two)
    second = seconds(device)
    use_calibration(one)
    assert seconds(device) == first
    assert len({before, first, second}) == 3


def test_entries_without_a_device_leave_the_facts_of_the_device(calibration_file: MakeFile) -> None:
    shipped = load_device("epyc-9654")
    use_calibration(calibration_file(device="epyc-9654", brings=False))
    assert load_device("epyc-9654") is shipped
    use_calibration(calibration_file("whole.toml", device="epyc-9654"))
    assert load_device("epyc-9654").name == "My CPU"


def test_entries_of_a_class_hold_for_devices_without_any(calibration_file: MakeFile) -> None:
    before = seconds("epyc-9654")
    assert use_calibration(calibration_file(device="cpu", brings=False)) == "cpu"
    assert seconds("epyc-9654") != before


def test_a_device_of_ones_own_data_folder_is_ones_own(
    calibration_file: MakeFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hardware_specs import calibrations
    from hardware_specs.calibrations import Calibrations
    from hardware_specs.catalogue import Catalogue

    folder = tmp_path / "data" / "calibrations"
    folder.mkdir(parents=True)
    calibration_file().rename(folder / "my-cpu.toml")
    monkeypatch.setenv("SILICOST_DATA_DIR", str(tmp_path / "data"))
    shipped = calibrations._CATALOGUE.folder
    monkeypatch.setattr(calibrations, "_CATALOGUE", Catalogue("calibration", Calibrations, shipped))
    assert own_calibration("my-cpu") is not None
    assert own_calibration("h100-sxm-80gb") is None
    assert own_calibration("gpu") is None


def test_a_parameter_that_a_device_names_goes_before_the_file(calibration_file: MakeFile) -> None:
    from silicost.scenarios import inference_scenario
    from simulator.prepared import prepare
    from simulator.provenance import provenance_of

    use_calibration(calibration_file())
    free = next(p for p in law_of("cpu").parameters if p.free and "gemm" in p.families and p.dimension == "number")
    wanted = 0.5 * (free.low + free.high)
    changes = {f"device.parameters.{free.name}": f"{wanted:g}"}
    ready = prepare(inference_scenario("smollm-135m", "my-cpu", batch=1, isl=8, osl=2, changes=changes))
    assert ready.model.records[free.name] == pytest.approx(wanted, rel=1e-5)
    rows = {row.path: row for row in provenance_of([ready])}
    assert rows[f"device.parameters.{free.name}"].origin == "set by the user"
    entries = [row for row in provenance_of([ready]) if row.origin.startswith("fit my-cpu-")]
    assert {row.mark for row in entries} == {"calibrated"}
    assert len(entries) == 8


SHARE = next(p for p in law_of("cpu").parameters if p.free and "gemm" in p.families and p.low > 0.0)
LONG = f"\n{SHARE.name} = "

NAME = SHARE.name
BAD = [
    (('"gemm", "batched_gemm"]', '"gem"]'), r"operators: no such name 'gem'; did you mean 'gemm'"),
    (('dtypes = ["bf16"]', 'dtypes = ["bf17"]'), r"dtypes: no such name 'bf17'; did you mean 'bf16'"),
    (('"torch-eager-2.4"]', '"torch-eager-2.5"]'), r"runtimes: no such name 'torch-eager-2.5'; did you mean"),
    ((LONG + '"', LONG + '"x'), rf"{NAME}: 'x.*' is no quantity"),
    ((LONG + '"', LONG + '"99999'), rf"{NAME}: '99999.*' must be from "),
    ((LONG + '"', f'\n{NAME}s = "'), rf"law of silicost .* has no parameter '{NAME}s'; did you mean '{NAME}'"),
    ((LONG + "[", f'\n{NAME} = ["1e9", '), rf"intervals.{NAME} .*: must be two rising quantities"),
    ((LONG + "[", "\nsomething = ["), r"intervals: no such name 'something'"),
    (('\nid = "my-cpu"\ndevice', '\nid = "your-cpu"\ndevice'), r"device.id is 'your-cpu', the id of the file 'my-cpu'"),
    (("[device]", "[devise]"), r"devise: unknown key; did you mean 'device'"),
    (("[device]", "[device"), r"not valid TOML: .*line \d+"),
    (
        ("[device]", '[environment]\n"processor.family" = "x"\n[device]'),
        r"environment: processor.family: 'x' cannot be",
    ),
    (("own = 0.1", "own = nan"), r"own: must be a number, not nan"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message[:24] for _, message in BAD])
def test_what_cannot_be_priced_is_refused(calibration_file: MakeFile, change: tuple[str, str], message: str) -> None:
    use_calibration(calibration_file("good.toml"))
    before = seconds("my-cpu")
    with pytest.raises(InputError, match=rf"bad.toml: .*{message}"):
        use_calibration(calibration_file("bad.toml", scale=0.5, change=change))
    assert seconds("my-cpu") == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nope.toml", r"nope.toml: no such calibration file"),
        ("points.csv", r"must be a .toml file .*; measured points go to 'silicost validate'"),
        ("samples.parquet", r"must be a .toml file .*; samples of a machine become one with 'silicost calibrate fit'"),
        ("mine", r"'.*mine': must be a .toml file as 'silicost calibrate' writes it$"),
        ("folder.toml", r"folder.toml: no such calibration file"),
    ],
)
def test_what_is_no_calibration(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InputError, match=message):
        use_calibration(tmp_path / name)


def test_a_device_that_there_is_not(calibration_file: MakeFile) -> None:
    with pytest.raises(
        InputError, match=r"mine.toml: unknown device 'epyc-965'; did you mean 'epyc-9654'.*no \[device\]"
    ):
        use_calibration(calibration_file(device="epyc-965", brings=False))


def test_a_file_that_changed_is_not_taken_for_the_old_one(calibration_file: MakeFile) -> None:
    use_calibration(calibration_file())
    before = seconds("my-cpu")
    try:
        use_calibration(calibration_file(scale=0.5))
    except InputError as error:
        assert "has changed since" in str(error)
    else:
        assert seconds("my-cpu") != before
        assert load_calibration("my-cpu") == read_calibration(calibration_file(scale=0.5))


def test_parameters_that_an_older_law_did_not_have(calibration_file: MakeFile) -> None:
    whole = read_calibration(calibration_file()).calibrations[0]
    assert missing_parameters(whole, "cpu") == ()
    less = read_calibration(calibration_file("less.toml", without=SHARE.name))
    assert missing_parameters(less.calibrations[0], "cpu") == (SHARE.name,)
