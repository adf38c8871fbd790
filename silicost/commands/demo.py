"""``silicost demo``: the main job on every device class, in one report."""

from __future__ import annotations

import typer

from silicost.commands import flags

MODEL = "llama-3.1-8b"
DEVICES = (
    ("xeon-6980p", "", "one server CPU"),
    ("h100-sxm-80gb", "", "one GPU"),
    ("tpu-v6e", "", "one TPU chip"),
    ("alveo-v80", "int8", "one FPGA card"),
    ("trainium2", "", "one ASIC"),
)
"""Device, weight format ("" as computed) and words, one of each class."""

LEAD = (
    "An 8B model answers a batch of prompts on one device of each class, then with its prefill on a GPU and its decode "
    "on a TPU, and is trained for a step on eight GPUs. Every number is a prediction with its 80% interval."
)


def demo(out: flags.Out = "runs/demo") -> None:
    """An 8B model on one device of each class, on a mixed GPU + TPU system, and a training step; writes a report."""
    from pathlib import Path

    from rich.console import Console
    from rich.progress import Progress

    from silicost.answer import summary, write_files
    from silicost.output import Format, print_rows
    from silicost.scenario_file import load_scenario
    from silicost.scenarios import inference_scenario, training_scenario
    from simulator.simulate import simulate

    scenarios = [
        inference_scenario(MODEL, device, batch=4, isl=1024, osl=128, weight_dtype=weights)
        for device, weights, _ in DEVICES
    ]
    scenarios.append(load_scenario("prefill-gpu-decode-tpu")[0])
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
