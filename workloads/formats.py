"""Storage formats: in how many bits a weight or a cached key lies in memory, and what can multiply it as it is.

The formats are data (``data/formats.toml``). Of those that list their ``parts`` a user may choose the group and its
scale and zero point, behind colons: "int4:group=64:zero=0", "int8:group=128:scale=16", "nvfp4:group=32". A dtype that a
device computes in is another thing: see ``hardware_specs.dtypes``.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Final

import msgspec

from hardware_specs.errors import InputError, UnknownName, clipped, nearest

_CHOICES: Final = {"group": (1, 1 << 20), "scale": (0, 32), "zero": (0, 32)}
"""What may be chosen of a format with parts: values that share a scale; bits of the scale, and of the zero point."""
HEAD: Final = "head"
"""The group of a cache that has one scale for each token and head (``workloads.compression.cache_format``)."""


class StorageFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to store numbers.

    Args:
        id: catalogue name ("q4_k_m").
        bits_per_weight: bits per stored value, scales and zero points included [bit].
        layout: what a group consists of; for a mix of tensor types, that it is a whole file's mean.
        source: citation of the layout or of the mean.
        group_size: values that share one scale (0: a channel or a tensor, whose scale weighs nothing).
        compute_dtype: dtype of ``hardware_specs.dtypes`` in which hardware multiplies the format itself, with
            activations in the same dtype; "" for weight-only formats, which are unpacked to 16 bits first.
        quantizes_head: embedding and head are in this format too; otherwise they stay in the 16-bit dtype.
            Norms and biases always do.
        codebook: weights are numbers of entries of a table too large for registers, so that unpacking gathers them.
        parts: bits of a value, of the scale of its group and of the group's zero point; none where they are not equal
            for all groups, or there are none.
        double: the scales of groups are quantised themselves (of bitsandbytes' formats).
        aliases: other names, lower case.
    """

    id: str
    bits_per_weight: float
    layout: str
    source: str
    group_size: int = 0
    compute_dtype: str = ""
    quantizes_head: bool = False
    parts: tuple[int, ...] = ()
    double: bool = False
    codebook: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def one_scale(self) -> bool:
        """True of blocks of a few weights with one scale and no more (q4_0), unlike blocks of blocks (q4_k)."""
        return 0 < self.group_size <= 32 and not self.double

    @property
    def weight_only(self) -> bool:
        """True where weights must be unpacked before a product."""
        return not self.compute_dtype

    @property
    def value_bits(self) -> float:
        """Bits of a value without what its group shares [bit]; all of them where nothing else is known."""
        return float(self.parts[0]) if self.parts else self.bits_per_weight

    @property
    def bytes_per_weight(self) -> float:
        """Bytes per stored value [B]."""
        return self.bits_per_weight / 8.0


@cache
def _catalogue() -> dict[str, StorageFormat]:
    text = resources.files("workloads").joinpath("data/formats.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)
    return {name: msgspec.convert({"id": name, **row}, StorageFormat) for name, row in rows.items()}


@cache
def _names() -> dict[str, str]:
    """Every accepted spelling and the id it means."""
    formats = _catalogue()
    return {spelling: f.id for f in formats.values() for spelling in (*f.aliases, f.id)}


def format_names() -> tuple[str, ...]:
    """Ids of all storage formats, in the order of the file: plain, grouped, GGUF."""
    return tuple(_catalogue())


@cache
def load_format(name: str) -> StorageFormat:
    """The format called ``name``, by id or alias, with what is chosen of its groups behind colons.

    Case and "-" for "_" do not matter.

    Raises:
        UnknownName: no such format; carries the nearest ones.
        InputError: a choice that the format does not have, or a number out of range.
    """
    base, *choices = (part.strip() for part in name.strip().lower().split(":"))
    names, key = _names(), base.replace("-", "_")
    if key not in names:
        raise UnknownName("storage format", name, names, "for example bf16, fp8, int8, int4:group=64, nvfp4, q4_k_m")
    found = _catalogue()[names[key]]
    return _chosen(found, name, choices) if choices else found


def _chosen(base: StorageFormat, name: str, choices: list[str]) -> StorageFormat:
    """``base`` with another group, scale or zero point."""
    place = f"format {clipped(name)}"
    if not base.parts:
        able = ", ".join(f.id for f in _catalogue().values() if f.parts)
        raise InputError(f"{place}: {base.id} has no groups to choose; those that have: {able}")
    value, scale, zero = base.parts
    own = {"group": base.group_size, "scale": scale, "zero": zero}
    for choice in choices:
        key, _, text = choice.partition("=")
        if key not in own:
            close = nearest(key, own)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{place}: {clipped(choice)!r}: unknown{hint} (allowed: group=N, scale=BITS, zero=BITS)")
        own[key] = _number(place, key, text)
    group = own["group"]
    bits = value + ((own["scale"] + own["zero"]) / group if group else 0.0)
    words = ":".join(f"{key}={number}" for key, number in own.items())
    shared = f"{own['scale']}-bit scale, {own['zero']}-bit zero point" if own["zero"] else f"{own['scale']}-bit scale"
    layout = f"{base.id} in groups of {group}: {value} bits, {shared}: {bits:g} bits" if group else base.layout
    return msgspec.structs.replace(
        base, id=f"{base.id}:{words}", bits_per_weight=bits, group_size=group, layout=layout, aliases=(),
        parts=(value, own["scale"], own["zero"]), double=False,
    )  # fmt: skip


def _number(place: str, key: str, text: str) -> int:
    low, high = _CHOICES[key]
    if text == HEAD and key == "group":
        raise InputError(f"{place}: group={HEAD} is of a KV cache alone: one scale for each token and head")
    if not text.isdecimal() or len(text) > 9 or not low <= int(text) <= high:
        raise InputError(f"{place}: {key}={clipped(text)}: must be a whole number from {low} to {high}")
    return int(text)
