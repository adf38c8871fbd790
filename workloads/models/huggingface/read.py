"""From a ``config.json`` to a checked ``Architecture``."""

from __future__ import annotations

import importlib
import pkgutil
import re
from functools import cache
from pathlib import Path

import msgspec

from hardware_specs.errors import InputError, nearest
from hardware_specs.files import is_folder
from workloads.models.architecture import Architecture
from workloads.models.checks import check_architecture
from workloads.models.huggingface import families
from workloads.models.huggingface.config import Config, open_config
from workloads.models.huggingface.registry import READERS, Reader
from workloads.models.huggingface.storage import default_dtype, storage_format

_CLASS_ENDING = re.compile(r"(ForCausalLM|ForConditionalGeneration|ForMaskedLM|LMHeadModel|Model)$")


def read_config(path: str | Path) -> Architecture:
    """The architecture in a ``config.json``, or in a folder that holds one.

    ``id`` is the name in the file or else of its folder; published counts are not in such files.

    Raises:
        InputError: a file that cannot be read, an unknown model type, missing or wrong keys, impossible sizes;
            with the key, its value and what is allowed.
    """
    path = Path(path)
    file = path / "config.json" if is_folder(path) else path
    config = open_config(file)
    model_type = _model_type(config)
    arch = _readers()[model_type](config)
    text = config.section("text_config") if config.has("text_config") else config
    name = config.text("_name_or_path", default="")
    hf_id = name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) else ""
    own = file.resolve().parent.name if file.name == "config.json" else file.stem
    arch = msgspec.structs.replace(
        arch,
        id=(hf_id.rpartition("/")[2] or own).lower(),
        hf_id=hf_id,
        family=model_type,
        source=f"config.json of {hf_id or config.file}",
        default_dtype=default_dtype(config) or default_dtype(text),
        quantization=storage_format(config),
    )
    return check_architecture(arch, config.file)


def supported_types() -> tuple[str, ...]:
    """Every ``model_type`` that has a reader, sorted."""
    return tuple(sorted(_readers()))


@cache
def _readers() -> dict[str, Reader]:
    """All readers: importing a family's file registers it."""
    for module in pkgutil.iter_modules(families.__path__):
        importlib.import_module(f"{families.__name__}.{module.name}")
    return READERS


def _model_type(config: Config) -> str:
    """The model type: as the file says, else by the class in ``architectures``, else by a Mamba checkpoint's keys."""
    if config.has("model_type"):
        return _known(config, "model_type", config.text("model_type"))
    classes = config.values.get("architectures")
    if classes is not None:
        if not isinstance(classes, list) or not classes or not isinstance(classes[0], str):
            raise config.wrong("architectures", "a list with the name of a model class")
        return _known(config, "architectures", _CLASS_ENDING.sub("", classes[0]))
    if config.has("ssm_cfg"):
        return "mamba_ssm"
    raise InputError(f"{config.place('model_type')} is missing; allowed: {', '.join(supported_types())}")


def _known(config: Config, key: str, name: str) -> str:
    """The registered spelling of ``name``; case, "-" and "_" do not matter."""
    plain = {re.sub(r"[-_]", "", known).lower(): known for known in supported_types()}
    wanted = re.sub(r"[-_]", "", name).lower()
    if wanted in plain:
        return plain[wanted]
    close = nearest(wanted, plain)
    hint = f"did you mean {plain[close[0]]!r}? " if close else ""
    raise InputError(
        f"{config.place(key)}: unknown model type {name!r}; {hint}(allowed: {', '.join(supported_types())})"
    )
