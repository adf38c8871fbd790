"""``silicost calibrate compare``: parameters, what differs around them, and what the files predict."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from hardware_specs.errors import InputError
from silicost.commands.compare_calibrations import compare, predictions_of, report_of, verdict
from silicost.output import Format

MakeFile = Callable[..., Path]
THEN = {
    "date": "2026-11-20", "processor.model": "AMD EPYC 9654", "allowance.logical_cores": "4",
    "clocks.governor": "performance", "software.libraries.torch": "2.13.0",
}  # fmt: skip
NOW = THEN | {"clocks.governor": "powersave", "software.libraries.torch": "2.14.0"}


@pytest.fixture
def files(calibration_file: MakeFile) -> list[str]:
    one = calibration_file("1.toml", environment=THEN)
    return [str(one), str(calibration_file("2.toml", environment=NOW, scale=0.5))]


def printed(capsys: pytest.CaptureFixture[str], files: list[str], how: Format) -> str:
    capsys.readouterr()
    compare(files, how)
    return capsys.readouterr().out


def test_the_same_file_twice_agrees_in_everything(files: list[str]) -> None:
    whole = report_of([files[0], files[0]])
    assert whole["agreement"]["agree"] == whole["agreement"]["compared"] > 20
    assert {tuple(row["ratio"]) for row in whole["predictions"]} == {(1.0, 1.0)}
    assert whole["environment"] == []
    assert "nothing differs around them" in verdict(whole)


def test_what_differs(files: list[str]) -> None:
    whole = report_of(files)
    assert [each["path"] for each in whole["files"]] == files
    assert [each["made_on"] for each in whole["files"]] == ["AMD EPYC 9654, 4 cores, on 2026-11-20"] * 2
    assert whole["agreement"]["agree"] < 0.5 * whole["agreement"]["compared"]
    assert [(row["kind"], row["name"], row["first"], row["here"]) for row in whole["environment"]] == [
        ("software", "torch", "2.13.0", "2.14.0"),
        ("settings", "governor", "performance", "powersave"),
    ]
    assert whole["spread"]["largest"] > 1.2
    back = report_of(files[::-1])
    for row, other in zip(whole["predictions"], back["predictions"], strict=True):
        assert row["seconds"] == other["seconds"][::-1]
        assert row["ratio"][1] == pytest.approx(1.0 / other["ratio"][1])


def test_predictions_are_those_of_simulate(files: list[str], silicost: Callable[..., Any]) -> None:
    rows = {row.what: row.seconds for row in predictions_of(files)}
    for place, file in enumerate(files):
        asked = f"simulate --model smollm-135m --isl 256 --osl 17 --dtype fp32 --calibration {file} --format json"
        result = silicost(asked).json
        assert rows["smollm-135m: prefill of 256 tokens, fp32"][place] == result["ttft_s"]
        assert rows["smollm-135m: decode step, fp32"][place] == result["tpot_s"]
    assert len(rows) == 2 * (7 + 4)
    assert all(time is not None and time > 0.0 for times in rows.values() for time in times)


def test_three_files(
    files: list[str], calibration_file: MakeFile, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    three = [*files, str(calibration_file("3.toml", scale=1.1))]
    whole = json.loads(printed(capsys, three, Format.JSON))
    assert all(len(row["values"]) == 3 for row in whole["parameters"])
    assert all(len(row["ratio"]) == 3 for row in whole["predictions"])
    assert {len(row["pairs"]) for row in whole["parameters"]} == {3}
    assert "2 and 3" in printed(capsys, three, Format.TABLE)
    assert "a file does not say where it was made" not in verdict(whole)


def test_tables(files: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    table = printed(capsys, files, Format.TABLE)
    for text in ("agree within their 95% intervals", "predicted times, and their ratio to file 1", "governor", "no  "):
        assert text in table, text


def test_csv_has_a_line_for_each_number(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(printed(capsys, files, Format.CSV))))
    whole = report_of(files)
    kinds = [row["kind"] for row in rows]
    assert kinds.count("parameter") == sum(v is not None for row in whole["parameters"] for v in row["values"])
    assert kinds.count("prediction") == 2 * len(whole["predictions"])
    assert kinds.count("environment") == 2 * len(whole["environment"])
    assert {row["file"] for row in rows} == set(files)
    assert {row["agrees"] for row in rows if row["kind"] == "parameter"} == {"False", ""}


def test_files_that_cannot_be_compared(files: list[str], calibration_file: MakeFile, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 file given; must be two or more"):
        report_of(files[:1])
    with pytest.raises(InputError, match=r"nope.toml: no such calibration file"):
        report_of([files[0], str(tmp_path / "nope.toml")])
    gpu = calibration_file("gpu.toml", device="a40", brings=False)
    gpu.write_text('id = "a40"\ncalibrations = []\n')
    with pytest.raises(InputError, match=r"1.toml is of a cpu, .*gpu.toml is of a gpu; must be calibrations of one"):
        report_of([files[0], str(gpu)])


def test_it_is_a_command(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()
    app.command()(compare)
    app([*files, "--format", "json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["files"][1]["path"] == files[1]
