"""Compression: what a user does to a model so that it takes fewer bytes or FLOPs, and the model that is left.

One record (``Compression``) says all of it; ``derived`` turns an architecture into the one that is left, which is
lowered, held in memory and served like any other. What changes bits alone (sparsity, quantised activations) is not in
the shapes: it goes on as words to whoever chooses number formats for a device.

Pruning takes whole parts away: layers (of each group its share, by largest remainders), inner units of feed-forward
parts, key-value heads with their query heads (query heads alone where one head of keys serves all), columns of the
residual stream, routed experts. Low rank puts two factors in place of each matrix of the layers
(``workloads.models.parameters.rank_of``).

What a compressed model is worth is not computed: ``quality`` is the user's own figure, and is carried along.

Reference: Muralidharan et al., "Compact Language Models via Pruning and Knowledge Distillation", arXiv:2407.14679
(layers, heads, widths); Ashkboos et al., "SliceGPT", arXiv:2401.15024 (the residual stream); Wang et al., "SVD-LLM",
arXiv:2403.07378 (factors of each matrix); Mishra et al., arXiv:2104.08378 (2:4).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from hardware_specs.dtypes import BITS
from hardware_specs.errors import InputError, clipped, nearest
from workloads.formats import HEAD, load_format
from workloads.models.architecture import Architecture, Attention, Experts, FeedForward, LayerGroup
from workloads.models.checks import check_architecture
from workloads.models.parameters import count_parameters

PRUNED: Final = ("layers", "ffn", "heads", "width", "experts")
"""Parts of a model that can be pruned."""
TWO_OF_FOUR: Final = "2:4"
SCALES: Final = ("static", "dynamic")
"""How scales of quantised activations come about: calibrated before, or from the largest value of each token."""
_ALIGNED: Final = 64
"""Widths that are multiples of this stay so: matrix units and vendors' kernels want them."""
_SPELT: Final = {"2:4": TWO_OF_FOUR, "2of4": TWO_OF_FOUR}
_NOTHING: Final = ("", "0", "0.0", "none")
"""What leaves a thing as it is."""
_INDEX_BITS: Final = 2.0
"""Which two of four weights are kept, for each of them (NVIDIA, PTX ISA, ``mma.sp`` metadata)."""
_MASK_BITS: Final = 1.0
"""Whether a weight is kept, for each weight."""


class Compression(msgspec.Struct, frozen=True):
    """What is done to a model.

    Args:
        prune: share of each of ``PRUNED`` that is taken away, in (0, 1).
        low_rank: as ``Architecture.low_rank``; 0: none.
        activation: dtype that activations are quantised to, with ``SCALES`` behind a colon where their cost is to be
            an operator of its own ("fp8", "int8:dynamic"); "": as the weight format says.
        sparsity: "2:4", or the share of zeros anywhere ("0.7"); "": none.
        quality: the user's figure for what is left of the model's quality, formats included; 0: not given.
    """

    prune: dict[str, float] = {}
    low_rank: float = 0.0
    activation: str = ""
    sparsity: str = ""
    quality: float = 0.0


class Activations(NamedTuple):
    """A dtype of activations in products, and how their scales come about ("": the device law has its cost)."""

    dtype: str
    scales: str


def compression_of(
    prune: str | Mapping[str, float] = "", low_rank: str | float = "", activation_dtype: str = "",
    sparsity: object = "",
    quality: float = 0.0,
) -> Compression:  # fmt: skip
    """The compression that flags describe.

    Args:
        prune: "layers=0.25,ffn=0.3", also with "+" for the commas; or the same as a mapping.
        low_rank: "0.25" of the smaller side of each matrix, or a rank: "512".
        sparsity: "2:4" (or "2of4", where colons mean ranges), or a share of zeros: "0.7".
        quality: above 0; nothing is computed from it.

    Raises:
        InputError: with the flag, its value and what is allowed.
    """
    if isinstance(quality, bool) or not isinstance(quality, (int, float)) or not 0.0 <= quality < math.inf:
        raise InputError(f"--quality {clipped(str(quality))}: must be a number above 0, in any unit of your own")
    activations = parse_activation(activation_dtype)
    return Compression(
        pruning_of(prune), _rank(low_rank), activation_dtype.strip().lower() if activations else "",
        parse_sparsity(sparsity), float(quality),
    )  # fmt: skip


