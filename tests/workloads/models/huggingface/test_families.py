"""Every family's config.json gives the architecture that is shipped under the same name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from workloads.models.architecture import Architecture, Experts
from workloads.models.catalogue import load_model
from workloads.models.checks import check_architecture
from workloads.models.huggingface import read_config, supported_types
from workloads.models.parameters import count_parameters

CONFIGS = sorted((Path(__file__).parent / "configs").glob("*.json"))
CONTENT = {path.stem: path.read_text(encoding="utf-8") for path in CONFIGS}

# Names and provenance, which cost nothing.
NOT_STRUCTURE = ("id", "hf_id", "source", "notes", "published_params", "published_active")


def structure(arch: Architecture) -> dict[str, object]:
    return {name: getattr(arch, name) for name in arch.__struct_fields__ if name not in NOT_STRUCTURE}


def read(folder: Path, config: object) -> Architecture:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return read_config(folder)


def test_many_families_are_tried() -> None:
    assert len({json.loads(text).get("model_type") for text in CONTENT.values()}) >= 46


@pytest.mark.parametrize("name", CONTENT)
def test_config_gives_the_shipped_architecture(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(CONTENT[name], encoding="utf-8")
    arch, shipped = read_config(tmp_path), load_model(name)
    assert structure(arch) == structure(shipped)
    assert arch.hf_id == shipped.hf_id
    assert arch.published_params is None


@pytest.mark.parametrize("name", [name for name, text in CONTENT.items() if "ssm_cfg" not in text])
def test_class_name_stands_in_for_the_model_type(name: str, tmp_path: Path) -> None:
    config = json.loads(CONTENT[name])
    model_type = config.pop("model_type")
    # "qwen2_moe" -> "Qwen2MoeForCausalLM"
    config["architectures"] = ["".join(part.capitalize() for part in model_type.split("_")) + "ForCausalLM"]
    arch = read(tmp_path, config)
    assert arch.family == model_type
    assert arch.layers == load_model(name).layers


def test_a_file_path_works_and_the_folder_names_the_model(tmp_path: Path) -> None:
    config = json.loads(CONTENT["gpt2"])
    del config["_name_or_path"]
    folder = tmp_path / "My-Model"
    folder.mkdir()
    read(folder, config)
    assert read_config(folder / "config.json").id == "my-model"
    assert read_config(str(folder)).hf_id == ""
    (folder / "config.json").rename(folder / "Narrow.json")
    assert read_config(folder / "Narrow.json").id == "narrow"


def test_real_spelling_of_class_names(tmp_path: Path) -> None:
    for name, spelled in (
        ("gpt2", "GPT2LMHeadModel"),
        ("gpt-neox-20b", "GPTNeoXForCausalLM"),
        ("bge-m3", "XLMRobertaModel"),
    ):
        config = json.loads(CONTENT[name]) | {"architectures": [spelled], "model_type": None}
        assert structure(read(tmp_path, config)) == structure(load_model(name))


def test_windows_alternate_by_layer_types_too(tmp_path: Path) -> None:
    config = json.loads(CONTENT["gemma-3-1b"])
    del config["sliding_window_pattern"]
    config["layer_types"] = ["full_attention" if (i + 1) % 6 == 0 else "sliding_attention" for i in range(26)]
    assert structure(read(tmp_path, config)) == structure(load_model("gemma-3-1b"))
    config["layer_types"] = ["full_attention"] * 26
    assert len(read(tmp_path, config).groups) == 1


def test_a_window_as_long_as_the_context_is_none(tmp_path: Path) -> None:
    config = json.loads(CONTENT["mistral-7b-v0.1"])
    for window, expected in ((4096, 4096), (32768, 0), (None, 0)):
        attention = read(tmp_path, config | {"sliding_window": window}).groups[0].attention
        assert attention is not None
        assert attention.window == expected


def test_qwen_dense_layers_between_experts(tmp_path: Path) -> None:
    config = json.loads(CONTENT["qwen3-30b-a3b"]) | {"mlp_only_layers": [0, 1], "decoder_sparse_step": 2}
    arch = read(tmp_path, config)
    sparse = sum(group.count for group in arch.groups if isinstance(group.mlp, Experts))
    assert sparse == 23  # layers 1, 3, 5 ... 47 without layer 1
    assert arch.layers == 48


def test_old_rope_dense_and_moe_lists_of_llama_4(tmp_path: Path) -> None:
    config = json.loads(CONTENT["llama-4-maverick"])
    config["text_config"]["moe_layers"] = list(range(1, 48, 2))
    config["text_config"]["no_rope_layers"] = [int((i + 1) % 4 != 0) for i in range(48)]
    assert structure(read(tmp_path, config)) == structure(load_model("llama-4-maverick"))


def test_every_type_is_listed_once() -> None:
    assert list(supported_types()) == sorted(set(supported_types()))
    assert len(supported_types()) >= 60


JSON_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**12), 10**12), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8), st.lists(st.integers(-5, 300), max_size=40), st.just({}),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)  # fmt: skip


def paths(config: dict[str, object], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key of a config, nested ones too."""
    found = []
    for key, value in config.items():
        found.append((*above, key))
        if isinstance(value, dict):
            found += paths(value, (*above, key))
    return found


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_change_gives_an_architecture_or_an_input_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = data.draw(st.sampled_from(sorted(CONTENT)))
    config = json.loads(CONTENT[name])
    for _ in range(data.draw(st.integers(1, 2))):
        *above, key = data.draw(st.sampled_from(paths(config)))
        inner = config
        for step in above:
            inner = inner.get(step)
            if not isinstance(inner, dict):
                break
        else:
            if data.draw(st.booleans()):
                inner[key] = data.draw(JSON_VALUES)
            else:
                inner.pop(key, None)
    folder = tmp_path_factory.getbasetemp()
    try:
        arch = read(folder, config)
    except InputError as error:
        assert "allowed" in str(error) or "must" in str(error) or "needs" in str(error)
    else:
        assert check_architecture(arch, "here") is arch
        assert count_parameters(arch).total > 0
