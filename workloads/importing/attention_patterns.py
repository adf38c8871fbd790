"""Attention in programs: the fused operator, and products q k^T and p v with scale, mask and softmax between them."""

from __future__ import annotations

from workloads.importing.calls import Call, Mapping, compute_dtype
from workloads.importing.program import VIEWS
from workloads.importing.wiring import Wiring

_BETWEEN = frozenset({*VIEWS, "add", "mul", "div", "sub", "pointwise", "concat"})
_HELD = frozenset({"attention", "product"})


def find_attention(mapping: Mapping) -> None:
    """Map every attention of the program."""
    wiring = mapping.wiring
    for i, node in enumerate(wiring.nodes):
        if node.op == "attention" and mapping.is_open(i):
            _fused(mapping, i)
        elif node.op == "softmax" and mapping.is_open(i):
            _unfused(mapping, i)


def _fused(mapping: Mapping, i: int) -> None:
    wiring, node = mapping.wiring, mapping.wiring.nodes[i]
    q, k, v = node.inputs[:3]
    shapes = [_by_heads(wiring, name, node.attributes, place) for place, name in enumerate((q, k, v))]
    if any(shape is None for shape in shapes):
        mapping.lose(i, "attention of tensors whose shapes are not known")
        return
    (batch, heads, q_len, head_dim), (_, own, kv_len, _), (_, _, _, value_dim) = [s for s in shapes if s is not None]
    kv_heads = min(own, shared_heads(wiring, k)[0] or own)
    masked = len(node.inputs) > 3 and bool(node.inputs[3])
    causal = bool(node.attributes.get("causal")) or (masked and is_causal_mask(wiring, node.inputs[3]))
    sizes = _sizes(batch, q_len, kv_len, heads, kv_heads, head_dim, value_dim, causal)
    dtype = compute_dtype(wiring.tensor(q).dtype)
    # What repeats shared heads or builds the mask is part of the kernel.
    inner = [place for name in (k, v) for place in shared_heads(wiring, name)[1]]
    nodes = tuple(dict.fromkeys((*(p for p in inner if mapping.is_open(p)), i)))
    place = node.place or node.name
    mapping.add(i, Call(f"{place}.scores", "attention", sizes, dtype, (q, k, v), node.outputs[0], nodes, (), place))


def _by_heads(wiring: Wiring, name: str, attributes: object, place: int) -> tuple[int, int, int, int] | None:
    """Batch, heads, tokens and head width of q (place 0), k or v."""
    shape = wiring.shape(name)
    heads = attributes.get(("heads", "kv_heads", "kv_heads")[place]) if isinstance(attributes, dict) else None
    if len(shape) == 3 and heads:
        return shape[0], int(heads), shape[1], shape[2] // int(heads)
    if len(shape) == 3:
        return 1, shape[0], shape[1], shape[2]
    return (shape[0], shape[1], shape[2], shape[3]) if len(shape) == 4 else None


def _sizes(
    batch: int, q_len: int, kv_len: int, heads: int, kv_heads: int, head_dim: int, value_dim: int, causal: bool
) -> dict[str, float]:
    sizes = {"q_len": q_len, "kv_len": kv_len, "heads": heads, "kv_heads": kv_heads, "head_dim": head_dim}
    sizes |= {"value_dim": value_dim, "causal": int(causal), "batch": batch}
    return {name: float(value) for name, value in sizes.items()}


def _unfused(mapping: Mapping, i: int) -> None:
    """A softmax between two products of activations."""
    wiring, node = mapping.wiring, mapping.wiring.nodes[i]
    before = _product_before(wiring, node.inputs[0])
    after, read, outward = wiring.onward(node.outputs[0], (*VIEWS, "pointwise"))
    if before is None or after is None or wiring.nodes[after].op != "product":
        return
    first, inward = before
    q, k = wiring.nodes[first].inputs[:2]
    values = wiring.nodes[after].inputs
    if values[0] != read or wiring.weight_of(k) or wiring.is_constant(k) or not mapping.is_open(first, after):
        return
    shape, keys, out = wiring.shape(q), wiring.shape(k), wiring.shape(wiring.nodes[after].outputs[0])
    if len(shape) not in (3, 4) or len(out) != len(shape) or len(keys) != len(shape):
        return
    batch, heads = (shape[0], shape[1]) if len(shape) == 4 else _from_flat(wiring, q, shape)
    kv_heads, repeats = shared_heads(wiring, k)
    own = kv_heads if kv_heads and heads % kv_heads == 0 else heads
    causal = any(is_causal_mask(wiring, name) for j in inward for name in wiring.nodes[j].inputs)
    sizes = _sizes(batch, shape[-2], keys[-1], heads, own, shape[-1], out[-1], causal)
    others = (*repeats, *shared_heads(wiring, values[1])[1])
    between = (*others, first, *inward, i, *outward)
    nodes = tuple(dict.fromkeys((*(j for j in between if mapping.is_open(j)), after)))
    place = node.place or wiring.nodes[first].place or node.name.rpartition("/")[0] or node.name
    dtype = compute_dtype(wiring.tensor(q).dtype)
    result = wiring.nodes[after].outputs[0]
    mapping.add(after, Call(f"{place}.scores", "attention", sizes, dtype, (q, k, values[1]), result, nodes, (), place))


