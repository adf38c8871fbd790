"""What runs before products in training that multiply other numbers than memory holds.

8-bit products: their operands are scaled and rounded (see ``workloads.recipes``), in operators named after the product:
"attention.qkv.quantize" of its input, "attention.qkv.weight.quantize", and "attention.qkv.quantize.backward" of the
gradient of its output. Products with the same input (queries, keys and values; gate and up) share its cast. Where ranks
share tokens (sequence parallelism) each casts its own before they are gathered.

Packed frozen weights (QLoRA; Dettmers et al., arXiv:2305.14314): a kernel writes them to memory in 16 bits before each
product, "attention.qkv.unpack", and, with scales that are quantised themselves, one before it unpacks the scales
(bitsandbytes: ``dequantize_4bit``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final, NamedTuple

from hardware_specs.dtypes import BITS
from workloads import operators as op
from workloads.lowering.plan import Lowering
from workloads.lowering.recompute import Piece
from workloads.operators import Operator, OpKind
from workloads.recipes import TRANSPOSE, Kernel

SAME_INPUT: Final = (frozenset({"q", "k", "v"}), frozenset({"q_a", "kv_a"}), frozenset({"gate", "up"}))
"""Last parts of the names of products that read the same input."""
BEHIND_NORM: Final = ("q", "k", "v", "qkv", "q_a", "kv_a", "gate", "up", "gate_up", "in")
"""Those of products whose input comes from a norm, and with sequence parallelism is gathered."""
BEFORE_SUM: Final = ("out", "down")
"""Those of products whose output is summed over the tp ranks: with sequence parallelism its gradient is gathered."""
_ENDS: Final = (".recompute", ".backward")


class Written(NamedTuple):
    """Layers that run alike: which, how, and their forward operators."""

    piece: Piece
    how: Lowering
    forward: list[Operator]


def written_layers(
    pieces: Sequence[Piece], how: Lowering, write: Callable[[int, Lowering], list[Operator]]
) -> list[Written]:  # fmt: skip
    """``pieces`` of the stack, cut where a recipe leaves layers at its ends in 16 bits; ``write`` lowers a layer of a
    group."""
    scaling, total = how.precision.scaling, sum(piece.layers for piece in pieces)
    ends = scaling.recipe.wide_ends if scaling else 0
    wide = replace(how, precision=how.precision.wide) if ends else how
    written: dict[tuple[int, bool], list[Operator]] = {}
    found, before = list[Written](), 0
    for piece in pieces:
        cuts = sorted({0, piece.layers, *(min(max(at - before, 0), piece.layers) for at in (ends, total - ends))})
        for first, after in pairwise(cuts):
            outside = before + first < ends or before + first >= total - ends
            own, key = wide if outside else how, (piece.group, outside)
            if key not in written:
                written[key] = write(piece.group, own)
            found.append(Written(piece._replace(layers=after - first), own, written[key]))
        before += piece.layers
    return found


def with_casts(
    forward: Sequence[Operator], how: Lowering, frozen: bool, columns: bool, kept: Sequence[Operator] = ()
) -> list[Operator]:  # fmt: skip
    """``forward`` operators of a layer, or those that run again, and what must run before their products.

    Args:
        frozen: weights outside of adapters are not trained.
        columns: whether inputs are kept for the gradients of weights, or that is left to a second run.
        kept: operators of the layer whose results are kept, but not the copies of their inputs: those are cast again,
            by the largest values of before.
    """
    found, last = list[Operator](), ""
    for operator in kept if not frozen else ():
        if is_cast(operator, how) and not _same_input(last, operator.name):
            again = replace(operator, name=operator.name + ".recompute")
            found += [each for each in _inputs(again, how, True) if ".amax" not in each.name]
        last = operator.name if is_cast(operator, how) else last
    last = ""
    for operator in forward:
        if is_cast(operator, how):
            if not _same_input(last, operator.name):
                found += _inputs(operator, how, columns and not frozen)
            last = operator.name
            found += _weights(operator, how, "")
        elif operator.dequantize:
            found += _unpacked(operator, how, "")
        found.append(narrowed(operator, how))
    return found


def backward_with_casts(operator: Operator, parts: Iterable[Operator], how: Lowering, frozen: bool) -> list[Operator]:
    """``parts`` of the backward of ``operator``, and what must run before them."""
    found = list[Operator]()
    if is_cast(operator, how):
        found += _gradients(operator, how, not frozen) + _weights(operator, how, ".backward")
    elif operator.dequantize:
        found += _unpacked(operator, how, ".backward")
    for each in parts:
        if is_cast(operator, how) and each.name.endswith(".wgrad"):
            found.append(_promoted(_weight_gradient(each, operator, how), how))
        else:
            found.append(_promoted(narrowed(each, how), how))
    return found


def _promoted(gradient: Operator, how: Lowering) -> Operator:
    """A product of gradients in 8 bits whose sums leave the matrix units every few steps: its blocks walk through a
    longer reduction; FLOPs and bytes are those that it has."""
    scaling = how.precision.scaling
    if scaling is None or gradient.family != "gemm" or BITS[gradient.dtype] != 8:
        return gradient
    return replace(gradient, k=gradient.k * scaling.depth(gradient.weight_bytes > 0.0))


def weight_casts(numbers: float, how: Lowering, tensors: float = 1.0) -> list[Operator]:
    """Casts that run once for a step, of ``numbers`` weights of linear layers in ``tensors`` matrices (in the first
    micro-batch in Transformer Engine); none where weights are cast in each micro-batch."""
    scaling = how.precision.scaling
    if scaling is None or scaling.each_time:
        return []
    kernels = [*scaling.weights(False), *scaling.weights(True)]
    return [_cast("optimizer.weight", "", kernel, tensors, numbers / tensors) for kernel in kernels]


def loss_scaling(numbers: float, gradient_bytes: float) -> list[Operator]:
    """Division of ``numbers`` gradients by the scale of the loss and their check for overflow, before the update of
    fp16 training: read once, written in fp32 (Micikevicius et al., arXiv:1710.03740, section 3.2)."""
    whole = op.elementwise("optimizer.unscale", 1.0, numbers, "fp32", inputs=1)
    return [replace(whole, vector_flops=2.0 * numbers, read_bytes=numbers * gradient_bytes, write_bytes=4.0 * numbers)]


def is_cast(operator: Operator, how: Lowering) -> bool:
    """Whether ``operator`` is a product of a linear layer in 8 bits."""
    narrow = operator.family in ("gemm", "moe") and operator.weight_bytes > 0.0 and BITS[operator.dtype] == 8
    return how.precision.scaling is not None and narrow


def narrowed(operator: Operator, how: Lowering) -> Operator:
    """``operator`` as it reads operands that are cast or unpacked, or gathers tokens in the bits of the recipe."""
    scaling = how.precision.scaling
    if operator.dequantize:
        flops = max(operator.vector_flops - _weights_of(operator), 0.0)
        return replace(
            operator,
            weight_bytes=_weights_of(operator) * BITS[operator.dtype] / 8.0,
            weight_bits=float(BITS[operator.dtype]),
            dequantize=0,
            vector_flops=flops,
        )
    if scaling is None:
        return operator
    share, bits = 8.0 / BITS[how.precision.attention], scaling.recipe.weight_bits
    if operator.kind == OpKind.ALL_GATHER and operator.axis == "tp" and scaling.recipe.gathers:
        return replace(operator, message_bytes=operator.message_bytes * share)
    if not is_cast(operator, how):
        return operator
    return replace(
        operator,
        read_bytes=operator.read_bytes * share,
        weight_bytes=_weights_of(operator) * bits / 8.0,
        weight_bits=bits,
    )


def _weight_gradient(gradient: Operator, product: Operator, how: Lowering) -> Operator:
    """The gradient of the weights of ``product`` from cast operands, or from the 16-bit ones themselves."""
    scaling = how.precision.scaling
    assert scaling is not None
    if scaling.recipe.weight_gradient != "fp8":
        return replace(gradient, dtype=scaling.recipe.weight_gradient)
    saved = (product.read_bytes + product.write_bytes) * (1.0 - 8.0 / BITS[how.precision.attention])
    return replace(gradient, read_bytes=gradient.read_bytes - saved, weight_bits=8.0)


def _weights_of(operator: Operator) -> float:
    """Weights that a product reads."""
    return operator.weight_bytes * 8.0 / operator.weight_bits


def _parts(name: str) -> tuple[str, str, str]:
    """A name without its last part, its last part, and which way it runs: ("attention", "qkv", ".recompute")."""
    end = next((each for each in _ENDS if name.endswith(each)), "")
    stem, _, last = name.removesuffix(end).rpartition(".")
    return stem, last, end


def _same_input(one: str, other: str) -> bool:
    """Whether two products of the same part of a layer read the same input."""
    (stem, last, _), (stem_, last_, _) = _parts(one), _parts(other)
    return stem == stem_ and any({last, last_} <= names for names in SAME_INPUT)


def _inputs(operator: Operator, how: Lowering, columns: bool) -> list[Operator]:
    """Casts of the input of a product; of experts also of what lies between their projections."""
    stem, last, end = _parts(operator.name)
    behind = last in BEHIND_NORM
    fused = how.fused("quantize") or (behind and how.fused("residual_norm"))
    if operator.kind == OpKind.MOE_GEMM:
        widths = (operator.k, operator.n if _projections(operator) > 1.0 else 0.0)
        return _of_experts(operator, widths, how, columns, end)
    rows = operator.batch * operator.m
    return _operand(f"{stem}.{last}", end, (rows, operator.k), how, columns, fused, behind)


def _gradients(operator: Operator, how: Lowering, columns: bool) -> list[Operator]:
    """Casts of the gradient of a product's output; of experts also of the gradient of what lies between."""
    stem, last, _ = _parts(operator.name)
    if operator.kind == OpKind.MOE_GEMM:
        first = (_projections(operator) - 1.0) * operator.n
        return _of_experts(operator, (operator.k, first) if first else (operator.n,), how, columns, ".backward")
    size, fused = (operator.batch * operator.m, operator.n), how.fused("quantize")
    return _operand(f"{stem}.{last}", ".backward", size, how, columns, fused, last in BEFORE_SUM)


