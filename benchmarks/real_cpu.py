"""Compare predictions on a calibration of this CPU with decoder transformers that run on it in torch.

    python benchmarks/real_cpu.py measure POINTS.json [--models A,B] [--quick] [--seconds S]
    python benchmarks/real_cpu.py score POINTS.json CALIBRATION.toml

``measure`` builds shipped architectures with random weights out of plain torch calls and times whole steps: prefill of
one prompt, decode of one token at several batches and contexts (static buffers of keys and values), training steps
(forward, backward, AdamW). Run twice or more, it adds a round to the file each time, which gives the noise of a
repetition. No operator is timed alone, nothing of it is fitted to, and nothing is read from a calibration.
``score`` predicts the same steps with ``silicost.simulate`` and compares.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

INFERENCE = ("smollm-135m", "pythia-160m", "smollm2-360m", "qwen2.5-0.5b", "gpt2-medium", "tinyllama-1.1b")
TRAINING = ("smollm-135m", "pythia-160m", "gpt2")
PREFILL = ((1, 40), (1, 130), (1, 400))
DECODE = ((1, 64), (1, 700), (3, 300), (8, 160), (24, 100))
STEPS = ((1, 128), (2, 256), (4, 128))
FEWEST_POINTS, FEWEST_MODELS = 60, 4
"""What a score of prefill and decode must rest on."""


class Point(NamedTuple):
    """One step to measure: prefill or training of ``tokens`` each, or decode at a context of ``tokens``."""

    model: str
    dtype: str
    phase: str
    batch: int
    tokens: int


def points(models: list[str], quick: bool) -> Iterator[Point]:
    """All steps, model by model."""
    for model in models:
        for dtype in ("fp32", "bf16"):
            for phase, shapes in (("prefill", PREFILL), ("decode", DECODE)):
                for batch, tokens in shapes[:: 2 if quick else 1]:
                    yield Point(model, dtype, phase, batch, tokens)
    for model in TRAINING:
        if model in models:
            for batch, tokens in STEPS[:: 2 if quick else 1]:
                yield Point(model, "fp32", "train", batch, tokens)


def keep_freed_memory() -> None:
    """Let the allocator keep what is freed, as torch's tuning guide advises: fresh pages cost more than copies."""
    trim, mmap = -1, -3
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    libc.mallopt(mmap, 1 << 25)
    libc.mallopt(trim, (1 << 31) - 1)


