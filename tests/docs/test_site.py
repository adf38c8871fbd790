"""The site: it builds without a warning, takes nothing from elsewhere, and its search works off a disk."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
LOADS = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}

pytest.importorskip("material", reason="needs the extra `docs`")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert not re.search("warning", ran.stderr, re.IGNORECASE), ran.stderr
    return folder


class Loaded(HTMLParser):
    """What a page loads by itself: links to follow are none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag in LOADS and known.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(known.get(LOADS[tag]) or "")


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    built = {path.relative_to(site) for path in site.rglob("*.html")}
    assert pages | {Path("contributing.html"), Path("changelog.html"), Path("404.html")} == built


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    count = 0
    for page in site.rglob("*.html"):
        reader = Loaded()
        reader.feed(page.read_text(encoding="utf-8"))
        count += len(reader.found)
        assert [source for source in reader.found if re.match(r"(\w+:)?//", source)] == [], page
    assert count > 100
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


def test_the_name_of_a_file_stands_above_its_block(site: Path) -> None:
    page = (site / "tutorial.html").read_text(encoding="utf-8")
    title, code = re.findall(r'<span class="filename">(my-points\.csv)</span>.*?<code>(.*?)</code>', page, re.S)[0]
    assert title == "my-points.csv"
    assert re.sub(r"<.*?>", "", code).startswith("source,engine,device,")


@pytest.fixture
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.skipif(not BROWSER, reason="needs a Chromium")
def test_search_off_a_disk_asks_no_network(site: Path, browser: Any) -> None:
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("index.html", "howto/index.html"):
        page.goto((site / name).as_uri())
        page.locator("input.md-search__input").first.press_sequentially("dualpipe")
        page.locator(".md-search-result__link").first.wait_for(timeout=20_000, state="attached")
        assert "schedules.html" in page.locator(".md-search-result__link").first.get_attribute("href")
    assert len(asked) > 8
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
