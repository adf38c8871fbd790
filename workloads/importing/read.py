"""From a file to an imported model: which reader, at which sizes, as a graph or as an architecture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from hardware_specs.errors import InputError, clipped
from hardware_specs.files import is_file
from workloads.importing.calls import Mapping
from workloads.importing.flow import Flow, flow_of
from workloads.importing.onnx_model import read_onnx
from workloads.importing.program import Binding, Program
from workloads.importing.recognise import recognise
from workloads.importing.report import Report, report_of
from workloads.importing.torch_export import read_torch_export
from workloads.importing.transformers import NoTransformer, architecture_of
from workloads.models.architecture import Architecture

Form = Literal["auto", "graph", "architecture"]
FORMS: Final = ("auto", "graph", "architecture")
READERS: Final[dict[str, Callable[[Path, Binding], Program]]] = {".onnx": read_onnx, ".pt2": read_torch_export}
"""Readers by the ending of a file."""


@dataclass(frozen=True)
class Imported:
    """A model that was read.

    ``architecture`` is None where it is a graph; ``why`` says why it is that. ``batch`` samples are one step of
    ``flow``; ``seq`` is how many tokens attention sees (0: it has none).
    """

    program: Program
    mapping: Mapping
    flow: Flow
    report: Report
    architecture: Architecture | None
    why: str
    batch: int
    seq: int


def import_model(path: Path, binding: Binding, form: Form = "auto") -> Imported:
    """Read an ONNX model or a saved ``torch.export`` program; nothing in it is executed, and weights are not read.

    Args:
        binding: sizes of symbolic dimensions.
        form: "graph": operators one by one; "architecture": a transformer that is known; "auto": this where it fits.

    Raises:
        InputError: another kind of file, a broken or hostile one, a dimension without a size, or no architecture where
            one was asked for.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{clipped(str(path))}: must end in {' or '.join(READERS)}: an ONNX model or torch.export.save"
        )
    if not is_file(path):
        raise InputError(f"{path}: there is no such file")
    program = reader(path, binding)
    # What grows with the batch is found by reading the same program at twice as many samples.
    doubled = reader(path, replace(binding, batch=2 * binding.batch)) if program.symbols else program
    symbolic = doubled.symbols != program.symbols
    mapping = recognise(program)
    flow = flow_of(mapping, binding.batch if symbolic else 1, recognise(doubled) if symbolic else None, 2)
    if not symbolic:
        flow = replace(
            flow, notes=(*flow.notes, "the file fixes the batch: a sample of the scenario is one call of it")
        )
    architecture, why = None, "a graph was asked for"
    if form != "graph":
        try:
            architecture = architecture_of(flow, mapping, path.stem)
            why = "every product has a place in a transformer, whose parameters are those of the file"
        except NoTransformer as reason:
            why = str(reason)
            if form == "architecture":
                raise InputError(f"{path.name}: is no transformer that is known: {reason} (--as graph)") from None
    lengths = [int(call.sizes["q_len"]) for call in mapping.calls.values() if call.kind == "attention"]
    batch = binding.batch if symbolic else 1
    return Imported(program, mapping, flow, report_of(mapping, flow), architecture, why, batch, max(lengths, default=0))
