"""How many times as good the first of two is as the second, for print: a density, parted where they are equal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.definitions import in_titles
from reports.palette import role
from reports.print_figure import PrintFigure, ink, legend_below, letters_in, set_height
from reports.text import lowered, short
from reports.whatif import WhatIf
from reports.whatif_figures.probability import applies, ratios_along, sides_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

_HATCHES = ("", "////")


def draw(card: WhatIf, drawing: Drawing) -> None:
    """The area on a side is the chance of that side; the second one is hatched."""
    from matplotlib.patches import Patch

    given = card.probability
    assert given is not None
    set_height(drawing, 2.9)
    axes = drawing.add_subplot()
    keys = []
    room = max(letters_in(drawing, 0.45) - len(" is better: 100 %"), 8)
    names = [short(name, room) for name in given.names]
    for (name, shade, side), hatch in zip(sides_of(given._replace(names=(names[0], names[1]))), _HATCHES, strict=True):
        look: dict[str, Any] = {"facecolor": ink(role("series", shade)), "hatch": hatch, "edgecolor": "white"}
        look |= {"alpha": 0.55, "linewidth": 0.0}
        axes.fill_between(given.log_ratio, 0.0, given.density, where=side.tolist(), **look)
        keys.append(Patch(label=name, **look))
    axes.plot(given.log_ratio, given.density, color=ink("ink"), linewidth=1.0)
    axes.axvline(0.0, color=ink("ink"), linewidth=1.0, linestyle=(0, (4, 3)))
    ticks = ratios_along(given)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set(xlim=(float(given.log_ratio.min()), float(given.log_ratio.max())), ylim=(0.0, None), yticks=[])
    first, second = (short(name, letters_in(drawing, 0.25)) for name in given.names)
    by = short(in_titles(given.metric), letters_in(drawing, 0.8))
    axes.set_xlabel(f"how many times as good {first} is as {second}\nby {lowered(by)}")
    axes.spines["left"].set_visible(False)
    notes = [f"{each.title}, {what}: {text}" for each in card.cards for what, text in each.lines[:1]]
    rest = [f"{what}: {100.0 * chance:.0f} %" for what, chance in given.chances[1:]]
    legend_below(drawing, keys, notes=[*notes, *([f"chance by {', '.join(rest)}"] if rest else [])])


FIGURE = PrintFigure("chance", "Which one is better, and how sure that is", ("whatif",), applies, draw)
