"""Commands about a scenario: a file, or the flags of ``silicost simulate`` and ``train``, in front of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hardware_specs.errors import InputError, clipped
from hardware_specs.files import is_folder
from silicost.commands import flags

if TYPE_CHECKING:
    from silicost.questions import Asked

Against = Annotated[
    list[str] | None,
    typer.Option(
        "--against",
        help="The other scenario (b): a file, or changes of this one (a), as device=mi300x; may be repeated.",
        metavar="FILE|KEY=VALUE",
    ),
]
Metrics = Annotated[str, typer.Option("--metric", help="Metrics, separated by commas; default the usual ones.")]
Metric = Annotated[str, typer.Option("--metric", help="Metric; default tpot_s, or a training step's time.")]


def _page_of(text: str) -> str:
    """A place for a page, checked before anything is computed."""
    if text and is_folder(Path(text)):
        raise InputError(f"--report {clipped(text)}: is a folder, not a file")
    return text


Report = Annotated[str, typer.Option("--report", help="HTML page.", metavar="FILE.html", callback=_page_of)]
Points = Annotated[int, flags.number("--points", "Points that are looked at before bisection, up to 100,000.")]

MOST_POINTS: Final = 100_000


def _scenario_flags(
    context: typer.Context,
    scenario: Annotated[
        str,
        typer.Argument(help="A scenario TOML, or the name of a shipped one; else ask by flags.", metavar="SCENARIO"),
    ] = "",
    model: flags.Model = "",
    device: flags.Device = "",
    isl: Annotated[int | None, flags.number("--isl", "Input sequence length, tokens.")] = None,
    osl: Annotated[int | None, flags.number("--osl", "Output sequence length, tokens.")] = None,
    batch: Annotated[int, flags.number("--batch", "Sequences that start together.")] = 1,
    global_batch: Annotated[int | None, flags.number("--global-batch", "Of training: sequences of a step.")] = None,
    seq_len: Annotated[int | None, flags.number("--seq-len", "Of training: tokens of a sequence.")] = None,
    micro_batch: Annotated[int | None, flags.number("--micro-batch", "Of training: sequences of one pass.")] = None,
    recompute: Annotated[str, typer.Option("--recompute", help="Of training: none, selective, full, every:N ...")] = "",
    lora_rank: Annotated[int | None, flags.number("--lora-rank", "Of training: rank of adapters.")] = None,
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
    system: flags.System = "",
    site: flags.Site = "us-average",
    price: flags.Price = "",
    set: flags.Set = None,
    calibration: flags.Calibration = None,
) -> Asked:
    """The scenario that is asked for.

    Raises:
        InputError: a file and flags, neither, or a scenario that contradicts itself.
    """
    values = locals()
    from silicost.questions import asked_of
    from silicost.studies.cells import KEYS, trains

    asked = {name: values[name] for name in KEYS if values[name] not in ("", None, 0.0)}
    if trains(asked):
        asked.pop("batch")
    changes = flags.parse_changes(set)
    written = [name for name in (*KEYS, "set") if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    return asked_of(scenario, {**asked, **changes}, written)


def about_a_scenario(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is an ``Asked``, as one that takes a scenario file or flags in its place.

    Typer reads flags from signatures: that of the command is given those of ``_scenario_flags`` in front of its own.
    """
    shared = list(signature(_scenario_flags, eval_str=True, locals={"Asked": Any}).parameters.values())
    own = list(signature(command, eval_str=True, locals={"Asked": Any}).parameters.values())[1:]
    parameters = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in (*shared, *own)]

    @wraps(command)
    def run(**values: Any) -> None:
        asked = _scenario_flags(**{each.name: values[each.name] for each in shared})
        command(asked, **{each.name: values[each.name] for each in own})

    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def check_points(points: int) -> int:
    """Refuse a scan of too many or too few points.

    Raises:
        InputError: with what is allowed.
    """
    from simulator.checks import check_count

    allowed = f"a whole number from 2 to {MOST_POINTS}"
    check_count("--points", points if points != 1 else 0, MOST_POINTS, allowed)
    return points
