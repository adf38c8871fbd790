"""What a designer decides, what is known of silicon, and what follows: frozen records."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from hardware_specs.facts import Bytes, BytesPerSecond, Dimension, Fact, Hertz, Number, Usd

Area = Annotated[Fact, Dimension("m2")]
Energy = Annotated[Fact, Dimension("j")]
EnergyPerByte = Annotated[Fact, Dimension("j_per_byte")]

DesignClass = Literal["tpu", "asic"]
Reach = Literal["board", "package"]
NO_MEMORY = "none"
"""``Design.memory`` of a chip whose weights and caches live in its own SRAM."""


class Design(msgspec.Struct, frozen=True):
    """An accelerator as its designer describes it.

    ``arrays`` systolic arrays of ``array_rows`` x ``array_cols`` cells run at ``clock_hz``; ``rates`` says how many
    products of a dtype one cell makes in a cycle. ``vector_lanes`` counts fp32 multiply-add units (0: one for every 64
    cells). ``sram_bytes`` is all software-managed memory on the die.

    ``stacks`` counts HBM stacks, or channels of other memories (32 bits of GDDR and LPDDR, 64 of DDR); ``stack_bytes``
    and ``stack_bytes_per_s`` replace what the generation usually has, ``sram_bytes_per_s`` what the units can take in.
    ``links`` ports of the link ``link`` carry ``link_bytes_per_s`` each way; ``link_reach`` "package" is for neighbours
    on the same package or wafer. ``max_...`` are budgets; ``gross_margin`` is the share of the price above unit cost.
    """

    device_class: DesignClass
    node: str
    clock_hz: float
    arrays: int
    array_rows: int
    array_cols: int
    sram_bytes: float
    memory: str
    rates: dict[str, float]
    id: str = "design"
    name: str = ""
    vector_lanes: int = 0
    sram_bytes_per_s: float | None = None
    stacks: int = 0
    stack_bytes: float | None = None
    stack_bytes_per_s: float | None = None
    links: int = 0
    link: str = ""
    link_bytes_per_s: float = 0.0
    link_reach: Reach = "board"
    pcie_generation: int = 5
    pcie_lanes: int = 16
    max_area_mm2: float | None = None
    max_power_w: float | None = None
    max_cost_usd: float | None = None
    gross_margin: float | None = None
    default_runtime: str = ""

    @property
    def cells(self) -> int:
        """Cells of all arrays."""
        return self.arrays * self.array_rows * self.array_cols

    @property
    def lanes(self) -> int:
        """fp32 multiply-add units beside the arrays."""
        return self.vector_lanes or max(1, self.cells // CELLS_PER_LANE)

    @property
    def sram_resident(self) -> bool:
        """Whether weights and caches live on the die."""
        return self.memory == NO_MEMORY


CELLS_PER_LANE = 64
"""Cells for each vector lane where a design does not say: the median of TPU v1 to v4 and LPU v1 (256, 16, 32, 64, 64,
80)."""


class Node(msgspec.Struct, frozen=True):
    """A process node.

    ``logic`` is in million transistors per mm2, ``energy`` what switching costs beside 7nm, ``defects`` per cm2.
    ``serdes`` names the entry of ``Coefficients.links`` whose lanes such chips have.
    """

    logic: Number
    bitcell: Area
    energy: Number
    max_clock: Hertz
    wafer: Usd
    defects: Number
    serdes: str


class Product(msgspec.Struct, frozen=True):
    """One cell of an array that makes one product of a dtype in a cycle and adds it up, in 7nm."""

    area: Area
    energy: Energy


class MemoryKind(msgspec.Struct, frozen=True):
    """One HBM stack, or one channel of another memory; ``energy`` is that of memory, interface and controller.

    ``phy`` does not shrink with the node, the ``controller`` [million transistors] does. ``edge_mm`` is the length of
    die edge that it takes; ``footprint`` its place on the interposer, None where it stands on the board.
    """

    bandwidth: BytesPerSecond
    capacity: Bytes
    phy: Area
    controller: Number
    energy: EnergyPerByte
    edge_mm: Number
    usd_per_gb: Number
    footprint: Area | None = None


class LinkPhy(msgspec.Struct, frozen=True):
    """What ``bandwidth`` each way costs on the die; ``controller`` is in million transistors."""

    bandwidth: BytesPerSecond
    phy: Area
    energy: EnergyPerByte
    controller: Number | None = None


class HostPhy(msgspec.Struct, frozen=True):
    """One PCIe lane; ``controller`` is in million transistors."""

    phy: Area
    controller: Number


class Die(msgspec.Struct, frozen=True):
    """How blocks become a die.

    ``shared_share`` and ``resident_share`` are bitcells over SRAM area: of memory that all units share, as chips with
    DRAM have, and of memory beside the units that use it. ``rest_share`` of the die is in no block: networks, control,
    clocks, test, gaps. ``lane`` is in million transistors. Stacks stand along the long edges of the die (``sides`` of
    them) and may hang over its corners by ``overhang_mm``.
    """

    shared_share: Number
    resident_share: Number
    rest_share: Number
    lane: Number
    reticle_width_mm: Number
    reticle_height_mm: Number
    sides: Number
    overhang_mm: Number
    interposer_reticles: Number


class Switching(msgspec.Struct, frozen=True):
    """Where power goes: ``datapath`` multiplies the bare energy of math, ``sram_busy`` is the share of the on-chip
    bandwidth in use at TDP, ``sram`` the energy of its bytes in 7nm, ``lane`` of one fp32 multiply-add in 7nm."""

    datapath: Number
    sram_busy: Number
    sram: EnergyPerByte
    lane: Energy
    static_w_per_mm2: Number


class Cost(msgspec.Struct, frozen=True):
    """From wafers to parts: yield = (1 + area x defects / clusters)^-clusters."""

    wafer_mm: Number
    clusters: Number
    test_share: Number
    interposer_wafer: Usd
    interposer_defects: Number
    interposer_spread: Number
    bonding_yield: Number
    substrate_usd_per_mm2: Number
    substrate_spread: Number


class Errors(msgspec.Struct, frozen=True):
    """Standard deviations of the logarithm of estimate over published, on chips that set no coefficient."""

    area_sd: Number
    tdp_sd: Number


class Coefficients(msgspec.Struct, frozen=True):
    """All that estimates rest on."""

    nodes: dict[str, Node]
    products: dict[str, Product]
    memories: dict[str, MemoryKind]
    links: dict[str, LinkPhy]
    hosts: dict[str, HostPhy]
    die: Die
    switching: Switching
    cost: Cost
    errors: Errors


class Reason(msgspec.Struct, frozen=True):
    """Why a design cannot be made, or not within its budget: a short code and a sentence."""

    code: str
    text: str


class Estimate(msgspec.Struct, frozen=True):
    """What a design would be: areas [mm2] and powers [W] by block, limits, and the cost of a unit [USD].

    ``area_mm2`` adds up to ``die_area_mm2``, ``power_w`` to ``tdp_w``, ``cost_usd`` to ``unit_cost_usd``. The bands
    hold 80% of real chips. ``stack_sites`` is how many stacks or channels the die's edges take.
    """

    area_mm2: dict[str, float]
    power_w: dict[str, float]
    cost_usd: dict[str, float]
    die_area_mm2: float
    die_area_band_mm2: tuple[float, float]
    tdp_w: float
    tdp_band_w: tuple[float, float]
    stack_sites: int
    package_area_mm2: float
    dies_per_wafer: int
    die_yield: float
    unit_cost_usd: float
    reasons: tuple[Reason, ...] = ()

    @property
    def feasible(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons
