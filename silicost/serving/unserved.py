"""Why a fleet answered nobody, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.kernels.serving import REJECTED

if TYPE_CHECKING:
    from silicost.serving.answer import Answer


def why_nobody(answer: Answer) -> str:
    """Of a run without a completed request: the pool, its longest request and what it holds, or its outage."""
    jobs = answer.served.jobs
    for number, pool in enumerate(answer.fleet.pools):
        large = (jobs.pool == number) & ~jobs.fits & (jobs.status == REJECTED)
        if large.any():
            limits = pool.setup.limits
            tokens = (jobs.input + jobs.output)[large]
            cache = limits.blocks * limits.block_tokens <= limits.context
            holds = f"its cache holds {limits.blocks} blocks" if cache else f"its context is {limits.context} tokens"
            return (
                f"pool {pool.name}: {int(large.sum())} requests of up to {int(tokens.max())} tokens, prompt and "
                f"answer, do not fit: {holds}{f' of {limits.block_tokens} tokens' if cache else ''}"
            )
    outages = [f"{each.pool} from {each.at} on" for each in answer.fleet.table.failure]
    if outages:
        return f"no replica was there that could answer (outages: {', '.join(outages)})"
    statuses = np.bincount(jobs.status)
    turned = int(statuses[REJECTED]) if len(statuses) > REJECTED else 0
    return f"{turned} jobs were turned away and {len(jobs.status) - turned} lost (full queues, deadlines or failures)"
