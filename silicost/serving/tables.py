"""The tables of a fleet file, as TOML has them (docs: serving). Times, sizes and rates are text with a unit."""

from __future__ import annotations

import msgspec

from hardware_specs.sites import DEFAULT_SITE


class SessionsTable(msgspec.Struct, frozen=True):
    """[traffic.sessions]: conversations; ``isl`` and ``osl`` are then of each message and its answer.

    ``turns`` and ``think`` are laws; ``system`` tokens begin every prompt; ``most_tokens`` end a conversation.
    """

    turns: str
    think: str = "0 s"
    system: int = 0
    most_tokens: int = 0


class TrafficTable(msgspec.Struct, frozen=True):
    """[traffic]: which requests come when: one of ``rate`` (a second), ``concurrency`` and ``trace``."""

    rate: float | None = None
    arrivals: str = "poisson"
    burstiness: float | None = None
    concurrency: int | None = None
    trace: str = ""
    trace_format: str = ""
    speedup: float = 1.0
    requests: int | None = None
    isl: str = ""
    osl: str = ""
    sessions: SessionsTable | None = None


class ScalingTable(msgspec.Struct, frozen=True):
    """[pool.autoscale]: see ``simulator.serving.fleet.Scaling``."""

    least: int
    most: int
    outstanding: float
    look: str = ""
    start: str = ""
    patience: int = 12


class FailuresTable(msgspec.Struct, frozen=True):
    """[pool.failures]: mean time between failures of a replica, and until it is back."""

    mtbf: str
    mttr: str


class SpeculationTable(msgspec.Struct, frozen=True):
    """[pool.speculation]: ``depth`` tokens drafted by the model ``draft`` ("" looks n-grams up, "eagle" is a head).

    ``acceptance`` is the probability that a drafted token is accepted given that those before it were (Leviathan et
    al., arXiv:2211.17192); in its place ``accepted_share`` gives accepted over drafted tokens, as servers report it.
    ``prune`` is what is taken away from ``draft`` before (``workloads.compression``): a draft made of its target.
    """

    depth: int
    acceptance: float | None = None
    draft: str = ""
    accepted_share: float | None = None
    prune: str = ""


class AdaptersTable(msgspec.Struct, frozen=True):
    """[pool.adapters]: ``count`` LoRA adapters of one rank, asked for by a Zipf law; ``slots`` are on the device."""

    rank: int
    count: int
    slots: int
    skew: float = 1.0


class PrefixTable(msgspec.Struct, frozen=True):
    """[pool.prefix_cache]: tokens of a unit, and what the host's memory keeps of units that leave the device."""

    unit: int = 0
    host: str = ""


class PoolTable(msgspec.Struct, frozen=True):
    """[[pool]]: equal replicas that run a ``model``, or search an ``index``.

    Pools of one ``shares`` name take turns on the same devices. Numbers of 0 and texts of "" are the runtime's own.
    """

    device: str
    name: str = ""
    model: str = ""
    index: str = ""
    replicas: int = 1
    count: int | None = None
    tp: int | None = None
    pp: int = 1
    ep: int = 1
    runtime: str = ""
    dtype: str = "bf16"
    weight_dtype: str = ""
    kv_dtype: str = ""
    system: str = ""
    price: str = ""
    set: dict[str, str] = {}
    scheduler: str = ""
    router: str = "round-robin"
    order: str = "fcfs"
    max_num_seqs: int = 0
    max_batched_tokens: int = 0
    block_size: int = 16
    kv_blocks: int = 0
    memory_utilization: float = 0.0
    context: int = 0
    swap: str = ""
    most_waiting: int = 0
    drop_late: bool = False
    shares: str = ""
    autoscale: ScalingTable | None = None
    failures: FailuresTable | None = None
    speculation: SpeculationTable | None = None
    adapters: AdaptersTable | None = None
    prefix_cache: PrefixTable | None = None
    prefix_caching: bool | None = None
    prune: str = ""
    low_rank: float = 0.0
    sparsity: str | float = ""
    activation_dtype: str = ""


class StageTable(msgspec.Struct, frozen=True):
    """[[stage]]: what a request goes through on one pool.

    Args:
        after: stages that it waits for; without it the stage before, [] is none.
        input: law of its tokens, or "prompt" of the traffic; of a search queries, 1 without it.
        output: law of the tokens that it gives, or "answer" of the traffic, as of the last stage without it; of other
            stages of models that generate it must be there.
        fanout: jobs side by side, for example one for each candidate.
        shared: law of tokens that stand before the input of all of them, as the history of a user does.
        decode: pool that goes on after the prompt, whose cache comes over the link between the two.
        delay: time that passes before it besides.
        bytes: what comes from each stage before; without it the prompt as text, of a search the vectors.
    """

    pool: str
    name: str = ""
    after: tuple[str, ...] | None = None
    input: str = ""
    output: str = ""
    fanout: int = 1
    shared: str = ""
    decode: str = ""
    delay: str = ""
    bytes: str = ""


class LinkTable(msgspec.Struct, frozen=True):
    """[[link]]: between two pools; ``bandwidth`` of a replica's port, ``total`` of all of them together."""

    between: tuple[str, str]
    bandwidth: str = ""
    total: str = ""
    latency: str = ""


class TenantTable(msgspec.Struct, frozen=True):
    """[[tenant]]: a share of the requests with a priority (0 goes first), objectives and a deadline of its own."""

    name: str
    share: float
    priority: int = 0
    slo: str = ""
    deadline: str = ""


class FailureTable(msgspec.Struct, frozen=True):
    """[[failure]]: a replica, counted from 0, that is gone from ``at`` on, for ``lasts`` or for good."""

    pool: str
    at: str
    replica: int = 0
    lasts: str = ""


class FleetTable(msgspec.Struct, frozen=True):
    """The whole file."""

    traffic: TrafficTable
    pool: tuple[PoolTable, ...]
    stage: tuple[StageTable, ...] = ()
    link: tuple[LinkTable, ...] = ()
    tenant: tuple[TenantTable, ...] = ()
    failure: tuple[FailureTable, ...] = ()
    title: str = ""
    description: str = ""
    slo: str = ""
    site: str = DEFAULT_SITE
    seed: int = 0
