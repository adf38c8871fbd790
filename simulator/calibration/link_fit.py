"""Links and collective libraries from measured transfers and collectives.

A link is latency and bandwidth: seconds = a + bytes / B (R. Hockney, "The communication challenge for MPP", Parallel
Computing 20(3), 1994). Residuals are log ratios, so that a message of a byte counts as one of 64 MiB, under a soft-L1
loss. How far the line is off is told by fits that left each message size out in turn.

Ping-pong rows give the latency. Streams, where there are any, give the bandwidth: a plain large copy has the sender,
the wire and the receiver at work at once. That of a link is what the largest messages reach: smaller ones may stay in a
cache on their way. Collectives count as hops and passes over the link, see ``hops_of``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from hardware_specs.errors import InputError
from hardware_specs.files import write_text
from simulator.calibration.samples import Measurement
from simulator.calibration.split import folds_of
from simulator.kernels.collectives import passes
from simulator.uncertainty.intervals import Z95
from workloads.operators import COLLECTIVES, OpKind

Floats = npt.NDArray[np.float64]
Category = Literal["scale-up", "scale-out", "host", "chip-to-chip"]
Value = Literal["latency", "bandwidth"]
VALUES: Final[tuple[Value, ...]] = ("latency", "bandwidth")

SOFT_LOG_RATIO: Final = 0.1
"""Log ratio from which on a point counts linearly instead of quadratically."""
WORST_SD: Final = 0.5
"""Standard error of a logarithm above which rows do not show a value."""
LARGE_BYTES: Final = float(1 << 22)
"""Messages of at least this size and of at least a sixteenth of the largest are large copies [B]."""
MOST_FOLDS: Final = 16
"""Message sizes that are left out one by one; of more, groups are."""
_TOPOLOGY: Final[dict[Category, str]] = {
    "scale-up": "switch", "scale-out": "fat-tree", "host": "pcie-tree", "chip-to-chip": "full-mesh",
}  # fmt: skip


class LeftOut(NamedTuple):
    """Log of predicted over measured seconds of the rows of one message size [B], by a fit that had not seen them."""

    message_bytes: float
    log_ratio: float


@dataclass(frozen=True)
class Line:
    """seconds = hops x ``latency_s`` + passes x bytes / ``bytes_per_s``.

    ``latency_sd`` and ``bandwidth_sd`` are standard errors of the logarithms; ``left_out`` is by message size.
    ``large_bytes_per_s`` is what large messages reach: another rate where these leave the caches.
    """

    latency_s: float
    bytes_per_s: float
    large_bytes_per_s: float
    latency_sd: float
    bandwidth_sd: float
    rows: int
    left_out: tuple[LeftOut, ...]

    @property
    def error(self) -> tuple[float, float]:
        """Median and largest relative error of the fits on sizes that they left out; NaN where none was."""
        off = [abs(np.expm1(each.log_ratio)) for each in self.left_out]
        return (float(np.median(off)), float(max(off))) if off else (float("nan"), float("nan"))


@dataclass(frozen=True)
class LinkFit:
    """A fitted link: ``single`` of messages that are waited for, ``streamed`` of many that follow each other."""

    transport: str
    single: Line
    streamed: Line | None
    sources: tuple[str, ...]
    with_library: bool

    @property
    def bytes_per_s(self) -> float:
        """What a plain large copy reaches [B/s]."""
        return (self.streamed or self.single).large_bytes_per_s


def fit_line(
    message_bytes: Floats, seconds: Floats, hops: Floats, times: Floats, wanted: Sequence[Value] = VALUES
) -> Line:
    """Fit latency and bandwidth.

    Args:
        message_bytes, seconds, hops, times: of each row, shape [n]; ``times`` the message passes over the link.
        wanted: what rows must show; the other value may be anything.

    Raises:
        InputError: fewer than three message sizes, or rows that do not show what is wanted.
    """
    sizes = sorted(set(message_bytes.tolist()))
    if len(sizes) < 3:
        raise InputError(f"{len(sizes)} message sizes do not show latency and bandwidth; measure at least 3")
    u, jacobian, residuals = _line(message_bytes, seconds, hops, times)
    spread = 1.4826 * float(np.median(np.abs(residuals)))
    scale = max(spread, 1e-6) ** 2 * len(seconds) / max(len(seconds) - 2.0, 1.0)
    information = jacobian.T @ jacobian
    # A flat direction has no information: its error is without limit.
    sd = np.sqrt(scale / np.maximum(np.diag(information) - information[0, 1] ** 2 / np.diag(information)[::-1], 1e-12))
    for what, others, each in zip(VALUES, ("smaller", "larger"), sd.tolist(), strict=True):
        if what in wanted and each > WORST_SD:
            raise InputError(
                f"messages of {sizes[0]:g} to {sizes[-1]:g} bytes do not show the {what} "
                f"(standard error of its logarithm {each:.2g}); measure {others} ones too"
            )
    left = _left_out(message_bytes, seconds, hops, times)
    latency, rate = np.exp(u).tolist()
    large = message_bytes >= max(LARGE_BYTES, sizes[-1] / 16.0)
    wire = seconds[large] - hops[large] * latency
    if np.all(wire > 0.0) and large.any():
        rates = times[large] * message_bytes[large] / wire
        return Line(latency, rate, float(np.median(rates)), float(sd[0]), float(sd[1]), len(seconds), left)
    return Line(latency, rate, rate, float(sd[0]), float(sd[1]), len(seconds), left)


def _line(size: Floats, seconds: Floats, hops: Floats, times: Floats) -> tuple[Floats, Floats, Floats]:
    """Logarithms of latency and bandwidth, shape [2]; slopes of the residuals [n, 2]; residuals [n]."""

    def parts(u: Floats) -> tuple[Floats, Floats]:
        return hops * np.exp(u[0]), times * size / np.exp(u[1])

    def residuals(u: Floats) -> Floats:
        return np.log(sum(parts(u)) / seconds)

    def slopes(u: Floats) -> Floats:
        start, wire = parts(u)
        return np.column_stack([start, -wire]) / (start + wire)[:, None]

    small, large = np.argmin(size), np.argmax(times * size)
    first = np.log([seconds[small] / hops[small], max(times[large] * size[large], 1.0) / seconds[large]])
    u = least_squares(residuals, first, slopes, loss="soft_l1", f_scale=SOFT_LOG_RATIO).x
    return u, slopes(u), residuals(u)


def _left_out(size: Floats, seconds: Floats, hops: Floats, times: Floats) -> tuple[LeftOut, ...]:
    """Every message size by a fit to the others."""
    keys = [f"{each:g}" for each in size.tolist()]
    fold = folds_of(keys, MOST_FOLDS)
    found = []
    for number in sorted(set(fold.tolist())):
        out, kept = fold == number, fold != number
        if len(set(size[kept].tolist())) < 2:
            continue
        u, _, _ = _line(size[kept], seconds[kept], hops[kept], times[kept])
        ratios = np.log((hops[out] * np.exp(u[0]) + times[out] * size[out] / np.exp(u[1])) / seconds[out])
        for each in sorted(set(size[out].tolist())):
            found.append(LeftOut(each, float(np.median(ratios[size[out] == each]))))
    return tuple(sorted(found))


def hops_of(measurement: Measurement) -> tuple[float, float]:
    """Hops that a small message takes one after the other, and how often a large one passes each rank's link.

    Transfers and sends take one hop and one pass. Rings take n - 1 hops (all-reduce 2 (n - 1)); an all-to-all one.
    """
    o = measurement.operator
    if o.kind not in COLLECTIVES or o.kind == OpKind.SEND_RECV:
        return 1.0, 1.0
    ring = {OpKind.ALL_REDUCE: 2.0, OpKind.ALL_GATHER: 1.0, OpKind.REDUCE_SCATTER: 1.0}.get(o.kind, 0.0)
    return max(ring * (o.group - 1.0), 1.0), float(passes(int(o.kind), float(o.group)))


def fit_link(measurements: Sequence[Measurement], transport: str = "") -> LinkFit:
    """The link that transfers, sends or collectives were measured on.

    Args:
        transport: the first part of the variant of the rows that count ("tcp", "pipe"); "": there is one only.

    Raises:
        InputError: no rows, rows of several transports, or rows that do not show latency and bandwidth.
    """
    rows = [each for each in measurements if each.operator.message_bytes > 0.0]
    known = sorted({transport_of(each) for each in rows})
    if not known:
        raise InputError("no transfer and no collective among the samples; a link cannot be fitted")
    if transport and transport not in known:
        raise InputError(f"no rows of transport {transport!r} (there are: {', '.join(known)})")
    if not transport and len(known) > 1:
        raise InputError(f"rows of several transports: {', '.join(known)}; say which one is the link")
    chosen = [each for each in rows if transport_of(each) == (transport or known[0])]
    streams = [each for each in chosen if is_stream(each)]
    single = [each for each in chosen if not is_stream(each)]
    if not single:
        raise InputError("there are streams only; a link's latency needs rows of messages that are waited for")
    sources = tuple(sorted({each.source or f"silicost {each.probe} probe" for each in chosen}))
    library = any(each.operator.kind in COLLECTIVES for each in chosen)
    waited = _fit(single, ("latency",) if streams else VALUES)
    return LinkFit(transport or known[0], waited, _fit(streams, ("bandwidth",)) if streams else None, sources, library)


def transport_of(measurement: Measurement) -> str:
    """What carried the messages: "tcp" of "tcp.stream"; the probe where the variant says how a library was run."""
    if measurement.operator.kind in COLLECTIVES:
        return measurement.probe
    return measurement.variant.split(".")[0] or measurement.probe


def is_stream(measurement: Measurement) -> bool:
    """Whether the row is of messages that follow each other, not of one that is waited for."""
    return "stream" in measurement.variant.split(".")[1:]


def _fit(rows: Sequence[Measurement], wanted: Sequence[Value]) -> Line:
    counts = [hops_of(each) for each in rows]
    return fit_line(
        np.array([each.operator.message_bytes for each in rows]), np.array([each.time_s for each in rows]),
        np.array([hops for hops, _ in counts]), np.array([times for _, times in counts]), wanted,
    )  # fmt: skip


def link_text(
    fit: LinkFit, *, id: str, name: str, category: Category, date: str, nominal_bytes_per_s: float = 0.0,
    topology: str = "",
) -> str:  # fmt: skip
    """The TOML file of a link that ``hardware_specs.links`` reads.

    Args:
        nominal_bytes_per_s: rate per direction by the datasheet, of which the measured one is the achieved fraction;
            0: the measured rate counts as the bandwidth.
        topology: how it joins a group; "": as links of this category usually do.

    Raises:
        InputError: the measured bandwidth is above the nominal one.
    """
    measured = fit.bytes_per_s
    if nominal_bytes_per_s and measured > nominal_bytes_per_s:
        raise InputError(
            f"{measured / 1e9:.4g} GB/s were measured, more than the nominal {nominal_bytes_per_s / 1e9:.4g} GB/s per "
            "direction"
        )
    if nominal_bytes_per_s:
        bandwidth = _fact(f"{nominal_bytes_per_s / 1e9:.6g} GB/s", "assumed", "nominal rate as the user gives it")
        achieved = _fact(f"{measured / nominal_bytes_per_s:.4g}", "calibrated", id)
    else:
        bandwidth = _fact(f"{measured / 1e9:.4g} GB/s", "calibrated", id)
        achieved = _fact("1", "assumed", "the bandwidth is already that of a copy")
    return "\n".join(
        [
            f"# {name}, measured",
            f"name = {toml_text(name)}",
            f"category = {toml_text(category)}",
            f"bandwidth = {bandwidth}",
            f"latency = {_fact(f'{fit.single.latency_s * 1e6:.4g} us', 'calibrated', id)}",
            f"achieved_fraction = {achieved}",
            f"topology = {toml_text(topology or _TOPOLOGY[category])}",
            f"notes = {toml_text(_notes(fit))}",
            "",
            *fit_table(id, fit.sources, _rule(fit), date, fit.single.rows + (fit.streamed.rows if fit.streamed else 0)),
            "",
        ]
    )


def _rule(fit: LinkFit) -> str:
    rule = "latency + bytes / bandwidth, soft-L1 log ratios"
    if fit.streamed:
        rule += "; latency of ping-pong, bandwidth of the largest messages of streams each way"
    if fit.with_library:
        rule += "; the latency holds the set-up of the collective library"
    return f"{rule}; each message size left out in turn"


def _notes(fit: LinkFit) -> str:
    parts = []
    for what, line in (("messages that are waited for", fit.single), ("streams", fit.streamed)):
        if line:
            median, worst = line.error
            parts.append(
                f"{what}: {line.latency_s * 1e6:.3g} us (95% within {_percent(line.latency_sd)}) and "
                f"{line.bytes_per_s / 1e9:.3g} GB/s (within {_percent(line.bandwidth_sd)}), the largest "
                f"{line.large_bytes_per_s / 1e9:.3g} GB/s; sizes left out are off by {100.0 * median:.0f}% in the "
                f"median and {100.0 * worst:.0f}% at most"
            )
    return "; ".join(parts) + "."


def _percent(sd: float) -> str:
    return f"{100.0 * np.expm1(Z95 * sd):.0f}%"


def write_link(folder: Path, id: str, text: str) -> Path:
    """Write ``text`` as the link ``id`` of the data directory ``folder`` (``hardware_specs.catalogue.user_directory``).

    Raises:
        InputError: the place cannot be written.
    """
    path = folder / "links" / f"{id}.toml"
    write_text(path, text)
    return path


def fit_table(
    id: str, sources: Sequence[str], rule: str, date: str, rows: int, devices: Sequence[str] = ()
) -> list[str]:
    """The table of a fit that facts marked ``calibrated = id`` name."""
    fields = [
        f"sources = {toml_text(list(sources))}",
        f"rule = {toml_text(rule)}",
        f"date = {toml_text(date)}",
        f"rows = {rows}",
    ]
    if devices:
        fields.append(f"devices = {toml_text(list(devices))}")
    return [f"[fits.{toml_text(id)}]", *fields]


def _fact(text: str, mark: str, origin: str) -> str:
    """A fact as an inline table."""
    return f"{{ value = {toml_text(text)}, {mark} = {toml_text(origin)} }}"


def toml_text(value: Any) -> str:
    """A TOML value: JSON text is TOML text."""
    return msgspec.json.encode(value).decode()
