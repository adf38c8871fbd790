"""Studies that come with the package: questions that people ask, each with one command."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from hardware_specs.errors import UnknownName


def shipped_studies() -> dict[str, Path]:
    """Files of the shipped studies by name."""
    folder = Path(str(resources.files("silicost").joinpath("data/studies")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def path_of(name: str) -> Path:
    """The file called ``name``, or the shipped study of that name.

    Raises:
        UnknownName: neither.
    """
    if name.endswith(".toml"):
        return Path(name)
    known = shipped_studies()
    if name not in known:
        raise UnknownName("study", name, known, "a .toml file, or one of " + ", ".join(known))
    return known[name]
