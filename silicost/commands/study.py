"""``silicost study ls|show|diff|export``: what ``silicost sweep`` has left on the disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hardware_specs.errors import InputError, clipped
from silicost.commands import flags
from silicost.output import Format, csv_text, print_json, print_rows, print_table, write_out

if TYPE_CHECKING:
    from simulator.explore.differences import StudyDifference
    from simulator.explore.manifest import Manifest
    from simulator.explore.reading import Study

app = typer.Typer(no_args_is_help=True, help="Studies on the disk: list, show, compare, export.")

_DEPTH: Final = 3
"""Folders are looked through so deep."""
_LONGEST: Final = 60
"""Characters of a fact in a table."""
Folder = Annotated[str, typer.Argument(help="Folder of a study.", metavar="FOLDER")]
Query = Annotated[
    str, typer.Option("--sql", help="Query over the table 'study', by DuckDB: 'select ... from study'.", metavar="SQL")
]
Columns = Annotated[str, typer.Option("--columns", help="Columns, by commas; default all.", metavar="A,B")]


@app.command("ls")
def list_studies(
    folder: Annotated[str, typer.Argument(help="Where to look; default ./runs.", metavar="FOLDER")] = "runs",
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Studies in a folder and below: how far they are, and when they were last added to."""
    place = Path(folder)
    if not place.is_dir():
        raise InputError(f"{clipped(folder)}: there is no such folder")
    rows = [_line(found) for found in sorted(studies_in(place))]
    if not rows and format is Format.TABLE:
        sys.stderr.write(f"silicost: no study in {folder}\n")
    print_rows(rows, format)


@app.command("show")
def show(folder: Folder, sql: Query = "", format: flags.HowToPrint = Format.TABLE) -> None:
    """What a study asked, what it was computed with, and what its columns hold; with --sql the answer to a query."""
    from simulator.explore.reading import open_study

    study = open_study(Path(folder))
    if sql:
        print_rows(study.sql(sql).to_pylist(), format)
        return
    facts, columns = facts_of(study), columns_of(study)
    if format is Format.JSON:
        print_json({**facts, "columns": columns})
    elif format is Format.CSV:
        write_out(csv_text(columns))
    else:
        shown = [{"fact": name, "value": _short(value)} for name, value in facts.items() if value not in ((), [], "")]
        print_table(shown, folder, header=False)
        print_table(columns, "\ncolumns")