def pruning_of(text: str | Mapping[str, float], place: str = "--prune") -> dict[str, float]:
    """Shares to take away by part.

    Raises:
        InputError: an unknown part, one given twice, or a share outside (0, 1).
    """
    pairs = list(text.items()) if isinstance(text, Mapping) else [_pair(word, place) for word in _words(text)]
    found: dict[str, float] = {}
    for part, share in pairs:
        if part not in PRUNED:
            close = nearest(part, PRUNED)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{place}: {clipped(part)!r}: unknown part{hint} (allowed: {', '.join(PRUNED)})")
        if part in found:
            raise InputError(f"{place}: {part} is given twice")
        if not 0.0 < share < 1.0:
            raise InputError(f"{place} {part}={share:g}: must be a share to take away, above 0 and below 1")
        found[part] = float(share)
    return found


def _words(text: str) -> list[str]:
    return [word.strip() for word in re.split(r"[,+]", text) if word.strip().lower() not in _NOTHING]


def _pair(word: str, place: str) -> tuple[str, float]:
    part, equals, share = (piece.strip() for piece in word.partition("="))
    try:
        return part, float(share) if equals else math.nan
    except ValueError:
        raise InputError(f"{place}: {clipped(word)!r}: must be PART=SHARE, for example layers=0.25,ffn=0.3") from None


def _rank(low_rank: str | float) -> float:
    try:
        found = float(0.0 if str(low_rank).strip().lower() in _NOTHING else low_rank)
    except ValueError:
        found = math.nan
    # "1.0" may mean all of a side or the rank 1; whoever writes a point writes a share.
    share = isinstance(low_rank, str) and not low_rank.strip().isdecimal()
    if not (0.0 <= found < 1.0 or (1.0 <= found <= 1e6 and found.is_integer() and not share)):
        raise InputError(
            f"--low-rank {clipped(str(low_rank))}: must be a share of the smaller side of each matrix, above 0 and "
            "below 1, or a rank: a whole number"
        )
    return found


def parse_activation(text: str) -> Activations | None:
    """The activations of "fp8", "int8:static"; None of "".

    Raises:
        InputError: no dtype, or other scales.
    """
    if text.strip().lower() in _NOTHING:
        return None
    dtype, _, scales = text.strip().lower().partition(":")
    known = tuple(name for name in BITS if BITS[name] <= 32)
    if dtype not in known:
        close = nearest(dtype, known)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"--activation-dtype {clipped(text)}: unknown dtype{hint} (allowed: {', '.join(known)})")
    if scales and (scales not in SCALES or BITS[dtype] >= 16):
        why = "only dtypes of 8 and fewer bits have scales" if scales in SCALES else "scales are static or dynamic"
        raise InputError(f"--activation-dtype {clipped(text)}: {why}")
    return Activations(dtype, scales)


def parse_sparsity(given: object) -> str:
    """ "2:4", a share of zeros as text, or "".

    Raises:
        InputError: neither.
    """
    text = str(given).strip().lower()
    if text in _NOTHING:
        return ""
    if text in _SPELT:
        return _SPELT[text]
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0.0 < share < 1.0:
        raise InputError(f"--sparsity {clipped(text)}: must be 2:4, or a share of zeros above 0 and below 1")
    return f"{share:g}"


