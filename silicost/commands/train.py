"""``silicost train``: one optimizer step, or the search for the plan of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardware_specs.errors import InputError
from silicost.commands import flags
from silicost.output import Format, print_json, print_rows

if TYPE_CHECKING:
    from silicost.plan_search import Found


def train(
    context: typer.Context,
    device: flags.Device,
    model: Annotated[
        str, typer.Option("--model", help="Model name, or path of a model TOML or of a Hugging Face config.json.")
    ] = "",
    global_batch: Annotated[int | None, flags.number("--global-batch", "Sequences of one optimizer step.")] = None,
    seq_len: Annotated[int | None, flags.number("--seq-len", "Tokens of a sequence.")] = None,
    config: Annotated[
        str, typer.Option("--config", help="Arguments of Megatron-LM, NeMo YAML or torchtitan TOML.", metavar="FILE")
    ] = "",
    search: Annotated[
        bool, typer.Option("--search", help="Try every plan on --count devices; flags hold values.")
    ] = False,
    micro_batch: Annotated[int, flags.number("--micro-batch", "Sequences of one forward and backward.")] = 1,
    recompute: Annotated[
        str, typer.Option("--recompute", help="none, selective, full, every:N, layers:N, uniform:N or modules:a,b.")
    ] = "none",
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
    fsdp: Annotated[
        str, typer.Option("--fsdp", help="ZeRO 3 over all replicas, or in groups of N.", metavar="all|N")
    ] = "",
    etp: Annotated[int, flags.number("--etp", "Tensor parallel ways of each expert; 0: tp where ep is 1, else 1.")] = 0,
    cp_comm: Annotated[
        str, typer.Option("--cp-comm", help="Context parallel exchange: p2p (ring), a2a (heads) or all_gather.")
    ] = "p2p",
    stages: Annotated[
        str, typer.Option("--stages", help="Layers of each pipeline stage, 11,12,12,11; balanced: by their time.")
    ] = "",
    overlap: Annotated[
        str, typer.Option("--overlap", help="Exchanges beside the math: all, none or some; default the runtime's.")
    ] = "",
    offload: Annotated[
        str, typer.Option("--offload", help="Off the devices: optimizer, weights, activations; or optimizer:nvme ...")
    ] = "",
    optimizer: Annotated[
        str, typer.Option("--optimizer", help="adamw, adamw-8bit, adafactor, muon, lion, sgd ...")
    ] = "adamw",
    precision: Annotated[
        str, typer.Option("--precision", help="bf16, fp16, fp32, tf32, or a recipe of 8 bits; goes before --dtype.")
    ] = "",
    nodes: Annotated[int | None, flags.number("--nodes", "Nodes; with their devices this is --count.")] = None,
    steps: Annotated[
        int | None, flags.number("--steps", "Also the run of so many steps: stragglers, failures, checkpoints.")
    ] = None,
    straggler: Annotated[
        str, typer.Option("--straggler", help="Slow devices: lognormal:sigma=0.03, slow:share=0.001,factor=1.3 ...")
    ] = "",
    mtbf: Annotated[
        str, typer.Option("--mtbf", help="Mean time between failures of a device; default what is known of it.")
    ] = "",
    checkpoint_interval: Annotated[
        str, typer.Option("--checkpoint-interval", help="Time between checkpoints, or best (the default).")
    ] = "",
    checkpoint_bandwidth: Annotated[
        str, typer.Option("--checkpoint-bandwidth", help="What a node writes; default 2 GB/s, assumed.")
    ] = "",
    checkpoint_async: Annotated[
        bool, typer.Option("--checkpoint-async", help="Checkpoints are copied to the hosts and written from there.")
    ] = False,
    spares: Annotated[
        int | None, flags.number("--spares", "Nodes that stand by for failed ones; default always enough.")
    ] = None,
    runtime: flags.Runtime = "",
    dtype: flags.Dtype = "bf16",
    weight_dtype: flags.WeightDtype = "",
    prune: flags.Prune = "",
    low_rank: flags.LowRank = "",
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
    from silicost.answer import answer, tell
    from silicost.scenarios import training_scenario
    from silicost.training_options import BALANCED, balanced, with_options

    typed = {name for name in given if _typed(context, name)}
    if config:
        given |= _configured(given, typed)
    for name in ("model", "global_batch", "seq_len"):
        if given[name] is None or given[name] == "":
            raise InputError(f"--{name.replace('_', '-')}: must be given (or --config FILE)")
    given = with_options(given)
    work = {name: given[name] for name in ("global_batch", "seq_len", "lora_rank", "optimizer")}
    if search:
        if out:
            raise InputError("--out: a search writes no page; run the plan that it finds without --search")
        if config:
            tell([f"note: {config}: its plan is not held; flags hold values"])
        _search(given, work, typed, format)
        return
    scenario = training_scenario(given["model"], device, **work, **flags.hardware_of(given))
    if stages == BALANCED:
        scenario = balanced(scenario)
    if steps is None:
        for name in LONG_RUN:
            if name in typed:
                raise InputError(f"--{name.replace('_', '-')}: of a run of how many steps? give --steps")
        answer(scenario, format, out)
        return
    from silicost.long_runs import LongRun

    run = LongRun(
        steps, straggler, mtbf, checkpoint_interval, checkpoint_bandwidth, given["checkpoint_async"], spares
    )  # fmt: skip
    answer(scenario, format, out, more=lambda result: run.of(scenario, result))


def _typed(context: typer.Context, name: str) -> bool:
    """Whether a flag stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _configured(given: dict[str, Any], typed: set[str]) -> dict[str, Any]:
    """What a configuration file says, where no flag does.

    Raises:
        InputError: a file that cannot be read, no number of devices, or something that cannot be priced.
    """
    from silicost.answer import tell
    from silicost.training_files import priced
    from silicost.training_options import count_of_nodes
    from workloads.training_configs.read import read_config

    file = given["config"]
    read = read_config(Path(file), model=given["model"])
    devices = count_of_nodes(given) if given["nodes"] is not None else given["count"] or read.devices
    if devices is None:
        raise InputError(f"{file} does not say how many devices there are; give --count or --nodes")
    found = priced(read, devices, {name: given[name] for name in typed}, Path(file).name)
    tell([f"note: {file}: {what}" for what in (*read.assumed, *found.notes)])
    tell([f"note: {each.place}: {each.key} {each.value}: {each.why}" for each in read.left_out if each.why])
    return found.values


