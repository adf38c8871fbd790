"""``silicost validate``: predictions beside measurements."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardware_specs.errors import InputError, clipped, nearest
from hardware_specs.files import is_folder, write_bytes
from silicost.commands import flags
from silicost.output import Format, csv_text, print_json, print_rows, write_out

if TYPE_CHECKING:
    from simulator.validation.validate import Scored

HEADINGS = {
    "n": "n", "skipped": "skipped", "mape": "mape", "median_ape": "median", "bias": "bias", "coverage_80": "in 80%",
    "coverage_80_p": "p of 80%", "coverage_95": "in 95%", "coverage_95_p": "p of 95%", "interval_score": "score",
    "constant_band_score": "constant band", "kendall_tau": "tau", "fitted_rows": "fitted", "source_devices": "pairs",
    "assumed_rows": "assuming",
}  # fmt: skip
"""Figures of the tables, in their order, and their headings; JSON and CSV have all figures under their own names."""

LEFT_OUT = ("mape_with_skipped", "p90_ape", "median_abs_log_ratio")
"""Figures that tables have no room for."""

QUIET_S = 2.0
"""Progress is told after so long, and then as often [s]."""


def validate(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH]...", help="Points files (CSV, Parquet) or folders; none: the shipped figures."),
    ] = None,
    kind: Annotated[str, typer.Option("--kind", help="ops, inference, training or serving; default as columns say.")]
    = "",
    models: Annotated[str, typer.Option("--models", help="Table of architectures that the catalogue lacks.")] = "",
    group_by: Annotated[str, typer.Option("--group-by", help="Columns to group by; also runtime, fitted, assumed.")]
    = "source,device,op",
    where: Annotated[str, typer.Option("--where", help="Rows to take: 'quality=A|B,batch_kind=exact'.")] = "",
    exclude_fitted: Annotated[
        bool, typer.Option("--exclude-fitted", help="Leave out rows that a fit of device or runtime has seen.")
    ] = False,
    rows_out: Annotated[str, typer.Option("--rows-out", help="Parquet file of all rows and their predictions.")] = "",
    report: Annotated[str, typer.Option("--report", help="HTML page of all scores.", metavar="FILE.html")] = "",
    calibration: flags.Calibration = None,
    format: flags.HowToPrint = Format.TABLE,
) -> None:  # fmt: skip
    """How far predictions are off measurements: errors, bias, rank correlation, coverage of the intervals.

    Without PATH the published figures that ship with silicost are scored.
    """
    from simulator.validation.architectures import read_models
    from simulator.validation.points import read_points, read_published, select
    from simulator.validation.validate import COMPUTED, narrowed, predict, report_of

    check_kind(kind)
    _check_place("--rows-out", rows_out, ".parquet")
    _check_place("--report", report, ".html")
    read = read_points([Path(path) for path in paths], kind) if paths else read_published(kind)
    found = select(read, where, COMPUTED)
    own = read_models(Path(models)) if models else {}
    progress = Progress()
    scored = narrowed(predict(found, own, exclude_fitted, progress.tell), where)
    scores = report_of(scored, [name.strip() for name in group_by.split(",") if name.strip()])
    if rows_out:
        write_bytes(Path(rows_out), _parquet(scored))
    if report:
        _write_page(Path(report), scored, MEASUREMENTS if paths else PUBLISHED)
    _show(scores, format)
    tell_of_own(scored)
    progress.end(sum(len(each.outcome) for each in scored))


def tell_of_own(scored: Sequence[Scored]) -> None:
    """Say what is to be known of the user's own calibrations that predictions of these rows rest on."""
    from hardware_specs.calibrations import own_device_names
    from silicost.answer import tell_of_calibrations

    own = set(own_device_names())
    runtimes: dict[str, set[str]] = {}
    for each in scored if own else ():
        for device, runtime in set(zip(each.label("device"), each.label("runtime"), strict=True)):
            if device in own:
                runtimes.setdefault(device, set()).add(runtime)
    tell_of_calibrations(runtimes)


def check_kind(kind: str) -> None:
    """Refuse a kind of points that does not exist.

    Raises:
        InputError: with the nearest and all that are allowed.
    """
    from simulator.validation.points import KINDS

    if kind and kind not in KINDS:
        close = nearest(kind, KINDS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"--kind {clipped(kind)!r}: is not allowed{hint} (allowed: {', '.join(KINDS)})")


