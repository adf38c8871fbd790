"""``silicost serve``: requests that arrive over time on replicas that batch them as real servers do."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardware_specs.errors import DoesNotFit, InputError
from hardware_specs.sites import DEFAULT_SITE
from silicost.commands import flags
from silicost.output import Format, print_json, print_rows

if TYPE_CHECKING:
    from silicost.serving.answer import Answer
    from silicost.serving.tables import FleetTable

DEPTH, ACCEPTANCE = 4, 0.7
"""Speculative decoding where nobody says otherwise: drafted tokens, and the probability of each to be
accepted given those before it."""


def serve(
    model: Annotated[
        str, typer.Option("--model", help="Model name, or path of a model TOML or of a Hugging Face config.json.")
    ] = "",
    device: Annotated[str, typer.Option("--device", help="Device name, or path of a device TOML.")] = "",
    fleet: Annotated[
        str,
        typer.Option("--fleet", help="Pools, stages and traffic: a file, or a shipped fleet.", metavar="FILE.toml"),
    ] = "",
    rate: Annotated[float | None, typer.Option("--rate", help="Requests per second.")] = None,
    arrivals: Annotated[
        str | None,
        typer.Option("--arrivals", help="poisson, constant, diurnal:peak=1.8, bursts:factor=10,lasts=60 s ..."),
    ] = None,
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
    speedup: Annotated[float | None, typer.Option("--speedup", help="Replay a trace so many times as fast.")] = None,
    requests: Annotated[
        int | None, flags.number("--requests", "Requests; default 1000, or all of a trace; 0: nothing happens.")
    ] = None,
    isl: Annotated[str, typer.Option("--isl", help="Prompt tokens: 512, lognormal:mean=512,p99=4000, a file.")] = "",
    osl: Annotated[str, typer.Option("--osl", help="Output tokens, as --isl.")] = "",
    turns: Annotated[
        str, typer.Option("--turns", help="Conversations of so many turns: geometric:mean=4; lengths are of messages.")
    ] = "",
    think: Annotated[
        str, typer.Option("--think", help="From an answer to the next message: exponential:mean=20 s.")
    ] = "",
    seed: Annotated[int | None, flags.number("--seed", "Of all draws.")] = None,
    replicas: Annotated[int, flags.number("--replicas", "Equal replicas, each of --count devices.")] = 1,
    prefill_device: Annotated[
        str, typer.Option("--prefill-device", help="Prompts run there, on --replicas replicas of their own.")
    ] = "",
    decode_device: Annotated[
        str, typer.Option("--decode-device", help="Answers run there; caches come over the network.")
    ] = "",
    router: Annotated[
        str, typer.Option("--router", help="round-robin, least-outstanding, power-of-two, prefix-aware or session.")
    ] = "round-robin",
    slo: Annotated[str, typer.Option("--slo", help="Objectives: ttft=500ms@p99,tpot=50ms@p90.")] = "",
    scheduler: Annotated[
        str,
        typer.Option(
            "--scheduler", help="vllm-v1, vllm-v0, sarathi, prefill-first, static, no-evict; default the runtime's."
        ),
    ] = "",
    max_num_seqs: Annotated[
        int, flags.number("--max-num-seqs", "Sequences that run at once; default the runtime's.")
    ] = 0,
    max_batched_tokens: Annotated[
        int, flags.number("--max-batched-tokens", "New tokens of an iteration; default the runtime's.")
    ] = 0,
    block_size: Annotated[int, flags.number("--block-size", "Tokens of a cache block.")] = 16,
    kv_blocks: Annotated[int, flags.number("--kv-blocks", "Cache blocks; default what the memory holds.")] = 0,
    memory_utilization: Annotated[
        float, typer.Option("--memory-utilization", help="Share of the memory that may be filled.")
    ] = 0.0,
    prefix_caching: Annotated[
        bool | None,
        typer.Option(
            "--prefix-caching/--no-prefix-caching", help="Keep blocks by their content; default the runtime's."
        ),
    ] = None,
    swap: Annotated[
        str, typer.Option("--swap", help="Host memory that sequences are swapped out to: '4 GB'; default recompute.")
    ] = "",
    draft: Annotated[
        str, typer.Option("--draft", help="Speculative decoding: draft model, eagle or ngram; --depth, --acceptance.")
    ] = "",
    draft_prune: Annotated[
        str, typer.Option("--draft-prune", help="Parts taken away from the draft model: layers=0.75 ...")
    ] = "",
    depth: Annotated[int, flags.number("--depth", "Drafted tokens of an iteration.")] = DEPTH,
    acceptance: Annotated[
        float,
        typer.Option("--acceptance", help="Probability of each drafted token to be accepted given those before it."),
    ] = ACCEPTANCE,
    count: flags.Count = None,
    tp: flags.Tp = None,
    pp: flags.Pp = 1,
    ep: flags.Ep = 1,
    runtime: flags.Runtime = "",
    dtype: flags.Dtype = "bf16",
    weight_dtype: flags.WeightDtype = "",
    kv_dtype: flags.KvDtype = "",
    activation_dtype: flags.ActivationDtype = "",
    prune: flags.Prune = "",
    low_rank: flags.LowRank = "",
    sparsity: flags.Sparsity = "",
    system: flags.System = "",
    site: flags.Site = DEFAULT_SITE,
    price: flags.Price = "",
    set: flags.Set = None,
    calibration: flags.Calibration = None,
    requests_out: Annotated[
        str, typer.Option("--requests-out", help="Every request as a row.", metavar="FILE.parquet")
    ] = "",
    timeline: Annotated[
        str, typer.Option("--timeline", help="Queue, batch, cache, power over time: .csv or .parquet.", metavar="FILE")
    ] = "",
    intervals: Annotated[bool, typer.Option("--intervals/--no-intervals", help="80% intervals of all numbers.")] = True,
    out: flags.ServedOut = None,
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Latencies, goodput, energy and dollars of requests that arrive over time, are queued and batched."""
    given = locals()
    from silicost.serving.files import Places, check_places, write_files

    places = Places(out or "", requests_out, timeline)
    check_places(places)
    with _uncollected():
        answer = _served(given)
    write_files(places, answer)
    tell(answer, format)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Do not look for garbage: modules and kernels that are loaded make none, and looking takes a sixth of the run."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()


