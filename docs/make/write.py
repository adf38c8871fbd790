"""Writes what is made from the code: pages of commands, keys, laws, scores and Python, and three tables.

python docs/make/write.py            # renews the pages
python docs/make/write.py --shown    # also what the commands of session pages print (sessions.py)
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import commands
import keys
import laws
import published
import python_api
import scores
from sessions import is_session

from simulator.metrics import METRICS

DOCS = Path(__file__).resolve().parents[1]


def metrics_table() -> str:
    """The table of results.md."""
    units = {"j": "J", "usd": "USD"}
    rows = [
        f"| `{each.name}` | {units.get(each.dimension, each.dimension)} | {each.better} | {each.definition} |"
        for each in METRICS
    ]
    return "\n".join(["| metric | unit | better | definition |", "|---|---|---|---|", *rows, ""])


def pages() -> dict[Path, str]:
    """What is made, by file."""
    results = DOCS / "results.md"
    text = re.sub(r"\| metric \| unit \| better .*\n(\|.*\n)+", lambda _: metrics_table(), results.read_text("utf-8"))
    return {
        DOCS / "cli.md": commands.page(), DOCS / "keys.md": keys.page(), DOCS / "laws.md": laws.page(),
        DOCS / "python.md": python_api.page(), DOCS / "scores.md": scores.page(), results: text,
        DOCS / "published.md": published.page(DOCS / "published.md"),
    }  # fmt: skip


if __name__ == "__main__":
    for path, made in pages().items():
        path.write_text(made, encoding="utf-8")
    if "--shown" in sys.argv:
        for path in sorted(DOCS.rglob("*.md")):
            if is_session(path.read_text(encoding="utf-8")):
                subprocess.run([sys.executable, DOCS / "make" / "sessions.py", path, "--write"], check=True)