def _of_experts(
    operator: Operator, widths: Sequence[float], how: Lowering, columns: bool, end: str
) -> list[Operator]:  # fmt: skip
    """Casts of the rows of experts, before their first projection and between that and the last one."""
    stem, last, _ = _parts(operator.name)
    names = (f"{stem}.{last}", f"{stem}.{last}.inner")
    return [
        each
        for name, width in zip(names, widths, strict=False)
        if width
        for each in _operand(name, end, (operator.m, width), how, columns, how.fused("quantize"), False)
    ]


def _operand(
    name: str, end: str, size: tuple[float, float], how: Lowering, columns: bool, fused: bool, gathered: bool
) -> list[Operator]:  # fmt: skip
    """Casts of one operand of ``size`` rows and columns; of one that is ``gathered`` in 8 bits each rank casts its
    part, and transposes what has arrived."""
    scaling = how.precision.scaling
    assert scaling is not None
    rows, cols = size
    share = how.sharding.whole_share if gathered and scaling.recipe.gathers else 1.0
    if share == 1.0 or scaling.recipe.scales not in ("tensor", "history"):
        return [_cast(name, end, kernel, rows * share, cols) for kernel in scaling.activation(columns, fused)]
    found = [_cast(name, end, kernel, rows * share, cols) for kernel in scaling.activation(False, fused)]
    if scaling.activation(columns) != scaling.activation(False):
        found.append(_cast(name, end, TRANSPOSE, rows, cols))
    return found


