"""``silicost sweep`` as a program and as a person meets it: flags, files, folders, pages, errors."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from silicost.studies.shipped import shipped_studies
from simulator.explore.reading import open_study

ONE = "--model llama-3.1-8b --device h100-sxm-80gb --isl 512 --osl 32"
S = f"sweep {ONE} --batch 1,4 --dtype bf16,fp8"
BOTH = "sweep --model llama-3.1-8b --device h100-sxm-80gb,l40s --isl 512 --osl 32"
Run = Callable[..., Any]
Refused = Callable[..., str]

FILE = """
title = "Mine"
question = "Which?"
metrics = ["tpot_s", "memory_bytes"]
constraints = ["tpot_s <= 30 ms"]

[scenario]
model = "llama-3.1-8b"
isl = 512
osl = 32

[axes]
device = ["h100-sxm-80gb", "l40s"]
batch = "1:64:*4"

[[linked]]
tp = [1, 2]
count = [1, 2]
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.toml").write_text(FILE)
    return tmp_path / "mine.toml"


def rows_of(folder: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = open_study(Path(folder)).to_arrow().to_pylist()
    return rows


def test_every_combination_is_a_row(silicost: Run) -> None:
    ran = silicost(f"{S} --out out")
    assert ran.status == 0, ran.err
    assert "sweep: 4 points, 4 feasible, in out" in ran.out
    found = [(row["dtype"], row["batch"]) for row in rows_of("out")]
    assert found == [("bf16", 1), ("bf16", 4), ("fp8", 1), ("fp8", 4)]


def test_a_row_is_what_simulate_says(silicost: Run) -> None:
    silicost(f"{S} --metric tpot_s,ttft_s,j_per_output_token,memory_bytes --out out")
    for row in rows_of("out"):
        one = silicost(f"simulate {ONE} --batch {row['batch']} --dtype {row['dtype']} --format json").json
        for metric in ("tpot_s", "ttft_s", "j_per_output_token"):
            assert row[metric] == pytest.approx(one[metric], rel=1e-9)
        assert row["memory_bytes"] == pytest.approx(one["memory_bytes"]["total"], rel=1e-9)
        assert (row["fits"], row["feasible"], row["reason"], row["detail"]) == (True, True, "", "")


def test_intervals_are_those_of_simulate(silicost: Run) -> None:
    silicost(f"{S} --metric tpot_s --intervals --out out")
    row = rows_of("out")[0]
    one = silicost(f"simulate {ONE} --batch {row['batch']} --dtype {row['dtype']} --format json").json
    assert row["tpot_s.p10"] == pytest.approx(one["intervals"]["tpot_s"]["p10"], rel=1e-9)
    assert row["tpot_s.p90"] == pytest.approx(one["intervals"]["tpot_s"]["p90"], rel=1e-9)


def test_values_are_lists_ranges_and_quantities(silicost: Run) -> None:
    ran = silicost(f"sweep {ONE} --batch 1:64:*4 --set device.memory.bandwidth=1x,2x --format json --out out")
    assert (ran.json["rows"], ran.json["feasible"]) == (8, 8)
    rows = rows_of("out")
    assert {row["batch"] for row in rows} == {1, 4, 16, 64}
    slow, fast = ({row["batch"]: row["tpot_s"] for row in rows if row["device.memory.bandwidth"] == f"{k}x"}
                  for k in (1, 2))  # fmt: skip
    assert all(fast[batch] < slow[batch] for batch in slow)


def test_a_file_and_flags_beside_it(silicost: Run, mine: Path) -> None:
    ran = silicost(f"sweep {mine} --out out --format json")
    assert ran.json["rows"] == 2 * 4 * 2
    assert {row["tp"] == row["count"] for row in rows_of("out")} == {True}
    assert ran.json["title"] == "Mine"
    fewer = silicost(f"sweep {mine} --out fewer --batch 8 --device l40s --isl 1024 --format json")
    assert fewer.json["rows"] == 2
    assert set(fewer.json["best"]["tpot_s"]) >= {"tp", "count", "tpot_s", "memory_bytes"}


def test_a_flag_takes_the_place_of_a_linked_axis(silicost: Run, mine: Path) -> None:
    ran = silicost(f"sweep {mine} --out out --tp 1 --count 1 --format json")
    assert ran.json["rows"] == 8
    ran = silicost(f"sweep {mine} --out linked --tp 1,2,4 --count 1,2,4 --link tp,count --format json")
    assert ran.json["rows"] == 2 * 4 * 3


def test_conditions_constraints_and_objectives(silicost: Run) -> None:
    ran = silicost(
        f"{BOTH} --batch 1:64:*2 --format json --out out --metric tpot_s,ttft_s", "--constraint", "ttft_s <= 100 ms",
        "--where", "if device == l40s then batch <= 4", "--objective", "ttft_s,tpot_s:lower",
    )  # fmt: skip
    found = ran.json
    assert found["rows"] == 7 + 3
    (reason,) = found["reasons"]
    assert reason["code"] == "ttft_s"
    assert reason["for_example"] == "not ttft_s <= 0.1"
    assert reason["points"] == found["rows"] - found["feasible"] > 0
    assert found["objectives"] == ["ttft_s:lower", "tpot_s:lower"]
    assert all(row["ttft_s"] <= 0.1 for row in found["pareto"])


def test_what_cannot_be_run_has_a_reason(silicost: Run) -> None:
    old = ONE.replace("h100-sxm-80gb", "a100-sxm-80gb")
    ran = silicost(f"sweep {old} --batch 1,2 --dtype bf16,fp8 --tp 1,3 --out out")
    assert ran.status == 0
    rows = rows_of("out")
    codes = {(row["dtype"], row["tp"]): row["reason"] for row in rows}
    assert codes == {("bf16", 1): "", ("fp8", 1): "dtype", ("bf16", 3): "plan", ("fp8", 3): codes["fp8", 3]}
    assert codes["fp8", 3] in ("plan", "dtype")
    assert all(row["detail"] for row in rows if row["reason"])
    assert "2 not: a100-sxm-80gb cannot compute in fp8" in ran.out


def test_no_feasible_point_is_status_3(silicost: Run) -> None:
    ran = silicost(f"sweep {ONE.replace('8b', '70b')} --batch 1,2 --out out")
    assert ran.status == 3
    assert "no point is feasible: 2 points: does not fit the memory" in ran.err
    assert "0 feasible" in ran.out
    assert "No point is feasible" in Path("out/report.html").read_text()


def test_samples_take_points_of_continuous_axes(silicost: Run, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        '[scenario]\nmodel = "llama-3.1-8b"\ndevice = "h100-sxm-80gb"\nosl = 32\n[axes]\nisl = "128,512"\n'
        '"device.memory.bandwidth" = { low = "1x", high = "4x", log = true }\nbatch = { low = 1, high = 64 }\n'
    )
    first = silicost("sweep s.toml --sample sobol:32:7 --out one --format json")
    again = silicost("sweep s.toml --sample sobol:32:7 --out two --format json")
    other = silicost("sweep s.toml --sample sobol:32:8 --out three --format json")
    assert first.json["rows"] == 32
    assert first.json["best"] == again.json["best"] != other.json["best"]
    assert {row["batch"] for row in rows_of("one")} <= set(range(1, 65))
    assert all(1.0 <= row["device.memory.bandwidth"] <= 4.0 for row in rows_of("one"))
    page = Path("one/report.html").read_text()
    assert "sobol, 32 points, seed 7" in page
    assert "1x to 4x, equal ratios equally likely" in page
    assert "80&nbsp;% interval" in page


def test_training_is_asked_by_its_keys(silicost: Run) -> None:
    ran = silicost(
        "sweep --model llama-3.2-1b --device h100-sxm-80gb --global-batch 8 --seq-len 512 --micro-batch 1,2 "
        "--recompute none,full --out out --format json"
    )
    assert ran.status == 0, ran.err
    one = silicost("train --model llama-3.2-1b --device h100-sxm-80gb --global-batch 8 --seq-len 512 --micro-batch 2 "
                   "--recompute full --format json").json  # fmt: skip
    (row,) = (row for row in rows_of("out") if (row["micro_batch"], row["recompute"]) == (2, "full"))
    assert row["step_time_s"] == pytest.approx(one["step_time_s"], rel=1e-12)
    assert list(ran.json["best"]) == ["step_time_s", "tokens_per_s_per_device", "mfu", "usd_per_step", "memory_bytes"]


def test_the_engine_gives_the_same_rows(silicost: Run) -> None:
    silicost(f"{S} --metric tpot_s --out closed")
    silicost(f"{S} --metric tpot_s --engine --out engine")
    closed, engine = rows_of("closed"), rows_of("engine")
    assert [row["tpot_s"] for row in engine] == pytest.approx([row["tpot_s"] for row in closed], rel=1e-9)


def test_refine_runs_the_best_again(silicost: Run) -> None:
    ran = silicost(f"{S} --metric tpot_s --refine top=2 --out out --format json")
    refined = ran.json["refined"]
    assert len(refined["rows"]) == 2
    assert refined["rows"][0]["tpot_s"] == min(row["tpot_s"] for row in rows_of("out"))
    assert refined["regret"] >= 0.0
    table = silicost(f"{S} --metric tpot_s --refine top=2 --out out").out
    assert "regret of choosing by the closed form" in table


def test_csv_has_all_rows(silicost: Run) -> None:
    ran = silicost(f"{S} --part 3 --out out --format csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert len(rows) == 4
    assert {"batch", "dtype", "tpot_s", "fits", "feasible", "reason", "detail"} <= rows[0].keys()
    assert len(list(Path("out/parts").glob("*.parquet"))) == 2


def test_the_same_command_computes_nothing(silicost: Run) -> None:
    first = silicost(f"{S} --out out")
    parts = {path.name: path.stat().st_mtime_ns for path in Path("out/parts").iterdir()}
    again = silicost(f"{S} --out out")
    assert again.out == first.out
    assert "4 were there" in again.err
    assert {path.name: path.stat().st_mtime_ns for path in Path("out/parts").iterdir()} == parts


def test_a_first_axis_that_grew_computes_its_new_values(silicost: Run) -> None:
    silicost(f"sweep {ONE} --batch 1,2,4,8 --part 2 --out out")
    grown = silicost(f"sweep {ONE} --batch 1,2,4,8,16,32 --part 2 --out out")
    assert "6 of 6 points in 3 of 3 parts, 4 were there" in grown.err


def test_a_damaged_part_is_computed_again(silicost: Run) -> None:
    first = silicost(f"{S} --out out")
    (part,) = Path("out/parts").iterdir()
    part.write_bytes(part.read_bytes()[:-40])
    again = silicost(f"{S} --out out")
    assert again.out == first.out
    assert "set aside" in again.err
    assert len(list(Path("out/parts").glob("*.damaged"))) == 1


def test_worker_processes_give_the_same_table(silicost: Run) -> None:
    here = silicost(f"{S} --part 1 --out here --executor here --format csv")
    local = silicost(f"{S} --part 1 --out local --executor local --workers 2 --format csv")
    assert local.status == 0, local.err
    assert local.out == here.out


def test_the_folder_has_the_name_of_the_study_or_of_its_flags(silicost: Run, mine: Path) -> None:
    silicost(f"sweep {mine}")
    assert Path("runs/mine/study.json").is_file()
    silicost(S)
    silicost(f"{S} --metric tpot_s")
    assert len(list(Path("runs").glob("sweep-*"))) == 2


def test_a_folder_holds_one_study(silicost: Run, refused: Refused, mine: Path) -> None:
    silicost(f"{S} --out out")
    assert "holds the study 'sweep', not 'Mine'" in refused(f"sweep {mine} --out out")


def test_dry_runs_compute_nothing(silicost: Run) -> None:
    ran = silicost(f"{S} --dry-run --out out --format json")
    said = {row["what"]: row["value"] for row in ran.json}
    assert said["points"] == said["rows"] == "4"
    assert {"parts", "time", "memory", "disk"} <= said.keys()
    assert not Path("out").exists()
    conditions = silicost(f"{S} --dry-run --format json", "--where", "if dtype == fp8 then batch == 1")
    assert {row["what"]: row["value"] for row in conditions.json}["rows"] == "3"


def test_the_readme_quotes_what_is_printed(silicost: Run) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    quoted = readme.split("## A sweep")[1].split("and writes a page")[0]
    printed = [line.split() for line in silicost("sweep gpu-for-70b").out.splitlines()]
    lines = [line.split() for line in quoted.splitlines() if line.startswith("    ") and "silicost" not in line]
    assert len(lines) == 6
    assert all(line in printed for line in lines)
    assert "Twenty-one such studies" in readme
    assert len(shipped_studies()) == 21


def test_a_search_looks_at_some_points(silicost: Run) -> None:
    ran = silicost(f"{BOTH} --batch 1:64:+1 --metric tpot_s,ttft_s --search 40:random:3 --out out --format json")
    assert ran.status == 0, ran.err
    assert ran.json["rows"] == 40
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "A search chose the points" in page
    assert "random, at most 40 evaluations, seed 3" in page


def test_the_list_names_what_each_study_asks(silicost: Run) -> None:
    rows = silicost("sweep --list --format json").json
    assert {row["name"] for row in rows} == set(shipped_studies())
    assert all(row["question"].endswith("?") and row["title"] for row in rows)
    # Mixtures are simulated point by point: theirs are few.
    assert all(row["points"] >= (20 if row["name"].startswith("mixed-") else 100) for row in rows)
    assert "old-gpus" in silicost("sweep --list").out
    assert not Path("runs").exists()


def test_the_page_lies_in_the_folder_or_where_it_is_wanted(silicost: Run) -> None:
    ran = silicost(f"{S} --out out")
    assert "silicost: report: out/report.html" in ran.err
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert f"silicost {S} --out out" in page
    elsewhere = silicost(f"{S} --out two --report pages/mine.html")
    assert "report: pages/mine.html" in elsewhere.err
    assert Path("pages/mine.html").is_file()
    assert not Path("two/report.html").exists()
    nothing = silicost(f"{S} --out three --report none")
    assert "report" not in nothing.err
    assert not Path("three/report.html").exists()
    assert not Path("none").exists()


def test_data_goes_to_stdout_and_all_else_to_stderr(silicost: Run) -> None:
    ran = silicost(f"{S} --out out --format json")
    assert ran.json["folder"] == "out"
    assert "points/s" in ran.err
    assert "report" in ran.err


WRONG = {
    "sweep nothing": "unknown study 'nothing'",
    "sweep gpu-for-7b": "did you mean 'gpu-for-70b'",
    "sweep missing.toml": "missing.toml: cannot be read",
    f"sweep {ONE} --batch 1": "nothing varies",
    f"{S} --tp 2:1:+1": "the stop lies below the start",
    f"{S} --set device.memory.bandwith=1x,2x": "no field 'bandwith'; did you mean 'bandwidth'?",
    f"{S} --set devices.x=1,2": "did you mean 'device",
    f"{S} --metric tpot": "did you mean 'tpot_s'?",
    f"{S} --objective tpot_s:up": "must be METRIC, METRIC:lower or METRIC:higher",
    f"{S} --constraint tpot_s=30": "tpot_s=30",
    f"{S} --sample grid:5": "a grid takes every point",
    f"{S} --sample sobol:x": "must be KIND:POINTS or KIND:POINTS:SEED",
    f"{S} --sample halton:5": "unknown sampler 'halton'",
    f"{S} --refine best=5": "must be top=N",
    f"{S} --executor cloud": "unknown executor 'cloud'",
    f"{S} --part 0": "must be a whole number from 1",
    f"{S} --link batch": "needs two names or more",
    f"{S} --link batch,tp": "'tp' is no axis of several values",
    f"{S} --link batch,dtype,isl": "'isl' is no axis of several values",
    f"{S} --global-batch 8": "does not belong to training",
    f"sweep {ONE.replace('h100', 'h1000')} --batch 1,2": "unknown device",
    f"{S} --seq-len 1:1000:+1 --isl 1:10000000:+1": "does not belong",
    f"{S} --isl 1:5000000:+1 --osl 1:5000:+1": "are more than 1,000,000,000",
}  # fmt: skip


@pytest.mark.parametrize("command", WRONG, ids=lambda command: command.removeprefix(S)[-50:])
def test_slips_are_one_clear_line(refused: Refused, command: str) -> None:
    assert WRONG[command] in refused(command)
    assert not Path("runs").exists()


def test_conditions_that_contradict_each_other_are_refused(refused: Refused) -> None:
    said = refused(S, "--where", "batch >= 4", "--where", "batch <= 1")
    assert "contradict each other" in said
    assert "unknown" in refused(S, "--where", "betch >= 4") or "betch" in refused(S, "--where", "betch >= 4")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = 1\n[axs]\nbatch = [1, 2]\n", "'axs': unknown key; did you mean 'axes'"),
        ("[axes]\nbatch = []\n", "batch"),
        ('[scenario]\nbatch = 1\n[axes]\nbatch = "1,2"\n', "is fixed in [scenario] and an axis"),
        ("[axes]\nbtach = [1, 2]\n", "did you mean 'batch'"),
        ("[axes]\nbatch = { low = 1 }\n", "needs low and high"),
        ("engine = 3\n[axes]\nbatch = [1, 2]\n", "engine: must be true or false"),
        ("linked = 5\n[axes]\nbatch = [1, 2]\n", "linked"),
        ("[[linked]]\ntp = [1, 2]\ncount = [1]\n", "equally many values"),
        ("not toml", "mine.toml"),
    ],
)
def test_slips_of_a_file_name_the_file(refused: Refused, tmp_path: Path, text: str, said: str) -> None:
    scenario = "" if "[scenario]" in text else '[scenario]\nmodel = "llama-3.1-8b"\ndevice = "l40s"\nisl = 8\nosl = 8\n'
    (tmp_path / "mine.toml").write_text(text + scenario)
    line = refused("sweep mine.toml")
    assert said in line
    assert "mine.toml" in line


def test_a_page_that_cannot_be_written_loses_nothing(silicost: Run) -> None:
    Path("taken").write_text("a file")
    ran = silicost(f"{S} --out out --report taken/page.html")
    assert ran.status == 2
    assert "taken/page.html: cannot be written" in ran.err
    assert len(rows_of("out")) == 4
