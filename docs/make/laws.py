"""The page of all laws: their equations and references, every parameter, and their measured errors."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from measured import calibrations, chips, coverage, cycles, energy, long_runs, pipelines, serving, table

from hardware_specs.devices import load_device
from hardware_specs.records import DEVICE_CLASSES
from simulator.devices.registry import Parameter, law_of

EXAMPLES = {
    "cpu": "epyc-9654", "gpu": "h100-sxm-80gb", "tpu": "tpu-v5e", "fpga": "alveo-u280", "asic": "gaudi-2",
}  # fmt: skip
"""The device of a class whose priors are shown."""
FILES = {
    "cpu": ("cpu",), "gpu": ("gpu_products", "gpu_experts", "gpu_attention", "gpu_vector"), "tpu": ("tpu", "systolic"),
    "fpga": ("fpga",), "asic": ("asic", "systolic"),
}  # fmt: skip
"""Modules of ``simulator.devices`` that hold the equations of a class."""
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv")
OPERATORS = {
    "gpu_products": ("gemm", "batched_gemm"),
    "gpu_experts": ("moe_gemm",),
    "gpu_attention": ("attention_prefill", "attention_decode", "mla_prefill", "mla_decode"),
    "gpu_vector": (
        "softmax", "layernorm", "rmsnorm", "gelu", "silu_mul", "add", "mul", "rope", "embedding", "stream_copy",
    ),
}  # fmt: skip
"""Operators that a module prices alone; any other prices all that its class has."""
ALL = tuple(name for names in OPERATORS.values() for name in names)


class Elsewhere(NamedTuple):
    """What is computed beside single operators: the modules with its equations, and its measured error as Markdown."""

    modules: tuple[str, ...]
    error: Callable[[], str]


ELSEWHERE = {
    "Joining the parts of an operator": Elsewhere(
        ("simulator.kernels.roofline",), lambda: "every operator above ends in it, and has those errors.\n"
    ),
    "Systolic arrays": Elsewhere(("simulator.devices.systolic_cycles",), cycles),
    "Collectives": Elsewhere(("simulator.kernels.collectives",), lambda: table(("ops",), DEVICE_CLASSES, COLLECTIVES)),
    "Oversubscribed networks": Elsewhere(
        ("simulator.network.leaves",),
        lambda: (
            "no published table has it. `tests/simulator/network/test_leaves.py` counts every message over every "
            "link of small systems.\n"
        ),
    ),
    "Exchanges that share links": Elsewhere(
        ("simulator.network.contention",),
        lambda: (
            "no published table has it alone. `tests/simulator/network/test_contention.py` holds it equal to "
            "flows on the Fabric of the engine.\n"
        ),
    ),
    "Power and energy": Elsewhere(("simulator.kernels.power",), energy),
    "Training steps": Elsewhere(("simulator.steps.train_step",), lambda: table(("training",), DEVICE_CLASSES)),
    "What lies off the devices": Elsewhere(
        ("simulator.steps.offload",),
        lambda: (
            "no published table has times. Two published claims about what fits hold without a fit "
            "([training](training.md#what-lies-off-the-devices)).\n"
        ),
    ),
    "Pipelines": Elsewhere(("simulator.steps.pipeline",), pipelines),
    "Serving": Elsewhere(("simulator.kernels.serving", "simulator.serving.step_tables"), serving),
    "Speculative decoding": Elsewhere(
        ("simulator.kernels.speculation", "simulator.serving.speculation"),
        lambda: (
            "twelve published gains, [20% in the median]"
            "(serving_speculation.md#against-published-gains), held by `tests/simulator/serving/test_speculation.py`.\n"
        ),
    ),
    "Adapters": Elsewhere(
        ("simulator.serving.adapters",),
        lambda: "one published figure, [4% and 79% above it](serving_adapters.md).\n",
    ),
    "Vector search": Elsewhere(
        ("simulator.serving.search_tables",),
        lambda: (
            "35 published rows, [half of them within 13%](retrieval.md#measured); "
            "`tests/simulator/serving/test_search_published.py` holds it.\n"
        ),
    ),
    "Long runs": Elsewhere(
        ("simulator.goodput.failures", "simulator.goodput.expected", "simulator.goodput.pipelines"), long_runs
    ),
    "Designed chips": Elsewhere(
        ("hardware_specs.accelerators.area", "hardware_specs.accelerators.power", "hardware_specs.accelerators.cost"),
        chips,
    ),
    "Intervals": Elsewhere(("simulator.uncertainty.intervals",), coverage),
}
"""What is computed beside single operators."""

HEAD = """# Laws

