"""What an iteration of a replica takes that decodes speculatively, as tables for the compiled scheduler.

In an iteration of n sequences that decode, a draft proposes k tokens of each, one after another, and the target checks
k + 1 tokens of each at once. With R, H and A the times of what depends on new tokens, on tokens that get logits, and of
attention (see ``step_tables``), and c the tokens that a sequence's next token sees::

    decode[n, c] = A(n sequences, k + 1 tokens each, c + k visible)
                   + sum over i < k of A'(n, 1, c + i) + R'(n) + H'(n)          ' : of the draft
    rows[T], head[S] = R(T), H(S)       the scheduler asks for T = (k + 1) n + prompts, S = (k + 1) n + answered prompts

The target's attention is the faster of two kernels: flash attention, whose tiles k + 1 queries fill badly, and one that
reads the cache in pieces as in decode, with k + 1 queries to a piece (FlashInfer, FlashAttention-3, TensorRT-LLM).

Prompts are read by the draft too, so that it has their keys and values. As its products see the tokens of prompts only,
and not those that are checked, they stand in ``prefill_*`` beside its attention: a prompt alone pays R'(new), each
further one (R'(64 new) - R'(new)) / 63, as prompts share attention kernels in ``step_tables``. Finished prompts need no
logits of the draft: it begins with the token that the target gives.

The draft is one of: a model of its own; a head such as EAGLE's, one layer on the target's own states (``eagle_head``);
or nothing that a device would compute (look-up of n-grams in the prompt). Launches are those of the draft's runtime: in
graph mode its steps follow each other in the gaps of a graph, else each operator waits for the host. A draft on fewer
devices than the target leaves the others at their static power.

Left out: the token that a draft has to read again after all of its k were accepted, and the comparison of two
distributions (a few elementwise passes over the vocabulary).

Reference: Leviathan, Kalman, Matias, arXiv:2211.17192 (draft models); Saxena, "Prompt Lookup Decoding", 2023 (n-grams);
Li et al., "EAGLE", ICML 2024, arXiv:2401.15077 (a layer behind a product that joins embedding and state, 2 h x h).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
import numpy as np

from hardware_specs.errors import InputError
from simulator import memory
from simulator.bulk.features import Shapes
from simulator.bulk.templates import template_of
from simulator.checks import check_count
from simulator.kernels.roofline import ENERGY, TIME
from simulator.prepared import Prepared
from simulator.serving.grids import Floats, grid, tabulated
from simulator.serving.step_tables import (
    _CONTINUED,
    StepTables,
    _by_count,
    _in_head,
    _named,
    _of_rows,
    _of_sequences,
    _priced,
)
from workloads.graph import OpColumns
from workloads.models.architecture import Architecture, FeedForward, LayerGroup
from workloads.operators import OpKind

MOST_DEPTH: Final = 64
"""Tokens that may be drafted in a row; published gains end near ten."""
_PADDING: Final = 0.01
"""Share by which equal vocabularies may differ, for models pad them (Qwen 2.5: 151,936 and 152,064)."""
_BATCH: Final = 64.0
"""Prompts in the batch that what each further one adds is taken from."""


class DraftBytes(NamedTuple):
    """What a draft holds on each of its devices [B]: weights, cache of one token, states of one sequence."""

    weights: float
    token: float
    state: float


def speculative_tables(
    target: Prepared, target_arch: Architecture, draft: Prepared | None, draft_arch: Architecture | None, depth: int,
    most_tokens: int, most_sequences: int, longest: int,
) -> StepTables:  # fmt: skip
    """The tables of one replica that checks ``depth`` drafted tokens of each sequence in an iteration.

    Args:
        draft, draft_arch: the model that drafts, on devices of the target; both None for look-up of n-grams.
        depth: drafted tokens k.
        most_tokens: new tokens of an iteration at most; ``rows_*`` reach at least (k + 1) ``most_sequences``.
        most_sequences: sequences that run at once at most; ``head_*`` reach (k + 1) of each.
        longest: context of a sequence at most [tokens].

    Raises:
        InputError: an encoder, a depth that is no count, a draft elsewhere or on more devices than the target, or
            with another vocabulary.
    """
    check_count("speculative depth", depth, MOST_DEPTH)
    for arch in (target_arch, *([draft_arch] if draft_arch else [])):
        if arch.is_encoder:
            raise InputError(f"{arch.id} is an encoder and generates no tokens")
    checked = depth + 1.0
    model = _Model(target, target_arch)
    other = _draft_of(target, target_arch, draft, draft_arch)
    template = template_of(target_arch, "decode", target.how, True)
    named = _named(template, model.of_rows)
    most_tokens, most_sequences = max(most_tokens, 2), max(most_sequences, 2)  # grids have two points
    most = (depth + 1) * most_sequences
    rows = _by_count(template, named, max(most_tokens, most), target)
    head = _by_count(template, _in_head(template) & ~named, most, target)

    def decode(sequences: Floats, contexts: Floats) -> Floats:
        found = model.checking(depth, sequences, contexts)
        return found if other is None else found + _drafting(other, depth, sequences, contexts)

    def prefill(new: Floats, visible: Floats) -> Floats:
        alone, more = _prompts(model, new, visible, False)
        if other is not None:
            added = _prompts(other, new, visible, True)
            alone, more = alone + added[0], more + added[1]
        return np.concatenate([alone, more])

    def rest(new: Floats, answered: Floats) -> Floats:
        found: Floats = rows[:, new.astype(np.int64)] + head[:, answered.astype(np.int64)]
        return found

    sequences_at, contexts_at, decoding = tabulated(
        grid(most_sequences), grid(longest), decode, lambda count: rest(checked * count, checked * count)
    )
    new_at, visible_at, prompts = tabulated(
        grid(min(most_tokens, longest)), grid(longest), prefill, lambda new: rest(new, np.ones_like(new))
    )
    return StepTables(
        rows[0], rows[1], head[0], head[1], sequences_at, contexts_at, decoding[0], decoding[1], new_at, visible_at,
        prompts[[0, 2]], prompts[[1, 3]],
    )  # fmt: skip


def draft_bytes(draft: Prepared, draft_arch: Architecture, shares_ends: bool = False) -> DraftBytes:
    """What the draft takes of the memory that the target's cache would have.

    Args:
        shares_ends: embedding and output head are the target's own (heads such as EAGLE's).
    """
    precision, sharding = draft.precision, draft.how.sharding
    weights = memory.weight_bytes(draft_arch, precision, sharding)
    if shares_ends:
        weights -= precision.head_bits / 8.0 * memory.held_parameters(draft_arch, sharding).ends
    state = memory.kv_bytes_per_sequence(draft_arch, 0.0, precision, sharding)
    return DraftBytes(weights, memory.kv_bytes_per_sequence(draft_arch, 1.0, precision, sharding) - state, state)


def eagle_head(arch: Architecture) -> Architecture:
    """A drafting head: the last kind of layer of ``arch`` once, and before it a product of 2 h x h (as two of h x h).

    Raises:
        InputError: a model without attention layers, whose states such heads are not made for.
    """
    layer = next((group for group in reversed(arch.groups) if group.attention is not None), None)
    if layer is None:
        raise InputError(f"{arch.id} has no attention layer to draft with; use a draft model")
    joined = LayerGroup(count=1, mlp=FeedForward(width=arch.hidden, gated=False), norms=0)
    groups = (joined, msgspec.structs.replace(layer, count=1))
    return msgspec.structs.replace(
        arch, id=f"{arch.id}+eagle", groups=groups, learned_positions=0, extra_params=0.0, published_params=None,
        published_active=None,
    )  # fmt: skip


@dataclass(frozen=True)
class _Model:
    """A model on devices, and what its steps cost on average on each of ``devices`` devices (0: its own)."""

    prepared: Prepared
    arch: Architecture
    devices: int = 0

    @property
    def of_rows(self) -> frozenset[str]:
        """Operators that see no more of a step than the number of its new tokens."""
        return _of_rows(self.arch, self.prepared)

    def attention(self, shapes: Shapes) -> Floats:
        """Seconds and joules of what knows sequences apart, shape [2, s]."""
        return self._spread(_of_sequences(self.prepared, self.arch, self.of_rows, shapes))

    def checking(self, depth: int, sequences: Floats, contexts: Floats) -> Floats:
        """Seconds and joules of attention of ``depth`` + 1 new tokens of each sequence, shape [2, s].

        Kernels choose: flash attention in tiles of queries, or one that cuts the cache in pieces as in decode.
        """
        new = np.full_like(sequences, depth + 1.0)
        tiles = self.attention(Shapes(sequences, new, contexts + depth))
        template = template_of(self.arch, "decode", self.prepared.how, True)
        own = np.flatnonzero(~_in_head(template) & ~_named(template, self.of_rows))
        if any(template.graph.operators[i].kind != OpKind.ATTENTION_DECODE for i in own):
            return tiles
        columns = template.columns(Shapes(sequences, np.ones_like(sequences), contexts + depth), own)
        priced = self.prepared.model.cost(_with_queries(columns, depth + 1.0)).reshape(-1, len(own), len(sequences))
        repeat = template.graph.repeat[own]
        pieces = self._spread(np.stack([repeat @ priced[TIME], repeat @ priced[ENERGY]]))
        return np.where(pieces[0] < tiles[0], pieces, tiles)

    def products(self, tokens: Floats, logits: bool) -> Floats:
        """Seconds and joules of the rest of steps of so many new tokens, with or without logits, shape [2, s]."""
        template = template_of(self.arch, "decode", self.prepared.how, True)
        chosen = _named(template, self.of_rows)
        if logits:
            chosen |= _in_head(template)
        counts, places = np.unique(tokens, return_inverse=True)
        unit = np.ones_like(counts)
        return self._spread(_priced(template, chosen, Shapes(counts, unit, unit), self.prepared)[:, places])

    def _spread(self, found: Floats) -> Floats:
        """Devices that do not take part stay at static power."""
        own = self.prepared.pool.count
        if self.devices <= own:
            return found
        static_w = float(self.prepared.model.record["static_w"])
        joules = (own * found[1] + (self.devices - own) * static_w * found[0]) / self.devices
        return np.stack([found[0], joules])


def _with_queries(columns: OpColumns, count: float) -> OpColumns:
    """Attention of one query per sequence against a cache, with ``count`` queries that read the cache together."""
    queries = columns.write_bytes * columns.k / columns.value_dim
    return columns._replace(
        m=columns.m * count, flops=columns.flops * count, vector_flops=columns.vector_flops * count,
        read_bytes=columns.read_bytes + (count - 1.0) * queries, write_bytes=columns.write_bytes * count,
    )  # fmt: skip


def _drafting(draft: _Model, depth: int, sequences: Floats, contexts: Floats) -> Floats:
    """Seconds and joules of ``depth`` decode steps of the draft in a row, shape [2, s]."""
    steps = np.arange(float(depth))[:, None]
    visible = (contexts + steps).ravel()
    every = np.tile(sequences, depth)
    attention = draft.attention(Shapes(every, np.ones_like(every), visible))
    found: Floats = attention.reshape(2, depth, -1).sum(axis=1) + depth * draft.products(sequences, True)
    return found


def _prompts(model: _Model, new: Floats, visible: Floats, products: bool) -> tuple[Floats, Floats]:
    """Seconds and joules of a prompt alone and of each further one, shape [2, s] each; with ``products`` or without.

    Where fewer tokens are visible than are new, prices go on as ``step_tables`` has them.
    """
    seen = np.maximum(visible, _CONTINUED * new)
    found = []
    for count in (1.0, _BATCH):
        priced = model.attention(Shapes(np.full_like(new, count), new, seen))
        found.append(priced + model.products(count * new, False) if products else priced)
    return found[0], (found[1] - found[0]) / (_BATCH - 1.0)


def _draft_of(
    target: Prepared, target_arch: Architecture, draft: Prepared | None, draft_arch: Architecture | None
) -> _Model | None:
    """The draft beside the target.

    Raises:
        InputError: half a draft, or one that does not fit the target.
    """
    if draft is None and draft_arch is None:
        return None
    if draft is None or draft_arch is None:
        raise InputError("a draft needs both its model and its devices; n-gram look-up has neither")
    if draft.pool.device.id != target.pool.device.id:
        raise InputError(
            f"draft {draft_arch.id} on {draft.pool.device.id}: must be on the target's device, {target.pool.device.id}"
        )
    if draft.pool.count > target.pool.count:
        raise InputError(
            f"draft {draft_arch.id} on {draft.pool.count} devices: at most the target's {target.pool.count} are there"
        )
    if abs(draft_arch.vocab - target_arch.vocab) > _PADDING * target_arch.vocab:
        raise InputError(
            f"draft {draft_arch.id} has a vocabulary of {draft_arch.vocab} tokens; it must be that of "
            f"{target_arch.id}, which has {target_arch.vocab}"
        )
    return _Model(draft, draft_arch, target.pool.count)
