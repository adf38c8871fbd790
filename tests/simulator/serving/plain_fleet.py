"""The loop of a fleet again, slowly: an agenda of what happens when, and replicas (``plain_replica``) that take turns.

At one time events come before arrivals, and those before the iterations of replicas, each in the order in which they
were asked for.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from plain_replica import DOWN, DRAINING, OFF, STARTING, UP, Job, Replica, first, put

from simulator.serving.fleet import Link, Outage, Setup
from simulator.serving.jobs import Work

EVENT, ARRIVAL, TURN = range(3)
RETRIES = 20


@dataclass
class Pool:
    setup: Setup
    replicas: list[Replica]
    waiting: list[Job] = field(default_factory=list)
    turn: int = 0
    too_many: int = 0
    looks: bool = False

    @property
    def up(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.status == UP]

    def may_come_up(self) -> bool:
        able = {STARTING: True, UP: True, DOWN: False, OFF: self.looks, DRAINING: self.looks}
        return any(
            able[replica.status] or (replica.status == DOWN and replica.outages < math.inf) for replica in self.replicas
        )


@dataclass
class PlainFleet:
    pools: list[Pool]
    jobs: list[Job]
    edges: list[tuple[int, int, float, float, int, bool]]
    links: Sequence[Link]
    draws: list[list[float]]
    agenda: list[tuple[float, int, int, Callable[[float], None], bool]] = field(default_factory=list)
    asked: int = 0
    busy_until_s: dict[object, float] = field(default_factory=dict)
    queued: set[int] = field(default_factory=set)
    carried_bytes: list[float] = field(default_factory=list)
    ports_s: dict[tuple[int, int, str], float] = field(default_factory=dict)
    active_s: dict[int, float] = field(default_factory=dict)
    since_s: dict[int, float] = field(default_factory=dict)
    started: Counter[int] = field(default_factory=Counter)
    begun_s: list[tuple[object, float, float]] = field(default_factory=list)

    def post(self, at_s: float, kind: int, act: Callable[[float], None], of_job: bool = True, asked: int = -1) -> None:
        self.asked += 1
        heapq.heappush(self.agenda, (at_s, kind, self.asked if asked < 0 else asked, act, of_job))

    @property
    def replicas(self) -> list[Replica]:
        return [replica for pool in self.pools for replica in pool.replicas]

    def open(self) -> bool:
        return any(job.status in ("coming", "waiting", "running") for job in self.jobs)

    def run(self) -> None:
        while self.open() and self.agenda:
            if not any(of_job for *_, of_job in self.agenda) and not any(
                pool.waiting and pool.may_come_up() for pool in self.pools
            ):
                break
            at_s, _, _, act, _ = heapq.heappop(self.agenda)
            act(at_s)

    def outstanding(self, replica: Replica, at_s: float) -> int:
        return replica.outstanding(at_s) + self.under_way(replica)

    def under_way(self, replica: Replica) -> int:
        """Jobs that were sent to a replica and are not there yet."""
        return sum(job.status == "coming" and job.replica == replica.number for job in self.jobs)

    def choose(self, job: Job, at_s: float) -> Replica | None:
        pool = self.pools[job.pool]
        up, router = pool.up, pool.setup.router
        if router == "round-robin":
            pool.turn += 1
            return up[(pool.turn - 1) % len(up)] if up else None
        if not up:
            return None
        if router == "power-of-two":
            up = [up[int(u * len(up))] for u in self.draws[job.number]]
        elif router == "session" and job.session >= 0:
            return up[job.session % len(up)]
        elif router == "prefix-aware":
            return min(up, key=lambda replica: to_do(replica, job, self.under_way(replica)))
        return min(up, key=lambda replica: self.outstanding(replica, at_s))

    def deliver(self, job: Job, at_s: float) -> None:
        pool = self.pools[job.pool]
        if job.status == "rejected":
            return
        chosen = None if job.replica < 0 else self.replicas[job.replica]
        job.replica = -1
        if not self.fits(job):
            self.lose(job, "rejected", at_s)
            return
        if job.ready_s < 0.0:
            job.ready_s = at_s
            waiting = len(pool.waiting) + sum(len(replica.waiting) for replica in pool.replicas)
            if pool.setup.waiting and waiting >= pool.setup.waiting:
                self.lose(job, "rejected", at_s)
                return
        if chosen is not None and chosen.status != UP:
            job.cached, chosen = 0, None
        if chosen is None:
            chosen = self.choose(job, at_s)
        if chosen is None:
            put(pool.waiting, job, pool.setup.order)
            return
        job.replica = chosen.number
        if not chosen.running and not chosen.waiting:
            chosen.now_s = max(chosen.now_s, at_s)
        chosen.put(job)
        self.wake(chosen)

    def devices(self, replica: Replica) -> object:
        """What only one replica can use at a time."""
        name = replica.setup.shares
        pool = next(pool for pool in self.pools if replica in pool.replicas)
        return (name, pool.replicas.index(replica)) if name else replica.number

    def wake(self, replica: Replica) -> None:
        if replica.number not in self.queued:
            self.queued.add(replica.number)
            free_s = max(replica.now_s, self.busy_until_s.get(self.devices(replica), 0.0))
            self.post(free_s, TURN, self.turn_of(replica))

    def turn_of(self, replica: Replica) -> Callable[[float], None]:
        own = self.asked + 1

        def act(at_s: float) -> None:
            self.take_turn(replica, at_s, own)

        return act

    def take_turn(self, replica: Replica, at_s: float, asked: int) -> None:
        if not replica.running and not replica.waiting:
            self.queued.discard(replica.number)
            return
        devices = self.devices(replica)
        free_s = max(replica.now_s, self.busy_until_s.get(devices, 0.0))
        if free_s > at_s:
            self.post(free_s, TURN, lambda then_s: self.take_turn(replica, then_s, asked), asked=asked)
            return
        replica.now_s = at_s
        ended = replica.iterate()
        self.busy_until_s[devices] = replica.now_s
        self.begun_s.append((devices, at_s, replica.now_s))
        for job in ended:
            if any(edge[0] == job.number for edge in self.edges):
                done = job.status == "done"
                self.post(replica.now_s, EVENT, self.starts(job) if done else self.cancels(job))
        self.queued.discard(replica.number)
        if replica.running or replica.waiting:
            self.wake(replica)
        else:
            self.give_back(replica, replica.now_s)

    def starts(self, job: Job) -> Callable[[float], None]:
        return lambda at_s: self.start_next(job, at_s)

    def cancels(self, job: Job) -> Callable[[float], None]:
        def act(at_s: float) -> None:
            for before, after, delay_s, _, _, always in self.edges:
                if before != job.number or self.jobs[after].status != "coming":
                    continue
                if always:
                    self.release(self.jobs[after], at_s + delay_s)
                else:
                    self.jobs[after].replica = -1
                    self.lose(self.jobs[after], "rejected", at_s)

        return act

    def start_next(self, job: Job, at_s: float) -> None:
        for before, after, delay_s, size_bytes, link, _ in self.edges:
            other = self.jobs[after]
            if before != job.number or other.status != "coming":
                continue
            came_s = at_s if link < 0 or not self.fits(other) else self.send(job, other, size_bytes, link, at_s)
            self.release(other, came_s + delay_s)

    def release(self, job: Job, at_s: float) -> None:
        """One that a job waits for is over."""
        job.arrival_s = max(job.arrival_s, at_s)
        self.waits_for[job.number] -= 1
        if not self.waits_for[job.number]:
            self.post(job.arrival_s, EVENT, self.arrives(job))

    def fits(self, job: Job) -> bool:
        limits = self.pools[job.pool].setup.limits
        return job.input + job.output <= min(limits.context, limits.blocks * limits.block_tokens)

    def arrives(self, job: Job) -> Callable[[float], None]:
        return lambda at_s: self.deliver(job, at_s)

    def send(self, job: Job, other: Job, size_bytes: float, link: int, at_s: float) -> float:
        """When it is there: first come, first served at both ports; the link counts by itself and may be the last."""
        target = None if other.replica < 0 else self.replicas[other.replica]
        if size_bytes > 0.0 and (target is None or target.status != UP):
            target = self.choose(other, at_s)
            other.replica = target.number if target else -1
        port, whole = self.links[link]
        busy = self.busy_until_s
        ports = [("out", job.replica)] + ([("in", target.number)] if target else [])
        begin_s = max(at_s, *(busy.get(name, 0.0) for name in ports))
        passed_s = busy["link", link] = max(at_s, busy.get(("link", link), 0.0)) + size_bytes / whole
        came_s = max(begin_s + size_bytes / min(port, whole), passed_s)
        for way, number in ports:
            busy[way, number] = came_s
            self.ports_s[link, number, way] = self.ports_s.get((link, number, way), 0.0) + came_s - begin_s
        self.carried_bytes[link] += size_bytes
        if other.cached:
            other.last_s = max(other.last_s, job.last_s)
        return came_s

    def lose(self, job: Job, status: str, at_s: float) -> None:
        job.status = status
        if any(edge[0] == job.number for edge in self.edges):
            self.post(at_s, EVENT, self.cancels(job))

    def come_up(self, replica: Replica, at_s: float) -> None:
        replica.status = UP
        replica.now_s = max(replica.now_s, at_s)
        pool = next(pool for pool in self.pools if replica in pool.replicas)
        if pool.setup.scaling and not pool.looks:
            pool.looks = True
            pool.too_many = 0
            self.post(at_s, EVENT, lambda then_s: self.look(pool, then_s), False)
        self.flush(pool, at_s)

    def flush(self, pool: Pool, at_s: float) -> None:
        while pool.waiting and pool.up:
            job = first(pool.waiting, "fcfs")
            pool.waiting.remove(job)
            self.deliver(job, at_s)

    def fail(self, replica: Replica, at_s: float, seconds: float) -> None:
        replica.outages += 1 if seconds < math.inf else math.inf
        if seconds < math.inf:
            self.post(at_s + seconds, EVENT, lambda then_s: self.recover(replica, then_s), False)
        if replica.status not in (UP, DRAINING):
            return
        then_s = max(at_s, replica.now_s)
        lost = [job for job in replica.running if job.status != "done"]
        while replica.waiting:
            lost.append(first(replica.waiting, "fcfs"))
            replica.waiting.remove(lost[-1])
        replica.running = []
        replica.forget()
        replica.status = DOWN
        for job in lost:
            job.retries += 1
            job.computed = job.cached = job.made = job.private = job.units = job.on_host = 0
            job.decodes = job.again = False
            job.first_s = job.last_s = -1.0
            job.replica = -1
            if job.retries > RETRIES:
                self.lose(job, "lost", then_s)
            else:
                job.status = "waiting"
                self.post(then_s, EVENT, self.arrives(job))

    def recover(self, replica: Replica, at_s: float) -> None:
        replica.outages -= 1
        if replica.outages == 0 and replica.status == DOWN:
            self.come_up(replica, at_s)

    def ready(self, replica: Replica, at_s: float) -> None:
        if replica.status == STARTING and replica.outages:
            replica.status = DOWN
        elif replica.status == STARTING:
            self.come_up(replica, at_s)

    def give_back(self, replica: Replica, at_s: float) -> None:
        if replica.status == DRAINING and not replica.running and not replica.waiting:
            replica.status = OFF
            self.active_s[replica.number] += max(at_s, replica.now_s) - self.since_s[replica.number]
            replica.forget()

    def look(self, pool: Pool, at_s: float) -> None:
        scaling = pool.setup.scaling
        assert scaling
        inside = len(pool.waiting) + sum(self.outstanding(replica, at_s) for replica in pool.replicas)
        wanted = min(max(math.ceil(inside / scaling.target), scaling.least), scaling.most)
        have = sum(replica.status in (UP, STARTING) for replica in pool.replicas)
        pool.looks = any(replica.status != DOWN for replica in pool.replicas)
        pool.too_many = pool.too_many + 1 if wanted < have else 0
        spare = [r for r in pool.replicas if r.status == DRAINING] + [r for r in pool.replicas if r.status == OFF]
        for replica in spare[: max(wanted - have, 0)]:
            if replica.status == DRAINING:
                replica.status = UP
                continue
            replica.status = STARTING
            self.since_s[replica.number] = at_s
            self.post(at_s + scaling.start_s, EVENT, self.readies(replica, self.started[replica.number]), False)
        if pool.too_many >= scaling.patience:
            pool.too_many = 0
            coming = [replica for replica in pool.replicas if replica.status == STARTING]
            if coming:
                latest = max(coming, key=lambda replica: (self.since_s[replica.number], replica.number))
                latest.status = OFF
                self.active_s[latest.number] += at_s - self.since_s[latest.number]
                self.started[latest.number] += 1
            elif pool.up:
                idlest = min(pool.up, key=lambda replica: self.outstanding(replica, at_s))
                idlest.status = DRAINING
                self.give_back(idlest, at_s)
        self.flush(pool, at_s)
        if pool.looks:
            self.post(at_s + scaling.look_s, EVENT, lambda then_s: self.look(pool, then_s), False)

    def readies(self, replica: Replica, start: int) -> Callable[[float], None]:
        return lambda at_s: self.ready(replica, at_s) if self.started[replica.number] == start else None


def to_do(replica: Replica, job: Job, coming: int) -> int:
    """Blocks in use, blocks of jobs that wait or come if all were as long as this one, and those that it lacks."""
    wanted = replica.blocks(job.input)
    found = replica.leading(job)[0] * replica.unit_blocks
    used = replica.setup.limits.blocks - replica.free
    return used + (len(replica.waiting) + coming) * wanted + max(wanted - found, 0)


def serve_plainly(
    setups: Sequence[Setup], work: Work, links: Sequence[Link] = (), outages: Sequence[Outage] = (), seed: int = 0
) -> PlainFleet:
    """The same as ``serve_fleet``, without random failures."""
    pools: list[Pool] = []
    for setup in setups:
        before = sum(len(pool.replicas) for pool in pools)
        own = [Replica(before + k, setup, seed, UP if k < setup.replicas else OFF) for k in range(setup.most)]
        pools.append(Pool(setup, own, looks=setup.scaling is not None))
    jobs = [job_of(work, k) for k in range(len(work.pool))]
    edges = []
    if work.edges is not None:
        *columns, always = work.edges
        always = np.zeros(len(columns[0]), np.bool_) if always is None else always
        edges = list(zip(*(column.tolist() for column in (*columns, always)), strict=True))
    draws = np.random.default_rng(seed).random((len(jobs), 2)).tolist()
    fleet = PlainFleet(pools, jobs, edges, links, draws, carried_bytes=[0.0] * len(links))
    fleet.waits_for = [sum(edge[1] == job.number for edge in edges) for job in jobs]
    fleet.active_s = {replica.number: 0.0 for replica in fleet.replicas}
    fleet.since_s = dict(fleet.active_s)
    for outage in outages:
        replica = pools[outage.pool].replicas[outage.replica]
        fleet.post(outage.at_s, EVENT, lambda at_s, r=replica, o=outage: fleet.fail(r, at_s, o.seconds), False)
    for pool in pools:
        if pool.setup.scaling:
            fleet.post(0.0, EVENT, lambda at_s, p=pool: fleet.look(p, at_s), False)
    for job in sorted(jobs, key=lambda job: job.arrival_s):
        if job.status == "coming" and not fleet.waits_for[job.number]:
            fleet.post(job.arrival_s, ARRIVAL, fleet.arrives(job))
    fleet.run()
    for job in jobs:
        if job.status not in ("done", "rejected"):
            job.status = "lost"
    return fleet


def job_of(work: Work, k: int) -> Job:
    def of(column: object, otherwise: float) -> float:
        return otherwise if column is None else column[k]  # type: ignore[index]

    names = [] if work.names is None else work.names.ids[work.names.offsets[k] : work.names.offsets[k + 1]].tolist()
    return Job(
        k, int(work.pool[k]), float(work.arrival_s[k]), int(work.input[k]), int(work.output[k]),
        int(of(work.cached, 0)), int(of(work.priority, 0)), int(of(work.session, -1)), int(of(work.adapter, -1)),
        float(of(work.deadline_s, math.inf)), names,
    )  # fmt: skip
