"""The shipped links: complete, plausible, and named as topologies and devices need them."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from hardware_specs.facts import Mark
from hardware_specs.links import link_names, load_link
from hardware_specs.records import LinkSpec, SystemNode

LINKS = [load_link(name) for name in link_names()]
TOPOLOGIES = get_args(get_type_hints(SystemNode)["topology"])


@pytest.mark.parametrize(
    "name",
    [
        "nvlink1", "nvlink2", "nvlink3", "nvlink4", "nvlink5", "nvlink5-nvl72", "nvlink6", "nvlink4-bridge",
        "nvlink-c2c", "pcie3-x16", "pcie4-x8", "pcie4-x16", "pcie5-x8", "pcie5-x16", "pcie6-x16", "pcie7-x16",
        "xgmi-mi250x", "xgmi-mi300x", "xgmi-mi350x", "ici-v2", "ici-v3", "ici-v4", "ici-v5e", "ici-v5p", "ici-v6e",
        "ici-v7x", "tpu-dcn", "neuronlink-v2", "neuronlink-v3", "neuronlink-v4", "gaudi2-roce", "gaudi3-roce",
        "hccs-910b", "xe-link", "upi-sapphire-rapids", "xgmi-socket-genoa", "ib-edr", "ib-hdr", "ib-ndr", "ib-xdr",
        "roce-100g", "roce-200g", "roce-400g", "roce-800g", "efa-v1", "efa-v2", "efa-v3", "efa-v4", "ethernet-1g",
        "ethernet-10g", "ethernet-25g", "ethernet-100g", "cxl2-x16", "cxl3-x16", "on-chip",
    ],
)  # fmt: skip
def test_promised_links_exist(name: str) -> None:
    assert load_link(name).id == name


@pytest.mark.parametrize("link", LINKS, ids=lambda x: x.id)
def test_numbers_are_plausible(link: LinkSpec) -> None:
    assert 1e8 <= link.bandwidth.value <= 2e12
    assert 1e-7 <= link.latency.value <= 1e-4
    assert 0.4 <= link.achieved_fraction.value <= 1.0
    assert link.max_domain is None or link.max_domain.value >= 2
    assert not link.in_network_reduction or link.topology == "switch"
    groups = link.category in ("scale-up", "chip-to-chip", "host")
    assert link.topology in (TOPOLOGIES if groups else (*TOPOLOGIES, "fat-tree"))


def test_pcie_doubles_with_lanes_and_nearly_with_generations() -> None:
    for generation in range(2, 8):
        x4, x8, x16 = (load_link(f"pcie{generation}-x{lanes}").bandwidth.value for lanes in (4, 8, 16))
        assert x16 == pytest.approx(2 * x8) and x8 == pytest.approx(2 * x4)
    for generation in range(3, 8):
        ratio = (
            load_link(f"pcie{generation}-x16").bandwidth.value / load_link(f"pcie{generation - 1}-x16").bandwidth.value
        )
        assert 1.9 < ratio <= 2.05


def test_measured_fractions_are_marked_as_sourced() -> None:
    for name, fraction in (
        ("nvlink3", 0.91),
        ("nvlink4", 0.83),
        ("nvlink5", 0.828),
        ("pcie5-x16", 0.87),
        ("efa-v1", 0.85),
    ):
        fact = load_link(name).achieved_fraction
        assert (fact.value, fact.mark) == (fraction, Mark.SOURCED)
    assert load_link("nvlink1").achieved_fraction.mark is Mark.ASSUMED


def test_only_switches_from_nvlink_4_on_reduce() -> None:
    reducing = {link.id for link in LINKS if link.in_network_reduction and link.id.startswith("nvlink")}
    assert reducing == {"nvlink4", "nvlink5", "nvlink5-nvl72", "nvlink6"}
