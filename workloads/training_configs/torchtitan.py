"""torchtitan: TOML files, with names old (``[training]``, ``[experimental]``) and new (``[parallelism]``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from hardware_specs.errors import InputError, UnknownName
from hardware_specs.reader import read_toml
from workloads.models.architecture import Architecture, Attention, FeedForward, LayerGroup
from workloads.models.catalogue import load_model
from workloads.training_configs.record import (
    ContextExchange,
    Offload,
    Optimizer,
    Overlap,
    Recompute,
    Schedule,
    TrainedIn,
    TrainingConfig,
)
from workloads.training_configs.settings import Given, Settings, wrong

_RUNTIME: Final = "torchtitan-2025"
_OPTIMIZERS: Final[dict[str, Optimizer]] = {
    "adam": "adam", "adamw": "adam", "adamw8bit": "adam-8bit", "adam8bit": "adam-8bit", "adafactor": "adafactor",
    "sgd": "sgd", "muon": "muon", "distmuon": "muon",
}  # fmt: skip
_SCHEDULES: Final[dict[str, tuple[Schedule, str]]] = {
    "gpipe": ("gpipe", ""),
    "1f1b": ("1f1b", ""),
    "interleaved1f1b": ("interleaved", ""),
    "interleaved_1f1b": ("interleaved", ""),
    "loopedbfs": ("interleaved", "counted as interleaved 1F1B, which keeps less"),
    "interleavedzerobubble": ("interleaved", "counted as interleaved 1F1B, which waits longer"),
    "zbvzerobubble": ("zb-v", ""),
    "dualpipev": ("dualpipe", "counted as DualPipe, which keeps two copies of the weights"),
}
_EXCHANGES: Final[dict[str, ContextExchange]] = {"allgather": "all-gather", "alltoall": "ring"}
"""``alltoall`` passes keys and values on step by step, which is a ring."""
_DEGREES: Final = ("parallelism", "training", "experimental")
MODELS: Final[Mapping[str, Mapping[str, str]]] = {
    "llama2": {"7b": "llama-2-7b", "13b": "llama-2-13b", "70b": "llama-2-70b"},
    "llama3": {"8b": "llama-3.1-8b", "70b": "llama-3.1-70b", "405b": "llama-3.1-405b"},
    "llama4": {"17bx16e": "llama-4-scout", "17bx128e": "llama-4-maverick"},
    "deepseek_v3": {"16b": "deepseek-v2-lite", "236b": "deepseek-v2", "671b": "deepseek-v3"},
    "qwen3": {
        "0.6b": "qwen3-0.6b", "1.7b": "qwen3-1.7b", "4b": "qwen3-4b", "8b": "qwen3-8b", "14b": "qwen3-14b",
        "32b": "qwen3-32b", "30b-a3b": "qwen3-30b-a3b", "235b-a22b": "qwen3-235b-a22b",
    },
    "gpt_oss": {"20b": "gpt-oss-20b", "120b": "gpt-oss-120b"},
}  # fmt: skip
"""Catalogue names by ``[model] name`` and ``flavor``, both in lower case."""


def read_torchtitan(path: Path, model: str) -> TrainingConfig:
    """The configuration in a TOML file.

    Args:
        model: name of a model to take instead of the one that the file names ("": none).

    Raises:
        InputError: not TOML, a number that cannot be, a model or flavor that is not known.
    """
    s = Settings(path.name, {given.key: given for given in _values(path)})
    tp, pp, cp = (_degree(s, f"{way}_parallel_degree") for way in ("tensor", "pipeline", "context"))
    named = model or _model(s)
    if model:
        load_model(model)
        s.used.update(("model.name", "model.flavor"))
    zero, shard, copies, dp = _sharding(s, pp)
    local, batch, micro = _batches(s, pp, dp)
    schedule, vpp = _schedule(s, pp, named)
    tensor = s.flag("parallelism.enable_async_tensor_parallel", "experimental.enable_async_tensor_parallel")
    precision, recipe = _precision(s)
    saves = s.flag("checkpoint.enable", "checkpoint.enable_checkpoint")
    _remarks(s)
    return TrainingConfig(
        form="torchtitan",
        model=named,
        seq_len=s.whole("training.seq_len", default=2048),
        micro_batch=micro,
        global_batch=batch,
        replica_batch=local if batch is None else None,
        tp=tp,
        pp=pp,
        dp=dp,
        cp=cp,
        ep=_degree(s, "expert_parallel_degree"),
        etp=_degree(s, "expert_tensor_parallel_degree"),
        vpp=vpp,
        sequence_parallel=tp > 1,
        cp_exchange=s.word(_EXCHANGES, "parallelism.context_parallel_rotate_method",
                           "experimental.context_parallel_rotate_method", default="allgather"),
        zero=zero,
        shard=shard,
        copies=copies,
        schedule=schedule,
        recompute=_recompute(s),
        precision=precision,
        fp8_recipe=recipe,
        gradients=_gradients(s),
        optimizer=s.word(_OPTIMIZERS, "optimizer.name", default="adamw"),
        offload=_offload(s),
        overlap=Overlap(gradients=zero > 0 or copies > 1, parameters=zero > 0, tensor=tensor),
        flash_attention=True,
        compiled=s.flag("compile.enable", "training.compile"),
        runtime=_RUNTIME,
        steps=s.whole("training.steps", default=10_000, most=10**12),
        checkpoint_interval=_interval(s) if saves else None,
        checkpoint_async=s.text("checkpoint.async_mode", default="disabled") != "disabled",
        assumed=tuple(s.assumed),
        left_out=s.rest(),
    )  # fmt: skip


def _values(path: Path) -> Iterator[Given]:
    """Every value with its dotted key."""
    try:
        nodes: list[tuple[str, Any]] = list(read_toml(path).items())
    except RecursionError:
        raise InputError(f"{path}: not valid TOML: nested too deeply") from None
    for key, value in nodes:
        if isinstance(value, dict):
            nodes += [(f"{key}.{name}", inner) for name, inner in value.items()]
        else:
            yield Given(value, path.name, key)


def _degree(s: Settings, name: str) -> int:
    return s.whole(*(f"{table}.{name}" for table in _DEGREES), default=1)


def _model(s: Settings) -> str | Architecture:
    """The catalogue's name of the model, or the small one that is for trying out."""
    for key in ("model.name", "model.flavor"):
        if not s.has(key):
            raise s.missing(key)
    name, flavor = s.text("model.name"), s.text("model.flavor")
    family = next((known for known in sorted(MODELS, key=len, reverse=True) if known in name.lower()), "")
    if not family:
        raise UnknownName("torchtitan model", name, MODELS, "or name the model instead: silicost models list",
                          f"{s.file}: model.name")  # fmt: skip
    if flavor.lower() in MODELS[family]:
        return MODELS[family][flavor.lower()]
    if flavor.lower() == "debugmodel" and family == "llama3":
        s.assumed.append("the debugmodel of llama3 has 6 layers of width 256, 16 heads, a vocabulary of 2048")
        attention = Attention("mha", 16, 16, 16)
        return Architecture("debugmodel", 256, 2048, (LayerGroup(6, attention, FeedForward(768)),))
    raise UnknownName(f"flavor of {family}", flavor, MODELS[family],
                      f"allowed: {', '.join(MODELS[family])}; or name the model instead: silicost models list",
                      f"{s.file}: model.flavor")  # fmt: skip


