"""Catalogues: names, nearest names, paths, and the user's own files before the shipped ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardware_specs.catalogue import Catalogue, user_directory
from hardware_specs.devices import device_names, load_device
from hardware_specs.errors import InputError, UnknownName, nearest
from hardware_specs.links import link_names, load_link
from hardware_specs.records import LinkSpec
from hardware_specs.sites import load_site, site_names

SHIPPED = Path(load_device.__code__.co_filename).parent / "data"
LINK = """
name = "{name}"
category = "host"
bandwidth = {{ value = "1 GB/s", assumed = "a test" }}
latency = {{ value = "1 us", assumed = "a test" }}
achieved_fraction = {{ value = 1, assumed = "a test" }}
"""


def links() -> Catalogue[LinkSpec]:
    return Catalogue("link", LinkSpec, SHIPPED / "links")


def test_names_are_sorted_and_load() -> None:
    for names in (device_names(), link_names(), site_names()):
        assert list(names) == sorted(names) and names


def test_unknown_names_tell_the_nearest_and_where_to_look() -> None:
    with pytest.raises(UnknownName) as caught:
        load_device("h100-smx-80gb")
    assert "unknown device 'h100-smx-80gb'; did you mean 'h100-sxm-80gb'" in str(caught.value)
    assert "silicost devices list" in str(caught.value)
    assert caught.value.nearest[0] == "h100-sxm-80gb"
    with pytest.raises(UnknownName, match="unknown site 'mars'"):
        load_site("mars")


def test_nearest_is_blind_to_case_and_silent_when_nothing_is_close() -> None:
    assert nearest("H200-SXM-141GB", device_names())[0] == "h200-sxm-141gb"
    assert nearest("zzzzzz", device_names()) == []


def test_a_path_is_read_and_a_missing_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "wire.toml"
    path.write_text(LINK.format(name="A wire"))
    assert load_link(path).id == "wire"
    assert load_link(str(path)).name == "A wire"
    with pytest.raises(InputError, match=r"none\.toml: no such link file"):
        load_link(tmp_path / "none.toml")


def test_own_files_come_first_and_add_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILICOST_DATA_DIR", str(tmp_path))
    assert user_directory() == tmp_path
    (tmp_path / "links" / "sub").mkdir(parents=True)
    (tmp_path / "links" / "nvlink4.toml").write_text(LINK.format(name="My NVLink"))
    (tmp_path / "links" / "sub" / "string.toml").write_text(LINK.format(name="String"))
    catalogue = links()
    assert catalogue.load("nvlink4").name == "My NVLink"
    assert catalogue.load("string").name == "String"
    assert set(catalogue.names()) == {*link_names(), "string"}
    assert catalogue.load("nvlink5").bandwidth.value == 900e9


def test_without_own_files_the_shipped_ones_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILICOST_DATA_DIR", str(tmp_path / "nowhere"))
    assert links().load("nvlink4").bandwidth.value == 450e9


def test_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILICOST_DATA_DIR", str(tmp_path))
    catalogue = links()
    assert catalogue.load("nvlink4") is catalogue.load("nvlink4")