def _weights(operator: Operator, how: Lowering, end: str) -> list[Operator]:
    """Casts of weights that are not there in 8 bits yet; ``end`` ".backward" of their columns."""
    scaling = how.precision.scaling
    assert scaling is not None
    if not scaling.each_time:
        return []
    stem, last, again = _parts(operator.name)
    numbers, kernels = _weights_of(operator), scaling.weights(end == ".backward")
    return [
        _cast(f"{stem}.{last}.weight", end or again, kernel, numbers / operator.k, operator.k) for kernel in kernels
    ]


def _cast(name: str, end: str, kernel: Kernel, rows: float, cols: float) -> Operator:
    """One kernel over an operand of the product ``name``; ``end`` says which way it runs."""
    what = f"{name}.quantize.{kernel.name}" if kernel.name else f"{name}.quantize"
    numbers = rows * cols
    return replace(
        op.elementwise(what + end, rows, cols, "bf16", inputs=1), vector_flops=2.0 * numbers,
        read_bytes=kernel.read_bytes * numbers, write_bytes=kernel.write_bytes * numbers,
    )  # fmt: skip


def _projections(operator: Operator) -> float:
    """Products of each row with the weights of an expert."""
    return round(operator.flops / (2.0 * operator.m * operator.n * operator.k))


def _unpacked(operator: Operator, how: Lowering, end: str) -> list[Operator]:
    """Packed weights written to memory in 16 bits, and before that their scales in fp32 where these are packed too."""
    stem, last, again = _parts(operator.name)
    name, end = f"{stem}.{last}.unpack", end or again
    numbers, group = _weights_of(operator), how.precision.scale_group
    rows, cols = numbers / operator.k, operator.k
    whole = op.elementwise(name + end, rows, cols, inputs=1)
    whole = replace(
        whole, vector_flops=numbers, read_bytes=operator.weight_bytes, write_bytes=BITS[operator.dtype] / 8.0 * numbers
    )
    if not group:
        return [whole]
    scales, groups = op.elementwise(f"{name}.scales{end}", rows, cols / group, inputs=1), numbers / group
    # Scales of a byte become fp32, which the unpacking reads in their place.
    return [
        replace(scales, vector_flops=2.0 * groups, read_bytes=groups, write_bytes=4.0 * groups),
        replace(whole, read_bytes=whole.read_bytes + 3.0 * groups),
    ]
