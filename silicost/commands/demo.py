"""``silicost demo``: the main job on every device class, in one report."""

from __future__ import annotations

import typer

from silicost.commands import flags

MODEL = "llama-3.1-8b"
DEVICES = ("xeon-6980p", "h100-sxm-80gb", "tpu-v6e", "alveo-v80", "trainium2")
"""One of each class: server CPU, GPU, TPU chip, FPGA card, ASIC."""
MIXED = "prefill-gpu-decode-tpu"
"""The shipped scenario whose system and placement answer the same question."""
BATCH, ISL, OSL, WEIGHTS = 4, 1024, 128, "int8"
"""The one question of all inference rows. The TPU v5e of the mixed system holds an 8B model in 8 bits only, and the
FPGA is four times as fast in int8 as in 16 bits, so all of them use int8 weights."""

LEAD = (
    f"An 8B model answers the same {BATCH} prompts of {ISL} tokens with {OSL} tokens each, in {WEIGHTS} weights "
    "everywhere: on one device of each class, and with its prefill on a GPU and its decode on a TPU. Then it is "
    "trained for a step in bf16 on eight GPUs. Every number is a prediction with its 80% interval."
)


def demo(out: flags.Out = "runs/demo") -> None:
    """An 8B model on one device of each class, on a mixed GPU + TPU system, and a training step; writes a report."""
    from pathlib import Path

    import msgspec
    from rich.console import Console
    from rich.progress import Progress

    from silicost.answer import summary, write_files
    from silicost.output import Format, print_rows
    from silicost.scenario_file import load_scenario
    from silicost.scenarios import inference_scenario, training_scenario
    from simulator.scenario import Formats
    from simulator.simulate import simulate

    scenarios = [
        inference_scenario(MODEL, device, batch=BATCH, isl=ISL, osl=OSL, weight_dtype=WEIGHTS) for device in DEVICES
    ]
    mixed, work = load_scenario(MIXED)[0], scenarios[0].workload
    formats = Formats(weight=WEIGHTS)
    pools = tuple(msgspec.structs.replace(pool, formats=formats) for pool in mixed.pools)
    scenarios.append(msgspec.structs.replace(mixed, workload=work, pools=pools))
    scenarios.append(
        training_scenario(
            MODEL, "h100-sxm-80gb", tp=8, runtime="megatron-core-2025",
            global_batch=32, micro_batch=1, seq_len=4096, recompute="selective",
        )
    )  # fmt: skip
    results = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        job = progress.add_task("simulating", total=len(scenarios) + 1)
        for scenario in scenarios:
            progress.update(job, description=f"simulating {scenario.pools[-1].device.id}")
            results.append(simulate(scenario, timeline=True))
            progress.advance(job)
        progress.update(job, description="drawing the report")
        folder = Path(out or "")
        write_files(folder, results, "One model on five device classes", LEAD)
        progress.advance(job)
    print_rows([summary(result) for result in results], Format.TABLE)
    typer.echo(f"report: {folder / 'report.html'}", err=True)
