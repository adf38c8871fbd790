"""From requests to jobs: each goes through stages on pools, some of them in several jobs, and links join them.

The jobs of a request follow one another in the order of its stages. A stage whose prompt and answer two pools share is
two jobs: the first gives the first token; the second has all but that token in the cache that came over the link, and
goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError, UnknownName
from silicost.serving.pools import Pool, check_name, quantity
from silicost.serving.tables import LinkTable, StageTable
from simulator import memory
from simulator.kernels.serving import NONE
from simulator.serving.fleet import Link
from simulator.serving.jobs import Edges, Floats, Ints, Named, Work, no_edges
from workloads.traffic.law_words import law_of_tokens
from workloads.traffic.lengths import whole_tokens
from workloads.traffic.record import Traffic
from workloads.traffic.streams import stream

MOST_JOBS: Final = 50_000_000
TOKEN_BYTES: Final = 4.0
"""Of a token on its way from stage to stage, as text."""
VALUE_BYTES: Final = 4.0
"""Of a value of an embedding on its way to a search."""
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Stage:
    """A stage whose names are known: ``table`` as asked, the stages before it, its pools by name."""

    table: StageTable
    after: tuple[str, ...]
    pool: Pool
    decode: Pool | None

    @property
    def name(self) -> str:
        """Its name."""
        return self.table.name


@dataclass(frozen=True)
class Pipeline:
    """Stages in an order in which each comes behind those that it waits for; the last one gives the answer."""

    stages: tuple[Stage, ...]
    pools: tuple[Pool, ...]
    links: tuple[Link, ...]
    latency_s: tuple[float, ...]
    joins: Mapping[tuple[str, str], int]
    """Numbers of the links by the pools that they join, in both orders."""


class Placed(NamedTuple):
    """Jobs of requests: what the fleet does; of each request [n] the job that it begins with, and those that give its
    answer [n, fanout]: their first tokens, and their ends. The request is answered when the last of them is."""

    work: Work
    first: Ints
    answer: Ints
    last: Ints
    request: Ints
    """The request of each job."""


class Asked(NamedTuple):
    """What requests have besides their traffic, [n] each or None: class, seconds from arrival to the deadline."""

    priority: Ints | None
    deadline_s: Floats | None


def pipeline_of(
    stages: Sequence[StageTable], links: Sequence[LinkTable], pools: Mapping[str, Pool], place: str
) -> Pipeline:  # fmt: skip
    """The stages of a file on its pools; without any, the first pool answers.

    Raises:
        UnknownName: a stage or a pool that does not exist.
        InputError: a circle, a stage twice, several ends, one that no pool can do.
    """
    tables = list(stages) or [StageTable(next(iter(pools)))]
    named: dict[str, StageTable] = {}
    for number, table in enumerate(tables):
        name = table.name or f"stage-{number + 1}"
        check_name(name, place)
        if name in named:
            raise InputError(f"{place}: two stages are called {name!r}")
        named[name] = msgspec.structs.replace(table, name=name)
    order = _ordered(named, place)
    known = tuple(_stage(named[name], after, pools, f"{place}: stage {name}") for name, after in order.items())
    ends = [stage.name for stage in known if not any(stage.name in other.after for other in known)]
    if len(ends) != 1:
        raise InputError(f"{place}: stages {', '.join(ends)} all end a request; one stage must wait for the others")
    known = tuple(sorted(known, key=lambda stage: stage.name == ends[0]))
    _check_used(known, pools, place)
    made, latency, joins = _links(known, links, pools, place)
    return Pipeline(known, tuple(pools.values()), made, latency, joins)


def _check_used(stages: Sequence[Stage], pools: Mapping[str, Pool], place: str) -> None:
    """Refuse pools that no stage uses: they would cost power and money and do nothing.

    Raises:
        InputError: naming them.
    """
    used = {pool.name for stage in stages for pool in (stage.pool, stage.decode) if pool is not None}
    idle = [name for name in pools if name not in used]
    if idle:
        raise InputError(
            f"{place}: no stage uses pool {', '.join(idle)}; a fleet of several pools needs a [[stage]] for each"
        )


def _ordered(named: Mapping[str, StageTable], place: str) -> dict[str, tuple[str, ...]]:
    """Stages with those that they wait for, each behind all of them."""
    waits: dict[str, tuple[str, ...]] = {}
    before = ""
    for name, table in named.items():
        waits[name] = table.after if table.after is not None else ((before,) if before else ())
        for other in waits[name]:
            if other not in named:
                allowed = f"allowed: {', '.join(named)}"
                raise UnknownName("stage", other, tuple(named), allowed, f"{place}: stage {name}")
        before = name
    found: dict[str, tuple[str, ...]] = {}
    while len(found) < len(waits):
        free = [name for name, after in waits.items() if name not in found and all(o in found for o in after)]
        if not free:
            circle = ", ".join(name for name in waits if name not in found)
            raise InputError(f"{place}: stages wait for each other in a circle: {circle}")
        found |= {name: waits[name] for name in free}
    return found


def _stage(table: StageTable, after: tuple[str, ...], pools: Mapping[str, Pool], place: str) -> Stage:
    for name in (table.pool, *([table.decode] if table.decode else [])):
        if name not in pools:
            raise UnknownName("pool", name, tuple(pools), f"allowed: {', '.join(pools)}", place)
    pool = pools[table.pool]
    decode = pools[table.decode] if table.decode else None
    if not 1 <= table.fanout <= 100_000:
        raise InputError(f"{place}: fanout {table.fanout}: must be from 1 to 100000")
    if decode is not None and (decode.arch is None or pool.arch is None or decode.arch.id != pool.arch.id):
        raise InputError(f"{place}: decode {decode.name!r}: must run the model of {pool.name!r}")
    if decode is pool:
        raise InputError(f"{place}: decode {pool.name!r}: must be another pool than that of the prompts")
    if decode is not None and table.fanout > 1:
        raise InputError(f"{place}: a stage with decode has no fanout")
    if table.output and not pool.generates:
        raise InputError(f"{place}: output: {pool.name!r} generates no tokens")
    for key in ("delay", "bytes"):
        if getattr(table, key) and not after:
            raise InputError(f"{place}: {key}: nothing comes before this stage; give it to one that waits for another")
    return Stage(table, after, pool, decode)


def _links(
    stages: Sequence[Stage], tables: Sequence[LinkTable], pools: Mapping[str, Pool], place: str
) -> tuple[tuple[Link, ...], tuple[float, ...], dict[tuple[str, str], int]]:  # fmt: skip
    """The links between pools that hand something on: those that were asked for, else the network between them."""
    asked = {}
    for table in tables:
        ends = table.between
        if len(ends) != 2:
            raise InputError(f"{place}: link: between must name two pools, not {len(ends)}")
        for name in ends:
            if name not in pools:
                raise UnknownName("pool", name, tuple(pools), f"allowed: {', '.join(pools)}", f"{place}: link")
        if frozenset(ends) in asked:
            raise InputError(f"{place}: two links join {' and '.join(ends)}; there is one between two pools")
        asked[frozenset(ends)] = table
    by_name = {stage.name: stage for stage in stages}
    pairs = {frozenset((s.pool.name, s.decode.name)) for s in stages if s.decode}
    for stage in stages:
        for other in stage.after:
            source = by_name[other].decode or by_name[other].pool
            pairs.add(frozenset((source.name, stage.pool.name)))
    for extra in sorted(asked.keys() - pairs, key=sorted):
        raise InputError(f"{place}: link {', '.join(sorted(extra))}: no stage hands anything from one to the other")
    found, latencies, joins = [], [], {}
    for number, pair in enumerate(sorted((pair for pair in pairs if len(pair) == 2), key=sorted)):
        one, other = sorted(pair)
        link, latency_s = _link(asked.get(pair), pools[one], pools[other], f"{place}: link {one}, {other}")
        found.append(link)
        latencies.append(latency_s)
        joins[one, other] = joins[other, one] = number
    return tuple(found), tuple(latencies), joins


def _link(table: LinkTable | None, one: Pool, other: Pool, place: str) -> tuple[Link, float]:
    """A link and its latency [s]: what both ends reach of their networks, each replica with all its devices."""
    port, latency_s = np.inf, 0.0
    for pool in (one, other):
        network = pool.prepared.network
        if network.system.network:
            port = min(port, network.network_port_bytes_per_s * pool.devices)
            latency_s = max(latency_s, network.network_link.latency.value)
        else:
            host = network.host
            port = min(port, host.bandwidth.value * host.achieved_fraction.value * pool.devices)
            latency_s = max(latency_s, host.latency.value)
    total = port * max(one.setup.most, other.setup.most)
    if table is not None:
        port = quantity(table.bandwidth, "bytes_per_s", f"{place}: bandwidth", port, above_zero=True)
        total = quantity(table.total, "bytes_per_s", f"{place}: total", max(total, port), above_zero=True)
        latency_s = quantity(table.latency, "s", f"{place}: latency", latency_s)
    if not port > 0.0 or not total > 0.0:
        raise InputError(f"{place}: must carry something")
    return Link(port, total), latency_s


class _Column(NamedTuple):
    """One job of every request: its stage, and what it asks, [n] each."""

    pool: int
    input: Ints
    output: Ints
    cached: Ints
    there: Bools


def place(pipeline: Pipeline, traffic: Traffic, asked: Asked, seed: int) -> Placed:
    """The jobs of all requests.

    Raises:
        InputError: too many, or a law of lengths that cannot be.
    """
    count = traffic.requests
    numbers = {pool.name: number for number, pool in enumerate(pipeline.pools)}
    columns: list[_Column] = []
    spans: dict[str, tuple[int, int]] = {}
    links: list[tuple[int, int, float, Floats, int]] = []
    lengths: dict[str, tuple[Ints, Ints]] = {}
    for at, stage in enumerate(pipeline.stages):
        last = at == len(pipeline.stages) - 1
        prompt, answer = _lengths(stage, traffic, last, seed)
        lengths[stage.name] = prompt, answer
        begin = len(columns)
        _add(columns, stage, numbers, prompt, answer, links, pipeline, seed, count)
        spans[stage.name] = begin, len(columns)
        for other in stage.after:
            ends, _ = spans[other][1], None
            source = next(s for s in pipeline.stages if s.name == other)
            tail = range(ends - 1, ends) if source.decode else range(spans[other][0], ends)
            head = range(begin, begin + 1) if stage.decode else range(begin, len(columns))
            from_pool = (source.decode or source.pool).name
            number = pipeline.joins.get((from_pool, stage.pool.name), NONE)
            size = _read_bytes(stage, prompt)
            delay_s = quantity(stage.table.delay, "s", f"stage {stage.name}: delay")
            delay_s += pipeline.latency_s[number] if number != NONE else 0.0
            links += [(one, two, delay_s, size.astype(np.float64), number) for one in tail for two in head]
    if count * len(columns) > MOST_JOBS:
        raise InputError(f"{count} requests of {len(columns)} jobs: at most {MOST_JOBS} jobs in all")
    return _placed(pipeline, traffic, asked, columns, spans, links, seed)


def _read_bytes(stage: Stage, prompt: Ints) -> Floats:
    """What a job of a stage gets from each stage before [B]: vectors where it searches, else its prompt as text."""
    if stage.table.bytes:
        return np.full(len(prompt), quantity(stage.table.bytes, "bytes", f"stage {stage.name}: bytes"))
    index = stage.pool.index
    each = TOKEN_BYTES if index is None else index.dim * VALUE_BYTES
    found: Floats = prompt.astype(np.float64) * each
    return found


def _lengths(stage: Stage, traffic: Traffic, last: bool, seed: int) -> tuple[Ints, Ints]:
    """Tokens of a stage's prompt and of what it gives, [n] each."""
    where, count = f"stage {stage.name}", traffic.requests
    said = stage.table.input or ("1" if stage.pool.arch is None else "prompt")
    if said == "prompt":
        prompt = traffic.input
    else:
        law = law_of_tokens(said, f"{where}: input", ", or prompt")
        prompt = whole_tokens(law, stream(seed, f"{where} input").random(count))
    prompt = _read(stage, prompt + _shared(stage, count, seed))
    wanted = stage.table.output or ("answer" if last else "")
    if not stage.pool.generates:
        return prompt, np.zeros(count, np.int64)
    if not wanted:
        raise InputError(f"{where}: output: how many tokens does it give? A law of tokens, or answer")
    if wanted == "answer":
        return prompt, traffic.output
    law = law_of_tokens(wanted, f"{where}: output", ", or answer")
    return prompt, whole_tokens(law, stream(seed, f"{where} output").random(count))


