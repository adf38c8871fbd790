"""NeMo: YAML of NeMo 1.x (``model:`` and ``trainer:``), of NeMo 2.x recipes, and of Megatron-Bridge."""

from __future__ import annotations

import re
from typing import Any, Final

from hardware_specs.errors import InputError, UnknownName, clipped
from workloads.training_configs.megatron_core import config_of
from workloads.training_configs.megatron_model import NUMBERS
from workloads.training_configs.nemo_words import MODELS, RANK, RENAMED
from workloads.training_configs.record import TrainingConfig
from workloads.training_configs.settings import Given, Settings, wrong
from workloads.training_configs.yaml_tree import leaves, load_yaml

_RUNTIME: Final = "megatron-core-2025"
_WRAPPERS: Final = ("training", "recipe")
_PRECISIONS: Final = {
    "bf16": "bf16", "bf16-mixed": "bf16", "bf16-true": "bf16", "bf16_mixed": "bf16", "16": "fp16", "16-mixed": "fp16",
    "16-true": "fp16", "fp16": "fp16", "fp16_mixed": "fp16", "32": "", "32-true": "", "fp32": "",
}  # fmt: skip
_ACTIVATIONS: Final = {
    "gelu": "", "fast-gelu": "", "swiglu": "swiglu", "fast-swiglu": "swiglu", "silu": "", "geglu": "geglu",
    "fast-geglu": "geglu", "squared-relu": "squared_relu", "squared_relu": "squared_relu",
}  # fmt: skip
_ADAPTERS: Final = {"lora": False, "qlora": True}
_FSDP: Final = {
    "true": "use_megatron_fsdp", "megatron": "use_megatron_fsdp", "pytorch": "use_torch_fsdp2", "false": "", "none": "",
}  # fmt: skip


def read_nemo(text: str, file: str, name: str, model: str) -> TrainingConfig:
    """The configuration in a YAML file.

    Args:
        file: its name, for errors.
        name: id of the architecture that it describes.
        model: name of a model to take instead of that one ("": none).

    Raises:
        InputError: as ``load_yaml``; a number is missing or cannot be; a model that is not known.
    """
    root = load_yaml(text, file)
    settings = _settings(leaves(root, file), file)
    for translate in (_layers, _precision, _fsdp, _adapters, _devices):
        translate(settings)
    named = model or _model(settings)
    settings.used.update(("recipe", "class"))
    return config_of(settings, "nemo", name, named, _RUNTIME)


def _settings(found: list[Given], file: str) -> Settings:
    """The values under Megatron's keys; what has none, or is said a second time, under its own."""
    given: dict[str, Given] = {}
    ranked = sorted(((_plain(leaf.key), leaf) for leaf in found), key=lambda pair: RANK.get(pair[0], len(RANK)))
    for plain, leaf in ranked:
        key = RENAMED.get(plain, "")
        if leaf.value is None:
            continue
        if not key:
            given[leaf.key] = leaf
        elif key not in given:
            given[key] = leaf
        elif given[key].value != leaf.value:
            given[leaf.key] = leaf
    return Settings(file, given)


def _plain(key: str) -> str:
    """A dotted key without the places in lists, and without what a launcher wraps around a configuration."""
    parts = [part for part in key.split(".") if not part.isdigit()]
    return ".".join(parts[1:] if len(parts) > 1 and parts[0] in _WRAPPERS else parts)


def _say(s: Settings, source: Given, key: str, value: Any = True) -> None:
    """Add what ``source`` means in Megatron's words."""
    assert isinstance(s.given, dict)
    s.given[key] = Given(value, source.place, source.key)


def _layers(s: Settings) -> None:
    """Biases, tied embeddings, activations and the tokenizer."""
    if (bias := s.find("bias")) is not None and not s.flag("bias"):
        _say(s, bias, "disable_bias_linear")
    if (tied := s.find("tied")) is not None and not s.flag("tied"):
        _say(s, tied, "untie_embeddings_and_output_weights")
    gated = s.flag("gated")
    activation = s.find("activation")
    if activation is not None:
        word = str(activation.value).lower().rsplit(".", 1)[-1]
        if word not in _ACTIVATIONS:
            raise wrong(activation, _ACTIVATIONS)
        key = _ACTIVATIONS[word] or ({"silu": "swiglu"}.get(word, "geglu") if gated else "")
        if key:
            _say(s, activation, key)
    elif gated:
        _say(s, s.given["gated"], "swiglu")
    tokenizer = s.find("tokenizer") if s.has("tokenizer") else None
    if tokenizer is not None:
        _say(s, tokenizer, "tokenizer_model" if "/" in str(tokenizer.value) else "tokenizer_type", tokenizer.value)
    s.used.update(("fp8_hybrid", "fp8_e4m3"))