def _check_place(flag: str, name: str, ending: str) -> None:
    """Refuse a file of another form, or one that cannot be written: better known before the work than after it.

    Raises:
        InputError: with the flag or the place.
    """
    if not name:
        return
    if not name.endswith(ending) or is_folder(Path(name)):
        raise InputError(f"{flag} {clipped(name)}: must be a file that ends in {ending}")
    probe = Path(name).with_name(f".{Path(name).name[:100]}.probe")
    write_bytes(probe, b"")
    probe.unlink()


def _write_page(place: Path, scored: Sequence[Scored], title: str) -> None:
    from reports.scorecard_page import write_scorecard
    from silicost.scorecard import scorecard_of

    write_scorecard(place, scorecard_of(scored, title))
    sys.stderr.write(f"silicost: report: {place}\n")


def _parquet(scored: Sequence[Scored]) -> bytes:
    """All rows as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from simulator.validation.validate import rows_of

    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(rows_of(scored), preserve_index=False), buffer)
    return bytes(buffer.getvalue().to_pybytes())


PUBLISHED, MEASUREMENTS = "Predictions beside published figures", "Predictions beside measurements"
"""Headings of pages."""


class Progress:
    """Says on standard error how far long work is."""

    def __init__(self) -> None:
        self.began = self.told = time.monotonic()

    def tell(self, name: str, done: int, rows: int) -> None:
        """Say that ``done`` of the rows of a file are done, now and then."""
        now = time.monotonic()
        if now - self.told >= QUIET_S:
            self.told = now
            sys.stderr.write(f"silicost: {clipped(name)}: {done:,} of {rows:,} rows\n")

    def end(self, rows: int) -> None:
        """Say how long all took, if it was long."""
        if self.told > self.began:
            sys.stderr.write(f"silicost: {rows:,} rows in {time.monotonic() - self.began:.1f} s\n")


def _show(report: dict[str, Any], how: Format) -> None:
    """Print a report: its JSON form, its groups as CSV, or tables."""
    if how is Format.JSON:
        print_json(report)
    elif how is Format.CSV:
        write_out(csv_text([_flat(group) for group in _same_keys(report["groups"])]))
    else:
        _print_tables(report)


def _print_tables(report: dict[str, Any]) -> None:
    for kind in dict.fromkeys(group["kind"] for group in report["groups"]):
        rows = [_line(group, "kind") for group in report["groups"] if group["kind"] == kind]
        print_rows(rows, Format.TABLE, kind)
    overall = report["overall"]
    parts = {"all": overall, "seen": overall["fitted"], "held out": overall["held_out"]}
    print_rows([{"rows": name, **_line(part)} for name, part in parts.items()], Format.TABLE, "over all rows")
    if report["memory"]:
        print_rows([_line(report["memory"])], Format.TABLE, "memory of training runs")
    if report["ranking"]:
        print_rows([_rounded(row) for row in report["ranking"]], Format.TABLE, "ranking of plans within a model")
    title = "mean over (source, device) groups"
    print_rows([_line(overall["source_device_groups"])], Format.TABLE, title)
    for title, reasons in (("skipped", overall["skip_reasons"]), ("left out", report["left_out"])):
        if reasons:
            print_rows([{"rows": n, "reason": reason} for reason, n in reasons.items()], Format.TABLE, title)


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in row.items()}


def _line(group: dict[str, Any], *without: str) -> dict[str, Any]:
    """A group as a line of a table: labels, then the figures of ``HEADINGS``, numbers of three digits."""
    labels = [name for name in group if name not in (*HEADINGS, *LEFT_OUT, *without)]
    shown = {name: name for name in labels} | {name: heading for name, heading in HEADINGS.items() if name in group}
    return {
        heading: float(f"{value:.3g}") if isinstance(value := group[name], float) else value
        for name, heading in shown.items()
        if not isinstance(group[name], dict)
    }


def _flat(group: dict[str, Any]) -> dict[str, Any]:
    """A group as a line of CSV: reasons as text."""
    reasons = "; ".join(f"{count} x {reason}" for reason, count in group["skip_reasons"].items())
    return group | {"skip_reasons": reasons}


def _same_keys(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups of several kinds under the union of their keys."""
    keys = dict.fromkeys(key for group in groups for key in group)
    return [{key: group.get(key) for key in keys} for group in groups]
