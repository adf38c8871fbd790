"""Pages that are sessions at a shell: their commands are run in order, in one folder, and what they print is compared.

In such a page

- a block whose first line is ``# NAME`` is a file of that name; it is written where it stands;
- a ``console`` block has commands behind ``$`` and what they print; a line ``...`` stands for any lines, one that ends
  with `` ...`` for a line that goes on. Spaces count as one;
- a ``py`` block is run, and a ``text`` block behind it is what it prints;
- a ``diff`` block changes files, as ``patch`` does;
- ``<!-- not run: REASON -->`` before a block says why it is not run.

A command of silicost runs in a process of its own, forked from one that has imported it; any other in ``bash``. The
user data directory is ``my-silicost`` in the folder. A page with ``<!-- in a checkout -->`` changes silicost itself:
its folder is a copy of the packages, which all of its commands then import.

    python docs/make/sessions.py PAGE        # runs the page and says where it differs
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"(?:^<!-- not run: (?P<why>[^\n]*) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
NAME = re.compile(r"# (\S+\.\w+)\n")
DATA = "my-silicost"
STEPS_LIMIT_S = 300.0


class Block(NamedTuple):
    """A fenced block; ``start`` is where its text begins in the page, ``why`` the reason not to run it."""

    kind: str
    text: str
    start: int
    why: str

    @property
    def name(self) -> str:
        """The file that it is, or ""."""
        found = NAME.match(self.text)
        return found[1] if found else ""


class Command(NamedTuple):
    """A command and what it prints: lines, from ``start`` to ``end`` in the page. ``kind`` console or py."""

    kind: str
    text: str
    shown: list[str]
    start: int
    end: int


def blocks_of(page: str) -> list[Block]:
    """All fenced blocks of a page."""
    return [Block(m["kind"], m["text"], m.start("text"), m["why"] or "") for m in BLOCK.finditer(page)]


def commands_of(block: Block) -> Iterator[Command]:
    """The commands of a ``console`` block."""
    pieces = re.finditer(r"^\$ (?P<text>(?:.*\\\n)*.*)\n(?P<shown>(?:(?!\$ ).*\n)*)", block.text, re.M)
    for piece in pieces:
        start, end = block.start + piece.start("shown"), block.start + piece.end("shown")
        yield Command("console", piece["text"], piece["shown"].splitlines(), start, end)


def steps_of(page: str) -> Iterator[Block | Command]:
    """What is done, in order: files are written (``Block``), commands are run."""
    blocks = blocks_of(page)
    for block, after in zip(blocks, [*blocks[1:], Block("", "", 0, "")], strict=False):
        if block.why:
            continue
        if block.kind == "console":
            yield from commands_of(block)
        elif block.name or block.kind == "diff":
            yield block
        elif block.kind == "py":
            follows = page[block.start + len(block.text) : after.start].split() == ["```", "```text"]
            shown = after.text if follows else ""
            yield Command("py", block.text, shown.splitlines(), after.start, after.start + len(shown))


SHELL = f'silicost() {{ "{sys.executable}" -m silicost "$@"; }}; python() {{ "{sys.executable}" "$@"; }}'
"""What the two programs of pages are in a shell of tests."""
CHECKOUT = "<!-- in a checkout -->"
ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("silicost", "reports", "simulator", "workloads", "hardware_specs")


def is_session(page: str) -> bool:
    """Whether a page has commands to run."""
    return any(isinstance(step, Command) and step.kind == "console" for step in steps_of(page))


def write_file(block: Block, folder: Path) -> None:
    """Write the file that a block is, or make its changes; what has comments keeps its first line."""
    if block.kind == "diff":
        subprocess.run(["patch", "--quiet", "--fuzz=0", "-p1"], input=block.text, text=True, cwd=folder, check=True)
        return
    place = folder / block.name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(block.text if block.kind in ("toml", "py", "sh") else block.text.split("\n", 1)[1])


def printed(step: Command, folder: Path) -> str:
    """What a command prints in ``folder``; behind it, where it fails, its exit status."""
    text = step.text.replace("\\\n", " ")
    whole = text.startswith("silicost ") and not any(sign in text for sign in "|><;&$")
    if step.kind == "console" and (not whole or (folder / "silicost").is_dir()):
        script = f"{SHELL}\nset -o pipefail\n{text}"
        ran = subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEPS_LIMIT_S,
            check=False,
        )
        out, status = ran.stdout + (ran.stderr if ran.returncode else ""), ran.returncode
    else:
        out, status = _forked(text, step.kind, folder)
    return out if not status else f"{out}[exit status {status}]\n"


def _forked(text: str, kind: str, folder: Path) -> tuple[str, int]:
    """Standard output (and what goes to standard error, where it fails) and exit status, in a process of its own."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if not child:
            status = 1
            with contextlib.suppress(BaseException):
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.stdout, sys.stderr = io.TextIOWrapper(io.FileIO(1, "w")), io.TextIOWrapper(io.FileIO(2, "w"))
                os.chdir(folder)
                status = _call(text, kind)
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return out.read() + (err.read() if status else ""), status


