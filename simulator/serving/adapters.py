"""Low-rank adapters of many tenants on one model: their bytes, what an iteration pays for them, and loading one.

Beside a product with weights [n, k] an adapter of rank r has a shrink product [r, k] and an expand product [n, r]. A
batch runs both once for all of its tokens, whichever adapters they have; the kernel reads the weights of each distinct
adapter of the batch, and at small batches it is these reads that take time. With d distinct adapters and m tokens of
requests that have one::

    t(d, m) = iteration_s + d per_iteration_s + m per_token_s

The three are slopes of the device law's price of those products, ``(t(64, 64) - t(1, 64)) / 63`` for adapters,
``(t(1, 2048) - t(1, 64)) / 1984`` for tokens, and what is left of t(1, 1): starting two kernels for each product of
each layer. An adapter that is on no device comes from the memory of the host, all devices' parts at once::

    load_s = bytes / host link + its latency

Tensor parallel devices hold the part that their piece of the product needs, as vLLM does: shrink weights whole beside
products cut by columns, expand weights whole beside those cut by rows. Routers and routed experts have no adapters.

Reference: Hu et al., "LoRA", arXiv:2106.09685; Chen et al., "Punica", arXiv:2310.18547 (one kernel for the adapters of
a batch, loading while others run); Sheng et al., "S-LoRA", arXiv:2311.03285 (adapters in host memory).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from hardware_specs.errors import InputError, nearest
from simulator import memory
from simulator.checks import LARGEST, check_count
from simulator.prepared import Prepared
from simulator.steps.pricing import price_graphs
from workloads.graph import GraphBuilder
from workloads.lowering.training import layer_operators
from workloads.lowering.writer import Tokens
from workloads.models.architecture import Architecture
from workloads.operator_record import Operator
from workloads.operators import gemm

MOST_RANK: Final = 65_536
_MANY, _FEW_TOKENS, _MANY_TOKENS = 64, 64, 2048
"""Distinct adapters and tokens that slopes are taken between."""
_MARK: Final = ".lora_"


@dataclass(frozen=True)
class Adapters:
    """Adapters of one rank on one pool.

    Args:
        rank: r.
        count: adapters that requests ask for.
        device_slots: how many of them each device holds at once; others wait in host memory.
        bytes: of one adapter on one device [B].
        iteration_s, iteration_j: what any iteration with an adapter pays [s, J of one device].
        per_iteration_s, per_iteration_j: what each distinct adapter of an iteration adds.
        per_token_s, per_token_j: what each new token of a request with an adapter adds.
        load_s: from host memory to a slot [s].
    """

    rank: int
    count: int
    device_slots: int
    bytes: float
    iteration_s: float
    iteration_j: float
    per_iteration_s: float
    per_iteration_j: float
    per_token_s: float
    per_token_j: float
    load_s: float

    @property
    def held_bytes(self) -> float:
        """What the slots take of the memory of a device, used or not [B]."""
        return self.device_slots * self.bytes

    def seconds(self, distinct: float, tokens: float) -> float:
        """What an iteration takes longer [s] for ``distinct`` adapters and ``tokens`` of requests that have one."""
        if distinct <= 0.0:
            return 0.0
        return self.iteration_s + distinct * self.per_iteration_s + tokens * self.per_token_s

    def joules(self, distinct: float, tokens: float) -> float:
        """As ``seconds``: what one device takes more [J]."""
        if distinct <= 0.0:
            return 0.0
        return self.iteration_j + distinct * self.per_iteration_j + tokens * self.per_token_j


def adapters_of(
    prepared: Prepared, arch: Architecture, rank: int, count: int, device_slots: int, targets: tuple[str, ...] = ()
) -> Adapters:
    """Adapters of ``arch`` on the pool.

    Args:
        rank: of every adapter.
        count: adapters that requests ask for.
        device_slots: how many a device holds at once, at most ``count`` are used.
        targets: products that have one, by name or beginning of it ("attention", "mlp.down"); empty: all.

    Raises:
        InputError: no such products, impossible counts, or slots that do not fit beside the weights.
    """
    check_count("adapter rank", rank, MOST_RANK)
    check_count("adapters", count, LARGEST)
    check_count("adapter slots", device_slots, count)
    layers = _chosen(arch, prepared, rank, targets)
    held = sum(repeat * operator.weight_bytes for operators, repeat in layers for operator in operators)
    weights = memory.weight_bytes(arch, prepared.precision, prepared.how.sharding)
    if weights + device_slots * held > prepared.usable_bytes:
        raise InputError(
            f"{device_slots} adapter slots of {held / 1e6:.3g} MB: do not fit into the "
            f"{(prepared.usable_bytes - weights) / 1e9:.3g} GB that weights of {arch.id} leave on "
            f"{prepared.pool.device.id}"
        )
    few, one, many = (
        _priced(prepared, layers, distinct, tokens)
        for distinct, tokens in ((1, 1), (1, _FEW_TOKENS), (_MANY, _FEW_TOKENS))
    )
    long = _priced(prepared, layers, 1, _MANY_TOKENS)
    each = [max(0.0, (b - a) / (_MANY - 1)) for a, b in zip(one, many, strict=True)]
    token = [max(0.0, (b - a) / (_MANY_TOKENS - _FEW_TOKENS)) for a, b in zip(one, long, strict=True)]
    start = [max(0.0, a - e - t) for a, e, t in zip(few, each, token, strict=True)]
    host = prepared.network.host
    load_s = held / (host.bandwidth.value * host.achieved_fraction.value) + host.latency.value
    return Adapters(
        rank, count, device_slots, held, start[0], start[1], each[0], each[1], token[0], token[1], load_s
    )  # fmt: skip


Layers = list[tuple[list[Operator], int]]
"""Shrink and expand products of one token in a layer of each group, and how many such layers there are."""


def _chosen(arch: Architecture, prepared: Prepared, rank: int, targets: tuple[str, ...]) -> Layers:
    """The products of the adapters.

    Raises:
        InputError: a target that this model does not have under this runtime.
    """
    token = Tokens(1.0, 1.0, 1.0)
    found: Layers = []
    for group in arch.groups:
        operators = layer_operators(arch, group, token, prepared.how, rank)
        found.append(([operator for operator in operators if _MARK in operator.name], group.count))
    names = sorted({_product(operator) for operators, _ in found for operator in operators})
    if not names:
        raise InputError(f"{arch.id} has no products that adapters could stand beside")
    for target in targets:
        if not any(_is_of(name, target) for name in names):
            close = nearest(target, names)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"adapters on {target!r}: no such product{hint} (allowed: {', '.join(names)})")
    if not targets:
        return found
    return [
        ([each for each in operators if any(_is_of(_product(each), target) for target in targets)], repeat)
        for operators, repeat in found
    ]


def _product(operator: Operator) -> str:
    """Name of the product that an adapter stands beside."""
    return operator.name.split(_MARK)[0]


def _is_of(name: str, target: str) -> bool:
    return name == target or name.startswith(f"{target}.")


def _priced(prepared: Prepared, layers: Layers, distinct: int, tokens: int) -> tuple[float, float]:
    """Seconds and joules of the products of ``tokens`` tokens that have ``distinct`` adapters."""
    builder = GraphBuilder()
    for number, (operators, repeat) in enumerate(layers):
        if not operators:
            continue
        with builder.block(f"layers{number}", repeat):
            for each in operators:
                product = gemm(each.name, float(tokens), each.n, each.k, each.dtype)
                builder.add(replace(product, weight_bytes=distinct * each.weight_bytes))
    found = price_graphs([builder.build()], prepared.model, prepared.communicators)[0]
    return found.total_s, found.total_j
