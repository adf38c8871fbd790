"""Known transformers among imported graphs: repeated blocks of attention and MLP become an ``Architecture``.

An architecture is taken only where every product has a place in it and its parameters are those that the file holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Table
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from hardware_specs.errors import InputError
from workloads.importing.calls import LOST, Call, Mapping
from workloads.importing.flow import Flow
from workloads.lowering.dataflow_record import DataflowOperator
from workloads.models.architecture import Architecture, Attention, FeedForward, LayerGroup
from workloads.models.checks import check_architecture
from workloads.models.parameters import count_parameters

TOLERANCE: Final = 1e-3
"""Largest share of the parameters by which an architecture may differ from the file: what exporters store twice."""

_PRODUCTS = frozenset({"gemm", "matmul", "convolution", "experts"})
_THROUGH = frozenset({"rope", "norm", "elementwise", "copy"})


class NoTransformer(Exception):
    """Why a graph is no architecture that is known here."""


@dataclass(frozen=True)
class _View:
    """Operators in order, their calls, and who reads whom."""

    operators: tuple[DataflowOperator, ...]
    calls: Table[str, Call]
    mapping: Mapping

    def by_name(self, name: str) -> DataflowOperator | None:
        """The operator called ``name``; None for an input."""
        return next((o for o in self.operators if o.name == name), None)

    def products_before(self, names: Iterable[str]) -> tuple[list[DataflowOperator], list[DataflowOperator]]:
        """The nearest products behind some results, and the operators between."""
        table = {o.name: o for o in self.operators}
        products: list[DataflowOperator] = []
        between: list[DataflowOperator] = []
        waiting, seen = list(names), set[str]()
        while waiting:
            name = waiting.pop(0)
            if name in seen or name not in table:
                continue
            seen.add(name)
            found = table[name]
            if found.kind in _PRODUCTS:
                products.append(found)
            elif found.kind in _THROUGH:
                between.append(found)
                waiting += found.inputs
        return products, between


def architecture_of(flow: Flow, mapping: Mapping, name: str) -> Architecture:
    """The transformer that ``flow`` is.

    Raises:
        NoTransformer: it is none that fits, with the first thing that does not.
    """
    view = _View(flow.operators, {flow.names[last]: call for last, call in mapping.calls.items()}, mapping)
    lost = [i for i, (state, _) in mapping.states.items() if state == LOST]
    if lost:
        raise NoTransformer(f"{len(lost)} nodes could not be mapped")
    attentions = [i for i, o in enumerate(view.operators) if o.kind == "attention"]
    if not attentions:
        raise NoTransformer("it has no attention")
    tables = _tables(mapping)
    if not tables:
        raise NoTransformer("it has no table of token embeddings")
    vocab, hidden = tables[0]
    used: set[str] = set()
    layers, ends = [], []
    for at in attentions:
        layer, out = _attention(view, at, hidden, used)
        layers.append(layer)
        ends.append(out)
    groups = _groups(view, layers, attentions, ends, hidden, used)
    rest = [o for o in view.operators if o.kind in _PRODUCTS and o.name not in used]
    head, bias, tied = _head(view, rest, hidden, vocab)
    found = _whole(view, mapping, tables, groups, name, head, bias, tied, ends[-1])
    return _with_right_parameters(found, mapping)


def _tables(mapping: Mapping) -> list[tuple[int, int]]:
    """Rows and width of every table that is looked up, in the order of the look-ups."""
    wiring, found = mapping.wiring, {}
    for node in wiring.nodes:
        weight = wiring.weight_of(node.inputs[0]) if node.inputs and node.op in ("embedding", "gather") else ""
        shape = wiring.shape(weight) if weight in wiring.program.weights else ()
        if len(shape) == 2:
            found[weight] = (shape[0], shape[1])
    return list(found.values())


def _attention(view: _View, at: int, hidden: int, used: set[str]) -> tuple[Attention, int]:
    """The attention at place ``at`` with its projections, and the place of the last of them."""
    o = view.operators[at]
    s = {name: int(value) for name, value in o.sizes.items()}
    heads, kv_heads, head_dim = s["heads"], s["kv_heads"], s["head_dim"]
    value_dim = s.get("value_dim", head_dim) or head_dim
    projections, between = view.products_before(o.inputs)
    width = heads * head_dim + kv_heads * (head_dim + value_dim)
    if any(p.kind != "gemm" for p in projections) or sum(p.sizes["n"] for p in projections) != width:
        raise NoTransformer(f"{o.name}: its queries, keys and values are no products of {width} columns together")
    if any(p.sizes["k"] != hidden for p in projections):
        raise NoTransformer(f"{o.name}: its projections read another width than the {hidden} of the embedding")
    out = next((i for i, p in enumerate(view.operators) if i > at and o.name in p.inputs), None)
    last = None if out is None else view.operators[out]
    if out is None or last is None or last.kind != "gemm" or last.sizes["n"] != hidden:
        raise NoTransformer(f"{o.name}: no output projection to the width of {hidden} follows")
    used.update(p.name for p in (*projections, last))
    kind: Literal["mha", "gqa", "mqa"] = "mha" if heads == kv_heads else "mqa" if kv_heads == 1 else "gqa"
    norms = [b for b in between if b.kind == "norm" and b.sizes["cols"] in (head_dim, heads * head_dim)]
    inner = [b for b in norms if _follows(view, b, projections)]
    biased = [bool(p.sizes.get("bias")) for p in projections]
    if any(biased) != all(biased):
        raise NoTransformer(f"{o.name}: some of its projections have a bias and some have none")
    made = Attention(
        kind, heads, kv_heads, head_dim, value_dim if value_dim != head_dim else 0, causal=bool(s.get("causal", 0)),
        rotary=any(b.kind == "rope" for b in between), qkv_bias=all(biased), out_bias=bool(last.sizes.get("bias")),
        qk_norm=bool(inner),
    )  # fmt: skip
    return made, out


def _follows(view: _View, norm: DataflowOperator, projections: list[DataflowOperator]) -> bool:
    """Whether a norm reads one of the projections."""
    return any(p.name in norm.inputs for p in projections)


def _groups(
    view: _View, layers: list[Attention], attentions: list[int], ends: list[int], hidden: int, used: set[str]
) -> tuple[LayerGroup, ...]:
    """Layers with their MLPs; equal ones in a row are one group."""
    found: list[LayerGroup] = []
    for index, attention in enumerate(layers):
        stop = attentions[index + 1] if index + 1 < len(layers) else len(view.operators)
        mlp = _mlp(view, ends[index], stop, hidden, used)
        start = ends[index - 1] if index else 0
        norms = _norms_of_layer(view, index, start, ends[index], stop, hidden)
        layer = LayerGroup(1, attention, mlp, norms=norms)
        if found and replace_count(found[-1]) == layer:
            found[-1] = LayerGroup(found[-1].count + 1, attention, mlp, norms=norms)
        else:
            found.append(layer)
    return tuple(found)


def replace_count(group: LayerGroup) -> LayerGroup:
    """One layer of a group."""
    return LayerGroup(1, group.attention, group.mlp, group.ssm, group.norms, group.parallel)


def _mlp(view: _View, start: int, stop: int, hidden: int, used: set[str]) -> FeedForward:
    """The MLP between two places: its activation, what makes it and what reads it."""
    place = next((i for i in range(start, stop) if _activates(view.operators[i])), None)
    if place is None:
        raise NoTransformer(f"no activation of an MLP follows {view.operators[start].name}")
    o = view.operators[place]
    gated = bool(o.sizes.get("gated"))
    ins, _ = view.products_before(o.inputs)
    down = next((p for p in view.operators[place + 1 : stop] if o.name in p.inputs), None)
    width = int(o.sizes["cols"])
    if down is None or down.kind != "gemm" or (down.sizes["n"], down.sizes["k"]) != (hidden, width):
        raise NoTransformer(f"{o.name}: no product of {width} to {hidden} columns follows")
    wanted = width * (2 if gated else 1)
    if any(p.kind != "gemm" or p.sizes["k"] != hidden for p in ins) or sum(p.sizes["n"] for p in ins) != wanted:
        raise NoTransformer(f"{o.name}: its inputs are no products of {hidden} to {wanted} columns")
    used.update(p.name for p in (*ins, down))
    biased = {bool(p.sizes.get("bias")) for p in (*ins, down)}
    if len(biased) > 1:
        raise NoTransformer(f"{o.name}: some products of its MLP have a bias and some have none")
    ops = {view.mapping.wiring.nodes[i].op for i in view.calls[o.name].nodes}
    words: tuple[tuple[str, Literal["silu", "gelu", "relu"]], ...] = (
        ("relu", "relu"),
        ("silu", "silu"),
        ("sigmoid", "silu"),
    )
    kind: Literal["silu", "gelu", "relu"] = next((word for op, word in words if op in ops), "gelu")
    return FeedForward(width, gated, biased.pop(), kind)


def _activates(o: DataflowOperator) -> bool:
    return o.kind == "activation" or (o.kind == "elementwise" and "relu" in o.name.lower())


def _norms_of_layer(view: _View, index: int, start: int, out: int, stop: int, hidden: int) -> int:
    """Norms of the model's width in a layer: half of those between two attentions where it begins with one."""
    wide = [i for i, o in enumerate(view.operators) if o.kind == "norm" and o.sizes["cols"] == hidden]
    after = [i for i in wide if i > out and i < stop]
    # From behind one output projection to the next there are as many as a layer has, wherever it begins.
    ends = [i for i in wide if start < i < out] if index else []
    if index:
        return len(ends)
    following = [i for i, o in enumerate(view.operators) if o.kind == "attention" and i > out]
    if following:
        next_out = next(
            i
            for i, o in enumerate(view.operators)
            if i > following[0] and view.operators[following[0]].name in o.inputs
        )
        return len([i for i in wide if out < i < next_out])
    before = [i for i in wide if i < out]
    # Of a single layer: the last norm behind it is the final one where one stands before the attention.
    pre = bool(before) and _starts_with_norm(view, out)
    return len(after) if not pre else 1 + max(len(after) - 1, 1)


