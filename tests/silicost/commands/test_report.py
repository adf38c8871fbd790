"""``silicost report``, ``compare`` and ``export``, on runs that the commands themselves have saved."""

from __future__ import annotations

import csv
import io
import json
import shutil
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from reports.text import labels_of
from silicost.commands.report import show_in_browser
from silicost.saved import read_saved

Run = Callable[..., Any]
ONE = "simulate --model llama-3.1-8b --device l40s --isl 256 --osl 32 --out runs/one"
TWO = "simulate --model llama-3.1-8b --device h100-sxm-80gb --isl 256 --osl 32 --out runs/two"
SERVED = "serve --model llama-3.1-8b --device l40s --rate 2 --requests 40 --isl 128 --osl 16 --out runs/served"
SWEPT = (
    "sweep --model llama-3.1-8b --device l40s --batch 1,2 --isl 128 --osl 16 "
    "--objective tpot_s,usd_per_million_output_tokens --out runs/swept"
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for runs of four kinds, which the first test fills."""
    return tmp_path_factory.mktemp("saved")


@pytest.fixture
def runs(saved: Path, silicost: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The current folder, with a copy of the runs in ``runs``."""
    monkeypatch.chdir(saved)
    if not (saved / "runs").exists():
        for command in (ONE, TWO, SERVED, SWEPT):
            assert silicost(command).status == 0
    shutil.copytree(saved / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def test_a_page_is_made_again_byte_for_byte(runs: Path, silicost: Run) -> None:
    for name in ("one", "served"):
        page = (runs / name / "report.html").read_bytes()
        (runs / name / "report.html").unlink()
        assert silicost(f"report {name}").status == 0
        assert (runs / name / "report.html").read_bytes() == page
        assert silicost(f"report runs/{name}/report.html --out again.html").status == 0
        assert Path("again.html").read_bytes() == page


def test_static_pages_of_every_kind_run_nothing(runs: Path, silicost: Run) -> None:
    for name in ("one", "served", "swept"):
        ran = silicost(f"report {name} --static --out {name}.html")
        assert (ran.status, ran.out) == (0, ""), ran.err
        page = Path(f"{name}.html").read_text(encoding="utf-8")
        assert "<script" not in page
        assert len(page.encode()) <= 400_000
    assert "The lowest" in Path("swept.html").read_text(encoding="utf-8")


def test_several_results_are_one_page(runs: Path, silicost: Run) -> None:
    assert silicost("report one two").status == 0
    page = Path("runs/one-and-two/report.html").read_text(encoding="utf-8")
    assert "Beside the first" in page
    assert "h100-sxm-80gb" in page
    assert "times the first" in page


def test_runs_are_called_on_the_page_as_in_the_terminal(runs: Path, silicost: Run) -> None:
    """Two of one device and one title are told apart, in the page, in its tables and in what is exported of it."""
    shutil.copytree(runs / "one", runs / "other")
    assert silicost("compare one other --format json --report runs/both/report.html").json["names"] == ["one", "other"]
    results = read_saved("both").page.subject
    assert isinstance(results, tuple) and labels_of(results) == ["one", "other"]
    page = Path("runs/both/report.html").read_text(encoding="utf-8")
    assert ">one<" in page and ">other<" in page
    for name, of in (("both", {"one", "other"}), ("other", {"other"})):
        rows = csv.DictReader(io.StringIO(silicost(f"export {name} --as csv --table metrics").out))
        assert {row["of"] for row in rows} == of


def test_a_result_without_its_page_says_what_it_lacks(runs: Path, silicost: Run) -> None:
    shutil.copy(runs / "one/result.json", "mine.json")
    ran = silicost("report mine.json --out mine.html")
    assert ran.status == 0
    assert "has no operators and no timeline" in ran.err
    assert "Time per output token" in Path("mine.html").read_text(encoding="utf-8")


def test_no_browser_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: asked.append(url) or False)
    show_in_browser(Path("a.html"))
    assert asked[0].startswith("file://")
    assert "no browser was found here; open a.html yourself" in capsys.readouterr().err
    monkeypatch.setattr(webbrowser, "open", lambda url: True)
    show_in_browser(Path("a.html"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("report runs/onne", "silicost: runs/onne: there is no such file or folder; did you mean 'runs/one'"),
        ("report runs", "it has folders of runs: one, served, swept, two"),
        ("report one --out here", "--out here: must be a file that ends in .html"),
        ("report broken.json", "broken.json: no JSON"),
        ("report nan.json", "invalid character (byte 5); NaN and Infinity are no numbers of JSON"),
        (f"report one --out {'x' * 300}.html", "cannot be written (File name too long)"),
        ("export one --as parquet --out a.csv", "--out a.csv: must end in .parquet for --as parquet"),
        ("export one", "Missing option '--as'. Choose from: trace, csv, parquet"),
        ("report other.json", "other.json: is JSON of another kind"),
        ("report lone.html", "lone.html: is a page without its data (lone.page.json)"),
        ("report text.txt", "text.txt: is no file that a report is made of"),
        ("compare one", "1 to compare: must be from 2 to 20"),
        ("compare one two --format jso", "did you mean 'json'"),
        ("export one --as pgn", "did you mean 'png'"),
        ("export one --as csv --table opertors", "did you mean 'operators'"),
        ("export one --as svg --figure roofine", "did you mean 'roofline'"),
        ("export one --as svg --figure roofline --out a.png", "must end in .svg"),
        ("export one --as csv --figure roofline", "--as csv has none"),
        ("export one --as jsonl", "one: is no study"),
        ("export page --as jsonl", "page: is the page of a study without its rows; name the folder they are in"),
        ("export one --as trace --out a.csv", "--out a.csv: ends in .csv, which --as trace does not write"),
        ("export one --as png --out text.txt", "--out text.txt: is a file; all figures go to a folder"),
        ("export one --as png --width 1", "--width 1: must be from 2.5 to 20 inches"),
        ("export one --as csv --width 3.3", "--width 3.3: --as csv has none; it goes with svg, png, pdf"),
        ("export swept --as trace", "is a study, which has no timeline"),
        ("export swept --as csv --columns tpt_s", "did you mean 'tpot_s'"),
    ],
)  # fmt: skip
def test_bad_input_is_said(command: str, message: str, runs: Path, refused: Callable[..., str]) -> None:
    Path("broken.json").write_text("{")
    Path("nan.json").write_text('{"a":NaN}')
    Path("other.json").write_text("{}")
    Path("lone.html").write_text("<html>")
    Path("text.txt").write_text("x")
    Path("runs/page").mkdir()
    shutil.copy("runs/swept/report.page.json", "runs/page/report.page.json")
    assert message in refused(command)


def test_a_terminal_obeys_no_name(runs: Path, silicost: Run) -> None:
    whole = json.loads((runs / "one" / "result.json").read_text())
    whole["configuration"]["model"] = "a\x1b[31m\u202eb\nc"
    Path("hostile.json").write_text(json.dumps(whole))
    out = silicost("compare hostile.json two").out
    assert "a\N{REPLACEMENT CHARACTER}[31m" in out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_a_comparison_in_every_form(runs: Path, silicost: Run) -> None:
    whole = silicost("compare one two --format json").json
    assert whole["names"] == ["one", "two"]
    (tpot,) = (row for row in whole["metrics"] if row["metric"] == "tpot_s")
    one, two = (json.loads((runs / name / "result.json").read_text()) for name in ("one", "two"))
    assert tpot["values"][1]["ratio"] == pytest.approx(two["tpot_s"] / one["tpot_s"])
    assert tpot["best"] == "two"
    assert tpot["values"][1]["chance_better"] > 0.5
    assert {row["what"] for row in whole["differences"]} >= {"device"}
    rows = list(csv.DictReader(io.StringIO(silicost("compare one two --format csv").out)))
    assert (
        float(next(row for row in rows if row["what"] == "tpot_s" and row["name"] == "two")["value"]) == two["tpot_s"]
    )
    assert "| Time per output token |" in silicost("compare one two --format markdown").out
    ran = silicost("compare one two --report both.html --static")
    assert "tpot_s" in ran.out
    assert "silicost delta" in ran.err
    assert "Beside the first" in Path("both.html").read_text(encoding="utf-8")


def test_scenarios_are_compared_without_being_saved(silicost: Run, runs: Path) -> None:
    whole = silicost("compare one two-devices --format json").json
    assert whole["names"] == ["one", "two-devices"]


def test_questions_of_different_kinds_are_said(runs: Path, silicost: Run) -> None:
    assert "questions of different kinds (inference, served run)" in silicost("compare one served").err


def test_a_served_run_is_compared_with_itself(runs: Path, silicost: Run) -> None:
    whole = silicost("compare served served --format json --report served.html").json
    assert all(row["values"][1]["ratio"] in (1.0, None) for row in whole["metrics"])
    assert "Beside the first" in Path("served.html").read_text(encoding="utf-8")


def test_exports_of_a_result(runs: Path, silicost: Run) -> None:
    trace = json.loads(silicost("export one --as trace").out)
    assert {event["ph"] for event in trace["traceEvents"]} == {"M", "C", "X"}
    rows = list(csv.DictReader(io.StringIO(silicost("export one --as csv --table operators").out)))
    assert silicost("export one --as parquet --table operators").status == 0
    assert pq.read_table("runs/one/operators.parquet").num_rows == len(rows)
    assert "80 % interval" in silicost("export one --as markdown").out
    assert silicost("export one --as svg").status == 0
    assert {path.name for path in (runs / "one/figures").iterdir()} == {"roofline.svg", "breakdown.svg", "timeline.svg"}


def test_the_points_of_a_study_are_those_of_study_export(runs: Path, silicost: Run) -> None:
    new, old = silicost("export swept --as csv"), silicost("study export runs/swept")
    assert new.out == old.out != ""
    assert silicost("export swept --as parquet --columns batch").status == 0
    assert pq.read_table("runs/swept/points.parquet").column_names == ["batch"]
    metrics = silicost("export swept --as csv --table metrics").out
    assert "tpot_s" in metrics
    assert "feasible" in metrics


def test_exports_of_a_served_run(runs: Path, silicost: Run) -> None:
    trace = json.loads(silicost("export served --as trace").out)
    assert {event["ph"] for event in trace["traceEvents"]} == {"M", "C"}
    assert "tpot_s.p99" in silicost("export served --as csv").out


def test_a_result_beside_its_page_loses_nothing(runs: Path, silicost: Run) -> None:
    page, data = (runs / "one" / name for name in ("report.html", "report.page.json"))
    before = page.read_bytes(), data.read_bytes()
    assert silicost("report runs/one/result.json").status == 0
    assert (page.read_bytes(), data.read_bytes()) == before


def test_a_poorer_page_takes_no_richer_ones_place(runs: Path, silicost: Run) -> None:
    place, data = runs / "one" / "result.json", runs / "one" / "report.page.json"
    before, table = data.read_bytes(), json.loads(place.read_text())
    place.write_text(json.dumps(table | {"ttft_s": 2.0 * table["ttft_s"]}))
    ran = silicost("report runs/one/result.json")
    assert ran.status == 2
    assert "runs/one/report.html has more and stays as it is: name another page with --out" in ran.err
    assert data.read_bytes() == before
    assert silicost("report runs/one/result.json --out other.html").status == 0
