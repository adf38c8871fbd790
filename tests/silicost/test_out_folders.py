"""A folder holds one kind of thing, and a command says so before it computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from silicost.out_folders import A_RECOMMENDATION, A_RUN, A_SERVED, A_STUDY, kind_of

Run = Callable[..., Any]
SHAPE = "--model llama-3.1-8b --isl 64 --osl 4"
COMMANDS = {
    A_RUN: f"simulate {SHAPE} --device l40s --batch 1",
    A_SERVED: f"serve {SHAPE} --device l40s --rate 2 --requests 20",
    A_STUDY: f"sweep {SHAPE} --device l40s --batch 1,2",
    A_RECOMMENDATION: f"recommend {SHAPE} --devices l40s",
}
CAPACITY = f"capacity {SHAPE} --device l40s --tp 1,2 --slo ttft=1s"


def test_each_kind_is_written_again_where_it_lies_and_no_other_is(
    silicost: Run, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, command in COMMANDS.items():
        assert silicost(f"{command} --out {command.split()[0]}").status == 0
        assert kind_of(Path(command.split()[0])) == kind
    for kind, command in COMMANDS.items():
        for other, made in COMMANDS.items():
            folder = made.split()[0]
            before = {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
            if other == kind:
                assert silicost(f"{command} --out {folder}").status == 0
                continue
            said = refused(f"{command} --out {folder}")
            held = "holds other things" if kind == A_STUDY else f"--out {folder}: holds {other}, which {kind} cannot"
            assert held in said
            assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("command", [*COMMANDS.values(), CAPACITY, "demo", "run chat"])
def test_a_file_is_refused_before_anything_is_computed(
    command: str, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("z.csv").write_text("mine")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed all the same")

    monkeypatch.setattr("silicost.answer.answer", never)
    monkeypatch.setattr("silicost.serving.answer.serve", never)
    monkeypatch.setattr("silicost.recommend.answer.recommend", never)
    assert "--out z.csv: is a file, not a folder" in refused(f"{command} --out z.csv")
    assert "--out z.csv: is a file, not a folder" in refused(f"{command} --out z.csv/deep/er")
    assert Path("z.csv").read_text() == "mine"


def test_what_is_none_of_them_is_not_refused(tmp_path: Path) -> None:
    assert kind_of(tmp_path / "none") == kind_of(tmp_path) == ""
    (tmp_path / "result.json").write_text("{")
    assert kind_of(tmp_path) == ""
