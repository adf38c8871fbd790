"""``silicost calibrate next``: the one measurement that would most reduce the chance that a decision flips."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from reports.numbers import cell_of, number
from silicost.commands import flags
from silicost.output import Format, csv_text, print_json, print_table, write_out

if TYPE_CHECKING:
    from silicost.studies.alternatives import Alternatives, Feasible
    from simulator.decisions.advice import Advice, Doubt, Option
    from simulator.decisions.measurements import Measurement

MOST_LINES: Final = 10
"""Measurements and doubts that a table has; JSON has all, CSV all measurements."""
LEAST_SHARE: Final = 0.01
"""A smaller share of the doubt is not shown in a table."""
PROBES: Final = {
    "gemm": "torch.products",
    "attention_prefill": "torch.prefill",
    "attention_decode": "torch.decode",
    "vector": "torch.vector",
}
"""What ``silicost calibrate cpu|gpu --only`` calls the probes of a family."""
FROM_SAMPLES: Final = "silicost calibrate fit SAMPLES.parquet"
LITTLE: Final = 0.01
"""A measurement that lessens a chance by a smaller part of it is not worth a recommendation."""


def next_measurement(
    study: Annotated[
        str, typer.Option("--study", help="Study TOML: a metric, a scenario, axes of alternatives.", metavar="FILE")
    ],
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Which one measurement, on which device, would most reduce the chance that a decision flips."""
    from silicost.answer import warn
    from silicost.studies.alternatives import feasible, load_alternatives
    from simulator.decisions.advice import Alternative, advise
    from simulator.decisions.terms import terms_of
    from simulator.metrics import BY_NAME

    asked = load_alternatives(Path(study))
    found, left_out = feasible(asked)
    sign = -1.0 if BY_NAME[asked.metric].better == "higher" else 1.0
    advice = advise(
        [
            Alternative(
                each.name,
                sign * math.log(_value(each, asked.metric)),
                terms_of(each.scenario, each.result, asked.metric),
            )
            for each in found
        ]
    )
    whole = report_of(asked, found, left_out, advice)
    if format is Format.JSON:
        print_json(whole)
    elif format is Format.CSV:
        write_out(csv_text(whole["measurements"]))
    else:
        _print_tables(asked, found, whole)
    for each in found:
        warn(each.result)


def report_of(
    study: Alternatives, found: list[Feasible], left_out: list[tuple[str, str]], advice: Advice
) -> dict[str, Any]:
    """The advice as plain data: SI numbers, chances and shares as fractions."""
    from simulator.metrics import BY_NAME

    metric = study.metric
    ends = [each.result.intervals[metric] for each in found]
    return {
        "metric": metric,
        "better": BY_NAME[metric].better,
        "title": study.title,
        "alternatives": [
            {"name": each.name, "value": _value(each, metric), "p10": band.p10, "p90": band.p90, "chance_best": best}
            for each, band, best in zip(found, ends, advice.chances, strict=True)
        ],
        "left_out": [{"name": name, "reason": why} for name, why in left_out],
        "chosen": found[advice.chosen].name,
        "rival": None if advice.rival is None else found[advice.rival].name,
        "flip_chance": advice.now.flip,
        "mean_loss": math.expm1(advice.now.regret),
        "measurements": [_of_option(rank, option) for rank, option in enumerate(advice.options, start=1)],
        "after_all": {"flip_chance": advice.after_all.flip, "mean_loss": math.expm1(advice.after_all.regret)},
        "doubts": [_of_doubt(doubt) for doubt in advice.doubts],
        "ratio_sd": {"now": advice.ratio_sd[0], "after_best": advice.ratio_sd[1]},
    }


def _value(each: Feasible, metric: str) -> float:
    value = each.result.metrics[metric]
    assert value is not None
    return value


def _of_option(rank: int, option: Option) -> dict[str, Any]:
    from simulator.decisions.measurements import calibrations_of_family

    made = option.measurement
    return {
        "rank": rank, "device": made.device, "operators": made.family, "runtime": made.runtime,
        "dtype": made.dtype, "shared_sd": made.now.shared, "shared_sd_after": made.after.shared,
        "own_sd": made.now.own, "own_sd_after": made.after.own,
        "assumed_from": len(calibrations_of_family(made.family)), "flip_chance": option.after.flip,
        "mean_loss": math.expm1(option.after.regret), "command": command_for(made),
    }  # fmt: skip


def _of_doubt(doubt: Doubt) -> dict[str, Any]:
    source = doubt.source
    return {
        "device": source.device, "operators": source.family, "runtime": source.runtime, "dtype": source.dtype,
        "entry": source.entry, "share": doubt.share,
    }  # fmt: skip


def command_for(made: Measurement) -> str:
    """What makes a measurement: probes on the device where they run the kernels of its runtime, else timed samples."""
    from simulator.calibration.probes.torch_calls import RUNTIMES

    if made.family == "collective":
        return "silicost calibrate network"
    probed = {str(target): runtime for target, runtime in RUNTIMES.items()}
    if made.family in PROBES and probed.get(made.device_class) == made.runtime:
        return f"silicost calibrate {made.device_class} --only {PROBES[made.family]}"
    return FROM_SAMPLES


