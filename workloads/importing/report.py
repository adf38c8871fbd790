"""What became of every node of an imported model, and how much of its work and parameters is covered."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from workloads.importing.calls import FREE, LOST, Call, Mapping
from workloads.importing.flow import Flow, plain_name
from workloads.importing.program import Node
from workloads.importing.wiring import Wiring
from workloads.lowering.sized import sized_operator, weights_of


@dataclass(frozen=True)
class Report:
    """Rows of nodes and totals.

    ``nodes``: name, what the file calls the operator, module, outcome ("mapped", "fused", "free", "not mapped"), the
    operator that it became part of, why, and its matrix FLOPs and bytes. ``totals``: see ``report_of``.
    """

    nodes: tuple[dict[str, Any], ...]
    totals: dict[str, float]
    notes: tuple[str, ...]


def node_flops(wiring: Wiring, node: Node) -> float:
    """Matrix FLOPs of one node by the shapes of its tensors, attention in full, as ``torch.utils.flop_counter``
    counts them; 0 where there are none or the shapes are not known."""
    out = wiring.tensor(node.outputs[0]).elements if node.outputs else 0.0
    if node.op == "product":
        return 2.0 * out * float(node.attributes["k"])
    if node.op == "grouped_product":
        return 2.0 * out * (wiring.shape(node.inputs[0]) or (0,))[-1]
    if node.op == "convolution":
        held = wiring.tensor(node.inputs[1])
        return 2.0 * out * held.elements / max((held.shape or (1,))[0], 1)
    if node.op == "attention":
        q, k, v = (wiring.shape(name) for name in node.inputs[:3])
        heads = node.attributes.get("heads")
        if heads and len(q) == len(k) == len(v) == 3:
            share = v[2] / float(node.attributes.get("kv_heads") or heads) * float(heads)
            return 2.0 * q[0] * q[1] * k[1] * (q[2] + share)
        if len(q) == len(k) == len(v) == 4:
            return 2.0 * math.prod(q[:3]) * k[2] * (q[3] + v[3])
    return 0.0


def call_flops(call: Call) -> float:
    """Matrix FLOPs of a call, attention in full."""
    if call.kind == "attention":
        s = call.sizes
        return 2.0 * s["batch"] * s["heads"] * s["q_len"] * s["kv_len"] * (s["head_dim"] + s["value_dim"])
    return sized_operator(call.name, call.kind, call.sizes, call.dtype, 1.0).flops


def report_of(mapping: Mapping, flow: Flow) -> Report:
    """The report on ``mapping``, whose names are those of ``flow``.

    Totals: nodes by outcome; ``node_flops``, matrix FLOPs by the shapes of the nodes (constants left out), and
    ``operator_flops``, those of the operators that they became, both with attention in full; ``flops``, with causal
    attention as it is computed; shares of FLOPs and bytes that are covered; ``parameters``, values of all weights in
    the file, ``operator_parameters``, those that operators and look-up tables hold, each weight once, and
    ``parameters_by_sizes`` those that the sizes of the operators give (norms folded into convolutions left out, shared
    weights each time).
    """
    wiring, program = mapping.wiring, mapping.wiring.program
    shown = {call.name: flow.names[last] for last, call in mapping.calls.items()}
    owner = {i: flow.names[last] for last, call in mapping.calls.items() for i in call.nodes}
    rows = []
    for i, node in enumerate(program.nodes):
        state, why = mapping.states[i]
        constant = i in wiring.constant_nodes
        rows.append({
            "node": plain_name(node.name), "operator": plain_name(node.source),
            "module": plain_name(node.place) if node.place else "",
            "outcome": state, "into": owner.get(i, shown.get(why, "") if state not in (FREE, LOST) else ""),
            "why": why if state in (FREE, LOST) else "",
            "flops": 0.0 if constant else node_flops(wiring, node),
            "bytes": 0.0 if state == FREE else _bytes(wiring, node),
        })  # fmt: skip
    return Report(tuple(rows), _totals(mapping, rows), _notes(mapping, flow, rows))


def _bytes(wiring: Wiring, node: Node) -> float:
    """Bytes of what a node reads and writes, each tensor once."""
    return math.fsum(wiring.tensor(name).bytes for name in dict.fromkeys((*node.inputs, *node.outputs)) if name)


def _totals(mapping: Mapping, rows: list[dict[str, Any]]) -> dict[str, float]:
    outcomes = {
        name: float(sum(row["outcome"] == name for row in rows)) for name in ("mapped", "fused", "free", "not mapped")
    }
    flops, size = (math.fsum(row[key] for row in rows) for key in ("flops", "bytes"))
    covered = [row for row in rows if row["outcome"] != LOST]
    calls = mapping.calls.values()
    program = mapping.wiring.program
    weights = {w for call in calls for w in call.weights if w in program.weights}
    # Tables that are looked up once, before the model runs, are held all the same.
    held = weights | {
        w for i in mapping.wiring.constant_nodes for w in mapping.wiring.nodes[i].inputs if w in program.weights
    }
    return {
        "nodes": float(len(rows)), **{f"nodes_{name.replace(' ', '_')}": n for name, n in outcomes.items()},
        "operators": float(len(calls)),
        "node_flops": flops,
        "operator_flops": math.fsum(call_flops(call) for call in calls),
        "flops": math.fsum(sized_operator(c.name, c.kind, c.sizes, c.dtype, 1.0).flops for c in calls),
        "flops_covered": math.fsum(row["flops"] for row in covered) / flops if flops else 1.0,
        "bytes_covered": math.fsum(row["bytes"] for row in covered) / size if size else 1.0,
        "parameters": program.parameters,
        "operator_parameters": math.fsum(program.tensors[w].elements for w in held),
        "parameters_by_sizes": _tables(mapping, held)
        + math.fsum(weights_of(c.kind, c.sizes) for c in calls if c.weights),
    }  # fmt: skip


def _tables(mapping: Mapping, held: set[str]) -> float:
    """Values of the weights that rows are looked up in."""
    wiring = mapping.wiring
    looked_up = {wiring.weight_of(n.inputs[0]) for n in wiring.nodes if n.inputs and n.op in ("embedding", "gather")}
    return math.fsum(wiring.tensor(name).elements for name in looked_up & held)


def _notes(mapping: Mapping, flow: Flow, rows: list[dict[str, Any]]) -> tuple[str, ...]:
    """What the reader should know beside the rows."""
    found = list(flow.notes)
    lost = [row for row in rows if row["outcome"] == LOST]
    if lost:
        kinds = sorted({row["operator"] for row in lost})
        found.append(
            f"{len(lost)} nodes are not mapped ({', '.join(kinds[:8])}): their time is not counted, and FLOPs of "
            "operators that are not known are in no share"
        )
    tables = [call for call in mapping.calls.values() if call.kind == "embedding"]
    size = math.fsum(mapping.wiring.tensor(w).bytes for w in {w for call in tables for w in call.weights})
    if size:
        found.append(
            f"look-up tables of {size:.4g} bytes are read row by row, and are no part of the memory of a dataflow"
        )
    return tuple(found)
