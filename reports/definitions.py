"""Definitions of the numbers of a page: each name links to its own, and a page lists just those that it names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup, escape

from reports.numbers import metric_of, unit_of
from reports.text import plain
from simulator.metrics import BY_NAME, METRICS

_LINK: Final = re.compile(r'<a class="metric" href="#(def-[\w-]+)">(.*?)</a>', re.DOTALL)
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NAMES: Final = {metric.title: metric.name for metric in METRICS} | {name: name for name in BY_NAME}
_LONGEST_SLUG: Final = 60


class Term(NamedTuple):
    """A number that has a name: what programs call it, how pages call it, and what it is.

    ``dimension`` names its SI unit; ``better`` is "lower", "higher" or "".
    """

    name: str
    title: str
    meaning: str
    dimension: str = ""
    better: str = ""

    @property
    def anchor(self) -> str:
        """The id of its definition."""
        return anchor_of(self.name)

    @property
    def unit(self) -> str:
        """Its unit; "" for a plain number."""
        return unit_of(1.0, self.dimension)[1] if self.dimension else ""


def anchor_of(name: str) -> str:
    """The id of the definition of ``name``; safe whatever the name holds."""
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-").lower()[:_LONGEST_SLUG]
    return f"def-{slug or 'unnamed'}"


def term_of(name: str) -> Term:
    """The term of a metric, documented or not."""
    metric = metric_of(name)
    meaning = metric.definition or "This metric has no documented definition."
    return Term(metric.name, metric.title, meaning, metric.dimension, metric.better)


def link(name: str, title: str) -> Markup:
    """``title`` as a link to the definition of ``name``; pages without that definition show the title alone."""
    return Markup('<a class="metric" href="#{}">{}</a>').format(anchor_of(name), plain(title))


def linked(text: str) -> Markup:
    """``text`` with links where it names a metric: by the name that programs use, or wholly by its title.

    >>> linked("lowest tpot_s")
    Markup('lowest <a class="metric" href="#def-tpot_s">tpot_s</a>')
    """
    if text in _NAMES:
        return link(_NAMES[text], text)
    parts, end = [], 0
    text = plain(text)
    for found in _WORD.finditer(text):
        if found[0] in BY_NAME:
            parts += [escape(text[end : found.start()]), link(found[0], found[0])]
            end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


def in_titles(text: str) -> str:
    """``text`` with the metrics that it names under their titles.

    >>> in_titles("No crossover of tpot_s")
    'No crossover of time per output token'
    """

    def title(found: re.Match[str]) -> str:
        words = BY_NAME[found[0]].title if found[0] in BY_NAME else found[0]
        return words[:1].lower() + words[1:] if found.start() and words[1:2].islower() else words

    return _WORD.sub(title, text)


def titled(text: str) -> Markup:
    """``linked`` with titles in place of the names that programs use."""
    return Markup("").join(
        link(part, in_titles(part)) if part in BY_NAME else linked(part) for part in re.split(r"\b(\w+)\b", text)
    )


def used(page: str, own: Sequence[Term] = ()) -> list[Term]:
    """The terms that a page links to: those of its own and the documented metrics, each once, in this order."""
    known = {term.anchor: term for term in (*(term_of(metric.name) for metric in METRICS), *own)}
    wanted = {_nearest(anchor, known) for anchor, _ in _LINK.findall(page)}
    order = dict.fromkeys([*(term.anchor for term in own), *known])
    return [known[anchor] for anchor in order if anchor in wanted]


def without_dead_links(page: str, terms: Iterable[Term]) -> str:
    """``page`` with links to ``terms`` alone: the other names stay as text."""
    known = {term.anchor: term for term in terms}

    def alive(found: re.Match[str]) -> str:
        anchor = _nearest(found[1], known)
        return found[0].replace(f"#{found[1]}", f"#{anchor}", 1) if anchor else found[2]

    return _LINK.sub(alive, page)


def _nearest(anchor: str, known: Mapping[str, Term]) -> str:
    """The definition that an anchor means: its own, else that of its first words ("MFU of the ranker": "MFU")."""
    while anchor not in known and "-" in anchor:
        anchor = anchor.rpartition("-")[0]
    return anchor if anchor in known else ""
