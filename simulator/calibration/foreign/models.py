"""Which shipped architecture and which storage format a row of llama-bench is of."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from hardware_specs.errors import UnknownName
from simulator.calibration.foreign.record import ModelRow
from workloads.formats import StorageFormat, load_format
from workloads.models.architecture import Architecture
from workloads.models.catalogue import load_model, model_names
from workloads.models.parameters import count_parameters

_CLOSE: Final = 2e-5
"""Share by which exact counts may differ: llama.cpp counts tables of rotary frequencies."""
_LIKE_LLAMA: Final = ("llama", "mistral", "aquila", "bitnet", "deci", "minicpm")
"""Families that llama.cpp calls llama."""
_SIZES: Final = {"small": "_s", "medium": "_m", "large": "_l"}
_EXPERTS: Final = re.compile(r"\bMoE\b|moe\b|\d+x\d|\d+Bx\d|\bA\d+(\.\d+)?B|\.A\d|\b\d+B\.\d+E", re.IGNORECASE)


def format_of(row: ModelRow) -> StorageFormat | None:
    """The storage format of the weights; None where we have none of that name.

    "Q4_K - Medium" is q4_k_m, "IQ2_XXS - 2.0625 bpw" iq2_xxs, "F16" fp16.
    """
    name, _, size = (part.strip().lower() for part in row.quant.partition(" - "))
    name = {"f32": "fp32", "f16": "fp16"}.get(name, name.removesuffix(" moe"))
    for candidate in (f"{name}{_SIZES.get(size, '')}", name):
        try:
            return load_format(candidate)
        except UnknownName:
            continue
    return None


def has_experts(row: ModelRow) -> bool:
    """Whether the name says a mixture of experts ("llama 8x7B", "qwen3moe 30B.A3B", "MXFP4 MoE")."""
    return bool(_EXPERTS.search(f"{row.model} {row.quant}"))


def architecture_of(row: ModelRow) -> Architecture | None:
    """The shipped architecture with the parameters and the family of ``row``; None where there is none, or several
    that differ in more than a few words of the vocabulary."""
    unit = 1e9 if row.params >= 1e9 else 1e6
    rounded = abs(row.params / unit * 100.0 - round(row.params / unit * 100.0)) < 1e-6
    far = 0.005 * unit if rounded else _CLOSE * row.params
    found: dict[str, Architecture] = {}
    for name, params in _catalogue():
        if abs(params - row.params) <= far:
            arch = load_model(name)
            if _same_family(row.model.split()[0], arch.family):
                found.setdefault(_shape(arch), arch)
    return next(iter(found.values())) if len(found) == 1 else None


@lru_cache(maxsize=1)
def _catalogue() -> tuple[tuple[str, float], ...]:
    """Shipped decoders by name, with their parameters."""
    decoders = ((name, load_model(name)) for name in model_names())
    return tuple((name, float(count_parameters(arch).total)) for name, arch in decoders if arch.head == "lm")


def _same_family(word: str, family: str) -> bool:
    """Whether llama.cpp would call a model of ``family`` by ``word``."""
    plain, own = (re.sub(r"[^a-z0-9]", "", text.lower()) for text in (word, family))
    if plain == "llama":
        return own.startswith(_LIKE_LLAMA)
    stem = re.sub(r"[0-9]+$", "", plain)
    return own == plain or own.startswith(stem)


def _shape(arch: Architecture) -> str:
    """What costs depend on."""
    words = f"{arch.vocab:.2g}"
    return repr((arch.hidden, words, arch.groups, arch.tied, arch.embedding_dim, arch.norm, arch.learned_positions))
