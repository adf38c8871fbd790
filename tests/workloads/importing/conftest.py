"""Small models of PyTorch, and their files: written by the test, in a format or the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TOKENS = 16
VOCAB = 200


class Models:
    """Models by name, each with an input; weights are random, so that no exporter finds two that are equal."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch

    def make(self, name: str) -> tuple[Any, Any]:
        """A model in eval mode and one input of two samples."""
        torch = self.torch
        torch.manual_seed(0)
        ids = torch.zeros(2, TOKENS, dtype=torch.long)
        made = {
            "llama": lambda: (self.llama(fused=True), ids), "llama-unfused": lambda: (self.llama(fused=False), ids),
            "bert": lambda: (self.bert(fused=True), ids), "bert-unfused": lambda: (self.bert(fused=False), ids),
            "mlp": lambda: (self.mlp(), torch.zeros(2, 24)), "conv": lambda: (self.conv(), torch.zeros(2, 3, 8, 8)),
        }[name]()  # fmt: skip
        for parameter in made[0].parameters():
            torch.nn.init.normal_(parameter)
        return made[0].eval(), made[1]

    def mlp(self) -> Any:
        nn = self.torch.nn
        return nn.Sequential(nn.Linear(24, 40), nn.ReLU(), nn.Linear(40, 10))

    def conv(self) -> Any:
        nn, F = self.torch.nn, self.torch.nn.functional

        class Net(nn.Module):
            """A residual block, pooling and a classifier."""

            def __init__(self) -> None:
                super().__init__()
                self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
                self.scale = nn.BatchNorm2d(8)
                self.second = nn.Conv2d(8, 8, 3, padding=1, groups=2)
                self.out = nn.Linear(8 * 4 * 4, 10)

            def forward(self, x: Any) -> Any:
                y = F.relu(self.scale(self.first(x)))
                y = F.relu(self.second(y) + y)
                return self.out(F.max_pool2d(y, 2).flatten(1))

        return Net()

    def bert(self, fused: bool, hidden: int = 48, heads: int = 4, width: int = 96) -> Any:
        torch, nn, F = self.torch, self.torch.nn, self.torch.nn.functional

        class Bert(nn.Module):
            """One encoder layer behind token and position embeddings."""

            def __init__(self) -> None:
                super().__init__()
                self.tokens, self.positions = nn.Embedding(300, hidden), nn.Embedding(64, hidden)
                self.norm0, self.norm1, self.norm2 = (nn.LayerNorm(hidden) for _ in range(3))
                self.q, self.k, self.v, self.o = (nn.Linear(hidden, hidden) for _ in range(4))
                self.up, self.down = nn.Linear(hidden, width), nn.Linear(width, hidden)

            def forward(self, ids: Any) -> Any:
                b, t = ids.shape
                x = self.norm0(self.tokens(ids) + self.positions(torch.arange(t)))
                q, k, v = (m(x).view(b, t, heads, hidden // heads).transpose(1, 2) for m in (self.q, self.k, self.v))
                if fused:
                    y = F.scaled_dot_product_attention(q, k, v)
                else:
                    y = torch.softmax(q @ k.transpose(-1, -2) / (hidden // heads) ** 0.5, -1) @ v
                x = self.norm1(x + self.o(y.transpose(1, 2).reshape(b, t, hidden)))
                return self.norm2(x + self.down(F.gelu(self.up(x))))

        return Bert()

    def llama(self, fused: bool, layers: int = 2) -> Any:
        torch, nn, F = self.torch, self.torch.nn, self.torch.nn.functional
        hidden, heads, kv_heads, width = 64, 8, 2, 160
        each = hidden // heads

        class Rms(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.ones(hidden))

            def forward(self, x: Any) -> Any:
                mean = x.to(torch.float32).pow(2).mean(-1, keepdim=True)
                return self.weight * (x * torch.rsqrt(mean + 1e-6)).to(x.dtype)

        def turned(x: Any) -> Any:
            first, second = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
            return torch.cat((-second, first), -1)

        class Layer(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.input_norm, self.post_norm = Rms(), Rms()
                self.q, self.o = (nn.Linear(hidden, hidden, bias=False) for _ in range(2))
                self.k, self.v = (nn.Linear(hidden, kv_heads * each, bias=False) for _ in range(2))
                self.gate, self.up = (nn.Linear(hidden, width, bias=False) for _ in range(2))
                self.down = nn.Linear(width, hidden, bias=False)

            def attend(self, q: Any, k: Any, v: Any) -> Any:
                b, _, t, _ = q.shape
                if fused:
                    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
                wide = (b, kv_heads, heads // kv_heads, t, each)
                k, v = (x[:, :, None].expand(wide).reshape(b, heads, t, each) for x in (k, v))
                mask = torch.full((t, t), float("-inf")).triu(1)
                scores = q @ k.transpose(2, 3) * each**-0.5 + mask
                return torch.softmax(scores, -1, dtype=torch.float32).to(q.dtype) @ v

            def forward(self, x: Any, cos: Any, sin: Any) -> Any:
                b, t, _ = x.shape
                n = self.input_norm(x)
                q = self.q(n).view(b, t, heads, each).transpose(1, 2)
                k, v = (m(n).view(b, t, kv_heads, each).transpose(1, 2) for m in (self.k, self.v))
                q, k = (y * cos + turned(y) * sin for y in (q, k))
                x = x + self.o(self.attend(q, k, v).transpose(1, 2).reshape(b, t, hidden))
                n = self.post_norm(x)
                return x + self.down(F.silu(self.gate(n)) * self.up(n))

        class Llama(nn.Module):
            """Grouped queries, rotary embeddings, gated MLPs."""

            def __init__(self) -> None:
                super().__init__()
                self.embed, self.head = nn.Embedding(VOCAB, hidden), nn.Linear(hidden, VOCAB, bias=False)
                self.layers, self.norm = nn.ModuleList(Layer() for _ in range(layers)), Rms()
                self.register_buffer("inverse", 1 / (10000 ** (torch.arange(0, each, 2) / each)))

            def forward(self, ids: Any) -> Any:
                angle = torch.arange(ids.shape[1])[:, None] * self.inverse[None]
                angle = torch.cat((angle, angle), -1)
                h = self.embed(ids)
                for layer in self.layers:
                    h = layer(h, angle.cos(), angle.sin())
                return self.head(self.norm(h))

        return Llama()


@pytest.fixture(scope="session")
def models() -> Models:
    return Models(pytest.importorskip("torch", reason="torch makes the models that are read"))


@pytest.fixture(scope="session")
def exported(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The file of a model, by name and ending; the batch is left open."""
    torch, folder = models.torch, tmp_path_factory.mktemp("exported")

    def write(name: str, ending: str = ".pt2", symbolic: bool = True, seq: bool = False) -> Path:
        path: Path = folder / f"{name}{'' if symbolic else '-fixed'}{'-seq' if seq else ''}{ending}"
        if path.exists():
            return path
        model, x = models.make(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if ending == ".onnx":
                pytest.importorskip("onnx", reason="the exporter writes with it")
                axes = {"x": {0: "batch"}} if symbolic else None
                torch.onnx.export(model, (x,), str(path), dynamo=False, input_names=["x"], dynamic_axes=axes)
            else:
                sizes = {0: torch.export.Dim("batch", min=1, max=512)}
                sizes |= {1: torch.export.Dim("seq", min=2, max=60)} if seq else {}
                program = torch.export.export(model, (x,), dynamic_shapes=(sizes,) if symbolic else None)
                torch.export.save(program, str(path))
        return path

    return write