def _starts_with_norm(view: _View, out: int) -> bool:
    """Whether what the residual connection adds behind an output projection is not what the projections read."""
    table = {o.name: o for o in view.operators}
    added = next((o for o in view.operators if view.operators[out].name in o.inputs and o.kind == "elementwise"), None)
    if added is None:
        return True
    other = next((n for n in added.inputs if n != view.operators[out].name), "")
    return other not in table or table[other].kind != "norm"


def _head(
    view: _View, rest: list[DataflowOperator], hidden: int, vocab: int
) -> tuple[Literal["lm", "pool", "none"], bool, bool]:
    """What is behind the last layer: its kind, whether it has a bias, and whether it shares the embedding."""
    if not rest:
        return "none", False, False
    o = rest[0]
    if len(rest) > 1 or o.kind != "gemm" or o.sizes["k"] != hidden:
        raise NoTransformer(f"{', '.join(r.name for r in rest[:3])}: products that belong to no layer")
    bias = bool(o.sizes.get("bias"))
    if o.sizes["n"] == vocab:
        weights = {w for call in view.calls.values() if call.kind == "embedding" for w in call.weights}
        return "lm", bias, bool(weights & set(view.calls[o.name].weights[:1]))
    if o.sizes["n"] == hidden and bias:
        return "pool", False, False
    raise NoTransformer(f"{o.name}: a head of {o.sizes['n']:g} columns is neither the {vocab} tokens nor a pooler")


