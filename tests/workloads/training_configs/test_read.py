"""Which form a file has, and files that have none."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError, UnknownName
from workloads.runtimes.catalogue import load_runtime
from workloads.training_configs import TrainingConfig, read_config
from workloads.training_configs.read import LARGEST, form_of

PAGE = (Path(__file__).parents[3] / "docs" / "training_configs.md").read_text()
ARGUMENTS = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 128 --micro-batch-size 1 --vocab-size 9"
)
YAML = """
trainer: {num_nodes: 1, devices: 8}
model: {num_layers: 2, hidden_size: 64, num_attention_heads: 4, encoder_seq_length: 128, micro_batch_size: 1}
"""
TOML = "[model]\nname = 'llama3'\nflavor = '8B'\n[training]\nseq_len = 128\n"


@pytest.mark.parametrize(
    ("text", "form"),
    [(ARGUMENTS, "megatron"), (f"#!/bin/bash\nA='{ARGUMENTS}'\npython pretrain_gpt.py $A", "megatron"), (YAML, "nemo"),
     (TOML, "torchtitan"), ("training:\n  x: 1", "nemo"), ("[parallelism]\na = 1 # --num-layers", "torchtitan"),
     ("# see --help\nmodel:\n  a: 1\n", "nemo")],
)  # fmt: skip
def test_forms(text: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / "config.txt"
    path.write_text(text)
    assert form_of(path, text) == form


@pytest.mark.parametrize("text", [ARGUMENTS, YAML, TOML])
def test_all_forms_are_read_and_their_runtimes_train(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.txt"
    path.write_text(text)
    config = read_config(str(path))
    assert config.seq_len == 128
    assert load_runtime(config.runtime).trains
    assert read_config(path, form=config.form) == config


def test_variables_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "run.sh"
    path.write_text(f"python pretrain_gpt.py {ARGUMENTS} --tensor-model-parallel-size $TP")
    assert read_config(path, variables={"TP": "2"}).tp == 2
    with pytest.raises(InputError, match="TP is not set"):
        read_config(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no training configuration; allowed"),
        (b"hello world\n", "no training configuration; allowed"),
        (b"\x7fELF\x00\x01" * 10, "binary"),
        (b"\xff\xfe--num-layers 3", "not UTF-8 text"),
        (b"--num-layers 3\x00", "binary"),
        (b"--num-layers 3 " * LARGEST, "allowed: up to"),
        (b"[table]\nx = 1\n", "no training configuration"),
        (b"{\"model\": 1}", "no training configuration"),
    ],
)  # fmt: skip
def test_files_that_are_none(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_paths(tmp_path: Path) -> None:
    for path in (tmp_path / "none.sh", Path("x" * 5000), Path("a\0b")):
        with pytest.raises(InputError, match="no such file"):
            read_config(path)
    with pytest.raises(UnknownName, match="unknown form of configuration 'nemoo'; did you mean 'nemo'"):
        read_config(tmp_path, form="nemoo")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=200), form=st.sampled_from(["auto", "megatron", "nemo", "torchtitan"]))
def test_any_text_is_read_or_refused(text: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(text, encoding="utf-8", errors="replace", newline="")
    with pytest.raises(InputError):
        read_config(path, form=form)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_a_file_is_read_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    text = data.draw(st.sampled_from([ARGUMENTS, YAML, TOML]))
    at = data.draw(st.integers(0, len(text)))
    pieces = ["", "$", "{", "}", "\n", " ", '"', "'", "0", "-1", "9" * 30, "nan", "&a", "*a", "[", "--"]
    piece = data.draw(st.sampled_from(pieces))
    path = tmp_path / "config"
    path.write_text(text[:at] + piece + text[at + data.draw(st.integers(0, 9)) :])
    try:
        read_config(path)
    except InputError as error:
        assert "\n" not in str(error)


def test_the_example_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script, code, printed = re.findall(r"^```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "train_gpt.sh").write_text(script)
    (tmp_path / "example.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    runpy.run_path("example.py")
    assert capsys.readouterr().out == printed


def test_fields_of_the_page() -> None:
    table = PAGE.split("## What is read")[1].split("## What is left out")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert named <= {"field", *TrainingConfig.__struct_fields__}
    assert {"model", "tp", "zero", "recompute", "offload", "runtime"} <= named


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path}: is a folder; give the file"):
        read_config(tmp_path)
    with pytest.raises(InputError, match="/dev/null: is no ordinary file"):
        read_config("/dev/null")
