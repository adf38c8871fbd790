"""``silicost recommend``: which hardware suits a workload, and why the others do not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hardware_specs.errors import DoesNotFit, InputError
from silicost.commands import flags
from silicost.output import Format, csv_text, print_json, write_out

Text = Annotated[str, typer.Option(metavar="A,B")]


def recommend(
    context: typer.Context,
    workload: Annotated[
        str, typer.Option("--workload", help="TOML of [[workload]] tables with these flags as keys.", metavar="FILE")
    ] = "",
    model: flags.Model = "",
    slo: Annotated[
        str, typer.Option("--slo", help="What must hold: 'ttft_s<0.5,tpot_s<0.05'; of traffic ttft<0.5@p90.")
    ] = "",
    objective: Annotated[str, typer.Option("--objective", help="usd, energy, latency or throughput.")] = "usd",
    isl: Annotated[int, flags.number("--isl", "Input sequence length, tokens.")] = 0,
    osl: Annotated[int, flags.number("--osl", "Output sequence length, tokens.")] = 0,
    batch: Annotated[int, flags.number("--batch", "Sequences at once; default what suits each device.")] = 0,
    rate: Annotated[float, typer.Option("--rate", help="Of traffic: requests a second.")] = 0.0,
    global_batch: Annotated[int, flags.number("--global-batch", "Of training: sequences of a step.")] = 0,
    seq_len: Annotated[int, flags.number("--seq-len", "Of training: tokens of a sequence.")] = 0,
    lora_rank: Annotated[int, flags.number("--lora-rank", "Of training: rank of adapters.")] = 0,
    dtype: Annotated[str, typer.Option("--dtype", help="Compute formats that are allowed: bf16,fp8.")] = "bf16",
    weight_dtype: Annotated[
        str, typer.Option("--weight-dtype", help="Weight formats that are allowed; default the model's own.")
    ] = "",
    kv_dtype: Annotated[str, typer.Option("--kv-dtype", help="KV cache format.")] = "",
    runtime: flags.Runtime = "",
    count: Annotated[str, typer.Option("--count", help="Numbers of devices to be tried: 1,2,4,8.")] = "",
    most_devices: Annotated[int, flags.number("--most-devices", "Of a replica, where --count says none.")] = 8,
    budget_usd: Annotated[
        str, typer.Option("--budget-usd", help="All devices an hour ('20 USD/h' or 20), or bought ('9000 USD').")
    ] = "",
    budget_w: Annotated[float, typer.Option("--budget-w", help="Rated power of all devices, W.")] = 0.0,
    only: Annotated[str, typer.Option("--only", help="Classes of devices: cpu,gpu,tpu,fpga,asic.")] = "",
    devices: Annotated[str, typer.Option("--devices", help="Devices to look at, by commas; default all.")] = "",
    site: Annotated[
        str, typer.Option("--site", "--region", help="Site: electricity price, PUE, carbon intensity.")
    ] = "us-average",
    prices: Annotated[
        str, typer.Option("--prices", help="rent, or own (purchase over its life); default rent where it is known.")
    ] = "",
    utilisation: Annotated[float, typer.Option("--utilisation", help="Of owned devices: share of hours.")] = 0.6,
    top: Annotated[int, flags.number("--top", "Candidates whose chances are compared.")] = 5,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", help="Folder for recommendation.json, result.json and pages.",
            callback=flags.folder_of("a recommendation"), metavar="FOLDER",
        ),
    ] = None,
    report: Annotated[str, typer.Option("--report", help="Write its page there.", metavar="FILE.html")] = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:  # fmt: skip
    """Rank the devices of the catalogue for a workload under an SLO and a budget, each with its best plan."""
    given = locals()
    from silicost.questions import progress
    from silicost.recommend.answer import json_of
    from silicost.recommend.answer import recommend as answer
    from silicost.recommend.files import load_questions
    from silicost.recommend.output import rows_of, show, write_files, write_report
    from silicost.recommend.question import Question, question_of
    from silicost.recommend.words import verdict

    typed = {
        name: given[name]
        for name in Question.__struct_fields__
        if name in given and str(context.get_parameter_source(name)).endswith("COMMANDLINE")
    }
    asked = load_questions(Path(workload), typed) if workload else (question_of(typed, "recommend"),)
    found = [answer(each, progress(f"devices{f' for {each.name}' if each.name else ''}")) for each in asked]
    if out:
        write_files(Path(out), found, _title(asked))
    if report:
        write_report(Path(report), found, _title(asked))
    if format is Format.JSON:
        whole: list[Any] = [json_of(each) for each in found]
        print_json(whole if workload else whole[0])
    elif format is Format.CSV:
        write_out(csv_text([row for each in found for row in rows_of(each)]))
    else:
        for number, each in enumerate(found):
            write_out("\n" if number else "")
            show(each)
    if not any(each.ranked for each in found):
        raise DoesNotFit("; ".join(verdict(each) for each in found))


def _title(asked: Any) -> str:
    names = [each.name or each.model for each in asked]
    if not names:
        raise InputError("--workload: there is nothing to answer")
    return f"Hardware for {', '.join(names)}"
