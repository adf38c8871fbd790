"""The scheduler again, slowly: every sequence is visited in every iteration; nothing is shared with the kernels.

Written from the description of the V1 scheduler of vLLM. A sequence knows some tokens (its prompt and what it was
given) and has some of them in the cache; an iteration computes known tokens that are not cached yet, whether they are
a prompt, a chunk of one, or the one token that was sampled last. Running sequences come first, in their order, then
waiting ones.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from simulator.prepared import Prepared
from simulator.serving.cluster import Limits
from simulator.serving.requests import Asked
from simulator.serving.step_tables import StepTables


@dataclass
class Sequence:
    number: int
    arrival_s: float
    prompt: int
    output: int
    cached: int = 0
    blocks: int = 0
    decodes: bool = False
    preempted: int = 0
    scheduled_s: float = -1.0
    waits_since_s: float = 0.0
    tokens_s: list[float] = field(default_factory=list)

    @property
    def known(self) -> int:
        return self.prompt + len(self.tokens_s)

    def outstanding(self, at_s: float) -> bool:
        return len(self.tokens_s) < self.output or self.tokens_s[-1] > at_s


def between(one_at: npt.ArrayLike, other_at: npt.ArrayLike, values: npt.ArrayLike, one: float, other: float) -> float:
    rows = [np.interp(other, other_at, row) for row in np.asarray(values)]
    return float(np.interp(one, one_at, rows))


@dataclass
class Server:
    pool: Prepared
    tables: StepTables
    limits: Limits
    free: int
    later: deque[Sequence] = field(default_factory=deque)
    waiting: deque[Sequence] = field(default_factory=deque)
    running: list[Sequence] = field(default_factory=list)
    taken: list[Sequence] = field(default_factory=list)
    now_s: float = 0.0
    joules: float = 0.0
    iterations: int = 0
    preemptions: int = 0
    most_blocks: int = 0
    queue_s: float = 0.0
    running_s: float = 0.0
    block_s: float = 0.0
    given: int = 0
    prefilled: int = 0

    def arrive(self, sequence: Sequence, at_s: float) -> None:
        if not self.running and not self.waiting:
            self.now_s = max(self.now_s, at_s)
        sequence.arrival_s = sequence.waits_since_s = at_s
        self.waiting.append(sequence)
        self.taken.append(sequence)

    def until(self, at_s: float) -> None:
        while self.now_s < at_s and (self.running or self.waiting):
            self.iterate()

    def iterate(self) -> None:
        budget, preempting = self.limits.batched_tokens, False
        step: list[tuple[Sequence, int]] = []
        while len(step) < len(self.running) and budget > 0:
            sequence = self.running[len(step)]
            new = min(sequence.known - sequence.cached, budget)
            while not self.hold(sequence, new):
                preempting = True
                if self.preempt() is sequence:
                    break
            else:
                step.append((sequence, new))
                budget -= new
                continue
            break
        while not preempting and self.waiting and budget > 0 and len(self.running) < self.limits.sequences:
            sequence = self.waiting[0]
            new = min(sequence.known, budget)
            if not self.hold(sequence, new):
                break
            self.waiting.popleft()
            self.running.append(sequence)
            self.queue_s += self.now_s - sequence.waits_since_s
            if sequence.scheduled_s < 0.0:
                sequence.scheduled_s = self.now_s
            step.append((sequence, new))
            budget -= new
        self.compute(step)

    def hold(self, sequence: Sequence, new: int) -> bool:
        more = -(-(sequence.cached + new) // self.limits.block_tokens) - sequence.blocks
        if more > self.free:
            return False
        self.free -= more
        sequence.blocks += more
        return True

    def let_go(self, sequence: Sequence) -> None:
        self.free += sequence.blocks
        sequence.blocks = sequence.cached = 0
        sequence.decodes = False

    def preempt(self) -> Sequence:
        last = self.running.pop()
        self.let_go(last)
        last.preempted += 1
        last.waits_since_s = self.now_s
        self.preemptions += 1
        self.waiting.appendleft(last)
        return last

    def compute(self, step: list[tuple[Sequence, int]]) -> None:
        seconds, joules = self.price(step)
        used = self.limits.blocks - self.free
        self.now_s += seconds
        self.joules += joules
        self.iterations += 1
        self.most_blocks = max(self.most_blocks, used)
        self.running_s += len(self.running) * seconds
        self.block_s += used * seconds
        for sequence, new in step:
            self.prefilled += 0 if sequence.decodes else new
            sequence.cached += new
            if sequence.cached == sequence.known:
                sequence.tokens_s.append(self.now_s)
                sequence.decodes = True
                self.given += 1
        ended = [sequence for sequence in self.running if len(sequence.tokens_s) == sequence.output]
        for sequence in ended:
            self.running.remove(sequence)
            self.let_go(sequence)
            if self.later:
                self.arrive(self.later.popleft(), self.now_s)

    def price(self, step: list[tuple[Sequence, int]]) -> tuple[float, float]:
        runtime = self.pool.pool.runtime
        host_s = runtime.host_step.value
        host_s += len(self.running) * (runtime.host_sequence.value if runtime.host_sequence else 0.0)
        device_s, joules = self.device(step)
        seconds = max(device_s, host_s) if runtime.async_scheduling else device_s + host_s
        static_w = float(self.pool.model.record["static_w"])
        return seconds, (joules + static_w * (seconds - device_s)) * self.pool.pool.count

    def device(self, step: list[tuple[Sequence, int]]) -> tuple[float, float]:
        tables = self.tables
        decoding = [sequence.cached + 1 for sequence, _ in step if sequence.decodes]
        chunks = [(new, sequence.cached + new) for sequence, new in step if not sequence.decodes]
        tokens = sum(new for _, new in step)
        answered = sum(sequence.cached + new == sequence.known for sequence, new in step)
        found = []
        for rows, head, decode, prefill in (
            (tables.rows_s, tables.head_s, tables.decode_s, tables.prefill_s),
            (tables.rows_j, tables.head_j, tables.decode_j, tables.prefill_j),
        ):
            total = rows[tokens] + head[answered]
            if decoding:
                mean = sum(decoding) / len(decoding)
                total += between(tables.sequences_at, tables.contexts_at, decode, len(decoding), mean)
            alone, further = ([between(tables.new_at, tables.visible_at, v, *c) for c in chunks] for v in prefill)
            total += sum(further) + max((a - f for a, f in zip(alone, further, strict=True)), default=0.0)
            found.append(float(total))
        return found[0], found[1]


def serve_plainly(
    pool: Prepared, tables: StepTables, asked: Asked, limits: Limits, replicas: int, router: str, concurrency: int,
    seed: int,
) -> tuple[list[Server], list[Sequence]]:  # fmt: skip
    """All replicas and all sequences; those that were rejected have no tokens."""
    servers = [Server(pool, tables, limits, limits.blocks) for _ in range(replicas)]
    every = [Sequence(k, *row) for k, row in enumerate(zip(*(values.tolist() for values in asked), strict=True))]
    most = min(limits.context, limits.blocks * limits.block_tokens)
    possible = [sequence for sequence in every if sequence.prompt + sequence.output <= most]
    drawn = [[int(u * replicas) for u in pair] for pair in np.random.default_rng(seed).random((len(every), 2))]
    if concurrency:
        used = servers[: min(replicas, concurrency)]
        for sequence in possible:
            used[sequence.number % len(used)].later.append(sequence)
        for client in range(concurrency):
            server = used[client % len(used)]
            if server.later:
                server.arrive(server.later.popleft(), 0.0)
        possible = []
    for turn, sequence in enumerate(possible):
        at_s = sequence.arrival_s
        if router == "round-robin":
            chosen = servers[turn % replicas]
            chosen.until(at_s)
        else:
            seen = servers if router == "least-outstanding" else [servers[r] for r in drawn[sequence.number]]
            for server in seen:
                server.until(at_s)
            chosen = min(seen, key=lambda server: sum(each.outstanding(at_s) for each in server.taken))
        chosen.arrive(sequence, at_s)
    for server in servers:
        server.until(np.inf)
    return servers, every
