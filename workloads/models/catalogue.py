"""The catalogue of models: shipped architectures, the user's own, and Hugging Face configs by path."""

from __future__ import annotations

import os
from pathlib import Path

from hardware_specs.catalogue import Catalogue
from hardware_specs.errors import InputError, clipped
from hardware_specs.files import is_file, is_folder
from workloads.models.architecture import Architecture
from workloads.models.checks import check_architecture
from workloads.models.huggingface import read_config

_CATALOGUE = Catalogue("model", Architecture, Path(__file__).parent / "data")


def model_names() -> tuple[str, ...]:
    """All model names, sorted; the user's own ``models`` folder included."""
    return _CATALOGUE.names()


def load_model(name: str | Path) -> Architecture:
    """The model called ``name``, or the one in a TOML file, a ``config.json``, or a folder that holds one.

    A name of the catalogue wins over a file of the same name in the working directory.

    Raises:
        UnknownName: no such model and no such path; carries the nearest names.
        InputError: the file is broken, or its numbers cannot belong to a model.
    """
    text = str(name)
    if text and text not in _CATALOGUE.paths:
        path = Path(name)
        if is_folder(path) or path.suffix == ".json":
            return _from_config(path)
        if os.sep in text and path.suffix != ".toml" and not is_file(path):
            raise InputError(
                f"{clipped(text)}: is no file and no folder; allowed: a name (silicost models list), a .toml file, "
                "a config.json, or a folder with one"
            )
    return check_architecture(_CATALOGUE.load(name), f"model {text}")


def _from_config(path: Path) -> Architecture:
    if is_folder(path) and not is_file(path / "config.json"):
        raise InputError(f"{path}: this folder has no config.json")
    return read_config(path)
