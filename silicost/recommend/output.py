"""A recommendation as people read it, and its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hardware_specs.files import write_texts
from reports.numbers import quantity
from silicost.output import json_text, print_table, write_out
from silicost.recommend.answer import Recommendation, json_of
from silicost.recommend.candidates import against_first, headroom
from silicost.recommend.words import REASONS, asked_in_words, dimension_of, plan_in_words, verdict

SHOWN: Final = 10
"""Candidates and losers that a table has; JSON and CSV have all."""


def show(found: Recommendation) -> None:
    """Print the verdict, the ranking, and why others lose."""
    write_out(f"{verdict(found)}\n\n")
    if found.ranked:
        print_table([_line(found, place) for place in range(min(SHOWN, len(found.ranked)))], asked_in_words(found))
        more = len(found.ranked) - SHOWN
        write_out(f"(and {more} more: see --format json)\n\n" if more > 0 else "\n")
        lines = [
            {"device": each.device.id, "why not first": against_first(found.asked, found.ranked[0], each)}
            for each in found.ranked[1:SHOWN]
        ]
        if lines:
            print_table(lines)
            write_out("\n")
    counts = Counter(each.code for each in found.losers)
    rows = [
        {"left out": count, "because": REASONS.get(code, code), "nearest": f"{each.device}: {each.why}"}
        for code, count in counts.most_common()
        for each in [next(loser for loser in found.losers if loser.code == code)]
    ]
    if rows:
        print_table(rows)
    write_out(f"\n{found.questions:,} designs were priced\n")


def rows_of(found: Recommendation) -> list[dict[str, Any]]:
    """Lines of CSV: candidates and losers."""
    keys = ("rank", "device", "device_class", "count", "value", "usd_per_hour", "rated_w", "chance_best", "bound")
    rows = []
    for row in json_of(found)["ranked"]:
        ends = row["interval_80"] or {}
        words = {"name": found.asked.name, "metric": row["metric"], "reason": "", "why": row["why_not_first"] or ""}
        plan = " ".join(f"{key}={value}" for key, value in row["plan"].items())
        rows.append({**{key: row[key] for key in keys}, "p10": ends.get("p10"), "p90": ends.get("p90"), "plan": plan,
                     **words})  # fmt: skip
    blank = dict.fromkeys((*keys, "p10", "p90", "plan"))
    for each in found.losers:
        own = {"device": each.device, "device_class": each.device_class, "name": found.asked.name,
               "metric": found.asked.metric, "reason": each.code, "why": each.why}  # fmt: skip
        rows.append({**blank, **own})
    return rows


def write_files(folder: Path, found: Sequence[Recommendation], title: str) -> None:
    """``recommendation.json``; ``report.html``, the page; of the winners ``result.json``, which ``silicost deploy``
    reads; and ``results.html``, which compares those that were simulated.

    Raises:
        InputError: the folder cannot be written.
    """
    from reports.page import render_report
    from reports.page_data import Page, page_texts
    from reports.recommendation_page import render_recommendation
    from silicost.recommend.page import card_of

    whole = [json_of(each) for each in found]
    winners = [each.ranked[0].result for each in found if each.ranked and each.ranked[0].result is not None]
    texts: dict[Path, str | bytes] = {folder / "recommendation.json": json_text(whole if len(whole) > 1 else whole[0])}
    card = card_of(found, title)
    texts |= page_texts(folder / "report.html", render_recommendation(card), Page("recommendation", card))
    if winners:
        plain = [result.as_json() for result in winners]
        texts[folder / "result.json"] = json_text(plain if len(plain) > 1 else plain[0])
        if len(found) == 1:
            shown = [each.result for each in found[0].ranked[: found[0].asked.top] if each.result is not None]
        else:
            shown = winners
        lead = "; ".join(verdict(each) for each in found)
        page = render_report(shown, title, lead)
        texts |= page_texts(folder / "results.html", page, Page("results", tuple(shown), title, lead))
    write_texts(texts)


def write_report(path: Path, found: Sequence[Recommendation], title: str) -> None:
    """The page alone.

    Raises:
        InputError: the place cannot be written.
    """
    from reports.recommendation_page import write_recommendation
    from silicost.recommend.page import card_of

    write_recommendation(path, card_of(found, title))


def _line(found: Recommendation, place: int) -> dict[str, str]:
    asked, each = found.asked, found.ranked[place]
    metric, value = asked.metric, each.metrics[asked.metric]
    assert value is not None
    ends = each.interval
    chances = found.chances
    left = headroom(asked.limits, each)
    compared = chances is not None and place < len(chances.best)
    return {
        "": str(place + 1), "device": each.device.id, "class": each.device.device_class, "devices": str(each.count),
        "plan": plan_in_words(each), metric: quantity(value, dimension_of(metric)),
        "80% from": quantity(ends[0], dimension_of(metric)) if ends else "-",
        "80% to": quantity(ends[1], dimension_of(metric)) if ends else "-",
        "best with": f"{chances.best[place]:.0%}" if chances is not None and compared else "-",
        "USD/h": "-" if each.usd_per_hour is None else f"{each.usd_per_hour:.4g}", "price": each.price_origin or "-",
        "rated": quantity(each.rated_w, "w"), "memory": f"{each.memory_bytes / each.usable_bytes:.0%}",
        "left to the SLO": ", ".join(f"{name} {share:.0%}" for name, share in left.items()) or "-",
    }  # fmt: skip
