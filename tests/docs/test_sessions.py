"""Pages that are sessions at a shell: every command is run in order, and what it prints is what the page shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sessions

ROOT = Path(__file__).parents[2]
PAGES = {str(path.relative_to(ROOT / "docs")): path for path in sorted((ROOT / "docs").rglob("*.md"))}
SESSIONS = [name for name, path in PAGES.items() if sessions.is_session(path.read_text(encoding="utf-8"))]


def test_there_are_sessions() -> None:
    added = ("device", "model", "runtime", "topology", "operator", "law", "scheduler", "schedule", "figure")
    guides = {f"howto/{what}.md" for what in added}
    assert guides | {"tutorial.md", "howto/first_prediction.md"} <= set(SESSIONS)


@pytest.mark.parametrize("name", SESSIONS)
def test_a_page_is_what_its_commands_print(name: str) -> None:
    command = [sys.executable, str(ROOT / "docs" / "make" / "sessions.py"), str(PAGES[name])]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, f"{ran.stdout[-4000:]}{ran.stderr[-2000:]}\nrenew it: python docs/make/write.py --shown"


PAGE = """
```toml
# some.toml
a = 1
```

```console
$ cat some.toml
...
a = 1
$ echo one; echo two   three
one
two three
$ false
[exit status 1]
```

<!-- not run: it would fail -->
```console
$ exit 3
```

```py
print("here")
```

```text
here
```
"""


def test_steps_of_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILICOST_DATA_DIR", "restored afterwards")
    done = list(sessions.played(PAGE, tmp_path))
    assert [step.text[:4] for step, _ in done] == ["cat ", "echo", "fals", "prin"]
    assert [sessions.differs(step.shown, out) for step, out in done] == [""] * 4


@pytest.mark.parametrize(
    ("shown", "out", "wrong"),
    [
        (["a", "b"], "a\nb\n", ""),
        (["a", "c"], "a\nb\n", "c"),
        (["a"], "a\nb\n", "(end; printed is also: b)"),
        (["...", "b"], "a\nb\n", ""),
        (["a", "..."], "a\nb\nc\n", ""),
        (["a", "...", "b", "c"], "a\nx\nb\nd\n", "c"),
        (["a 1 ..."], "a  1   2\n", ""),
        (["a 2 ..."], "a  1   2\n", "a 2 ..."),
        ([], "anything\n", ""),
    ],
)
def test_what_counts_as_different(shown: list[str], out: str, wrong: str) -> None:
    assert sessions.differs(shown, out) == wrong


def test_lines_are_renewed_by_their_first_column() -> None:
    out = "t_s   2 ms   3\nu_s   5 ms   6\n"
    assert sessions.renewed(["...", "u_s  1 ms  2", "..."], out) == ["...", "u_s   5 ms   6", "..."]
    assert sessions.renewed(["t_s  1 ..."], out) == ["t_s   2 ..."]
    assert sessions.renewed(["gone  1"], out) == ["gone  1"]


def test_a_failing_page_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ silicost devices show nothing-like-it\n```\n")
    ran = subprocess.run(
        [sys.executable, ROOT / "docs" / "make" / "sessions.py", page], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "unknown device" in ran.stdout
