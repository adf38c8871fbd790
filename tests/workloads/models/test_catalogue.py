"""Shipped models, and loading by name, path and folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import workloads.models
from hardware_specs.catalogue import Catalogue
from hardware_specs.errors import InputError, UnknownName
from workloads.models import catalogue
from workloads.models.architecture import Architecture
from workloads.models.catalogue import load_model, model_names

DATA = Path(workloads.models.__file__).parent / "data"
TINY = "hidden = 64\nvocab = 100\n\n[[groups]]\ncount = 2\nmlp = {{ width = {width} }}\n"


def test_at_least_170_models_are_shipped() -> None:
    assert len(model_names()) >= 170
    assert len(list(DATA.rglob("*.toml"))) == len({path.stem for path in DATA.rglob("*.toml")})


@pytest.mark.parametrize("name", model_names())
def test_every_shipped_model_is_complete(name: str) -> None:
    arch = load_model(name)
    assert arch.id == name
    assert arch.source, "a model without a source"
    assert arch.family
    assert arch.max_positions > 0 or any(group.ssm for group in arch.groups)
    assert not arch.is_encoder or arch.head != "lm"
    if arch.extra_params:
        assert "extra_params" in arch.notes, "extra parameters without a word on what they are"


@pytest.mark.parametrize("name", model_names())
def test_attention_kinds_say_what_the_heads_are(name: str) -> None:
    for group in load_model(name).groups:
        a = group.attention
        if a is not None and a.kind != "mla":
            expected = "mha" if a.kv_heads == a.heads else "mqa" if a.kv_heads == 1 else "gqa"
            assert a.kind == expected


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("llama-3.1-405b", [126]), ("deepseek-v3", [3, 58]), ("gemma-3-27b", [52, 10]), ("gemma-2-9b", [21, 21]),
        ("gpt-oss-120b", [18, 18]), ("llama-4-scout", [36, 12]), ("llama-4-maverick", [24, 12, 12]),
        ("nemotron-nano-9b-v2", [27, 25, 4]), ("qwen3.5-397b-a17b", [45, 15]), ("llama-3.2-11b-vision", [32, 8]),
        ("gpt-neo-2.7b", [16, 16]), ("falcon-180b", [80]), ("bert-large", [24]), ("mamba-2.8b", [64]),
    ],
)  # fmt: skip
def test_layer_groups(name: str, layers: list[int]) -> None:
    assert [group.count for group in load_model(name).groups] == layers


def test_details_that_families_differ_in() -> None:
    falcon, falcon40 = load_model("falcon-7b").groups[0], load_model("falcon-40b").groups[0]
    assert (falcon.parallel, falcon.norms, falcon40.parallel, falcon40.norms) == (True, 1, True, 2)
    assert load_model("opt-350m").embedding_dim == 512
    assert not load_model("opt-350m").final_norm
    assert load_model("opt-6.7b").final_norm
    assert load_model("bloom-7b1").embedding_norm
    assert not load_model("mpt-7b").norm_bias
    assert load_model("phi-2").head_bias
    assert load_model("deepseek-v3").quantization == "fp8_block"
    assert load_model("gpt-oss-20b").quantization == "mxfp4"
    sliding = load_model("gemma-2-2b").groups[0].attention
    assert sliding is not None
    assert sliding.window == 4096


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(UnknownName, match=r"unknown model 'llama-3\.1-8bb'; did you mean 'llama-3\.1-8b'") as caught:
        load_model("llama-3.1-8bb")
    assert "silicost models list" in str(caught.value)


def test_a_toml_path(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY.format(width=32))
    arch = load_model(path)
    assert (arch.id, arch.layers, arch.hidden) == ("tiny", 2, 64)


def test_a_toml_with_impossible_numbers(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY.format(width=0))
    with pytest.raises(InputError, match=r"groups\[0\]\.mlp\.width is 0; allowed: a whole number from 1"):
        load_model(path)


def test_a_config_by_file_and_folder(tmp_path: Path) -> None:
    config = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 32, "vocab_size": 100}
    folder = tmp_path / "tiny-gpt"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    assert load_model(folder) == load_model(str(folder / "config.json"))
    assert load_model(folder).id == "tiny-gpt"


@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (lambda p: p / "none.toml", "no such model file"),
        (lambda p: p / "none" / "deep", "is no file and no folder; allowed: a name"),
        (lambda p: p / "none.json", "cannot be read (No such file or directory)"),
        (lambda p: p, "this folder has no config.json"),
    ],
)
def test_paths_that_lead_nowhere(make: object, fragment: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_model(make(tmp_path))  # type: ignore[operator]
    assert fragment in str(caught.value)


def test_the_users_own_models_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "gpt2.toml").write_text(TINY.format(width=32))
    (tmp_path / "models" / "mine.toml").write_text(TINY.format(width=48))
    monkeypatch.setenv("SILICOST_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(catalogue, "_CATALOGUE", Catalogue("model", Architecture, DATA))
    assert load_model("gpt2").layers == 2
    assert load_model("mine").hidden == 64
    assert "mine" in model_names()
