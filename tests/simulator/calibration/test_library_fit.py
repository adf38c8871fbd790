"""Collective libraries: values put into synthetic rows come back, and the file that is written is a library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError, UnknownName
from hardware_specs.facts import Mark
from simulator.calibration.library_fit import (
    fit_library,
    free_values,
    library_samples,
    library_text,
    write_library,
)
from simulator.calibration.samples import Measurement
from simulator.kernels.collectives import Library, collective_seconds
from simulator.network.libraries import library_on
from workloads.collectives import catalogue
from workloads.operators import OpKind, collective

US = 1e-6
DEVICE = load_device("a100-sxm-80gb")
SIZES = [float(2**k) for k in range(3, 31)]
TRUE = {"setup": 14 * US, "simple_efficiency": 0.7, "ll128_efficiency": 0.3, "simple_start": 9 * US}
PAIRS = {"pair_start": 5 * US, "pair_efficiency": 0.6, "send_efficiency": 0.8}


def rows(
    values: dict[str, float], kinds: tuple[OpKind, ...], counts: tuple[int, ...] = (4, 8), noise: float = 0.0,
    sizes: list[float] = SIZES, variant: str = "out-of-place",
) -> list[Measurement]:  # fmt: skip
    """Rows as of nccl-tests, timed by the law of NCCL with other ``values``."""
    found, rng = [], np.random.default_rng(1)
    for count in counts:
        blank = [
            Measurement(
                "nccl-tests", collective("x", kind, size, count, ""), 1.0, 1.0, 1.0, variant=variant, source="log.txt"
            )
            for kind in kinds
            for size in sizes
        ]
        sample = library_samples(blank, DEVICE, "nccl")[0]
        library: Library = sample.group.library._replace(**values)
        seconds = collective_seconds(
            sample.kinds, sample.message_bytes, sample.group.inner, sample.group.outer, library
        )
        seconds *= np.exp(noise * rng.standard_normal(len(seconds)))
        for each, time_s in zip(blank, seconds.tolist(), strict=True):
            found.append(
                Measurement(each.probe, each.operator, time_s, time_s, time_s, variant=variant, source=each.source)
            )
    return found


RINGS = (OpKind.ALL_REDUCE, OpKind.ALL_GATHER, OpKind.REDUCE_SCATTER)
EVERY = (*RINGS, OpKind.ALL_TO_ALL, OpKind.SEND_RECV)


@pytest.mark.parametrize(("noise", "close"), [(0.0, 2e-3), (0.03, 0.1)])
def test_values_are_recovered(noise: float, close: float) -> None:
    fit = fit_library(rows({**TRUE, **PAIRS}, EVERY, noise=noise), DEVICE)
    assert set(fit.values) == {*TRUE, *PAIRS}
    for name, value in {**TRUE, **PAIRS}.items():
        assert fit.values[name] == pytest.approx(value, rel=close), name
    assert fit.groups == ((4, 1), (8, 1)) and fit.sources == ("log.txt",)
    assert [size for size, _ in fit.left_out] == SIZES
    assert fit.error[0] < 0.005 + 1.2 * noise


def test_only_values_that_rows_show_are_fitted() -> None:
    def names(kinds: tuple[OpKind, ...], sizes: list[float]) -> set[str]:
        samples = library_samples(rows({}, kinds, sizes=sizes), DEVICE, "nccl")
        return {free.name for free in free_values(samples, DEVICE.id)}

    assert names(RINGS, SIZES[:8]) == {"setup"}
    assert names(RINGS, SIZES[-4:]) == {"simple_efficiency"}
    assert names((OpKind.SEND_RECV,), SIZES) == {"pair_start", "send_efficiency"}
    assert names((OpKind.ALL_TO_ALL,), SIZES[-2:]) == {"pair_efficiency"}
    with pytest.raises(InputError, match="show no value of a library; measure from 8 bytes"):
        fit_library(rows({}, (OpKind.ALL_TO_ALL,), sizes=[2.0**20]), DEVICE)


def test_switches_that_reduce_have_a_value_of_their_own() -> None:
    h200 = load_device("h200-sxm-141gb")
    made = rows({}, (OpKind.ALL_REDUCE,), counts=(8,))
    assert "in_switch_efficiency" in {free.name for free in free_values(library_samples(made, h200, "nccl"), h200.id)}
    assert "in_switch_efficiency" not in {free.name for free in free_values(library_samples(made, DEVICE, "nccl"), "x")}


def test_nodes_of_the_rows_count() -> None:
    made = rows({"network_simple_efficiency": 0.85}, RINGS, counts=(16,), variant="out-of-place nodes=2")
    samples = library_samples(made, DEVICE, "nccl")
    assert [(s.group.inner.size, s.group.outer.size) for s in samples] == [(8.0, 2.0)]
    fit = fit_library(made, DEVICE)
    assert fit.values["network_simple_efficiency"] == pytest.approx(0.85, rel=0.01)
    assert fit.groups == ((16, 2),)


def test_a_value_that_rows_only_bound_moves_no_further_than_it_must() -> None:
    # Simple is never taken beside LL128, which NVLink bounds, below some 0.67 of the network.
    low, lower = (
        fit_library(rows({"network_simple_efficiency": value}, RINGS, (16,), variant="nodes=2"), DEVICE)
        for value in (0.55, 0.3)
    )
    assert set(low.values) == {"setup", "network_simple_efficiency"} and low.error[1] < 1e-3
    assert (
        0.6
        < low.values["network_simple_efficiency"]
        == pytest.approx(lower.values["network_simple_efficiency"], rel=0.02)
    )


def test_the_file_is_a_library_of_the_users_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = fit_library(rows(TRUE, RINGS), DEVICE)
    text = library_text(fit, id="nccl-lab", name="NCCL 2.28 of the lab", date="2026-11-25")
    path = write_library(tmp_path, "nccl-lab", text)
    assert path == tmp_path / "collectives" / "nccl-lab.toml"
    monkeypatch.setenv("SILICOST_DATA_DIR", str(tmp_path))
    fresh = catalogue.Catalogue("collective", catalogue.CollectiveLibrary, catalogue._CATALOGUE.folder)
    monkeypatch.setattr(catalogue, "_CATALOGUE", fresh)
    library_on.cache_clear()
    try:
        library, nccl = catalogue.load_library("nccl-lab"), catalogue.load_library("nccl")
        there = library_on("nccl-lab", "scale-up", "nvlink3", DEVICE.id)
        elsewhere = library_on("nccl-lab", "scale-up", "nvlink4", "h100-sxm-80gb")
    finally:
        library_on.cache_clear()
    assert library.flat_ring == nccl.flat_ring and library.values == nccl.values
    for name, value in fit.values.items():
        assert getattr(there, name) == pytest.approx(value, rel=1e-3)
        fact = library.on[DEVICE.id][name]
        assert fact.mark is Mark.CALIBRATED and fact.fit is not None
        assert (fact.fit.id, fact.fit.devices, fact.fit.sources) == ("nccl-lab", (DEVICE.id,), ("log.txt",))
    assert elsewhere == library_on("nccl", "scale-up", "nvlink4", "h100-sxm-80gb")


def test_the_base_cannot_be_hidden_and_must_exist() -> None:
    fit = fit_library(rows(TRUE, RINGS), DEVICE)
    with pytest.raises(InputError, match="must differ from 'nccl'"):
        library_text(fit, id="nccl", name="x", date="2026-11-25")
    with pytest.raises(UnknownName, match="unknown collective library 'ncl'"):
        fit_library(rows(TRUE, RINGS), DEVICE, "ncl")


def test_rows_without_collectives_and_odd_groups_are_refused() -> None:
    with pytest.raises(InputError, match="no collective among the samples"):
        fit_library([], DEVICE)
    with pytest.raises(InputError, match="9 ranks on 2 nodes"):
        library_samples(
            [Measurement("x", collective("x", OpKind.ALL_REDUCE, 8.0, 9, ""), 1.0, 1.0, 1.0, variant="nodes=2")],
            DEVICE,
            "nccl",
        )