def _precision(s: Settings) -> None:
    found = s.find("precision")
    if found is None:
        return
    word = str(found.value).lower()
    base = word.split("_with_")[0]
    if base not in _PRECISIONS:
        raise wrong(found, _PRECISIONS)
    if "fp8" in word:
        _say(s, found, "fp8", "hybrid")
    if _PRECISIONS[base]:
        _say(s, found, _PRECISIONS[base])


def _fsdp(s: Settings) -> None:
    """Full sharding; a hybrid one shares each copy among the devices of a node."""
    found = s.find("fsdp")
    if found is None:
        return
    word = str(found.value).lower()
    if word not in _FSDP:
        raise wrong(found, _FSDP)
    if _FSDP[word]:
        _say(s, found, _FSDP[word])
        strategy = str(s.given.get("data_parallel_sharding_strategy", found).value).lower()
        if not s.has("data_parallel_sharding_strategy"):
            _say(s, found, "data_parallel_sharding_strategy", "full")
        if strategy == "hybrid" and s.has("devices_per_node"):
            _say(s, found, "shard_ways", s.given["devices_per_node"].value)


def _adapters(s: Settings) -> None:
    """LoRA and QLoRA; ranks without a scheme train everything."""
    found = s.find("peft")
    word = "none" if found is None else str(found.value).lower().rsplit(".", 1)[-1]
    if found is None or word in ("none", "null", "false"):
        for key in ("lora_rank", "lora_target_modules"):
            if s.has(key):
                s.remark("no adapters are chosen", key)
                _say(s, s.given[key], key, None)
        return
    if word not in _ADAPTERS:
        raise wrong(found, _ADAPTERS)
    if _ADAPTERS[word]:
        _say(s, found, "qlora")
    if not s.has("lora_rank"):
        _say(s, found, "lora_rank", 32)
        s.assumed.append("adapters of rank 32, NeMo's own choice")


def _devices(s: Settings) -> None:
    """``devices`` may be a number, a list of devices, or left to the launcher."""
    found = s.given.get("devices_per_node")
    if found is None:
        return
    if isinstance(found.value, list):
        _say(s, found, "devices_per_node", len(found.value))
    elif str(found.value) in ("auto", "-1"):
        s.remark("how many there are is not said", "devices_per_node")
        _say(s, found, "devices_per_node", None)
    if str(s.given["train_iters"].value if "train_iters" in s.given else "") == "-1":
        _say(s, s.given["train_iters"], "train_iters", None)


def _model(s: Settings) -> str:
    """The catalogue's name of the model that the file names; "" where it gives the numbers itself."""
    recipe, kind = s.find("recipe"), s.find("class")
    if recipe is not None and (".recipes." in str(recipe.value) or "." not in str(recipe.value)):
        s.assumed.append(f"of the recipe {clipped(str(recipe.value))} only what the file itself says is used")
    here = [key for key in NUMBERS if s.has(key)]
    if len(here) == len(NUMBERS):
        return ""
    for found in (kind, recipe):
        names = _names(str(found.value)) if found is not None else []
        known = next((MODELS[name] for name in names if name in MODELS), "")
        if known and here and found is not None:
            raise InputError(
                f"{s.file}: {s.given[here[0]].key}: changes {clipped(str(found.value))}; allowed: all of "
                f"{', '.join(NUMBERS)}, or none of them"
            )
        if known:
            return known
    if here or (kind is None and recipe is None):
        return ""
    source = kind or recipe
    assert source is not None
    raise UnknownName("NeMo model", (_names(str(source.value)) or [""])[0], MODELS,
                      "or name the model instead: silicost models list", f"{s.file}: {source.key}")  # fmt: skip


def _names(target: str) -> list[str]:
    """What the last two parts of a class or recipe may be called in ``MODELS``, the last one first."""
    parts = [re.sub(r"_\d+k(?=$|_)|config|model$|[^a-z0-9]", "", part) for part in target.lower().split(".")]
    return [part for part in reversed(parts[-2:]) if part and part not in ("pretrainrecipe", "finetunerecipe")]
