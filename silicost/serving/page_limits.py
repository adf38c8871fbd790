"""What limits a pool, in words: fixed rules over its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reports.numbers import number, share, whole

if TYPE_CHECKING:
    from silicost.serving.pools import Pool
    from simulator.serving.fleet_outcome import PoolFigures

IDLE: Final = 0.5
"""Busy shares below it: more devices would not help."""
FULL: Final = 0.97
"""Peak use of the cache from which it counts as full."""
CROWDED: Final = 0.9
"""Mean batch over the most sequences from which the batch counts as full."""
WAITS: Final = 0.3
"""Shares of the busy time from which the host or transfers are what limits."""
BUSY: Final = 0.45
"""MBU or MFU of the busy time from which a resource is what limits; below it, small kernels and launches are."""
QUEUE: Final = 0.5
"""Requests that wait at a replica on average from which a full cache or batch makes others wait."""


def limit_of(pool: Pool, found: PoolFigures) -> tuple[str, str]:
    """The name of what limits a pool, and a sentence with the numbers that say so."""
    busy = found.utilisation
    if not found.jobs or busy is None or busy <= 0.0:
        return "Nothing to do", "no request reached it."
    full = _full(pool, found)
    if busy < IDLE and full is None:
        less = "fewer or smaller ones would do" if found.replicas > 1 else "a smaller one would do"
        whose = "its replicas work" if found.replicas > 1 else "its replica works"
        text = f"{whose} {share(busy)} of the time; {less}"
        if (found.waiting_mean or 0.0) >= QUEUE:
            text += f", but for bursts: {number(found.waiting_mean or 0.0)} jobs wait at it on average"
        return "Mostly idle", f"{text}. {_inner(found, busy)}"
    if full is not None:
        return full[0], f"{full[1]} {_inner(found, busy)}"
    return _while_busy(found, busy)


def _full(pool: Pool, found: PoolFigures) -> tuple[str, str] | None:
    """A cache or a batch that makes requests wait."""
    waiting, running = found.waiting_mean or 0.0, found.running_mean or 0.0
    peak = found.kv_peak_fraction
    crowded = waiting >= QUEUE or found.preemptions > 0.01 * found.jobs
    if peak is not None and peak >= FULL and crowded:
        text = f"it reaches {share(peak)}; {number(waiting)} requests wait at a replica on average"
        if found.preemptions:
            text += f", and {whole(found.preemptions)} were preempted"
        return "Cache full", f"{text}."
    most = pool.setup.limits.sequences
    if running >= CROWDED * most and waiting >= QUEUE:
        return "Batch full", (
            f"{number(running)} of at most {whole(most)} sequences run, {number(waiting)} wait (max_num_seqs)."
        )
    return None


def _while_busy(found: PoolFigures, busy: float) -> tuple[str, str]:
    """What a replica waits for while it works."""
    host, moved = found.host_share or 0.0, found.transfer_share or 0.0
    if max(host, moved) >= WAITS:
        if host >= moved:
            return "Host", f"devices wait for it {share(host)} of the busy time. {_inner(found, busy)}"
        return "Transfers", f"they take {share(moved)} of the busy time. {_inner(found, busy)}"
    mfu, mbu = (found.mfu or 0.0) / busy, (found.mbu or 0.0) / busy
    works = f"It works {share(busy)} of the time, and then reaches"
    if found.mfu is None:
        return "Search", f"it works {share(busy)} of the time."
    if max(mfu, mbu) < BUSY:
        return "Neither memory nor compute", (
            f"{works[0].lower()}{works[1:]} MBU {share(mbu)}, MFU {share(mfu)}: small batches, launches and gaps "
            f"between kernels take the rest{f', the host {share(host)}' if host >= 0.05 else ''}."
        )
    name = "Memory bandwidth" if mbu >= mfu else "Compute"
    return name, f"{works[0].lower()}{works[1:]} MBU {share(mbu)}, MFU {share(mfu)}."


def _inner(found: PoolFigures, busy: float) -> str:
    """What it waits for while it works, after another limit."""
    if found.mfu is None or found.mbu is None:
        return ""
    return f"While it works: MBU {share(found.mbu / busy)}, MFU {share(found.mfu / busy)}."