def _from_flat(wiring: Wiring, name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Batch and heads of a tensor [batch x heads, tokens, width]: as they were before they were joined."""
    for earlier, _ in wiring.chain(name, (*VIEWS, "mul", "div")):
        wider = wiring.shape(earlier)
        if len(wider) == 4 and wider[0] * wider[1] == shape[0]:
            return wider[0], wider[1]
    return 1, shape[0]


def _product_before(wiring: Wiring, name: str) -> tuple[int, list[int]] | None:
    """The product of activations behind a softmax, and the scale and mask between."""
    between: list[int] = []
    for _ in range(12):
        made = wiring.maker.get(name)
        if made is None:
            return None
        node = wiring.nodes[made]
        if node.op == "product":
            return made, between
        if node.op not in _BETWEEN or node.op == "concat":
            return None
        between.append(made)
        # Of a sum with a mask, or a choice by one, the operand that a product stands behind.
        candidates = [
            n for n in node.inputs if n and not wiring.is_constant(n) and wiring.shape(n) == wiring.shape(name)
        ]
        candidates = candidates or [n for n in node.inputs if n and not wiring.is_constant(n)]
        if not candidates:
            return None
        name = next((n for n in candidates if _leads_to_product(wiring, n)), candidates[0])
    return None


def _leads_to_product(wiring: Wiring, name: str) -> bool:
    for _ in range(8):
        node = wiring.node_of(name)
        if node is None:
            return False
        if node.op == "product":
            return True
        if node.op not in _BETWEEN or not node.inputs:
            return False
        name = next((n for n in node.inputs if n and not wiring.is_constant(n)), "")
    return False


def shared_heads(wiring: Wiring, name: str) -> tuple[int, list[int]]:
    """Heads of keys or values before they are repeated for the query heads that share them (0: they are not), and the
    nodes that repeat them."""
    between: list[int] = []
    widest = wiring.tensor(name).elements
    for earlier, made in wiring.chain(name, (*VIEWS, "copy")):
        between.append(made)
        if wiring.nodes[made].op not in ("repeat", "copy"):
            continue
        small = wiring.tensor(earlier)
        if not 0 < small.elements < widest:
            continue
        for origin in (earlier, *(n for n, _ in wiring.chain(earlier, ("view", "cast")))):
            shape = wiring.shape(origin)
            if len(shape) == 4 and wiring.tensor(origin).elements == small.elements:
                return _heads_in(shape, wiring.shape(name), widest / small.elements), between
    return 0, []


def _heads_in(shape: tuple[int, ...], wide: tuple[int, ...], times: float) -> int:
    """Heads among the axes of ``shape``: axis 1 where it is ``times`` fewer than in ``wide``, else axis 2."""
    heads = (wide[1] if len(wide) == 4 else wide[0]) / times
    return int(heads) if heads in (shape[1], shape[2]) else shape[1]


def is_causal_mask(wiring: Wiring, name: str) -> bool:
    """Whether a mask is made as a triangle: by tril or triu, or by comparing positions with positions."""
    seen: set[str] = set()
    waiting = [name]
    while waiting and len(seen) < 60:
        current = waiting.pop()
        node = wiring.node_of(current)
        if node is None or current in seen or node.op in _HELD:
            continue
        seen.add(current)
        word = node.source.lower().replace("aten.", "").partition(".")[0]
        if word in ("tril", "triu", "trilu"):
            return True
        if word in ("lt", "le", "gt", "ge", "less", "lessorequal", "greater", "greaterorequal"):
            first, second = (_positions(wiring, n) for n in (*node.inputs, "", "")[:2])
            if first and second:
                return True
        waiting += [n for n in node.inputs if n]
    return False


def _positions(wiring: Wiring, name: str) -> bool:
    """Whether a tensor holds positions: made by a range."""
    node = wiring.node_of(wiring.behind(name, (*VIEWS, "add", "sub")))
    return node is not None and node.source.lower().rpartition("aten.")[2].partition(".")[0] in ("arange", "range")
