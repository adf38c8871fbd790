"""Static batches of one pool by the thousand: times, energy, memory and metrics as ``simulate`` gives them one by one.

Batches of one pool differ by their sequences and lengths. Their steps are few: decode at one batch and context is the
same step for every prompt length that reaches it. So the distinct steps are found by counting
(``kernels.schedules``), priced once (``bulk.pricing``), and added up. Where memory does not suffice times are given
all the same, as ``simulate`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator import memory
from simulator.bulk.features import Floats, Shapes
from simulator.bulk.pricing import block_repeats, price_steps, server_weights
from simulator.bulk.spreads import StepSums, Sums, decode_sums, prefill_sums
from simulator.bulk.templates import Ints, Template, absorbed_steps, template_of
from simulator.kernels import schedules
from simulator.kernels.launch_queues import all_queued
from simulator.prepared import Prepared
from simulator.steps.batch_metrics import MOST_BATCH
from simulator.steps.launch_queue import steps_queued
from simulator.steps.pipeline import FOLLOWED
from simulator.steps.prefill import CHUNK_POINTS
from simulator.steps.pricing import hidden_share
from simulator.steps.static_batch import CONTEXT_POINTS, launch_lag_s, prompt_phase
from workloads.lowering.inference import Phase
from workloads.lowering.plan import Lowering
from workloads.models.architecture import Architecture
from workloads.operators import FAMILIES
from workloads.runtimes.record import FUSIONS, Runtime

_WIDEST: Final = 1 << 25
"""Contexts x rows that are looked up in a table; more are sorted."""
_SORTED: Final = 1 << 16
"""Values that are sorted to tell them apart; more are hashed."""
_COLLECTIVE: Final = FAMILIES.index("collective")
Bools = npt.NDArray[np.bool_]


class Batches(NamedTuple):
    """Static batches as columns, shape [n] each: sequences, prompt tokens, output tokens."""

    batch: Ints
    isl: Ints
    osl: Ints


class PhaseTimes(NamedTuple):
    """Seconds of a phase of each batch, what one device spends and works in it, and what of it is the host's, [n] each.

    ``sums`` where they were asked for.
    """

    total_s: Floats
    busy_j: Floats
    busy_s: Floats
    host_s: Floats
    sums: Sums | None


@dataclass(frozen=True)
class Steps:
    """Distinct steps, priced: ``servers_s`` [servers, s] without their host, ``busy_s`` and ``energy_j`` [s].

    ``launches`` is how many operators each has, ``room`` how many the queues of stages hold (0: no limit), [s].
    """

    servers_s: Floats
    busy_s: Floats
    energy_j: Floats
    sums: StepSums | None
    launches: Floats
    room: Floats


def price_batches(
    prepared: Prepared, arch: Architecture, work: Batches, spread: bool = False
) -> tuple[PhaseTimes, PhaseTimes]:  # fmt: skip
    """Prefill and decode of all batches on the only pool of a scenario, as ``static_batch.price_batch`` has them.

    Batches are within what ``checks.check_workload`` allows.

    Args:
        spread: with sums of errors.
    """
    plan = prepared.pool.plan
    replica = -(-work.batch // plan.dp)
    prefill = _prefill(prepared, arch, replica, work.isl, spread)
    micro = -(-replica // np.minimum(plan.pp, replica))
    return prefill, _decode(prepared, arch, micro, -(-replica // micro), work, spread)


def _prefill(prepared: Prepared, arch: Architecture, replica: Ints, isl: Ints, spread: bool) -> PhaseTimes:
    """The prefill of each batch."""
    runtime, plan = prepared.model.runtime, prepared.pool.plan
    key, back = _unique(replica, isl)
    replica, isl = replica[key], isl[key]
    count = len(replica)
    chunk = np.empty(count, np.int64)
    schedules.steps_tokens(replica, isl, runtime.prefill_chunk, plan.pp, arch.is_encoder, chunk)
    room = count * (CHUNK_POINTS + 2)
    batch, q_len, kv_len, repeats = (np.empty(room) for _ in range(4))
    owner = np.empty(room, np.int64)
    found = schedules.prefill_steps(replica, isl, chunk, CHUNK_POINTS, batch, q_len, kv_len, repeats, owner)
    shapes, repeats, owner = Shapes(batch[:found], q_len[:found], kv_len[:found]), repeats[:found], owner[:found]
    steps = _steps_of(prepared, arch, prompt_phase(arch), shapes, spread)
    host_s = _host_s(runtime, shapes.batch) + launch_lag_s(runtime, steps.launches, steps.busy_s)
    first = np.searchsorted(owner, np.arange(count + 1))
    seconds = np.concatenate([host_s[None, :], steps.servers_s])
    ttft_s: Floats = np.empty(count)
    if plan.pp == 1:
        ttft_s = np.bincount(owner, repeats * seconds.sum(axis=0), count).astype(np.float64)
    else:
        rows, ahead = np.ascontiguousarray(seconds.T), runtime.prefill_in_flight
        if steps.room.all():
            all_queued(first, rows, repeats, steps.room, ahead, FOLLOWED, ttft_s)
        else:
            schedules.all_passed(first, rows, repeats, ahead, FOLLOWED, ttft_s)
    joules = np.bincount(owner, repeats * steps.energy_j, count) / plan.pp
    busy_s = np.bincount(owner, repeats * steps.busy_s, count) / plan.pp
    # With steps in flight the host of all but the first is behind the devices.
    hosts_s: Floats = host_s[first[:-1]]
    if plan.pp == 1:
        hosts_s = np.bincount(owner, repeats * host_s, count).astype(np.float64)
    sums: Sums | None = None
    if steps.sums is not None:
        added = prefill_sums(steps.sums, repeats, owner, _like(arch, owner, shapes), count)
        sums = Sums(*(values[:, back] for values in added))
    return PhaseTimes(ttft_s[back], joules[back], busy_s[back], hosts_s[back], sums)


def _like(arch: Architecture, owner: Ints, shapes: Shapes) -> Ints:
    """Numbers of steps of one batch that differ by their context alone, and so share their operators, [s].

    Latent attention of several queries absorbs at some contexts and unfolds at others: each step is on its own.
    """
    new = (np.diff(owner) != 0) | (np.diff(shapes.batch) != 0.0) | (np.diff(shapes.q_len) != 0.0)
    if any(g.attention is not None and g.attention.kind == "mla" for g in arch.groups):
        new |= shapes.q_len[1:] > 1.0
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(new)])


def _decode(
    prepared: Prepared, arch: Architecture, micro: Ints, jobs: Ints, work: Batches, spread: bool
) -> PhaseTimes:  # fmt: skip
    """The decode of each batch: ``jobs`` micro-batches of ``micro`` sequences each."""
    count = len(micro)
    out, hosts_s = np.zeros((3, count)), np.zeros(count)
    sums = _no_sums(count) if spread else None
    rows = np.flatnonzero(work.osl > 1)
    if not len(rows):
        return PhaseTimes(out[0], out[1], out[2], hosts_s, sums)
    plan, runtime = prepared.pool.plan, prepared.model.runtime
    key, row = _unique(micro[rows], jobs[rows])
    sequences, rounds = micro[rows][key].astype(np.float64), jobs[rows][key].astype(np.float64)
    isl, osl = work.isl[rows], work.osl[rows]
    slots = _contexts(row, isl, osl, len(key))
    shapes = Shapes(sequences[slots.row], np.ones(len(slots.row)), slots.context.astype(np.float64))
    steps = _priced(template_of(arch, "decode", prepared.how, True), shapes, prepared, spread, slots.row)
    lag_s = launch_lag_s(runtime, steps.launches, steps.busy_s)
    times, host_s = rounds[slots.row], _host_s(runtime, shapes.batch) + lag_s
    if plan.pp == 1:
        round_s = host_s + steps.servers_s[0]
    else:
        slowest = np.maximum(host_s, steps.servers_s.max(axis=0))
        round_s = np.maximum(host_s + steps.servers_s.sum(axis=0), times * slowest)
    values = np.stack([round_s, steps.energy_j * times / plan.pp, steps.busy_s * times / plan.pp])
    hosts_s[rows] = _host_s(runtime, sequences[row]) * (osl - 1.0)
    if runtime.runs_ahead:
        hosts_s[rows] += slots.summed(lag_s[None, :])[0]
    each = steps.sums
    if sums is None or each is None:
        out[:, rows] = slots.summed(values)
        return PhaseTimes(out[0], out[1], out[2], hosts_s, None)
    found = slots.summed(np.concatenate([values, each.seconds, each.shared, each.alone]))
    out[:, rows] = found[:3]
    one = _first(slots.row, len(key))
    own = decode_sums(found[3:], each.squares[:, one][:, row], each.families[:, 0], (osl - 1).astype(np.float64))
    for whole, part in zip(sums, own, strict=True):
        whole[:, rows] = part
    return PhaseTimes(out[0], out[1], out[2], hosts_s, sums)


def _no_sums(count: int) -> Sums:
    zeros = [np.zeros((len(FAMILIES), count)) for _ in range(3)]
    return Sums(zeros[0], zeros[1], zeros[2])


def _first(rows: Ints, count: int) -> Ints:
    """Where each of ``count`` numbers stands first in ``rows``."""
    places = np.empty(count, np.int64)
    places[rows[::-1]] = np.arange(len(rows) - 1, -1, -1)
    return places


@dataclass(frozen=True)
class Slots:
    """Distinct (row, context) pairs, shape [u] each; ``summed`` adds values of them up over the contexts of points."""

    row: Ints
    context: Ints
    summed: Callable[[Floats], Floats]


def _contexts(row: Ints, isl: Ints, osl: Ints, rows: int) -> Slots:
    """The decode contexts of points, each of which belongs to one of ``rows``."""
    first = int(isl.min()) + 1
    span = int((isl + osl).max()) - first + 1
    if rows * span > _WIDEST:
        return _sorted_contexts(row, isl, osl)
    used = np.zeros((rows, span), np.uint8)
    schedules.mark_contexts(row, isl, osl, CONTEXT_POINTS, first, used)
    count = schedules.count_marks(used)
    slot = np.empty((rows, span), np.int32)
    of_row, context = np.empty(count, np.int64), np.empty(count, np.int64)
    schedules.number_marks(used, slot, of_row, context, first)

    def summed(values: Floats) -> Floats:
        out = np.empty((len(values), len(row)))
        schedules.sum_contexts(row, isl, osl, CONTEXT_POINTS, first, slot, np.ascontiguousarray(values.T), out)
        return out

    return Slots(of_row, context, summed)


def _sorted_contexts(row: Ints, isl: Ints, osl: Ints) -> Slots:
    """As ``_contexts``, of points that are few for the contexts they span."""
    count = len(row)
    owner = np.empty(count * CONTEXT_POINTS, np.int64)
    context, weight = np.empty(len(owner), np.int64), np.empty(len(owner))
    found = schedules.list_contexts(isl, osl, CONTEXT_POINTS, owner, context, weight)
    owner, context, weight = owner[:found], context[:found], weight[:found]
    key, back = _unique(row[owner], context)

    def summed(values: Floats) -> Floats:
        return np.stack([np.bincount(owner, weight * one[back], count) for one in values])

    return Slots(row[owner][key], context[key], summed)


def _steps_of(prepared: Prepared, arch: Architecture, phase: Phase, shapes: Shapes, spread: bool) -> Steps:
    """Steps priced: what the context leaves alone once for each (batch, q_len), attention once for each step."""
    single, absorbed = shapes.q_len == 1.0, absorbed_steps(arch, shapes)
    parts = []
    for one in (False, True):
        for inside in (False, True):
            rows = np.flatnonzero((single == one) & (absorbed == inside))
            if len(rows):
                template = template_of(arch, phase, prepared.how, one, inside)
                parts.append((rows, _priced(template, shapes.take(rows), prepared, spread)))
    return parts[0][1] if len(parts) == 1 else _woven(parts, len(single))


def _woven(parts: Sequence[tuple[Ints, Steps]], count: int) -> Steps:
    """Steps of several templates in their order."""
    servers = len(parts[0][1].servers_s)
    sums = [(rows, steps.sums) for rows, steps in parts if steps.sums is not None]
    found = Steps(
        np.empty((servers, count)), np.empty(count), np.empty(count), _woven_sums(sums, count) if sums else None,
        np.empty(count), np.empty(count),
    )  # fmt: skip
    for rows, steps in parts:
        found.servers_s[:, rows], found.busy_s[rows] = steps.servers_s, steps.busy_s
        found.energy_j[rows], found.launches[rows], found.room[rows] = steps.energy_j, steps.launches, steps.room
    return found


def _woven_sums(parts: Sequence[tuple[Ints, StepSums]], count: int) -> StepSums:
    most = max(len(sums.alone) for _, sums in parts)
    found = StepSums(*_no_sums(count), np.zeros((most, count)), np.zeros((most, count), np.int64))
    for rows, sums in parts:
        own = len(sums.alone)
        found.seconds[:, rows], found.shared[:, rows] = sums.seconds, sums.shared
        found.squares[:, rows] = sums.squares
        found.alone[:own, rows], found.families[:own, rows] = sums.alone, sums.families
    return found


def _priced(template: Template, shapes: Shapes, prepared: Prepared, spread: bool, back: Ints | None = None) -> Steps:
    """Steps of one template.

    Args:
        back: where it is known that no step is there twice: numbers of their batches, from 0.
    """
    if back is None:
        key, back = _unique(shapes.batch, shapes.q_len)
        own_key, again = _unique(back, shapes.kv_len)
        own = price_steps(template, shapes.take(own_key), True, prepared, spread)
    else:
        key, again = _first(back, int(back.max()) + 1), np.arange(len(back))
        own = price_steps(template, shapes, True, prepared, spread)
    base = price_steps(template, shapes.take(key), False, prepared, spread)
    servers, repeats = server_weights(template, prepared.pool.plan.pp), block_repeats(template)
    sums = None
    if spread:
        one, other = base.sums, own.sums
        sums = StepSums(
            one.seconds[:, back] + other.seconds[:, again], one.shared[:, back] + other.shared[:, again],
            one.squares[:, back], other.alone[:, again], other.families[:, again],
        )  # fmt: skip
    steps = Steps(
        (servers @ base.blocks_s)[:, back] + (servers @ own.blocks_s)[:, again],
        (repeats @ base.blocks_s)[back] + (repeats @ own.blocks_s)[again],
        base.energy_j[back] + own.energy_j[again], sums, np.full(len(shapes.batch), template.graph.repeat.sum()),
        np.full(len(shapes.batch), steps_queued(template.graph, prepared.model.runtime, prepared.pool.plan.pp)),
    )  # fmt: skip
    if not prepared.model.runtime.two_batches:
        return steps
    of_servers, whole = (servers @ base.exchange_s)[:, back], (repeats @ base.exchange_s)[back]
    return _beside_other_half(steps, of_servers, whole, float(prepared.model.record["static_w"]))


def _beside_other_half(steps: Steps, of_servers_s: Floats, exchange_s: Floats, static_w: float) -> Steps:
    """Steps in two halves, as ``steps.pricing.beside_other_half`` has them; errors of collectives shrink as these do.

    Args:
        of_servers_s: exchanges with experts on each server, [servers, s] [s].
        exchange_s: those of whole steps, [s] [s].
    """
    hidden = hidden_share(steps.busy_s - exchange_s, exchange_s)
    sums = steps.sums
    if sums is not None:
        scale = np.ones_like(sums.seconds)
        moved = sums.seconds[_COLLECTIVE]
        scale[_COLLECTIVE] = 1.0 - hidden * exchange_s / np.where(moved > 0.0, moved, 1.0)
        sums = replace(
            sums, seconds=sums.seconds * scale, shared=sums.shared * scale, squares=sums.squares * scale**2
        )  # fmt: skip
    return replace(
        steps, servers_s=steps.servers_s - hidden * of_servers_s, busy_s=steps.busy_s - hidden * exchange_s,
        energy_j=steps.energy_j - static_w * hidden * exchange_s, sums=sums,
    )  # fmt: skip


def _host_s(runtime: Runtime, sequences: Floats) -> Floats:
    """``steps.static_batch.host_seconds`` of whole arrays."""
    each = runtime.host_sequence.value if runtime.host_sequence else 0.0
    return runtime.host_step.value + each * sequences


def _unique(one: npt.NDArray[np.generic], other: npt.NDArray[np.generic]) -> tuple[Ints, Ints]:
    """Places of distinct pairs, and which of them each pair is, shape [u] and [n]."""
    low, _ = _numbered(one)
    high, many = _numbered(other)
    back, count = _numbered(low * many + high)
    places = np.empty(count, np.int64)
    places[back[::-1]] = np.arange(len(back) - 1, -1, -1)
    return places, back


def _numbered(values: npt.NDArray[np.generic]) -> tuple[Ints, int]:
    """Numbers of values in the order in which they first come, shape [n], and how many are distinct."""
    if len(values) > _SORTED:
        import pandas as pd  # takes longer to load than few values to sort

        codes, distinct = pd.factorize(values)
        return codes, len(distinct)
    _, first, back = np.unique(values, return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[back], len(first)


@dataclass(frozen=True)
class Needs:
    """Bytes of each batch on the fullest device, whether they fit, and the largest batch of each, shape [n] each."""

    bytes: Floats
    fits: Bools
    max_batch: Ints


def memory_of(prepared: Prepared, arch: Architecture, work: Batches) -> Needs:
    """Memory of all batches, as ``steps.inference_result.memory_use`` and ``max_batch`` have it."""
    pool, precision, sharding = prepared.pool, prepared.precision, prepared.how.sharding
    runtime, plan = pool.runtime, pool.plan
    fixed = memory.weight_bytes(arch, precision, sharding) + runtime.context.value
    row_bytes = memory.inference_activation_bytes(arch, 1.0, 0.0, precision, sharding.tp)
    logits = memory.inference_activation_bytes(arch, 0.0, 1.0, precision, sharding.tp)
    key, back = _unique(work.isl, work.osl)
    isl, osl = work.isl[key], work.osl[key]
    each = memory.kv_bytes_per_sequence(arch, (isl + osl).astype(np.float64), precision, sharding) + logits
    largest = np.empty(len(key), np.int64)
    schedules.largest_batches(
        isl, runtime.prefill_chunk, plan.pp, arch.is_encoder, fixed, each, row_bytes, prepared.usable_bytes,
        MOST_BATCH, largest,
    )  # fmt: skip
    replica = -(-work.batch // plan.dp)
    rows = np.empty(len(replica), np.int64)
    schedules.steps_tokens(replica, work.isl, runtime.prefill_chunk, plan.pp, arch.is_encoder, rows)
    used = fixed + replica * each[back] + np.maximum(rows, replica) * row_bytes
    return Needs(used, used <= prepared.usable_bytes, largest[back] * plan.dp)


def model_flops(prepared: Prepared, arch: Architecture, phase: Phase, shapes: Shapes) -> Floats:
    """Model FLOPs of one sequence in a step of each shape (``steps.batch_metrics.model_flops``), shape [n]."""
    how = Lowering(prepared.precision, fusions=frozenset(FUSIONS))
    return _totals(arch, phase, how, shapes, ("flops",))


def moved_bytes(prepared: Prepared, arch: Architecture, shapes: Shapes) -> Floats:
    """Bytes that must move in a decode step of each shape, shape [n] (``steps.inference_result``, MBU)."""
    how = replace(prepared.how, fusions=frozenset(FUSIONS))
    return _totals(arch, "decode", how, shapes, ("weight_bytes", "read_bytes", "write_bytes"))


def _totals(arch: Architecture, phase: Phase, how: Lowering, shapes: Shapes, names: tuple[str, ...]) -> Floats:
    """Sums of columns over whole graphs, shape [n]."""
    single, absorbed = shapes.q_len == 1.0, absorbed_steps(arch, shapes)
    found = np.empty(len(single))
    for one in (False, True):
        for inside in (False, True):
            rows = np.flatnonzero((single == one) & (absorbed == inside))
            if len(rows):
                template = template_of(arch, phase, how, one, inside)
                found[rows] = template.totals(shapes.take(rows), names)
    return found
