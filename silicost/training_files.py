"""What ``silicost train --config`` prices of a file of another framework, in the words of flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from hardware_specs.errors import InputError
from simulator.scenario import Plan
from simulator.steps.overlap import overlapped
from workloads.models.architecture import Experts
from workloads.recipes import recipe_of
from workloads.runtimes.catalogue import load_runtime
from workloads.runtimes.record import Runtime
from workloads.training_configs.record import ContextExchange, Optimizer, TrainingConfig, for_devices

OPTIMIZERS: Final[dict[Optimizer, str]] = {"adam": "adamw", "adam-8bit": "adamw-8bit"}
"""Optimizers that ``workloads.optimizers`` calls otherwise."""
EXCHANGES: Final[dict[ContextExchange, str]] = {
    "ring": "p2p", "all-to-all": "a2a", "all-gather": "all_gather", "hierarchical": "p2p",
}  # fmt: skip
FROZEN: Final = "nf4"
"""Format of the frozen weights of QLoRA (Dettmers et al., arXiv:2305.14314)."""
_SAME: Final = (
    "tp", "pp", "dp", "cp", "ep", "etp", "vpp", "micro_batch", "global_batch", "seq_len", "zero", "lora_rank",
)  # fmt: skip
"""Flags that a file has under the same name."""


class FromFile(NamedTuple):
    """Values of flags, by name; and what the file says that is priced otherwise, or not at all."""

    values: dict[str, Any]
    notes: tuple[str, ...]


def priced(config: TrainingConfig, devices: int, typed: Mapping[str, Any], file: str) -> FromFile:
    """A configuration as flags of ``silicost train``.

    Args:
        config: as it was read.
        devices: how many there are.
        typed: flags of the command line by name, which go before the file.
        file: for errors.

    Raises:
        InputError: ways that do not go with the devices, layers that cannot be spread over the stages, a recipe of 8
            bits that is not known.
    """
    batch_place = "--global-batch" if "global_batch" in typed else ""
    read = for_devices(_with_typed(config, typed), devices, file, batch_place)
    runtime = load_runtime(typed.get("runtime") or read.runtime)
    notes: list[str] = []
    found = {
        "model": read.model, "count": devices, "runtime": read.runtime,
        **{name: getattr(read, name) for name in _SAME},
        "vpp": read.vpp if read.pp > 1 else 1, "seq_parallel": read.sequence_parallel and read.tp > 1,
        "etp": _expert_ways(read), "cp_comm": EXCHANGES[read.cp_exchange] if read.cp > 1 else "p2p",
        "shard": read.shard * read.cp if read.copies > 1 and read.zero > 0 else 0,
        "stages": "" if "stages" in typed else ",".join(map(str, _stages(read, file, notes))),
        "schedule": "" if read.vpp > 1 and read.schedule == "1f1b" else read.schedule,
        "recompute": read.recompute.text,
        "overlap": "" if "overlap" in typed else _overlap(read, runtime, notes),
        "offload": "" if "offload" in typed else _offload(read, notes),
        "optimizer": OPTIMIZERS.get(read.optimizer, read.optimizer), "checkpoint_async": read.checkpoint_async,
        "weight_dtype": FROZEN if read.qlora and read.lora_rank else "", **_formats(read, typed, file),
    }  # fmt: skip
    if "vpp" in typed and read.schedule == "interleaved":
        found["schedule"] = ""
    if "fsdp" in typed:
        found["zero"], found["shard"] = -1, 0
    notes += _priced_otherwise(read, runtime)
    if read.checkpoint_interval and "steps" in typed and "checkpoint_interval" not in typed:
        notes.append(
            f"checkpoints every {read.checkpoint_interval} steps: the best; --checkpoint-interval takes a time"
        )
    return FromFile({name: value for name, value in found.items() if name not in typed}, tuple(notes))


def _with_typed(read: TrainingConfig, typed: Mapping[str, Any]) -> TrainingConfig:
    """``read`` with what stands on the command line under the same names; experts that are cut as all else stay so."""
    changed = {name: typed[name] for name in _SAME if name in typed}
    if "tp" in typed and "etp" not in typed and read.etp == read.tp and read.form != "torchtitan":
        changed["etp"] = typed["tp"]
    if "dp" in typed or "cp" in typed:
        changed["shard"] = 0
    return msgspec.structs.replace(read, **changed)


def _expert_ways(read: TrainingConfig) -> int:
    """Tensor parallel ways of each expert as plans have them: 0 where they are the usual ones, or there are none."""
    if not any(isinstance(group.mlp, Experts) for group in read.architecture.groups):
        return 0
    usual = read.tp if read.ep == 1 else 1
    # torchtitan cuts experts over tp unless their ranks are given.
    alike = read.form == "torchtitan" and read.ep == 1
    return 0 if read.etp == usual or alike else read.etp


def _stages(read: TrainingConfig, file: str, notes: list[str]) -> tuple[int, ...]:
    """Layers of each pipeline stage, where the first or the last has others than the rest."""
    first, last = read.first_stage, read.last_stage
    if not (first or last):
        return ()
    if read.pp == 1:
        notes.append("layers of the first and the last pipeline stage: there is one stage only")
        return ()
    layers, others = read.architecture.layers, read.pp - (first > 0) - (last > 0)
    rest = layers - first - last
    if rest < others or (others and rest % others) or (not others and rest):
        raise InputError(
            f"{file}: {first} layers in the first pipeline stage and {last} in the last one (0: as the others) leave "
            f"{rest} of {layers} for {others} stages; allowed: equal numbers from 1 on"
        )
    middle = (rest // others,) * others if others else ()
    return (*((first,) if first else ()), *middle, *((last,) if last else ()))


def _overlap(read: TrainingConfig, runtime: Runtime, notes: list[str]) -> str:
    """What moves beside the math, of what the plan exchanges; "" for the runtime's own where the file does not say."""
    said = read.overlap
    replicas = (read.dp or 1) * read.cp > 1
    third = replicas and read.zero == 3
    if read.form == "nemo" and not any((said.gradients, said.parameters, said.tensor, said.pipeline, said.experts)):
        return ""
    asked = {
        "gradients": (said.gradients or third) and replicas,
        "weights": (said.parameters or third) and replicas and read.zero > 0,
        "tensor": said.tensor and read.tp > 1,
        "pipeline": said.pipeline and read.pp > 1,
    }
    able = overlapped(Plan(overlap="all"), runtime, 3 if third else 0)
    for word in (word for word, wanted in asked.items() if wanted and word not in able):
        notes.append(f"overlap of {word}: runtime {runtime.id} is not known to do it; priced without")
    if said.experts and read.ep > 1:
        notes.append("overlap of the all-to-all of experts: priced without")
    return ",".join(word for word, wanted in asked.items() if wanted and word in able) or "none"


