"""Training: a plan as a script for Megatron-LM, or as a file for torchtitan, under torchrun."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.hosts import host_of
from silicost.deploy.chosen import Chosen, Configuration
from silicost.deploy.settings import Launch, Setting, Unsaid, header
from simulator.scenario import TrainStep
from simulator.steps.offload import offloads_of
from simulator.steps.overlap import overlapped
from simulator.steps.replicas import zero_stage
from workloads.models.architecture import Experts
from workloads.models.catalogue import load_model
from workloads.runtimes.catalogue import load_runtime
from workloads.training_configs import Offload, Overlap, Recompute, TrainingConfig, megatron_script
from workloads.training_configs.torchtitan import MODELS

FRAMEWORKS: Final = ("megatron", "torchtitan")
_OPTIMIZERS: Final = {
    "adamw": "adam", "adamw-8bit": "adam-8bit", "adafactor": "adafactor", "muon": "muon", "sgd": "sgd",
}  # fmt: skip
_EXCHANGES: Final = {"p2p": "ring", "a2a": "all-to-all", "all_gather": "all-gather"}
_PRECISIONS: Final = ("fp32", "bf16", "fp16", "fp8")
_FIELDS: Final[Mapping[str, str]] = {
    "--nnodes": "count", "--nproc_per_node": "count", "--seq-length": "seq_len", "--global-batch-size": "global_batch",
    "--micro-batch-size": "plan.micro_batch", "--lora-r": "lora_rank",
    "--tensor-model-parallel-size": "plan.tp", "--pipeline-model-parallel-size": "plan.pp",
    "--context-parallel-size": "plan.cp", "--expert-model-parallel-size": "plan.ep",
    "--expert-tensor-parallel-size": "plan.etp", "--num-virtual-stages-per-pipeline-rank": "plan.vpp",
    "--decoder-first-pipeline-num-layers": "plan.stages", "--decoder-last-pipeline-num-layers": "plan.stages",
    "--sequence-parallel": "plan.sequence", "--cp-comm-type": "plan.cp_comm", "--enable-zero-bubble": "plan.schedule",
    "--zero-bubble-v-schedule": "plan.schedule", "--use-distributed-optimizer": "plan.zero",
    "--use-megatron-fsdp": "plan.zero", "--data-parallel-sharding-strategy": "plan.zero",
    "--num-distributed-optimizer-instances": "plan.shard", "--overlap-grad-reduce": "plan.overlap",
    "--overlap-param-gather": "plan.overlap", "--tp-comm-overlap": "plan.overlap",
    "--no-overlap-p2p-communication": "plan.overlap", "--recompute-granularity": "plan.recompute",
    "--recompute-modules": "plan.recompute", "--recompute-method": "plan.recompute",
    "--recompute-num-layers": "plan.recompute", "--optimizer-cpu-offload": "plan.offload",
    "--optimizer-offload-fraction": "plan.offload", "--fine-grained-activation-offloading": "plan.offload",
    "--bf16": "dtype", "--fp16": "dtype", "--fp8-format": "dtype", "--optimizer": "optimizer",
    "--exp-avg-dtype": "optimizer", "--exp-avg-sq-dtype": "optimizer",
    "--accumulate-allreduce-grads-in-fp32": "dtype",
}  # fmt: skip
"""Field of the configuration that each option is of; options of the model are of ``model``."""


def training_launch(framework: str, chosen: Chosen) -> Launch:
    """What starts a plan of training under torchrun.

    Raises:
        InputError: a plan of inference, or something that the framework cannot say.
    """
    asked = chosen.configuration
    if not asked.trains:
        raise InputError("--runtime torchrun: trains; the plan is one of inference: use --runtime vllm")
    config, unsaid = config_of(chosen)
    doubts = () if asked.runtime.startswith(framework) else (
        f"the prediction is of {asked.runtime}: under {framework} times are others",
    )  # fmt: skip
    write = _megatron if framework == "megatron" else _torchtitan
    text, settings = write(chosen, config)
    title = f"{asked.model} on {asked.count} x {asked.device}, by the prediction of {asked.runtime}"
    lines = text.split("\n")
    first = [lines.pop(0)] if lines[0].startswith("#!") else []
    whole = "\n".join([*first, *header(title, settings, unsaid, doubts), *lines])
    return Launch("torchrun", whole, tuple(settings), tuple(unsaid), doubts)


def config_of(chosen: Chosen) -> tuple[TrainingConfig, list[Unsaid]]:
    """The plan as a training configuration, and what such a record does not say.

    Raises:
        InputError: an optimizer, a precision or a kind of offloading that it has no word for.
    """
    asked, plan = chosen.configuration, chosen.configuration.plan
    arch, runtime = load_model(asked.model), load_runtime(asked.runtime)
    work = TrainStep(arch, asked.global_batch, asked.seq_len, asked.lora_rank, asked.optimizer)
    zero = zero_stage(work, plan, runtime)
    if asked.optimizer not in _OPTIMIZERS or asked.dtype not in _PRECISIONS:
        raise InputError(
            f"{chosen.place}: optimizer {asked.optimizer}, dtype {asked.dtype}: no word for both (allowed: "
            f"{', '.join(_OPTIMIZERS)}; {', '.join(_PRECISIONS)})"
        )
    unsaid = [Unsaid(f"{chosen.place}.{key}", str(value), "no option stands for it")
              for key, value in chosen.unknown.items()]  # fmt: skip
    held = host_of(load_device(asked.device)).devices
    if asked.count > held:
        why = f"a node has {held}: add --node_rank RANK --master_addr HOST to torchrun on each: yours to say"
        unsaid.append(Unsaid(f"{chosen.place}.count", str(asked.count), why))
    if asked.recipe:
        unsaid.append(Unsaid(f"{chosen.place}.recipe", asked.recipe, "choose the framework's recipe of this scaling"))
    sparse = any(isinstance(group.mlp, Experts) for group in arch.groups)
    first, last = _ends(asked, arch.layers)
    copies = plan.dp * plan.cp // plan.shard if plan.shard else 1
    config = TrainingConfig(
        form="megatron", model=arch.id, seq_len=asked.seq_len, micro_batch=plan.micro_batch,
        global_batch=asked.global_batch, tp=plan.tp, pp=plan.pp, cp=plan.cp, ep=plan.ep,
        etp=(plan.etp or (plan.tp if plan.ep == 1 else 1)) if sparse else 1, vpp=plan.vpp, first_stage=first,
        last_stage=last, sequence_parallel=plan.sequence, cp_exchange=_EXCHANGES[plan.cp_comm],  # type: ignore[arg-type]
        zero=zero, copies=copies, schedule=_schedule(asked),  # type: ignore[arg-type]
        recompute=_recompute(plan.recompute), precision=asked.dtype,  # type: ignore[arg-type]
        optimizer=_OPTIMIZERS[asked.optimizer],  # type: ignore[arg-type]
        offload=_offload(chosen), overlap=_overlap(chosen, zero, unsaid), lora_rank=asked.lora_rank,
        nodes=max(1, -(-asked.count // held)), devices=asked.count, runtime=asked.runtime,
    )  # fmt: skip
    return config, unsaid


def _schedule(asked: Configuration) -> str:
    plan = asked.plan
    if plan.pp == 1:
        return "1f1b"
    return plan.schedule if plan.schedule not in ("", "1f1b") else "interleaved" if plan.vpp > 1 else "1f1b"


def _ends(asked: Configuration, layers: int) -> tuple[int, int]:
    """Layers of the first and the last stage where these differ from the others; 0 where none does.

    Raises:
        InputError: stages between them differ.
    """
    stages = asked.plan.stages
    if not stages or len(set(stages)) == 1:
        return 0, 0
    if len(set(stages[1:-1])) > 1 or sum(stages) != layers:
        raise InputError(f"plan.stages {list(stages)}: only the first and the last stage may differ from the others")
    middle = stages[1] if len(stages) > 2 else 0
    return (stages[0] if stages[0] != middle else 0), (stages[-1] if stages[-1] != middle else 0)


def _recompute(text: str) -> Recompute:
    """A policy as plans write it (``Recompute.text`` writes it back)."""
    kind, _, rest = text.partition(":")
    if kind in ("none", "selective", "full"):
        return Recompute(kind)  # type: ignore[arg-type]
    if kind == "modules":
        return Recompute("selective", modules=tuple(part.strip() for part in rest.split(",")))
    field = {"every": "every", "layers": "first", "uniform": "span"}.get(kind)
    if field is None or not rest.isdecimal():
        raise InputError(f"plan.recompute {text!r}: no word for it")
    return msgspec.structs.replace(Recompute("full"), **{field: int(rest)})


def _offload(chosen: Chosen) -> Offload:
    where = offloads_of(chosen.configuration.plan)
    if where.weights or "nvme" in where:
        raise InputError(
            f"{chosen.place}.plan.offload {chosen.configuration.plan.offload!r}: weights, and what lies on NVMe, have "
            "no option; allowed: optimizer, activations, on the host"
        )
    return Offload(activations=bool(where.activations), optimizer=1.0 if where.optimizer else 0.0)


def _overlap(chosen: Chosen, zero: int, unsaid: list[Unsaid]) -> Overlap:
    """What moves beside the math, as the prediction has it."""
    asked = chosen.configuration
    words = overlapped(asked.plan, load_runtime(asked.runtime), zero)
    several = asked.plan.dp * asked.plan.cp > 1
    pipeline = "pipeline" in words and asked.plan.vpp > 1
    if "pipeline" in words and asked.plan.pp > 1 and not pipeline:
        why = "sends move beside the math with several pieces of a stage (vpp) only"
        unsaid.append(Unsaid(f"{chosen.place}.plan.overlap", "pipeline", why))
    return Overlap(
        gradients="gradients" in words and several, parameters="weights" in words and several and zero > 0,
        tensor="tensor" in words and asked.plan.tp > 1, pipeline=pipeline,
    )  # fmt: skip


def _megatron(chosen: Chosen, config: TrainingConfig) -> tuple[str, list[Setting]]:
    text = megatron_script(config)
    words = text.replace("\\\n", " ").split()
    settings = []
    for place, word in enumerate(words):
        if word.startswith("--"):
            following = words[place + 1 : place + 2]
            value = following[0] if following and not following[0].startswith("--") else ""
            settings.append(_traced(chosen, word, "" if value == "pretrain_gpt.py" else value))
    return text, settings


def _traced(chosen: Chosen, flag: str, value: str) -> Setting:
    asked, field = chosen.configuration, _FIELDS.get(flag, "model")
    whole: Any = asked
    for name in field.split("."):
        whole = getattr(whole, name)
    note = "the model's shape" if field == "model" else ""
    if field in ("plan.zero", "plan.overlap") and whole in (-1, ""):
        note = f"what {asked.runtime} does"
    return Setting(flag, value, f"{chosen.place}.{field}", str(whole), note)


def _torchtitan(chosen: Chosen, config: TrainingConfig) -> tuple[str, list[Setting]]:
    """The TOML of a run.

    Raises:
        InputError: a model, a schedule, a precision or a sharding that torchtitan has no key for.
    """
    settings: list[Setting] = []
    tables: dict[str, list[str]] = {}
    for table, key, value, field in _titan_keys(chosen, config):
        written = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else value
        setting = _titan_setting(chosen, f"{table}.{key}", str(written), field)
        settings.append(setting)
        tables.setdefault(table, []).append(f"{key} = {written}")
    nodes = config.nodes or 1
    each = (config.devices or 1) // nodes
    run = f"# torchrun --nnodes {nodes} --nproc_per_node {each} -m torchtitan.train --job.config_file THIS_FILE"
    body = [f"[{table}]\n" + "\n".join(lines) + "\n" for table, lines in tables.items()]
    return "\n".join([run, "", *body]), settings


def _titan_setting(chosen: Chosen, flag: str, value: str, field: str) -> Setting:
    whole: Any = chosen.configuration
    for name in field.split("."):
        whole = getattr(whole, name)
    return Setting(flag, value, f"{chosen.place}.{field}", str(whole))


def _titan_keys(chosen: Chosen, config: TrainingConfig) -> Iterator[tuple[str, str, str | int | bool, str]]:
    plan, arch = chosen.configuration.plan, config.architecture
    named = [(family, flavor) for family, own in MODELS.items() for flavor, id_ in own.items() if id_ == arch.id]
    if not named:
        known = ", ".join(id_ for own in MODELS.values() for id_ in own.values())
        raise InputError(f"torchtitan has no {arch.id} (it has {known})")
    dp = plan.dp
    schedules = {"1f1b": "1F1B", "gpipe": "GPipe", "interleaved": "Interleaved1F1B", "zb-v": "ZBVZeroBubble"}
    refused = {
        "schedule": config.schedule if config.schedule not in schedules else "",
        "zero": f"{config.zero}" if config.zero == 1 else "",
        "precision": config.precision if config.precision in ("fp16", "fp8") else "",
        "offload": "some" if config.offload != Offload() else "", "lora_rank": str(config.lora_rank or ""),
        "tensor parallelism without its sequences cut": "it" if plan.tp > 1 and not plan.sequence else "",
        "recompute": config.recompute.words if config.recompute.modules or config.recompute.span > 1
        or config.recompute.first or config.recompute.policy == "selective" else "",
    }  # fmt: skip
    lost = [f"{key} {value}" for key, value in refused.items() if value]
    if lost:
        raise InputError(f"torchtitan cannot say: {', '.join(lost)}")
    yield "model", "name", named[0][0], "model"
    yield "model", "flavor", named[0][1].upper(), "model"
    yield "training", "seq_len", config.seq_len, "seq_len"
    yield (
        "training",
        "local_batch_size",
        config.micro_batch if plan.pp == 1 else (config.global_batch or dp) // dp,
        ("plan.micro_batch" if plan.pp == 1 else "global_batch"),
    )
    yield "training", "global_batch_size", config.global_batch or dp, "global_batch"
    whole = config.zero == 0
    yield "parallelism", "data_parallel_replicate_degree", dp if whole else config.copies, "plan.dp"
    yield "parallelism", "data_parallel_shard_degree", 1 if whole else dp // config.copies, "plan.dp"
    yield "parallelism", "tensor_parallel_degree", plan.tp, "plan.tp"
    yield "parallelism", "pipeline_parallel_degree", plan.pp, "plan.pp"
    yield "parallelism", "context_parallel_degree", plan.cp, "plan.cp"
    if plan.ep > 1:
        yield "parallelism", "expert_parallel_degree", plan.ep, "plan.ep"
    if not whole:
        yield "parallelism", "fsdp_reshard_after_forward", "always" if config.zero == 3 else "never", "plan.zero"
    if plan.pp > 1:
        yield "parallelism", "pipeline_parallel_schedule", schedules[config.schedule], "plan.schedule"
        yield "parallelism", "pipeline_parallel_microbatch_size", config.micro_batch, "plan.micro_batch"
        if plan.vpp > 1:
            layers = -(-arch.layers // (plan.pp * plan.vpp))
            yield "parallelism", "pipeline_parallel_layers_per_stage", layers, "plan.vpp"
    every = config.recompute.every
    if config.recompute.policy == "full" and every > 1:
        yield "activation_checkpoint", "mode", "selective", "plan.recompute"
        yield "activation_checkpoint", "selective_ac_option", str(every), "plan.recompute"
    else:
        yield "activation_checkpoint", "mode", config.recompute.policy, "plan.recompute"
    yield "optimizer", "name", {"adam": "AdamW"}.get(config.optimizer, config.optimizer), "optimizer"
