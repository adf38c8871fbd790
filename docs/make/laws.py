"""The page of all laws: their equations and references, every parameter, and the errors that calibrations carry."""

from __future__ import annotations

import importlib
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator

from hardware_specs.calibrations import calibration_names, calibrations_of
from hardware_specs.devices import device_names, load_device
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
ELSEWHERE = {
    "Joining the parts of an operator": "simulator.kernels.roofline",
    "Systolic arrays": "simulator.devices.systolic_cycles",
    "Collectives": "simulator.kernels.collectives",
    "Oversubscribed networks": "simulator.network.leaves",
    "Exchanges that share links": "simulator.network.contention",
    "Power and energy": "simulator.kernels.power",
    "Training steps": "simulator.steps.train_step",
    "Pipelines": "simulator.steps.pipeline",
    "Serving": "simulator.kernels.serving",
    "Speculative decoding": "simulator.kernels.speculation",
    "Intervals": "simulator.uncertainty.intervals",
}
"""What is computed beside single operators: title and module."""

HEAD = """# Laws

Made from the code by `python docs/make/write.py`: the equations and references as they stand in the modules that
compute them, every parameter with its unit and range, and the errors that shipped calibrations carry.
[Physics](physics.md) tells how the parts fit together.

A *prior* is a function of the datasheet, shown for one device of the class. A parameter with a range can be moved by a
fit; one without is left alone.
"""


def page() -> str:
    """The page."""
    return "".join([HEAD, *(_law(each) for each in DEVICE_CLASSES), *_elsewhere(), *_errors()])


UNITS = {"number": "1", "bytes_per_s": "B/s", "flops": "FLOP/s", "bytes": "B", "w": "W"}


def _law(device_class: str) -> str:
    law, example = law_of(device_class), EXAMPLES[device_class]
    device = load_device(example)
    rows = [
        f"| `{each.name}` | {UNITS.get(each.dimension, each.dimension)} | {each.prior(device):.4g} | {_range(each)} | "
        f"{', '.join(each.families)} | {each.meaning} |"
        for each in law.parameters
    ]
    parts = [f"\n## {device_class.upper()}\n\nWhat counts: {law.reference}.\n"]
    for name in FILES[device_class]:
        parts.append(f"\n### `simulator/devices/{name}.py`\n\n{_doc(f'simulator.devices.{name}')}\n")
    head = [f"| parameter | unit | prior, {example} | range | moved by | meaning |", "|---|---|---|---|---|---|"]
    return "\n".join(["".join(parts), f"### Parameters of {device_class} devices\n", *head, *rows, ""])


def _range(parameter: Parameter) -> str:
    return f"{parameter.low:.4g} to {parameter.high:.4g}" if parameter.free else ""


def _doc(module: str) -> str:
    """The docstring of a module as Markdown: what follows ``::`` and what is indented is code."""
    text = inspect.cleandoc(importlib.import_module(module).__doc__ or "")
    return re.sub(r"::$", ":", text.replace("``", "`"), flags=re.M)


def _elsewhere() -> Iterator[str]:
    for title, module in ELSEWHERE.items():
        yield f"\n## {title}\n\n`{module.replace('.', '/')}`\n\n{_doc(module)}\n"


MEASURED = """
## Measured errors

What is not a single operator, with the page that has its measured error and the command that prints it; `TABLES` are files or
folders of measurements ([points files](points_files.md)). The figures that ship are scored by `silicost validate` alone.

| what | measured error | command |
|---|---|---|
| operators on devices of which nothing was measured | [accuracy](accuracy.md#single-operators) | `python benchmarks/fit_operators.py TABLES` |
| collectives | [accuracy](accuracy.md#single-operators) | `silicost validate TABLES --kind ops --group-by source,device,op` |
| systolic arrays against RTL | [physics](physics.md#systolic-arrays) | `python benchmarks/systolic_rtl.py TABLE` |
| inference, power | [accuracy](accuracy.md#runs) | `silicost validate TABLES --kind inference --group-by device_class,fitted` |
| training steps, their memory, the order of plans | [accuracy](accuracy.md#runs) | `silicost validate TABLES --kind training --group-by device_class,fitted` |
| serving | [validation](validation.md#serving-runs-of-a-server) | `python benchmarks/serving_accuracy.py TABLES` |
| speculative decoding | [speculation](serving_speculation.md#against-published-gains) | a test: `tests/simulator/serving/test_speculation.py` |
| intervals: coverage, width | [accuracy](accuracy.md) | the columns `in 80%`, `in 95%`, `score` of `silicost validate` |

The shipped calibrations, by class and kind of operator: the mean error on groups of rows that were held out, over entries, rows
counting alike. `silicost calibrations list` prints every entry.

| class | operators | devices | rows held out | mean error |
|---|---|---|---|---|
"""  # noqa: E501


def _errors() -> Iterator[str]:
    """What calibrations say of rows that no fit saw, by class and kind of operator."""
    yield MEASURED
    found: dict[tuple[str, str], list[tuple[str, int, float]]] = defaultdict(list)
    for name in calibration_names():
        for entry in calibrations_of(name) if name in device_names() else ():
            left = entry.held_out
            if left and len(entry.operators) < 4:
                kind = (load_device(name).device_class, ", ".join(entry.operators))
                found[kind].append((name, left.rows, left.mape))
    for (device_class, operators), entries in sorted(found.items()):
        rows = sum(count for _, count, _ in entries)
        mean = sum(count * error for _, count, error in entries) / rows
        devices = len({name for name, _, _ in entries})
        yield f"| {device_class} | {operators} | {devices} | {rows:,} | {100 * mean:.1f}% |\n"
