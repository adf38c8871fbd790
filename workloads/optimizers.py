"""Optimizers: what each keeps for a trained parameter, and what its update computes.

Mixed precision keeps fp32 master copies of 16-bit weights beside the moments (Micikevicius et al., arXiv:1710.03740;
Rajbhandari et al., ZeRO, arXiv:1910.02054, section 3.1). Optimizers for matrices (Muon) leave embeddings, heads and
norms to AdamW.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from hardware_specs.dtypes import BITS
from hardware_specs.errors import UnknownName
from workloads import operators as op
from workloads.operators import Operator, OpKind

MASTER_BYTES: Final = 4.0
"""An fp32 master copy of a parameter [B]."""
ADAM: Final = 8.0
"""Two fp32 moments of a parameter [B]."""
NEWTON_SCHULZ: Final = 5
"""Iterations that orthogonalise a matrix (Jordan et al., "Muon", 2024; Liu et al., arXiv:2502.16982, section 2.1)."""


class Optimizer(NamedTuple):
    """``moments`` are the bytes kept for each parameter of a matrix of the stack, ``ends`` those of embeddings, heads
    and norms; ``flops`` of an update of each (vector units); ``orthogonal``: updates of matrices are orthogonalised."""

    moments: float
    ends: float
    flops: float
    orthogonal: bool = False
    source: str = ""


OPTIMIZERS: Final[dict[str, Optimizer]] = {
    "adamw": Optimizer(ADAM, ADAM, 12.0, source="Loshchilov & Hutter, arXiv:1711.05101"),
    "adamw-8bit": Optimizer(
        2.0 * (1.0 + 4.0 / 2048.0), 2.0 * (1.0 + 4.0 / 2048.0), 20.0,
        source="Dettmers et al., arXiv:2110.02861: moments of 8 bits, one fp32 scale for blocks of 2,048",
    ),
    "adafactor": Optimizer(
        0.0, 0.0, 16.0,
        source="Shazeer & Stern, arXiv:1804.04235: sums of rows and columns instead of a second moment, no first one",
    ),
    "lion": Optimizer(4.0, 4.0, 8.0, source="Chen et al., arXiv:2302.06675: one moment"),
    "muon": Optimizer(
        4.0, ADAM, 6.0, True,
        source="Jordan et al., 2024; Liu et al., arXiv:2502.16982: one moment, orthogonalised in bf16",
    ),
    "momentum": Optimizer(4.0, 4.0, 4.0, source="Polyak 1964"),
    "sgd": Optimizer(0.0, 0.0, 2.0, source="Robbins & Monro 1951"),
}  # fmt: skip
"""Optimizers by name."""


class StateBytes(NamedTuple):
    """Weights, gradients and optimizer states (fp32 masters included) of a trained parameter [B]."""

    weights: float
    gradients: float
    states: float


def optimizer_of(name: str, place: str = "--optimizer") -> Optimizer:
    """The optimizer called ``name``.

    Raises:
        UnknownName: there is none.
    """
    if name not in OPTIMIZERS:
        raise UnknownName("optimizer", name, OPTIMIZERS, f"allowed: {', '.join(OPTIMIZERS)}", place)
    return OPTIMIZERS[name]


def state_bytes_per_parameter(
    dtype: str, half_gradients: bool = False, optimizer: str = "adamw", ends: float = 0.0
) -> StateBytes:
    """What a trained parameter takes under mixed precision, or in fp32.

    Args:
        dtype: of weights and activations in memory.
        half_gradients: gradients stay in that format; else they are kept and reduced in fp32 (as Megatron does).
        ends: share of parameters in embeddings, heads and norms.
    """
    own = optimizer_of(optimizer)
    moments = own.moments * (1.0 - ends) + own.ends * ends
    if BITS[dtype] >= 32:
        return StateBytes(4.0, 4.0, moments)
    return StateBytes(2.0, 2.0 if half_gradients else 4.0, moments + MASTER_BYTES)


def orthogonalised(
    products: Iterable[tuple[Operator, float]], gradient_bytes: float, share: float
) -> list[Operator]:  # fmt: skip
    """The products that make the updates of weight matrices orthogonal, on one device.

    Of a matrix [m, n] with m <= n each iteration takes A = X X^T, A A and (b A + c A A) X: 4 m^2 n + 2 m^3 FLOPs (Liu
    et al., arXiv:2502.16982, equation 2). A rank has the part of a matrix that tensor parallelism left it.

    Args:
        products: weight gradients [m, n] of one micro-batch, and how often each occurs.
        gradient_bytes: of each number that they write [B].
        share: part of the matrices that this device does; the other replicas that keep shards do theirs.
    """
    found = []
    for product, repeat in products:
        rows = product.m / product.batch if product.kind == OpKind.MOE_GEMM else product.m
        small, large = float(min(rows, product.n)), float(max(rows, product.n))
        count = NEWTON_SCHULZ * repeat * share * product.write_bytes / (gradient_bytes * small * large)
        name = product.name.removesuffix(".wgrad") + ".orthogonal"
        for what, m, n, k in (
            ("square", small, small, large),
            ("power", small, small, small),
            ("product", small, large, small),
        ):
            each = op.gemm(f"{name}.{what}", m, n, k, "bf16", batch=count, weights=False)
            found.append(replace(each, calls=count))
    return found