class Decoder:
    """A decoder with random weights out of torch calls, as its architecture says."""

    def __init__(self, arch: Any, dtype: Any) -> None:
        import torch

        torch.manual_seed(0)
        self.arch, self.dtype = arch, dtype
        group = arch.groups[0]
        self.attention, self.mlp = group.attention, group.mlp
        a, hidden = self.attention, arch.hidden
        self.weights: list[Any] = []
        width = a.heads * a.head_dim
        self.embedding = self._weight(arch.vocab, hidden)
        self.head = self.embedding if arch.tied else self._weight(arch.vocab, hidden)
        self.positions = self._weight(arch.learned_positions, hidden) if arch.learned_positions else None
        self.final = self._norm(hidden)
        self.layers = []
        for _ in range(group.count):
            self.layers.append(
                {
                    "norm1": self._norm(hidden),
                    "norm2": self._norm(hidden),
                    "q": self._linear(width, hidden, a.qkv_bias),
                    "k": self._linear(a.kv_heads * a.head_dim, hidden, a.qkv_bias),
                    "v": self._linear(a.kv_heads * a.head_dim, hidden, a.qkv_bias),
                    "o": self._linear(hidden, width, a.out_bias),
                    "up": self._linear(self.mlp.width, hidden, self.mlp.bias),
                    "gate": self._linear(self.mlp.width, hidden, self.mlp.bias) if self.mlp.gated else None,
                    "down": self._linear(hidden, self.mlp.width, self.mlp.bias),
                }
            )
        angles = torch.outer(torch.arange(4096), 1e4 ** -(torch.arange(0, a.head_dim, 2) / a.head_dim))
        self.cos = torch.cat((angles, angles), -1).cos().to(dtype)
        self.sin = torch.cat((angles, angles), -1).sin().to(dtype)

    def _weight(self, *shape: int) -> Any:
        import torch

        weight = (torch.randn(*shape) * 0.02).to(self.dtype)
        self.weights.append(weight)
        return weight

    def _linear(self, n: int, k: int, bias: bool) -> tuple[Any, Any]:
        return self._weight(n, k), self._weight(n) if bias else None

    def _norm(self, hidden: int) -> tuple[Any, Any]:
        return self._weight(hidden), self._weight(hidden) if self.arch.norm == "layernorm" else None

    def buffers(self, batch: int, tokens: int) -> list[tuple[Any, Any]]:
        """Static buffers of keys and values for each layer."""
        import torch

        shape = (batch, self.attention.kv_heads, tokens, self.attention.head_dim)
        return [(torch.randn(shape).to(self.dtype), torch.randn(shape).to(self.dtype)) for _ in self.layers]

    def norm(self, x: Any, weights: tuple[Any, Any]) -> Any:
        """Layer norm, or RMS norm where there is no bias."""
        from torch.nn import functional as F  # noqa: N812

        if weights[1] is None:
            return F.rms_norm(x, (x.shape[-1],), weights[0], 1e-5)
        return F.layer_norm(x, (x.shape[-1],), *weights)

    def rotate(self, x: Any, first: int) -> Any:
        """Rotary embedding as Hugging Face writes it."""
        import torch

        cos, sin = self.cos[first : first + x.shape[2]], self.sin[first : first + x.shape[2]]
        half = x.shape[-1] // 2
        return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin

    def attend(self, x: Any, layer: dict[str, Any], buffers: tuple[Any, Any] | None, first: int) -> Any:
        """Self-attention with the tokens before ``first`` read from the buffers."""
        from torch.nn import functional as F  # noqa: N812

        a = self.attention
        batch, new, _ = x.shape
        q = F.linear(x, *layer["q"]).view(batch, new, a.heads, a.head_dim).transpose(1, 2)
        k = F.linear(x, *layer["k"]).view(batch, new, a.kv_heads, a.head_dim).transpose(1, 2)
        v = F.linear(x, *layer["v"]).view(batch, new, a.kv_heads, a.head_dim).transpose(1, 2)
        if a.rotary:
            q, k = self.rotate(q, first), self.rotate(k, first)
        if buffers is not None:
            keys, values = buffers
            keys[:, :, first : first + new] = k
            values[:, :, first : first + new] = v
            k, v = keys[:, :, : first + new], values[:, :, : first + new]
        gqa = a.heads != a.kv_heads
        y = F.scaled_dot_product_attention(q, k, v, is_causal=new > 1, enable_gqa=gqa)
        return F.linear(y.transpose(1, 2).reshape(batch, new, a.heads * a.head_dim), *layer["o"])

    def feed(self, x: Any, layer: dict[str, Any]) -> Any:
        """The MLP."""
        from torch.nn import functional as F  # noqa: N812

        act = {"silu": F.silu, "gelu": F.gelu, "relu": F.relu}[self.mlp.activation]
        up = F.linear(x, *layer["up"])
        return F.linear(act(F.linear(x, *layer["gate"])) * up if self.mlp.gated else act(up), *layer["down"])

    def hidden(self, tokens: Any, buffers: list[tuple[Any, Any]] | None, first: int) -> Any:
        """Hidden states behind the last norm."""
        from torch.nn import functional as F  # noqa: N812

        x = F.embedding(tokens, self.embedding)
        if self.positions is not None:
            x = x + self.positions[first : first + tokens.shape[1]]
        for number, layer in enumerate(self.layers):
            own = buffers[number] if buffers is not None else None
            attended = self.attend(self.norm(x, layer["norm1"]), layer, own, first)
            if self.arch.groups[0].parallel:
                x = x + attended + self.feed(self.norm(x, layer["norm2"]), layer)
            else:
                x = x + attended
                x = x + self.feed(self.norm(x, layer["norm2"]), layer)
        return self.norm(x, self.final)

    def next_tokens(self, tokens: Any, buffers: list[tuple[Any, Any]], first: int) -> Any:
        """One step: the most likely next token of each sequence."""
        from torch.nn import functional as F  # noqa: N812

        return F.linear(self.hidden(tokens, buffers, first)[:, -1], self.head).argmax(-1)

    def loss(self, tokens: Any, targets: Any) -> Any:
        """Cross-entropy of the next tokens."""
        from torch.nn import functional as F  # noqa: N812

        logits = F.linear(self.hidden(tokens, None, 0), self.head)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def step_of(decoder: Decoder, point: Point) -> Callable[[], object]:
    """The step of a point, ready to run."""
    import torch

    vocab, batch, tokens = decoder.arch.vocab, point.batch, point.tokens
    if point.phase == "train":
        for weight in decoder.weights:
            weight.requires_grad_(True)
        optimizer = torch.optim.AdamW(decoder.weights, lr=1e-4)
        inputs, targets = torch.randint(0, vocab, (2, batch, tokens))

        def train() -> None:
            decoder.loss(inputs, targets).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return train
    new = tokens if point.phase == "prefill" else 1
    inputs = torch.randint(0, vocab, (batch, new))
    buffers = decoder.buffers(batch, tokens + 8)

    def infer() -> object:
        with torch.no_grad():
            return decoder.next_tokens(inputs, buffers, tokens - new)

    return infer


