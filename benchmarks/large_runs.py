"""Runs on 16,384 devices through representative ranks: how long they take, and how close they are to all ranks drawn.

python benchmarks/large_runs.py [--quick] [--format table|json]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from silicost.output import Format, print_json, print_rows
from simulator.goodput.goodput import goodput_of
from simulator.goodput.pipelines import Pipelines, step_slowdown
from simulator.goodput.published import LLAMA3_405B, compare_published
from simulator.goodput.representatives import known_slowdown
from simulator.goodput.slowdown_words import parse_slowdown
from simulator.goodput.slowdowns import ExponentialTail, Floats, LogNormal, Slowdown, SlowShare, Straggler

LAYOUTS = (Pipelines(8, 16, 128, 16), Pipelines(8, 4, 512, 32, 0.25), Pipelines(16384))
"""Sixteen stages of eight, four stages with four chunks each, and all devices waiting for each other."""
LAWS = ("lognormal:sigma=0.03", "exponential:mean=0.02", "slow:share=0.001,factor=1.3,sigma=0.01")


def drawn(straggler: Straggler, layout: Pipelines, trials: int) -> Floats:
    """Slow-down of whole steps, a factor drawn for every device, shape [trials]."""
    random = np.random.default_rng(11)
    found = np.empty(trials)
    typical = layout.micro_batches + layout.bubble * (layout.stages - 1)
    for trial in range(trials):
        ranks = _factors(straggler.law, random, (layout.stages, layout.replicas, layout.ranks))
        stages = ranks.max(axis=2)
        slowest = stages.max(axis=0)
        found[trial] = (layout.micro_batches * slowest + layout.bubble * (stages.sum(axis=0) - slowest)).max() / typical
    return found


def _factors(law: Slowdown, random: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """One factor a device, drawn without the quantiles that are tested."""
    if isinstance(law, ExponentialTail):
        return 1.0 + random.exponential(law.mean, shape)
    if isinstance(law, SlowShare):
        return np.where(random.random(shape) < law.share, law.factor, 1.0) * random.lognormal(0.0, law.sigma, shape)
    assert isinstance(law, LogNormal)
    return random.lognormal(0.0, law.sigma, shape)


def compared(words: str, layout: Pipelines, trials: int) -> dict[str, Any]:
    """Mean and 95th percentile of a step by order statistics and with every device drawn."""
    straggler = parse_slowdown(words)
    began = time.perf_counter()
    ours = step_slowdown(straggler, layout)
    spent = time.perf_counter() - began
    began = time.perf_counter()
    steps = drawn(straggler, layout, trials)
    mean, p95 = float(steps.mean()), float(np.quantile(steps, 0.95))
    return {
        "law": words, "tp x pp x dp": f"{layout.ranks} x {layout.stages} x {layout.replicas}",
        "mean": ours.mean, "drawn": mean, "mean error": ours.mean / mean - 1.0,
        "chance": float(steps.std()) / trials**0.5 / mean,
        "p95": float(ours.quantile(0.95)), "p95 drawn": p95, "p95 error": float(ours.quantile(0.95)) / p95 - 1.0,
        "ms": 1e3 * spent, "all ranks ms": 1e3 * (time.perf_counter() - began),
    }  # fmt: skip


def whole_run(words: str) -> dict[str, Any]:
    """A run of 54 days on 16,384 devices, failures and 2,000 drawn runs included."""
    began = time.perf_counter()
    run = goodput_of(
        6.5, 16384, "h100", steps=int(54 * 86400 / 6.5), checkpoint=LLAMA3_405B, straggler=parse_slowdown(words),
        layout=LAYOUTS[0],
    )  # fmt: skip
    return {
        "law": words, "wall days": run.wall_s / 86400.0, "goodput": run.goodput, "interruptions": run.interruptions,
        "step slow-down": run.slowed_step_s / run.step_s, "s": time.perf_counter() - began,
    }  # fmt: skip


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the drawn steps")
    parser.add_argument("--format", type=Format, choices=list(Format), default=Format.TABLE)
    arguments = parser.parse_args()
    trials = 200 if arguments.quick else 2000
    steps = [compared(words, layout, trials) for layout in LAYOUTS for words in LAWS]
    runs = [whole_run(words) for words in (*LAWS, "known:devices=5+9000,factor=1.3")]
    known = {0: 1.1} | dict.fromkeys(range(512, 16384, 1024), 1.3)
    began = time.perf_counter()
    known_slowdown(known, LAYOUTS[0])
    known_s = time.perf_counter() - began
    reports = [
        {"run": row.run, "quantity": row.quantity, "reported": row.reported, "predicted": row.predicted,
         "rates": row.rates, "at least": row.at_least, "error": row.error}
        for row in compare_published(("h100",))
    ]  # fmt: skip
    if arguments.format is Format.JSON:
        print_json({"steps": steps, "runs": runs, "known_s": known_s, "published": reports})
        return
    for rows in (steps, runs, reports):
        print_rows(rows, arguments.format)
    print(f"16 slow devices of 16,384 by their representatives: {1e3 * known_s:.2f} ms")


if __name__ == "__main__":
    main()
