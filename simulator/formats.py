"""Which math runs for a storage format on a device: native narrow products, or unpacking to a wider dtype."""

from __future__ import annotations

from hardware_specs.dtypes import BITS, COMPUTE_DTYPES, FALLBACKS
from hardware_specs.errors import UnknownName
from hardware_specs.records import DeviceSpec
from simulator.devices.model import native_dtype
from simulator.scenario import Formats
from workloads.formats import load_format
from workloads.lowering.plan import Precision


def wide_dtype(dtype: str, spec: DeviceSpec) -> str:
    """The dtype of attention, activations and an unquantised cache beside math in ``dtype``."""
    wide_exists = any(candidate in spec.compute.peaks for candidate in FALLBACKS["bf16"])
    return "bf16" if BITS[dtype] < 16 and wide_exists else dtype


def precision_of(formats: Formats, spec: DeviceSpec) -> Precision:
    """The number formats of a run on ``spec``.

    A weight format that hardware can multiply (fp8, int8, nvfp4) runs at the device's own rate for it where the
    device has that dtype; otherwise, and for weight-only formats, weights are unpacked to ``formats.dtype``.
    Beside a narrow ``formats.dtype`` attention and activations stay in bf16, unless the device has nothing that wide.

    Raises:
        InputError: unknown dtype or format, or a dtype that the device cannot compute in.
    """
    if formats.dtype not in COMPUTE_DTYPES:
        raise UnknownName("dtype", formats.dtype, COMPUTE_DTYPES, "one of " + ", ".join(COMPUTE_DTYPES))
    native_dtype(spec, formats.dtype)
    wide = wide_dtype(formats.dtype, spec)
    weight = load_format(formats.weight or formats.dtype)
    compute, dequantize = formats.dtype, False
    if weight.compute_dtype and weight.compute_dtype in spec.compute.peaks and BITS[weight.compute_dtype] < 16:
        compute = weight.compute_dtype
    elif weight.bits_per_weight < 16:
        compute, dequantize = wide, True
    kv_bits = load_format(formats.kv).bits_per_weight if formats.kv else float(BITS[wide])
    return Precision(
        compute=compute,
        attention=wide,
        weight_bits=weight.bits_per_weight,
        dequantize=dequantize,
        kv_bits=kv_bits,
        head_bits=weight.bits_per_weight if weight.quantizes_head else float(BITS[wide]),
    )
