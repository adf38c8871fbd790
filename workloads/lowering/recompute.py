"""What the backward computes again instead of keeping it: the words of ``--recompute``, and which layers they mean.

    none            everything is kept
    selective       scores of attention that lie in memory, or what a runtime means by the word (see ``RECOMPUTED``)
    full            every layer wholly: its input alone is kept (Chen et al., arXiv:1604.06174)
    every:N         every N-th layer of a stage wholly, the others not at all (torchtitan: selective_ac_option = "2")
    layers:N        the first N layers of each stage wholly, of each piece of an interleaved one (Megatron-LM:
                    recompute-method block)
    uniform:N       every layer wholly, N layers at a time: they keep one input (Megatron-LM: recompute-method uniform)
    modules:a,b     parts of every layer (Megatron-LM: recompute-modules), see ``MODULES``

``vector`` and ``half`` are what runtimes may mean by selective; nobody asks for them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from hardware_specs.errors import InputError, UnknownName, clipped, nearest
from workloads.lowering.plan import stage_layers
from workloads.models.architecture import Architecture, Experts, FeedForward

WORDS: Final = ("none", "selective", "full")
"""Policies of one word."""
NUMBERED: Final = ("every", "layers", "uniform")
"""Policies of a word and a number of layers: these recompute whole layers."""
INNER: Final = ("vector", "half")
"""Policies that only a runtime means."""
ALLOWED: Final = "none, selective, full, every:N, layers:N, uniform:N, modules:NAME,..."
MOST: Final = 10_000
"""Largest number of layers that may be asked for."""

MODULES: Final = {
    "core_attn": "scores, softmax and their product with values, or the fused kernel of all",
    "mlp": "the MLP of a dense layer, its norm aside",
    "moe": "router, exchange of tokens, experts and shared experts",
    "moe_act": "the activation between the products of experts",
    "shared_experts": "experts that every token passes",
    "layernorm": "norms before attention and MLP",
    "mla_up_proj": "queries, keys and values of latent attention out of their latents",
}
"""Parts of a layer, as Megatron-LM calls them."""

_CORE: Final = ("attention.scores", "attention.qk", "attention.softmax", "attention.dropout", "attention.pv")
_NORMS: Final = ("attention.norm", "mlp.norm", "ssm.norm")
_UP: Final = ("attention.q_b", "attention.kv_b", "attention.rope")
_OUTSIDE: Final = (".norm", ".residual", ".post_norm", ".add")
"""Ends of names of what stands beside an MLP, not in it."""


class Policy(NamedTuple):
    """A policy: its word, layers that it counts in, parts of a layer."""

    kind: str
    number: int = 1
    modules: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it recomputes whole layers, some or all."""
        return self.kind == "full" or self.kind in NUMBERED

    @property
    def text(self) -> str:
        """As it is written."""
        if self.kind == "modules":
            return f"modules:{','.join(self.modules)}"
        return f"{self.kind}:{self.number}" if self.kind in NUMBERED else self.kind

    @property
    def in_layers(self) -> str:
        """What happens in layers that it does not recompute wholly, as a policy of one layer."""
        return "none" if self.whole else self.text


class Piece(NamedTuple):
    """Layers of one group, one after the other, that recompute the same."""

    group: int
    layers: int
    policy: str


@lru_cache(maxsize=1024)
def policy_of(text: str, place: str = "--recompute", inner: bool = True) -> Policy:
    """The policy that ``text`` names.

    Args:
        text: in the words of this module.
        place: where it stands, for errors.
        inner: whether those of runtimes are allowed.

    Raises:
        InputError: no policy, or a number that cannot be.
        UnknownName: no such part of a layer.
    """
    if text in WORDS or (inner and text in INNER):
        return Policy(text)
    kind, colon, rest = text.partition(":")
    if kind in NUMBERED:
        return Policy(kind, _number(text, rest, place))
    if kind == "modules" and colon:
        return Policy(kind, modules=_modules(text, rest, place))
    close = nearest(kind, (*WORDS, *NUMBERED, "modules"), 1)
    written = {name: f"{name}:N" for name in NUMBERED} | {"modules": "modules:NAME"}
    hint = f"; did you mean {written.get(close[0], close[0])!r}?" if close else ""
    raise InputError(f"{place} {clipped(text)!r}: allowed are {ALLOWED}{hint}")


def _number(text: str, rest: str, place: str) -> int:
    if not (rest.isascii() and rest.isdigit() and len(rest) <= len(str(MOST)) and 1 <= int(rest) <= MOST):
        raise InputError(
            f"{place} {clipped(text)!r}: {clipped(rest)!r} layers; allowed: a whole number from 1 to {MOST}"
        )
    return int(rest)