def _served(given: dict[str, Any]) -> Answer:
    """Serve what flags, or a file and flags, ask for.

    Raises:
        DoesNotFit: a device cannot hold its model.
    """
    from silicost.answer import tell as warn
    from silicost.serving.answer import fleet_of, load_fleet
    from silicost.serving.answer import serve as run

    if given["fleet"]:
        table, place = load_fleet(given["fleet"])
        table = _changed(table, given)
    else:
        table, place = fleet_of_flags(given), "flags"
    try:
        ready = fleet_of(table, place)
    except InputError as error:
        if error.code == "memory":
            raise DoesNotFit(str(error)) from None
        raise
    from silicost.kernel_cache import tell_of_compiling
    from simulator.kernels.fleet.run import run as kernel

    tell_of_compiling(kernel)
    answer = run(ready, intervals=given["intervals"])
    warn([f"note: {note}" for note in answer.notes])
    return answer


_TRAFFIC = (
    "rate", "arrivals", "burstiness", "concurrency", "trace", "trace_format", "speedup", "requests", "isl", "osl",
)  # fmt: skip
_POOL = (
    "model", "count", "tp", "pp", "ep", "runtime", "dtype", "weight_dtype", "kv_dtype",
    "activation_dtype", "prune", "sparsity", "system", "price", "scheduler",
    "router", "max_num_seqs", "max_batched_tokens", "block_size", "kv_blocks", "memory_utilization", "swap", "replicas",
)  # fmt: skip


def fleet_of_flags(given: dict[str, Any]) -> FleetTable:
    """The fleet that flags ask for: one pool, or one for prompts and one for answers.

    Raises:
        InputError: no model or no device.
    """
    from silicost.serving.tables import FleetTable, PoolTable, SpeculationTable, StageTable
    from workloads.compression import compression_of

    if not given["model"]:
        raise InputError("--model: which model is served? (or --fleet FILE.toml)")
    apart = bool(given["prefill_device"] or given["decode_device"])
    own = {name: given[name] for name in _POOL} | {"set": flags.parse_changes(given["set"])}
    own["prefix_caching"] = given["prefix_caching"]
    own["low_rank"] = compression_of(low_rank=given["low_rank"]).low_rank
    if given["draft"]:
        named = "" if given["draft"] == "ngram" else given["draft"]
        own["speculation"] = SpeculationTable(
            given["depth"], given["acceptance"], named, prune=given.get("draft_prune", "")
        )
    elif (given["depth"], given["acceptance"]) != (DEPTH, ACCEPTANCE):
        raise InputError("--depth and --acceptance: only drafts have them; give --draft as well")
    elif given.get("draft_prune"):
        raise InputError("--draft-prune: only drafts have it; give --draft as well")
    if given["prefill_device"] and given["decode_device"] and given["device"]:
        raise InputError("--device: --prefill-device and --decode-device are the devices already; leave one out")
    devices = {"prefill": given["prefill_device"], "decode": given["decode_device"]} if apart else {"": given["device"]}
    pools = []
    for name, device in devices.items():
        found = device or given["device"]
        if not found:
            raise InputError(f"--{f'{name}-' if name else ''}device: on which device?")
        pools.append(PoolTable(found, name=name, **own))
    stages = (StageTable("prefill", decode="decode"),) if apart else ()
    return FleetTable(
        _traffic(given), tuple(pools), stages, slo=given["slo"], site=given["site"], seed=given["seed"] or 0
    )