def _read(stage: Stage, prompt: Ints) -> Ints:
    """What a stage reads of its prompts: an encoder cuts them at its longest."""
    encodes = stage.pool.arch is not None and stage.pool.arch.is_encoder
    return np.minimum(prompt, stage.pool.setup.limits.context) if encodes else prompt


def _shared(stage: Stage, count: int, seed: int) -> Ints:
    """Tokens that the jobs of a stage have in common in each request, [n]."""
    if not stage.table.shared:
        return np.zeros(count, np.int64)
    law = law_of_tokens(stage.table.shared, f"stage {stage.name}: shared")
    return whole_tokens(law, stream(seed, f"stage {stage.name} shared").random(count))


def _add(
    columns: list[_Column], stage: Stage, numbers: Mapping[str, int], prompt: Ints, answer: Ints,
    links: list[tuple[int, int, float, Floats, int]], pipeline: Pipeline, seed: int, count: int,
) -> None:  # fmt: skip
    """Add the jobs of a stage; of one that two pools share also what goes from the one to the other."""
    everywhere, nothing = np.ones(count, np.bool_), np.zeros(count, np.int64)
    pool = numbers[stage.pool.name]
    if stage.decode is None:
        for copy in range(stage.table.fanout):
            drawn = prompt
            if copy and stage.table.input not in ("", "prompt"):
                law = law_of_tokens(stage.table.input, f"stage {stage.name}: input")
                drawn = whole_tokens(law, stream(seed, f"stage {stage.name} input {copy}").random(count))
                drawn = _read(stage, drawn + _shared(stage, count, seed))
            columns.append(_Column(pool, drawn, answer, nothing, everywhere))
        return
    arch, ready = stage.pool.arch, stage.pool.prepared
    assert arch is not None
    columns.append(_Column(pool, prompt, np.minimum(answer, 1), nothing, everywhere))
    goes_on = answer > 1
    columns.append(_Column(numbers[stage.decode.name], prompt + 1, np.maximum(answer - 1, 0), prompt, goes_on))
    ways = ready.how.sharding.tp
    empty = memory.kv_bytes_per_sequence(arch, 0.0, ready.precision, ready.how.sharding)
    each = memory.kv_bytes_per_sequence(arch, 1.0, ready.precision, ready.how.sharding) - empty
    size = (empty + each * prompt) * ways * ready.how.sharding.pp
    number = pipeline.joins[stage.pool.name, stage.decode.name]
    links.append((len(columns) - 2, len(columns) - 1, pipeline.latency_s[number], size.astype(np.float64), number))


