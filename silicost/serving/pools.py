"""From the tables of a fleet to pools that can be run: devices, prices of iterations, what a replica holds."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from hardware_specs.errors import InputError, UnknownName, about, clipped
from hardware_specs.facts import Fact, Mark
from hardware_specs.units import parse_quantity
from silicost.scenarios import inference_scenario
from silicost.serving.drafts import EAGLE, acceptance_of, eagle
from silicost.serving.runtime_defaults import as_served
from silicost.serving.tables import PoolTable, ScalingTable
from simulator import memory
from simulator.bulk.metrics import model_of
from simulator.checks import LARGEST, check_count
from simulator.prepared import Prepared, prepare
from simulator.serving.adapters import Adapters, adapters_of
from simulator.serving.cluster import Limits, cache_blocks
from simulator.serving.fleet import SCHEDULES, Costs, Scaling, Setup
from simulator.serving.search_tables import search_tables
from simulator.serving.speculation import draft_bytes, speculative_tables
from simulator.serving.step_tables import StepTables, step_tables
from workloads.models.architecture import Architecture
from workloads.retrieval.index_words import parse_index
from workloads.retrieval.indexes import Index

CONTEXT: Final = 131_072
"""Context of a model that states none."""
UNIT_TOKENS: Final = 64
"""Tokens of a unit of a prefix cache."""
_SEARCHES: Final = "all-minilm-l6-v2"
"""A model that stands where a scenario wants one, on devices that search and run none."""
_GB: Final = 1e9
MORE_BLOCKS: Final = 1.05
"""Cache blocks that may be asked for, over those that the memory is predicted to hold: counts that a server has
reported may differ from the prediction."""
HOST_BYTES: Final = 16e12
"""Largest memory of a host; specs of systems do not tell theirs."""
LEAST_LOOK_S, LEAST_REPAIR_S, LEAST_BETWEEN_FAILURES_S = 1e-3, 1e-3, 1.0
"""Shorter ones would be nothing but looks and failures."""
FLAGS: Final = "flags"
"""Place of a fleet that flags describe: what is wrong with it names the flag."""


@dataclass(frozen=True)
class Pool:
    """A pool that can be run.

    Args:
        table: what was asked.
        prepared: one replica.
        arch: its model; None where it searches an index.
        setup: what the compiled fleet needs.
        adapters: LoRA adapters of its requests.
        virtual: pipeline stages that a replica is run as: each has its own batch and its part of the cache.
    """

    table: PoolTable
    prepared: Prepared
    arch: Architecture | None
    index: Index | None
    setup: Setup
    adapters: Adapters | None = None
    virtual: int = 1

    @property
    def name(self) -> str:
        """Its name."""
        return self.setup.name

    @property
    def generates(self) -> bool:
        """Whether it answers with tokens."""
        return self.arch is not None and not self.arch.is_encoder

    @property
    def devices(self) -> int:
        """Devices of a replica."""
        return self.prepared.pool.count


@contextmanager
def placed(place: str) -> Iterator[None]:
    """Let what is refused inside say where in a file it stands."""
    try:
        yield
    except InputError as error:
        if place != FLAGS and not place.startswith(f"{FLAGS}:") and not str(error).startswith(place.split(":")[0]):
            error.args = (f"{place}: {error}",)
        raise


def quantity(text: str, dimension: str, place: str, default: float = 0.0, *, above_zero: bool = False) -> float:
    """A text with a unit in SI units; ``default`` where there is none.

    Raises:
        InputError: another dimension, or less than zero.
    """
    if not text:
        return default
    value = parse_quantity(text, dimension, place)
    if value < 0.0 or (above_zero and value == 0.0):
        raise InputError(f"{place}: {text!r} must be {'above zero' if above_zero else 'zero or more'}")
    return value


def pool_of(
    table: PoolTable, site: str, longest: int, unit: int, place: str, *, repeats: bool = False
) -> Pool:  # fmt: skip
    """The pool that a table describes.

    Args:
        longest: longest prompt with its answer that the traffic has [tokens]; 0: not known.
        unit: tokens of the blocks that a trace names; 0: it names none.
        place: where the table stands, for errors.
        repeats: whether requests can have prefixes in common.

    Raises:
        InputError: an unknown name, impossible numbers, a device that cannot hold what it is to run.
    """
    if bool(table.model) == bool(table.index):
        raise InputError(f"{place}: a pool runs a model or searches an index: give one of the two keys")
    with placed(place):
        prepared = _prepared(table, site)
        if table.index:
            return _searching(table, prepared, place)
        asked = as_served(table, prepared, model_of(prepared), repeats, place)
        return _running(asked, prepared, longest, unit, place)


def _prepared(table: PoolTable, site: str) -> Prepared:
    runtime, dtype = table.runtime, table.dtype
    if table.index:
        runtime, dtype = runtime or "ideal", "fp32" if dtype == "bf16" else dtype
    ways = {"count": table.count, "tp": table.tp, "pp": table.pp, "ep": table.ep}
    scenario = inference_scenario(
        table.model or _SEARCHES, table.device, batch=1, isl=1, osl=1, runtime=runtime, dtype=dtype,
        weight_dtype=table.weight_dtype, kv_dtype=table.kv_dtype, system=table.system, site=site, price=table.price,
        changes=table.set, prune=table.prune, low_rank=table.low_rank, sparsity=table.sparsity,
        activation_dtype=table.activation_dtype, **ways,
    )  # fmt: skip
    return utilised(prepare(scenario), table.memory_utilization)


def utilised(prepared: Prepared, share: float) -> Prepared:
    """``prepared`` with another share of the memory in use; 0 leaves the runtime's.

    Raises:
        InputError: no share.
    """
    if not share:
        return prepared
    if not 0.0 < share <= 1.0:
        raise InputError(f"--memory-utilization {share:g}: must be above 0 and at most 1")
    fact = Fact(share, "number", f"{share:g}", Mark.ASSUMED, "--memory-utilization")
    runtime = msgspec.structs.replace(prepared.pool.runtime, memory_utilisation=fact, free_memory_share=None)
    return replace(prepared, pool=msgspec.structs.replace(prepared.pool, runtime=runtime))


def _searching(table: PoolTable, prepared: Prepared, place: str) -> Pool:
    _check_only(table, place)
    index = parse_index(table.index, f"{place}: index")
    most = table.max_num_seqs or 64
    tables = search_tables(prepared, index, most)
    setup = Setup(
        table.name, tables, Limits(most, most, 1, 1 << 30, 1 << 30), costs_of(prepared), table.replicas,
        "prefill-first", table.order, table.router, **_reality(table, place),
    )  # fmt: skip
    return Pool(table, prepared, None, index, setup)


def _check_only(table: PoolTable, place: str) -> None:
    keys = (
        "speculation", "adapters", "prefix_cache", "swap", "max_batched_tokens", "kv_blocks", "context", "prune",
        "low_rank", "sparsity", "activation_dtype",
    )  # fmt: skip
    for key in keys:
        if getattr(table, key):
            raise InputError(f"{place}: {key}: belongs to pools that run a model")


def _running(table: PoolTable, prepared: Prepared, longest: int, named: int, place: str) -> Pool:
    arch = model_of(prepared)
    scheduler = table.scheduler
    if scheduler not in SCHEDULES:
        raise UnknownName("scheduler", scheduler, tuple(SCHEDULES), f"allowed: {', '.join(SCHEDULES)}", place)
    if arch.is_encoder:
        scheduler = "prefill-first"
    limits = limits_of(prepared, arch, table, scheduler, longest, place)
    adapters = _adapters(table, prepared, arch)
    tables, held, each = _tables(table, prepared, arch, limits)
    if table.kv_blocks >= 0:
        with about("memory"):
            blocks = _blocks(prepared, arch, limits, held + (adapters.held_bytes if adapters else 0.0), each)
        if table.kv_blocks > MORE_BLOCKS * blocks:
            raise InputError(
                f"--kv-blocks {table.kv_blocks}: must be at most {blocks}: so many of {limits.block_tokens} tokens are "
                f"in the memory of {prepared.pool.device.id}"
            )
        limits = limits._replace(blocks=table.kv_blocks or blocks)
    virtual = prepared.pool.plan.pp
    if virtual > 1:
        limits = limits._replace(
            blocks=max(limits.blocks // virtual, 1), sequences=max(limits.sequences // virtual, 1)
        )  # fmt: skip
    limits = limits._replace(context=min(limits.context, limits.blocks * limits.block_tokens))
    block_bytes = _block_bytes(prepared, arch, limits.block_tokens)
    host = prepared.network.host
    host_bytes_per_s = host.bandwidth.value * host.achieved_fraction.value
    unit = _unit(table, limits, named, place)
    tier = quantity(table.prefix_cache.host, "bytes", f"{place}: prefix_cache.host") if table.prefix_cache else 0.0
    block_s = block_bytes / host_bytes_per_s
    costs = replace(costs_of(prepared), swap_block_s=block_s, load_unit_s=unit * block_s)
    if adapters:
        costs = replace(
            costs, adapter_s=adapters.per_iteration_s, adapter_j=adapters.per_iteration_j,
            adapter_load_s=adapters.load_s, adapter_step_s=adapters.iteration_s, adapter_step_j=adapters.iteration_j,
            adapter_token_s=adapters.per_token_s, adapter_token_j=adapters.per_token_j,
        )  # fmt: skip
    spec = table.speculation
    # Host memory is that of a replica: of all devices that hold a part of a block, for all batches in the pipeline.
    whole_bytes = block_bytes * prepared.how.sharding.tp * virtual * virtual
    setup = Setup(
        table.name, tables, limits, costs, table.replicas * virtual, scheduler, table.order, table.router,
        drafts=spec.depth if spec else 0,
        acceptance=acceptance_of(spec, f"{place}: speculation") if spec else 0.0,
        swap_blocks=int(_swap_bytes(table, place) / whole_bytes) if block_bytes else 0,
        unit_blocks=unit, tier_units=int(tier / (unit * whole_bytes)) if unit and block_bytes else 0,
        adapter_slots=table.adapters.slots if table.adapters else 1, **_reality(table, place, virtual),
    )  # fmt: skip
    return Pool(table, prepared, arch, None, setup, adapters, virtual)


def _swap_bytes(table: PoolTable, place: str) -> float:
    found = quantity(table.swap, "bytes", f"{place}: swap")
    if found > HOST_BYTES:
        raise InputError(f"{place}: swap: {table.swap!r} must be at most {HOST_BYTES / 1e12:g} TB, above any host's")
    return found


def _reality(table: PoolTable, place: str, virtual: int = 1) -> dict[str, Any]:
    """Admission, scaling and failures of a pool."""
    found: dict[str, Any] = {
        "waiting": table.most_waiting, "drop_late": table.drop_late, "shares": table.shares,
    }  # fmt: skip
    check_count(f"{place}: replicas", table.replicas, 100_000)
    if table.most_waiting < 0:
        raise InputError(f"{place}: most_waiting {table.most_waiting}: must be 0 (any number) or more")
    if table.failures:
        check_whole(virtual, f"{place}: failures")
        found["mtbf_s"] = _time(table.failures.mtbf, f"{place}: failures.mtbf", LEAST_BETWEEN_FAILURES_S)
        found["mttr_s"] = _time(table.failures.mttr, f"{place}: failures.mttr", LEAST_REPAIR_S)
    if table.autoscale:
        if virtual > 1:
            raise InputError(f"{place}: autoscale: replicas of several pipeline stages do not scale")
        found["scaling"] = _scaling(table.autoscale, f"{place}: autoscale")
    return found


def _time(text: str, place: str, least_s: float, default_s: float = 0.0) -> float:
    """A time of at least ``least_s`` [s]; ``default_s`` where there is no text.

    Raises:
        InputError: another dimension, or shorter.
    """
    value_s = quantity(text, "s", place, default_s)
    if value_s < least_s:
        raise InputError(f"{place}: {text!r} must be at least {least_s:g} s")
    return value_s


def check_name(name: str, place: str) -> None:
    """Refuse names of pools, stages and tenants that no table or page can show.

    Raises:
        InputError: more than 80 characters, control characters, or characters that change the direction of text.
    """
    if len(name) > LONGEST_NAME:
        raise InputError(f"{place}: name {clipped(name)!a}: must have at most {LONGEST_NAME} characters")
    for letter in name:
        if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(letter) in _TURNS:
            raise InputError(f"{place}: name {name!a}: {letter!a} is not allowed; use letters that can be seen")


LONGEST_NAME: Final = 80
_TURNS: Final = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Classes of characters that turn the direction of what follows (Unicode Standard Annex 9)."""