def _print_tables(study: Alternatives, found: list[Feasible], whole: dict[str, Any]) -> None:
    cells = [cell_of(each.result, study.metric) for each in found]
    rows = [
        {
            "alternative": row["name"], study.metric: f"{cell.number} {cell.unit}".strip(), "80% from": cell.low,
            "80% to": cell.high, "best with chance": _percent(row["chance_best"]),
        }
        for row, cell in zip(whole["alternatives"], cells, strict=True)
    ]  # fmt: skip
    print_table(rows, study.title)
    write_out(f"\n{_verdict(whole)}\n")
    if whole["measurements"]:
        _print_measurements(whole)
    if whole["rival"] is not None:
        _print_doubts(whole)
    if whole["left_out"]:
        write_out("\n")
        print_table([{"left out": row["name"], "reason": row["reason"]} for row in whole["left_out"]])


def _verdict(whole: dict[str, Any]) -> str:
    """The choice, how sure it is, and what to do next, in a few sentences."""
    if whole["rival"] is None:
        return f"choose {whole['chosen']}: no other alternative can be run, nothing can flip it"
    choice = (
        f"choose {whole['chosen']}: with a chance of {_percent(whole['flip_chance'])} another one is the best, most "
        f"likely {whole['rival']} (mean loss {_percent(whole['mean_loss'])})"
    )
    worth = (1.0 - LITTLE) * whole["flip_chance"]
    every = f"all that could be made: to {_percent(whole['after_all']['flip_chance'])}"
    if not whole["measurements"] and whole["after_all"]["flip_chance"] >= worth:
        return f"{choice}\nno measurement of operators would lessen that chance"
    if not whole["measurements"] or whole["measurements"][0]["flip_chance"] > worth:
        return f"{choice}\nno single measurement of operators lessens that chance much; {every}"
    best = whole["measurements"][0]
    return (
        f"{choice}\nmeasure {best['operators']} on {best['device']} next ({best['command']}): it lessens that chance "
        f"to {_percent(best['flip_chance'])}; {every}"
    )


def _print_measurements(whole: dict[str, Any]) -> None:
    shown = whole["measurements"][:MOST_LINES]
    rows = [
        {
            "measure": row["operators"], "device": row["device"], "runtime": row["runtime"], "dtype": row["dtype"],
            "sd": f"{row['shared_sd']:.2f}->{row['shared_sd_after']:.2f}",
            "own sd": f"{row['own_sd']:.2f}->{row['own_sd_after']:.2f}", "flips": _percent(row["flip_chance"]),
            "loss": _percent(row["mean_loss"]), "on that machine": row["command"],
        }
        for row in shown
    ]  # fmt: skip
    write_out("\n")
    print_table(rows)
    more = len(whole["measurements"]) - len(shown)
    write_out(f"(and {more} more: see --format json)\n" if more > 0 else "")
    bases = {row["operators"]: row["assumed_from"] for row in shown if row["assumed_from"]}
    counted = ", ".join(f"{count} of {family}" for family, count in bases.items())
    write_out(
        "sd: of the log error that operators share, now->after; own sd: of what is each operator's own. What they "
        f"are after it\nis assumed: the median of the calibrations there are{f' ({counted})' if counted else ''}.\n"
    )
    if len(whole["alternatives"]) > 2:
        write_out("chances of more than two alternatives are counted at points: good to about one in a hundred.\n")
    if any(row["command"] == FROM_SAMPLES for row in shown):
        from simulator.calibration.probes.torch_calls import RUNTIMES

        probed = " and ".join(f"{runtime} on a {target.upper()}" for target, runtime in RUNTIMES.items())
        write_out(f"SAMPLES.parquet: operators timed under that runtime; silicost itself measures {probed}.\n")


def _print_doubts(whole: dict[str, Any]) -> None:
    """What the ratio of the two likeliest alternatives owes to each source."""
    now, then = (_percent(math.expm1(whole["ratio_sd"][name])) for name in ("now", "after_best"))
    after = f", by {then} after the first measurement; then" if whole["measurements"] else ";"
    write_out(
        f"\nthe ratio of {whole['chosen']} to {whole['rival']} is unsure by {now}{after} it owes its variance to\n"
    )
    rows = [
        {
            "unsure": row["operators"], "device": row["device"], "runtime": row["runtime"], "dtype": row["dtype"],
            "rests on": row["entry"] or "class prior", "share": _percent(row["share"]),
        }
        for row in whole["doubts"][:MOST_LINES]
        if row["share"] >= LEAST_SHARE
    ]  # fmt: skip
    if rows:
        print_table(rows)


def _percent(share: float) -> str:
    """A share with three digits."""
    return f"{number(100.0 * share)}%"