def _placed(
    pipeline: Pipeline, traffic: Traffic, asked: Asked, columns: list[_Column],
    spans: Mapping[str, tuple[int, int]], links: list[tuple[int, int, float, Floats, int]], seed: int,
) -> Placed:  # fmt: skip
    """Columns of jobs, request by request."""
    count, width = traffic.requests, len(columns)
    there = np.stack([column.there for column in columns], axis=1)
    job = np.cumsum(there.ravel()).reshape(count, width) - 1
    kept = there.ravel()

    def joined(values: Sequence[Ints]) -> Ints:
        return np.stack(values, axis=1).ravel()[kept]

    request = np.repeat(np.arange(count), there.sum(axis=1))
    begin, end = spans[pipeline.stages[-1].name]
    apart = pipeline.stages[-1].decode is not None
    answer = job[:, begin : begin + 1] if apart else job[:, begin:end]
    last = job[:, end - 1 :] if apart else answer
    edges = [_edges(job, there, *link) for link in links]
    edges += _between_requests(traffic, pipeline, spans, job, there)
    arrival_s = traffic.arrival_s[request]
    priority = None if asked.priority is None else asked.priority[request]
    deadline_s = None if asked.deadline_s is None else arrival_s + asked.deadline_s[request]
    work = Work(
        joined([np.full(count, column.pool) for column in columns]), arrival_s,
        joined([column.input for column in columns]), joined([column.output for column in columns]),
        joined([column.cached for column in columns]), priority,
        request if traffic.session is None else traffic.session[request], None, deadline_s, None, _joined(edges),
    )  # fmt: skip
    adapters = _adapters(pipeline, work, request, count, seed)
    return Placed(
        work._replace(names=_names(pipeline, traffic, work, answer, seed), adapter=adapters),
        job[:, 0],
        answer,
        last,
        request,
    )


