"""Recipes of training precision: what products run in, how 8-bit operands are scaled, and what their casts move.

Training keeps weights, activations and gradients in 16 or 32 bits; an 8-bit recipe rounds the operands of the three
products of a linear layer, y = x w^T, dx = dy w and dw = dy^T x, right before them. Attention, router, embedding and
head stay wide. Each operand is needed along its rows in one product and along its columns in another. 8-bit matrix
units of Ada and Hopper read operands along the reduction alone ("TN"), so there a transposed copy is written too;
scales of pieces of a row are not those of pieces of a column, so there a second copy is always cast.

Bytes of each kernel for each number of a 16-bit operand (r read, w written), with the second copy where it is needed:

    tensor    amax: r 2, which a producer that is compiled with it saves; cast: r 2, w 1 (+ 1 transposed)
    history   cast: r 2, w 1 (+ 1); a producer that is compiled with it writes the 8-bit copy for its 16-bit one
    row       cast: r 2, w 1 (+ 2 transposed in 16 bits), then r 2, w 1 of that
    block     cast of both directions at once: r 2, w 1 + 4/128 each; weights in tiles, which can be transposed
    mx        cast of both directions at once: r 2, w 1 + 1/32 each

Sources: Micikevicius et al., "FP8 Formats for Deep Learning", arXiv:2209.05433 (scaling by tensors); NVIDIA,
Transformer Engine user guide, low precision training (current, delayed, blockwise, MXFP8 scaling; transposes and their
fusions); torchao, ``torchao/testing/training/roofline_utils.py`` (kernels of tensorwise and rowwise casts as compiled);
DeepSeek-AI, arXiv:2412.19437, section 3.3 (1 x 128 and 128 x 128); OCP Microscaling Formats v1.0 (blocks of 32).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from hardware_specs.errors import InputError, UnknownName


class Kernel(NamedTuple):
    """One pass over an operand: its name, and bytes that it reads and writes for each number [B]."""

    name: str
    read_bytes: float
    write_bytes: float


PROMOTED: Final = 128.0
"""Elements of the reduction after which 8-bit matrix units of Ada and Hopper hand their sums to fp32 registers, unless
they accumulate fast: four steps of 32 (CUTLASS, example 54, ``mma_promotion_interval``; DeepSeek-AI, arXiv:2412.19437,
section 3.3.2). Transformer Engine and torchao accumulate fast in the forward alone."""
AMAX: Final = Kernel("amax", 2.0, 0.0)
TRANSPOSE: Final = Kernel("transpose", 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained in a precision.

    Args:
        name: as people ask for it.
        dtype: compute dtype of the products of linear layers.
        scales: what shares a scale: "tensor" (of its own largest value), "history" (of those of earlier steps), "row",
            "block" (1 x 128, weights 128 x 128), "mx" (32); "" for a dtype that needs none.
        weight_gradient: dtype of dw.
        gathers: whether what devices gather (tokens of sequence parallel ranks, weights of FSDP shards) moves in 8
            bits.
        wide_ends: layers at either end of the stack that stay in 16 bits.
        block_units: whether the matrix units must take scales of blocks.
        aliases: other names.
        words: one line for readers.
    """

    name: str
    dtype: str
    scales: str = ""
    weight_gradient: str = ""
    gathers: bool = False
    wide_ends: int = 0
    block_units: bool = False
    aliases: tuple[str, ...] = ()
    words: str = ""

    @property
    def narrow(self) -> bool:
        """Whether operands are cast to 8 bits."""
        return bool(self.scales)

    @property
    def scale_bytes(self) -> float:
        """Bytes of scales of each number of an activation [B]."""
        return {"block": 4.0 / 128.0, "mx": 1.0 / 32.0}.get(self.scales, 0.0)

    @property
    def weight_bits(self) -> float:
        """Bits of a weight as the product reads it, scales included."""
        return {"block": 8.0 + 32.0 / 16384.0, "mx": 8.25}.get(self.scales, 8.0)


