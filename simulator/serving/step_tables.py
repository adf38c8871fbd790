"""What an iteration of a replica takes, as tables that a compiled scheduler reads.

An iteration processes T new tokens of prompts and of sequences that decode. Products, norms and reductions depend on T
alone and the head on the sequences that get a token; both are priced at every whole number up to a limit. Attention of
sequences that decode is priced on a grid of their number and mean context, that of prompts on a grid of new and visible
tokens; between grid points it is interpolated in both, linearly, as it grows. All prices are those of ``bulk.pricing``,
so of the laws that ``simulate`` uses.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError
from simulator.bulk.features import Shapes
from simulator.bulk.pricing import block_repeats, price_steps
from simulator.bulk.templates import Template, absorbed_steps, template_of
from simulator.prepared import Prepared
from workloads.models.architecture import Architecture

Floats = npt.NDArray[np.float64]

_PER_DOUBLING: Final = 4
"""Grid points of a size from one power of two to the next."""
HEAD: Final = "head"


class StepTables(NamedTuple):
    """Seconds and joules of one device, by size; a pipeline's stages are taken together.

    ``rows_*`` [T + 1] for T new tokens, ``head_*`` [S + 1] for S sequences that get a token; ``decode_*``
    [sequences, contexts] and ``prefill_*`` [new tokens, visible tokens] on the grids ``*_at``.
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
        InputError: an encoder, or a device that cannot run the model's dtype.
    """
    if arch.is_encoder:
        raise InputError(f"{arch.id} is an encoder and generates no tokens")
    single = template_of(arch, "decode", prepared.how, True)
    tokens = np.arange(1.0, max(most_tokens, most_sequences) + 1.0)
    rows = _priced(single, Shapes(tokens, np.ones_like(tokens), np.ones_like(tokens)), False, prepared)
    sequences_at, contexts_at = grid(most_sequences), grid(longest)
    decode = _over(single, sequences_at, contexts_at, prepared, decode=True)
    new_at, visible_at = grid(min(most_tokens, longest)), grid(longest)
    many = template_of(arch, "prefill", prepared.how, False)
    prefill = _over(many, new_at, visible_at, prepared, decode=False)
    zero = np.zeros(1)

    def from_zero(values: Floats) -> Floats:
        return np.concatenate([zero, values])

    return StepTables(
        from_zero(rows[0]), from_zero(rows[2]), from_zero(rows[1])[: most_sequences + 1],
        from_zero(rows[3])[: most_sequences + 1], sequences_at, contexts_at, *decode, new_at, visible_at, *prefill,
    )  # fmt: skip


def grid(most: int) -> Floats:
    """Whole numbers from 1 to ``most``, ``_PER_DOUBLING`` between powers of two."""
    steps = np.arange(0.0, np.log2(max(most, 2)) * _PER_DOUBLING + 1.0)
    found = np.unique(np.minimum(np.round(2.0 ** (steps / _PER_DOUBLING)), most))
    return np.unique(np.concatenate([found, [1.0, 2.0, float(max(most, 2))]]))


def _priced(template: Template, shapes: Shapes, context: bool, prepared: Prepared) -> tuple[Floats, ...]:
    """Seconds of all blocks but the head and of the head, then joules of both, shape [s] each."""
    found = price_steps(template, shapes, context, prepared, False)
    repeats = block_repeats(template)
    head = np.array([block.label == HEAD for block in template.graph.blocks])
    body_s = (repeats * ~head) @ found.blocks_s
    head_s = (repeats * head) @ found.blocks_s
    share = np.divide(head_s, body_s + head_s, out=np.zeros_like(head_s), where=body_s + head_s > 0.0)
    return body_s, head_s, found.energy_j * (1.0 - share), found.energy_j * share


def _over(
    template: Template, one_at: Floats, other_at: Floats, prepared: Prepared, decode: bool
) -> tuple[Floats, Floats]:  # fmt: skip
    """Seconds and joules of attention over two grids, shape [len(one_at), len(other_at)] each."""
    one, other = (values.ravel() for values in np.meshgrid(one_at, other_at, indexing="ij"))
    unit = np.ones_like(one)
    shapes = Shapes(one, unit, other) if decode else Shapes(unit, one, np.maximum(one, other))
    absorbed = absorbed_steps(template.arch, shapes)
    seconds, joules = np.zeros(len(one)), np.zeros(len(one))
    for inside in (False, True):
        for alone in (False, True):
            chosen = np.flatnonzero((absorbed == inside) & ((shapes.q_len == 1.0) == alone))
            if not len(chosen):
                continue
            own = template if decode else template_of(template.arch, template.phase, template.how, alone, inside)
            body_s, _, body_j, _ = _priced(own, shapes.take(chosen), True, prepared)
            seconds[chosen], joules[chosen] = body_s, body_j
    shape = (len(one_at), len(other_at))
    return seconds.reshape(shape), joules.reshape(shape)