def check_traffic(given: dict[str, Any], *, trace: bool = False, clients: bool = False) -> None:
    """Refuse flags of traffic that contradict each other.

    Args:
        trace, clients: whether a file beside the flags replays a trace or has a closed loop.

    Raises:
        InputError: naming both.
    """
    whose = {
        "--trace": (given["trace"] or trace, ("isl", "osl", "arrivals", "burstiness", "turns"), "has its own requests"),
        "--concurrency": (
            given["concurrency"] is not None or clients, ("arrivals", "burstiness"), "has clients that wait for answers"
        ),
    }  # fmt: skip
    for flag, (there, names, why) in whose.items():
        for name in names:
            if there and given[name] not in (None, ""):
                raise InputError(f"--{name} and {flag} contradict each other: {flag} {why}; leave one of them out")


def _traffic(given: dict[str, Any]) -> Any:
    from silicost.serving.tables import SessionsTable, TrafficTable

    check_traffic(given)
    said = {name: given[name] for name in _TRAFFIC if given[name] is not None}
    if given["turns"]:
        said["sessions"] = SessionsTable(given["turns"], given["think"] or "0 s")
    elif given["think"]:
        raise InputError("--think: only conversations have pauses; give --turns as well")
    return TrafficTable(**said)


def _changed(table: FleetTable, given: dict[str, Any]) -> FleetTable:
    """A fleet file with the traffic, objectives and seed of flags; what belongs to a pool stands in the file.

    Raises:
        InputError: a flag of a pool beside a file.
    """
    import msgspec

    usual = {
        "replicas": 1, "router": "round-robin", "block_size": 16, "dtype": "bf16", "pp": 1, "ep": 1, "depth": DEPTH,
        "acceptance": ACCEPTANCE,
    }  # fmt: skip
    of_pools = ("device", "set", "prefill_device", "decode_device", "draft", "depth", "acceptance", "prefix_caching",
                "draft_prune", "low_rank")  # fmt: skip
    for name in (*_POOL, *of_pools, "turns", "think"):
        said = given[name] is not None if name == "prefix_caching" else given[name]
        if said and given[name] != usual.get(name):
            raise InputError(f"--{name.replace('_', '-')}: stands in the file beside --fleet; change it there")
    said = {name: given[name] for name in _TRAFFIC if given[name] not in (None, "")}
    ways = {"rate", "concurrency", "trace"} & said.keys()
    of_file = not ways
    check_traffic(
        given, trace=of_file and bool(table.traffic.trace), clients=of_file and table.traffic.concurrency is not None
    )  # fmt: skip
    if ways:
        said = {"rate": None, "concurrency": None, "trace": "", "trace_format": "", "speedup": 1.0} | said
    traffic = msgspec.structs.replace(table.traffic, **said)
    return msgspec.structs.replace(
        table, traffic=traffic, slo=given["slo"] or table.slo,
        site=given["site"] if given["site"] != DEFAULT_SITE else table.site,
        seed=table.seed if given["seed"] is None else given["seed"],
    )  # fmt: skip


def tell(answer: Answer, how: Format) -> None:
    """Print what serving came to.

    Raises:
        DoesNotFit: no request could be served.
    """
    from silicost.output import write_out
    from silicost.serving.output import json_of, latency_rows, pool_rows, value_rows

    if how is Format.JSON:
        print_json(json_of(answer))
    else:
        print_rows(latency_rows(answer), how)
        write_out("\n")
        print_rows(value_rows(answer), how)
        if len(answer.found.pools) > 1:
            write_out("\n")
            print_rows(pool_rows(answer), how)
    values = answer.found.outcome.values
    if not values["completed"] and values["requests"]:
        from silicost.serving.unserved import why_nobody

        raise DoesNotFit(f"no request could be served: {why_nobody(answer)}")