def check_whole(virtual: int, place: str) -> None:
    """Refuse failures of one pipeline stage: those of a replica take all of its stages at once.

    Raises:
        InputError: a replica of several stages.
    """
    if virtual > 1:
        raise InputError(f"{place}: replicas of several pipeline stages (pp {virtual}) do not fail; use pp = 1")


def _scaling(table: ScalingTable, place: str) -> Scaling:
    if not 0 <= table.least <= table.most or not 1 <= table.most <= 100_000:
        raise InputError(
            f"{place}: least {table.least}, most {table.most}: least must be from 0 to most, most from 1 to 100000"
        )
    if table.outstanding <= 0.0:
        raise InputError(f"{place}: outstanding {table.outstanding:g}: must be above zero")
    check_count(f"{place}: patience", table.patience)
    look_s = _time(table.look, f"{place}: look", LEAST_LOOK_S, 5.0)
    start_s = quantity(table.start, "s", f"{place}: start", 60.0)
    return Scaling(table.least, table.most, table.outstanding, look_s, start_s, table.patience)


def limits_of(
    prepared: Prepared, arch: Architecture, table: PoolTable, scheduler: str, longest: int, place: str
) -> Limits:  # fmt: skip
    """What a replica allows; the blocks of its cache are those asked for, or 1.

    Raises:
        InputError: no whole numbers, or a budget below the number of sequences.
    """
    schedule = SCHEDULES[scheduler]
    if table.context:
        check_count(f"{place}: context", table.context, LARGEST)
    context = table.context or arch.max_positions or CONTEXT
    if longest:
        context = min(context, max(longest, 2))
    sequences = table.max_num_seqs
    whole = not schedule.chunked or arch.is_encoder
    batched = table.max_batched_tokens or (
        schedule.tokens if scheduler == "sarathi" else prepared.pool.runtime.prefill_chunk or schedule.tokens or 8192
    )
    batched = max(batched, context) if whole else batched
    for flag, count in (
        ("--max-num-seqs", sequences), ("--max-batched-tokens", batched), ("--block-size", table.block_size),
    ):  # fmt: skip
        check_count(flag, count, 1_000_000)
    drafted = (table.speculation.depth if table.speculation else 0) + 1
    if schedule.mixed and batched < sequences * drafted:
        if table.max_batched_tokens:
            raise InputError(
                f"--max-batched-tokens {batched}: must be at least --max-num-seqs {sequences}"
                f"{f' x {drafted} drafted tokens' if drafted > 1 else ''}: each gets a token"
            )
        batched = sequences * drafted
    return Limits(batched, sequences, table.block_size, table.kv_blocks or 1, context)


