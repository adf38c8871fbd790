"""``silicost capacity``: the highest rate that holds objectives, and the cheapest fleet that serves a rate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hardware_specs.errors import DoesNotFit, InputError, UnknownName
from silicost.commands import flags
from silicost.commands.capacity_told import tell_many, tell_one
from silicost.output import Format, print_json, print_rows, write_out

if TYPE_CHECKING:
    from silicost.serving.capacity_designs import Found, Order
    from silicost.serving.tables import FleetTable

Axis = Annotated[str, typer.Option(metavar="VALUES")]
_USUAL: Final = {
    "dtype": "bf16", "router": "round-robin", "block_size": 16, "pp": 1, "ep": 1, "max_num_seqs": 0, "kv_blocks": 0,
    "max_batched_tokens": 0, "memory_utilization": 0.0, "count": None, "tp": None,
}  # fmt: skip
"""What flags that are left out stand for; texts for nothing."""
PART: Final = 4
"""Designs of a part of the table, where nobody says otherwise."""
FIND: Final = ("disaggregated",)


def capacity(
    slo: Annotated[str, typer.Option("--slo", help="Objectives: ttft=500ms@p99,tpot=50ms@p90.")] = "",
    fleet: Annotated[
        str, typer.Option("--fleet", help="Pools, stages and traffic: a file, or a shipped fleet.", metavar="FILE.toml")
    ] = "",
    rate: Annotated[
        float | None, typer.Option("--rate", help="Requests per second to be served: with how many replicas?")
    ] = None,
    find: Annotated[
        str, typer.Option("--find", help="disaggregated: replicas for prompts and for answers that serve --rate.")
    ] = "",
    model: Axis = "", device: Axis = "", runtime: Axis = "", dtype: Axis = "", weight_dtype: Axis = "",
    kv_dtype: Axis = "", system: Axis = "", price: Axis = "", scheduler: Axis = "", router: Axis = "",
    count: Axis = "", tp: Axis = "", pp: Axis = "", ep: Axis = "", max_num_seqs: Axis = "",
    max_batched_tokens: Axis = "", block_size: Axis = "", kv_blocks: Axis = "", memory_utilization: Axis = "",
    activation_dtype: Axis = "", prune: Axis = "", sparsity: Axis = "", low_rank: Axis = "",
    set: Annotated[
        list[str] | None,
        typer.Option("--set", help="A number of a spec: device.memory.bandwidth=1x,2x.", metavar="PATH=VALUES"),
    ] = None,
    link: Annotated[
        list[str] | None,
        typer.Option("--link", help="Flags whose values vary together, for example device,price.", metavar="A,B"),
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", help="Condition on axes: 'if device == x then tp <= 4'.")
    ] = None,
    isl: Annotated[str, typer.Option("--isl", help="Prompt tokens: 512, lognormal:mean=512,p99=4000, a file.")] = "",
    osl: Annotated[str, typer.Option("--osl", help="Output tokens, as --isl.")] = "",
    arrivals: Annotated[
        str | None, typer.Option("--arrivals", help="poisson, constant, diurnal:peak=1.8, bursts:factor=10 ...")
    ] = None,
    burstiness: Annotated[
        float | None, typer.Option("--burstiness", help="Shape of the gamma law of gaps; 1 is a Poisson process.")
    ] = None,
    trace: Annotated[
        str, typer.Option("--trace", help="Requests of a trace, its gaps scaled to each rate.", metavar="FILE")
    ] = "",
    trace_format: Annotated[
        str, typer.Option("--trace-format", help="azure, mooncake or csv; default by content.")
    ] = "",
    requests: Annotated[
        int | None, flags.number("--requests", "Requests of a run; default as many as tell an overload.")
    ] = None,
    turns: Annotated[
        str, typer.Option("--turns", help="Conversations of so many turns, geometric:mean=4; the rate is theirs.")
    ] = "",
    think: Annotated[
        str, typer.Option("--think", help="From an answer to the next message: exponential:mean=20 s.")
    ] = "",
    seed: Annotated[int | None, flags.number("--seed", "Of all draws.")] = None,
    replicas: Annotated[int, flags.number("--replicas", "Equal replicas of the fleet whose rate is sought.")] = 1,
    prefill_device: Annotated[
        str, typer.Option("--prefill-device", help="Prompts run there; with --find several.", metavar="VALUES")
    ] = "",
    decode_device: Annotated[
        str, typer.Option("--decode-device", help="Answers run there; with --find several.", metavar="VALUES")
    ] = "",
    prefix_caching: Annotated[
        bool | None,
        typer.Option(
            "--prefix-caching/--no-prefix-caching", help="Keep blocks by their content; default the runtime's."
        ),
    ] = None,
    swap: Annotated[str, typer.Option("--swap", help="Host memory that sequences are swapped out to: '4 GB'.")] = "",
    draft: Annotated[str, typer.Option("--draft", help="Speculative decoding: draft model, eagle or ngram.")] = "",
    depth: Annotated[int, flags.number("--depth", "Drafted tokens of an iteration.")] = 4,
    acceptance: Annotated[
        float,
        typer.Option("--acceptance", help="Probability of each drafted token to be accepted given those before it."),
    ] = 0.7,
    site: flags.Site = "us-average",
    calibration: flags.Calibration = None,
    intervals: Annotated[
        bool | None,
        typer.Option("--intervals/--no-intervals", help="80% interval of the rate; default for one fleet alone."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", help="Folder of a search over designs.", callback=flags.folder_of(""), metavar="FOLDER"),
    ] = None,
    executor: Annotated[
        str, typer.Option("--executor", help="local (processes), dask, or here (this process).", metavar="NAME")
    ] = "",
    workers: Annotated[int | None, flags.number("--workers", "Processes; default one per core.")] = None,
    dask: Annotated[str, typer.Option("--dask", help="Dask scheduler: tcp://HOST:PORT.", metavar="ADDRESS")] = "",
    part: Annotated[int, flags.number("--part", "Designs of a part of the table.")] = PART,
    report: Annotated[str, typer.Option("--report", help="Write its page there.", metavar="FILE.html")] = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:  # fmt: skip
    """The highest rate that holds objectives; with --rate the fewest replicas, of VALUES the best designs.

    VALUES are lists (a,b), ranges (1:8:*2) or quantities (1x,2x). Several of any flag make a search over designs, which
    keeps what it has in a folder and goes on there when it was stopped.
    """
    given = locals()
    if rate is not None and not 0.0 < rate < 1e9:
        raise InputError(f"--rate {rate:g}: must be above 0 and below 1e9 requests a second")
    if find:
        _check_here(given)
        _find(given, format)
        return
    if fleet:
        _check_alone(given)
        _check_here(given)
        table, place = _file(given)
        _one(_found(table, given, place), given, format)
        return
    order = order_of(given)
    if order.axes:
        _designs(order, given, format)
    elif out:
        raise InputError("--out: one fleet has no table; give one of the flags several values, as --tp 1,2,4")
    else:
        _check_here(given)
        _one(_found(order.fleet, given, "flags"), given, format)


def order_of(given: dict[str, Any]) -> Order:
    """What flags ask of many designs, or without axes of one.

    Raises:
        InputError: values that are none, flags that contradict each other.
    """
    from silicost.serving.capacity_designs import AXES, Order, axis_tables, check_axes, key_value

    wanted = {name: given[name] for name in AXES if given[name]} | flags.parse_changes(given["set"])
    fixed: dict[str, Any] = {}
    axes = axis_tables(wanted, given["link"] or (), fixed)
    first = {name: axis.values[0][place] for axis in axes for place, name in enumerate(axis.names)}
    own = {name: key_value(name, value) for name, value in (fixed | first).items()}
    table = _table(given, {name: value for name, value in own.items() if "." not in name},
                   {name: own[name] for name in fixed if "." in name})  # fmt: skip
    order = Order(
        table, axes, tuple(given["where"] or ()), given["rate"], bool(given["intervals"]),
        tuple(given["calibration"] or ()),
    )  # fmt: skip
    if axes:
        check_axes(order)
    elif given["where"]:
        raise InputError("--where: nothing varies; give one of the flags several values, as --tp 1,2,4")
    return order


def _table(given: dict[str, Any], own: dict[str, Any], changes: dict[str, Any]) -> FleetTable:
    """The fleet that flags ask for, as ``silicost serve`` understands them."""
    from silicost.commands.serve import fleet_of_flags
    from silicost.serving.capacity_designs import AXES

    usual = {name: _USUAL.get(name, "") for name in AXES} | own
    pairs = [f"{name}={value}" for name, value in changes.items()]
    asked = {"concurrency": None, "speedup": None, **given, **usual, "set": pairs, "rate": None}
    return fleet_of_flags(asked)


def _file(given: dict[str, Any]) -> tuple[FleetTable, str]:
    """The fleet of a file, with the traffic, objectives and seed of flags."""
    import msgspec

    from silicost.commands.serve import check_traffic
    from silicost.serving.answer import load_fleet

    table, place = load_fleet(given["fleet"])
    check_traffic({"concurrency": None, **given}, trace=bool(table.traffic.trace))
    names = ("arrivals", "burstiness", "trace", "trace_format", "requests", "isl", "osl")
    said = {name: given[name] for name in names if given[name] not in (None, "")}
    if said.get("trace"):
        said |= {"rate": None, "concurrency": None}
    traffic = msgspec.structs.replace(table.traffic, **said)
    seed = table.seed if given["seed"] is None else given["seed"]
    return msgspec.structs.replace(table, traffic=traffic, slo=given["slo"] or table.slo, seed=seed), place


def _check_alone(given: dict[str, Any]) -> None:
    """Refuse flags of a pool beside a file.

    Raises:
        InputError: naming the flag.
    """
    from silicost.serving.capacity_designs import AXES

    names = (
        *AXES, "set", "link", "where", "prefill_device", "decode_device", "draft", "prefix_caching", "swap", "turns",
        "think", "out",
    )  # fmt: skip
    for name in names:
        if given[name]:
            raise InputError(f"--{name.replace('_', '-')}: stands in the file beside --fleet; change it there")
    if given["replicas"] != 1:
        raise InputError("--replicas: stands in the file beside --fleet; change it there")


def _check_here(given: dict[str, Any]) -> None:
    """Refuse flags of many designs where there is one, which is computed in this process.

    Raises:
        InputError: naming the flag.
    """
    for name in ("executor", "dask", "workers"):
        if given[name] not in (None, ""):
            raise InputError(f"--{name}: only a search over designs has it; give one of the flags several values")
    if given["part"] != PART:
        raise InputError("--part: only a search over designs has it; give one of the flags several values")


def _found(table: FleetTable, given: dict[str, Any], place: str) -> Found:
    """What one fleet can do.

    Raises:
        DoesNotFit: a device cannot hold its model.
    """
    from silicost.kernel_cache import tell_of_compiling
    from silicost.serving.capacity_designs import find
    from simulator.kernels.fleet.run import run as kernel

    tell_of_compiling(kernel)
    try:
        return find(table, given["rate"], given["intervals"] is not False, place)
    except InputError as error:
        if error.code == "memory":
            raise DoesNotFit(str(error)) from None
        raise


def _one(found: Found, given: dict[str, Any], how: Format) -> None:
    """Write the page of one fleet, where it is asked for, and print what it can do."""
    if given["report"]:
        from silicost.serving.capacity_page import card_of, write_capacity_page

        write_capacity_page(Path(given["report"]), card_of(found, given["rate"]))
    tell_one(found, given["rate"], how)


def _designs(order: Order, given: dict[str, Any], how: Format) -> None:
    """Search many designs in a folder, and tell what was found."""
    from silicost.serving.capacity_designs import prepare_designs
    from silicost.studies.progress import StudyProgress
    from simulator.explore.executors import executor_of, run_parts
    from simulator.explore.reading import open_study
    from simulator.explore.store import open_store

    if not 1 <= given["part"] <= 1_000_000:
        raise InputError(f"--part {given['part']}: must be a whole number from 1 to 1000000")
    if given["workers"] is not None and given["workers"] < 1:
        raise InputError(f"--workers {given['workers']}: must be at least 1")
    prepared = prepare_designs(order, given["part"])
    folder = Path(given["out"] or f"runs/capacity-{hashlib.sha256(prepared.definition.text.encode()).hexdigest()[:8]}")
    many = prepared.definition.parts > 1
    name = given["executor"] or (
        "dask"
        if given["dask"]
        else "local"
        if given["workers"] or (many and prepared.definition.points > 16)
        else "here"
    )
    with _named_dask():
        chosen = executor_of(name, given["workers"], given["dask"])
    with open_store(folder, prepared.definition, _warn) as writer, StudyProgress() as progress, _named_dask():
        outcome = run_parts(writer, chosen, prepared.work, prepared.recipe, progress.tell)
    for each in outcome.given_up:
        _warn(f"points {each.start} to {each.stop - 1} could not be computed: {each.reason}")
    frame = open_study(folder).to_pandas()
    if given["report"]:
        from silicost.serving.capacity_page import write_capacity_page
        from silicost.serving.capacity_page_many import card_of_designs

        write_capacity_page(Path(given["report"]), card_of_designs(frame, order))
    tell_many(frame, folder, order, how)


@contextmanager
def _named_dask() -> Iterator[None]:
    """What is said of ``--scheduler``, as studies call it, is of ``--dask`` here."""
    try:
        yield
    except InputError as error:
        error.args = (str(error).replace("--scheduler", "--dask"),)
        raise


def _find(given: dict[str, Any], how: Format) -> None:
    """Search the numbers of replicas for prompts and for answers that serve a rate.

    Raises:
        InputError: nothing of that name, no rate, no devices, several values of other flags.
        DoesNotFit: nothing serves the rate.
    """
    from silicost.answer import tell as warn
    from silicost.serving.capacity_output import split_json, split_rows
    from silicost.serving.capacity_split import find_split
    from simulator.explore.ranges import values_of

    if given["find"] not in FIND:
        raise UnknownName("search", given["find"], FIND, f"allowed: {', '.join(FIND)}", "--find")
    if given["rate"] is None:
        raise InputError("--find disaggregated: which rate is to be served? Give --rate")
    if given["fleet"]:
        raise InputError("--find disaggregated: makes fleets of flags; leave --fleet out")
    sides = []
    for name in ("prefill_device", "decode_device"):
        text = given[name] or given["device"]
        if not text:
            raise InputError(f"--{name.replace('_', '-')}: on which devices?")
        sides.append([str(value) for value in values_of(text, f"--{name.replace('_', '-')}")])
    first = {"prefill_device": sides[0][0], "decode_device": sides[1][0], "device": ""}
    order = order_of({**given, **first})
    if order.axes:
        raise InputError(f"--{order.axes[0].names[0].replace('_', '-')}: has one value in --find disaggregated")
    found = find_split(order.fleet, sides[0], sides[1], given["rate"])
    if given["report"]:
        from silicost.serving.capacity_page import write_capacity_page
        from silicost.serving.capacity_page_many import card_of_split

        write_capacity_page(Path(given["report"]), card_of_split(found))
    for each in found.refused:
        names = ", ".join(device for device in each.pools.values())
        warn([f"note: {names}: {each.why}"])
    warn([f"note: {note}" for note in dict.fromkeys(n for each in (*found.split, *found.whole) for n in each.notes)])
    if how is Format.JSON:
        print_json(split_json(found))
    else:
        print_rows(split_rows(found), how)
        if how is Format.TABLE:
            write_out(f"\n{found.said}\n")
    if not found.split and not found.whole:
        raise DoesNotFit(f"{given['rate']:g} requests/s: {found.said}")


def _warn(message: str) -> None:
    import sys

    sys.stderr.write(f"silicost: warning: {message}\n")