@app.command("diff")
def diff(
    first: Annotated[str, typer.Argument(help="Folder of a study.", metavar="FIRST")],
    second: Annotated[str, typer.Argument(help="Folder of another.", metavar="SECOND")],
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """How far two studies over the same axes differ: in what they asked, and point by point."""
    from simulator.explore.differences import differences
    from simulator.explore.reading import open_study

    found = differences(open_study(Path(first)), open_study(Path(second)))
    columns: list[dict[str, Any]] = [
        {"column": each.name, "changed": each.changed, "known_once": each.known_once, "median_ratio": each.median,
         "farthest_ratio": each.ratio, "at": each.point}
        for each in found.columns
    ]  # fmt: skip
    if format is Format.JSON:
        print_json(_difference(found, columns))
    elif format is Format.CSV:
        write_out(csv_text([{**row, "at": _point(row["at"])} for row in columns]))
    else:
        facts = [
            {"differs": fact.name, "first": _short(fact.first), "second": _short(fact.second)} for fact in found.facts
        ]
        if facts:
            print_table(facts)
        write_out(
            f"{found.shared:,} points in both, {found.only_first:,} in the first alone, {found.only_second:,} in the "
            "second alone\n"
        )
        changed = [{**row, "at": _point(row["at"])} for row in columns if row["changed"]]
        if changed:
            print_table(changed, "\nsecond over first")
        elif found.shared:
            write_out("no difference in any column of them\n")


@app.command("export")
def export(
    folder: Folder,
    out: Annotated[
        str,
        typer.Option("--out", help="File: .csv, .jsonl, .parquet or .arrow; default CSV to stdout.", metavar="FILE"),
    ] = "",
    columns: Columns = "",
    sql: Query = "",
) -> None:
    """The table of a study, or the answer to a query, as one file; also: silicost export."""
    export_table(Path(folder), out, columns, sql)


def export_table(folder: Path, out: str, columns: str = "", sql: str = "") -> None:
    """Write the rows of a study, or the answer to a query, to a file, or as CSV to stdout.

    Raises:
        InputError: no study, another ending than those of tables, unknown columns, or a query with columns.
    """
    from simulator.explore.columns import arrow_schema
    from simulator.explore.export import check_format, csv_batches, write_file
    from simulator.explore.reading import open_study

    study = open_study(folder)
    if out:
        check_format(Path(out))
    if sql and columns:
        raise InputError("--sql, --columns: a query says its columns itself; leave one of them out")
    if sql:
        answer = study.sql(sql)
        schema, batches = answer.schema, iter(answer.to_batches())
    else:
        names = [name.strip() for name in columns.split(",")] if columns else None
        schema, batches = arrow_schema(study.columns(names)), study.batches(names)
    if out:
        rows = write_file(Path(out), schema, batches)
        sys.stderr.write(f"silicost: {rows:,} rows in {out}\n")
        return
    for text in csv_batches(schema, batches):
        write_out(text)


def studies_in(folder: Path) -> Iterator[Path]:
    """The folders of studies in and below a folder."""
    from simulator.explore.manifest import MANIFEST

    for place, folders, files in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        if MANIFEST in files:
            yield Path(place)
        if MANIFEST in files or depth >= _DEPTH:
            folders.clear()


def facts_of(study: Study) -> dict[str, Any]:
    """What a study is, by name of the fact, for people and programs."""
    manifest, definition = study.manifest, study.manifest.definition
    used = {f"{part.key}.parquet" for part in manifest.parts}
    files = [path for path in (study.folder / "parts").glob("*") if not path.name.startswith(".")]
    unused = [path for path in files if path.name not in used]
    return {
        "title": definition.title, "state": state_of(manifest), "points": definition.points, "rows": manifest.rows,
        "parts": len(manifest.parts), "bytes": sum(path.stat().st_size for path in files),
        "parts of other runs": len([path for path in unused if path.suffix == ".parquet"]),
        "damaged parts": len([path for path in unused if path.suffix == ".damaged"]),
        "created": manifest.created, "appended": manifest.appended, "seed": definition.seed,
        "axes": definition.axes, "sampler": definition.sampler, "space": definition.space,
        "evaluator": definition.evaluator, "scenarios": definition.scenarios, **definition.facts,
        **{f"{name} version": text for name, text in manifest.versions.items()},
        "given up": [f"points {part.start} to {part.stop - 1}: {part.reason}" for part in manifest.given_up],
        "text": definition.text,
    }  # fmt: skip


def columns_of(study: Study) -> list[dict[str, Any]]:
    """What each column holds: how many different values, the least and the greatest, how many rows without one."""
    from simulator.explore.summaries import summaries

    return [
        {"column": each.info.name, "of": "axis" if each.info.axis else "result", "kind": each.info.kind,
         "unit": each.info.unit, "values": each.distinct, "least": each.least, "greatest": each.greatest,
         "unknown": each.unknown}
        for each in summaries(study)
    ]  # fmt: skip


def state_of(manifest: Manifest) -> str:
    """How far a study is, in words."""
    if manifest.is_whole:
        return "complete"
    done = f"{manifest.points:,} of {manifest.definition.points:,} points"
    return f"{done}, {len(manifest.given_up)} parts given up" if manifest.given_up else done


def _line(folder: Path) -> dict[str, Any]:
    """One study of a list; of one that cannot be read the reason."""
    from simulator.explore.manifest import read_manifest

    try:
        manifest = read_manifest(folder)
    except InputError as error:
        return {"folder": str(folder), "title": None, "state": str(error), "rows": None, "parts": None,
                "appended": None}  # fmt: skip
    return {
        "folder": str(folder), "title": manifest.definition.title, "state": state_of(manifest),
        "rows": manifest.rows, "parts": len(manifest.parts), "appended": manifest.appended,
    }  # fmt: skip


def _difference(found: StudyDifference, columns: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "facts": [fact._asdict() for fact in found.facts], "rows": found.rows, "shared": found.shared,
        "only_first": found.only_first, "only_second": found.only_second, "columns": columns,
    }  # fmt: skip


def _point(values: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def _short(value: Any) -> str:
    """A fact in a cell."""
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