def _search(given: dict[str, Any], work: dict[str, Any], typed: set[str], how: Format) -> None:
    """Search the plans, and print those that none beats."""
    from silicost.plan_search import HELD, PINNED, json_of, search_plans
    from silicost.scenarios import training_scenario

    for name in ("stages", "steps", *LONG_RUN):
        if name in typed:
            raise InputError(
                f"--{name.replace('_', '-')}: a search does not hold it; run the plan that it finds without --search"
            )
    if given["count"] is None:
        raise InputError("--search: on how many devices? give --count")
    hardware = flags.hardware_of(given)
    kept = typed | ({"shard"} if given["fsdp"] else set())
    for name in (*PINNED, "stages", *(name for name in HELD if name not in kept)):
        hardware.pop(name, None)
    scenario = training_scenario(given["model"], given["device"], **work, dp=given["count"], tp=1, **hardware)
    pinned: dict[str, Any] = {name: given[name] for name in PINNED if name in typed}
    if given["fsdp"]:
        pinned["zero"] = 3
    found = search_plans(scenario, pinned, held={name for name in HELD if name in typed})
    if how is Format.JSON:
        print_json(json_of(found))
        return
    _tell(found, how)


def _tell(found: Found, how: Format) -> None:
    from reports.numbers import quantity, whole
    from silicost.output import write_out
    from simulator.scenario import Plan

    if how is Format.CSV:
        print_rows([found.row(row) for row in found.front], how)
        return

    def line(row: dict[str, Any]) -> dict[str, str]:
        ways = ("tp", "pp", "dp", "cp", "ep", "vpp", "micro_batch", "zero")
        return {
            "step": quantity(row["step_time_s"], "s"), "memory": quantity(row["memory_bytes"], "bytes"),
            "energy": quantity(row["device_j"], "j"),
            "usd": "-" if row["usd_per_step"] is None else quantity(row["usd_per_step"], "usd"),
            **{name: str(row[name]) for name in ways}, "sequence": "yes" if row["sequence"] else "no",
            "recompute": row["recompute"], "schedule": row["schedule"], "overlap": row["overlap"] or "-",
            "offload": row["offload"] or "-", **{name: str(row[name]) for name in held},
        }  # fmt: skip

    usual, base = Plan(), found.prepared.pool.plan
    held = [name for name in ("etp", "cp_comm", "shard") if getattr(base, name) != getattr(usual, name)]
    front = [line(found.row(row)) for row in found.front]
    print_rows(front[:SHOWN], how)
    feasible = int(found.costs.fits.sum())
    write_out(f"\n{whole(len(found.plans.tp))} plans, {whole(feasible)} fit; {len(front)} are beaten by none in time,")
    write_out(f" memory and energy{f', of which {SHOWN} are shown' if len(front) > SHOWN else ''}\n")
    if found.misses:
        write_out("\nfaster, but too large:\n")
        print_rows([line(found.row(row, found.missed)) for row in found.misses], how)


SHOWN = 12
"""Plans of a front that a table shows."""
LONG_RUN = ("straggler", "mtbf", "checkpoint_interval", "checkpoint_bandwidth", "checkpoint_async", "spares")
"""Flags of a run of --steps."""
