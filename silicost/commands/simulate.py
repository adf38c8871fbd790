"""``silicost simulate``: a static inference batch."""

from __future__ import annotations

from typing import Annotated

from silicost.commands import flags
from silicost.output import Format


def simulate(
    model: flags.Model,
    device: flags.Device,
    isl: Annotated[int, flags.number("--isl", "Input sequence length, tokens.")],
    osl: Annotated[int, flags.number("--osl", "Output sequence length, tokens; 1 for an encoder.")],
    batch: Annotated[int, flags.number("--batch", "Sequences that start together.")] = 1,
    count: flags.Count = None,
    tp: flags.Tp = None,
    pp: flags.Pp = 1,
    dp: flags.Dp = 1,
    ep: flags.Ep = 1,
    runtime: flags.Runtime = "",
    dtype: flags.Dtype = "bf16",
    weight_dtype: flags.WeightDtype = "",
    kv_dtype: flags.KvDtype = "",
    activation_dtype: flags.ActivationDtype = "",
    prune: flags.Prune = "",
    low_rank: flags.LowRank = "",
    sparsity: flags.Sparsity = "",
    quality: flags.Quality = 0.0,
    threads: flags.Threads = 0,
    system: flags.System = "",
    site: flags.Site = "us-average",
    price: flags.Price = "",
    set: flags.Set = None,
    fallback: flags.Fallback = "",
    calibration: flags.Calibration = None,
    out: flags.Out = None,
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Time, memory, energy and dollars of a static batch: BATCH prompts of ISL tokens, OSL tokens out of each."""
    given = locals()
    from silicost.answer import allowed_to_fall_back, answer
    from silicost.scenarios import inference_scenario

    hardware = flags.hardware_of(given)
    scenario = inference_scenario(model, device, batch=batch, isl=isl, osl=osl, **hardware)
    answer(allowed_to_fall_back(scenario, fallback), format, out)
