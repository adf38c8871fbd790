"""The version of the installed package."""

from __future__ import annotations

from functools import cache


@cache
def package_version() -> str:
    """As the metadata say. They are read only when asked for: that takes longer than all of ``import silicost``."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("silicost")
    except PackageNotFoundError:  # running from a source tree without installation
        return "0+unknown"
