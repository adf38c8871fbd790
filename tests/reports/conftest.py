"""Results as the simulator makes them, from a plain roofline: their numbers illustrate, nothing rests on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import NamedTuple

import pytest
from markupsafe import Markup

from simulator.result import Energy, Interval, MemoryUse, OperatorCost, PhaseCost, PoolUse, Provenance, Result, Roof
from simulator.timeline import Action, RankSteps, Span, Timeline


class Machine(NamedTuple):
    device: str
    device_class: str
    peak: float
    bandwidth: float
    cache: float
    capacity: float
    power_w: float
    usd_per_h: float | None


MACHINES = (
    Machine("h100-sxm-80gb", "gpu", 989e12, 3.35e12, 5.5e12, 85.5e9, 700.0, 6.88),
    Machine("tpu-v5e", "tpu", 197e12, 0.82e12, 6.5e12, 17.2e9, 200.0, 1.2),
    Machine("epyc-9754", "cpu", 12e12, 0.46e12, 4e12, 768e9, 360.0, 2.1),
    Machine("alveo-v80", "fpga", 6e12, 0.82e12, 3e12, 34.4e9, 190.0, None),
    Machine("groq-lpu-v1", "asic", 188e12, 80e12, 80e12, 0.23e9, 215.0, None),
)
HIDDEN, LAYERS, VOCABULARY = 4096.0, 32.0, 128256.0


def _operator(machine: Machine, name: str, family: str, repeat: float, flops: float, moved: float) -> OperatorCost:
    compute, memory = flops / (0.7 * machine.peak) * repeat, moved / (0.75 * machine.bandwidth) * repeat
    overhead = 2e-6 * repeat
    parts = {"compute": compute, "memory": memory, "overhead": overhead}
    seconds = max(compute, memory) + overhead
    return OperatorCost(
        name, "gemm", family, machine.device, repeat, flops * repeat, moved * repeat, seconds, compute, memory, 0.0,
        overhead, seconds * machine.power_w * 0.7, max(parts, key=lambda part: parts[part]), "bf16",
    )  # fmt: skip


def _phase(machine: Machine, name: str, rows: float, context: float, steps: float, batch: float) -> PhaseCost:
    products = {"qkv": 1.5, "out": 1.0, "gate_up": 7.0, "down": 3.5}
    operators = [
        _operator(machine, f"layer.{part}", "gemm", LAYERS * steps, 2 * rows * width * HIDDEN**2,
                  2 * width * HIDDEN**2 + 4 * rows * HIDDEN * width)
        for part, width in products.items()
    ]  # fmt: skip
    family = "attention_decode" if name == "decode" else "attention_prefill"
    operators.append(
        _operator(machine, "layer.attention", family, LAYERS * steps, 2 * rows * context * HIDDEN,
                  batch * context * 4096 + rows * HIDDEN * 4)
    )  # fmt: skip
    for part in ("norm", "rope", "activation"):
        operators.append(_operator(machine, f"layer.{part}", "vector", LAYERS * steps, 0.0, rows * HIDDEN * 8))
    operators.append(
        _operator(machine, "lm_head", "gemm", steps, 2 * batch * VOCABULARY * HIDDEN, 2 * VOCABULARY * HIDDEN)
    )
    host = OperatorCost(
        "host", "host", "host", "host", steps, 0.0, 0.0, 1e-3 * steps, 0.0, 0.0, 0.0, 1e-3 * steps, 0.0, "overhead"
    )
    operators.append(host)
    return PhaseCost(name, sum(operator.time_s for operator in operators), tuple(operators))


def _interval(value: float, spread: float) -> Interval:
    return Interval(value / spread**1.53, value / spread, value * spread, value * spread**1.53)


def _breakdown(phases: tuple[PhaseCost, ...]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for phase in phases:
        for operator in phase.operators:
            seconds[operator.family] = seconds.get(operator.family, 0.0) + operator.time_s
    return seconds


def _roofs(machine: Machine) -> tuple[Roof, ...]:
    peaks = [("fp32 peak", 0.1), ("bf16 peak", 1.0), ("fp16 peak", 1.0), ("fp8 peak", 2.0)]
    return (
        *(Roof(machine.device, name, "peak", machine.peak * factor) for name, factor in peaks),
        Roof(machine.device, "HBM3", "memory", machine.bandwidth),
        Roof(machine.device, "L2", "cache", machine.cache),
    )


def _pool(
    machine: Machine, count: int, memory: MemoryUse, energy_j: float, busy_s: float, name: str = "all"
) -> PoolUse:
    return PoolUse(
        name, machine.device, machine.device_class, count, "vllm-0.19", memory, machine.capacity, energy_j, busy_s
    )


PROVENANCE = (
    Provenance("model llama-3.1-8b", "architecture", "sourced", "config.json of the published checkpoint"),
    Provenance("memory bandwidth", "3.35 TB/s", "sourced", "https://example.org/specs/card?id=1&lang=en"),
    Provenance("gemm_share", "0.83", "calibrated", "fit of 412 samples"),
    Provenance("kv_share", "0.6", "assumed", "class prior: share of the bandwidth that decode attention reads at"),
)


def inference(machine: Machine = MACHINES[0], batch: int = 8, isl: int = 2048, osl: int = 256) -> Result:
    phases = (
        _phase(machine, "prefill", float(batch * isl), isl / 2, 1.0, batch),
        _phase(machine, "decode", float(batch), isl + osl / 2, osl - 1.0, batch),
    )
    ttft, decode = phases[0].time_s, phases[1].time_s
    e2e, tokens = ttft + decode, float(batch * osl)
    price = machine.usd_per_h
    metrics: dict[str, float | None] = {
        "ttft_s": ttft, "tpot_s": decode / (osl - 1), "e2e_s": e2e, "prefill_tokens_per_s": batch * isl / ttft,
        "decode_tokens_per_s": batch * (osl - 1) / decode, "output_tokens_per_s": tokens / e2e,
        "total_tokens_per_s": batch * (isl + osl) / e2e, "tokens_per_s_per_device": tokens / e2e,
        "mfu_prefill": 0.61, "mfu_decode": 0.013, "mbu_decode": 0.55, "max_batch": 143.0,
        "j_per_output_token": machine.power_w * e2e / tokens,
        "usd_per_million_output_tokens": price / 3600 * e2e / tokens * 1e6 if price else None, "carbon_g": 0.31,
    }  # fmt: skip
    spread = {"gpu": 1.25, "tpu": 1.35, "cpu": 1.6, "fpga": 1.9, "asic": 1.8}[machine.device_class]
    memory = MemoryUse(weights=16.06e9, kv=batch * (isl + osl) * 131072.0, activations=0.9e9, overhead=0.6e9)
    return Result(
        kind="inference", title=f"llama-3.1-8b on 1 x {machine.device}", scenario_hash=f"{hash(batch):016x}", seed=0,
        laws_hash="3f9c1b2a77d0e415", silicost_version="0.1.0",
        configuration={
            "model": "llama-3.1-8b", "device": machine.device, "device_class": machine.device_class, "count": 1,
            "runtime": "vllm-0.19", "dtype": "bf16", "batch": batch, "isl": isl, "osl": osl,
            "plan": {"tp": 1, "pp": 1},
        },
        metrics=metrics, memory=memory, memory_capacity_bytes=machine.capacity,
        fits=memory.total <= machine.capacity,
        energy=Energy(machine.power_w * e2e, machine.power_w * e2e * 1.3, machine.power_w * e2e * 1.5),
        bound={phase.name: max(phase.operators, key=lambda o: o.time_s).bound for phase in phases},
        breakdown=_breakdown(phases),
        intervals={n: _interval(v, spread) for n, v in metrics.items() if v is not None and n != "max_batch"},
        provenance=PROVENANCE, pools=(_pool(machine, 1, memory, machine.power_w * e2e, e2e),), phases=phases,
        roofs=_roofs(machine),
        reasons={} if price else {"usd_per_million_output_tokens": f"no price is known for {machine.device}"},
        warnings=() if memory.total <= machine.capacity else ("It does not fit; times are what it would take.",),
    )  # fmt: skip


def _rank(number: int) -> RankSteps:
    """A pipeline rank of two: two micro-batches forward, then backward."""
    starts = (0.0, 1.0, 4.0, 6.0) if number == 0 else (1.0, 2.0, 3.0, 5.0)
    work = zip(("F", "F", "B", "B"), (0, 1, 0, 1), starts, (1.0, 1.0, 2.0, 2.0), strict=True)
    actions = tuple(Action(kind, number, micro, start, start + lasts) for kind, micro, start, lasts in work)
    sizes = (32.6e9, 43e9, 53.6e9, 43e9, 32.6e9)
    return RankSteps(4e9, 4e9, 24e9, 21e9, 0.0, 0.6e9, actions, (0.0, *starts), sizes)


def training() -> Result:
    machine = MACHINES[0]
    forward = _phase(machine, "forward", 8192.0, 4096.0, 16.0, 2.0)
    update = PhaseCost("update", 0.012, (_operator(machine, "adam", "optimizer", 1.0, 0.0, 3e10),))
    step = forward.time_s * 3 + 0.012 + 0.08
    metrics: dict[str, float | None] = {
        "step_time_s": step, "tokens_per_s_per_device": 131072 / step / 8, "model_tflops_per_device": 412.0,
        "mfu": 0.417, "hfu": 0.44, "usd_per_step": 8 * 6.88 / 3600 * step, "carbon_g": 41.0,
    }  # fmt: skip
    breakdown = {family: value * 3 for family, value in _breakdown((forward,)).items()}
    memory = MemoryUse(4e9, activations=21e9, gradients=4e9, optimizer=24e9, overhead=0.6e9)
    return Result(
        kind="training", title="training step of llama-3.1-8b on 8 x h100-sxm-80gb", scenario_hash="77aa", seed=0,
        laws_hash="3f9c1b2a77d0e415", silicost_version="0.1.0",
        configuration={"model": "llama-3.1-8b", "device": machine.device, "device_class": "gpu", "count": 8,
                       "global_batch": 64, "seq_len": 4096},
        metrics=metrics, memory=memory,
        memory_capacity_bytes=machine.capacity, fits=True, energy=Energy(9e3, 1.2e4, 1.5e4),
        bound={"step": "compute"}, breakdown={**breakdown, "optimizer": 0.012, "collective": 0.05, "bubble": 0.03},
        intervals={n: _interval(v, 1.3) for n, v in metrics.items() if v is not None}, provenance=PROVENANCE,
        pools=(_pool(machine, 8, memory, 9e3, step),), phases=(forward, update), roofs=_roofs(machine),
        timeline=Timeline((), (_rank(0), _rank(1))),
    )  # fmt: skip


def mixed(chunks: int = 40) -> Result:
    """Prefill on a GPU, transfers of the KV cache over a link, decode on an FPGA."""
    spans: list[Span] = []
    for i in range(chunks):
        start = i * 0.010
        spans.append(Span(f"prefill {i}", "gemm", "gpu0", "compute", start, start + 0.007, 1e12))
        spans.append(
            Span(f"attention {i}", "attention_prefill", "gpu0", "compute", start + 0.007, start + 0.0095, 1e11)
        )
        spans.append(Span(f"kv {i}", "transfer", "pcie:gpu0-fpga0", "link", start + 0.0095, start + 0.016, 2.7e8))
        spans.append(Span(f"decode {i}", "attention_decode", "fpga0", "compute", start + 0.016, start + 0.022, 1e9))
        spans.append(Span(f"gemm {i}", "gemm", "fpga0", "compute", start + 0.022, start + 0.0255, 1e9))
        spans.append(Span(f"host {i}", "host", "gpu0", "host", start, start + 0.0008, 0.0))
    timeline = Timeline(tuple(sorted(spans, key=lambda span: (span.start_s, span.resource, span.lane, span.name))))
    metrics: dict[str, float | None] = {
        "makespan_s": timeline.end_s,
        "output_tokens_per_s": 2048 / timeline.end_s,
        "j_per_output_token": 0.21,
    }
    roofs = (*_roofs(MACHINES[0]), *_roofs(MACHINES[3]))
    phases = (
        _phase(MACHINES[0], "prefill", 16384.0, 1024.0, 1.0, 8.0),
        _phase(MACHINES[3], "decode", 8.0, 2176.0, 255.0, 8.0),
    )
    gpu, fpga = MemoryUse(16.06e9, kv=2.4e9, activations=1e9), MemoryUse(16.06e9, kv=2.4e9, overhead=0.6e9)
    pools = (
        _pool(MACHINES[0], 1, gpu, 240.0, 0.4, "prefill"),
        _pool(MACHINES[3], 2, fpga, 190.0, 0.3, "decode"),
    )
    return Result(
        kind="train-then-infer", title="prefill on h100-sxm-80gb, decode on alveo-v80", scenario_hash="d15a", seed=7,
        laws_hash="3f9c1b2a77d0e415", silicost_version="0.1.0",
        configuration={"pools": [{"device": "h100"}, {"device": "alveo-v80"}]},
        metrics=metrics, memory=fpga, memory_capacity_bytes=34.4e9, fits=True,
        energy=Energy(430.0, 560.0, 640.0), bound={"prefill": "compute", "decode": "memory"},
        breakdown=_breakdown(phases), intervals={n: _interval(v, 1.5) for n, v in metrics.items() if v is not None},
        provenance=PROVENANCE, pools=pools, phases=phases, roofs=roofs, timeline=timeline,
    )  # fmt: skip


VOID = {"meta", "br", "wbr", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; balanced or an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.shown: list[str] = []
        self.code: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.code if self.open and self.open[-1] in ("script", "style") else self.shown).append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, found, value in self.attributes if found == name]

    @property
    def scripts(self) -> int:
        """Scripts that run beside those of live figures; each of these has data of its own, which does not run."""
        live, data = self.values("data-live"), self.values("type").count("application/json")
        assert len(live) == data
        bundles = {bundle for each in live for bundle in each.split()}
        return self.tags.count("script") - data - (max(len(bundles), 1) + 1 if live else 0)


@pytest.fixture(autouse=True, scope="module")
def short_bundles(request: pytest.FixtureRequest) -> Iterator[None]:
    """Pages hold a word in place of Bokeh's megabytes, save in browsers and in modules that say ``WHOLE_BUNDLES``."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.parent.name != "browser" and not getattr(request.module, "WHOLE_BUNDLES", False):
            patch.setattr("reports.live._bundle", lambda name: Markup(f"/* {name} */"))
        yield


