"""``silicost serve``: requests that arrive over time on replicas that batch them as real servers do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hardware_specs.errors import DoesNotFit, InputError, UnknownName
from silicost.commands import flags
from silicost.output import Format, print_json, print_rows

if TYPE_CHECKING:
    from silicost.serving import Answer
    from simulator.serving.slo import Slo
    from workloads.traffic.record import Traffic

SHOWN: Final = (
    "requests", "completed", "rejected", "duration_s", "requests_per_s", "output_tokens_per_s",
    "goodput_requests_per_s", "slo_attainment", "utilisation", "running_mean", "waiting_mean", "kv_mean_fraction",
    "kv_peak_fraction", "preemptions", "j_per_output_token", "usd_per_million_output_tokens", "carbon_g", "iterations",
)  # fmt: skip
DIMENSIONS: Final = {
    "duration_s": "s", "j_per_output_token": "j", "usd_per_million_output_tokens": "usd", "carbon_g": "g",
    "output_tokens_per_s": "tokens/s", "slo_attainment": "fraction", "utilisation": "fraction",
    "kv_mean_fraction": "fraction", "kv_peak_fraction": "fraction",
}  # fmt: skip


def serve(
    model: flags.Model,
    device: flags.Device,
    rate: Annotated[float | None, typer.Option("--rate", help="Requests per second.")] = None,
    arrivals: Annotated[
        str, typer.Option("--arrivals", help="poisson, constant, diurnal:peak=1.8, bursts:factor=10,lasts=60 s ...")
    ] = "poisson",
    burstiness: Annotated[
        float | None, typer.Option("--burstiness", help="Shape of the gamma law of gaps; 1 is a Poisson process.")
    ] = None,
    concurrency: Annotated[
        int | None, flags.number("--concurrency", "Clients of a closed loop, instead of a rate.")
    ] = None,
    trace: Annotated[str, typer.Option("--trace", help="Replay a trace instead.", metavar="FILE")] = "",
    trace_format: Annotated[
        str, typer.Option("--trace-format", help="azure, mooncake or csv; default by content.")
    ] = "",
    speedup: Annotated[float, typer.Option("--speedup", help="Replay a trace so many times as fast.")] = 1.0,
    requests: Annotated[int | None, flags.number("--requests", "Requests; default 1000, or all of a trace.")] = None,
    isl: Annotated[str, typer.Option("--isl", help="Prompt tokens: 512, lognormal:mean=512,p99=4000, a file.")] = "",
    osl: Annotated[str, typer.Option("--osl", help="Output tokens, as --isl.")] = "",
    seed: Annotated[int, flags.number("--seed", "Of all draws.")] = 0,
    replicas: Annotated[int, flags.number("--replicas", "Equal replicas, each of --count devices.")] = 1,
    router: Annotated[
        str, typer.Option("--router", help="round-robin, least-outstanding or power-of-two.")
    ] = "round-robin",
    slo: Annotated[str, typer.Option("--slo", help="Objectives: ttft=500ms@p99,tpot=50ms@p90.")] = "",
    scheduler: Annotated[str, typer.Option("--scheduler", help="How replicas batch: vllm-v1.")] = "vllm-v1",
    max_num_seqs: Annotated[int, flags.number("--max-num-seqs", "Sequences that run at once.")] = 256,
    max_batched_tokens: Annotated[
        int, flags.number("--max-batched-tokens", "New tokens of an iteration; default the runtime's.")
    ] = 0,
    block_size: Annotated[int, flags.number("--block-size", "Tokens of a cache block.")] = 16,
    kv_blocks: Annotated[int, flags.number("--kv-blocks", "Cache blocks; default what the memory holds.")] = 0,
    memory_utilization: Annotated[
        float, typer.Option("--memory-utilization", help="Share of the memory that may be filled.")
    ] = 0.0,
    count: flags.Count = None,
    tp: flags.Tp = None,
    ep: flags.Ep = 1,
    runtime: flags.Runtime = "",
    dtype: flags.Dtype = "bf16",
    weight_dtype: flags.WeightDtype = "",
    kv_dtype: Annotated[str, typer.Option("--kv-dtype", help="Cache format.")] = "",
    system: flags.System = "",
    site: flags.Site = "us-average",
    price: flags.Price = "",
    set: flags.Set = None,
    calibration: flags.Calibration = None,
    requests_out: Annotated[
        str, typer.Option("--requests-out", help="Every request as a row.", metavar="FILE.parquet")
    ] = "",
    intervals: Annotated[bool, typer.Option("--intervals/--no-intervals", help="80% intervals of all numbers.")] = True,
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Latencies, goodput, energy and dollars of requests that arrive over time, are queued and batched."""
    given = locals()
    from silicost.serving import SCHEDULERS, Server, serving_answer, write_requests
    from simulator.serving.slo import parse_slo

    if scheduler not in SCHEDULERS:
        raise UnknownName("scheduler", scheduler, SCHEDULERS, f"allowed: {', '.join(SCHEDULERS)}", "--scheduler")
    asked = traffic_of(given)
    objectives = parse_slo(slo) if slo else None
    server = Server(max_num_seqs, max_batched_tokens, block_size, kv_blocks, 0, memory_utilization)
    answer = serving_answer(
        model, device, asked, server, replicas=replicas, router=router, slo=objectives, seed=seed,
        intervals=intervals, **flags.hardware_of(given),
    )  # fmt: skip
    if requests_out:
        write_requests(Path(requests_out), answer.served)
    tell(answer, objectives, format)


