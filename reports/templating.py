"""The one jinja2 environment: everything is escaped, every string is made plain, a missing name is an error."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from reports import definitions, numbers, palette
from reports.live import scripts_in
from reports.static import without_scripts
from reports.text import glued, heading, plain, short


def render(template: str, **values: Any) -> Markup:
    """The HTML of a template of ``reports/templates``."""
    return Markup(_environment().get_template(template).render(**values))


def render_page(template: str, static: bool, **values: Any) -> str:
    """A whole page with the definitions of what it names; a ``static`` one has no scripts.

    Args:
        values: of the template. ``figures`` are pairs of a figure and what it draws; ``terms``, where they are there,
            are definitions beside those of the documented metrics; ``leading`` of the figures stand before the cards,
            because they prove the answer.
    """
    given = {"terms": (), "answer": "", "rests": (), "leading": 0, **values}
    page: str = render(template, live=scripts_in(drawn for _, drawn in values["figures"]), **given)
    terms = definitions.used(page, given["terms"])
    page = definitions.without_dead_links(page, terms)
    for mark, part in (
        ("<!--definitions-->", "definitions.html"),
        ("<!--definitions-link-->", "definitions_link.html"),
    ):
        page = page.replace(mark, render(part, terms=terms) if terms else "", 1)
    return without_scripts(page) if static else page


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "short": short,
        "glued": glued,
        "heading": heading,
        "number": numbers.number,
        "quantity": numbers.quantity,
        "binary_size": numbers.binary_size,
        "share": numbers.share,
        "linked": definitions.linked,
        "titled": definitions.titled,
    }
    environment.globals |= {"role": palette.role, "in_words": palette.in_words, "link": definitions.link}
    return environment


def _finalize(value: Any) -> Any:
    """Markup is ours; any other text may come from anywhere."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value
