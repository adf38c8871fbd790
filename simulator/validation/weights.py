"""Which storage format the words of a row mean, and what a device computes with it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from hardware_specs.dtypes import BITS, FALLBACKS
from hardware_specs.errors import UnknownName
from hardware_specs.records import DeviceSpec
from simulator.validation.cells import Unpredictable
from workloads.formats import StorageFormat, format_names, load_format

PLAIN: Final = {"fp32": "fp32", "float32": "fp32", "fp16": "fp16", "f16": "fp16", "float16": "fp16", "bf16": "bf16"}
"""Formats that are the dtype of the math too."""

_BITS = re.compile(r"\bw(\d+(?:\.\d+)?)(?:a\d+)?\b|(\d+(?:\.\d+)?)[ -]?bit")
_WORD = re.compile(r"[a-z0-9_.]+")


class Named(NamedTuple):
    """The format that words mean; ``others`` are what they may mean as well, ``guessed`` that they do not say it."""

    dtype: str
    weights: str
    guessed: bool = False
    others: tuple[str, ...] = ()


def format_named(name: str, bytes_per_weight: float | None = None) -> Named:
    """The format called ``name``: by its name; by that of its first part, of a mix; by bits in the words; by width.

    Raises:
        Unpredictable: no name.
        UnknownName: neither the name nor the width is known.
    """
    key = name.lower().strip()
    if not key:
        raise Unpredictable("weight format unpublished")
    if key in PLAIN:
        return Named(PLAIN[key], PLAIN[key])
    words = key.replace(" - small", "_s").replace(" - medium", "_m").split(" - ")[0]
    bits = _bits_in(key) if bytes_per_weight is None else 8.0 * bytes_per_weight
    mixed = _formats_in(key) if bytes_per_weight is None else []
    try:
        return Named("bf16", load_format(words).id)
    except UnknownName:
        if not mixed and bits is None:
            raise
    if mixed:
        ordered = sorted(mixed, key=lambda f: f.bits_per_weight)
        others = tuple(f.id for f in (ordered[0], ordered[-1]) if f is not mixed[0])
        return Named(PLAIN.get(mixed[0].id, "bf16"), mixed[0].id, True, others)
    narrow = [f for f in map(load_format, format_names()) if f.weight_only]
    return Named("bf16", min(narrow, key=lambda f: abs(f.bits_per_weight - (bits or 0.0))).id, bytes_per_weight is None)


def weight_format(name: str, bytes_per_weight: float | None) -> tuple[str, str]:
    """Compute dtype and storage format of weights, as ``format_named`` reads them.

    Raises:
        Unpredictable, UnknownName: as ``format_named``.
    """
    named = format_named(name, bytes_per_weight)
    return named.dtype, named.weights


def _formats_in(key: str) -> list[StorageFormat]:
    """The format that the words before a bracket are, else those that they name, in their order."""
    bare = key.split("(")[0].strip()
    known = [found for found in map(_known, (bare, *_WORD.findall(bare))) if found]
    return known[:1] if _known(bare) else known


def _known(name: str) -> StorageFormat | None:
    try:
        return load_format(name)
    except UnknownName:
        return None


def _bits_in(key: str) -> float | None:
    """Bits of a weight that words state ("W3.5A8", "1.6 bit"); None for none."""
    match = _BITS.search(key)
    return float(match[1] or match[2]) if match else None


def dtype_on(spec: DeviceSpec, dtype: str, weights: str) -> str:
    """What ``spec`` computes in: ``dtype``, or of quantised weights on a device without 16-bit math its widest dtype.

    A device that has a narrow dtype only multiplies quantised weights with activations in that dtype.
    """
    peaks = spec.compute.peaks
    if load_format(weights).bits_per_weight >= 16.0 or any(wide in peaks for wide in FALLBACKS[dtype]):
        return dtype
    return max(peaks, key=lambda name: BITS[name])