def sparse_bits(weight: str, sparsity: str) -> float:
    """Bits per weight of a format with the zeros left out; scales and zero points of groups stay as they are.

    Of 2:4 half of the values, and two bits for each that say which: 9/16 of 16 bits. Of zeros anywhere the other
    values, and a bit for each weight that says whether it is there.
    """
    stored = load_format(weight)
    shared = stored.bits_per_weight - stored.value_bits
    if sparsity == TWO_OF_FOUR:
        return shared + 0.5 * (stored.value_bits + _INDEX_BITS)
    return shared + (1.0 - float(sparsity)) * stored.value_bits + _MASK_BITS


def cache_format(kv: str, arch: Architecture) -> str:
    """``kv`` with "group=head" as the values of one token and head of this model (of latents: of one token).

    Where heads of different layers have different widths the narrowest counts: it has the most scales.
    """
    if f"group={HEAD}" not in kv:
        return kv
    layers = [group.attention for group in arch.groups if group.attention is not None]
    widths = [a.kv_lora + a.rope_dim if a.kind == "mla" else min(a.head_dim, a.value_dim) for a in layers]
    if not widths:
        raise InputError(f"--kv-dtype {clipped(kv)}: {arch.id} has no attention")
    return kv.replace(f"group={HEAD}", f"group={min(widths)}")


@lru_cache(maxsize=512)
def _derived(arch: Architecture, prune: tuple[tuple[str, float], ...], low_rank: float) -> Architecture:
    before, marks, model = count_parameters(arch).total, list[str](), arch
    for part, share in prune:
        model, words = _PRUNE[part](model, share)
        marks.append(f"{part} {words}")
    if low_rank:
        whole = count_parameters(model).total
        model = msgspec.structs.replace(model, low_rank=low_rank)
        if count_parameters(model).total == whole:
            raise InputError(
                f"--low-rank {low_rank:g}: makes no matrix of {arch.id} smaller: two factors of rank r take "
                "r (rows + columns) numbers, which saves below half of a square matrix's side"
            )
        rank = f"rank {low_rank:g}" if low_rank >= 1.0 else f"rank {low_rank:g} of the smaller side"
        marks.append(f"two factors of {rank} for each matrix of the layers that they make smaller")
    name = "+".join([*(f"{part}={share:g}" for part, share in prune), *([f"rank={low_rank:g}"] if low_rank else [])])
    model = msgspec.structs.replace(model, id=f"{arch.id} ({name})", published_params=None, published_active=None)
    after = count_parameters(model).total
    marks.append(f"{before:,} parameters -> {after:,}")
    return msgspec.structs.replace(check_architecture(model, f"model {model.id}"), derived=(*arch.derived, *marks))


def derived(arch: Architecture, how: Compression) -> Architecture:
    """The model that is left of ``arch``; ``derived`` of it says what was done, with parameters before and after.

    Raises:
        InputError: a part that the model does not have, or of which a share is less than one.
    """
    if not how.prune and not how.low_rank:
        return arch
    return _derived(arch, tuple(sorted(how.prune.items(), key=lambda pair: PRUNED.index(pair[0]))), how.low_rank)


def _fewer(arch: Architecture, part: str, whole: int, share: float, step: int = 1, what: str = "") -> int:
    """What is left of ``whole``: the nearest multiple of ``step``, at least one."""
    left = max(step, round(whole * (1.0 - share) / step) * step)
    if left == whole:
        least = f"steps of {step / whole:.3g} can be taken" if whole > step else "there is one alone"
        raise InputError(
            f"--prune {part}={share:g}: takes away nothing of the {whole} {what or part} of {arch.id}; {least}"
        )
    return left


def _every(arch: Architecture, groups: list[LayerGroup]) -> Architecture:
    return msgspec.structs.replace(arch, groups=tuple(groups))


def _layers(arch: Architecture, share: float) -> tuple[Architecture, str]:
    left = _fewer(arch, "layers", arch.layers, share)
    exact = [group.count * left / arch.layers for group in arch.groups]
    kept = [math.floor(each) for each in exact]
    order = sorted(range(len(kept)), key=lambda i: (kept[i] - exact[i], i))
    for i in order[: left - sum(kept)]:
        kept[i] += 1
    rows = [
        msgspec.structs.replace(group, count=count) for group, count in zip(arch.groups, kept, strict=True) if count
    ]
    return _every(arch, rows), f"{arch.layers} -> {left}"


