"""The tables of a scenario file, as TOML has them (docs: scenario files)."""

from __future__ import annotations

from typing import Literal

import msgspec

from hardware_specs.sites import DEFAULT_SITE
from simulator.scenario import Rule
from workloads.lowering.dataflow import DataflowInput, DataflowOperator
from workloads.lowering.dataflow_record import Optimizer

Kind = Literal["inference", "training", "train-then-infer", "dataflow"]


class WorkloadTable(msgspec.Struct, frozen=True):
    """[workload]: the kind, and the model or the operators."""

    kind: Kind
    model: str = ""
    inputs: tuple[DataflowInput, ...] = ()
    operators: tuple[DataflowOperator, ...] = ()
    train: bool = False
    optimizer: Optimizer = "sgd"
    input_bytes_per_sample: float = 0.0
    lora_rank: int = 0


class TrafficTable(msgspec.Struct, frozen=True):
    """[traffic]: how much of the workload comes when; see ``TRAFFIC`` for which keys belong to which kind of workload.

    ``kind`` "static": everything is there at the start.
    """

    kind: Literal["static"] = "static"
    batch: int | None = None
    isl: int | None = None
    osl: int | None = None
    global_batch: int | None = None
    seq_len: int | None = None
    steps: int | None = None
    samples: int | None = None
    epochs: int | None = None


TRAFFIC: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "inference": (("batch", "isl", "osl"), ()),
    "training": (("global_batch", "seq_len"), ()),
    "train-then-infer": (("global_batch", "seq_len", "steps", "batch", "isl", "osl"), ()),
    "dataflow": (("batch",), ("steps", "samples", "epochs")),
}
"""Required and optional keys of [traffic] by kind of workload; ``kind`` belongs to all."""


class SystemTable(msgspec.Struct, frozen=True):
    """[system]: a shipped or own system by ``name``, or ``count`` of one ``device`` in its usual host."""

    name: str = ""
    device: str = ""
    count: int | None = None
    set: dict[str, str] = {}


class PoolTable(msgspec.Struct, frozen=True):
    """[[plan.pools]]: devices that work as one; what it leaves out is as in [plan] and [runtime].

    ``group`` is the group of the system that holds them; ``device`` does where only one group has it.
    """

    device: str = ""
    group: str = ""
    name: str = ""
    count: int | None = None
    runtime: str = ""
    dtype: str = ""
    weight_dtype: str = ""
    kv_dtype: str = ""
    tp: int | None = None
    pp: int | None = None
    dp: int | None = None
    ep: int | None = None
    micro_batch: int | None = None
    price: str = ""


class PlanTable(msgspec.Struct, frozen=True):
    """[plan]: parallelism and number formats of every pool, the pools, and who does what.

    ``micro_batch`` and ``recompute`` are for workloads that train a model; ``layers`` "balanced", the only word that a
    file may give it, spreads the layers of a model that several pools train; "" is that it is left out.
    """

    dtype: str = "bf16"
    weight_dtype: str = ""
    kv_dtype: str = ""
    tp: int | None = None
    pp: int = 1
    dp: int = 1
    ep: int = 1
    micro_batch: int | None = None
    recompute: str | None = None
    layers: Literal["balanced"] | str = ""
    pools: tuple[PoolTable, ...] = ()
    place: tuple[Rule, ...] = ()


class PrivacyTable(msgspec.Struct, frozen=True):
    """[privacy]: names of pools, groups, devices or ``sites`` that may see a class of data; left out: all may.

    ``sites`` gives sets of pools, groups or devices a name: where they stand, or who runs them.
    """

    prompts: tuple[str, ...] | None = None
    weights: tuple[str, ...] | None = None
    kv: tuple[str, ...] | None = None
    sites: dict[str, tuple[str, ...]] = {}


class RuntimeTable(msgspec.Struct, frozen=True):
    """[runtime]: ``name`` for every device; default each device's usual one."""

    name: str = ""


class SiteTable(msgspec.Struct, frozen=True):
    """[site]: where the system stands."""

    name: str = DEFAULT_SITE


class CompressTable(msgspec.Struct, frozen=True):
    """[compress]: what is done to the model, see ``workloads.compression``; formats of weights and cache are in [plan].

    ``prune`` maps a part to the share that is taken away, ``sparsity`` is "2:4" or a share of zeros.
    """

    prune: dict[str, float] = {}
    low_rank: float = 0.0
    sparsity: str | float = ""
    activation_dtype: str = ""
    quality: float = 0.0


class ScenarioTable(msgspec.Struct, frozen=True):
    """The whole file."""

    workload: WorkloadTable
    traffic: TrafficTable
    system: SystemTable
    title: str = ""
    description: str = ""
    runtime: RuntimeTable = RuntimeTable()
    plan: PlanTable = PlanTable()
    site: SiteTable = SiteTable()
    compress: CompressTable = CompressTable()
    privacy: PrivacyTable = PrivacyTable()
    seed: int = 0