def _edges(job: Ints, there: Bools, one: int, two: int, delay_s: float, size: Floats, link: int) -> Edges:
    """What joins two columns of jobs, where both are there."""
    both = there[:, one] & there[:, two]
    count = int(both.sum())
    return Edges(job[both, one], job[both, two], np.full(count, delay_s), size[both], np.full(count, link))


def _joined(edges: Sequence[Edges]) -> Edges:
    if not edges:
        return no_edges()
    before, after, delay_s, size, link = (
        np.concatenate(column) for column in zip(*(e[:5] for e in edges), strict=True)
    )
    always = [np.zeros(len(e.before), np.bool_) if e.always is None else e.always for e in edges]
    return Edges(before, after, delay_s, size, link, np.concatenate(always))


def _between_requests(
    traffic: Traffic, pipeline: Pipeline, spans: Mapping[str, tuple[int, int]], job: Ints, there: Bools
) -> list[Edges]:  # fmt: skip
    """What waits for the answer to another request: the next turn of a session, the next request of a client.

    A client goes on if its request was turned away or lost; a session is over with such a turn.
    """
    count = traffic.requests
    before = traffic.after
    if before is None and traffic.concurrency:
        before = np.arange(count) - traffic.concurrency
        before[before < 0] = NONE
    if before is None:
        return []
    later = np.flatnonzero(before != NONE)
    think_s = np.zeros(count) if traffic.think_s is None else traffic.think_s
    begin, end = spans[pipeline.stages[-1].name]
    roots: list[int] = []
    for stage in pipeline.stages:
        if not stage.after:
            first, stop = spans[stage.name]
            roots += range(first, first + 1 if stage.decode else stop)
    tails = range(end - 1, end) if pipeline.stages[-1].decode else range(begin, end)
    found = []
    for root in roots:
        for tail in tails:
            source = np.where(there[before[later], tail], job[before[later], tail], job[before[later], begin])
            nobody = np.full(len(later), NONE)
            always = np.full(len(later), traffic.after is None)
            found.append(Edges(source, job[later, root], think_s[later], np.zeros(len(later)), nobody, always))
    return found