def traffic_of(given: dict[str, Any]) -> Traffic:
    """The requests that flags ask for.

    Raises:
        InputError: no rate, concurrency or trace, or two of them; no lengths; numbers that cannot be.
    """
    from simulator.checks import check_count
    from workloads.traffic.arrivals import arrivals_of
    from workloads.traffic.lengths import lengths_of
    from workloads.traffic.synthetic import draw_traffic

    ways = [name for name in ("rate", "concurrency", "trace") if given[name]]
    if len(ways) != 1:
        said = "none is given" if not ways else f"{' and '.join('--' + name for name in ways)} are given"
        raise InputError(f"how requests arrive: give one of --rate, --concurrency and --trace; {said}")
    if given["trace"]:
        from workloads.traffic.traces import read_trace

        form = given["trace_format"] or "auto"
        return read_trace(Path(given["trace"]), form, speedup=given["speedup"], most=given["requests"])
    count = given["requests"] or 1000
    check_count("--requests", count, 100_000_000)
    if not given["isl"] or (not given["osl"] and not given["isl"].endswith((".csv", ".json", ".parquet"))):
        raise InputError("--isl and --osl say how long prompts and answers are; both are needed")
    lengths = lengths_of(given["isl"], given["osl"] or None)
    words = f"closed:concurrency={given['concurrency']}" if given["concurrency"] else given["arrivals"]
    when = arrivals_of(words, given["rate"], given["burstiness"], "--arrivals")
    return draw_traffic(when, lengths, count, given["seed"])


def tell(answer: Answer, slo: Slo | None, how: Format) -> None:
    """Print what serving came to.

    Raises:
        DoesNotFit: no request could be served.
    """
    from silicost.output import write_out
    from simulator.serving.outcome import LATENCIES, as_json

    if how is Format.JSON:
        ends = {name: {"p10": low, "p90": high} for name, (low, high) in answer.intervals.items()}
        print_json({**as_json(answer.outcome), "intervals": ends})
    else:
        latencies = [
            {"latency": name, **{field: _shown(value, "s") for field, value in each._asdict().items()}}
            for name, each in ((name, answer.outcome.latencies[name]) for name in LATENCIES)
        ]
        rows = [
            {"what": name, "value": _shown(answer.outcome.values[name], DIMENSIONS.get(name, "")),
             "80% interval": _ends(answer, name)}
            for name in SHOWN if answer.outcome.values[name] is not None
        ]  # fmt: skip
        print_rows(latencies, how)
        write_out("\n")
        print_rows(rows, how)
    if not answer.outcome.values["completed"] and answer.outcome.values["requests"]:
        raise DoesNotFit("no request could be served: all are longer than the context or the cache of a replica")


def _ends(answer: Answer, name: str) -> str:
    low, high = answer.intervals.get(name, (None, None))
    if low is None or high is None:
        return ""
    return f"{_shown(low, DIMENSIONS.get(name, ''))} to {_shown(high, DIMENSIONS.get(name, ''))}"


def _shown(value: float | None, dimension: str) -> str:
    from reports.numbers import number, quantity, whole

    if value is None:
        return "-"
    if dimension:
        return quantity(value, dimension)
    return whole(value) if value.is_integer() else number(value)