def _blocks(prepared: Prepared, arch: Architecture, limits: Limits, held: float, each: float) -> int:
    """Blocks of the cache beside ``held`` bytes, where each token takes ``each`` bytes more."""
    blocks = cache_blocks(prepared, arch, limits.block_tokens, limits.batched_tokens, limits.sequences)
    if not held and not each:
        return blocks
    block_bytes = _block_bytes(prepared, arch, limits.block_tokens)
    left = blocks * block_bytes - held
    found = int(left / (block_bytes + each * limits.block_tokens))
    if found < 1:
        raise InputError(
            f"{prepared.pool.device.id}: {held / _GB:.3g} GB of drafts or adapters leave no room for a cache beside "
            f"{arch.id}, which has {blocks * block_bytes / _GB:.3g} GB for both"
        )
    return found


def _block_bytes(prepared: Prepared, arch: Architecture, block_tokens: int) -> float:
    empty = memory.kv_bytes_per_sequence(arch, 0.0, prepared.precision, prepared.how.sharding)
    full = memory.kv_bytes_per_sequence(arch, float(block_tokens), prepared.precision, prepared.how.sharding)
    return float(full - empty)


def _unit(table: PoolTable, limits: Limits, named: int, place: str) -> int:
    """Blocks of a unit of the prefix cache; 0: there is none."""
    if table.prefix_cache is None:
        return 0
    if table.prefix_cache.unit:
        check_count(f"{place}: prefix_cache.unit", table.prefix_cache.unit)
    tokens = table.prefix_cache.unit or named or -(-UNIT_TOKENS // limits.block_tokens) * limits.block_tokens
    if named and tokens % named:
        raise InputError(f"{place}: prefix_cache.unit {tokens}: must be whole blocks of the trace, of {named} tokens")
    if tokens % limits.block_tokens:
        raise InputError(f"{place}: prefix_cache.unit {tokens}: must be whole blocks of {limits.block_tokens} tokens")
    return tokens // limits.block_tokens


def _adapters(table: PoolTable, prepared: Prepared, arch: Architecture) -> Adapters | None:
    asked = table.adapters
    if asked is None:
        return None
    if asked.skew < 0.0:
        raise InputError(f"adapters.skew {asked.skew:g}: must be zero (all alike) or more")
    return adapters_of(prepared, arch, asked.rank, asked.count, asked.slots)


def _tables(
    table: PoolTable, prepared: Prepared, arch: Architecture, limits: Limits
) -> tuple[StepTables, float, float]:  # fmt: skip
    """Prices of iterations; bytes that a draft holds, and of each token in its cache."""
    spec = table.speculation
    if spec is None:
        tables = step_tables(prepared, arch, limits.batched_tokens, limits.sequences, limits.context)
        return tables, 0.0, 0.0
    draft, model, held, each = None, None, 0.0, 0.0
    takes = None
    if spec.draft == EAGLE:
        draft = prepared
        model, takes = eagle(prepared, arch)
    elif spec.draft:
        asked = msgspec.structs.replace(
            table, model=spec.draft, weight_dtype="", speculation=None, prune=spec.prune, low_rank=0.0, sparsity="",
            activation_dtype="",
        )  # fmt: skip
        draft = _prepared(asked, prepared.scenario.site.id)
        model = model_of(draft)
        takes = draft_bytes(draft, model)
    if takes:
        held, each = takes.weights + limits.sequences * takes.state, takes.token
    tables = speculative_tables(
        prepared, arch, draft, model, spec.depth, limits.batched_tokens, limits.sequences, limits.context
    )
    return tables, held, each


def costs_of(prepared: Prepared) -> Costs:
    """What the scheduler of a pool needs to know of its software and devices."""
    runtime, plan = prepared.pool.runtime, prepared.pool.plan
    return Costs(
        runtime.host_step.value, runtime.host_sequence.value if runtime.host_sequence else 0.0,
        runtime.async_scheduling, float(prepared.model.record["static_w"]), plan.tp * plan.dp,
    )  # fmt: skip


def named_pools(tables: tuple[PoolTable, ...], place: str) -> dict[str, PoolTable]:
    """Tables by name; one without a name has that of its device.

    Raises:
        InputError: none at all, or one name twice.
    """
    if not tables:
        raise InputError(f"{place}: a fleet needs at least one [[pool]]")
    found: dict[str, PoolTable] = {}
    for table in tables:
        name = table.name or table.device
        if table.name:
            check_name(name, place)
        if name in found:
            raise InputError(f"{place}: two pools are called {name!r}; give them a name")
        found[name] = msgspec.structs.replace(table, name=name)
    return found


def check_shares(pools: Mapping[str, Pool], place: str) -> None:
    """Refuse pools that share devices of another kind, or more of their memory than there is.

    Raises:
        InputError: naming the pools.
    """
    groups: dict[str, list[Pool]] = {}
    for pool in pools.values():
        if pool.table.shares:
            groups.setdefault(pool.table.shares, []).append(pool)
    for name, members in groups.items():
        kinds = {(pool.table.device, pool.devices, pool.table.replicas) for pool in members}
        if len(kinds) > 1:
            raise InputError(f"{place}: pools that share {name!r} must have one device, count and number of replicas")
        total = sum(pool.prepared.pool.runtime.memory_utilisation.value for pool in members)
        if total > 1.0 + 1e-9:
            names = ", ".join(pool.name for pool in members)
            raise InputError(
                f"{place}: {names} share {name!r} and may fill {total:.3g} of its memory; set memory_utilization of "
                "each so that they are at most 1 together"
            )
