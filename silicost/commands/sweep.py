"""``silicost sweep``: a question for every combination of models, devices, software, plans, traffic, spec numbers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hardware_specs.errors import DoesNotFit, InputError, clipped
from silicost.commands import flags
from silicost.output import Format, print_json, print_rows, print_table, write_out

if TYPE_CHECKING:
    from silicost.studies.refine import Refined
    from silicost.studies.searching import Searched
    from silicost.studies.study import Study
    from silicost.studies.summary import Summary
    from silicost.studies.work import Prepared
    from simulator.explore import reading
    from simulator.explore.executors import Outcome
    from simulator.explore.manifest import GivenUp

KEYS: Final = (
    "model", "device", "runtime", "dtype", "weight_dtype", "kv_dtype", "system", "site", "price", "count", "tp", "pp",
    "dp", "ep", "batch", "isl", "osl", "global_batch", "seq_len", "micro_batch", "recompute", "lora_rank",
    "activation_dtype", "prune", "low_rank", "sparsity", "quality",
)  # fmt: skip
MOST_LINES: Final = 20
"""Rows of a table; the folder has all."""
FEW: Final = 400_000
"""Up to so many points in closed form one process answers sooner than several begin."""
_START_S: Final = 2.0
"""What a process takes to begin, and its first points to be compiled for [s]."""
PILOT: Final = 4000
"""Points that a dry run answers to learn how long all take."""


def axis(name: str, what: str) -> Any:
    """A flag that takes one value or an axis."""
    return Annotated[str, typer.Option(name, help=what, metavar="VALUES")]


Axis = Annotated[str, typer.Option(metavar="VALUES")]


def sweep(
    study: Annotated[str, typer.Argument(help="Study TOML, or the name of a shipped study; flags add to it.")] = "",
    model: Axis = "", device: Axis = "", runtime: Axis = "", dtype: Axis = "", weight_dtype: Axis = "",
    kv_dtype: Axis = "", system: Axis = "", site: Axis = "", price: Axis = "", count: Axis = "", tp: Axis = "",
    pp: Axis = "", dp: Axis = "", ep: Axis = "", batch: Axis = "", isl: Axis = "", osl: Axis = "",
    global_batch: Axis = "", seq_len: Axis = "", micro_batch: Axis = "", recompute: Axis = "", lora_rank: Axis = "",
    activation_dtype: Axis = "", prune: Axis = "", low_rank: Axis = "", sparsity: Axis = "", quality: Axis = "",
    set: Annotated[
        list[str] | None,
        typer.Option("--set", help="A number of a spec: device.memory.bandwidth=1x,2x,4x.", metavar="PATH=VALUES"),
    ] = None,
    link: Annotated[
        list[str] | None,
        typer.Option("--link", help="Axes that vary together, for example tp,count.", metavar="A,B"),
    ] = None,
    metric: Annotated[str, typer.Option("--metric", help="Metrics of the table, by commas; the first one ranks.")] = "",
    objective: Annotated[
        str, typer.Option("--objective", help="Metrics of the Pareto front, by commas; default the first two.")
    ] = "",
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="Condition on axes: 'tp <= batch', 'if device == x then dtype == bf16'."),
    ] = None,
    constraint: Annotated[
        list[str] | None, typer.Option("--constraint", help="Bound of a metric: 'tpot_s <= 30 ms'.")
    ] = None,
    sample: Annotated[
        str, typer.Option("--sample", help="random, sobol or latin-hypercube, points, seed: sobol:10000:1.")
    ] = "",
    search: Annotated[
        str,
        typer.Option(
            "--search", help="Search instead of listing: evaluations, method, seed: 500 or 500:gp:1.", metavar="N"
        ),
    ] = "",
    intervals: Annotated[
        bool, typer.Option("--intervals", help="With the ends of the 80% interval of each metric.")
    ] = False,
    engine: Annotated[bool, typer.Option("--engine", help="Simulate every point on its own.")] = False,
    refine: Annotated[
        str, typer.Option("--refine", help="Run the best points on the event engine too: top=50.", metavar="top=N")
    ] = "",
    out: Annotated[
        str | None,
        typer.Option(
            "--out", help="Folder of the study; default runs/TITLE.", callback=flags.folder_of(""), metavar="FOLDER"
        ),
    ] = None,
    executor: Annotated[
        str, typer.Option("--executor", help="local (processes), dask, or here (this process).", metavar="NAME")
    ] = "",
    workers: Annotated[int | None, flags.number("--workers", "Processes; default one per core.")] = None,
    scheduler: Annotated[
        str, typer.Option("--scheduler", help="Dask scheduler: tcp://HOST:PORT.", metavar="ADDRESS")
    ] = "",
    part: Annotated[int | None, flags.number("--part", "Points of a part of the table.")] = None,
    report: Annotated[
        str, typer.Option("--report", help="HTML page; default FOLDER/report.html. none: no page.", metavar="FILE.html")
    ] = "",
    shipped: Annotated[bool, typer.Option("--list", help="The shipped studies: what they ask, their points.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many points, how long and how much memory; compute nothing.")
    ] = False,
    calibration: flags.Calibration = None,
    format: flags.HowToPrint = Format.TABLE,
) -> None:  # fmt: skip
    """Answer every combination: VALUES are lists (a,b), ranges (1:512:*2, 128:4096:+128) or quantities (1x,2x).

    Only what the folder does not have yet is computed, so that a study that was stopped goes on where it was.
    """
    given = locals()
    if shipped:
        print_rows(shipped_rows(), format)
        return
    from silicost.studies.refine import parse_refine
    from silicost.studies.work import prepare_study

    top = parse_refine(refine) if refine else 0
    asked = study_from(study, {key: given[key] for key in KEYS}, given)
    if part is not None and not 1 <= part <= 10_000_000:
        raise InputError(f"--part {part}: must be a whole number from 1 to 10000000")
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: must be at least 1")
    if top and (asked.trains or asked.engine):
        raise InputError("--refine: needs a study of inference that is answered in closed form")
    prepared = prepare_study(asked, tuple(calibration or ()), part)
    if dry_run:
        print_rows(dry(asked, prepared), format)
        return
    folder = Path(out or f"runs/{_slug(asked)}")
    if asked.search is None:
        given_up = compute(asked, prepared, folder, executor, workers, scheduler).given_up
        searched = None
    else:
        from silicost.studies.searching import search_study

        given_up, searched = (), search_study(asked, prepared, folder, _warn)
    tell(asked, folder, given_up, top, format, report or str(folder / "report.html"), searched)


def shipped_rows() -> list[dict[str, Any]]:
    """The shipped studies: name, title, question and points before conditions."""
    from silicost.studies.shipped import shipped_studies
    from silicost.studies.study import read_study

    rows = []
    for name, path in shipped_studies().items():
        asked = read_study(path)
        rows.append({"name": name, "title": asked.title, "points": asked.sampler().count, "question": asked.question})
    return rows


def study_from(name: str, values: Mapping[str, str], given: Mapping[str, Any]) -> Study:
    """The study that a file and flags say; a flag goes before what the file says of its key."""
    from hardware_specs.reader import read_toml
    from silicost.studies.shipped import path_of
    from silicost.studies.study import study_of

    path = path_of(name) if name else Path("sweep")
    table: dict[str, Any] = read_toml(path) if name else {}
    wanted = {key: text for key, text in values.items() if text}
    wanted |= _changes(given["set"])
    _place(table, wanted, given["link"] or [])
    if given["metric"]:
        table["metrics"] = given["metric"]
    if given["objective"]:
        table["objectives"] = [text.strip() for text in given["objective"].split(",")]
    for key, flag in (("conditions", "where"), ("constraints", "constraint")):
        if given[flag]:
            table[key] = [*table.get(key, []), *given[flag]]
    if given["sample"]:
        table["sample"] = _sample(given["sample"])
    if given["search"]:
        table["search"] = _search(given["search"])
    for key in ("engine", "intervals"):
        if given[key]:
            table[key] = True
    return study_of(table, path.name if name else "sweep", path.parent if name else Path())


def _place(table: dict[str, Any], wanted: Mapping[str, str], links: list[str]) -> None:
    """Put flags where they belong: one value is fixed, several are an axis; linked ones vary together."""
    from simulator.explore.ranges import values_of

    fixed, axes = dict(table.get("scenario", {})), dict(table.get("axes", {}))
    for key, text in wanted.items():
        values = values_of(text, f"--{key.replace('_', '-')}" if "." not in key else f"--set {key}")
        fixed.pop(key, None)
        axes.pop(key, None)
        if len(values) > 1:
            axes[key] = text
        else:
            fixed[key] = values[0]
    linked = []
    for link in links:
        names = [name.strip().replace("-", "_") if "." not in name else name.strip() for name in link.split(",")]
        missing = [name for name in names if name not in axes]
        if missing or len(names) < 2:
            why = f"{missing[0]!r} is no axis of several values" if missing else "needs two names or more"
            raise InputError(f"--link {clipped(link)!r}: {why}")
        linked.append({name: axes.pop(name) for name in names})
    table |= {"scenario": fixed, "axes": axes}
    rows = table.get("linked", [])
    if isinstance(rows, list):
        kept = [_without(row, wanted) for row in rows]
        table["linked"] = [row for row in (*kept, *linked) if row != {}]


def _without(row: Any, wanted: Mapping[str, str]) -> Any:
    """Linked axes without those that flags say."""
    return {key: values for key, values in row.items() if key not in wanted} if isinstance(row, dict) else row


def _changes(pairs: list[str] | None) -> dict[str, str]:
    return flags.parse_changes(pairs)


def _sample(text: str) -> dict[str, Any]:
    """Kind, points and seed of "sobol:10000:1"."""
    kind, *numbers = text.split(":")
    if len(numbers) > 2 or not all(number.strip().isdigit() for number in numbers):
        raise InputError(f"--sample {clipped(text)!r}: must be KIND:POINTS or KIND:POINTS:SEED, as sobol:10000:1")
    found: dict[str, Any] = {"kind": kind.strip()}
    return found | dict(zip(("n", "seed"), map(int, numbers), strict=False))


def _search(text: str) -> dict[str, Any]:
    """Evaluations, method and seed of "500:gp:1"."""
    number, *others = text.split(":")
    if not number.strip().isdigit() or len(others) > 2 or (len(others) == 2 and not others[1].strip().isdigit()):
        raise InputError(f"--search {clipped(text)!r}: must be EVALUATIONS, or with a method and a seed as 500:gp:1")
    found: dict[str, Any] = {"evaluations": int(number)}
    if others:
        found["method"] = others[0].strip()
    return found | ({"seed": int(others[1])} if len(others) == 2 else {})


def dry(asked: Study, prepared: Prepared) -> list[dict[str, Any]]:
    """How many points there are, how long they take and what they need, from a pilot of points far apart."""
    import time

    import numpy as np

    from reports.numbers import quantity, whole
    from simulator.explore.local_executor import cores
    from simulator.explore.points import joined

    sampler, definition = prepared.work.sampler, prepared.definition
    each = 5 if asked.engine or asked.trains else PILOT // 4
    starts = np.unique(np.linspace(0, max(definition.points - each, 0), 4).astype(int)).tolist()
    pilot = joined([sampler.points(start, min(start + each, definition.points)) for start in starts])
    prepared.work.evaluator(pilot)
    began = time.perf_counter()
    if len(pilot):
        prepared.work.evaluator(pilot)
    each_s = (time.perf_counter() - began) / max(len(pilot), 1)
    kept = asked.space.check()
    rows = int(definition.points * kept.share)
    columns = len(definition.axes) + len(asked.metrics) + 4
    running = cores()
    part = min(definition.part_points, definition.points)
    return [
        {"what": "points", "value": whole(float(definition.points)), "note": f"{asked.sample.kind}"},
        {"what": "rows", "value": whole(float(rows)), "note": "" if kept.exact else "conditions: from a sample"},
        {"what": "parts", "value": whole(float(definition.parts)), "note": f"of {definition.part_points} points"},
        {"what": "time", "value": quantity(_START_S + each_s * rows / running, "s"),
         "note": f"about, on {running} idle processes; the page of the study not counted"},
        {"what": "memory", "value": quantity(3e8 + 8.0 * part * columns * 6.0, "bytes"), "note": "of each process"},
        {"what": "disk", "value": quantity(8.0 * rows * (columns - 4), "bytes"), "note": "at most"},
    ]  # fmt: skip


def compute(
    asked: Study, prepared: Prepared, folder: Path, executor: str, workers: int | None, scheduler: str
) -> Outcome:
    """Compute what the folder does not have."""
    from silicost.studies.progress import StudyProgress
    from simulator.explore.executors import executor_of, run_parts
    from simulator.explore.store import open_store

    many = prepared.definition.points > (50 if asked.engine or asked.trains else FEW)
    name = executor or ("dask" if scheduler else "local" if many or workers else "here")
    chosen = executor_of(name, workers, scheduler)
    with open_store(folder, prepared.definition, _warn) as writer, StudyProgress() as progress:
        return run_parts(writer, chosen, prepared.work, prepared.recipe, progress.tell)


def tell(
    asked: Study, folder: Path, given_up: Iterable[GivenUp], top: int, how: Format, report: str,
    searched: Searched | None = None,
) -> None:  # fmt: skip
    """Print what a study found, and write its page to ``report``, unless that is "none".

    Raises:
        InputError: the page cannot be written.
        DoesNotFit: no point is feasible.
    """
    from silicost.studies.crossovers import contests_of
    from silicost.studies.refine import refine
    from silicost.studies.summary import summarise
    from simulator.explore.reading import open_study

    stored = open_study(folder)
    found = summarise(stored, asked.metrics, asked.objectives)
    again = refine(asked, stored, top) if top else None
    contests = contests_of(asked, stored) if asked.mixed else None
    if how is Format.JSON:
        print_json(as_json(asked, folder, found, again, searched, contests))
    elif how is Format.CSV:
        for number, batch in enumerate(stored.batches()):
            write_out(batch.to_pandas().to_csv(index=False, header=number == 0, lineterminator="\n"))
    else:
        _tables(asked, folder, found, again)
        if contests is not None:
            _verdicts(contests)
        if searched is not None:
            _told(asked, searched)
    if report != "none":
        _write_page(asked, stored, found, report)
    for part in given_up:
        _warn(f"points {part.start} to {part.stop - 1} could not be computed: {part.reason}")
    if not found.feasible:
        most = "; ".join(f"{count} points: {found.details[code]}" for code, count in found.reasons.most_common(3))
        raise DoesNotFit(f"no point is feasible: {most or 'the conditions leave none'}")


def _write_page(asked: Study, stored: reading.Study, found: Summary, report: str) -> None:
    import shlex
    import sys

    from silicost.studies.page import write_study_page

    write_study_page(Path(report), asked, stored, found, shlex.join(["silicost", *sys.argv[1:]]))
    sys.stderr.write(f"silicost: report: {report}\n")


def _verdicts(contests: list[dict[str, Any]]) -> None:
    """Where a mixture pays, and the crossovers."""
    from reports.numbers import number

    for block in contests:
        fixed = ", ".join(f"{name} {value}" for name, value in block["others"].items())
        write_out(f"\nthe mixture along {block['axis']}{f', {fixed}' if fixed else ''}\n")
        for contest in block["contests"]:
            write_out(f"  {contest['metric']}: {contest['verdict']}\n")
            for name, words in contest["against"].items():
                write_out(f"    against {name}: {words}\n")
            for each in contest["crossings"]:
                verb = "begins" if each["pays"] else "ceases"
                write_out(f"    {verb} to pay against {each['other']} at about {number(each['at'])}\n")


def _told(asked: Study, searched: Searched) -> None:
    """How the search went, in a line."""
    last = searched.progress[-1] if searched.progress else None
    size = "a continuous space" if asked.space.ranges else f"{asked.space.size:,} points"
    done = f"searched {size} in {last.evaluations:,} evaluations" if last else "searched nothing"
    halves = [each for each in searched.progress if last and each.hypervolume >= 0.99 * last.hypervolume]
    near = f"; 99% of the hypervolume after {halves[0].evaluations:,}" if halves else ""
    write_out(f"\n{done} (ended by {searched.ended}){near}\n")


def as_json(
    asked: Study, folder: Path, found: Summary, again: Refined | None, searched: Searched | None = None,
    contests: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What a study found, for programs."""
    whole: dict[str, Any] = {
        "title": asked.title, "folder": str(folder), "rows": found.rows, "feasible": found.feasible,
        "reasons": [
            {"code": code, "points": count, "for_example": found.details[code]}
            for code, count in found.reasons.most_common()
        ],
        "best": found.best, "objectives": [f"{each.metric}:{each.better}" for each in found.objectives],
        "pareto": found.front,
    }  # fmt: skip
    if contests is not None:
        whole["mixture"] = contests
    if searched is not None:
        whole["search"] = {
            "ended": searched.ended, "progress": [each._asdict() for each in searched.progress],
        }  # fmt: skip
    if again is not None:
        whole["refined"] = {
            "metric": again.metric, "regret": again.regret, "farthest": again.farthest, "rows": again.rows,
        }  # fmt: skip
    return whole


