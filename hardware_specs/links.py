"""The catalogue of links: NVLink, PCIe, ICI, InfiniBand ... one TOML file each."""

from __future__ import annotations

from pathlib import Path

from hardware_specs.catalogue import Catalogue
from hardware_specs.records import LinkSpec

_CATALOGUE = Catalogue("link", LinkSpec, Path(__file__).parent / "data" / "links")


def link_names() -> tuple[str, ...]:
    """All link names, sorted."""
    return _CATALOGUE.names()


def load_link(name: str | Path) -> LinkSpec:
    """The link called ``name``, or described in a TOML file.

    Raises:
        UnknownName: no such link.
        InputError: a broken file.
    """
    return _CATALOGUE.load(name)
