"""What the site makes of the pages: two that lie outside of docs/, pipes in the code of tables, names of files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

OUTSIDE = ("CONTRIBUTING.md", "CHANGELOG.md")
NAMED = re.compile(r"^```(\w+)\n# (\S+\.\w+)\n", re.M)
"""A block that is a file: its first line is the name, which no copy of the block shall hold."""


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages from outside, with links as they are from inside docs/."""
    root = Path(config.docs_dir).parent
    for name in OUTSIDE:
        text = re.sub(r"\]\(docs/", "](", (root / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, name.lower(), content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links to pages from outside; a pipe in code needs no escape here, unlike on the repository's site; the name of a
    file is the title of its block."""
    up = "../" * page.file.src_uri.count("/")
    text = re.sub(r"\]\((?:\.\./)+(CONTRIBUTING|CHANGELOG)\.md", lambda found: f"]({up}{found[1].lower()}.md", markdown)
    text = re.sub(
        r"^\|.*$", lambda row: re.sub(r"`[^`]*`", lambda code: code[0].replace(r"\|", "|"), row[0]), text, flags=re.M
    )
    return NAMED.sub(r'```\1 title="\2"\n', text)
