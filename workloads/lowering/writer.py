"""Writes operators that every mixer and MLP is made of: products with weights, as the run's formats ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hardware_specs.dtypes import BITS
from workloads import operators as op
from workloads.graph import GraphBuilder
from workloads.lowering.plan import Lowering
from workloads.models.architecture import Architecture
from workloads.models.parameters import rank_of
from workloads.operators import Operator


@dataclass(frozen=True, slots=True)
class Tokens:
    """What passes through a layer: ``batch`` sequences of ``q_len`` new tokens, each with ``kv_len`` visible."""

    batch: float
    q_len: float
    kv_len: float

    @property
    def rows(self) -> float:
        """Rows of every matrix product: new tokens of the whole batch."""
        return self.batch * self.q_len


class ProductWriter:
    """Writes products with weights into a ``GraphBuilder``, one device's share of each."""

    def __init__(self, builder: GraphBuilder, arch: Architecture, tokens: Tokens, how: Lowering) -> None:
        self.builder, self.arch, self.tokens, self.how = builder, arch, tokens, how
        self.dtype = how.precision.attention
        self.whole_rows = tokens.rows * how.sharding.whole_share
        """Rows of what is not cut across widths."""

    def add(self, operator: Operator) -> int:
        """Write ``operator``; its place."""
        return self.builder.add(operator)

    def gemm(
        self, name: str, n: float, k: float, *, rows: float | None = None, batch: float = 1.0, again: bool = False,
        whole_rows: bool = True,
    ) -> None:  # fmt: skip
        """A product of activations with a weight matrix [n, k] in the run's weight format.

        Args:
            again: the product before has the same input.
            whole_rows: the input comes from a kernel that has each row at once, and so its largest value.
        """
        p, m = self.how.precision, self.tokens.rows if rows is None else rows
        if p.quantize and not again:
            self._quantise(name, m, k * batch, whole_rows)
        product = op.gemm(
            name, m, n, k, p.compute, batch=batch, weight_bits=p.stack_bits, dequantize=p.stack_dequantize,
            activation_dtype=p.attention,
        )  # fmt: skip
        if p.sparse_gain > 1.0:
            product = op.skipping(product, p.sparse_gain, p.sparse_reached)
        if p.quantize:
            product = replace(product, read_bytes=product.read_bytes * BITS[p.compute] / BITS[p.attention])
        self.add(product)

    def _quantise(self, name: str, rows: float, cols: float, whole_rows: bool) -> None:
        """Quantisation of the input of a product, unless the kernel that makes the input does it on the way.

        Scales that are known before can be applied anywhere, those of a row only by a kernel that has all of it.
        """
        p = self.how.precision
        dynamic = p.quantize == "dynamic"
        if self.how.fused("quantize") and (whole_rows or not dynamic):
            return
        bits = float(BITS[p.compute])
        self.add(op.quantisation(f"{name}.quantize", rows, cols, self.dtype, bits=bits, dynamic=dynamic))

    def linear(
        self, name: str, parts: Mapping[str, tuple[float, int]], k: float, whole: int, *, again: bool = False,
        whole_rows: bool = True,
    ) -> None:  # fmt: skip
        """Matrices of ``k`` columns that multiply one input, as one product; of low rank a product with all first
        factors (and what stays whole), then one with each second factor.

        Args:
            parts: rows of each matrix on this device, and in the model.
            whole: columns in the model.
        """
        ranks = {key: rank_of(rows, whole, self.arch.low_rank) for key, (_, rows) in parts.items()}
        first = sum(float(ranks[key]) or own for key, (own, _) in parts.items())
        if not any(ranks.values()):
            self.gemm(name, first, k, again=again, whole_rows=whole_rows)
            return
        self.gemm(f"{name}.first", first, k, again=again, whole_rows=whole_rows)
        for key, rank in ranks.items():
            if rank:
                self.gemm(f"{name}.second{f'.{key}' if len(parts) > 1 else ''}", parts[key][0], rank, whole_rows=False)