RECIPES: Final = (
    Recipe("bf16", "bf16", words="products in bf16, sums in fp32, an fp32 master copy of the weights"),
    Recipe("fp16", "fp16", words="as bf16; the loss is scaled, and gradients are checked for overflow"),
    Recipe("fp32", "fp32", words="everything in fp32"),
    Recipe("tf32", "tf32", words="fp32 in memory; products round their operands to 10 bits of mantissa"),
    Recipe(
        "fp8-tensorwise", "fp8", "tensor", "fp8", gathers=True,
        aliases=("tensorwise", "fp8-current", "current", "fp8-cs"),
        words="one scale for each tensor, of its own largest value",
    ),
    Recipe(
        "fp8-delayed", "fp8", "history", "fp8", gathers=True, aliases=("delayed", "fp8-ds"),
        words="one scale for each tensor, of its largest values in earlier steps",
    ),
    Recipe(
        "fp8-rowwise", "fp8", "row", "fp8", aliases=("rowwise",), words="one scale for each row along the reduction",
    ),
    Recipe(
        "fp8-rowwise-gw-hp", "fp8", "row", "bf16", aliases=("rowwise-with-gw-hp",),
        words="as fp8-rowwise; gradients of weights in bf16",
    ),
    Recipe(
        "fp8-blockwise", "fp8", "block", "fp8", gathers=True, aliases=("blockwise", "fp8-sc", "fp8-subchannel"),
        words="a scale for 1 x 128 of activations and gradients and for 128 x 128 of weights (DeepSeek-V3)",
    ),
    Recipe(
        "mxfp8", "fp8", "mx", "fp8", gathers=True, block_units=True, aliases=("fp8-mx", "mxfp8-cublas"),
        words="a scale for 32 numbers; needs matrix units that take scales of blocks",
    ),
)  # fmt: skip
"""Every recipe, plain ones first."""

USUAL: Final = {"megatron-core-2025": "fp8-delayed", "optimum-habana-1.18": "fp8-delayed"}
"""Recipes of runtimes that are asked for fp8 and no more: the default of Transformer Engine (and of Gaudi's port of
it). The others scale by the tensors themselves, as torchao and AQT do."""
OTHERS_USUAL: Final = "fp8-tensorwise"
OF_FORMATS: Final = {"fp8_block": "fp8-blockwise", "mxfp8": "mxfp8"}
"""Recipes that a storage format of weights stands for, where it is more than fp8."""
OPTIONS: Final = "ends=LAYERS, wgrad=bf16|fp8, gather=bf16|fp8"


def recipe_names() -> tuple[str, ...]:
    """Names of all recipes, plain ones first."""
    return tuple(recipe.name for recipe in RECIPES)


def recipe_of(text: str, place: str = "--precision") -> Recipe:
    """The recipe that ``text`` names, with its options: "fp8-tensorwise", "fp8-rowwise:wgrad=bf16,ends=1".

    Raises:
        UnknownName: no such recipe.
        InputError: an option that there is not, or that a recipe without casts cannot have.
    """
    name, _, options = text.strip().lower().replace("_", "-").partition(":")
    names = {spelling: recipe for recipe in RECIPES for spelling in (recipe.name, *recipe.aliases)}
    if name not in names:
        raise UnknownName("recipe", name, names, "one of " + ", ".join(("fp8", *recipe_names())), place)
    found = names[name]
    for option in filter(None, options.split(",")):
        found = _with_option(found, option, f"{place} {text}")
    return found


def _with_option(recipe: Recipe, option: str, place: str) -> Recipe:
    """``recipe`` with one of ``OPTIONS``."""
    key, _, value = option.partition("=")
    if not recipe.narrow:
        raise InputError(f"{place}: {recipe.name} casts nothing, and has no options")
    if key == "ends" and value.isdigit():
        return replace(recipe, wide_ends=int(value))
    if key == "wgrad" and value in ("bf16", "fp8"):
        return replace(recipe, weight_gradient=value)
    if key == "gather" and value in ("bf16", "fp8"):
        return replace(recipe, gathers=value == "fp8")
    raise InputError(f"{place}: no option {option!r}; allowed are {OPTIONS}")


def usual_recipe(runtime: str, weight: str = "") -> Recipe:
    """The recipe of 8-bit training that ``runtime`` runs unless told otherwise, or that the storage format ``weight``
    stands for."""
    return recipe_of(OF_FORMATS.get(weight, USUAL.get(runtime, OTHERS_USUAL)))


class TrainingFormats(NamedTuple):
    """The compute dtype and the recipe that ``Formats`` takes."""

    dtype: str
    recipe: str


