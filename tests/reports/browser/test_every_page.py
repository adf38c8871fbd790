"""What holds for every kind of page in a browser: quiet, whole, inside its width, readable, reachable, printable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reports.browser.conftest import KINDS, Opened, opening

PageOf = Callable[[str], Path]
WIDTHS = (400, 1600)
POLICY = (
    "default-src 'none'; connect-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
SERIOUS = ("serious", "critical")
BEYOND = """() => {
  const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= wide) { return []; }
  const out = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > wide + 1);
  return [document.documentElement.scrollWidth, ...out.slice(0, 5).map(e => e.outerHTML.slice(0, 120))];
}"""
CONTROLS = """[...document.querySelectorAll("a[href], button, input, select, summary, textarea, [tabindex='0']")]
  .filter(e => e.checkVisibility({ visibilityProperty: true }) && !e.disabled)"""
UNSEEN_FOCUS = f"""() => {CONTROLS}.filter(e => {{
  e.focus();
  if (document.activeElement !== e) {{ return true; }}
  const marked = e.type === "radio" ? e.nextElementSibling : e, style = getComputedStyle(marked);
  return style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 1;
}}).map(e => e.outerHTML.slice(0, 160))"""
UNREACHABLE = f"() => {CONTROLS}.filter(e => e.tabIndex < 0).map(e => e.outerHTML.slice(0, 160))"
ALIKE = "main tbody tr:nth-child(n + 4), .result:nth-of-type(n + 3), .live:nth-of-type(n + 3)"


def violations(opened: Opened, context: Any = None, **options: Any) -> list[tuple[str, str]]:
    """Serious and critical findings of axe-core: the rule and the first element. Of rows, results and figures behind
    one another, which are alike, it reads the first two or three: the others leave the page."""
    opened.ask("names => document.querySelectorAll(names).forEach(each => each.remove())", ALIKE)
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    options |= {"resultTypes": ["violations"]}
    found = axe.Axe().run(opened.page, context=context, options=options).response["violations"]
    return [(each["id"], each["nodes"][0]["html"][:300]) for each in found if each["impact"] in SERIOUS]


@pytest.fixture(scope="module", params=KINDS)
def opened(request: pytest.FixtureRequest, page_of: PageOf, browser: Any) -> Iterator[Opened]:
    """A page of each kind; it stays open for all tests, which come one after another."""
    with opening(browser) as opens:
        yield opens(page_of(request.param))


def show(opened: Opened, width: int, scheme: str = "light") -> None:
    """Give the window a width and the page a colour scheme."""
    opened.page.set_viewport_size({"width": width, "height": 900})
    opened.page.emulate_media(color_scheme=scheme, media="screen")


def test_every_control_is_reached_and_shows_it(opened: Opened) -> None:
    show(opened, 400)
    opened.page.keyboard.press("Tab")
    assert opened.ask("document.activeElement.className") == "skip"
    assert opened.ask(UNREACHABLE) == []
    assert opened.ask(UNSEEN_FOCUS) == []
    links = opened.ask("[...document.querySelectorAll('a[href]')].map(e => e.getAttribute('href'))")
    missing = "names => names.filter(name => !document.getElementById(name.slice(1)))"
    assert opened.ask(missing, links) == []
    assert opened.ask("document.querySelectorAll('main, header, footer, nav').length") >= 3


def test_every_table_has_its_tools_and_sorts_by_every_column(opened: Opened) -> None:
    show(opened, 1600)
    found = opened.ask("""() => {
      const tables = [...document.querySelectorAll("main table")].filter(t => t.tHead && !t.closest(".live"));
      return tables.map(t => {
      const grid = t.closest(".grid"), heads = [...t.tHead.rows[0].cells], body = t.tBodies[0], wrong = [];
      if (!grid) { return "no tools: " + t.outerHTML.slice(0, 100); }
      const texts = () => [...body.rows].map(r => r.textContent).sort().join();
      const numbers = k => [...body.rows].map(r => r.cells[k]?.dataset.value).filter(v => v && isFinite(v)).map(Number);
      const before = texts();
      for (const [k, head] of heads.entries()) {
        for (const [way, sign] of [["ascending", 1], ["descending", -1]]) {
          head.querySelector("button").click();
          if (head.getAttribute("aria-sort") !== way) { wrong.push(way); }
          if (t.querySelectorAll("[aria-sort]").length !== 1) { wrong.push("several"); }
          if (numbers(k).some((v, i, all) => i && sign * (v - all[i - 1]) < 0)) { wrong.push("order"); }
        }
      }
      if (texts() !== before) { wrong.push("rows"); }
      const rows = body.rows.length + (body.rows.length === 1 ? " row" : " rows");
      if (grid.querySelector("[role=status]").textContent !== rows) { wrong.push("count"); }
      if (!grid.querySelector(".scroll").getAttribute("aria-label")) { wrong.push("label"); }
      return wrong.join();
    }).filter(Boolean); }""")
    assert found == []


def test_it_fits_and_is_readable(opened: Opened) -> None:
    policy = opened.page.locator("meta[http-equiv]").get_attribute("content")
    assert policy == POLICY
    for width in WIDTHS:
        show(opened, width, "dark")
        assert opened.ask(BEYOND) == [], width
    assert opened.ask("document.querySelectorAll('[title]').length") == 0
    assert violations(opened) == []
    dark = opened.ask("getComputedStyle(document.body).backgroundColor")
    opened.page.get_by_label("light", exact=True).check(force=True)
    assert opened.ask("getComputedStyle(document.body).backgroundColor") != dark
    assert violations(opened, {"exclude": [["main svg"]]}, runOnly=["color-contrast"]) == []


def test_on_paper_everything_is_open_and_light(opened: Opened) -> None:
    opened.page.get_by_label("dark", exact=True).check(force=True)
    closed = "document.querySelectorAll('details:not([open])').length"
    before = opened.ask(closed)
    opened.page.emulate_media(media="print")
    opened.wait(f"{closed} === 0")
    ink = opened.ask("getComputedStyle(document.body).color.match(/[0-9]+/g).map(Number)")
    assert max(ink) < 80
    assert not any(each.is_visible() for each in opened.page.locator(".tools").all())
    opened.page.emulate_media(media="screen")
    opened.wait(f"{closed} === {before}")


def test_all_was_silent(opened: Opened) -> None:
    assert opened.complaints == []
    assert opened.requests == [opened.page.url]
