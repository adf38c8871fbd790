"""A replica of a fleet again, slowly: one iteration at a time, every count made anew; the kernels share nothing with it
but the tokens that a draw gives.

Written from what the documentation of ``kernels.fleet`` says and from what vLLM (V0 and V1), SGLang and Sarathi do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from plain_scheduler import between

from simulator.kernels.fleet.iteration import _draw
from simulator.kernels.speculation import emitted
from simulator.serving.fleet import SCHEDULES, Setup

OFF, STARTING, UP, DRAINING, DOWN = range(5)


@dataclass(eq=False)
class Job:
    number: int
    pool: int
    arrival_s: float
    input: int
    output: int
    cached: int
    priority: int
    session: int
    adapter: int
    deadline_s: float
    names: list[int]
    status: str = "coming"
    computed: int = 0
    made: int = 0
    private: int = 0
    units: int = 0
    on_host: int = 0
    decodes: bool = False
    preempted: int = 0
    retries: int = 0
    replica: int = -1
    ready_s: float = -1.0
    scheduled_s: float = -1.0
    first_s: float = -1.0
    last_s: float = -1.0
    again: bool = False
    matched: int = 0

    @property
    def prompt(self) -> int:
        """Tokens that must be computed before the next one is given."""
        return self.input + (self.made if self.again else 0)

    @property
    def came_computed(self) -> bool:
        """Its cache came with it; the last token of its prompt gives the first of its own, in a step of decoding."""
        return 0 < self.cached == self.prompt - 1 and self.output > 0 and not self.on_host

    @property
    def over(self) -> bool:
        return self.decodes and self.made >= self.output


@dataclass
class Replica:
    number: int
    setup: Setup
    seed: int
    status: int = UP
    now_s: float = 0.0
    running: list[Job] = field(default_factory=list)
    waiting: list[Job] = field(default_factory=list)
    idle_units: list[int] = field(default_factory=list)
    tier: list[int] = field(default_factory=list)
    loaded: dict[int, float] = field(default_factory=dict)
    outages: float = 0
    filling: bool = True
    left: list[Job] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def count(self, name: str, more: float) -> None:
        self.figures[name] = self.figures.get(name, 0.0) + more

    @property
    def unit_blocks(self) -> int:
        return self.setup.unit_blocks

    @property
    def held_units(self) -> set[int]:
        return {name for job in self.running for name in job.names[: job.units]}

    @property
    def free(self) -> int:
        used = sum(job.private for job in self.running) + self.unit_blocks * len(self.held_units)
        return self.setup.limits.blocks - used

    @property
    def on_host(self) -> int:
        return sum(job.on_host for job in self.waiting)

    def blocks(self, tokens: int) -> int:
        return -(-tokens // self.setup.limits.block_tokens)

    def make_room(self) -> None:
        """What the prefix cache keeps in blocks that are needed leaves it, for the tier if there is one."""
        while len(self.idle_units) * self.unit_blocks > self.free:
            unit = self.idle_units.pop(0)
            if not self.setup.tier_units:
                continue
            if unit in self.tier:
                self.tier.remove(unit)
            self.tier.append(unit)
            del self.tier[: -self.setup.tier_units]

    def grow(self, job: Job, tokens: int) -> int:
        """Blocks that a job lacks for so many tokens."""
        return max(self.blocks(tokens) - job.private - job.units * self.unit_blocks, 0)

    def let_go(self, job: Job) -> None:
        self.running.remove(job)
        held = self.held_units
        for name in reversed(job.names[: job.units]):
            if name not in held:
                self.idle_units.append(name)
        job.units = job.private = 0
        if job.adapter >= 0:
            self.loaded[job.adapter] = self.now_s

    def victim(self) -> Job:
        """Of the class that matters least, the one that began last; first come, first served knows no classes."""
        if self.setup.order == "fcfs":
            return self.running[-1]
        worst = max(job.priority for job in self.running)
        return [job for job in self.running if job.priority == worst][-1]

    def preempt(self) -> tuple[Job, float]:
        job = self.victim()
        blocks = job.private
        self.let_go(job)
        job.preempted += 1
        self.count("preemptions", 1)
        self.put(job, True)
        if job.decodes and self.setup.swap_blocks and self.on_host + blocks <= self.setup.swap_blocks:
            job.on_host = blocks
            self.count("swaps", 1)
            return job, blocks * self.setup.costs.swap_block_s
        job.computed = job.cached = 0
        job.decodes, job.again = False, True
        return job, 0.0

    def put(self, job: Job, front: bool = False) -> None:
        """Into the queue; in front of all others of its class if it had begun."""
        put(self.waiting, job, self.setup.order, front)

    def decoders(self) -> list[Job]:
        return [job for job in self.running if job.decodes]

    def room_for_decoders(self) -> tuple[bool, float]:
        short, moved_s = False, 0.0
        reach = {job: min(job.computed + self.setup.drafts + 1, job.input + job.output) for job in self.running}
        while sum(self.grow(job, reach[job]) for job in self.decoders() if not job.over) > self.free:
            moved_s += self.preempt()[1]
            short = True
        for job in self.decoders():
            if not job.over:
                job.private += self.grow(job, reach[job])
        self.make_room()
        return short, moved_s

    def leading(self, job: Job) -> tuple[int, int]:
        """Units that begin the prompt of a job and are there, and how many of them only on the host."""
        if not self.unit_blocks:
            return 0, 0
        held, found, from_tier = self.held_units, 0, 0
        for name in job.names[: job.prompt // (self.unit_blocks * self.setup.limits.block_tokens)]:
            if name not in held and name not in self.idle_units:
                if name not in self.tier:
                    break
                from_tier += 1
            found += 1
        return found, from_tier

    def admit(self, job: Job, budget: int) -> tuple[int, float] | None:
        """New tokens (0 of one that comes back from the host) and seconds of moving, or None if there is no room."""
        setup, schedule = self.setup, SCHEDULES[self.setup.schedule]
        spare = int(schedule.spare * setup.limits.blocks) if self.running else 0
        if job.on_host:
            if self.free < min(job.on_host + 1 + spare, setup.limits.blocks):
                return None
            moved_s = job.on_host * setup.costs.swap_block_s + self.begin(job)
            job.private, job.on_host = job.on_host, 0
            return 0, moved_s
        unit_tokens = self.unit_blocks * setup.limits.block_tokens
        found, from_tier = self.leading(job)
        known = max(job.cached, min(found * unit_tokens, job.prompt - 1))
        at_once = job.came_computed
        new = 0 if at_once else job.prompt - known
        if new > budget:
            if not schedule.chunked and budget < setup.limits.batched_tokens:
                return None
            new = budget
        reach = min(known + setup.drafts + 1, job.prompt + job.output) if at_once else known + new
        reach = job.prompt + job.output if schedule.reserves else reach
        private = max(self.blocks(reach) - found * self.unit_blocks, 0)
        fresh = len(set(job.names[:found]) - self.held_units)
        if self.free < private + fresh * self.unit_blocks + spare:
            return None
        if found and job.scheduled_s < 0.0:
            self.count("hit_tokens", known - job.cached)
        self.idle_units = [name for name in self.idle_units if name not in job.names[:found]]
        moved_s = from_tier * setup.costs.load_unit_s + self.begin(job)
        job.units, job.private, job.computed = found, private, known + new
        job.decodes = at_once
        self.make_room()
        if job.scheduled_s < 0.0:
            job.scheduled_s, job.matched = self.now_s, known
        return new, moved_s

    def begin(self, job: Job) -> float:
        """Into the batch; seconds of bringing its adapter."""
        self.waiting.remove(job)
        self.running.append(job)
        job.status = "running"
        if job.adapter < 0:
            return 0.0
        known = job.adapter in self.loaded
        self.loaded[job.adapter] = self.now_s
        if known:
            return 0.0
        used = {other.adapter for other in self.running}
        idle = sorted((at_s, adapter) for adapter, at_s in self.loaded.items() if adapter not in used)
        if len(self.loaded) > self.setup.adapter_slots and idle:
            del self.loaded[idle[0][1]]
        self.count("loads", 1)
        return self.setup.costs.adapter_load_s

    def iterate(self) -> list[Job]:
        """One iteration; jobs that are over or were dropped."""
        setup, schedule = self.setup, SCHEDULES[self.setup.schedule]
        each = setup.drafts + 1
        budget, moved_s, short = setup.limits.batched_tokens, 0.0, False
        decoding: list[Job] = []
        chunks: list[tuple[Job, int]] = []
        dropped: list[Job] = []
        passed: list[Job] = []
        came_back = False
        self.left = []
        if schedule.mixed:
            short, moved_s = self.room_for_decoders()
            decoding = self.decoders()[: budget // each]
            budget = budget - each * len(decoding) if len(decoding) == len(self.decoders()) else 0
        for job in [job for job in self.running if not job.decodes]:
            if budget <= 0:
                break
            new = min(job.prompt - job.computed, budget)
            while job in self.running and self.grow(job, job.computed + new) > self.free:
                moved_s += self.preempt()[1]
                short = True
            if job not in self.running:
                break
            job.private += self.grow(job, job.computed + new)
            self.make_room()
            job.computed += new
            budget -= new
            chunks.append((job, new))
        decoding = [job for job in decoding if job in self.running]
        if not self.running:
            self.filling = True
        while (
            (self.filling or not schedule.static) and not short and budget > 0
            and len(self.running) < setup.limits.sequences and len(self.waiting) > len(passed)
        ):  # fmt: skip
            job = first([job for job in self.waiting if job not in passed], setup.order)
            if setup.drop_late and job.scheduled_s < 0.0 and job.deadline_s < self.now_s:
                self.waiting.remove(job)
                job.status = "rejected"
                dropped.append(job)
                continue
            used = {other.adapter for other in self.running} - {-1}
            if job.adapter >= 0 and job.adapter not in used and len(used) >= setup.adapter_slots:
                passed.append(job)
                continue
            joins = schedule.mixed and job.came_computed and not came_back
            if joins and budget < each:
                break
            came_back = came_back or job.on_host > 0
            admitted = self.admit(job, budget)
            if admitted is None:
                break
            moved_s += admitted[1]
            if joins:
                decoding.append(job)
                budget -= each
            if admitted[0]:
                budget -= admitted[0]
                chunks.append((job, admitted[0]))
        if not decoding and not chunks and self.decoders():
            moved_s += self.room_for_decoders()[1]
            decoding = self.decoders()
            if schedule.mixed:
                decoding = decoding[: setup.limits.batched_tokens // each]
            self.filling = False
        if not decoding and not chunks:
            assert dropped, "a replica that has work does some"
            return dropped
        self.pass_time(decoding, chunks, moved_s)
        return dropped + self.give(decoding, chunks)

    def pass_time(self, decoding: list[Job], chunks: list[tuple[Job, int]], moved_s: float) -> None:
        setup, costs, tables = self.setup, self.setup.costs, self.setup.tables
        drafted = len(decoding) * (setup.drafts + 1)
        prompt_tokens = sum(new for _, new in chunks)
        tokens = drafted + prompt_tokens
        answered = drafted + sum(job.computed == job.prompt for job, _ in chunks)
        adapters = len({job.adapter for job in [*decoding, *(job for job, _ in chunks)]} - {-1})
        found = []
        for rows, head, decode, prefill, step, own, token in (
            (tables.rows_s, tables.head_s, tables.decode_s, tables.prefill_s, costs.adapter_step_s, costs.adapter_s,
             costs.adapter_token_s),
            (tables.rows_j, tables.head_j, tables.decode_j, tables.prefill_j, costs.adapter_step_j, costs.adapter_j,
             costs.adapter_token_j),
        ):  # fmt: skip
            total = rows[tokens] + head[answered]
            if decoding:
                mean = sum(job.computed + 1 for job in decoding) / len(decoding)
                total += between(tables.sequences_at, tables.contexts_at, decode, len(decoding), mean)
            alone, further = (
                [between(tables.new_at, tables.visible_at, v, new, job.computed) for job, new in chunks]
                for v in prefill
            )
            total += sum(further) + max((a - f for a, f in zip(alone, further, strict=True)), default=0.0)
            total += (step + adapters * own + tokens * token) if adapters else 0.0
            found.append(float(total))
        device_s = max(found[0], moved_s)
        host_s = costs.host_step_s + costs.host_sequence_s * len(self.running)
        seconds = max(device_s, host_s) if costs.hidden else device_s + host_s
        used = setup.limits.blocks - self.free
        self.count("energy_j", (found[1] + costs.static_w * (seconds - found[0])) * costs.devices)
        self.count("busy_s", seconds)
        self.count("moved_s", moved_s)
        self.count("iterations", 1)
        self.count("prompt_tokens", prompt_tokens)
        self.count("read_tokens", sum(job.computed + 1 for job in decoding))
        self.figures["kv_peak"] = max(self.figures.get("kv_peak", 0.0), used)
        self.now_s += seconds

    def give(self, decoding: list[Job], chunks: list[tuple[Job, int]]) -> list[Job]:
        """Tokens to those that computed; those that have all of theirs leave, of a static batch with the last one."""
        for job in decoding:
            if job.over:
                continue
            got = 1
            if self.setup.drafts:
                got = emitted(self.setup.drafts, self.setup.acceptance, _draw(self.seed, job.number, job.made))
                self.count("drafted", self.setup.drafts)
                self.count("accepted", got - 1)
                got = min(got, job.output - job.made)
            job.computed += got
            self.token(job, got)
        for job, _ in chunks:
            if job.computed == job.prompt:
                job.decodes = True
                self.token(job, min(1, job.output))
        self.name_units()
        ended = [job for job in self.running if job.over and job.status != "done"]
        for job in ended:
            job.status = "done"
        if SCHEDULES[self.setup.schedule].static and not all(job.over for job in self.running):
            return ended
        self.left = [job for job in self.running if job.over]
        for job in self.left:
            self.let_go(job)
        return ended

    def token(self, job: Job, tokens: int) -> None:
        job.made += tokens
        self.count("tokens", tokens)
        if job.first_s < 0.0:
            job.first_s = self.now_s
        if job.last_s >= 0.0 and tokens:
            self.gaps_s.append(self.now_s - job.last_s)
        job.last_s = self.now_s

    def name_units(self) -> None:
        if not self.unit_blocks:
            return
        for job in self.running:
            if job.status == "done":
                continue
            while job.units < len(job.names) and job.computed >= (job.units + 1) * self.unit_blocks * (
                self.setup.limits.block_tokens
            ):
                if job.names[job.units] in self.idle_units:
                    self.idle_units.remove(job.names[job.units])
                job.private -= self.unit_blocks
                job.units += 1

    def outstanding(self, at_s: float) -> int:
        """Those that leave in the iteration under way are still there."""
        return len(self.running) + len(self.waiting) + (len(self.left) if self.now_s > at_s else 0)

    def forget(self) -> None:
        """Its memory is gone."""
        self.idle_units, self.tier, self.loaded = [], [], {}


def put(queue: list[Job], job: Job, order: str, front: bool = False) -> None:
    """Into a queue; by deadline where that is the order, but never before one that had begun."""
    same = [other for other in queue if other.priority == job.priority]
    behind: Job | None = None
    if front:
        behind = same[0] if same else None
    elif order == "deadline":
        late = [k for k, other in enumerate(same) if other.preempted or other.deadline_s <= job.deadline_s]
        fitting = next((k for k in range(len(same)) if k not in late), None)
        behind = None if fitting is None else same[fitting]
    queue.insert(queue.index(behind) if behind else len(queue), job)
    job.status = "waiting"


def first(queue: list[Job], order: str) -> Job:
    """Of the first jobs of all classes the one that is next."""
    heads = {job.priority: job for job in reversed(queue)}
    if order == "priority":
        return heads[min(heads)]
    return min(
        (heads[kind] for kind in sorted(heads)), key=lambda job: job.deadline_s if order == "deadline" else job.ready_s
    )