def training_formats(precision: str, dtype: str) -> TrainingFormats:
    """What ``--precision`` and ``--dtype`` mean together: a precision goes before the dtype; "fp8" is the runtime's
    usual recipe.

    Raises:
        UnknownName: no such recipe.
        InputError: an option of it that there is not.
    """
    if not precision:
        return TrainingFormats(dtype, "")
    if precision.strip().lower() == "fp8":
        return TrainingFormats("fp8", "")
    recipe = recipe_of(precision)
    return TrainingFormats(recipe.dtype, precision.strip().lower() if recipe.narrow else "")


@dataclass(frozen=True, slots=True)
class Scaling:
    """A recipe on a device under a runtime.

    Args:
        recipe: what is scaled how.
        transposes: whether 8-bit operands must lie along the reduction, so that transposed copies are written.
        each_time: whether weights are cast in each micro-batch, forward and backward, as where shards are gathered
            anew; otherwise once for a step.
        promotion: blocks of a product whose sums are promoted take so many times as long as with fast accumulation:
            a promotion adds each sum on the vector units, 1 + (P8 / P32) / ``PROMOTED`` by the peaks of both [1].
    """

    recipe: Recipe
    transposes: bool = True
    each_time: bool = False
    promotion: float = 1.0

    def activation(self, columns: bool, fused: bool = False) -> tuple[Kernel, ...]:
        """Casts of an input or of the gradient of an output.

        Args:
            columns: whether a second copy is needed, for the gradient of the weights.
            fused: whether the kernel that makes the operand does what it can of it.
        """
        scales, second = self.recipe.scales, columns and self.recipe.weight_gradient == "fp8"
        copies = 2.0 if second and self.transposes else 1.0
        read = 0.0 if fused else 2.0
        if scales == "tensor":
            return (*(() if fused else (AMAX,)), Kernel("", 2.0, copies))
        if scales == "history":
            if not fused:
                return (Kernel("", 2.0, copies),)
            return (TRANSPOSE,) if copies > 1.0 else ()
        if scales == "row":
            again = (Kernel("columns", 2.0, 1.0),) if second else ()
            return (Kernel("", read, 3.0 if second else 1.0), *again)
        return (Kernel("", read, (2.0 if second else 1.0) * (1.0 + self.recipe.scale_bytes)),)

    def weights(self, backward: bool) -> tuple[Kernel, ...]:
        """Casts of weights before their product, or before that with their columns (``backward``)."""
        scales = self.recipe.scales
        cast = Kernel("", 2.0, self.recipe.weight_bits / 8.0)
        if not backward:
            return (AMAX, cast) if scales == "tensor" else (cast,)
        if scales == "row":
            return (Kernel("columns", 2.0, 2.0), cast)
        if scales == "mx":
            return (cast,)
        if not self.transposes:
            return ()
        return (cast,) if scales == "tensor" else (TRANSPOSE,)

    def depth(self, weights: bool) -> float:
        """How much longer the reduction of a product of gradients seems for its promoted sums; products with
        ``weights`` in blocks have been measured with theirs."""
        return 1.0 if self.recipe.scales == "block" and weights else self.promotion

    @property
    def kept_input_bytes(self) -> float:
        """What is kept of each number of a product's input for the gradient of its weights [B]: the copy along columns,
        in place of 2 bytes. With gradients of weights in 16 bits those 2 bytes."""
        return 1.0 + self.recipe.scale_bytes if self.recipe.weight_gradient == "fp8" else 2.0

    @property
    def weight_copy_bytes(self) -> float:
        """8-bit copies that stay beside each 16-bit weight of a linear layer from its first use in a step on [B]; where
        shards are gathered, none."""
        if self.each_time:
            return 0.0
        copies = 2.0 if self.transposes or self.recipe.scales in ("row", "mx") else 1.0
        return copies * self.recipe.weight_bits / 8.0

    @property
    def gathered_weight_bytes(self) -> float:
        """Each weight of a linear layer as FSDP gathers it [B]: in 8 bits where the scale is one for the tensor
        (torchtitan's ``enable_fsdp_float8_all_gather``), else in 16."""
        return 1.0 if self.recipe.gathers and self.recipe.scales in ("tensor", "history") else 2.0
