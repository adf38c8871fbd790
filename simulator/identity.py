"""What a scenario is, as a hash: the numbers and names that its answer depends on, and nothing that is only read."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from hardware_specs.facts import Fact

PROSE: Final = frozenset({"title", "notes", "source", "date", "price_origin"})
"""Fields of records that are for readers: changing them changes no answer."""


def content_of(value: Any) -> Any:
    """``value`` as plain data without prose; of a fact its value and mark, for the mark is part of the answer."""
    if isinstance(value, Fact):
        return [value.value, value.mark.value]
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__ if name not in PROSE}
        return {"": type(value).__name__, **{name: content_of(field) for name, field in fields.items()}}
    if isinstance(value, dict):
        return {str(key): content_of(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [content_of(item) for item in value]
    return value


def content_hash(*parts: Any) -> str:
    """Hash of the content of ``parts`` and of the laws."""
    encoded = msgspec.json.encode([content_of(part) for part in parts], order="sorted")
    return hashlib.sha256(laws_hash().encode() + encoded).hexdigest()[:16]


_NO_LAWS: Final = ("explore",)
"""Rooms of the simulator that no number depends on."""


@cache
def laws_hash() -> str:
    """Hash of everything that turns a scenario into numbers: laws, kernels, networks, lowering, parameter counts,
    dtypes that stand in for others."""
    here = Path(__file__).parent
    root = here.parent
    sources = [
        *here.glob("*.py"),
        *(path for path in here.glob("[!_]*/*.py") if path.parent.name not in _NO_LAWS),
        *(root / "workloads" / "lowering").glob("*.py"),
        *(root / "workloads" / "models").glob("*.py"),
        *(root / "workloads").glob("*.py"),
        root / "hardware_specs" / "dtypes.py",
    ]
    digest = hashlib.sha256()
    for source in sorted(sources):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
