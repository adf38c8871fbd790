"""Storage formats: in how many bits a weight or a cached key lies in memory, and what can multiply it as it is.

The formats are data (``data/formats.toml``). A dtype that a device computes in is another thing:
see ``hardware_specs.dtypes``.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources

import msgspec

from hardware_specs.errors import UnknownName


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
    double: bool = False
    codebook: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def weight_only(self) -> bool:
        """True where weights must be unpacked before a product."""
        return not self.compute_dtype

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


def load_format(name: str) -> StorageFormat:
    """The format called ``name``, by id or alias; case and "-" for "_" do not matter.

    Raises:
        UnknownName: no such format; carries the nearest ones.
    """
    names = _names()
    key = name.strip().lower().replace("-", "_")
    if key not in names:
        raise UnknownName("storage format", name, names, "for example bf16, fp8, int8, int4, nvfp4, q4_k_m")
    return _catalogue()[names[key]]
