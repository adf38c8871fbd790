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
    "fp32": ("fp32", "bf16"),
    "tf32": ("tf32", "fp32"),
    "bf16": ("bf16", "fp16", "fp32"),
    "fp16": ("fp16", "bf16", "fp32"),
    "fp8": ("fp8",),
    "int8": ("int8",),
    "fp4": ("fp4",),
    "int4": ("int4",),
}
"""Dtypes at whose rate a device may run the key's math, best first. 16-bit math runs in fp32 by up-conversion, which
every CPU library does, and fp32 in several bf16 products; 8-bit and 4-bit math is never emulated silently."""

PASSES: Final = {("fp32", "bf16"): 6.0}
"""Products in the second dtype for one in the first, where that is not one: an fp32 value is three bf16 values, and six
of the nine cross products carry its accuracy (Henry, Tang, Heinecke, ARITH 2019, arXiv:1904.06376)."""
