"""Every coefficient is a fact with unit, mark and origin, and the calibrated ones are what the fit gives today."""

from __future__ import annotations

import itertools
import re
import tomllib
from typing import Any

import pytest

from hardware_specs.accelerators.coefficients import DATA, coefficients
from hardware_specs.accelerators.fitting import fit_area, fit_tdp, node_energy
from hardware_specs.accelerators.published import published_chips
from hardware_specs.facts import Mark

FILES = ("coefficients.toml", "published_chips.toml")


def facts(value: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict) and "value" in value:
        return [(path, value)]
    if isinstance(value, dict):
        return [fact for key, part in value.items() for fact in facts(part, f"{path}.{key}")]
    return []


def tables(name: str) -> dict[str, Any]:
    return tomllib.loads((DATA / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FILES)
def test_every_fact_has_one_mark_and_every_source_is_used(name: str) -> None:
    table = tables(name)
    sources, fits = table.pop("sources"), table.pop("fits", {})
    used = set()
    for path, fact in facts(table):
        marks = [mark for mark in Mark if mark in fact or (mark is Mark.SOURCED and "source" in fact)]
        assert len(marks) == 1, path
        used.add(fact.get("source") or fact.get("calibrated"))
        assert len(fact.get("assumed", "long enough")) > 5, path
    assert {*sources, *fits} == used - {None}
    for source in sources.values():
        assert len(source["cite"]) > 20
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", source["date"])


def test_no_bare_number_stands_among_the_coefficients() -> None:
    table = tables("coefficients.toml")
    known = {id(fact) for _, fact in facts(table)}

    def bare(value: Any) -> bool:
        if isinstance(value, dict):
            return id(value) not in known and any(map(bare, value.values()))
        return isinstance(value, (int, float))

    assert not bare({key: part for key, part in table.items() if key not in ("fits", "sources")})


def test_newer_nodes_are_denser_and_no_worse() -> None:
    nodes = coefficients().nodes
    order = sorted(nodes, key=lambda name: -float(name.removesuffix("nm")))
    for old, new in itertools.pairwise(order):
        assert nodes[new].logic.value >= nodes[old].logic.value
        assert nodes[new].energy.value <= nodes[old].energy.value
        assert nodes[new].wafer.value >= nodes[old].wafer.value
        assert nodes[new].bitcell.value <= nodes[old].bitcell.value or (old, new) == ("14nm", "12nm")
        assert nodes[new].serdes in coefficients().links


def test_area_coefficients_are_what_their_chips_give() -> None:
    used = [chip for chip in published_chips() if "area" in chip.facts.used]
    assert {chip.id for chip in used} == set(coefficients().products["bf16"].area.fit.devices)  # type: ignore[union-attr]
    values, known = fit_area(used, coefficients())
    die = coefficients().die
    assert values["shared_share"] == pytest.approx(die.shared_share.value, rel=0.002)
    assert values["resident_share"] == pytest.approx(die.resident_share.value, rel=0.002)
    assert values["rest_share"] == pytest.approx(die.rest_share.value, rel=0.002)
    for dtype, product in coefficients().products.items():
        assert known.products[dtype].area.value == pytest.approx(product.area.value, rel=0.004), dtype


def test_power_coefficients_are_what_their_chips_give() -> None:
    used = [chip for chip in published_chips() if "tdp" in chip.facts.used]
    assert {chip.id for chip in used} == set(coefficients().switching.datapath.fit.devices)  # type: ignore[union-attr]
    values, known = fit_tdp(used, coefficients())
    for name in ("datapath", "sram_busy", "static_w_per_mm2"):
        assert values[name] == pytest.approx(getattr(coefficients().switching, name).value, rel=0.002)
    for name, node in coefficients().nodes.items():
        assert known.nodes[name].energy.value == pytest.approx(node.energy.value, rel=0.002), name


def test_energy_of_a_node_is_a_power_of_its_length() -> None:
    assert node_energy("7nm", 1.5) == 1.0
    assert node_energy("28nm", 1.5) == pytest.approx(8.0)
