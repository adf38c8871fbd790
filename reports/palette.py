"""Colours by meaning. The values are CSS variables in ``templates/page.css``, so that light, dark and print differ.

The hues are those of Okabe and Ito, "Color Universal Design", 2008, extended by brown, violet and greys. Violet is
darker than blue, and the purple darker than theirs, so that without red or green cones neither is a blue or a grey; a
test holds every two of a group apart.
"""

from __future__ import annotations

from typing import Final

FAMILIES: Final = {
    "gemm": "matrix products",
    "moe": "experts",
    "attention_prefill": "attention, prefill",
    "attention_decode": "attention, decode",
    "vector": "vector",
    "optimizer": "optimizer",
    "collective": "collectives",
    "transfer": "transfers",
    "host": "host",
    "bubble": "pipeline bubble",
    "other": "other",
}
"""Operator families in the order of bars and legends, and their names in words."""

MEMORY: Final = {
    "weights": "weights",
    "kv": "KV cache",
    "activations": "activations",
    "gradients": "gradients",
    "optimizer": "optimizer states",
    "overhead": "runtime",
    "other": "other",
}
"""Parts of memory and their names in words."""

BOUNDS: Final = ("compute", "memory", "communication", "overhead")
CLASSES: Final = ("gpu", "tpu", "cpu", "fpga", "asic", "mixed")
MARKS: Final = ("sourced", "assumed", "calibrated")
DTYPES: Final = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8")
SERIES: Final = ("1", "2", "3", "4", "5", "6")
"""Lines of a picture that have no meaning of their own, in their order."""

_KNOWN: Final = {
    "family": tuple(FAMILIES),
    "bound": (*BOUNDS, "other"),
    "memory": tuple(MEMORY),
    "class": (*CLASSES, "other"),
    "mark": (*MARKS, "other"),
    "dtype": (*DTYPES, "other"),
    "series": (*SERIES, "other"),
}

ROLES: Final = tuple(f"{group}-{name}" for group, names in _KNOWN.items() for name in names)
"""Every coloured meaning; ``--<role>`` is its CSS variable."""

INKS: Final = ("ink", "muted", "line", "paper")


def role(group: str, name: str) -> str:
    """The CSS variable's name (without dashes) of ``name``; "<group>-other" for a name nobody knew."""
    return f"{group}-{name if name in _KNOWN[group] else 'other'}"


def in_words(group: str, name: str) -> str:
    """A family or a part of memory in words; anything else under its own name."""
    return {"family": FAMILIES, "memory": MEMORY}.get(group, {}).get(name, name)


def family_rank(family: str) -> tuple[int, str]:
    """The place of a family in bars and legends."""
    order = tuple(FAMILIES)
    return (order.index(family) if family in order else len(order), family)


def class_rank(name: str) -> tuple[int, str]:
    """The place of a device class in legends."""
    return (CLASSES.index(name) if name in CLASSES else len(CLASSES), name)
