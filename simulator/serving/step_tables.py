"""What an iteration of a replica takes, as tables that a compiled scheduler reads.

An iteration processes T new tokens of prompts and of sequences that decode. Products, norms and reductions depend on T
alone, logits and sampling on the sequences that get a token; both are priced at every whole number up to a limit.
Attention and state space scans know sequences apart. Those of sequences that decode are priced on a grid of their
number and mean context, those of prompts on a grid of new and visible tokens; between grid points they are interpolated
in both, linearly. Prompts share an iteration's kernels: one pays for starting them and for what it leaves idle, each
further one what it adds to a batch, ``(t(64) - t(1)) / 63`` of equal ones. All prices are those of ``bulk.pricing``, so
of the laws that ``simulate`` uses; at grid points a step of one kind is priced as there.

An encoder (embedding, reranking, classification) passes over whole prompts, every token of which sees all others, and
generates nothing: new and visible tokens are one size, the head (pooler) is paid once per prompt, decoding costs
nothing and there is no cache.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError
from simulator.bulk.features import Shapes
from simulator.bulk.pricing import block_repeats, price_steps
from simulator.bulk.templates import Template, absorbed_steps, template_of
from simulator.prepared import Prepared
from simulator.serving.grids import Floats, grid, tabulated
from simulator.steps.static_batch import prompt_phase
from workloads.lowering.inference import Phase, lower_step
from workloads.models.architecture import Architecture

Bools = npt.NDArray[np.bool_]

HEAD: Final = "head"
_BATCH: Final = 64.0
"""Prompts in the batch that what each further one adds is taken from."""
_CONTINUED: Final = 0.7
"""Share of the new tokens down to which prices go on where fewer are visible, for cells that are cut by that bound."""
_SAME_ROWS: Final[tuple[tuple[Phase, int, int, int], ...]] = (
    ("decode", 4096, 1, 1), ("prefill", 1, 4096, 4096), ("prefill", 2, 2048, 5000), ("prefill", 8, 512, 512),
)  # fmt: skip
"""Steps of as many new tokens, spread over sequences in other ways."""
_SAME_ENCODED: Final[tuple[tuple[Phase, int, int, int], ...]] = (
    ("encode", 4096, 1, 1), ("encode", 1, 4096, 4096), ("encode", 2, 2048, 2048), ("encode", 8, 512, 512),
)  # fmt: skip
"""The same of an encoder."""


class StepTables(NamedTuple):
    """Seconds and joules of one device, by size; a pipeline's stages are taken together.

    ``rows_*`` [T + 1] for T new tokens, ``head_*`` [S + 1] for S sequences that get a token; ``decode_*``
    [sequences, contexts] and ``prefill_*`` [2, new tokens, visible tokens] on the grids ``*_at``: a prompt alone, and
    each further one. Of an encoder ``decode_*`` is zero, and ``prefill_*`` the same at all visible tokens: those of the
    prompt.
    """

    rows_s: Floats
    rows_j: Floats
    head_s: Floats
    head_j: Floats
    sequences_at: Floats
    contexts_at: Floats
    decode_s: Floats
    decode_j: Floats
    new_at: Floats
    visible_at: Floats
    prefill_s: Floats
    prefill_j: Floats


def step_tables(
    prepared: Prepared, arch: Architecture, most_tokens: int, most_sequences: int, longest: int
) -> StepTables:  # fmt: skip
    """The tables of one replica.

    Args:
        most_tokens: new tokens of an iteration at most.
        most_sequences: sequences that run at once at most.
        longest: context of a sequence at most [tokens].

    Raises:
        InputError: a device that cannot run the model's dtype; an encoder that could not take its longest prompt whole.
    """
    if arch.is_encoder:
        return _encoder_tables(prepared, arch, most_tokens, most_sequences, longest)
    most_tokens, most_sequences = max(most_tokens, 2), max(most_sequences, 2)  # grids have two points
    of_rows = _of_rows(arch, prepared)
    single = template_of(arch, "decode", prepared.how, True)
    named = _named(single, of_rows)
    rows = _by_count(single, named, max(most_tokens, most_sequences), prepared)
    head = _by_count(single, _in_head(single) & ~named, most_sequences, prepared)

    def decode(sequences: Floats, contexts: Floats) -> Floats:
        return _of_sequences(prepared, arch, of_rows, Shapes(sequences, np.ones_like(sequences), contexts))

    def prefill(new: Floats, visible: Floats) -> Floats:
        return _of_prompts(prepared, arch, of_rows, new, np.maximum(visible, _CONTINUED * new))

    def rest(new: Floats, answered: Floats) -> Floats:
        found: Floats = rows[:, new.astype(np.int64)] + head[:, answered.astype(np.int64)]
        return found

    sequences_at, contexts_at, decoding = tabulated(
        grid(most_sequences), grid(longest), decode, lambda count: rest(count, count)
    )
    new_at, visible_at, prompts = tabulated(
        grid(min(most_tokens, longest)), grid(longest), prefill, lambda new: rest(new, np.ones_like(new))
    )
    return StepTables(
        rows[0], rows[1], head[0], head[1], sequences_at, contexts_at, decoding[0], decoding[1], new_at, visible_at,
        prompts[[0, 2]], prompts[[1, 3]],
    )  # fmt: skip


def _encoder_tables(
    prepared: Prepared, arch: Architecture, most_tokens: int, most_sequences: int, longest: int
) -> StepTables:  # fmt: skip
    """As ``step_tables``, of an encoder."""
    if most_tokens < longest:
        raise InputError(
            f"{arch.id} is an encoder and takes whole prompts: {most_tokens} tokens of an iteration are fewer than the "
            f"longest prompt, {longest}; allowed: {longest} and more"
        )
    of_rows = _of_rows(arch, prepared)
    single = template_of(arch, "encode", prepared.how, True)
    named = _named(single, of_rows)
    rows = _by_count(single, named, max(most_tokens, most_sequences), prepared)
    head = _by_count(single, _in_head(single) & ~named, most_sequences, prepared)

    def prefill(new: Floats, _: Floats) -> Floats:
        return _of_prompts(prepared, arch, of_rows, new, new)

    def rest(new: Floats) -> Floats:
        found: Floats = rows[:, new.astype(np.int64)] + head[:, [1]]
        return found

    ends = np.array([1.0, float(max(longest, 2))])
    new_at, visible_at, prompts = tabulated(grid(longest), ends, prefill, rest)
    nothing = np.zeros((2, 2))
    return StepTables(
        rows[0], rows[1], head[0], head[1], np.array([1.0, float(max(most_sequences, 2))]), ends, nothing, nothing,
        new_at, visible_at, prompts[[0, 2]], prompts[[1, 3]],
    )  # fmt: skip


def _of_rows(arch: Architecture, prepared: Prepared) -> frozenset[str]:
    """Names of operators that every step has and that see no more of it than the number of its new tokens."""
    found: list[dict[str, list[tuple[float, ...]]]] = []
    for phase, batch, q_len, kv_len in _SAME_ENCODED if arch.is_encoder else _SAME_ROWS:
        graph = lower_step(arch, phase, float(batch), float(q_len), float(kv_len), prepared.how)
        counts: dict[str, list[tuple[float, ...]]] = {}
        for operator, row in zip(graph.operators, zip(*graph.columns, strict=True), strict=True):
            counts.setdefault(operator.name, []).append(tuple(map(float, row)))
        found.append(counts)
    return frozenset(name for name, rows in found[0].items() if all(other.get(name) == rows for other in found))


def _named(template: Template, names: frozenset[str]) -> Bools:
    return np.array([operator.name in names for operator in template.graph.operators])


def _in_head(template: Template) -> Bools:
    found = np.zeros(len(template.graph), np.bool_)
    for block in template.graph.blocks:
        found[block.start : block.stop] = block.label == HEAD
    return found


def _by_count(template: Template, chosen: Bools, most: int, prepared: Prepared) -> Floats:
    """Seconds and joules of the ``chosen`` operators of steps of 0 to ``most`` sequences, shape [2, most + 1]."""
    count = np.arange(1.0, most + 1.0)
    unit = np.ones_like(count)
    return np.concatenate([np.zeros((2, 1)), _priced(template, chosen, Shapes(count, unit, unit), prepared)], axis=1)


def _priced(template: Template, chosen: Bools, shapes: Shapes, prepared: Prepared) -> Floats:
    """Seconds and joules of the ``chosen`` operators of each step, shape [2, s]."""
    found = price_steps(replace(template, context=chosen), shapes, True, prepared, False)
    return np.stack([block_repeats(template) @ found.blocks_s, found.energy_j])


def _of_prompts(
    prepared: Prepared, arch: Architecture, of_rows: frozenset[str], new: Floats, visible: Floats
) -> Floats:  # fmt: skip
    """Seconds and joules of a prompt alone, then those of each further one, shape [4, s]."""
    steps = (Shapes(np.full_like(new, count), new, visible) for count in (1.0, _BATCH))
    alone, many = (_of_sequences(prepared, arch, of_rows, shapes) for shapes in steps)
    return np.concatenate([alone, (many - alone) / (_BATCH - 1.0)])


def _of_sequences(prepared: Prepared, arch: Architecture, of_rows: frozenset[str], shapes: Shapes) -> Floats:
    """Seconds and joules of what knows sequences apart, but for the head, in each step, shape [2, s]."""
    decode, absorbed = bool((shapes.q_len == 1.0).all()), absorbed_steps(arch, shapes)
    phase: Phase = "decode" if decode and not arch.is_encoder else prompt_phase(arch)
    found = np.zeros((2, len(shapes.batch)))
    for inside in (False, True):
        for alone in (False, True):
            rows = np.flatnonzero((absorbed == inside) & ((shapes.q_len == 1.0) == alone))
            if not len(rows):
                continue
            template = template_of(arch, phase, prepared.how, alone, inside)
            chosen = ~_in_head(template) & ~_named(template, of_rows)
            found[:, rows] = _priced(template, chosen, shapes.take(rows), prepared)
    return found
