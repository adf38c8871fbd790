"""``silicost train``: one optimizer step."""

from __future__ import annotations

from typing import Annotated

import typer

from silicost.commands import flags
from silicost.output import Format


def train(
    model: flags.Model,
    device: flags.Device,
    global_batch: Annotated[int, typer.Option("--global-batch", help="Sequences of one optimizer step.")],
    seq_len: Annotated[int, typer.Option("--seq-len", help="Tokens of a sequence.")],
    micro_batch: Annotated[int, typer.Option("--micro-batch", help="Sequences of one forward and backward.")] = 1,
    recompute: Annotated[str, typer.Option("--recompute", help="none, selective or full")] = "none",
    lora_rank: Annotated[int, typer.Option("--lora-rank", help="Train adapters of this rank only; 0: everything.")] = 0,
    count: flags.Count = None,
    tp: flags.Tp = None,
    pp: flags.Pp = 1,
    dp: flags.Dp = 1,
    ep: flags.Ep = 1,
    runtime: flags.Runtime = "",
    dtype: flags.Dtype = "bf16",
    system: flags.System = "",
    site: flags.Site = "us-average",
    price: flags.Price = "",
    set: flags.Set = None,
    out: flags.Out = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Time, memory, energy and dollars of one training step under data, tensor, pipeline and expert parallelism."""
    given = locals()
    from hardware_specs.errors import InputError
    from silicost.answer import answer
    from silicost.scenarios import check_whole, training_scenario

    numbers = {"--global-batch": global_batch, "--micro-batch": micro_batch, "--seq-len": seq_len}
    check_whole(numbers, most=100_000_000)
    if not 0 <= lora_rank <= 100_000:
        raise InputError(f"--lora-rank {lora_rank}: must be a whole number from 0 to 100000")
    work = {name: given[name] for name in ("global_batch", "micro_batch", "seq_len", "recompute", "lora_rank")}
    answer(training_scenario(model, device, **work, **flags.hardware_of(given)), format, out)
