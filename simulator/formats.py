"""Which math runs for a storage format on a device: native narrow products, or unpacking to a wider dtype."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hardware_specs.dtypes import BITS, COMPUTE_DTYPES, FALLBACKS
from hardware_specs.errors import InputError, UnknownName
from hardware_specs.records import DeviceSpec
from simulator.devices.model import native_dtype
from simulator.scenario import Formats
from workloads.compression import TWO_OF_FOUR, parse_activation, sparse_bits
from workloads.formats import StorageFormat, load_format
from workloads.lowering.plan import Precision
from workloads.recipes import PROMOTED, RECIPES, Recipe, Scaling, recipe_of, usual_recipe
from workloads.runtimes.record import Runtime

SPARSE_REACHED: Final = 0.87
"""Part of the gain of 2:4 units that large products reach: up to 1.7 times of the 2 were measured in 16 bits on an A100
(pytorch/ao, torchao/sparsity/README.md). Half of the math asks for as many activations."""


def wide_dtype(dtype: str, spec: DeviceSpec) -> str:
    """The dtype of attention, activations and an unquantised cache beside math in ``dtype``."""
    wide_exists = any(candidate in spec.compute.peaks for candidate in FALLBACKS["bf16"])
    return "bf16" if BITS[dtype] < 16 and wide_exists else dtype


def precision_of(formats: Formats, spec: DeviceSpec, runtime: Runtime | None = None) -> Precision:
    """The number formats of a run on ``spec``, with the sparse weights that ``runtime`` has kernels for.

    A weight format that hardware can multiply (fp8, int8, nvfp4) runs at the device's own rate for it where the
    device has that dtype; otherwise, and for weight-only formats, weights are unpacked to ``formats.dtype``.
    Beside a narrow ``formats.dtype`` attention and activations stay in bf16, unless the device has nothing that wide.
    Where ``formats.activation`` names a dtype, products run in that one: weights of fewer bits, or of another kind, are
    unpacked to it, and weights without a format of their own are stored in it.

    Raises:
        InputError: unknown dtype or format, or a dtype that the device cannot compute in.
    """
    if formats.dtype not in COMPUTE_DTYPES:
        raise UnknownName("dtype", formats.dtype, COMPUTE_DTYPES, "one of " + ", ".join(COMPUTE_DTYPES))
    native_dtype(spec, formats.dtype)
    wide = wide_dtype(formats.dtype, spec)
    weight = weight_format_of(formats)
    compute, dequantize = _compute(formats, weight, wide, spec)
    kv_bits = load_format(formats.kv).bits_per_weight if formats.kv else float(BITS[wide])
    activations = parse_activation(formats.activation)
    plain = Precision(
        compute=compute,
        attention=wide,
        weight_bits=weight.bits_per_weight,
        dequantize=dequantize,
        kv_bits=kv_bits,
        head_bits=weight.bits_per_weight if weight.quantizes_head else float(BITS[wide]),
        quantize=activations.scales if activations else "",
    )
    if not formats.sparsity or runtime is None or no_sparsity(formats, plain, spec, runtime):
        return plain
    bits = sparse_bits(weight.id, formats.sparsity)
    if formats.sparsity != TWO_OF_FOUR:
        return replace(plain, sparse_bits=bits)
    gain = spec.compute.sparse[compute].value
    return replace(plain, sparse_bits=bits, sparse_gain=gain, sparse_reached=max(SPARSE_REACHED, 1.0 / gain))


def weight_format_of(formats: Formats) -> StorageFormat:
    """The storage format of weights: as asked, else as the dtype of quantised activations, else as the dtype.

    Raises:
        UnknownName: no such format.
    """
    activations = parse_activation(formats.activation)
    narrow = activations.dtype if activations is not None and BITS[activations.dtype] < 16 else ""
    return load_format(formats.weight or narrow or formats.dtype)


def _compute(formats: Formats, weight: StorageFormat, wide: str, spec: DeviceSpec) -> tuple[str, int]:
    """The dtype of products of weights, and how these are unpacked to it (0: not at all)."""
    unpacked = 2 if weight.codebook else 3 if weight.one_scale else 1
    activations = parse_activation(formats.activation)
    if activations is None:
        if weight.compute_dtype in spec.compute.peaks and BITS[weight.compute_dtype] < 16:
            return weight.compute_dtype, 0
        return (wide, unpacked) if weight.bits_per_weight < 16 else (formats.dtype, 0)
    if BITS[activations.dtype] >= 16:
        return formats.dtype if BITS[formats.dtype] >= 16 else wide, unpacked * (weight.bits_per_weight < 16)
    if activations.dtype not in spec.compute.peaks:
        has = ", ".join(spec.compute.peaks)
        raise InputError(f"--activation-dtype {formats.activation}: {spec.id} has no such units; it has {has}", "dtype")
    if weight.value_bits > BITS[activations.dtype]:
        raise InputError(
            f"--activation-dtype {formats.activation}: weights of {weight.value_bits:g} bits ({weight.id}) are not "
            f"narrowed for a product in {activations.dtype}; store them in as many bits or fewer", "dtype",
        )  # fmt: skip
    own = weight.compute_dtype == activations.dtype and weight.value_bits == BITS[activations.dtype]
    return activations.dtype, 0 if own else unpacked


def no_sparsity(formats: Formats, precision: Precision, spec: DeviceSpec, runtime: Runtime) -> str:
    """Why sparse weights gain nothing on ``spec`` under ``runtime``, in words; "" where they do."""
    if not formats.sparsity:
        return ""
    stored, dtype = weight_format_of(formats), precision.compute
    base = stored.id.partition(":")[0]
    if formats.sparsity == TWO_OF_FOUR:
        if dtype not in spec.compute.sparse:
            return f"{spec.id} has no units for 2:4 sparse weights in {dtype}"
        return "" if base in runtime.sparse else f"{runtime.id} has no kernels for 2:4 sparse {base} weights"
    if base not in runtime.unpacks_zeros:
        return f"{runtime.id} has no kernels that leave single zeros of {stored.id} weights out"
    bits = sparse_bits(stored.id, formats.sparsity)
    if bits < stored.bits_per_weight:
        return ""
    return f"a mask and the other values take {bits:g} bits a weight, {stored.id} {stored.bits_per_weight:g}"


def training_precision(formats: Formats, spec: DeviceSpec, runtime: Runtime, frozen: bool = False) -> Precision:
    """The number formats of a training step on ``spec`` under ``runtime``.

    Weights that are trained are kept in 16 or 32 bits whatever the products run in; ``frozen`` ones (adapters are
    trained beside them) may be stored in any format, and are unpacked before each product. An 8-bit ``dtype`` or weight
    format without a recipe means the runtime's usual one.

    Raises:
        InputError: unknown names, a dtype or recipe that the device cannot run, trained weights in a packed format.
    """
    if formats.activation or formats.sparsity:
        flag = "--activation-dtype" if formats.activation else "--sparsity"
        raise InputError(f"{flag}: is of inference; training in 8 bits is --precision, and trains all weights")
    recipe = _recipe(formats, spec, runtime, frozen)
    if recipe is not None and recipe.narrow:
        _check_recipe(recipe, spec)
        wide = precision_of(Formats(wide_dtype(recipe.dtype, spec), "", formats.kv), spec)
        return replace(wide, compute=recipe.dtype, scaling=scaling_of(recipe, spec, runtime))
    dtype = formats.dtype if recipe is None else recipe.dtype
    plain = precision_of(Formats(dtype, "", formats.kv), spec)
    weight = load_format(formats.weight or dtype)
    if weight.bits_per_weight >= 16 or plain.compute.startswith("int"):
        return plain
    if not frozen:
        raise InputError(
            f"--weight-dtype {formats.weight}: weights that are trained cannot be stored in {weight.bits_per_weight:g} "
            "bits; use bf16, an 8-bit recipe (--precision), or --lora-rank for adapters beside them"
        )
    return replace(
        plain, weight_bits=weight.bits_per_weight, dequantize=1,
        head_bits=weight.bits_per_weight if weight.quantizes_head else plain.head_bits,
        scale_group=float(weight.group_size) if weight.double else 0.0,
    )  # fmt: skip


def scaling_of(recipe: Recipe, spec: DeviceSpec, runtime: Runtime) -> Scaling:
    """``recipe`` as it runs on ``spec`` under ``runtime``.

    8-bit matrix units of NVIDIA's before Blackwell read operands along the reduction only (cuBLAS: "TN"), and have sums
    of less than fp32; of others it is assumed that they read either way and sum in fp32.
    """
    hopper = spec.device_class == "gpu" and spec.vendor == "NVIDIA" and not takes_block_scales(spec)
    peaks = spec.compute.peaks
    promotion = 1.0 + peaks["fp8"].value / peaks["fp32"].value / PROMOTED if hopper and "fp32" in peaks else 1.0
    return Scaling(recipe, hopper, runtime.shards_replicas, promotion)


def takes_block_scales(spec: DeviceSpec) -> bool:
    """Whether the matrix units of ``spec`` take scales of blocks of 32: those that have 4-bit floating point do
    (Blackwell, CDNA 4, Trainium3), assumed of all that have it."""
    return "fp4" in spec.compute.peaks


def _recipe(formats: Formats, spec: DeviceSpec, runtime: Runtime, frozen: bool) -> Recipe | None:
    """The recipe that is asked for, or that an 8-bit dtype or weight format stands for; None for none."""
    if formats.recipe:
        return recipe_of(formats.recipe)
    if formats.dtype == "fp8":
        return usual_recipe(runtime.id)
    weight = load_format(formats.weight) if formats.weight else None
    if weight is None or weight.compute_dtype != "fp8" or (frozen and "fp8" not in spec.compute.peaks):
        return None
    return usual_recipe(runtime.id, weight.id)


def _check_recipe(recipe: Recipe, spec: DeviceSpec) -> None:
    """Refuse a recipe whose products the device cannot run."""
    if recipe.dtype in spec.compute.peaks and (takes_block_scales(spec) or not recipe.block_units):
        return
    what = "takes no scales of blocks" if recipe.dtype in spec.compute.peaks else f"has no {recipe.dtype} units"
    able = [
        each.name
        for each in RECIPES
        if each.dtype in spec.compute.peaks and (takes_block_scales(spec) or not each.block_units)
    ]
    raise InputError(f"--precision {recipe.name}: {spec.id} {what}; it can train in {', '.join(able)}", "dtype")
