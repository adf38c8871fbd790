"""GPUs: one law per operator family, in files of their own.

Products own output tiles, experts groups of row tiles, flash attention query tiles, decode pieces of a cache, vector
kernels rows: thread blocks of each kind take turns on the multiprocessors while operands stream from memory.

Reference: NVIDIA, "Matrix Multiplication Background User's Guide", DU-09799-001 (tile and wave quantisation);
Dao, "FlashAttention-2", arXiv:2307.08691; the files of the families.
"""

from __future__ import annotations

from typing import Any

from hardware_specs.facts import Fit
from simulator.devices import gpu_attention, gpu_experts, gpu_products, gpu_vector
from simulator.devices.gpu_attention import decode, prefill
from simulator.devices.gpu_experts import experts
from simulator.devices.gpu_products import gemm
from simulator.devices.gpu_vector import vector, vector_bytes_s
from simulator.devices.priors import COMMON, constant
from simulator.devices.registry import Law, register
from simulator.kernels.jit import law_kernel
from simulator.kernels.roofline import (
    ATTENTION_DECODE,
    ATTENTION_PREFILL,
    COLLECTIVE,
    MOE,
    OPTIMIZER,
    VECTOR,
    bytes_s,
    family_of,
    settle,
)


@law_kernel
def cost(ops: Any, which: Any, records: Any, out: Any) -> None:
    """Price all operators on all devices; see ``Law.cost``."""
    for d in range(out.shape[0]):
        for i in range(ops.kind.shape[0]):
            p = records[which[d, i]]
            family = family_of(ops.kind[i])
            if family >= COLLECTIVE:
                out[d, :, i] = 0.0
                continue
            least_s = bytes_s(ops, i, p)
            if family in (VECTOR, OPTIMIZER):
                parts = vector(p, ops, i)
                least_s = vector_bytes_s(p, ops, i)
            elif family == MOE:
                parts = experts(p, ops, i)
            elif family == ATTENTION_PREFILL:
                parts = prefill(p, ops, i)
            elif family == ATTENTION_DECODE:
                parts = decode(p, ops, i)
                if p.vector_decode > 0.0 and ops.heads[i] != p.grouped_heads * ops.kv_heads[i]:
                    alone_s = ops.flops[i] / (p.vector_share * p.vector_peak)
                    parts = (max(parts[0], alone_s), parts[1], parts[2], parts[3])
            else:
                parts = gemm(p, ops, i)
            settle(ops, i, p, parts[0], parts[1], parts[2], parts[3], least_s, out[d])


_LOOKED_AT = {
    "vidur": ("a100-sxm-80gb", "a40", "h100-sxm-80gb"),
    "aiconfigurator": ("a100-sxm-80gb", "h100-sxm-80gb", "h200-sxm-141gb"),
    "frontier": ("a100-sxm-80gb", "a800-sxm-80gb", "h100-sxm-80gb", "h800-sxm-80gb"),
    "llmservingsim": ("h100-sxm-80gb", "rtx-3090", "rtx-4090"),
    "infersim": ("h800-sxm-80gb",),
    "neusight": ("a100-pcie-40gb", "p100-pcie-16gb", "p4-pcie-8gb", "t4", "v100-pcie-32gb"),
}
FITS = tuple(
    Fit(
        f"gpu-priors-{source}", (source,), date="2026-11-25", devices=devices,
        rule="priors of every family and constants of the laws: rounded middle of fits of all devices measured",
    )
    for source, devices in _LOOKED_AT.items()
)  # fmt: skip
"""Measured rows that class priors of this law were set from."""
PACKED_FIT = Fit(
    "gpu-packed-products", ("llamacpp_scoreboards_via_willitrun",),
    "time of dot products and of scales in products of packed weights: two numbers through all rows of prompts",
    "2026-11-26", (
        "a100-pcie-80gb", "a30", "a40", "gtx-1070-ti", "gtx-1080-ti", "gtx-1660", "h100-pcie-80gb",
        "jetson-agx-orin-64gb", "l40", "quadro-rtx-4000", "quadro-rtx-6000", "quadro-rtx-8000", "rtx-2060-super",
        "rtx-2070-super", "rtx-2080-ti", "rtx-3060", "rtx-3080", "rtx-3090-ti", "rtx-4060-ti", "rtx-4070-ti-super",
        "rtx-4080", "rtx-4080-super", "rtx-4090-d", "rtx-6000-ada", "rtx-a4000", "rtx-a4500", "rtx-a5000", "rtx-a6000",
        "rtx-pro-6000-workstation", "t4", "tesla-p40", "titan-xp",
    ),
)  # fmt: skip
"""What the numbers of ``gpu_products.packed_peak`` were set from."""
LANES_FIT = Fit(
    "gpu-packed-lanes", ("llamacpp_scoreboards_via_willitrun",),
    "time of dot products on vector lanes by shaders, and how little Pascal boards hide: by hand, on all rows",
    "2026-11-26", (
        "arc-a750", "arc-a770-16gb", "arc-a770m", "arc-b570", "arc-b580", "arc-pro-b50", "arc-pro-b60", "gtx-1070",
        "gtx-1070-ti", "gtx-1080-ti", "gtx-1660", "gtx-1660-ti-mobile", "rx-6700-xt", "ryzen-ai-max-395", "tesla-p40",
        "titan-xp",
    ),
)  # fmt: skip
"""What the number of ``gpu_products.lane_peak`` and the lower value of ``gpu_products.overlap`` were set from."""
QUERY_FIT = Fit(
    "gpu-vector-decode", ("trtllm_perf_doc_v0.5-v0.9",),
    "vector_share, by hand: decode of Mistral 7B, Llama 2 70B (0.7.1) and Falcon 180B, whose attention runs at 8.5 to "
    "10 TFLOP/s on H100 and H200 alike and 3.5 to 4.3 on A100, factors of the runtimes (1.34, 1.5) divided out",
    "2026-11-26", ("a100-sxm-80gb", "h100-sxm-80gb", "h200-sxm-141gb"),
)  # fmt: skip
"""What the rate of decode attention on vector units was set from."""

LAW = register(
    Law(
        "gpu",
        (
            *COMMON,
            *gpu_products.PARAMETERS,
            gpu_products.DOT_PEAK,
            *gpu_experts.PARAMETERS,
            *gpu_attention.PREFILL_PARAMETERS,
            *gpu_attention.DECODE_PARAMETERS,
            *gpu_vector.PARAMETERS,
            constant("vector_share", "number", 0.115, "share of the vector rate of decode attention on vector units"),
            constant("dequantize_share", "number", 0.25, "share of the vector rate that weight unpacking reaches"),
        ),
        cost,
        "tile and wave quantisation, flash attention, pieces of caches, rows in turns",
        (*FITS, PACKED_FIT, LANES_FIT, QUERY_FIT),
    )
)