Made from the code by `python docs/make/write.py`: the equations and references as they stand in the modules that
compute them, every parameter with its unit and range, and under each law its measured error.
[Physics](physics.md) tells how the parts fit together, [words](words.md) what the terms mean.

A *prior* is a function of the datasheet, shown for one device of the class. A parameter with a range can be moved by a
fit; one without is left alone.

An error is |predicted / measured - 1|. *Published* are the figures that ship, fitted rows among them (`silicost
validate`; recorded by `benchmarks/accuracy.py`). *Held out* and *seen by a fit* are rows of measured tables that do not
ship (recorded by `benchmarks/law_errors.py`): of a row that is held out no fit of its device or runtime saw the group.
The form of the laws was chosen with all of them in sight ([accuracy](accuracy.md)). [Scores](scores.md) has both
records whole.
"""


def page() -> str:
    """The page."""
    return "".join([HEAD, *(_law(each) for each in DEVICE_CLASSES), *_elsewhere(), *calibrations()])


UNITS = {"number": "1", "bytes_per_s": "B/s", "flops": "FLOP/s", "bytes": "B", "w": "W"}


def _law(device_class: str) -> str:
    law, example, name = law_of(device_class), EXAMPLES[device_class], device_class.upper()
    device = load_device(example)
    rows = [
        f"| `{each.name}` | {UNITS.get(each.dimension, each.dimension)} | {each.prior(device):.4g} | {_range(each)} | "
        f"{', '.join(each.families)} | {each.meaning} |"
        for each in law.parameters
    ]
    head = [f"| parameter | unit | prior, {example} | range | moved by | meaning |", "|---|---|---|---|---|---|"]
    parts = [f"\n## {name}\n\nWhat counts: {law.reference}.\n"]
    for file in FILES[device_class]:
        parts.append(_module(f"simulator.devices.{file}"))
        if file in OPERATORS:
            parts.append(f"\n{MEASURED}\n\n{table(('ops',), (device_class,), OPERATORS[file])}")
    if not OPERATORS.keys() & set(FILES[device_class]):
        parts.append(f"\n### {name}: measured error of operators\n\n")
        parts.append(table(("ops",), (device_class,), ALL) or "No operator of this class was measured alone.\n")
    parts.append(f"\n### {name}: measured error of whole runs\n\n")
    parts.append(table(("inference", "training"), (device_class,)))
    return "\n".join(["".join(parts), f"### {name}: parameters\n", *head, *rows, ""])


def _range(parameter: Parameter) -> str:
    return f"{parameter.low:.4g} to {parameter.high:.4g}" if parameter.free else ""


MEASURED = "**Measured error**:"


def _module(module: str) -> str:
    """A module with its docstring, under the subject of its first line."""
    text = _doc(module)
    title = re.split(r"[:,.]", text, maxsplit=1)[0]
    return f"\n### {title}\n\n`{module.replace('.', '/')}.py`\n\n{text}\n"


def _doc(module: str) -> str:
    """The docstring of a module as Markdown: what follows ``::`` and what is indented is code."""
    text = inspect.cleandoc(importlib.import_module(module).__doc__ or "")
    return re.sub(r"::$", ":", text.replace("``", "`"), flags=re.M)


def _elsewhere() -> Iterator[str]:
    for title, each in ELSEWHERE.items():
        yield f"\n## {title}\n"
        for module in each.modules:
            alone = len(each.modules) == 1
            yield f"\n`{module.replace('.', '/')}.py`\n\n{_doc(module)}\n" if alone else _module(module)
        error = each.error()
        gap = " " if error[0].islower() else "\n\n"
        yield f"\n{MEASURED}{gap}{error}"
