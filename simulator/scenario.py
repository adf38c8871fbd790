"""Scenarios: what is asked, on which system, under which software, cut and placed how. Frozen, hashable by content.

A system is used as *pools* of equal devices. Most scenarios have one pool, which is answered in closed form; several
pools share the work by rules and run on the engine.
"""

from __future__ import annotations

import msgspec

from hardware_specs.calibrations import calibrations_digest
from hardware_specs.errors import InputError
from hardware_specs.facts import Fact
from hardware_specs.records import DeviceSpec, LinkSpec, SiteSpec, SystemNode, SystemSpec
from hardware_specs.systems import group_of
from hardware_specs.twins import twins_of
from simulator.identity import content_hash
from workloads.formats import load_format
from workloads.lowering.dataflow import Dataflow
from workloads.lowering.plan import Sharding
from workloads.lowering.recompute import WORDS, policy_of
from workloads.models.architecture import Architecture
from workloads.runtimes.record import Runtime

PHASES = ("encode", "prefill", "decode", "forward", "backward", "update")
"""What rules place and results tell apart. An encoder encodes; a training step runs the last three."""
RECOMPUTE = WORDS
"""Policies that a search tries; more can be asked for, see ``workloads.lowering.recompute``."""


class Formats(msgspec.Struct, frozen=True):
    """Number formats as people name them.

    ``dtype`` is the compute dtype; ``weight`` a storage format ("" = as dtype); ``kv`` that of the cache
    ("" = that of activations: 16 bit, or fp32 where that is computed in); ``recipe`` how training scales what it
    computes in 8 bits, see ``workloads.recipes`` ("": as the runtime does). ``activation``, ``sparsity``, ``quality``
    are as in ``workloads.compression.Compression``.
    """

    dtype: str = "bf16"
    weight: str = ""
    kv: str = ""
    recipe: str = ""
    activation: str = ""
    sparsity: str = ""
    quality: float = 0.0


