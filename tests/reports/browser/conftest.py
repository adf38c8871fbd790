"""Pages of every kind as the project's own commands write them, and one headless browser that opens them."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from silicost import cli

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ASKED = "--model qwen2.5-1.5b --device h100-sxm-80gb --isl 256 --osl 16 --batch 4"
CHECKED = "--model llama-3.1-8b --device h100-sxm-80gb --isl 512 --osl 16 --batch 4"
COMMANDS = {
    "results": "run prefill-gpu-decode-tpu",
    "training": "train --model llama-3.1-8b --device h100-sxm-80gb --count 8 --tp 8 --micro-batch 1 --global-batch 8 "
    "--seq-len 2048",
    "demo": "demo",
    "served": "serve --fleet recommender --requests 200",
    "study": "sweep gpu-or-tpu",
    "recommendation": "recommend --model llama-3.1-8b --isl 512 --osl 64 --slo ttft_s<0.2,tpot_s<0.05 "
    "--devices h100-sxm-80gb,l4,mi300x,a40,groq-lpu-v1,rtx-4090",
    "capacity": "capacity --model smollm-135m --device l4 --isl 200 --osl 30 --requests 1000 --rate 2000 "
    "--slo ttft=100ms@p99,tpot=20ms@p90",
    "mixture": "sweep mixed-retrieval-fpga",
    "scorecard": "validate --kind training",
    "sensitivity": f"sensitivity {ASKED} --metric tpot_s,usd_per_million_output_tokens",
    "delta": f"delta {ASKED} --against weight_dtype=fp8 --against device.memory.bandwidth=2x",
    "crossovers": f"break-even {CHECKED} --against weight_dtype=int4 --over batch=1:4096 "
    "--metric usd_per_million_output_tokens --line isl=512,2048",
    "chance": f"chance {ASKED} --against device=mi300x",
    "purchases": f"upgrades {ASKED} --metric decode_tokens_per_s --price-list PRICES",
}  # fmt: skip
"""A command for each kind of page; those that a single command does not write follow below."""
OWN_FOLDER = ("results", "training", "demo", "served", "study", "mixture")
"""Pages of commands that write a folder."""
PRICES = """
[[options]]
name = "HBM"
path = "device.memory.bandwidth"
value = "4.8 TB/s"
cost = "4000 USD"

[[options]]
path = "runtime.host_step"
value = "200 us"
cost = "300 USD"
"""
POINTS = """source,device,op,dtype,m,n,k,measured_s,software,quality
lab,h100-sxm-80gb,gemm,bf16,512,4096,4096,3e-5,vLLM 0.19,A
lab,h100-sxm-80gb,gemm,bf16,1,4096,4096,1.5e-5,vLLM 0.19,B
lab,tpu-v5e,gemm,bf16,512,4096,4096,2e-4,JAX,B
lab,h1000,gemm,bf16,1,4096,4096,1.5e-5,vLLM 0.19,A
"""
PATIENCE_S = 60.0
KINDS = (*COMMANDS, "operators")


class Opened(NamedTuple):
    """A page in the browser, and what it complained about or asked for so far."""

    page: Any
    complaints: list[str]
    requests: list[str]

    def ask(self, script: str, argument: Any = None) -> Any:
        """The value of a JavaScript expression or function in the page."""
        return self.page.evaluate(script, argument)

    def wait(self, condition: str) -> None:
        """Until a JavaScript expression is true; pages forbid Playwright's own way, which evaluates text."""
        end = time.monotonic() + PATIENCE_S
        while not self.ask(condition):
            assert time.monotonic() < end, f"never true: {condition}"
            self.page.wait_for_timeout(20)


Open = Callable[..., Opened]


def chromium() -> str:
    """The place of the system's Chromium; "" where there is none."""
    return next((found for name in CHROMIUMS if (found := shutil.which(name))), "")


def written(kind: str, folder: Path) -> Path:
    """The page of ``kind``, made by the command line in this process."""
    page = folder / "report.html"
    if kind == "operators":
        (folder / "points.csv").write_text(POINTS)
        command = f"validate {folder / 'points.csv'}"
    else:
        command = COMMANDS[kind]
    if "PRICES" in command:
        (folder / "prices.toml").write_text(PRICES)
        command = command.replace("PRICES", str(folder / "prices.toml"))
    place = ["--out", str(folder)] if kind in OWN_FOLDER else ["--report", str(page)]
    if kind in ("study", "mixture"):
        place = ["--out", str(folder / "rows"), "--report", str(page)]
    before, said = sys.argv, io.StringIO()
    sys.argv = ["silicost", *command.split(), *place]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), pytest.raises(SystemExit) as caught:
            cli.main()
    finally:
        sys.argv = before
    assert not caught.value.code, said.getvalue()
    return page


@pytest.fixture(scope="session")
def page_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The page of a kind, made when it is first asked for."""
    made: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in made:
            made[kind] = written(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return of


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium; tests are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    place = chromium()
    if not place:
        pytest.skip(f"no Chromium: none of {', '.join(CHROMIUMS)} is on the path")
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=place, args=["--no-sandbox"] if as_root else [])
        yield running
        running.close()


@contextlib.contextmanager
def opening(browser: Any) -> Iterator[Open]:
    """``opening(browser)(path, width=1600, scheme="light")``: pages from their files, loaded; closed in the end."""
    contexts = []

    def opened(path: Path, width: int = 1600, scheme: str = "light", **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1e3 * PATIENCE_S)
        found = Opened(page, [], [])
        page.on("console", lambda said: found.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.on("request", lambda request: found.requests.append(request.url))
        page.goto(path.as_uri())
        return found

    try:
        yield opened
    finally:
        for context in contexts:
            context.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens pages for one test."""
    with opening(browser) as opens:
        yield opens
