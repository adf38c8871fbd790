"""Patterns of a few nodes that are one operator: norms, rotary embeddings, activations, biases."""

from __future__ import annotations

from workloads.importing.calls import Call, Mapping, compute_dtype
from workloads.importing.program import VIEWS, Tensor
from workloads.importing.wiring import Wiring

_CASTS = ("cast", "view")
_UNARY = frozenset(
    {"sigmoid", "erf", "tanh", "exp", "mul", "add", "div", "pow", "neg", "pointwise", "cast", "reciprocal"}
)


def rows_and_cols(tensor: Tensor) -> tuple[float, float]:
    """The last axis, and all others; at least one of each."""
    cols = float(tensor.shape[-1]) if tensor.shape else 1.0
    return max(tensor.elements / max(cols, 1.0), 1.0), max(cols, 1.0)


def find_norms(mapping: Mapping) -> None:
    """Norms written in arithmetic: everything between a mean of squares and the product with the weight."""
    wiring = mapping.wiring
    for i, node in enumerate(wiring.nodes):
        if node.op in ("rsqrt", "sqrt") and mapping.is_open(i):
            _norm_around(mapping, i)


def _norm_around(mapping: Mapping, root: int) -> None:
    """The norm whose root of the mean of squares is node ``root``."""
    wiring = mapping.wiring
    before = _statistics(wiring, root)
    if not any(wiring.nodes[j].op == "mean" for j in before) or not mapping.is_open(*before):
        return
    inside = {root, *before}
    outer = {n for j in inside for n in wiring.nodes[j].inputs if n and wiring.maker.get(n) not in inside}
    data = {wiring.behind(n, _CASTS) for n in outer if not wiring.is_constant(n)}
    if len(data) != 1:
        return
    source = data.pop()
    last, weights, biased = _scaled(wiring, inside, source, root)
    # The result is as wide as what is normalised, and nothing else reads what lies between.
    if last is None or wiring.shape(wiring.nodes[last].outputs[0]) != wiring.shape(source):
        return
    if not mapping.is_open(*inside) or _leaks(wiring, inside, last):
        return
    casts = _own_casts(wiring, inside)
    result = wiring.nodes[last].outputs[0]
    rows, cols = rows_and_cols(wiring.tensor(result))
    sizes = {"rows": rows, "cols": cols, "bias": float(biased)}
    dtype = compute_dtype(wiring.tensor(result).dtype)
    node = wiring.nodes[root]
    name = node.place or node.name.rpartition("/")[0] or node.name
    nodes = tuple(sorted({*inside, *(j for j in casts if mapping.is_open(j))}))
    mapping.add(last, Call(name, "norm", sizes, dtype, (source,), result, nodes, weights, name))


def _statistics(wiring: Wiring, root: int) -> set[int]:
    """Squares, means and what centres the data, before a root; at most a dozen nodes."""
    found: set[int] = set()
    waiting = [n for n in wiring.nodes[root].inputs if n]
    while waiting and len(found) < 12:
        made = wiring.maker.get(waiting.pop())
        if made is None or made in found or made in wiring.constant_nodes:
            continue
        node = wiring.nodes[made]
        live = [n for n in node.inputs if n and not wiring.is_constant(n)]
        square = node.op == "mul" and len(live) == 2 and live[0] == live[1]
        centred = node.op == "sub" and any(_is_mean(wiring, n) for n in live)
        plain = node.op in ("mean", "pow") or (node.op in ("add", "mul") and len(live) == 1)
        inner_cast = node.op in _CASTS and bool(live) and _makes_statistics(wiring, live[0])
        if square or centred or plain or inner_cast:
            found.add(made)
            waiting += live
    return found


def _makes_statistics(wiring: Wiring, name: str) -> bool:
    """Whether a tensor is centred data, a square or a mean, and no input of the norm."""
    node = wiring.node_of(name)
    return node is not None and (
        node.op in ("mean", "pow") or (node.op == "sub" and any(_is_mean(wiring, n) for n in node.inputs))
    )


def _is_mean(wiring: Wiring, name: str) -> bool:
    node = wiring.node_of(wiring.behind(name))
    return node is not None and node.op == "mean"


