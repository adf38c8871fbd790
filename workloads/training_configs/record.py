"""What a training configuration says, whichever framework it was written for."""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

from hardware_specs.errors import InputError
from workloads.lowering.recompute import ALLOWED
from workloads.models.architecture import Architecture
from workloads.models.catalogue import load_model

Form = Literal["megatron", "nemo", "torchtitan"]
Schedule = Literal["gpipe", "1f1b", "interleaved", "zb-h1", "zb-v", "dualpipe"]
TrainedIn = Literal["fp32", "bf16", "fp16", "fp8"]
Optimizer = Literal["adam", "adam-8bit", "adafactor", "muon", "sgd"]
Policy = Literal["none", "selective", "full"]
ContextExchange = Literal["ring", "all-to-all", "all-gather", "hierarchical"]

FORMS: Final[tuple[Form, ...]] = get_args(Form)
OPTIMIZERS: Final[tuple[Optimizer, ...]] = get_args(Optimizer)
BATCH_KEYS: Final[dict[Form, str]] = {
    "megatron": "--global-batch-size", "nemo": "global_batch_size", "torchtitan": "training.global_batch_size",
}  # fmt: skip
"""What each framework calls the sequences of an optimizer step."""


class LeftOut(msgspec.Struct, frozen=True):
    """One thing that the file says and that is not used.

    Args:
        place: the file, and the line where it is a script.
        key: the option as the file spells it.
        value: its value as text ("true" for a switch, "" for what is no option).
        why: what follows from leaving it out, where that is known; "" where the option has no part in the cost, or is
            not known here.
    """

    place: str
    key: str
    value: str
    why: str = ""


class Recompute(msgspec.Struct, frozen=True):
    """What the backward computes again instead of keeping it.

    Args:
        policy: "none"; "selective": parts of layers; "full": whole layers, of which only the input is kept.
        modules: the parts of a layer that a selective policy recomputes; empty: the framework's own choice.
        every: of ``every`` layers one is recomputed, the others are kept whole (1: all are recomputed).
        first: only the first layers of each stage (each chunk of it) are recomputed, as many as this (0: all).
        span: one input is kept for ``span`` layers together.
    """

    policy: Policy = "none"
    modules: tuple[str, ...] = ()
    every: int = 1
    first: int = 0
    span: int = 1

    @property
    def text(self) -> str:
        """The policy as plans write it, see ``workloads.lowering.recompute``.

        Raises:
            InputError: layers are counted in two ways at once.
        """
        counted = {"every": self.every, "layers": self.first, "uniform": self.span}
        chosen = {name: number for name, number in counted.items() if number > (0 if name == "layers" else 1)}
        if self.policy != "full":
            return f"modules:{','.join(self.modules)}" if self.modules else self.policy
        if len(chosen) > 1:
            raise InputError(f"recomputation {self.words!r}: counts layers in two ways; allowed: one of {ALLOWED}")
        return next((f"{name}:{number}" for name, number in chosen.items()), "full")

    @property
    def words(self) -> str:
        """The policy in a few words, e.g. ``"full every 2 layers"``."""
        if self.policy == "selective" and self.modules:
            return f"selective: {', '.join(self.modules)}"
        parts = (
            (f"every {self.every} layers", self.every > 1),
            (f"first {self.first} layers of a stage", self.first > 0),
            (f"{self.span} layers at a time", self.span > 1),
        )
        return ", ".join([self.policy, *(words for words, said in parts if said)]).replace(", every", " every", 1)


class Offload(msgspec.Struct, frozen=True):
    """What is kept in the memory of the host.

    ``optimizer`` is the share of optimizer states there, 0 to 1; ``layers`` the layers of each stage whose
    ``activations`` and ``weights`` go there (0: all), ``modules`` the parts of layers (empty: all).
    """

    activations: bool = False
    weights: bool = False
    gradients: bool = False
    optimizer: float = 0.0
    layers: int = 0
    modules: tuple[str, ...] = ()


class Overlap(msgspec.Struct, frozen=True):
    """What communicates beside computing: gradients of replicas, gathered parameters, tensor parallelism, sends between
    stages, the all-to-all of experts."""

    gradients: bool = False
    parameters: bool = False
    tensor: bool = False
    pipeline: bool = False
    experts: bool = False


class TrainingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One training run, as far as cost depends on it.

    Args:
        form: the framework whose file it was.
        model: the architecture that the file's own numbers give, or the catalogue's name of a model that it names.
        seq_len: tokens of a sequence.
        global_batch: sequences of an optimizer step; None: ``replica_batch`` for each data-parallel replica.
        replica_batch: sequences of one replica in a step, where the file gives that instead.
        micro_batch: sequences of one forward and backward.
        tp, pp, cp, ep: tensor-, pipeline-, context- and expert-parallel ways.
        dp: data-parallel replicas; None: what the other ways leave of the devices.
        etp: ways that one expert's width is cut (1 without experts).
        vpp: chunks of layers on each pipeline rank.
        first_stage, last_stage: layers of the first and the last pipeline stage where they differ (0: as the others).
        sequence_parallel: norms and dropout are cut along the sequence, tp ways.
        cp_exchange: how context-parallel ranks share keys and values.
        zero: stage of sharding over replicas: 0 nothing, 1 optimizer states, 2 gradients too, 3 weights too.
        shard: replicas that share one copy (hybrid sharding); 0: all, or ``dp / copies``.
        copies: whole copies of what is sharded.
        precision: number format of the products; ``fp8_recipe`` the scaling of fp8 ("" for the usual one).
        gradients: dtype in which gradients are summed over replicas.
        flash_attention: whether attention keeps no scores; None: the runtime's choice.
        compiled: the model is compiled by the framework.
        expert_capacity: capacity factor beyond which experts drop tokens; None: no token is dropped.
        lora_rank: rank of adapters that alone are trained (0: everything is); ``qlora``: the frozen weights in 4 bits.
        nodes, devices: how many there are in all; None where the file does not say.
        runtime: name of ``workloads.runtimes``.
        steps: optimizer steps of the run; checkpoint_interval: steps between checkpoints; None: not said, or none.
        assumed: what the file does not say and was concluded.
        left_out: what the file says and is not used.
    """

    form: Form
    model: Architecture | str
    seq_len: int
    micro_batch: int = 1
    global_batch: int | None = None
    replica_batch: int | None = None
    tp: int = 1
    pp: int = 1
    dp: int | None = None
    cp: int = 1
    ep: int = 1
    etp: int = 1
    vpp: int = 1
    first_stage: int = 0
    last_stage: int = 0
    sequence_parallel: bool = False
    cp_exchange: ContextExchange = "ring"
    zero: int = 0
    shard: int = 0
    copies: int = 1
    schedule: Schedule = "1f1b"
    recompute: Recompute = Recompute()
    precision: TrainedIn = "bf16"
    fp8_recipe: str = ""
    gradients: Literal["fp32", "bf16", "fp16"] = "fp32"
    optimizer: Optimizer = "adam"
    offload: Offload = Offload()
    overlap: Overlap = Overlap()
    flash_attention: bool | None = None
    compiled: bool = False
    expert_capacity: float | None = None
    lora_rank: int = 0
    lora_modules: tuple[str, ...] = ()
    qlora: bool = False
    nodes: int | None = None
    devices: int | None = None
    runtime: str = ""
    steps: int | None = None
    checkpoint_interval: int | None = None
    checkpoint_async: bool = False
    assumed: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def distributed_optimizer(self) -> bool:
        """Whether replicas share the optimizer states."""
        return self.zero >= 1

    @property
    def architecture(self) -> Architecture:
        """The architecture, from the catalogue where the file names a model.

        Raises:
            UnknownName: the catalogue does not hold it.
        """
        return load_model(self.model) if isinstance(self.model, str) else self.model


def for_devices(config: TrainingConfig, devices: int, place: str = "", batch_place: str = "") -> TrainingConfig:
    """``config`` on so many devices: replicas, those that share a copy, and the global batch are filled in.

    Args:
        place: where the configuration stands, for errors.
        batch_place: where the global batch stands, if not there.

    Raises:
        InputError: the ways do not divide the devices, or give another number of replicas than the file says; the
            replicas do not divide into copies, or the global batch into micro-batches on all of them.
    """
    at = f"{place}: " if place else ""
    model_ways = config.tp * config.pp * config.cp
    if devices < 1 or devices % model_ways:
        raise InputError(
            f"{at}{devices} devices: tp {config.tp} x pp {config.pp} x cp {config.cp} = {model_ways} does not divide "
            f"them; allowed: multiples of {model_ways}"
        )
    dp = devices // model_ways
    if config.dp not in (None, dp):
        raise InputError(
            f"{at}{devices} devices: the configuration has dp {config.dp} x tp {config.tp} x pp {config.pp} x cp "
            f"{config.cp}; allowed: {(config.dp or 1) * model_ways} devices"
        )
    batch = config.global_batch or dp * (config.replica_batch or config.micro_batch)
    if batch % (dp * config.micro_batch):
        raise InputError(
            f"{batch_place or at + BATCH_KEYS[config.form]} {batch}: must be a multiple of dp {dp} x micro-batch "
            f"{config.micro_batch} = {dp * config.micro_batch}"
        )
    shard = config.shard or -(-dp // config.copies)
    if dp % shard:
        raise InputError(f"{at}dp {dp}: must be a multiple of the {shard} replicas that share a copy")
    return msgspec.structs.replace(config, devices=devices, dp=dp, global_batch=batch, shard=shard, copies=dp // shard)