@pytest.fixture(scope="session")
def parse() -> Callable[[str], Page]:
    """``parse(text)``: the page that this HTML makes; what is not balanced fails."""
    return Page


HOSTILE = [
    "<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "</style></script><svg onload=alert(1)>",
    "x" * 10_000, "\u202egnp.exe \u05e9\u05dc\u05d5\u05dd", "🚀🔥", "\x00\x07\ud800", "$\\frac{1}{0}$",
    "{{ 7*7 }}{% raw %}", "", "-->", "]]>&amp;", "url(http://example.org/x)", "#0101ff",
]  # fmt: skip


@pytest.fixture(params=HOSTILE, ids=range(len(HOSTILE)))
def hostile(request: pytest.FixtureRequest) -> str:
    """A string that would break a page that trusted it."""
    return str(request.param)


@pytest.fixture(scope="session")
def seven() -> list[Result]:
    """Five device classes, a training step, a mixed system with a timeline."""
    return [*(inference(machine) for machine in MACHINES), training(), mixed()]


@pytest.fixture(scope="session")
def one() -> Result:
    return inference()


@pytest.fixture(scope="session")
def inference_of() -> Callable[[int], Result]:
    return lambda batch: inference(batch=batch)


@pytest.fixture(scope="session")
def mixed_of() -> Callable[[int], Result]:
    return mixed
