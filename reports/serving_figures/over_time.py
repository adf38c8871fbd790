"""The run over time: small pictures of each pool on one axis of time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from markupsafe import Markup

from reports.figure import Figure
from reports.live_figures.moments import Line as LiveLine
from reports.live_figures.moments import Moment, live_moments
from reports.numbers import number, quantity, unit_of
from reports.palette import SERIES, role
from reports.parts import Key
from reports.serving import Floats, Line, OverTime, ServedCard, Track
from reports.serving_svg import small
from reports.svg import colour, drawing
from reports.templating import render
from reports.whatif_axis import round_step

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_GROUPS: Final = 9
MOST_LIVE: Final = 24
"""Pictures that are live, the first ones; each takes 8 kB of the page."""
_SIZE_IN: Final = (3.5, 1.5)
_BOX: Final = (0.14, 0.17, 0.835, 0.79)
_TIMES: Final = ((2.0, 1.0, "s"), (300.0, 1.0, "s"), (7200.0, 60.0, "min"), (math.inf, 3600.0, "h"))


class Panel(NamedTuple):
    """One picture, with its mean and peak in words."""

    title: str
    note: str
    svg: Markup
    keys: list[Key]


class Shown(NamedTuple):
    """Pictures that belong together; ``quiet`` says in words what needs none."""

    name: str
    panels: list[Panel]
    quiet: str


def time_scale(end_s: float) -> tuple[float, str]:
    """The unit of an axis of time."""
    if end_s < 2.0:
        return unit_of(end_s, "s")
    return next((scale, unit) for most, scale, unit in _TIMES if end_s <= most)


def panel_of(run: OverTime, track: Track, key: str) -> Panel:
    """A picture of a track."""
    top = top_of(track)
    scale, unit = (1.0, "") if track.dimension in ("count", "") else unit_of(top, track.dimension)
    keys = [Key(line.name, role("series", SERIES[i % len(SERIES)])) for i, line in enumerate(track.lines)]
    span_s, time_unit = time_scale(run.end_s)
    with drawing(*_SIZE_IN) as figure:
        axes = figure.add_axes(_BOX)
        for line, one in zip(track.lines, keys, strict=True):
            at, values = _stretched(run, line.values / scale)
            axes.plot(at / span_s, values, color=colour(one.colour), linewidth=1.3, zorder=3)
            if len(keys) == 1:
                below = np.append(at, [at[-1], at[0]]) / span_s, np.append(values, [0.0, 0.0])
                axes.fill(*below, color=colour(one.colour), alpha=0.14, linewidth=0.0, zorder=2)
        _frame(axes, run.end_s / span_s, time_unit, top / scale)
        notes = [_words(line, track.dimension, named=len(keys) > 1) for line in track.lines]
        label = f"{track.title} over {quantity(run.end_s, 's')}: {'; '.join(notes)}"
        title = f"{track.title} [{unit}]" if unit else track.title
        return Panel(title, "; ".join(notes), small(figure, key, label, {}), keys if len(keys) > 1 else [])


def _stretched(run: OverTime, values: Floats) -> tuple[Floats, Floats]:
    """Points from the beginning to the end of the run: middles of bins, and both ends."""
    at = np.concatenate([[0.0], run.at_s, [run.end_s]])
    return np.minimum(at, run.end_s), np.concatenate([values[:1], values, values[-1:]])


def _frame(axes: Axes, end: float, unit: str, top: float) -> None:
    most = top if top > 0.0 else 1.0
    axes.set(xlim=(0.0, end), ylim=(0.0, 1.06 * most))
    across, up = _ticks(end, 5), _ticks(most, 3)
    axes.set_xticks(across, [*map(_round, across[:-1]), f"{_round(across[-1])} {unit}"])
    axes.set_yticks(up, [*map(_round, up)])
    if across[-1] > 0.93 * end:
        axes.get_xticklabels()[-1].set_horizontalalignment("right")
    axes.minorticks_off()
    axes.tick_params(bottom=False, left=False, labelsize=8.5)
    axes.grid(axis="y", color=colour("line"), linewidth=0.6, alpha=0.6)
    axes.set_axisbelow(True)


def _ticks(end: float, few: int) -> list[float]:
    """Round values from 0 on, at most ``few`` of them after it."""
    step = round_step(end, few)
    return [step * i for i in range(int(1.0001 * end / step) + 1)]


def _round(value: float) -> str:
    """A tick: thousands from 10,000 on as "10k"."""
    for least, factor, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value >= least:
            return f"{value / factor:g}{letter}"
    return f"{value:.6g}"


def _words(line: Line, dimension: str, *, named: bool) -> str:
    """Mean and peak of a line."""
    mean, peak = float(line.values.mean()), float(line.values.max())
    kind = "" if dimension == "count" else dimension
    text = (lambda value: quantity(value, kind)) if kind else number
    return f"{line.name + ': ' if named else ''}mean {text(mean)}, peak {text(peak)}"


def applies(card: ServedCard) -> bool:
    """Whether time passed."""
    return card.over_time is not None and bool(card.over_time.groups) and len(card.over_time.at_s) > 0


def draw(card: ServedCard) -> Markup:
    """Live pictures of the whole, then of each pool."""
    return _page(card, live=True)


def draw_static(card: ServedCard) -> Markup:
    """The same as still pictures."""
    return _page(card, live=False)


def _page(card: ServedCard, live: bool) -> Markup:
    run = card.over_time
    assert run is not None
    shown = run.groups[:MOST_GROUPS]
    parted = [_parted(group.tracks) for group in shown]
    groups = [
        Shown(group.name, [panel_of(run, track, f"time-{g}-{t}") for t, track in enumerate(tracks)], quiet)
        for g, (group, (tracks, quiet)) in enumerate(zip(shown, parted, strict=True))
    ]
    hidden = [group.name for group in run.groups[MOST_GROUPS:]]
    moments = [moment_of(run, track) for tracks, _ in parted for track in tracks][:MOST_LIVE]
    made = live_moments("over-time-live", moments, run.end_s) if live else None
    return render("serving_over_time.html", groups=groups, hidden=hidden, width=quantity(run.width_s, "s"), live=made)


def _parted(tracks: Sequence[Track]) -> tuple[list[Track], str]:
    """Tracks that are drawn, and in words those that are zero throughout or the same as one before."""
    drawn: list[Track] = []
    said = []
    for track in tracks:
        alike = next((each.title for each in drawn if _same(each, track)), "")
        if alike:
            said.append(f"{track.title}: as {alike[:1].lower()}{alike[1:]}")
        elif not any(line.values.any() for line in track.lines):
            said.append(f"{track.title}: 0 all the time")
        else:
            drawn.append(track)
    return drawn, f"{'; '.join(said)}." if said else ""


def _same(one: Track, other: Track) -> bool:
    return len(one.lines) == len(other.lines) and all(
        np.array_equal(a.values, b.values) for a, b in zip(one.lines, other.lines, strict=True)
    )


def moment_of(run: OverTime, track: Track) -> Moment:
    """A track as its live picture has it."""
    dimension = "number" if track.dimension in ("count", "") else track.dimension
    lines = [
        LiveLine(line.name, role("series", SERIES[i % len(SERIES)]), *_stretched(run, line.values))
        for i, line in enumerate(track.lines)
    ]
    return Moment(track.title, dimension, top_of(track), lines)


def top_of(track: Track) -> float:
    """Where the axis of a track ends."""
    return track.most if math.isfinite(track.most) else max(float(line.values.max()) for line in track.lines)


FIGURE: Final = Figure(
    "over-time",
    "The run over time",
    20,
    "All pictures have the same axis of time; values are means of bins of time, and an iteration counts in the bin in "
    "which it begins. What belongs to a pool is of all its replicas together; a queue is what waits when an iteration "
    "begins. Time of the host and of transfers is the share of the busy time in which devices wait for them.",
    applies,
    draw,
    draw_static,
)