def _adapters(pipeline: Pipeline, work: Work, request: Ints, count: int, seed: int) -> Ints | None:
    """The adapter of each job, by a Zipf law of how often each is asked for."""
    if not any(pool.adapters for pool in pipeline.pools):
        return None
    found = np.full(len(work.pool), NONE, np.int64)
    for number, pool in enumerate(pipeline.pools):
        if pool.adapters is None or pool.table.adapters is None:
            continue
        weight = np.arange(1.0, pool.adapters.count + 1.0) ** -pool.table.adapters.skew
        unit = stream(seed, f"adapters of {pool.name}").random(count)
        drawn = np.searchsorted(np.cumsum(weight) / weight.sum(), unit)
        own = work.pool == number
        found[own] = np.minimum(drawn, pool.adapters.count - 1)[request[own]]
    return found


def _names(pipeline: Pipeline, traffic: Traffic, work: Work, answer: Ints, seed: int) -> Named | None:
    """Names of the units of the prefix cache that jobs of the last stage have: of a trace, or of conversations."""
    stage = pipeline.stages[-1]
    pool = stage.pool
    if not pool.setup.unit_blocks:
        return None
    tokens = pool.setup.unit_blocks * pool.setup.limits.block_tokens
    per = np.zeros(len(work.pool), np.int64)
    if stage.table.shared:
        whole = _shared(stage, traffic.requests, seed) // tokens
        per[answer] = whole[:, None]
        every = np.repeat(whole, answer.shape[1])
        named = np.repeat(np.repeat(np.cumsum(whole) - whole, answer.shape[1]), every) + _counted(every)
    elif stage.table.input not in ("", "prompt") or stage.table.fanout > 1:
        return None
    elif traffic.blocks is not None:
        whole = np.minimum(np.diff(traffic.blocks.offsets), traffic.input // traffic.blocks.tokens)
        step = tokens // traffic.blocks.tokens
        per[answer[:, 0]] = whole // step
        ids = np.repeat(traffic.blocks.offsets[:-1], whole // step) + (_counted(whole // step) + 1) * step - 1
        named = traffic.blocks.ids[ids]
    elif traffic.session is None and traffic.shared < tokens:
        return None
    else:
        whole = (traffic.input + traffic.output) // tokens
        session = np.arange(traffic.requests) if traffic.session is None else traffic.session
        common = traffic.shared // tokens
        longest = np.zeros(int(session.max()) + 1 if len(session) else 0, np.int64)
        np.maximum.at(longest, session, whole)
        begins = common + np.append(0, np.cumsum(longest))[:-1]
        place_ = _counted(whole)
        named = np.where(place_ < common, place_, np.repeat(begins[session], whole) + place_)
        per[answer[:, 0]] = whole
    offsets = np.append(np.int64(0), np.cumsum(per))
    # Requests lie in the order of their jobs, so that names by request are names by job.
    return Named(offsets, named.astype(np.int64))


def _counted(sizes: Ints) -> Ints:
    """0, 1 ... of each of the groups whose sizes are given."""
    ends = np.cumsum(sizes)
    found: Ints = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - sizes, sizes)
    return found
