"""The catalogue of sites: where hardware stands, what power costs there and how clean it is."""

from __future__ import annotations

from pathlib import Path

from hardware_specs.catalogue import Catalogue
from hardware_specs.records import SiteSpec

_CATALOGUE = Catalogue("site", SiteSpec, Path(__file__).parent / "data" / "sites")
DEFAULT_SITE = "us-average"


def site_names() -> tuple[str, ...]:
    """All site names, sorted."""
    return _CATALOGUE.names()


def load_site(name: str | Path = DEFAULT_SITE) -> SiteSpec:
    """The site called ``name``, or described in a TOML file.

    Raises:
        UnknownName: no such site.
        InputError: a broken file.
    """
    return _CATALOGUE.load(name)
