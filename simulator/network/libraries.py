"""What a collective library adds on one link, as the kernel takes it."""

from __future__ import annotations

from functools import lru_cache

from simulator.kernels.collectives import Library
from workloads.collectives.catalogue import load_library


@lru_cache(maxsize=256)
def library_on(name: str, *places: str) -> Library:
    """The values of the library ``name`` at ``places`` (category and id of the link, id of the device).

    Where several places have a value, the last one counts.

    Raises:
        UnknownName, InputError: as ``load_library``.
    """
    library = load_library(name)
    facts = dict(library.values)
    for place in places:
        facts |= library.on.get(place, {})
    return Library(**{value: fact.value for value, fact in facts.items()}, flat_ring=float(library.flat_ring))
