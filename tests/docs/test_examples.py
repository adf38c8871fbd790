"""The documents: every example is run, and every figure and message they quote is what comes out today.

A block whose first line is ``# NAME`` is a file of that name, which the commands around it find.
"""

from __future__ import annotations

import csv
import io
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hardware_specs.devices import device_names
from hardware_specs.links import link_names
from hardware_specs.systems import load_system, system_names
from silicost import cli
from silicost.scenario_file import load_scenario, shipped_scenarios
from simulator.metrics import METRICS
from simulator.simulate import simulate
from workloads.models.catalogue import model_names
from workloads.models.huggingface import supported_types
from workloads.runtimes.catalogue import runtime_names

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
INSTALLS = ("make ", "python3 -m venv")
"""Commands that set up a machine: not run here."""


class Block(NamedTuple):
    """A fenced block of a page; ``name`` is the file it is."""

    page: str
    language: str
    text: str

    @property
    def name(self) -> str:
        match = re.match(r"# (\S+\.\w+)\n", self.text)
        return match[1] if match else ""


def blocks() -> Iterator[Block]:
    for page in PAGES:
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            yield Block(page.name, match[1], match[2])


def commands() -> Iterator[tuple[str, str]]:
    """Indented lines that begin like a command, and commands in back quotes that are whole (`show` with a name)."""
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for line in re.findall(r"^ {4}(silicost .*|make .*|python3? .*)$", text, re.MULTILINE):
            yield page.name, str(line).split("  #")[0].strip()
        for line in re.findall(r"`(silicost [^`]*)`", text):
            words = " ".join(line.split())
            if re.fullmatch(r"silicost \w+ (?:list(?: [\w.-]+)?|show [\w.-]+)(?: --format \w+)?", words):
                yield page.name, words


def key(command: str) -> str:
    return command.removeprefix("silicost ")[:60]


BLOCKS = tuple(blocks())
COMMANDS = tuple(dict.fromkeys(command for _, command in commands() if not command.startswith(INSTALLS)))
RUNNABLE = tuple(command for command in COMMANDS if "NAME" not in command)


