"""The one jinja2 environment: everything is escaped, every string is made plain, a missing name is an error."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from reports import numbers, palette
from reports.live import scripts_in
from reports.static import without_scripts
from reports.text import plain, short


def render(template: str, **values: Any) -> Markup:
    """The HTML of a template of ``reports/templates``."""
    return Markup(_environment().get_template(template).render(**values))


def render_page(template: str, static: bool, **values: Any) -> str:
    """A whole page; a ``static`` one has no scripts. ``values["figures"]`` are pairs of a figure and what it draws."""
    page = render(template, live=scripts_in(drawn for _, drawn in values["figures"]), **values)
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
        "number": numbers.number,
        "quantity": numbers.quantity,
        "binary_size": numbers.binary_size,
        "share": numbers.share,
    }
    environment.globals |= {"role": palette.role, "in_words": palette.in_words}
    return environment


def _finalize(value: Any) -> Any:
    """Markup is ours; any other text may come from anywhere."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value