def _offload(read: TrainingConfig, notes: list[str]) -> str:
    """What lies off the devices, whole kinds only."""
    said = read.offload
    layers = read.architecture.layers
    of_stage = -(-layers // read.pp)
    part = bool(said.modules) or 0 < said.layers < of_stage
    if part and (said.activations or said.weights):
        what = ", ".join(said.modules) or f"{said.layers} of {of_stage} layers of a stage"
        notes.append(f"offloading of a part ({what}): priced without; --offload has whole kinds only")
    if 0.0 < said.optimizer < 1.0:
        notes.append(
            f"offloading of {said.optimizer:g} of the optimizer states: priced without; --offload optimizer has all"
        )
    kinds = {
        "weights": said.weights and not part, "activations": said.activations and not part,
        "optimizer": said.optimizer == 1.0,
    }  # fmt: skip
    if said.gradients and not kinds["optimizer"]:
        notes.append("offloading of gradients: priced without; they go with --offload optimizer")
    return ",".join(kind for kind, off in kinds.items() if off)


def _formats(read: TrainingConfig, typed: Mapping[str, Any], file: str) -> dict[str, str]:
    """Compute dtype, and the recipe of 8 bits."""
    if "precision" in typed or "dtype" in typed:
        return {}
    if read.precision != "fp8":
        return {"dtype": read.precision}
    if read.fp8_recipe:
        recipe_of(read.fp8_recipe, f"{file}: recipe of fp8 (or give --precision)")
    return {"dtype": "fp8", "precision": read.fp8_recipe or "fp8"}


def _priced_otherwise(read: TrainingConfig, runtime: Runtime) -> list[str]:
    """What the record has and no flag says, where it differs from what is priced."""
    narrow = read.precision in runtime.half_gradients
    kept = read.precision if narrow else "fp32"
    flash = "flash" in runtime.fusions
    compiled = "torch.compile" in runtime.name
    notes = {
        f"gradients in {read.gradients}: priced in {kept}, as runtime {runtime.id} sums them":
            read.gradients != kept and read.precision != "fp32",
        "exchange of context parallel ranks in two levels (a2a+p2p): priced as a ring, --cp-comm p2p":
            read.cp_exchange == "hierarchical" and read.cp > 1,
        f"flash attention {'on' if read.flash_attention else 'off'}: priced {'with' if flash else 'without'} it, as "
        f"runtime {runtime.id} has it": read.flash_attention is not None and read.flash_attention != flash,
        f"no compilation: priced compiled, as runtime {runtime.id} is":
            compiled and read.form == "torchtitan" and not read.compiled,
        f"experts that drop tokens beyond a capacity of {read.expert_capacity}: priced without dropping":
            read.expert_capacity is not None,
        f"adapters on {', '.join(read.lora_modules)}: priced on all linear layers":
            bool(read.lora_modules and read.lora_rank),
        "weights in 4 bits without adapters: priced as they are trained": read.qlora and not read.lora_rank,
        "sgd: priced without momentum; --optimizer momentum keeps one": read.optimizer == "sgd",
    }  # fmt: skip
    return [note for note, holds in notes.items() if holds]