def _scaled(wiring: Wiring, inside: set[int], data: str, root: int) -> tuple[int | None, tuple[str, ...], bool]:
    """Add to ``inside`` what follows a root: the product with the data, the weight and the bias.

    Returns:
        The last of them, the weights, and whether one is a bias.
    """
    weights: list[str] = []
    last, biased, name = None, False, wiring.nodes[root].outputs[0]
    pending: list[int] = []
    for _ in range(8):
        readers = [r for r in wiring.readers.get(name, ()) if r not in inside]
        if len(readers) != 1:
            break
        node = wiring.nodes[readers[0]]
        others = [n for n in node.inputs if n and n != name]
        own = [n for n in others if wiring.maker.get(n) in inside or wiring.behind(n, _CASTS) == data]
        held = [w for n in others if (w := wiring.weight_of(n))]
        if node.op in _CASTS and not others:
            pending.append(readers[0])
            name = node.outputs[0]
            continue
        fixed = all(wiring.is_constant(n) for n in others)
        scales = node.op in ("mul", "div", "reciprocal") and (own or held or fixed)
        adds = node.op == "add" and bool(held)
        if not (scales or adds):
            break
        # A cast counts where the norm goes on behind it.
        inside.update((*pending, readers[0]))
        pending = []
        weights += held
        biased = biased or adds
        name, last = node.outputs[0], readers[0]
    return last, tuple(dict.fromkeys(weights)), biased


def _own_casts(wiring: Wiring, inside: set[int]) -> set[int]:
    """Casts of the data that only the norm reads."""
    found = {made for j in inside for n in wiring.nodes[j].inputs if (made := wiring.maker.get(n)) is not None}
    return {
        j for j in found - inside
        if wiring.nodes[j].op == "cast" and all(r in inside for r in wiring.readers.get(wiring.nodes[j].outputs[0], ()))
    }  # fmt: skip


def _leaks(wiring: Wiring, inside: set[int], last: int) -> bool:
    """Whether something outside reads what lies between."""
    between = {n for j in inside if j != last for n in wiring.nodes[j].outputs}
    return any(r not in inside for n in between for r in wiring.readers.get(n, ()))


def find_rope(mapping: Mapping) -> None:
    """x cos + (x with its halves turned) sin."""
    wiring = mapping.wiring
    for i, node in enumerate(wiring.nodes):
        if node.op == "add" and len(node.inputs) == 2 and mapping.is_open(i):
            _rope_at(mapping, i)


def _rope_at(mapping: Mapping, i: int) -> None:
    wiring, node = mapping.wiring, mapping.wiring.nodes[i]
    for plain, turned in (node.inputs, node.inputs[::-1]):
        first, second = wiring.maker.get(plain), wiring.maker.get(turned)
        if first is None or second is None or {wiring.nodes[first].op, wiring.nodes[second].op} != {"mul"}:
            continue
        for x, halves in ((a, b) for a in wiring.nodes[first].inputs for b in wiring.nodes[second].inputs):
            joined = wiring.maker.get(halves)
            if joined is None or wiring.nodes[joined].op != "concat":
                continue
            inner = _turn_of(wiring, joined, x)
            nodes = (*inner, joined, first, second, i)
            if not inner or not mapping.is_open(*nodes):
                continue
            rows, cols = rows_and_cols(wiring.tensor(node.outputs[0]))
            dtype = compute_dtype(wiring.tensor(node.outputs[0]).dtype)
            name = f"{node.place or node.name}.rope"
            sizes = {"rows": rows, "cols": cols}
            mapping.add(i, Call(name, "rope", sizes, dtype, (x,), node.outputs[0], nodes, (), node.place))
            return


def _turn_of(wiring: Wiring, joined: int, x: str) -> tuple[int, ...]:
    """The nodes that cut ``x`` in halves and turn one, if ``joined`` joins these; else none."""
    inside: set[int] = set()
    turned = False
    for name in wiring.nodes[joined].inputs:
        made = wiring.maker.get(name)
        if made is not None and wiring.nodes[made].op in ("neg", "mul"):
            turned = True
            inside.add(made)
            name = next((n for n in wiring.nodes[made].inputs if not wiring.is_constant(n)), "")
            made = wiring.maker.get(name)
        if (
            made is None
            or wiring.nodes[made].op not in ("view", "gather")
            or (x not in (name, wiring.behind(name)) and not any(earlier == x for earlier, _ in wiring.chain(name)))
        ):
            return ()
        inside.add(made)
    return tuple(sorted(inside)) if turned else ()


def join_ropes(mapping: Mapping) -> None:
    """Rotations of the queries and keys of one attention are one operator, as in models here."""
    wiring = mapping.wiring
    ropes = {call.result: last for last, call in mapping.calls.items() if call.kind == "rope"}
    for call in [c for c in mapping.calls.values() if c.kind == "attention"]:
        ends = [_rope_behind(wiring, name, ropes) for name in call.inputs[:2]]
        if None in ends or ends[0] == ends[1]:
            continue
        q, k = (mapping.calls[last] for last in ends if last is not None)
        rows = call.sizes["batch"] * call.sizes["q_len"]
        cols = (q.sizes["rows"] * q.sizes["cols"] + k.sizes["rows"] * k.sizes["cols"]) / rows
        last = max(last for last in ends if last is not None)
        first = min(last for last in ends if last is not None)
        del mapping.calls[first]
        nodes = tuple(sorted({*q.nodes, *k.nodes}))
        name = f"{call.place}.rope" if call.place else k.name
        mapping.add(
            last,
            Call(name, "rope", {"rows": rows, "cols": cols}, q.dtype, (*q.inputs, *k.inputs),
                 mapping.wiring.nodes[last].outputs[0], nodes, (), call.place),
        )  # fmt: skip