def timed(step: Callable[[], object], seconds: float) -> tuple[float, int]:
    """Median time of a step and its repetitions: until ``seconds`` are over, but three at least (two long ones)."""
    start = time.perf_counter()
    step()
    fewest = 3 if time.perf_counter() - start < 2.0 * seconds else 2
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < fewest or (time.perf_counter() < end and len(times) < 200):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times), len(times)


def measure(out: Path, models: list[str], quick: bool, seconds: float) -> None:
    """Measure all points once, each model and dtype in a process of its own, and add that round to the file."""
    for group in dict.fromkeys(_group(point) for point in points(models, quick)):
        command = [sys.executable, __file__, "measure", str(out), "--models", ",".join(models), "--group", group]
        subprocess.run([*command, "--seconds", str(seconds), *(["--quick"] if quick else [])], check=True)


def _group(point: Point) -> str:
    """Points that one process measures."""
    return f"{point.model} {point.dtype} {'train' if point.phase == 'train' else 'infer'}"


def measure_group(out: Path, wanted: Sequence[Point], seconds: float) -> None:
    """Measure the points of one model and dtype, and add them to the file."""
    import torch

    from workloads.models.catalogue import load_model

    keep_freed_memory()
    before = json.loads(out.read_text())["points"] if out.exists() else []
    found = {Point(*(row[name] for name in Point._fields)): row["times_s"] for row in before}
    decoder = Decoder(load_model(wanted[0].model), {"fp32": torch.float32, "bf16": torch.bfloat16}[wanted[0].dtype])
    for point in wanted:
        time_s, repeats = timed(step_of(decoder, point), seconds)
        found.setdefault(point, []).append(time_s)
        print(f"{' '.join(map(str, point))}: {1e3 * time_s:.2f} ms ({repeats})", flush=True)
    rows = [{**point._asdict(), "times_s": times} for point, times in found.items()]
    about = {"torch": torch.__version__, "threads": torch.get_num_threads(), "date": time.strftime("%Y-%m-%d")}
    out.write_text(json.dumps({"about": about, "points": rows}, indent=1))


class Prediction(NamedTuple):
    """Seconds of a step, and the ends of the 80% interval."""

    time_s: float
    low_s: float
    high_s: float


def predicted(point: Point, device: str, runtime: str) -> Prediction:
    """The same step by ``silicost.simulate``."""
    import silicost

    if point.phase == "train":
        scenario = silicost.training_scenario(
            point.model, device, global_batch=point.batch, seq_len=point.tokens, micro_batch=point.batch,
            dtype=point.dtype, runtime=runtime,
        )  # fmt: skip
        return _metric(silicost.simulate(scenario), "step_time_s")
    isl, osl = (point.tokens, 1) if point.phase == "prefill" else (point.tokens - 1, 2)
    scenario = silicost.inference_scenario(
        point.model, device, batch=point.batch, isl=isl, osl=osl, dtype=point.dtype, runtime=runtime
    )
    return _metric(silicost.simulate(scenario), "ttft_s" if point.phase == "prefill" else "tpot_s")


def _metric(result: Any, name: str) -> Prediction:
    interval = result.intervals[name]
    return Prediction(float(result.metrics[name]), float(interval.p10), float(interval.p90))


