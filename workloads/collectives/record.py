"""The record of a collective library, and the values that describe one."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from hardware_specs.facts import AnyFact


class Value(NamedTuple):
    """A value of a library: its dimension, and what it means."""

    dimension: str
    meaning: str


VALUES: Final = {
    # Ring and tree. A hop is relative to the latency of the link, an efficiency to the rate of a plain copy on it.
    "setup": Value("s", "launch and handshake of one collective over LL"),
    "ll128_start": Value("s", "what LL128 needs beyond setup"),
    "simple_start": Value("s", "what Simple needs beyond setup"),
    "ll128_hop": Value("number", "a hop of LL128; one of LL is the latency of the link"),
    "simple_hop": Value("number", "a hop of Simple"),
    "ll_efficiency": Value("number", "rate of LL on the few channels that small messages get"),
    "ll128_efficiency": Value("number", "rate of LL128"),
    "simple_efficiency": Value("number", "rate of Simple on endless messages"),
    "fill": Value("bytes", "F: Simple sends W bytes in pieces, which takes as long as W + 2 sqrt(F W)"),
    "own_share": Value("number", "cost of the 1/n of a message that a rank does not send, in bytes on its link"),
    # The same between nodes.
    "network_ll128_hop": Value("number", "a hop of LL128 between nodes"),
    "network_simple_hop": Value("number", "a hop of Simple between nodes"),
    "network_ll_efficiency": Value("number", "rate of LL between nodes"),
    "network_ll128_efficiency": Value("number", "rate of LL128 between nodes"),
    "network_simple_efficiency": Value("number", "rate of Simple between nodes"),
    # Switches that reduce.
    "in_switch_start": Value("s", "what a reduction in the switch needs beyond setup"),
    "in_switch_efficiency": Value("number", "rate of a reduction in the switch"),
    # All-to-all, and a send with its receive.
    "pair_start": Value("s", "what straight sends need beyond setup"),
    "pair_peer": Value("s", "what each peer after the first adds"),
    "pair_ll_rate": Value("bytes_per_s", "what the one channel of LL carries to a peer"),
    "pair_simple_start": Value("s", "what Simple needs beyond LL, all-to-all"),
    "pair_efficiency": Value("number", "rate of an all-to-all"),
    "pair_own_share": Value("number", "cost of the 1/n that a rank copies to itself, in bytes on its link"),
    "pair_ll_crossing": Value("number", "bytes between nodes for each of an all-to-all over LL"),
    "pair_crossing": Value("number", "the same over Simple: below 1 where tokens are narrowed or cross once"),
    "pair_across_start": Value("s", "what Simple needs beyond pair_simple_start between nodes"),
    "send_simple_start": Value("s", "what Simple needs beyond LL, one send"),
    "send_efficiency": Value("number", "rate of one send"),
    # All-reduce kernels that read and write peer memory; *_most 0: there are none.
    "one_shot_start": Value("s", "a kernel in which every rank reads all tensors"),
    "one_shot_peer": Value("s", "what each peer adds to it"),
    "one_shot_efficiency": Value("number", "its rate"),
    "one_shot_most": Value("bytes", "largest message that it takes"),
    "two_shot_start": Value("s", "a kernel in which every rank sums its part, then gathers the others"),
    "two_shot_peer": Value("s", "what each peer adds to it"),
    "two_shot_efficiency": Value("number", "its rate"),
    "two_shot_most": Value("bytes", "largest message that it takes"),
    # How it is run and measured.
    "arrival": Value("s", "a collective that lasts less waits so long for its last rank"),
}
"""All values of a library, each with a mark of its own in the files."""


class CollectiveLibrary(msgspec.Struct, frozen=True):
    """One library, or one way to run and measure it.

    ``values`` are the facts of ``VALUES``; what a file leaves out is that of the library that it is ``like``. ``on``
    holds other values by category of link ("host": PCIe), by link id, or by device id where the way to reach its peers
    is its own; the narrowest counts. ``flat_ring``: one ring runs through all ranks of all nodes (else each level
    reduces for itself). ``network_ports``: ports of a node that it uses (0: all). ``counts_one_rank``: its benchmark
    gives an all-gather by what one rank contributes. ``aliases`` are what people write for it; the longest one in a
    text decides.
    """

    id: str
    name: str
    values: dict[str, AnyFact]
    on: dict[str, dict[str, AnyFact]] = {}
    like: str = ""
    aliases: tuple[str, ...] = ()
    flat_ring: bool = False
    network_ports: int = 0
    counts_one_rank: bool = False
    notes: str = ""