def _call(text: str, kind: str) -> int:
    try:
        if kind == "py":
            exec(compile(text, "example", "exec"), {"__name__": "__main__"})
            return 0
        from silicost import cli

        sys.argv = shlex.split(text)
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def differs(shown: list[str], out: str) -> str:
    """The first shown line that is not what was printed, or ""; nothing shown means that anything may be printed."""
    lines = [" ".join(line.split()) for line in out.splitlines()]
    wanted = [" ".join(line.split()) for line in shown]
    if not any(wanted):
        return ""
    at, free = 0, False
    for line in wanted:
        if line == "...":
            free = True
            continue
        places = range(at, len(lines)) if free else range(at, min(at + 1, len(lines)))
        found = next((place for place in places if _same(line, lines[place])), None)
        if found is None:
            return line
        at, free = found + 1, False
    return "" if free or at == len(lines) else f"(end; printed is also: {lines[at]})"


def _same(shown: str, line: str) -> bool:
    return line.startswith(shown[:-4].rstrip()) if shown.endswith(" ...") else line == shown


def renewed(shown: list[str], out: str) -> list[str]:
    """The shown lines with what was printed now: a line is found again by its first column."""
    lines, at, made = out.rstrip().splitlines(), 0, []
    for line in shown:
        label = re.split(r"\s{2,}", line.strip())[0]
        places = [place for place in range(at, len(lines)) if re.split(r"\s{2,}", lines[place].strip())[0] == label]
        if line.strip() in ("...", "") or not places:
            made.append(line)
            continue
        at = places[0] + 1
        words = len(line.removesuffix(" ...").split())
        cut = re.match(rf"\s*(?:\S+\s+){{{words - 1}}}\S+", lines[places[0]]) if line.endswith(" ...") else None
        made.append(f"{cut[0]} ..." if cut else lines[places[0]].rstrip())
    return made


def played(page: str, folder: Path) -> Iterator[tuple[Command, str]]:
    """Every command of a page and what it prints."""
    os.environ["SILICOST_DATA_DIR"] = str(folder / DATA)
    (folder / DATA).mkdir(exist_ok=True)
    os.environ.pop("COLUMNS", None)
    if CHECKOUT in page:
        for room in ROOMS:
            shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
        os.environ["PYTHONPATH"] = str(folder)
    for step in steps_of(page):
        if isinstance(step, Block):
            write_file(step, folder)
        else:
            yield step, printed(step, folder)


def _main(path: Path, write: bool) -> int:
    import simulator.simulate  # noqa: F401  once for all commands

    page, changes, wrong = path.read_text(encoding="utf-8"), [], 0
    with tempfile.TemporaryDirectory() as folder:
        for step, out in played(page, Path(folder)):
            line = differs(step.shown, out)
            unexpected = "[exit status" in out and not any("[exit status" in each for each in step.shown)
            if write and step.shown and line:
                made = renewed(step.shown, out)
                changes.append((step.start, step.end, "".join(f"{each}\n" for each in made)))
                line = differs(made, out)
            if line or unexpected:
                wrong += 1
                print(f"{path.name}: $ {step.text}\n  shown:   {line}\n  printed:\n{out}")
    for start, end, text in reversed(changes):
        page = page[:start] + text + page[end:]
    if changes:
        path.write_text(page, encoding="utf-8")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), "--write" in sys.argv))