def _narrower(arch: Architecture, width: int, share: float) -> int:
    return _fewer(arch, "ffn", width, share, math.gcd(width, _ALIGNED), "inner units") if width else 0


def _ffn(arch: Architecture, share: float) -> tuple[Architecture, str]:
    groups, words = list[LayerGroup](), dict[str, None]()
    for group in arch.groups:
        mlp = group.mlp
        if isinstance(mlp, FeedForward):
            narrow = msgspec.structs.replace(mlp, width=_narrower(arch, mlp.width, share))
            group = msgspec.structs.replace(group, mlp=narrow)
        elif isinstance(mlp, Experts):
            widths = {n: _narrower(arch, getattr(mlp, n), share) for n in ("width", "shared_width", "dense_width")}
            group = msgspec.structs.replace(group, mlp=msgspec.structs.replace(mlp, **widths))
        if mlp is not None and group.mlp is not None:
            words[f"{mlp.width} -> {group.mlp.width}"] = None
        groups.append(group)
    if not words:
        raise InputError(f"--prune ffn={share:g}: {arch.id} has no feed-forward parts")
    return _every(arch, groups), ", ".join(words)


def _of_heads(arch: Architecture, a: Attention, share: float) -> Attention:
    """Key-value heads with their query heads; query heads alone where one head (or latent) of keys serves all."""
    if a.kind == "mla":
        heads = _fewer(arch, "heads", a.heads, share)
        return msgspec.structs.replace(a, heads=heads, kv_heads=heads if a.kv_heads == a.heads else a.kv_heads)
    if a.kv_heads == 1:
        return msgspec.structs.replace(a, heads=_fewer(arch, "heads", a.heads, share))
    kv_heads = _fewer(arch, "heads", a.kv_heads, share, what="key-value heads")
    return msgspec.structs.replace(a, heads=a.heads // a.kv_heads * kv_heads, kv_heads=kv_heads)


def _heads(arch: Architecture, share: float) -> tuple[Architecture, str]:
    groups, words = list[LayerGroup](), dict[str, None]()
    for group in arch.groups:
        if group.attention is not None:
            a = _of_heads(arch, group.attention, share)
            words[f"{group.attention.heads} -> {a.heads} ({group.attention.kv_heads} -> {a.kv_heads} of keys)"] = None
            group = msgspec.structs.replace(group, attention=a)
        groups.append(group)
    if not words:
        raise InputError(f"--prune heads={share:g}: {arch.id} has no attention")
    return _every(arch, groups), ", ".join(words)


def _width(arch: Architecture, share: float) -> tuple[Architecture, str]:
    hidden = _fewer(arch, "width", arch.hidden, share, math.gcd(arch.hidden, _ALIGNED), "columns")
    narrow = 0 if arch.embedding_dim == arch.hidden else arch.embedding_dim
    return msgspec.structs.replace(arch, hidden=hidden, embedding_dim=narrow), f"{arch.hidden} -> {hidden}"


def _experts(arch: Architecture, share: float) -> tuple[Architecture, str]:
    groups, words = list[LayerGroup](), dict[str, None]()
    for group in arch.groups:
        if isinstance(group.mlp, Experts):
            count = max(_fewer(arch, "experts", group.mlp.count, share), group.mlp.top_k)
            words[f"{group.mlp.count} -> {count}"] = None
            group = msgspec.structs.replace(group, mlp=msgspec.structs.replace(group.mlp, count=count))
        groups.append(group)
    if not words:
        raise InputError(f"--prune experts={share:g}: {arch.id} has no experts")
    return _every(arch, groups), ", ".join(words)


_PRUNE: Final = {"layers": _layers, "ffn": _ffn, "heads": _heads, "width": _width, "experts": _experts}
