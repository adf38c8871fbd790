"""The record of one operator: its kind, sizes, FLOPs and bytes. Constructors are in ``workloads.operators``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from hardware_specs.dtypes import BITS


class OpKind(IntEnum):
    """What an operator is; the value is its code in kernels."""

    GEMM = 0
    BATCHED_GEMM = 1
    MOE_GEMM = 2
    ATTENTION_PREFILL = 3
    ATTENTION_DECODE = 4
    MLA_PREFILL = 5
    MLA_DECODE = 6
    ATTENTION_BACKWARD = 7
    NORM = 8
    ROPE = 9
    ACTIVATION = 10
    ELEMENTWISE = 11
    SOFTMAX = 12
    EMBEDDING = 13
    SAMPLING = 14
    SSM_SCAN = 15
    CONVOLUTION = 16
    VECTOR_SEARCH = 17
    OPTIMIZER = 18
    STREAM_COPY = 19
    ALL_REDUCE = 20
    ALL_GATHER = 21
    REDUCE_SCATTER = 22
    ALL_TO_ALL = 23
    SEND_RECV = 24
    TRANSFER = 25


FAMILIES: Final = (
    "gemm",
    "moe",
    "attention_prefill",
    "attention_decode",
    "vector",
    "optimizer",
    "collective",
    "transfer",
)
"""Operator families: the unit of efficiency parameters, residuals and breakdowns."""

FAMILY: Final[dict[OpKind, str]] = {
    OpKind.GEMM: "gemm", OpKind.BATCHED_GEMM: "gemm", OpKind.CONVOLUTION: "gemm", OpKind.VECTOR_SEARCH: "gemm",
    OpKind.MOE_GEMM: "moe",
    OpKind.ATTENTION_PREFILL: "attention_prefill", OpKind.MLA_PREFILL: "attention_prefill",
    OpKind.ATTENTION_BACKWARD: "attention_prefill",
    OpKind.ATTENTION_DECODE: "attention_decode", OpKind.MLA_DECODE: "attention_decode",
    OpKind.NORM: "vector", OpKind.ROPE: "vector", OpKind.ACTIVATION: "vector", OpKind.ELEMENTWISE: "vector",
    OpKind.SOFTMAX: "vector", OpKind.EMBEDDING: "vector", OpKind.SAMPLING: "vector", OpKind.SSM_SCAN: "vector",
    OpKind.STREAM_COPY: "vector",
    OpKind.OPTIMIZER: "optimizer",
    OpKind.ALL_REDUCE: "collective", OpKind.ALL_GATHER: "collective", OpKind.REDUCE_SCATTER: "collective",
    OpKind.ALL_TO_ALL: "collective", OpKind.SEND_RECV: "collective",
    OpKind.TRANSFER: "transfer",
}  # fmt: skip

FAMILY_CODES: Final = np.array([FAMILIES.index(FAMILY[kind]) for kind in OpKind], np.int64)
"""Place of the family in ``FAMILIES`` by operator kind."""

COLLECTIVES: Final = frozenset(kind for kind, family in FAMILY.items() if family == "collective")


@dataclass(frozen=True, slots=True)
class Operator:
    """One call.

    ``m, n, k, batch`` are the sizes of the product (attention: queries, visible keys, head width, sequences;
    vector operators: rows, columns). ``heads``, ``kv_heads``, ``value_dim`` belong to attention. ``group``
    is the number of participants of a collective along the parallelism ``axis`` ("tp", "pp", "dp", "ep"),
    ``message_bytes`` its message: the tensor on each rank
    (all-reduce, send/recv), the full gathered tensor (all-gather), the full input (reduce-scatter), the send
    buffer (all-to-all). ``weight_bits`` below 16 with ``dequantize`` means weights are unpacked to ``dtype``
    (1: by shifts and masks, 2: by look-ups in a codebook, 3: as 1, of blocks with one scale and no more).
    ``calls`` is how many equal kernels the operator is launched as, one after the other (experts in a loop).
    ``copies`` is how many of the m rows stem from one row of activations (experts per token).
    ``experts`` is how many experts lie on the device (``batch`` of them are active), ``imbalance`` the rows of the
    hottest over the mean of the active ones.
    """

    name: str
    kind: OpKind
    dtype: str
    m: float = 1.0
    n: float = 1.0
    k: float = 1.0
    batch: float = 1.0
    heads: float = 1.0
    kv_heads: float = 1.0
    value_dim: float = 0.0
    flops: float = 0.0
    vector_flops: float = 0.0
    weight_bytes: float = 0.0
    read_bytes: float = 0.0
    write_bytes: float = 0.0
    message_bytes: float = 0.0
    group: int = 1
    axis: str = ""
    weight_bits: float = 16.0
    dequantize: int = 0
    calls: float = 1.0
    copies: float = 1.0
    experts: float = 1.0
    imbalance: float = 1.0

    @property
    def family(self) -> str:
        """The family this operator is priced and reported under."""
        return FAMILY[self.kind]

    @property
    def moved_bytes(self) -> float:
        """Bytes that must cross the memory interface at least once [B]."""
        return self.weight_bytes + self.read_bytes + self.write_bytes


def element_bytes(dtype: str) -> float:
    """Bytes of one element of a compute dtype [B]."""
    return BITS[dtype] / 8.0


def activation_bytes(dtype: str) -> float:
    """Bytes of one activation in memory beside math in ``dtype`` [B]: 8- and 4-bit products keep 16-bit ones."""
    return max(element_bytes(dtype), 2.0)