def _sharding(s: Settings, pp: int) -> tuple[int, int, int, int | None]:
    """ZeRO stage, replicas that share a copy (0: all), copies, and replicas in all where both are given."""
    tables = ("parallelism", "training")
    copies = s.whole(*(f"{t}.data_parallel_replicate_degree" for t in tables), default=1)
    shard = s.whole(*(f"{t}.data_parallel_shard_degree" for t in tables), "training.data_parallel_degree",
                    least=-1, default=-1)  # fmt: skip
    if shard == 0:
        raise wrong(next(s.given[k] for k in s.given if k.endswith(("shard_degree", "parallel_degree"))
                         and s.given[k].value == 0), "-1 (the rest of the devices), or 1 and more")  # fmt: skip
    policies = {"default": pp == 1, "always": True, "never": False}
    reshards = s.word(policies, "parallelism.fsdp_reshard_after_forward", default="default")
    zero = 0 if shard == 1 else 3 if reshards else 2
    return zero, max(shard, 0), copies, copies * shard if shard > 0 else None


def _batches(s: Settings, pp: int, dp: int | None) -> tuple[int, int | None, int]:
    """Sequences of a replica, of all of them where that is given, and of a micro-batch."""
    local = s.whole("training.local_batch_size", "training.batch_size", default=8)
    batch = s.whole("training.global_batch_size", least=-1, default=-1)
    micro = local
    if pp > 1 and s.has("experimental.pipeline_parallel_microbatches"):
        micro = max(local // s.whole("experimental.pipeline_parallel_microbatches"), 1)
    elif pp > 1 and any(key.startswith("parallelism.") for key in s.given):
        micro = s.whole("parallelism.pipeline_parallel_microbatch_size", default=1)
    elif pp > 1:
        micro = max(local // pp, 1)
        s.assumed.append(f"micro-batches of {micro}: as many of them as pipeline stages")
    if batch < 1 and dp is not None:
        batch = local * dp
    return local, batch if batch > 0 else None, micro


def _schedule(s: Settings, pp: int, model: str | Architecture) -> tuple[Schedule, int]:
    """The schedule, and chunks of each rank: two where it needs some and the file does not say how many."""
    keys = ("parallelism.pipeline_parallel_schedule", "experimental.pipeline_parallel_schedule")
    schedule, why = s.word(_SCHEDULES, *keys, default="1F1B")
    per_stage = s.maybe_whole("parallelism.pipeline_parallel_layers_per_stage")
    if pp == 1:
        return "1f1b", 1
    if why:
        s.remark(why, *keys)
    if per_stage is not None:
        layers = (load_model(model) if isinstance(model, str) else model).layers
        return schedule, max(-(-layers // per_stage) // pp, 1)
    if schedule in ("interleaved", "zb-v"):
        s.assumed.append("two chunks of layers on each pipeline rank")
        return schedule, 2
    return schedule, 1


def _recompute(s: Settings) -> Recompute:
    """``selective`` with a number recomputes every so many layers whole, with "op" parts of each layer."""
    modes = {"none": "none", "selective": "selective", "full": "full", "memory_budget": "selective"}
    mode = s.word(modes, "activation_checkpoint.mode", default="selective")
    if s.text("activation_checkpoint.mode") == "memory_budget":
        s.remark("counted as selective", "activation_checkpoint.mode")
    option = s.find("activation_checkpoint.selective_ac_option")
    if mode == "none":
        return Recompute()
    if mode == "full":
        return Recompute("full")
    if option is not None and str(option.value) == "op":
        return Recompute("selective")
    if option is None:
        s.assumed.append("every second layer is recomputed: torchtitan's own choice")
        return Recompute("full", every=2)
    return Recompute("full", every=s.whole("activation_checkpoint.selective_ac_option", most=10_000))


def _precision(s: Settings) -> tuple[TrainedIn, str]:
    """Number format of products, and the scaling of fp8."""
    converters = s.words("model.converters")
    eight = any(word in ("float8", "mx", "quantize.linear.float8", "quantize.linear.mx") for word in converters)
    eight = s.flag("float8.enable_float8_linear", "training.enable_fp8_linear", "training.fp8_linear") or eight
    recipe = s.text("float8.recipe_name", "quantize.linear.float8.recipe_name", "mx.recipe_name",
                    "quantize.linear.mx.recipe_name")  # fmt: skip
    base = s.word({"bfloat16": "bf16", "float32": "fp32"}, "training.mixed_precision_param", default="bfloat16")
    if eight:
        blocks = any(word.endswith("mx") for word in converters)
        return "fp8", recipe or ("mxfp8_cublas" if blocks else "tensorwise")
    return ("fp32", "") if base == "fp32" else ("bf16", "")


def _gradients(s: Settings) -> Literal["fp32", "bf16"]:
    kinds: dict[str, Literal["fp32", "bf16"]] = {"float32": "fp32", "bfloat16": "bf16"}
    return s.word(kinds, "training.mixed_precision_reduce", default="float32")


def _offload(s: Settings) -> Offload:
    """FSDP keeps weights, gradients and optimizer states on the host, all or none."""
    on = s.flag("training.enable_cpu_offload", "experimental.enable_cpu_offload")
    return Offload(weights=on, gradients=on, optimizer=1.0 if on else 0.0)


def _interval(s: Settings) -> int | None:
    interval = s.whole("checkpoint.interval", default=500, most=10**9)
    if s.text("checkpoint.interval_type", default="steps") == "steps":
        return interval
    s.remark("the interval is in seconds, not in steps", "checkpoint.interval")
    return None


def _remarks(s: Settings) -> None:
    s.remark("stages are cut into equal numbers of layers", "parallelism.pipeline_parallel_split_points",
             "parallelism.module_fqns_per_model_part", "experimental.pipeline_parallel_split_points",
             "parallelism.pipeline_parallel_first_stage_less_layers",
             "parallelism.pipeline_parallel_last_stage_less_layers")  # fmt: skip
    gathered = "enable_fsdp_float8_all_gather"
    s.remark("changes the cost; not counted", "optimizer.early_step_in_backward",
             *(f"{table}.{gathered}" for table in ("float8", "training", "quantize.linear.float8")))  # fmt: skip