def _whole(
    view: _View, mapping: Mapping, tables: list[tuple[int, int]], groups: tuple[LayerGroup, ...], name: str,
    head: Literal["lm", "pool", "none"], bias: bool, tied: bool, end: int,
) -> Architecture:  # fmt: skip
    """Everything around the layers."""
    vocab, hidden = tables[0]
    others = [rows for rows, cols in tables[1:] if cols == hidden]
    wide = [o for o in view.operators if o.kind == "norm" and o.sizes["cols"] == hidden]
    attention = groups[0].attention
    spare = len(wide) - sum(group.norms * group.count for group in groups)
    first = next((o for o in view.operators if o.kind in ("norm", "gemm", "attention")), None)
    behind = [o for o in view.operators[end:] if o.kind == "norm" and o.sizes["cols"] == hidden]
    pre = _starts_with_norm(view, end)
    embedding_norm = spare > 0 and first is not None and first.kind == "norm" and (not pre or spare > 1)
    layer_norm = any(
        mapping.wiring.nodes[i].op in ("layer_norm", "sub") for o in wide for i in view.calls[o.name].nodes
    )
    dtype = view.operators[0].dtype
    return Architecture(
        name, hidden, vocab, groups, tied, "layernorm" if layer_norm else "rmsnorm",
        norm_bias=not wide or bool(wide[0].sizes.get("bias")),
        learned_positions=others[0] if others and attention is not None and not attention.rotary else 0,
        extra_embeddings=sum(others[1:]), embedding_norm=embedding_norm,
        final_norm=bool(behind) and spare - embedding_norm > 0, head=head, head_bias=bias,
        default_dtype=dtype, source="imported from a graph of operators",
    )  # fmt: skip


def _with_right_parameters(arch: Architecture, mapping: Mapping) -> Architecture:
    """``arch``, or the same with a head that shares the embedding, if it has the parameters of the file."""
    try:
        check_architecture(arch, arch.id)
    except InputError as error:
        raise NoTransformer(str(error)) from None
    held = mapping.wiring.program.parameters
    tried: list[Architecture] = [arch]
    if arch.head == "lm" and not arch.tied:
        tried.append(_tied(arch))
    for each in tried:
        if abs(count_parameters(each).total - held) <= TOLERANCE * held:
            return each
    raise NoTransformer(
        f"read as an architecture it has {count_parameters(arch).total} parameters, but the file holds {held:.0f}"
    )


def _tied(arch: Architecture) -> Architecture:
    found: Architecture = msgspec.structs.replace(arch, tied=True)
    return found
