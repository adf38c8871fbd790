"""Collective libraries: the shipped files, inheritance, aliases, and what broken files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardware_specs.errors import InputError
from hardware_specs.facts import Mark
from hardware_specs.links import link_names
from simulator.kernels.collectives import Library
from workloads.collectives import catalogue
from workloads.collectives.catalogue import library_named_in, library_names, load_library
from workloads.collectives.record import VALUES, CollectiveLibrary
from workloads.runtimes.catalogue import load_all_runtimes

PLACES = {"host", "scale-up", "scale-out", "a40", *link_names()}


@pytest.mark.parametrize("name", library_names())
def test_shipped_libraries_are_whole_and_plausible(name: str) -> None:
    library = load_library(name)
    assert set(library.values) == set(VALUES)
    assert set(library.on) <= PLACES
    for facts in (library.values, *library.on.values()):
        for value, fact in facts.items():
            if value.endswith("efficiency"):
                assert 0.0 < fact.value <= 1.3, value
            if VALUES[value].dimension == "s":
                longest = 1e-3 if value == "pair_across_start" else 1e-4
                assert fact.value < longest, value
            if value.endswith("share"):
                assert fact.value <= 1.0, value


def test_the_kernel_takes_every_value() -> None:
    assert set(Library._fields) == {*VALUES, "flat_ring"}


def test_every_runtime_has_a_library() -> None:
    assert {runtime.collectives for runtime in load_all_runtimes()} <= set(library_names())


def test_fits_say_which_groups_they_saw() -> None:
    facts = [fact for name in library_names() for fact in load_library(name).values.values()]
    fits = [fact.fit for fact in facts if fact.mark is Mark.CALIBRATED and fact.fit]
    assert fits
    assert all(fit.groups and fit.rows and fit.devices for fit in fits)


def test_a_library_has_what_the_one_has_that_it_is_like() -> None:
    nccl, custom = load_library("nccl"), load_library("custom-all-reduce")
    assert custom.values["ll128_start"] == nccl.values["ll128_start"]
    assert custom.values["one_shot_most"].value > nccl.values["one_shot_most"].value == 0.0
    assert custom.on["nvlink4"]["setup"] == nccl.on["nvlink4"]["setup"]
    assert "one_shot_start" in custom.on["nvlink4"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nccl-2.27.3", "nccl"), ("RCCL 2.22", "nccl"), ("NCCL (torch.distributed, kineto)", "nccl-profiled"),
        ("trtllm-1.0.0 custom all-reduce", "custom-all-reduce"), ("oneccl-2021.17.2", "oneccl"),
        ("jax lax.ppermute in fori_loop", "xla"), ("vLLM 0.19", None), ("inccl", None), ("", None),
    ],
)  # fmt: skip
def test_software_that_names_a_library(text: str, name: str | None) -> None:
    found = library_named_in(text)
    assert (found.id if found else None) == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[values]\nsetup = { value = '3 GB', assumed = 'x' }", "setup: '3 GB' must be of dimension s"),
        ("[values]\nset_up = { value = '3 us', assumed = 'x' }", "unknown value 'set_up'; did you mean 'setup'?"),
        ("[values]\n[on.nvlink4]\nhop = { value = 2, assumed = 'x' }", "on nvlink4: unknown value 'hop'"),
        ("like = 'lab'\n[values]", "like 'lab': leads back to itself"),
        ("like = 'ncl'\n[values]", "unknown collective library 'ncl'; did you mean 'nccl'"),
        ("[values]\nsetup = { value = '3 us', assumed = 'x' }", "missing value 'll128_start'"),
    ],
)
def test_what_broken_files_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    (tmp_path / "collectives").mkdir()
    (tmp_path / "collectives" / "lab.toml").write_text(f"name = 'Lab'\n{text}\n", encoding="utf-8")
    monkeypatch.setenv("SILICOST_DATA_DIR", str(tmp_path))
    shipped = Path(catalogue.__file__).parent / "data"
    monkeypatch.setattr(catalogue, "_CATALOGUE", catalogue.Catalogue("collective", CollectiveLibrary, shipped))
    with pytest.raises(InputError, match=said):
        load_library("lab")
