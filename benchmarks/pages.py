"""How heavy report pages are: bytes, CPU seconds to make, and the median times until a browser has loaded them
and has drawn the live figures in sight.

    python benchmarks/pages.py [PAGE.html ...]

Without arguments it makes a run, the same without scripts, and a study of 20,000 points.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from reports.page import render_report
from reports.study import Cloud, Factor, FrontPoint, Spread, StudyCard, measure_of
from reports.study_page import render_study
from silicost.scenarios import inference_scenario
from simulator.simulate import simulate

REPEATS = 5
DRAWN = """() => [...document.querySelectorAll("[data-live]")].every(
  each => each.dataset.drawn || each.getBoundingClientRect().top > innerHeight)"""
POINTS = 20_000
DEVICES, BATCHES = ("h100", "h200", "mi300x", "tpu-v5e"), tuple(str(2**power) for power in range(9))


def study(points: int) -> StudyCard:
    """Made-up rates of batches on devices: only how many they are matters here."""
    draws = np.random.default_rng(1)
    codes = np.stack([draws.integers(0, len(DEVICES), points), draws.integers(0, len(BATCHES), points)], 1)
    batch = 2.0 ** codes[:, 1]
    tpot = 0.02 * (1.0 + batch / 60.0) / (1.0 + 0.3 * codes[:, 0]) * draws.lognormal(0.0, 0.15, points)
    rate, front, best = batch / tpot, [], 0.0
    for place in np.lexsort((-rate, tpot)):
        if rate[place] > best:
            best = float(rate[place])
            words = (("device", DEVICES[codes[place, 0]]), ("batch", BATCHES[codes[place, 1]]))
            pair = float(tpot[place]), best
            front.append(FrontPoint(*pair, pair, words))
    factors = (Factor("device", DEVICES), Factor("batch", BATCHES, tuple(map(float, BATCHES))))
    unknown = Spread(1, 0, np.nan, np.nan, np.nan)
    cloud = Cloud(
        0, 1, ("tpot_s:lower", "output_tokens_per_s:higher"), tuple(front), ("device", "batch"), (DEVICES, BATCHES),
        tpot, rate, codes, codes[:, 0], "device", DEVICES,
    )  # fmt: skip
    return StudyCard(
        "A study", "Which device is best?", "This one.", points, points,
        (measure_of("tpot_s", "lower"), measure_of("output_tokens_per_s", "higher")), (None, None), factors=factors,
        spreads=tuple(((unknown,) * len(factor.levels),) * 2 for factor in factors), cloud=cloud,
    )  # fmt: skip


def made(folder: Path) -> list[Path]:
    """The pages of this benchmark, each with the CPU time that it takes; the first one warms up."""
    run = [simulate(inference_scenario("llama-3.1-8b", "h100-sxm-80gb", batch=8, isl=2048, osl=256), timeline=True)]
    makers: dict[str, Callable[[], str]] = {
        "run": lambda: render_report(run, "A run"),
        "run-static": lambda: render_report(run, "A run", static=True),
        "study-20000": lambda: render_study(study(POINTS)),
    }
    render_report(run, "A run")
    for name, make in makers.items():
        before = time.process_time()
        (folder / f"{name}.html").write_text(make(), encoding="utf-8")
        print(f"{name}: {time.process_time() - before:.2f} s of CPU to make")
    return [folder / f"{name}.html" for name in makers]


def main() -> None:
    place = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("no Chromium on the path")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        paths = [Path(name).resolve() for name in sys.argv[1:]] or made(Path(folder))
        running = started.chromium.launch(executable_path=place, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        for path in paths:
            times, drawn = [], []
            for _ in range(REPEATS):
                page = running.new_page()
                before = time.perf_counter()
                page.goto(path.as_uri())
                times.append(time.perf_counter() - before)
                while not page.evaluate(DRAWN):
                    time.sleep(0.01)
                drawn.append(time.perf_counter() - before)
                page.close()
            opened, live = (1e3 * statistics.median(each) for each in (times, drawn))
            size = path.stat().st_size / 1e3
            print(
                f"{path.stem}: {size:,.0f} kB, opens in {opened:,.0f} ms, what is in sight is live after {live:,.0f} ms"
            )
        running.close()


if __name__ == "__main__":
    main()
