from __future__ import annotations

import msgspec

from reports.comparing import compare, entries_of
from reports.exports.markdown import comparison_text, plain, result_text
from reports.numbers import quantity
from reports.page_data import Page
from simulator.result import Result


def page(*results: Result) -> Page:
    return Page("results", results)


def test_a_summary_has_headlines_intervals_and_what_they_rest_on(one: Result) -> None:
    text = result_text([one])
    band = one.intervals["tpot_s"]
    assert f"{quantity(band.p10, 's')} – {quantity(band.p90, 's')}" in text
    assert f"Rests on {len(one.provenance)} inputs" in text
    assert f"Extrapolated for {one.pools[0].device}: no fit to its measured calls" in text
    assert len(text) < 4000
    assert text == result_text([one])


def test_warnings_are_said_once(one: Result) -> None:
    text = result_text([msgspec.structs.replace(one, warnings=("mind this", "mind this"))])
    assert text.count("**Warning:** mind this") == 1


def test_hostile_strings_are_only_text(one: Result, hostile: str) -> None:
    bad = msgspec.structs.replace(one, title=hostile, warnings=(hostile,), configuration={"model": hostile})
    for text in (
        result_text([bad]),
        comparison_text(compare(entries_of([(hostile, page(bad)), ("b", page(one))]))),
    ):
        text.encode("utf-8")
        bare = text.replace("<sub>", "").replace("</sub>", "").replace("\\<", "").replace("\\>", "").replace("\n> ", "")
        assert "<" not in bare
        assert "](" not in text


def test_rows_of_a_comparison_have_the_same_columns(seven: list[Result]) -> None:
    text = comparison_text(compare(entries_of([("all", page(*seven))])))
    widths = {
        line.replace("\\|", "").count("|")
        for line in text.splitlines()
        if line.startswith("| Metric") or "---:" in line
    }
    assert widths == {2 * len(seven) + 1}


def test_what_counts_sequences_is_whole(one: Result) -> None:
    (row,) = (line for line in result_text([one]).splitlines() if "Largest batch" in line)
    assert f"| {one.metrics['max_batch']:,.0f} sequences |" in row


def test_special_characters_are_escaped() -> None:
    assert plain("a|b*c\n<i>") == "a\\|b\\*c \\<i\\>"
