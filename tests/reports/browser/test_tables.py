"""Tables as a person uses them: sort, filter, copy; and what a number says when pointed at, focused or touched."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import reports
from tests.reports.browser.conftest import Open, Opened

PageOf = Callable[[str], Path]
TABLE = "#table .grid"


@pytest.fixture
def demo(page_of: PageOf, open_page: Open) -> Opened:
    return open_page(page_of("demo"), permissions=["clipboard-read", "clipboard-write"])


def values(opened: Opened, name: str) -> list[float | None]:
    """The numbers of a column of the first table, of shown rows; None where there is none."""
    found = opened.ask(f"""name => {{
      const table = document.querySelector("{TABLE} table");
      const at = [...table.tHead.rows[0].cells].findIndex(e => e.dataset.name === name);
      return [...table.tBodies[0].rows].filter(r => !r.hidden).map(r => r.cells[at].dataset.value ?? null);
    }}""", name)  # fmt: skip
    return [None if each is None else float(each) for each in found]


def column(opened: Opened, name: str) -> Any:
    return opened.page.locator(f"{TABLE} th[data-name={name}]").first


def test_a_column_sorts_up_and_down_with_the_keyboard(demo: Opened) -> None:
    press = column(demo, "tpot_s").get_by_role("button")
    press.focus()
    demo.page.keyboard.press("Enter")
    rising = values(demo, "tpot_s")
    assert rising == sorted(rising)
    assert column(demo, "tpot_s").get_attribute("aria-sort") == "ascending"
    demo.page.keyboard.press("Enter")
    assert values(demo, "tpot_s") == rising[::-1]
    assert column(demo, "tpot_s").get_attribute("aria-sort") == "descending"


def test_rows_are_filtered_by_words_and_by_numbers(demo: Opened) -> None:
    every = values(demo, "tpot_s")
    box = demo.page.locator(f"{TABLE} input").first
    count = demo.page.locator(f"{TABLE} [role=status]").first
    box.fill("h100")
    assert count.inner_text() == f"2 of {len(every)} rows"
    box.fill("tpot<10ms")
    assert values(demo, "tpot_s") == [each for each in every if each is not None and each < 0.01]
    box.fill("timeperoutput>10 gpu")
    shown = values(demo, "tpot_s")
    assert len(shown) < len(every)
    box.fill("nothing like this")
    assert (values(demo, "tpot_s"), count.inner_text()) == ([], f"0 of {len(every)} rows")
    box.fill("")
    assert values(demo, "tpot_s") == every


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_shown_rows_are_copied_as_csv_in_si_units_with_intervals(demo: Opened) -> None:
    demo.page.locator(f"{TABLE} input").first.fill("tpot<10ms")
    shown = values(demo, "tpot_s")
    demo.page.locator(f"{TABLE} .tools button").first.click()
    demo.wait(f"document.querySelector('{TABLE} [role=status]').textContent.startsWith('Copied: ')")
    rows = rows_of(demo.ask("navigator.clipboard.readText()"))
    assert [float(row["tpot_s"]) for row in rows] == shown
    for row in rows:
        assert float(row["tpot_s_80_low"]) < float(row["tpot_s"]) < float(row["tpot_s_80_high"])
        assert row["Result"]


def test_copying_works_without_the_clipboard_interface(page_of: PageOf, open_page: Open) -> None:
    opened = open_page(page_of("demo"))
    opened.ask("""() => {
      Object.defineProperty(navigator, "clipboard", { value: { writeText: () => Promise.reject(new Error("no")) } });
      document.execCommand = command => { window.taken = [command, document.activeElement.value]; return true; };
    }""")
    opened.page.locator(f"{TABLE} .tools button").first.click()
    opened.wait("window.taken !== undefined")
    command, text = opened.ask("window.taken")
    assert (command, len(rows_of(text))) == ("copy", len(values(opened, "tpot_s")))
    assert opened.ask("document.querySelectorAll('textarea').length") == 0


def test_a_number_says_its_interval_and_what_it_rests_on(demo: Opened) -> None:
    tip = demo.page.locator("#tip")
    number = demo.page.locator(f"{TABLE} td.num[data-tip]").first
    number.hover()
    assert "80\u00a0% interval" in tip.inner_text()
    assert "Rests on" in tip.inner_text()
    assert "Measured: " in tip.inner_text()
    assert "Interpolated: " in tip.inner_text()
    demo.page.keyboard.press("Escape")
    assert not tip.is_visible()
    number.focus()
    assert tip.is_visible()
    assert number.get_attribute("aria-describedby") == "tip"
    before = tip.inner_text()
    demo.page.keyboard.press("ArrowRight")
    assert tip.is_visible()
    assert tip.inner_text() != before
    assert demo.ask("document.activeElement.tagName") == "TD"
    demo.page.keyboard.press("ArrowDown")
    assert demo.ask("document.activeElement.parentElement.rowIndex") == 2
    box = tip.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 1600


def test_a_touch_says_it_too(page_of: PageOf, open_page: Open) -> None:
    opened = open_page(page_of("results"), 400, has_touch=True)
    opened.page.locator(".card dd [data-tip]").first.tap()
    assert "interval" in opened.page.locator("#tip").inner_text()


def test_a_metric_leads_to_its_definition(demo: Opened) -> None:
    demo.page.locator(f"{TABLE} th[data-name=tpot_s] a").click()
    assert demo.ask("location.hash") == "#def-tpot_s"
    defined = demo.ask("[...document.querySelectorAll('#definitions .definitions > div')].map(e => e.id)")
    named = demo.ask("[...document.querySelectorAll('a.metric')].map(e => e.getAttribute('href').slice(1))")
    assert set(defined) == set(named)


def test_the_choice_of_colours_is_kept_where_it_can_be(demo: Opened) -> None:
    demo.page.get_by_label("dark", exact=True).check(force=True)
    demo.page.reload()
    assert demo.ask("document.documentElement.dataset.theme") == "dark"
    assert demo.page.get_by_label("dark", exact=True).is_checked()
    demo.page.get_by_label("auto", exact=True).check(force=True)
    assert demo.ask("document.documentElement.dataset.theme === undefined")


def test_pages_work_where_nothing_may_be_stored(page_of: PageOf, browser: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"
    )
    page.goto(page_of("results").as_uri())
    page.get_by_label("dark", exact=True).check(force=True)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert complaints == []
    context.close()


@pytest.fixture
def plain_table(tmp_path: Path, open_page: Open) -> Callable[[list[tuple[str, str]]], Opened]:
    """A page with one table: a text and a time of each row."""

    def opened(rows: list[tuple[str, str]]) -> Opened:
        script = (Path(reports.__file__).parent / "templates" / "tables.js").read_text(encoding="utf-8")
        cells = "".join(f'<tr><td>{text}</td><td class="num">{time}</td></tr>' for text, time in rows)
        path = tmp_path / "table.html"
        path.write_text(
            '<!DOCTYPE html><meta charset="utf-8"><div class="grid" data-label="t"><table><thead><tr><th>What</th>'
            f'<th class="num">Time</th></tr></thead><tbody>{cells}</tbody></table></div><script>{script}</script>',
            encoding="utf-8",
        )
        return open_page(path, permissions=["clipboard-read", "clipboard-write"])

    return opened


def test_small_units_sort_by_size(plain_table: Callable[[list[tuple[str, str]]], Opened]) -> None:
    opened = plain_table([("a", "2 ns"), ("b", "900 ps"), ("c", "1 ms"), ("d", "3 pJ")])
    opened.page.locator("th .order").nth(1).click()
    assert opened.ask("[...document.querySelectorAll('td.num')].map(e => e.textContent)") == [
        "3 pJ", "900 ps", "2 ns", "1 ms",
    ]  # fmt: skip


def test_copied_texts_are_no_formulas_and_numbers_stay_numbers(
    plain_table: Callable[[list[tuple[str, str]]], Opened],
) -> None:
    opened = plain_table([("-1+cmd", "-5"), ("=1", "2"), ("@a", "+3"), ("plain", "4")])
    opened.page.locator(".tools button").click()
    opened.wait("document.querySelector('[role=status]').textContent.startsWith('Copied: ')")
    rows = rows_of(opened.ask("navigator.clipboard.readText()"))
    assert [row["What"] for row in rows] == ["'-1+cmd", "'=1", "'@a", "plain"]
    assert [float(row["Time"]) for row in rows] == [-5.0, 2.0, 3.0, 4.0]