class Plan(msgspec.Struct, frozen=True):
    """How the work is cut: tensor, pipeline, data and expert parallel ways; and how training is scheduled.

    What follows means nothing to inference. ``micro_batch`` is the sequences of one forward and backward, ``recompute``
    what the backward computes again instead of keeping it (see ``workloads.lowering.recompute``); ``cp`` devices share
    the tokens of each sequence (context parallelism); ``vpp`` is how many pieces of the model a pipeline stage holds
    (interleaved schedule); ``sequence`` cuts what tensor parallelism leaves whole along the tokens; ``zero`` is the
    stage of ZeRO, over dp x cp replicas (-1: what the runtime does); ``schedule`` is one of ``simulator.schedules``
    ("": 1f1b, or interleaved where ``vpp`` is above 1). ``etp`` ways cut each expert (0: tp where ep is 1, else 1);
    ``cp_comm`` is what context parallel ranks exchange ("p2p": keys and values round a ring; "a2a": heads for tokens;
    "all_gather"); ``shard`` replicas cut among them what ZeRO cuts, and groups of so many hold copies (0: all of them);
    ``overlap`` names what moves beside the math ("": what the runtime does), ``offload`` what lies off the devices, see
    ``simulator.steps.overlap`` and ``simulator.steps.offload``; ``stages`` are the layers of each pipeline stage (none:
    as equal as can be).
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: int = 1
    micro_batch: int = 1
    recompute: str = "none"
    cp: int = 1
    vpp: int = 1
    sequence: bool = False
    zero: int = -1
    schedule: str = ""
    etp: int = 0
    cp_comm: str = "p2p"
    shard: int = 0
    overlap: str = ""
    offload: str = ""
    stages: tuple[int, ...] = ()

    @property
    def devices(self) -> int:
        """Devices that the plan uses; expert parallelism lies inside data and tensor parallelism."""
        return self.tp * self.pp * self.dp * self.cp

    @property
    def sharding(self) -> Sharding:
        """How one replica is cut."""
        return Sharding(self.tp, self.ep, self.pp, self.cp, self.sequence, self.stages, self.etp, self.cp_comm)

    @property
    def expert_replicas(self) -> int:
        """Devices that hold the same experts: all of a replica group where experts are cut as all else."""
        if not self.sharding.sends_tokens:
            return self.dp * self.cp
        return self.tp * self.dp * self.cp // (self.ep * max(self.etp, 1))


class StaticBatch(msgspec.Struct, frozen=True, tag="inference"):
    """``batch`` sequences of ``isl`` prompt tokens that start together and each produce ``osl`` tokens."""

    model: Architecture
    batch: int
    isl: int
    osl: int


class TrainStep(msgspec.Struct, frozen=True, tag="training"):
    """One optimizer step on ``global_batch`` sequences of ``seq_len`` tokens.

    ``lora_rank`` > 0 trains low-rank adapters on all linear layers of a frozen model; ``optimizer`` is one of
    ``workloads.optimizers``.
    """

    model: Architecture
    global_batch: int
    seq_len: int
    lora_rank: int = 0
    optimizer: str = "adamw"


class TrainThenInfer(msgspec.Struct, frozen=True, tag="train-then-infer"):
    """``steps`` optimizer steps, then the weights move to where inference runs, then one static batch."""

    train: TrainStep
    steps: int
    infer: StaticBatch

    @property
    def model(self) -> Architecture:
        """The model of both."""
        return self.train.model


Workload = StaticBatch | TrainStep | TrainThenInfer | Dataflow


def trains(work: Workload) -> bool:
    """Whether every pool of a scenario must run training: not where training and inference part."""
    return isinstance(work, TrainStep) or (isinstance(work, Dataflow) and work.train)


class Pool(msgspec.Struct, frozen=True):
    """``count`` equal devices that work as one, under one runtime and one plan.

    ``name`` is what placement rules call it, ``group`` the group of the system whose devices these are ("": the one of
    this device). Pools of one group hold disjoint devices: each begins where the one before it ends.

    ``usd_per_device_s`` is None where no price is known; ``price_origin`` says whose it is. An ``owned`` device's
    price is its purchase spread over its life, to which electricity is added; a rented one's includes it.
    """

    name: str
    device: DeviceSpec
    count: int
    runtime: Runtime
    formats: Formats
    plan: Plan
    usd_per_device_s: Fact | None = None
    price_origin: str = ""
    owned: bool = False
    group: str = ""


class Rule(msgspec.Struct, frozen=True):
    """A placement rule: what matches goes to the pool called ``pool``.

    ``phase`` ("prefill", "decode", "forward" ...), ``layers`` (first and last layer, counted from 0) and
    ``operator`` (shell-style pattern of operator names, "moe.*") must all match where they are given. Of several
    rules that match, the first one counts; without any, the first pool.
    """

    pool: str
    phase: str = ""
    layers: tuple[int, ...] = ()
    operator: str = ""


class Privacy(msgspec.Struct, frozen=True):
    """Names of the pools that may see prompts (and activations, which derive from them), weights, and the KV cache;
    None: every pool may. See ``simulator.placement.privacy`` for what sees what."""

    prompts: tuple[str, ...] | None = None
    weights: tuple[str, ...] | None = None
    kv: tuple[str, ...] | None = None

    @property
    def limits(self) -> bool:
        """Whether anything is kept from any pool."""
        return any(names is not None for names in (self.prompts, self.weights, self.kv))

    def allowed(self, data: str) -> tuple[str, ...] | None:
        """Pools that may see a class of data: "prompts", "weights" or "kv"."""
        found: tuple[str, ...] | None = getattr(self, data)
        return found


class Scenario(msgspec.Struct, frozen=True):
    """One question: a workload on the pools of a system, placed by rules, at a site.

    ``layers`` "balanced" spreads the layers of a training step over all pools, bottom to top in their order, such that
    it is fastest (``simulator.placement.balance``); "" leaves them to the rules. ``privacy`` says which pools may see
    what: rules that violate it are refused.
    """

    workload: Workload
    system: SystemSpec
    links: dict[str, LinkSpec]
    pools: tuple[Pool, ...]
    site: SiteSpec
    rules: tuple[Rule, ...] = ()
    title: str = ""
    seed: int = 0
    layers: str = ""
    privacy: Privacy = Privacy()

    @property
    def hash(self) -> str:
        """Hash of the content of every part, storage formats and calibrations included, and of the laws.

        It is the key of caches and studies. Titles, notes and citations do not count.

        Raises:
            UnknownName: a storage format that does not exist.
        """
        named = (
            (each.dtype, each.weight, each.kv, each.activation.partition(":")[0])
            for each in (pool.formats for pool in self.pools)
        )
        names = {name for names in named for name in names} - {""}
        formats = [load_format(name) for name in sorted(names)]
        devices = [pool.device for pool in self.pools]
        fitted = [
            calibrations_digest(name) for spec in devices for name in (spec.id, spec.device_class, *twins_of(spec))
        ]
        return content_hash(self, formats, fitted)

    def group_of(self, pool: Pool) -> SystemNode:
        """The group of the system that holds the devices of ``pool``.

        Raises:
            InputError: the system has none, or several and the pool does not say which.
        """
        return group_of(self.system, pool.device.id, pool.group)

    def ranks_of(self, pool: Pool) -> range:
        """Numbers of the devices of ``pool`` in their group, counted node by node over the whole system."""
        group = self.group_of(pool)
        first = 0
        for other in self.pools:
            if other.name == pool.name:
                break
            if self.group_of(other).id == group.id:
                first += other.count
        return range(first, first + pool.count)

    @property
    def mixed(self) -> bool:
        """Whether more than one pool takes part."""
        return len(self.pools) > 1


def check_plan(plan: Plan, count: int) -> None:
    """Refuse a plan whose ways do not multiply to the number of devices.

    Raises:
        InputError: a number of ways below one, tp x pp x dp differs from count, ep does not divide tp x dp, or an
            unknown way to recompute.
    """
    for flag in ("tp", "pp", "dp", "ep", "cp", "vpp"):
        ways = getattr(plan, flag)
        if not ways >= 1:
            raise InputError(f"--{flag} {ways}: must be at least 1")
    if not -1 <= plan.zero <= 3:
        raise InputError(f"--zero {plan.zero}: must be 0 to 3, or -1 for what the runtime does")
    if plan.vpp > 1 and plan.pp == 1:
        raise InputError(f"--vpp {plan.vpp}: pieces of pipeline stages need --pp above 1")
    if plan.sequence and plan.tp == 1:
        raise InputError("--seq-parallel: it goes with tensor parallelism; use --tp above 1")
    policy_of(plan.recompute, inner=False)
    if plan.devices != count:
        raise InputError(
            f"--tp {plan.tp} x --pp {plan.pp} x --dp {plan.dp}{f' x --cp {plan.cp}' if plan.cp > 1 else ''} = "
            f"{plan.devices} devices, but --count is {count}; they must be equal"
        )
    ranks = plan.tp * plan.dp * plan.cp
    if ranks % plan.ep:
        raise InputError(f"--ep {plan.ep}: must divide tp x dp = {ranks}")
    if plan.etp < 0:
        raise InputError(f"--etp {plan.etp}: must be at least 1, or 0 for tp where ep is 1, else 1")
    if ranks % (plan.ep * max(plan.etp, 1)):
        raise InputError(f"--etp {plan.etp}: ep x etp must divide tp x dp = {ranks}")
    replicas = plan.dp * plan.cp
    if plan.shard < 0 or (plan.shard and replicas % plan.shard):
        raise InputError(f"--fsdp {plan.shard}: must divide the replicas, dp x cp = {replicas}")
