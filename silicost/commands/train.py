"""``silicost train``: one optimizer step."""

from __future__ import annotations

from typing import Annotated

import typer

from silicost.commands import flags
from silicost.output import Format


def train(
    model: flags.Model,
    device: flags.Device,
    global_batch: Annotated[int, flags.number("--global-batch", "Sequences of one optimizer step.")],
    seq_len: Annotated[int, flags.number("--seq-len", "Tokens of a sequence.")],
    micro_batch: Annotated[int, flags.number("--micro-batch", "Sequences of one forward and backward.")] = 1,
    recompute: Annotated[str, typer.Option("--recompute", help="none, selective or full")] = "none",
    lora_rank: Annotated[int, flags.number("--lora-rank", "Train adapters of this rank only; 0: everything.")] = 0,
    count: flags.Count = None,
    tp: flags.Tp = None,
    pp: flags.Pp = 1,
    dp: flags.Dp = 1,
    ep: flags.Ep = 1,
    cp: Annotated[int, flags.number("--cp", "Context parallel ways: devices that share the tokens of a sequence.")] = 1,
    vpp: Annotated[int, flags.number("--vpp", "Pieces of the model on a pipeline stage (interleaved schedule).")] = 1,
    seq_parallel: Annotated[
        bool, typer.Option("--seq-parallel", help="Cut norms and what they keep along the tokens, over tp.")
    ] = False,
    zero: Annotated[int, flags.number("--zero", "Stage of ZeRO, 0 to 3; -1: what the runtime does.")] = -1,
    schedule: Annotated[
        str, typer.Option("--schedule", help="1f1b, interleaved, gpipe, zb-h1, zb-v or dualpipe.")
    ] = "",
    runtime: flags.Runtime = "",
    dtype: flags.Dtype = "bf16",
    system: flags.System = "",
    site: flags.Site = "us-average",
    price: flags.Price = "",
    set: flags.Set = None,
    calibration: flags.Calibration = None,
    out: flags.Out = None,
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Time, memory, energy and dollars of one training step under data, tensor, pipeline and expert parallelism."""
    given = locals()
    from silicost.answer import answer
    from silicost.scenarios import training_scenario

    work = {name: given[name] for name in ("global_batch", "seq_len", "lora_rank")}
    answer(training_scenario(model, device, **work, **flags.hardware_of(given)), format, out)