def score(points_file: Path, calibration: Path, runtime: str) -> int:
    """Compare, print, and say whether the aims are met (exit status)."""
    import numpy as np
    from scipy.stats import kendalltau

    from hardware_specs.calibrations import use_calibration

    device = use_calibration(calibration)
    rows = json.loads(points_file.read_text())["points"]
    found = []
    for row in rows:
        times = row.pop("times_s")
        point = Point(**row)
        # The middle round counts, as in the calibration the middle visit does.
        measured = float(np.median(times))
        pairs = [abs(one - other) for number, one in enumerate(times) for other in times[:number]]
        noise = statistics.mean(pairs) / measured if pairs else 0.0
        found.append((point, measured, predicted(point, device, runtime), noise))
    worst = 0
    for phases, aim in ((("prefill", "decode"), 0.10), (("train",), 0.15)):
        part = [(point, m, p.time_s, n) for point, m, p, n in found if point.phase in phases]
        inside = [p.low_s <= m <= p.high_s for point, m, p, _ in found if point.phase in phases]
        if not part:
            continue
        off = np.array([abs(p / m - 1.0) for _, m, p, _ in part])
        noise = np.array([n for *_, n in part])
        allowed = np.maximum(aim, 1.5 * float(np.median(noise)))
        for point, m, p, n in sorted(part, key=lambda each: -abs(each[2] / each[1] - 1.0)):
            name = " ".join(map(str, point))
            print(f"{name:40} {1e3 * m:9.2f} ms, predicted {1e3 * p:9.2f} ({p / m - 1:+.1%}, noise {n:.1%})")
        good = np.median(off) <= allowed and (aim > 0.10 or np.quantile(off, 0.9) <= 0.25)
        if aim <= 0.10 and (len(part) < FEWEST_POINTS or len({point.model for point, *_ in part}) < FEWEST_MODELS):
            print(f"fewer than {FEWEST_POINTS} points or {FEWEST_MODELS} models: this proves nothing")
            good = False
        spread = f"90% {np.quantile(off, 0.9):.1%}, worst {off.max():.1%}"
        repeats = f"repeat noise median {np.median(noise):.1%}, 90% {np.quantile(noise, 0.9):.1%}"
        met = f"aim median {allowed:.1%}: {'met' if good else 'MISSED'}"
        print(
            f"{'+'.join(phases)}: {len(part)} points, error median {np.median(off):.1%}, mean {off.mean():.1%}, "
            f"{spread}; {repeats}; inside the 80% interval {np.mean(inside):.0%}; {met}"
        )
        worst |= not good
        for key in sorted({(point.phase, point.dtype) for point, *_ in part}):
            own = np.array([e for each, e in zip(part, off, strict=True) if (each[0].phase, each[0].dtype) == key])
            print(f"  {' '.join(key)}: {len(own)} points, median {np.median(own):.1%}, 90% {np.quantile(own, 0.9):.1%}")
        for model in sorted({point.model for point, *_ in part}):
            own_rows = [each for each in part if each[0].model == model]
            tau = kendalltau([m for _, m, _, _ in own_rows], [p for _, _, p, _ in own_rows]).statistic
            print(f"  {model}: Kendall tau {tau:.3f} over {len(own_rows)} configurations")
            worst |= bool(aim <= 0.10 and not tau >= 0.9)
    return int(worst)


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("measure")
    one.add_argument("points", type=Path)
    one.add_argument("--models", default=",".join(INFERENCE))
    one.add_argument("--quick", action="store_true")
    one.add_argument("--seconds", type=float, default=0.5, help="per point and round")
    one.add_argument("--group", default="", help="one model, dtype and kind of step: what each process is asked for")
    two = commands.add_parser("score")
    two.add_argument("points", type=Path)
    two.add_argument("calibration", type=Path)
    two.add_argument("--runtime", default="torch-cpu-2.13")
    arguments = parser.parse_args()
    if arguments.command == "measure":
        models = arguments.models.split(",")
        if arguments.group:
            wanted = [each for each in points(models, arguments.quick) if _group(each) == arguments.group]
            measure_group(arguments.points, wanted, arguments.seconds)
        else:
            measure(arguments.points, models, arguments.quick, arguments.seconds)
        return 0
    return score(arguments.points, arguments.calibration, arguments.runtime)


if __name__ == "__main__":
    sys.exit(main())
