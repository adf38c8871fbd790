"""How fast devices look things up, walk through memory and work at one query alone: what no law has an operator for.

=====  ===========================================================================================================
class  a query is worked at by
=====  ===========================================================================================================
cpu    a core, as FAISS and hnswlib spread queries: each step and each vector waits for memory
gpu    a multiprocessor: the vectors of a step are read at once
fpga   a pipeline of all stages, with scan lanes that look up a byte of a code each in a cycle; it does not walk
=====  ===========================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from hardware_specs.errors import InputError
from hardware_specs.records import DeviceSpec
from simulator.devices.model import DeviceModel
from workloads.retrieval.indexes import NAMES, Hnsw, Index, IvfPq


class Rates(NamedTuple):
    """What a device reaches.

    Attributes:
        threads: what is worked at side by side: queries with ``whole_queries``, else pieces of them.
        latency_s: a read that all else of a query waits for [s]; ``access_latency_s`` what each further access pays.
        access_s, step_s: work of a thread around one access and one step (visited set, queue, distance) [s].
        thread_bytes_per_s: bandwidth of one thread [B/s].
        lookups_per_s, entries_per_s: look-ups in small tables and entries made of these, of the whole device [1/s].
        dataflow: stages work at the same time, each at other queries.
    """

    threads: float
    latency_s: float
    access_latency_s: float
    access_s: float
    step_s: float
    thread_bytes_per_s: float
    lookups_per_s: float
    entries_per_s: float
    whole_queries: bool = False
    dataflow: bool = False


_MEMORY_S: Final = 1.1e-7
"""Latency of DRAM of a server CPU. Assumed: pointer chases of Graviton 3, Zen 3 and 4 and Sapphire Rapids lie between
95 and 125 ns."""
_CACHE_S: Final = 2.5e-8
"""Latency of a last-level cache. Assumed: 15 to 35 ns on the same."""
_LINES_IN_FLIGHT: Final = 23.0
"""Lines that a core has under way, prefetchers included: one thread of FAISS 1.15 scans lists of whole vectors at 13 to
14 GB/s on a core of an EPYC of the Zen 4 generation."""
_LINE_BYTES: Final = 64.0
_ACCESS_CYCLES: Final = 220.0
"""Cycles of a core around one distance of a graph search: 100 ns each on the same core, of vectors of 1 KiB that the
cache holds, less what reading them takes."""
_LOOKUPS_PER_CYCLE: Final = 0.35
"""Look-ups of a core: 0.72 to 0.81 ns a byte of codes of 32 and 64 bytes on the same core at about 3.7 GHz (1.3 ns of
codes of 8 and 16)."""
_ENTRIES_PER_CYCLE: Final = 4.0
"""Table entries that a core adds up in a cycle. Assumed: half of a vector of 8 lanes."""
_CLOCK_HZ: Final = 2.5e9
"""Clock of a core whose datasheet is silent. Assumed."""


def _cpu(spec: DeviceSpec, held: float) -> Rates:
    cores = spec.compute.units.value if spec.compute.units else 1.0
    clocks = [fact.value for fact in (spec.compute.clock_base, spec.compute.clock_boost) if fact]
    clock = sum(clocks) / len(clocks) if clocks else _CLOCK_HZ
    latency = held * _CACHE_S + (1.0 - held) * _MEMORY_S
    return Rates(
        cores, latency, latency, _ACCESS_CYCLES / clock, 0.0, _LINES_IN_FLIGHT * _LINE_BYTES / _MEMORY_S,
        cores * clock * _LOOKUPS_PER_CYCLE, cores * clock * _ENTRIES_PER_CYCLE, whole_queries=True,
    )  # fmt: skip


_STEP_CYCLES: Final = 10_600.0
"""Cycles of a multiprocessor for one step of a graph search, reads included: 4.2 us on an L40S at 2.52 GHz, from
451,904 queries/s at ef 64 of GpuIndexHNSW in FAISS (facebookresearch/faiss, issue 5458, 2026; 8-bit vectors)."""
_GPU_LOOKUPS: Final = 5.5
"""Look-ups of a multiprocessor in a cycle: 32 threads that look up at random in 32 banks wait for the fullest, which
has 3.5 of them on average, so 9 at most. From FAISS on a Titan X (benchs/README.md, IVF4096,PQ64 and
OPQ8_32,IVF262144,PQ8): what further probes take, look-ups, entries and selection told apart."""
_GPU_CLOCK_HZ: Final = 1.7e9
"""As in the law of GPUs."""


def _gpu(spec: DeviceSpec, held: float) -> Rates:
    units = spec.compute.units.value if spec.compute.units else 1.0
    clock = spec.compute.clock_boost.value if spec.compute.clock_boost else _GPU_CLOCK_HZ
    rate = units * clock * _GPU_LOOKUPS
    return Rates(units, 0.0, 0.0, 0.0, _STEP_CYCLES / clock, math.inf, rate, rate)


_PLACED_CLOCK: Final = 140.0 / 300.0
"""Clock of a placed design over that of the datasheet: FANNS runs at 140 MHz on cards of 300 MHz."""
_LANES_OF_A_LUT: Final = 432.0 / 1_304_000.0
"""Scan lanes for each LUT of the chip: 27 units of 16 look-ups a cycle on a card of 1.3 million."""
_ENTRIES_OF_A_LUT: Final = 2.76 / 1_304_000.0
"""Table entries a cycle for each LUT of the chip: 118,784 in 43,088 cycles on the same. All three: Jiang et al., FANNS,
SC 2023, arXiv:2306.11182; design files of WenqiJiang/SIGMOD-2022-submission-Fanns at 1dc7ecb."""
_LUTS: Final = 1_304_000.0
"""Of a chip whose datasheet is silent. Assumed: that of the cards that FANNS ran on."""
_FPGA_CLOCK_HZ: Final = 3.0e8


def _fpga(spec: DeviceSpec, held: float) -> Rates:
    luts = spec.logic.luts.value if spec.logic.luts else _LUTS
    clock = (spec.compute.clock_boost.value if spec.compute.clock_boost else _FPGA_CLOCK_HZ) * _PLACED_CLOCK
    lanes, entries = luts * _LANES_OF_A_LUT, luts * _ENTRIES_OF_A_LUT
    return Rates(1.0, 0.0, 0.0, 0.0, 0.0, math.inf, lanes * clock, entries * clock, dataflow=True)


def _only_products(spec: DeviceSpec, held: float) -> Rates:
    return Rates(1.0, 0.0, 0.0, 0.0, 0.0, math.inf, math.inf, math.inf)


_RATES: Final[dict[str, Callable[[DeviceSpec, float], Rates]]] = {"cpu": _cpu, "gpu": _gpu, "fpga": _fpga}
_CANNOT: Final[dict[str, tuple[type, ...]]] = {"fpga": (Hnsw,), "tpu": (Hnsw, IvfPq), "asic": (Hnsw, IvfPq)}
"""Searches of which nothing is known on devices of a class."""


def rates_of(model: DeviceModel, index: Index) -> Rates:
    """The rates of the device of ``model`` in the search of ``index``.

    Raises:
        InputError: nothing is known of such searches on devices of this class.
    """
    spec = model.spec
    cannot = _CANNOT.get(spec.device_class, ())
    if isinstance(index, cannot):
        can = ", ".join(name for kind, name in NAMES.items() if kind not in cannot)
        raise InputError(
            f"{spec.id}: no rate of {NAMES[type(index)]} searches on devices of class {spec.device_class} is known; "
            f"allowed: {can}"
        )
    held = min(1.0, float(model.record["cache_bytes"]) / index.bytes)
    return _RATES.get(spec.device_class, _only_products)(spec, held)
