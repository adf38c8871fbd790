"""Die area: blocks of arrays, vector lanes, SRAM, interfaces and what no block names.

    die = (arrays + lanes + sram + interfaces) / (1 - rest_share)

Logic shrinks with the density of the node, SRAM with its bitcell, analog interfaces (PHYs) not at all, their
controllers as logic does. The split of PHY and controller, and most of their sizes, are those of Zhang et al.,
LLMCompass, ISCA 2024, doi:10.1109/ISCA59077.2024.00082.
"""

from __future__ import annotations

from hardware_specs.accelerators.records import Coefficients, Design

_REFERENCE = "7nm"
"""Node that areas and energies of products are given for."""
_BITS = 8.0
_MM2 = 1e6
"""mm2 in a m2."""


def area_parts(design: Design, known: Coefficients) -> dict[str, float]:
    """Area by block [mm2]: arrays, vector, sram, memory, links, host, rest."""
    parts = {
        "arrays": arrays_mm2(design, known),
        "vector": design.lanes * known.die.lane.value / known.nodes[design.node].logic.value,
        "sram": sram_mm2(design, known),
        "memory": memory_mm2(design, known),
        "links": links_mm2(design, known),
        "host": host_mm2(design, known),
    }
    rest = known.die.rest_share.value
    parts["rest"] = sum(parts.values()) * rest / (1.0 - rest)
    return parts


def arrays_mm2(design: Design, known: Coefficients) -> float:
    """All cells, each as large as its dearest dtype at its rate makes it [mm2]."""
    shrink = known.nodes[_REFERENCE].logic.value / known.nodes[design.node].logic.value
    cell = max(rate * known.products[dtype].area.value for dtype, rate in design.rates.items())
    return design.cells * cell * _MM2 * shrink


def sram_mm2(design: Design, known: Coefficients) -> float:
    """Bitcells and what surrounds them [mm2]."""
    share = known.die.resident_share if design.sram_resident else known.die.shared_share
    return design.sram_bytes * _BITS * known.nodes[design.node].bitcell.value * _MM2 / share.value


def memory_mm2(design: Design, known: Coefficients) -> float:
    """PHYs and controllers of the memory beside the die [mm2]."""
    if design.sram_resident:
        return 0.0
    kind = known.memories[design.memory]
    controller = kind.controller.value / known.nodes[design.node].logic.value
    return design.stacks * (kind.phy.value * _MM2 + controller)


def links_mm2(design: Design, known: Coefficients) -> float:
    """SerDes and controllers of the links [mm2]."""
    node = known.nodes[design.node]
    phy = known.links["package" if design.link_reach == "package" else node.serdes]
    controller = phy.controller.value / node.logic.value if phy.controller else 0.0
    ports = design.links * design.link_bytes_per_s / phy.bandwidth.value
    return ports * (phy.phy.value * _MM2 + controller)


def host_mm2(design: Design, known: Coefficients) -> float:
    """PCIe [mm2]."""
    if not design.pcie_lanes:
        return 0.0
    lane = known.hosts[str(design.pcie_generation)]
    return design.pcie_lanes * (lane.phy.value * _MM2 + lane.controller.value / known.nodes[design.node].logic.value)