def _modules(text: str, rest: str, place: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in rest.split(",")))
    if names == ("",):
        raise InputError(f"{place} {clipped(text)!r}: names no part of a layer; allowed: {', '.join(MODULES)}")
    for name in names:
        if name not in MODULES:
            raise UnknownName("part of a layer", name, MODULES, f"allowed: {', '.join(MODULES)}", place)
    return names


def in_pieces(policy: Policy, vpp: int) -> Policy:
    """The same over a whole stage of ``vpp`` pieces: the first layers of each piece are so many of the stage."""
    return policy._replace(number=policy.number * vpp) if policy.kind == "layers" else policy


def whole_layers(policy: Policy, counts: Sequence[float]) -> tuple[float, ...]:
    """How many of the layers of a stage are computed again wholly, by group, in the order in which they stand.

    Args:
        counts: layers of each group that the stage has.
    """
    if policy.kind in ("full", "uniform"):
        return tuple(map(float, counts))
    if policy.kind not in NUMBERED:
        return (0.0,) * len(counts)
    found, before = [], 0.0
    for count in counts:
        after = before + count
        found.append(_until(policy, after) - _until(policy, before))
        before = after
    return tuple(found)


def _until(policy: Policy, layers: float) -> float:
    """How many of the first ``layers`` of a stage are computed again."""
    return min(layers, float(policy.number)) if policy.kind == "layers" else layers // policy.number


def pieces_of(policy: Policy, counts: Sequence[int], stages: Sequence[int] = ()) -> tuple[Piece, ...]:
    """Layers in the order of stages, in pieces that recompute the same; one piece a group where all do.

    Which layers of a stage and group are meant changes neither its time nor its memory: they come first.

    Args:
        counts: layers of each group.
        stages: layers of each pipeline stage; none: one stage has all.
    """
    lengths = tuple(stages) or (sum(counts),)
    found: list[Piece] = []
    for row in stage_layers(tuple(counts), len(lengths), lengths):
        for group, (count, again) in enumerate(zip(row, whole_layers(policy, row), strict=True)):
            for layers, text in ((int(again), "full"), (count - int(again), policy.in_layers)):
                if not layers:
                    continue
                last = found[-1] if found else None
                if last and (last.group, last.policy) == (group, text):
                    found[-1] = last._replace(layers=last.layers + layers)
                else:
                    found.append(Piece(group, layers, text))
    return tuple(found)


def without_effect(policy: Policy, arch: Architecture, stages: Sequence[int], vpp: int = 1) -> str:
    """Why a policy, or a part of it, does nothing for a model, in words; "" where all of it does something.

    Args:
        stages: layers of each pipeline stage.
        vpp: pieces of the model on a stage.
    """
    if policy.kind == "modules":
        absent = [name for name in policy.modules if not _has(arch, name)]
        return f"{arch.id} has no {', '.join(absent)}" if absent else ""
    most = -(-max(stages) // vpp) if policy.kind == "layers" else max(stages)
    if policy.kind not in NUMBERED or policy.number <= most:
        return ""
    what = {"every": "nothing is computed again", "layers": "all are computed again", "uniform": "they keep one input"}
    of = "a piece of a stage" if policy.kind == "layers" and vpp > 1 else "a stage"
    return f"{of} has at most {most} layers; {what[policy.kind]}"


def _has(arch: Architecture, module: str) -> bool:
    """Whether some layer has a part."""
    attentions = [group.attention for group in arch.groups if group.attention]
    experts = [group.mlp for group in arch.groups if isinstance(group.mlp, Experts)]
    dense = any(isinstance(group.mlp, FeedForward) for group in arch.groups)
    return {
        "core_attn": bool(attentions), "mlp": dense or any(each.dense_width for each in experts),
        "moe": bool(experts), "moe_act": bool(experts), "shared_experts": any(each.shared_width for each in experts),
        "layernorm": any(group.norms for group in arch.groups),
        "mla_up_proj": any(each.kind == "mla" for each in attentions),
    }[module]  # fmt: skip


def running_again(modules: Sequence[str], names: Collection[str]) -> set[str]:
    """Which operators of a layer belong to some parts of it, collectives inside these included.

    Activations of grouped experts have no operator of their own: nothing belongs to ``moe_act``.

    Args:
        names: of all operators of the layer.
    """
    latent = "attention.kv_b" in names
    parts = [module for module in modules if latent or module != "mla_up_proj"]
    return {name for name in names if any(_belongs(module, name) for module in parts)}


def _belongs(module: str, name: str) -> bool:
    if module == "core_attn":
        return name in _CORE
    if module == "mlp":
        return name.startswith("mlp.") and not name.endswith(_OUTSIDE)
    if module == "moe":
        return name.startswith("moe.")
    if module == "shared_experts":
        return name.startswith("moe.shared.") and not name.endswith(_OUTSIDE)
    if module == "layernorm":
        return name in _NORMS
    return module == "mla_up_proj" and name in _UP