def _rope_behind(wiring: Wiring, name: str, ropes: dict[str, int]) -> int | None:
    for candidate in (name, *(n for n, _ in wiring.chain(name, (*VIEWS, "mul", "copy")))):
        if candidate in ropes:
            return ropes[candidate]
    return None


def find_activations(mapping: Mapping) -> None:
    """GELU and SiLU written in arithmetic, and gates: an activation times another tensor."""
    wiring = mapping.wiring
    for i, node in enumerate(wiring.nodes):
        if node.op in ("gelu", "silu") and mapping.is_open(i):
            _activation(mapping, (i,), node.inputs[0], i)
        elif node.op == "sigmoid" and mapping.is_open(i):
            product = wiring.only_reader(node.outputs[0])
            if (
                product is not None
                and wiring.nodes[product].op == "mul"
                and node.inputs[0] in wiring.nodes[product].inputs
            ):
                _activation(mapping, (i, product), node.inputs[0], product)
        elif node.op in ("erf", "tanh") and mapping.is_open(i):
            _gelu(mapping, i)


def _gelu(mapping: Mapping, i: int) -> None:
    """x/2 (1 + erf(x / sqrt 2)), or the same with the tanh of a cubic."""
    wiring = mapping.wiring
    name, inside, source = wiring.nodes[i].outputs[0], {i}, ""
    before: set[int] = set()
    waiting = list(wiring.nodes[i].inputs)
    while waiting and len(before) < 10:
        tensor = waiting.pop()
        made = wiring.maker.get(tensor)
        # The cubic, and the scale, as long as only this reads them.
        readers = set(wiring.readers.get(tensor, ()))
        if made is None or wiring.nodes[made].op not in _UNARY or not readers <= {i, *before}:
            source = source or tensor
            if tensor != source:
                return
            continue
        before.add(made)
        waiting += [n for n in wiring.nodes[made].inputs if n and not wiring.is_constant(n)]
    last, multiplied = None, False
    for _ in range(4):
        reader = wiring.only_reader(name)
        if reader is None or wiring.nodes[reader].op not in ("add", "mul") or not source:
            break
        others = [n for n in wiring.nodes[reader].inputs if n and n != name and not wiring.is_constant(n)]
        halves = [n for n in others if n == source or _scaled_from(wiring, n, source)]
        if others != halves or (wiring.nodes[reader].op == "add" and others):
            break
        inside.add(reader)
        multiplied = multiplied or bool(halves)
        inside.update(j for n in halves if n != source and (j := wiring.maker.get(n)) is not None)
        name, last = wiring.nodes[reader].outputs[0], reader
    if last is not None and multiplied:
        _activation(mapping, tuple(sorted({*before, *inside})), source, last)


def _scaled_from(wiring: Wiring, name: str, source: str) -> bool:
    node = wiring.node_of(name)
    return node is not None and node.op in ("mul", "div") and source in node.inputs


def _activation(mapping: Mapping, nodes: tuple[int, ...], source: str, last: int) -> None:
    wiring = mapping.wiring
    if not mapping.is_open(*nodes):
        return
    result = wiring.nodes[last].outputs[0]
    inputs = [source]
    gate, read, between = wiring.onward(result)
    if gate is not None and wiring.nodes[gate].op == "mul" and mapping.is_open(gate):
        others = [n for n in wiring.nodes[gate].inputs if n and n != read and not wiring.is_constant(n)]
        if len(others) == 1 and wiring.shape(others[0]) == wiring.shape(read):
            nodes, last = (*nodes, *between, gate), gate
            inputs.append(others[0])
            result = wiring.nodes[gate].outputs[0]
    rows, cols = rows_and_cols(wiring.tensor(result))
    node = wiring.nodes[nodes[0]]
    sizes = {"rows": rows, "cols": cols, "gated": float(len(inputs) > 1)}
    dtype = compute_dtype(wiring.tensor(result).dtype)
    place = node.place or node.name
    mapping.add(last, Call(f"{place}.activation", "activation", sizes, dtype, tuple(inputs), result, nodes, (), place))
