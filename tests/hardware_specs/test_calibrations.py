"""Calibrations of the user's own: found by name before shipped devices, put first by path, and refused where broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hardware_specs import calibrations
from hardware_specs.calibrations import (
    Calibrations,
    calibration_names,
    calibrations_digest,
    calibrations_of,
    load_calibration,
    own_device,
    own_device_names,
    use_calibration,
)
from hardware_specs.catalogue import Catalogue
from hardware_specs.devices import device_names, load_all_devices, load_device
from hardware_specs.errors import InputError, UnknownName

MakeFile = Callable[..., Path]
ENTRY = 'operators = ["gemm", "batched_gemm"]'


@pytest.fixture
def keep(calibration_file: MakeFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeFile:
    """As ``calibration_file``, into the user's data directory, which is looked through anew."""
    folder = tmp_path / "data" / "calibrations"
    folder.mkdir(parents=True)

    def make(file: str = "my-cpu.toml", **more: object) -> Path:
        written = calibration_file(f"written-{file}", **more).rename(folder / file)
        monkeypatch.setenv("SILICOST_DATA_DIR", str(tmp_path / "data"))
        shipped = calibrations._CATALOGUE.folder
        monkeypatch.setattr(calibrations, "_CATALOGUE", Catalogue("calibration", Calibrations, shipped))
        calibrations_digest.cache_clear()
        return written

    return make


def test_shipped_calibrations_bring_no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILICOST_DATA_DIR", str(tmp_path))
    shipped = calibrations._CATALOGUE.folder
    monkeypatch.setattr(calibrations, "_CATALOGUE", Catalogue("calibration", Calibrations, shipped))
    assert own_device_names() == ()
    assert len(calibration_names()) > 10
    assert all(own_device(name) is None for name in (*calibration_names(), "no-such-device"))


def test_a_device_of_the_user_is_one_of_the_devices(keep: MakeFile) -> None:
    keep()
    assert own_device_names() == ("my-cpu",)
    assert "my-cpu" in device_names()
    assert load_device("my-cpu") == own_device("my-cpu")
    assert load_device("my-cpu").name == "My CPU"
    assert load_device("my-cpu") in load_all_devices()
    assert len(calibrations_of("my-cpu")) == 8
    assert load_device("epyc-9654").id == "epyc-9654"


def test_it_goes_before_a_shipped_device_of_that_name(keep: MakeFile) -> None:
    shipped = load_device("epyc-9654")
    keep("epyc-9654.toml", device="epyc-9654")
    assert load_device("epyc-9654").name == "My CPU" != shipped.name
    assert device_names().count("epyc-9654") == 1


def test_entries_alone_leave_the_device_as_it_is(keep: MakeFile) -> None:
    shipped = load_device("epyc-9654")
    keep("epyc-9654.toml", device="epyc-9654", brings=False)
    assert own_device("epyc-9654") is None
    assert load_device("epyc-9654") == shipped
    assert calibrations_of("epyc-9654")[0].fit.id.startswith("epyc-9654-gemm")


def test_a_file_by_another_name_than_its_device(keep: MakeFile) -> None:
    path = keep("other.toml", device="my-cpu")
    message = rf"^{path}: is of 'my-cpu'; in the data directory the file must be called my-cpu\.toml$"
    with pytest.raises(InputError, match=message):
        load_device("other")
    assert own_device_names() == ()
    with pytest.raises(UnknownName, match="my-cpu"):
        load_device("my-cpu")


def test_a_broken_file_hides_no_other(keep: MakeFile) -> None:
    keep("good-cpu.toml", device="good-cpu")
    broken = keep("my-cpu.toml", change=(ENTRY, "operators = 3"))
    assert own_device_names() == ("good-cpu",)
    assert load_device("good-cpu").id == "good-cpu"
    assert load_device("h100-sxm-80gb").id == "h100-sxm-80gb"
    with pytest.raises(InputError, match=rf"^{broken.name}: calibrations\[0\]\.operators: must be a list, not 3$"):
        load_device("my-cpu")


def test_an_unknown_device_names_the_nearest_of_the_users(keep: MakeFile) -> None:
    keep()
    with pytest.raises(UnknownName, match=r"unknown device 'my-cpux'; did you mean 'my-cpu'"):
        load_device("my-cpux")


def test_a_file_in_use_holds_before_all_others(keep: MakeFile, calibration_file: MakeFile) -> None:
    keep(scale=1.0)
    before = calibrations_digest("my-cpu"), calibrations_of("my-cpu")
    path = calibration_file("elsewhere.toml", scale=0.7)
    assert use_calibration(path) == "my-cpu"
    assert calibrations_digest("my-cpu") != before[0]
    assert calibrations_of("my-cpu") == load_calibration(path).calibrations != before[1]


def test_a_file_that_was_written_anew_is_read_anew(calibration_file: MakeFile) -> None:
    values = []
    for scale in (1.0, 0.7):
        use_calibration(str(calibration_file(scale=scale)))
        values.append((calibrations_of("my-cpu")[0].parameters, calibrations_digest("my-cpu")))
    assert values[0][0] != values[1][0]
    assert values[0][1] != values[1][1]


BROKEN = {
    "no operators": ((ENTRY, "operators = []"), "operators is empty"),
    "a spread that is none": (("own = 0.1", "own = -0.1"), "residuals.own -0.1 must be from 0 to 5"),
    "a wide spread": (("shared = 0.05", "shared = 6.0"), "residuals.shared 6.0 must be from 0 to 5"),
    "ends that fall": (("[-0.3, -0.2, 0.2, 0.3]", "[0.3, -0.2, 0.2, -0.3]"), "must be four rising numbers"),
    "three ends": (("[-0.3, -0.2, 0.2, 0.3]", "[-0.3, 0.2, 0.3]"), "must be four rising numbers"),
    "ends far out": (("[-0.3, -0.2, 0.2, 0.3]", "[-30.0, -0.2, 0.2, 0.3]"), "must be four rising numbers"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_nothing_can_be_priced_with_is_refused(calibration_file: MakeFile, name: str) -> None:
    """What was in use stays."""
    use_calibration(calibration_file("good.toml"))
    before = calibrations_digest("my-cpu")
    change, message = BROKEN[name]
    path = calibration_file("bad.toml", change=change)
    with pytest.raises(InputError) as caught:
        use_calibration(path)
    assert str(caught.value).startswith(f"{path}: calibration my-cpu-gemm-fp32: ")
    assert message in str(caught.value)
    assert calibrations_digest("my-cpu") == before


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: no such calibration file"):
        use_calibration(tmp_path / "none.toml")
