"""Configs with one thing wrong: the error names the key, its value and what is allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from hardware_specs.errors import InputError
from workloads.models.huggingface import read_config

CONFIGS = Path(__file__).parent / "configs"
REMOVED: Final = object()


def changed(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The config with keys replaced or removed; "text_config.x" is a key of the nested object."""
    config: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    for dotted, value in changes.items():
        *above, key = dotted.split(".")
        inner = config
        for step in above:
            inner = inner[step]
        if value is REMOVED:
            del inner[key]
        else:
            inner[key] = value
    return config


LLAMA, TEXT = "llama-3.1-8b", "text_config."
CASES: list[tuple[str, dict[str, Any], str]] = [
    (LLAMA, {"model_type": "lama"}, "unknown model type 'lama'; did you mean 'llama'? (allowed: "),
    (LLAMA, {"model_type": "whisper"}, "unknown model type 'whisper'; (allowed: "),
    (LLAMA, {"model_type": 7}, "model_type is 7; allowed: text"),
    (LLAMA, {"model_type": REMOVED}, "model_type is missing; allowed: "),
    (LLAMA, {"model_type": REMOVED, "architectures": []}, "architectures is []; allowed: a list with the name"),
    (LLAMA, {"model_type": REMOVED, "architectures": ["FooForCausalLM"]}, "architectures: unknown model type 'Foo'"),
    (LLAMA, {"hidden_size": REMOVED}, "hidden_size is missing; allowed: a whole number from 1"),
    (LLAMA, {"hidden_size": 0}, "hidden_size is 0; allowed: a whole number from 1 to 10000000"),
    (LLAMA, {"hidden_size": -4096}, "hidden_size is -4096"),
    (LLAMA, {"hidden_size": 4096.0}, "hidden_size is 4096.0; allowed: a whole number"),
    (LLAMA, {"hidden_size": "4096"}, 'hidden_size is "4096"; allowed: a whole number'),
    (LLAMA, {"hidden_size": True}, "hidden_size is true; allowed: a whole number"),
    (LLAMA, {"hidden_size": [4096]}, "hidden_size is [4096]"),
    (LLAMA, {"hidden_size": 10**9}, "hidden_size is 1000000000"),
    (LLAMA, {"hidden_size": 4097}, "num_attention_heads is 32; allowed: a divisor of the hidden size (4097)"),
    (LLAMA, {"num_hidden_layers": REMOVED, "num_hidden_layer": 32}, "the nearest key there is 'num_hidden_layer'"),
    (LLAMA, {"num_hidden_layers": 10_001}, "num_hidden_layers is 10001; allowed: a whole number from 1 to 10000"),
    (LLAMA, {"num_attention_heads": None}, "num_attention_heads is missing"),
    (LLAMA, {"num_key_value_heads": 7}, "num_key_value_heads is 7; allowed: a divisor of num_attention_heads (32)"),
    (LLAMA, {"num_key_value_heads": 64}, "num_key_value_heads is 64; allowed: a divisor"),
    (LLAMA, {"intermediate_size": 1e400}, "Infinity is no JSON number"),
    (LLAMA, {"intermediate_size": float("nan")}, "NaN is no JSON number"),
    (LLAMA, {"vocab_size": "big"}, 'vocab_size is "big"'),
    (LLAMA, {"max_position_embeddings": -1}, "max_position_embeddings is -1"),
    (LLAMA, {"tie_word_embeddings": "yes"}, 'tie_word_embeddings is "yes"; allowed: true or false'),
    (LLAMA, {"attention_bias": 1}, "attention_bias is 1; allowed: true or false"),
    (LLAMA, {"hidden_act": "tanh"}, 'hidden_act is "tanh"; allowed: silu'),
    (LLAMA, {"torch_dtype": "bf16"}, 'torch_dtype is "bf16"; allowed: float32, float16, bfloat16'),
    (LLAMA, {"dtype": "int4"}, 'dtype is "int4"; allowed: float32'),
    (LLAMA, {"_name_or_path": 3}, "_name_or_path is 3; allowed: text"),
    (LLAMA, {"quantization_config": "awq"}, 'quantization_config is "awq"; allowed: an object'),
    (LLAMA, {"quantization_config": {}}, "quantization_config.quant_method is missing"),
    (LLAMA, {"quantization_config": {"quant_method": "magic"}}, 'quant_method is "magic"; allowed: awq, gptq'),
    (LLAMA, {"quantization_config": {"quant_method": "gptq", "bits": 5}}, "bits is 5; allowed: 2, 3, 4 or 8"),
    (LLAMA, {"quantization_config": {"quant_method": "bitsandbytes"}}, "load_in_4bit is null; allowed: true"),
    (LLAMA, {"quantization_config": {"quant_method": "modelopt", "quant_algo": "X"}}, 'quant_algo is "X"'),
    (LLAMA, {"quantization_config": {"quant_method": "compressed-tensors"}}, "config_groups is null"),
    ("mistral-7b-v0.1", {"sliding_window": -1}, "sliding_window is -1; allowed: a whole number from 0"),
    ("mixtral-8x7b", {"num_local_experts": REMOVED}, "num_local_experts is missing"),
    ("mixtral-8x7b", {"num_experts_per_tok": 9}, "num_experts_per_tok is 9; allowed: a whole number from 1 to 8"),
    ("decilm-7b", {"num_key_value_heads_per_layer": [4] * 31}, "allowed: a list of 32 whole numbers of at least 1"),
    ("decilm-7b", {"num_key_value_heads_per_layer": [5] * 32}, "num_key_value_heads is 5; allowed: a divisor"),
    ("gemma-3-1b", {"layer_types": ["global"] * 26}, "one for each layer, out of full_attention, sliding_attention"),
    ("gemma-3-4b", {"text_config.num_hidden_layers": 0}, "text_config.num_hidden_layers is 0"),
    ("gemma-3-4b", {"vision_config.patch_size": REMOVED}, "vision_config.patch_size is missing"),
    ("llama-4-scout", {"text_config.moe_layers": [48]}, "text_config.moe_layers is [48]; allowed: a list of layer"),
    ("llama-4-scout", {"text_config.no_rope_layers": [1]}, "no_rope_layers is [1]; allowed: a list of 48"),
    ("llama-3.2-11b-vision", {"text_config.cross_attention_layers": [40]}, "cross_attention_layers is [40]"),
    ("llava-1.5-7b", {"text_config.model_type": "opt"}, 'text_config.model_type is "opt"; allowed: llama'),
    ("qwen3-30b-a3b", {"mlp_only_layers": [48]}, "mlp_only_layers is [48]; allowed: a list of layer numbers below 48"),
    ("qwen3-30b-a3b", {"mlp_only_layers": 3}, "mlp_only_layers is 3"),
    ("qwen3.5-397b-a17b", {"text_config.layer_types": ["ssm"]}, "out of linear_attention, full_attention"),
    ("deepseek-v3", {"kv_lora_rank": None}, "kv_lora_rank is missing"),
    ("deepseek-v3", {"num_experts_per_tok": 257}, "num_experts_per_tok is 257; allowed: a whole number from 1 to 256"),
    ("deepseek-v3", {"n_shared_experts": 10**7}, "n_shared_experts is 10000000"),
    ("hunyuan-a13b", {"moe_topk": [8, 4]}, "moe_topk is [8, 4]; allowed: a whole number, or a list with the same"),
    ("hunyuan-a13b", {"moe_topk": 65}, "moe_topk is 65; allowed: a whole number from 1 to num_experts (64)"),
    ("gpt2", {"n_embd": REMOVED}, "n_embd (or hidden_size) is missing"),
    ("gpt2", {"n_head": 7}, "n_head is 7; allowed: a divisor of the hidden size (768)"),
    ("gpt-neo-2.7b", {"attention_layers": ["near"] * 32}, "out of global, local"),
    ("opt-6.7b", {"ffn_dim": 0}, "ffn_dim is 0"),
    ("falcon-40b", {"num_kv_heads": 9}, "num_kv_heads is 9; allowed: a divisor of the number of heads (128)"),
    ("mpt-7b", {"attn_config": [1]}, "attn_config is [1]; allowed: an object"),
    ("mpt-7b", {"attn_config.kv_n_heads": 5}, "attn_config.kv_n_heads is 5; allowed: a divisor of n_heads (32)"),
    ("mamba-2.8b", {"ssm_cfg": {"layer": "Mamba2", "headdim": 7}}, "ssm_cfg.headdim is 7; allowed: a divisor"),
    ("nemotron-nano-9b-v2", {"hybrid_override_pattern": "M-"}, "allowed: 56 letters out of M, * and -"),
    ("lfm2-700m", {"full_attn_idxs": [16]}, "full_attn_idxs is [16]; allowed: a list of layer numbers below 16"),
    ("lfm2-700m", {"layer_types": ["ssm"] * 16}, "out of conv, full_attention"),
    ("lfm2-700m", {"block_ffn_dim_multiplier": 0}, "block_ffn_dim_multiplier is 0; allowed: a number above 0"),
    ("chatglm3-6b", {"multi_query_group_num": 3}, "multi_query_group_num is 3; allowed: a divisor"),
    ("bge-m3", {"max_position_embeddings": 2}, "max_position_embeddings is 2; allowed: a whole number from 3"),
]


def test_there_are_many_cases() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize(("name", "changes", "fragment"), CASES)
def test_one_thing_wrong(name: str, changes: dict[str, Any], fragment: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(changed(name, changes)), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_config(folder)
    assert fragment in str(caught.value)
    assert "config.json: " in str(caught.value)
