"""Pages without scripts: for mail, wikis and viewers that run none."""

from __future__ import annotations

import re
from typing import Final

_SCRIPT: Final = re.compile(r"[ \t]*<script\b[^>]*>.*?</script>\n?", re.DOTALL)
_BUTTON: Final = re.compile(r'<button type="button">(.*?)</button>', re.DOTALL)
_SORTABLE: Final = re.compile(r'(<table class=")sortable ?')
_ALLOWED: Final = " script-src 'unsafe-inline';"


def without_scripts(page: str) -> str:
    """``page`` without its scripts, without leave to run any, and without buttons, which would do nothing.

    Text of others is escaped in a page, so that what looks like a tag here is one of ours.

        >>> without_scripts('<th><button type="button">Device</button></th><script>sort()</script>')
        '<th>Device</th>'
    """
    for pattern, kept in ((_SCRIPT, ""), (_BUTTON, r"\1"), (_SORTABLE, r"\1")):
        page = pattern.sub(kept, page)
    return page.replace(_ALLOWED, "", 1)
