"""From calls to a dataflow: names that people can write in rules, dependencies, and sizes of one sample."""

from __future__ import annotations

import re
from collections.abc import Mapping as Table
from dataclasses import dataclass

from hardware_specs.errors import InputError, clipped
from workloads.importing.calls import LOST, Call, Mapping
from workloads.lowering.dataflow_record import DataflowInput, DataflowOperator
from workloads.lowering.sized import SIZES, scaled_size

_PLAIN = re.compile(r"[^A-Za-z0-9_.@-]+")
_LONGEST = 120
_MOST_REASONS = 3


@dataclass(frozen=True)
class Flow:
    """Operators and inputs of a dataflow, operators by the place of their last node, and what is to be known of it."""

    operators: tuple[DataflowOperator, ...]
    inputs: tuple[DataflowInput, ...]
    names: Table[int, str]
    notes: tuple[str, ...]


def plain_name(text: str) -> str:
    """``text`` as a name of letters, digits and "._@-"."""
    return _PLAIN.sub("_", text).strip("._")[-_LONGEST:] or "operator"


def _why_not(mapping: Mapping) -> str:
    """Reasons why nodes were not mapped, each once with the first node that it is about."""
    nodes = mapping.wiring.program.nodes
    found: dict[str, str] = {}
    for i in sorted(i for i, (state, _) in mapping.states.items() if state == LOST):
        found.setdefault(mapping.states[i][1], plain_name(nodes[i].source))
    words = [f"{clipped(why)} ({source})" for why, source in list(found.items())[:_MOST_REASONS]]
    more = len(found) - len(words)
    return "; ".join([*words, *([f"and {more} other reasons"] if more > 0 else [])]) or "no input decides what it makes"


def flow_of(mapping: Mapping, batch: int, other: Mapping | None, ratio: int) -> Flow:
    """The calls of ``mapping`` as operators.

    Args:
        batch: samples that the program is bound to.
        other: the same program at ``ratio`` times as many samples: what grows as much is per sample, what does not is
            per step; None where the file fixes the batch, which is one sample then.

    Raises:
        InputError: nothing could be mapped.
    """
    if not mapping.calls:
        raise InputError(f"nothing in this model could be mapped to an operator: {_why_not(mapping)}")
    names = _names(mapping)
    inputs = _inputs(mapping, set(names.values()))
    results = {call.result: names[last] for last, call in mapping.calls.items()}
    owners = {i: names[last] for last, call in mapping.calls.items() for i in call.nodes}
    fixed: list[str] = []
    operators = []
    for last in sorted(mapping.calls):
        call = mapping.calls[last]
        twin = None if other is None else other.calls.get(last)
        sizes, per_step = _per_sample(call, twin, batch, ratio) if other is not None else (call.sizes, False)
        if per_step:
            fixed.append(names[last])
        optional = SIZES[call.kind][1]
        shown = {name: value for name, value in sizes.items() if value != optional.get(name)}
        sources = _sources(mapping, call, results, owners, inputs)
        operators.append(
            DataflowOperator(
                names[last],
                call.kind,  # type: ignore[arg-type]
                sources,
                dtype=call.dtype,
                sizes=shown,
                per_step=per_step,
                parameter=False,
            )
        )
    read = {name for o in operators for name in o.inputs}
    used = {tensor: entry for tensor, entry in inputs.items() if entry.name in read}
    notes: tuple[str, ...] = ()
    if fixed:
        notes = (f"{len(fixed)} operators do not grow with the batch and are of a whole step: {', '.join(fixed[:5])}",)
    return Flow(tuple(operators), tuple(used.values()), names, notes)


def _per_sample(call: Call, twin: Call | None, batch: int, ratio: int) -> tuple[dict[str, float], bool]:
    """Sizes of one sample; or those of the step, where they do not grow in proportion."""
    grows = scaled_size(call.kind)
    if twin is None or twin.kind != call.kind or twin.sizes.keys() != call.sizes.keys():
        return call.sizes, True
    others = all(twin.sizes[name] == value for name, value in call.sizes.items() if name != grows)
    size = call.sizes.get(grows, 1.0)
    if others and twin.sizes.get(grows, 1.0) == ratio * size:
        each = size / batch
        least = each if each >= 1.0 or grows not in call.sizes else 0.0
        return (call.sizes | {grows: least}, False) if least else (call.sizes, True)
    return call.sizes, True


def _names(mapping: Mapping) -> dict[int, str]:
    """A name of its own for every call."""
    taken: dict[str, int] = {}
    found: dict[int, str] = {}
    for last in sorted(mapping.calls):
        name = plain_name(mapping.calls[last].name)
        taken[name] = taken.get(name, 0) + 1
        while taken[name] > 1:
            name = f"{name}.{taken[name]}"
            taken[name] = taken.get(name, 0) + 1
        found[last] = name
    return found


def _inputs(mapping: Mapping, taken: set[str]) -> dict[str, DataflowInput]:
    """Inputs of the model, with names that no operator has."""
    found: dict[str, DataflowInput] = {}
    for tensor in mapping.wiring.program.inputs:
        name = plain_name(tensor)
        while name in taken:
            name += ".input"
        taken.add(name)
        shape = mapping.wiring.shape(tensor)
        rows = 1
        for size in shape[1:-1]:
            rows *= max(size, 1)
        found[tensor] = DataflowInput(name, max(shape[-1], 1) if len(shape) > 1 else 1, rows)
    return found


def _sources(
    mapping: Mapping, call: Call, results: Table[str, str], owners: Table[int, str], inputs: Table[str, DataflowInput]
) -> tuple[str, ...]:
    """Names of the operators and inputs whose results ``call`` reads, views and nodes without operator passed over."""
    wiring = mapping.wiring
    inside = set(call.nodes)
    waiting = [n for i in call.nodes for n in wiring.nodes[i].inputs if n]
    found: list[str] = []
    seen: set[str] = set()
    while waiting:
        name = waiting.pop(0)
        if name in seen or wiring.is_constant(name):
            continue
        seen.add(name)
        made = wiring.maker.get(name)
        if name in inputs:
            found.append(inputs[name].name)
        elif name in results and (made is None or made not in inside):
            found.append(results[name])
        elif made is not None and made not in inside:
            if made in owners:
                found.append(owners[made])
            else:
                waiting += [n for n in wiring.nodes[made].inputs if n]
    return tuple(dict.fromkeys(found))
