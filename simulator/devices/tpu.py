"""TPUs: few large systolic arrays under a compiler that schedules everything ahead.

Reference: ``simulator.devices.systolic``; Austin et al., "How to Scale Your Model", 2025 (padding, VMEM, XLA).
"""

from __future__ import annotations

from simulator.devices.priors import COMMON, constant
from simulator.devices.registry import Law, register
from simulator.devices.systolic import array_parameters, cost

LAW = register(
    Law(
        "tpu",
        (
            *(parameter for parameter in COMMON if parameter.name != "units"),
            *array_parameters(128.0, 128.0),
            constant("gemm_share", "number", 0.90, "share of the dense peak that large products sustain"),
            constant("row_tile", "number", 8.0, "rows are padded to the sublanes"),
            constant("attention_share", "number", 0.45, "share of the dense peak that flash attention sustains"),
            constant("stream_share", "number", 0.85, "share of the bandwidth that weights stream at"),
            constant("kv_share", "number", 0.60, "share of the bandwidth that decode attention reads the cache at"),
            constant("vector_share", "number", 0.80, "share of bandwidth and vector rate of elementwise operators"),
            constant("dequantize_share", "number", 0.25, "share of the vector rate that weight unpacking reaches"),
            constant("overlap_exponent", "number", 3.0, "how well compute hides memory time"),
            constant("floor_s", "s", 1.0e-6, "shortest operator: DMA issue and array fill"),
        ),
        cost,
        "systolic padding, weight loading, XLA schedule",
    )
)