class Ran(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[[str], Ran]
_ONE = "silicost simulate --model llama-3.1-8b --isl 512 --osl 64 --batch 4"
BEFORE = {
    "mine": f"{_ONE} --device h100-sxm-80gb", "l40s": f"{_ONE} --device l40s", "h100": f"{_ONE} --device h100-sxm-80gb",
    "tpu": f"{_ONE} --device tpu-v5p", "demo": f"{_ONE} --device l40s",
    "sweep": "silicost sweep --model llama-3.1-8b --device h100-sxm-80gb,l40s --batch 1,8 --isl 512 --osl 64",
}  # fmt: skip
"""What makes the folders that examples read."""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process, in a folder that holds every file that the documents show."""
    for block in BLOCKS:
        if block.name:
            text = block.text if block.language == "toml" else block.text.split("\n", 1)[1]
            (tmp_path / block.name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(command: str) -> Ran:
        reads = command.split()[1:2] in (["report"], ["compare"], ["export"], ["deploy"])
        for name in [word.removeprefix("runs/") for word in command.split()[2:]] if reads else []:
            if name in BEFORE and not Path("runs", name).exists():
                run(f"{BEFORE[name]} --out runs/{name}")
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return Ran(int(caught.value.code or 0), *capsys.readouterr())

    return run


def test_there_are_examples() -> None:
    assert len(RUNNABLE) >= 8
    assert {block.name for block in BLOCKS} >= {
        "acme-one.toml", "two-halves.toml", "small.toml", "mystack.toml", "prefill-and-decode.toml", "one-product.toml",
        "points.csv",
    }  # fmt: skip


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "toml"], ids=lambda b: b.name or b.page)
def test_every_block_is_toml(block: Block) -> None:
    assert tomllib.loads(block.text)


@pytest.mark.parametrize("command", RUNNABLE, ids=key)
def test_every_command_runs(shell: Run, command: str) -> None:
    ran = shell(command)
    assert ran.status == (3 if "simulate --model llama-3.1-70b --device h100" in command else 0), ran.err
    assert ran.out or re.search(": (written|report): ", ran.err)
    warned = [line for line in ran.err.splitlines() if "warning" in line]
    assert warned == []


def test_the_python_example(tmp_path: Path) -> None:
    (block,) = (block for block in BLOCKS if block.language == "python" and block.page == "README.md")
    (tmp_path / "example.py").write_text(block.text)
    found = runpy.run_path(str(tmp_path / "example.py"))
    assert f"{found['result'].metrics['tpot_s'] * 1e3:.2f} ms" in README


README = PAGES[0].read_text()
QUESTION = next(command for command in COMMANDS if "--model llama-3.1-8b --device h100-sxm-80gb" in command)


def printed(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip()]


def test_the_table_of_the_readme_is_what_is_printed(shell: Run) -> None:
    block = README.split("answers with (abridged)")[1].split("The model may be")[0]
    quoted, said = printed(block), printed(shell(QUESTION).out)
    assert len(quoted) >= 6
    for line in quoted[1:]:
        assert line in said, f"README quotes {line}; printed is {[row for row in said if row[0] == line[0]]}"


WHAT_IFS = re.findall(r"^\| (nothing changed|`--[^`]*`) \| ([\d.]+ m?s) \| ([\d.]+) \|$", README, re.MULTILINE)


@pytest.mark.parametrize(("change", "tpot", "usd"), WHAT_IFS)
def test_the_what_ifs_of_the_readme(shell: Run, change: str, tpot: str, usd: str) -> None:
    ran = shell(QUESTION if change == "nothing changed" else f"{QUESTION} {change.strip('`')}")
    rows = {row[0]: row for row in printed(ran.out)}
    assert " ".join(rows["tpot_s"][1:3]) == tpot
    assert rows["usd_per_million_output_tokens"][1] == usd


def test_all_what_ifs_are_read() -> None:
    assert len(WHAT_IFS) == README.split("| the same command with")[1].split("\n\n")[0].count("\n| ") == 4


def test_the_message_of_the_readme(shell: Run) -> None:
    command = next(command for command in COMMANDS if "simulate --model llama-3.1-70b --device h100" in command)
    quoted = " ".join(README[README.index("silicost: does not fit") :].split("\n\n")[0].split())
    assert shell(command).err.strip() == quoted


def test_scenarios_of_the_readme() -> None:
    table = README.split("| scenario | what it shows |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == sorted(shipped_scenarios())


def test_metrics_of_the_results_page() -> None:
    page = (ROOT / "docs" / "results.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (\w*) \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(metric.name, metric.better, metric.definition) for metric in METRICS]


def test_a_rule_of_the_scenario_page_counts(shell: Run) -> None:
    assert shell("silicost run ./prefill-and-decode.toml").status == 0
    scenario, _ = load_scenario("prefill-and-decode.toml")
    assert [pool.device.id for pool in scenario.pools] == ["h100-sxm-80gb", "tpu-v5e"]
    assert all(pool.busy_s > 0.0 for pool in simulate(scenario).pools)


def test_the_points_file_has_the_columns_that_are_described() -> None:
    (block,) = (block for block in BLOCKS if block.name == "points.csv")
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(block.text.split("\n", 1)[1])))
    page = (ROOT / "docs" / "points_files.md").read_text().split("| column |")[1].split("\n\n")[0]
    described = [
        name for cell in re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    ]
    assert list(rows[0]) == described
    assert {row["device"] for row in rows} <= set(device_names())


def test_counts_of_the_changelog() -> None:
    text = " ".join((ROOT / "CHANGELOG.md").read_text().split())
    mixed = sum(len({group.device for group in load_system(name).groups}) > 1 for name in system_names())
    counted = {
        "devices of five classes": len(device_names()), "links": len(link_names()), "systems": len(system_names()),
        "architectures": len(model_names()), "software runtimes": len(runtime_names()),
        "model types": len(supported_types()),
    }  # fmt: skip
    quoted = {what: int(re.findall(rf"(\d+) {what}", text)[0]) for what in counted}
    assert quoted == counted
    assert f"{counted['model types']} model types are read" in (ROOT / "docs" / "howto" / "model.md").read_text()
    assert f"({['no', 'one', 'two', 'three', 'four', 'five', 'six', 'seven'][mixed]} of them mixed)" in text
