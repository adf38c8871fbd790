"""How long report pages take to open: bytes, and the median time until the browser has loaded, scripts included.

python benchmarks/page_weights.py runs/demo/report.html [MORE.html ...]
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

REPEATS = 5


def main() -> None:
    place = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("no Chromium on the path")
    with sync_playwright() as started:
        running = started.chromium.launch(executable_path=place, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        for name in sys.argv[1:] or sys.exit(str(__doc__)):
            path, times = Path(name).resolve(), []
            for _ in range(REPEATS):
                page = running.new_page()
                before = time.perf_counter()
                page.goto(path.as_uri())
                times.append(time.perf_counter() - before)
                page.close()
            print(f"{name}: {path.stat().st_size / 1e3:,.0f} kB, {statistics.median(times) * 1e3:,.0f} ms")
        running.close()


if __name__ == "__main__":
    main()