def _tables(asked: Study, folder: Path, found: Summary, again: Refined | None) -> None:
    from silicost.studies.summary import shown

    write_out(f"{asked.title}: {found.rows:,} points, {found.feasible:,} feasible, in {folder}\n")
    for code, count in found.reasons.most_common(5):
        write_out(f"  {count:,} not: {found.details[code]}{_like(code)}\n")
    varying = list(found.axes)
    if found.best:
        rows = [
            {"best": metric, "value": shown(metric, row[metric]), **{name: row[name] for name in varying}}
            for metric, row in found.best.items()
        ]
        print_table(rows, "\nbest of each metric")
    if found.front:
        names = [each.metric for each in found.objectives]
        rows = [
            {**{name: shown(name, row[name]) for name in names}, **{name: row[name] for name in varying}}
            for row in _spread(found.front)
        ]
        left = f" ({MOST_LINES} of {len(found.front)})" if len(found.front) > MOST_LINES else ""
        print_table(rows, f"\nPareto front of {' and '.join(names)}{left}")
    if again is not None:
        rows = [{key: shown(key, value) for key, value in row.items()} for row in again.rows[:MOST_LINES]]
        print_table(rows, f"\nthe {len(again.rows)} best by {again.metric}, on the event engine")
        write_out(
            f"regret of choosing by the closed form {again.regret:.2%}, largest difference {again.farthest:.2%}\n"
        )


def _like(code: str) -> str:
    return f" [{code}]"


def _spread(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most ``MOST_LINES`` rows, ends included."""
    if len(rows) <= MOST_LINES:
        return rows
    places = [round(k * (len(rows) - 1) / (MOST_LINES - 1)) for k in range(MOST_LINES)]
    return [rows[place] for place in places]


def _warn(message: str) -> None:
    import sys

    sys.stderr.write(f"silicost: warning: {message}\n")


def _slug(asked: Study) -> str:
    """Name of the folder: the title, or for flags a hash of what they ask, so that the same command goes on there."""
    words = re.sub(r"[^a-z0-9]+", "-", asked.title.lower()).strip("-")
    return words if words not in ("", "sweep") else f"sweep-{hashlib.sha256(asked.text.encode()).hexdigest()[:8]}"
