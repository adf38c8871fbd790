"""``silicost deploy``: the launch settings of a plan, each traceable to the result that it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hardware_specs.errors import InputError, UnknownName
from silicost.commands import flags
from silicost.output import Format, print_json, print_rows, write_out

RUNTIMES = ("vllm", "sglang", "trtllm", "torchrun")


def deploy(
    result: Annotated[
        str,
        typer.Argument(help="result.json, or JSON of recommend, simulate, train --search.", metavar="RESULT.json"),
    ],
    runtime: Annotated[str, typer.Option("--runtime", help="vllm, sglang, trtllm or torchrun.")],
    framework: Annotated[str, typer.Option("--framework", help="Under torchrun: megatron or torchtitan.")] = "megatron",
    row: Annotated[int, flags.number("--row", "Which result of several, from 1.")] = 1,
    checkpoint: Annotated[str, typer.Option("--checkpoint", help="Served in place of the model's own.")] = "",
    model: Annotated[str, typer.Option("--model", help="Of a row of train --search: as it was asked.")] = "",
    device: Annotated[str, typer.Option("--device", help="Of a row of train --search: as it was asked.")] = "",
    global_batch: Annotated[int, flags.number("--global-batch", "Of a row of train --search.")] = 0,
    seq_len: Annotated[int, flags.number("--seq-len", "Of a row of train --search.")] = 0,
    dtype: Annotated[str, typer.Option("--dtype", help="Of a row of train --search.")] = "",
    predicted: Annotated[
        str, typer.Option("--predicted-under", help="Of a row of train --search: its runtime in the catalogue.")
    ] = "",
    out: Annotated[str, typer.Option("--out", help="File of the script; else it is printed.", metavar="FILE")] = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:  # fmt: skip
    """Write what starts a plan: vllm serve, SGLang, TensorRT-LLM, or torchrun with Megatron-LM or torchtitan."""
    from hardware_specs.files import write_text
    from silicost.deploy.chosen import read_chosen
    from silicost.deploy.servers import server_launch
    from silicost.deploy.trainers import FRAMEWORKS, training_launch

    if runtime not in RUNTIMES:
        raise UnknownName("runtime", runtime, RUNTIMES, f"allowed: {', '.join(RUNTIMES)}", "--runtime")
    if framework not in FRAMEWORKS:
        raise UnknownName("framework", framework, FRAMEWORKS, f"allowed: {', '.join(FRAMEWORKS)}", "--framework")
    if framework != "megatron" and runtime != "torchrun":
        raise InputError(f"--framework {framework}: only --runtime torchrun has one")
    asked = {
        "model": model, "device": device, "global_batch": global_batch, "seq_len": seq_len, "dtype": dtype,
        "runtime": predicted,
    }  # fmt: skip
    chosen = read_chosen(Path(result), row, asked)
    trains = runtime == "torchrun"
    launch = training_launch(framework, chosen) if trains else server_launch(runtime, chosen, checkpoint)
    if out:
        write_text(Path(out), launch.text)
    if format is Format.JSON:
        print_json(launch.as_json())
    elif format is Format.CSV:
        print_rows([each._asdict() for each in launch.settings], format)
    elif not out:
        write_out(launch.text)
