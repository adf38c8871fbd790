"""Which framework a file was written for, and its configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hardware_specs.errors import InputError, UnknownName, clipped
from hardware_specs.files import is_file, is_folder
from hardware_specs.reader import read_toml
from workloads.training_configs.record import FORMS, Form, TrainingConfig

LARGEST: Final = 1 << 18
"""Largest file that is read [B]."""
_TITAN: Final = ("training", "parallelism", "activation_checkpoint", "experimental")
_YAML: Final = re.compile(r"^(?:model|trainer|training|train|recipe|_target_|_factory_|data|peft)\s*:", re.MULTILINE)
_OPTION: Final = re.compile(r"(?:^|[\s\"'(=])--[A-Za-z][\w-]{2,}", re.MULTILINE)


def read_config(
    path: str | Path, form: str = "auto", model: str = "", variables: Mapping[str, str] | None = None
) -> TrainingConfig:
    """The training configuration in a file.

    Args:
        path: a shell script or file of arguments for Megatron-LM, a NeMo YAML, or a torchtitan TOML.
        form: "megatron", "nemo", "torchtitan", or "auto": what its content looks like.
        model: name of a model (or file of one) to take instead of the one that the file describes.
        variables: shell variables that are set before a script begins, as the user's environment has them.

    Raises:
        InputError: a file that cannot be read, of no known form, without a number that a run needs, or with one that
            cannot be: with place, value, what is allowed and what is nearest.
    """
    path = Path(path)
    if form not in ("auto", *FORMS):
        raise UnknownName("form of configuration", form, FORMS, f"allowed: auto, {', '.join(FORMS)}")
    text = _text(path)
    found = form_of(path, text) if form == "auto" else form
    if found == "megatron":
        from workloads.training_configs.megatron import read_megatron

        return read_megatron(text, path.name, path.stem, model, variables or {})
    if found == "nemo":
        from workloads.training_configs.nemo import read_nemo

        return read_nemo(text, path.name, path.stem, model)
    from workloads.training_configs.torchtitan import read_torchtitan

    return read_torchtitan(path, model)


def form_of(path: Path, text: str) -> Form:
    """The framework that a file, whose content is ``text``, was written for.

    Raises:
        InputError: none that is known.
    """
    tables = _tables(path)
    if any(name in tables for name in _TITAN):
        return "torchtitan"
    if _YAML.search(text):
        return "nemo"
    if _OPTION.search(text):
        return "megatron"
    raise InputError(
        f"{path.name}: no training configuration; allowed: a script or arguments of Megatron-LM (--num-layers ...), a "
        "NeMo YAML (model:, trainer:), a torchtitan TOML ([training])"
    )


def _tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; none where it is no TOML."""
    try:
        return read_toml(path)
    except (InputError, RecursionError):
        return {}


def _no_file(path: Path) -> str:
    """What stands where a file should."""
    if is_folder(path):
        return "is a folder; give the file"
    try:
        there = path.exists()
    except (OSError, ValueError):
        there = False
    return "is no ordinary file" if there else "no such file"


def _text(path: Path) -> str:
    """The text of a file of sensible size."""
    place = clipped(str(path))
    if not is_file(path):
        raise InputError(f"{place}: {_no_file(path)}")
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise InputError(f"{place}: has {size} bytes; allowed: up to {LARGEST}, which no configuration exceeds")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{place}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{place}: not UTF-8 text") from None
    if "\0" in text:
        raise InputError(f"{place}: not UTF-8 text, but binary")
    return text
