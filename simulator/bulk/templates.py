"""Templates: a step of a model as coefficients, so that graphs of thousands of sizes are one matrix product.

What ``workloads.lowering`` writes for a step depends on its sizes through few features (``bulk.features``): every count
of every operator is a sum of them times constants. The constants are found by lowering a handful of small steps and
solving for them; other steps, large ones too, then check that they hold. Operators for which they do not (what a
maximum bends) are lowered anew for every size, which is slower and as exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from simulator.bulk.features import Features, Floats, Shapes, features_of
from simulator.kernels import schedules
from workloads.graph import Graph, OpColumns
from workloads.lowering.inference import Phase, lower_step
from workloads.lowering.layers import absorbs
from workloads.lowering.plan import Lowering
from workloads.models.architecture import Architecture
from workloads.operators import COLLECTIVES

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

INTEGERS: Final = ("kind", "dtype", "group", "dequantize")
"""Columns that no size changes."""
FLOATS: Final = tuple(name for name in OpColumns._fields if name not in INTEGERS)
_EXACT: Final = 1e-11
"""Relative error up to which a template holds."""
_NOTHING: Final = 1e-11
"""Share of a count below which a term is rounding."""
_CHECKED: Final = 5
"""Steps that check a template and were not solved with."""
_DYADIC: Final = 4096.0
"""Coefficients are whole multiples of 1/4096 where that is what they were solved as."""


@dataclass(frozen=True, eq=False)
class Template:
    """Steps of one model under one lowering that differ by their sizes alone.

    ``graph`` is one of them. ``coefficients`` [float columns, operators, features] gives its counts, but for operators
    that are ``irregular`` [n]; ``context`` [n] marks those that ``kv_len`` changes, ``axes`` the group of each
    collective.
    """

    arch: Architecture
    phase: Phase
    how: Lowering
    graph: Graph
    features: Features
    coefficients: Floats
    context: Bools
    irregular: Bools
    axes: tuple[str, ...]

    @cached_property
    def _use(self) -> dict[bytes, Bools]:
        return {}

    @cached_property
    def terms(self) -> Floats:
        """Coefficients as kernels walk them, [float columns, operators, features]."""
        return np.ascontiguousarray(self.coefficients)

    def columns(self, shapes: Shapes, operators: Ints) -> OpColumns:
        """The chosen ``operators`` of every step; entries are ordered by operator, then step, shape [len x s]."""
        count = len(shapes.batch)
        base = self.graph.columns
        values = np.empty((len(FLOATS), len(operators), count))
        schedules.expand(self.terms, operators, self.features.values(shapes, self._used(operators)), values)
        bent = np.flatnonzero(self.irregular[operators])
        if bent.size:
            for s, (b, q, kv) in enumerate(zip(*shapes, strict=True)):
                lowered = lower_step(self.arch, self.phase, float(b), float(q), float(kv), self.how).columns
                for f, name in enumerate(FLOATS):
                    values[f, bent, s] = getattr(lowered, name)[operators[bent]]
        integers = {name: np.repeat(getattr(base, name)[operators], count) for name in INTEGERS}
        return OpColumns(**integers, **{name: values[f].reshape(-1) for f, name in enumerate(FLOATS)})

    def _used(self, operators: Ints) -> Bools:
        """Features that any of the chosen operators grows with, [features]."""
        key = operators.tobytes()
        if key not in self._use:
            self._use[key] = (self.terms[:, operators] != 0.0).any(axis=(0, 1))
        return self._use[key]

    def totals(self, shapes: Shapes, names: tuple[str, ...]) -> Floats:
        """Sum of columns over all operators and repeats of each step, shape [s]."""
        regular = np.where(self.irregular, 0.0, self.graph.repeat)
        chosen = self.coefficients[[FLOATS.index(name) for name in names]].sum(axis=0)
        total = (chosen.T @ regular) @ self.features.values(shapes)
        bent = np.flatnonzero(self.irregular)
        if bent.size:
            columns = self.columns(shapes, bent)
            counts = sum(getattr(columns, name) for name in names).reshape(len(bent), -1)
            total += self.graph.repeat[bent] @ counts
        return np.asarray(total)


@lru_cache(maxsize=512)
def template_of(arch: Architecture, phase: Phase, how: Lowering, single: bool, absorbed: bool = True) -> Template:
    """The template of steps of one phase.

    Args:
        single: steps of one new token per sequence (decode, or the last token of a prompt cut into chunks).
        absorbed: latent attention works on the latents (``absorbs``); means nothing to other models.
    """
    features = features_of(arch, how.sharding)
    shapes, checked = _samples(arch, features, single, absorbed)
    graphs = [lower_step(arch, phase, b, q, kv, how) for b, q, kv in shapes]
    first = graphs[0]
    if any(len(graph) != len(first) for graph in graphs):
        raise AssertionError(f"steps of {arch.id} differ in structure")
    coefficients, irregular = _solved(features, shapes, graphs)
    for b, q, kv in checked:
        there = _counts(lower_step(arch, phase, b, q, kv, how))
        value = features.values(_shapes([(b, q, kv)]))[:, 0]
        found = coefficients @ value
        irregular |= (np.abs(found - there) > _EXACT * np.maximum(np.abs(there), 1e-9)).any(axis=0)
    context = (coefficients[:, :, np.array(features.sees_context)] != 0.0).any(axis=(0, 2))
    axes = tuple(o.axis if o.kind in COLLECTIVES else "" for o in first.operators)
    return Template(
        arch, phase, how, first, features, coefficients, context | (irregular & _sees_context(first)), irregular, axes
    )


def absorbed_steps(arch: Architecture, shapes: Shapes) -> Bools:
    """Of which steps latent attention works on the latents, shape [s]; all of them where there is none."""
    latent = next((g.attention for g in arch.groups if g.attention is not None and g.attention.kind == "mla"), None)
    if latent is None:
        return np.ones(len(shapes.batch), np.bool_)
    unfold = latent.kv_lora * (latent.head_dim - latent.rope_dim + latent.value_dim)
    q, kv = shapes.q_len, shapes.kv_len
    pairs = q * (kv - q + 1.0 + kv) / 2.0
    within = q * unfold + pairs * (2.0 * latent.kv_lora + latent.rope_dim)
    return np.asarray((q == 1.0) | (within < kv * unfold + pairs * (latent.head_dim + latent.value_dim)))


def _sees_context(graph: Graph) -> Bools:
    """Operators that could depend on the context, by their names."""
    return np.array([o.name.startswith("attention.") for o in graph.operators])


Sizes = tuple[float, float, float]


def _samples(
    arch: Architecture, features: Features, single: bool, absorbed: bool
) -> tuple[list[Sizes], list[Sizes]]:  # fmt: skip
    """Steps to solve with, and steps to check with, all of one structure."""
    rng = np.random.default_rng(0)
    longest = max([1024.0, *(4.0 * reach.window for reach in features.reaches)])
    latent = next((g.attention for g in arch.groups if g.attention is not None and g.attention.kind == "mla"), None)
    wanted = len(features.names) + 6
    found: list[Sizes] = []
    for number in range(100_000):
        if len(found) >= wanted + _CHECKED:
            break
        far = number % 2
        b = float(rng.integers(1, 200 if number % 5 == 4 else 12))
        q = 1.0 if single else float(rng.integers(2, [400, int(longest)][far]))
        kv = q + float(rng.integers(0, [300, int(longest)][far])) * (number % 3 > 0)
        if arch.is_encoder:
            kv = q
        if latent is None or absorbs(latent, q, kv) == absorbed:
            found.append((b, q, kv))
    # Of latent attention that unfolds in every step, or in none, there is nothing to learn; any one will do.
    return found[:wanted], found[wanted:]


def _shapes(sizes: list[Sizes]) -> Shapes:
    b, q, kv = np.array(sizes).reshape(-1, 3).T
    return Shapes(b, q, kv)


def _counts(graph: Graph) -> Floats:
    """Float columns of a graph, shape [columns, n]."""
    return np.stack([np.asarray(getattr(graph.columns, name), np.float64) for name in FLOATS])


def _solved(features: Features, sizes: list[Sizes], graphs: list[Graph]) -> tuple[Floats, Bools]:
    """Coefficients [columns, n, features] and which operators they do not reproduce [n]."""
    values = features.values(_shapes(sizes))
    counts = np.stack([_counts(graph) for graph in graphs])
    samples, columns, n = counts.shape
    flat = counts.reshape(samples, columns * n)
    coefficients = np.zeros((values.shape[0], columns * n))
    scale = np.abs(values).max(axis=1)
    scale[scale == 0.0] = 1.0
    # Few features make most counts: try constants and single features first, so that equal ones are told apart exactly.
    left = np.ones(columns * n, np.bool_)
    for k in range(values.shape[0]):
        row = values[k]
        if not (row != 0.0).all():
            continue
        ratio = flat / row[:, None]
        same = left & (np.abs(ratio - ratio[0]) <= _EXACT * np.abs(ratio[0])).all(axis=0)
        coefficients[k, same] = ratio[0, same]
        left &= ~same
    if left.any():
        scaled = values / scale[:, None]
        rows = [row.tobytes() for row in scaled]
        own = np.array([row not in rows[:k] for k, row in enumerate(rows)])
        # Features that few counts need make the others hard to tell apart: at first without them.
        for kept in (own & ~np.array(features.rare), own):
            solved = np.linalg.lstsq(scaled[kept].T, flat[:, left], rcond=1e-13)[0]
            solved[np.abs(solved) < _NOTHING * np.abs(flat[:, left]).max(axis=0)] = 0.0
            again = np.abs(scaled[kept].T @ solved - flat[:, left])
            exact = (again <= _EXACT * np.maximum(np.abs(flat[:, left]), 1e-9)).all(axis=0)
            chosen = np.flatnonzero(left)[exact | (kept is own)]
            coefficients[np.ix_(kept, chosen)] = solved[:, exact | (kept is own)] / scale[kept, None]
            left[chosen] = False
            if not left.any():
                break
    rounded = np.round(coefficients * _DYADIC) / _DYADIC
    close = np.abs(rounded - coefficients) <= 1e-8 * np.abs(coefficients)
    coefficients = np.where(close, rounded, coefficients)
    off = np.abs(values.T @ coefficients - flat) > _EXACT * np.maximum(np.abs(flat), 1e-9)
    bent = np.asarray(off.any(axis=0).reshape(columns, n).any(axis=0), np.bool_)
    return np.ascontiguousarray(coefficients.T.reshape(columns, n, -1), np.float64), bent
