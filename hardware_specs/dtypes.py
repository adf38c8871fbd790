"""Number formats that a device computes in, with the integer code that the kernels use.

Storage formats of weights (int4 groups, GGUF ...) are another thing: see ``workloads.formats``.
"""

from __future__ import annotations

from typing import Final

COMPUTE_DTYPES: Final = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8", "fp4", "int4")
"""Every compute dtype; the index of a name is its code in kernels and parameter arrays."""

CODE: Final = {name: code for code, name in enumerate(COMPUTE_DTYPES)}

BITS: Final = {
    "fp64": 64, "fp32": 32, "tf32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "fp4": 4, "int4": 4,
}  # fmt: skip
"""Bits of one element in memory (tf32 is stored as fp32)."""

FALLBACKS: Final = {
    "fp64": ("fp64",),
    "fp32": ("fp32",),
    "tf32": ("tf32", "fp32"),
    "bf16": ("bf16", "fp16", "fp32"),
    "fp16": ("fp16", "bf16", "fp32"),
    "fp8": ("fp8",),
    "int8": ("int8",),
    "fp4": ("fp4",),
    "int4": ("int4",),
}
"""Dtypes at whose rate a device may run the key's math, best first. The fp32 entries mean emulation by
up-conversion, which every CPU library does; 8-bit and 4-bit math is never emulated silently."""
