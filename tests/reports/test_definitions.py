"""Names lead to definitions, and a page lists those that it names."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from reports.definitions import Term, anchor_of, link, linked, used, without_dead_links
from reports.page import render_report
from simulator.result import Result

OWN = (Term("busy", "Busy", "Time in which replicas run."), Term("idle", "Idle", "The rest."))


def test_a_text_links_where_it_names_a_metric() -> None:
    assert linked("Time per output token") == link("tpot_s", "Time per output token")
    assert linked("lowest tpot_s <b>") == Markup("lowest ") + link("tpot_s", "tpot_s") + " <b>"
    assert linked("a time") == "a time"


@given(st.text())
def test_any_text_stays_text(text: str) -> None:
    shown = str(linked(text)) + str(link(text, text))
    rest = re.sub(r'<a class="metric" href="#def-[\w-]+">|</a>', "", shown)
    assert not set(rest) & set("<>\"'")
    assert re.fullmatch(r"def-[a-z0-9_-]+", anchor_of(text))


def test_a_page_lists_what_it_names_and_nothing_else() -> None:
    page = str(link("tpot_s", "TPOT") + link("Busy", "Busy") + link("nobody", "knows"))
    terms = used(page, OWN)
    assert [term.name for term in terms] == ["busy", "tpot_s"]
    kept = without_dead_links(page, terms)
    assert kept.count("<a ") == 2
    assert kept.endswith("knows")


def test_further_words_lead_to_the_definition_of_the_first_ones() -> None:
    page = str(link("Busy of the ranker", "Busy of the ranker"))
    assert without_dead_links(page, used(page, OWN)) == str(link("busy", "Busy of the ranker"))


def test_every_metric_of_a_result_is_defined_on_its_page(one: Result) -> None:
    page = render_report([one], "One")
    defined = re.findall(r'<div id="def-(\w+)">', page)
    assert sorted(defined) == sorted(one.metrics)
