"""The architecture that Megatron's words give; NeMo's are turned into them first."""

from __future__ import annotations

import difflib
import re
from typing import Final, Literal

import msgspec

from hardware_specs.errors import InputError
from workloads.models.architecture import Architecture, Attention, AttentionKind, Experts, FeedForward, LayerGroup
from workloads.models.catalogue import load_model, model_names
from workloads.models.checks import check_architecture
from workloads.models.huggingface.parts import stack
from workloads.training_configs import expressions
from workloads.training_configs.settings import Settings, wrong

NUMBERS: Final = ("num_layers", "hidden_size", "num_attention_heads")
"""Keys without which there is no architecture."""
OTHERS: Final = (
    "ffn_hidden_size", "kv_channels", "group_query_attention", "num_query_groups", "multi_latent_attention",
    "q_lora_rank", "kv_lora_rank", "qk_head_dim", "qk_pos_emb_head_dim", "v_head_dim", "max_position_embeddings",
    "position_embedding_type", "use_rotary_position_embeddings", "no_position_embedding", "normalization", "swiglu",
    "geglu", "squared_relu", "openai_gelu", "disable_bias_linear", "add_qkv_bias",
    "untie_embeddings_and_output_weights", "qk_layernorm", "num_experts", "moe_router_topk", "moe_ffn_hidden_size",
    "moe_shared_expert_intermediate_size", "moe_shared_expert_gate", "moe_router_enable_expert_bias", "moe_layer_freq",
    "embed_layernorm",
    "vocab_size", "padded_vocab_size", "make_vocab_size_divisible_by", "tokenizer_type", "tokenizer_model",
    "tokenizer_name_or_path", "pretrained_model_name",
)  # fmt: skip
"""The other keys that say what the architecture is."""
_NOT_READ: Final = ("hybrid_override_pattern", "hybrid_layer_pattern", "hybrid_attention_ratio", "is_hybrid_model",
                    "encoder_num_layers", "decoder_num_layers", "num_classes")  # fmt: skip
_VOCABULARIES: Final = {
    "gpt2bpetokenizer": 50257, "bertwordpiecelowercase": 30522, "bertwordpiececase": 28996, "llama2tokenizer": 32000,
}  # fmt: skip
"""Rows before padding, by ``--tokenizer-type``: those of the vocabulary files that these tokenizers were made for."""
_GPT2: Final = 50257
_NORMS: Final[dict[str, Literal["layernorm", "rmsnorm"]]] = {
    "layernorm": "layernorm", "layernorm1p": "layernorm", "low_precision_layernorm": "layernorm", "rmsnorm": "rmsnorm",
}  # fmt: skip
_ROTARY: Final = {
    "learned_absolute": False, "learned": False, "rope": True, "mrope": True, "yarn": True, "none": False,
    "alibi": False, "relative": False, "sinusoidal": False,
}  # fmt: skip


def architecture_of(s: Settings, name: str, tp: int, causal: bool = True) -> Architecture:
    """The architecture, whose id is ``name``.

    Args:
        tp: tensor-parallel ways, which the vocabulary is padded to.

    Raises:
        InputError: a number is missing or cannot be, or the model is of a kind that is not read.
    """
    for key in _NOT_READ:
        if s.has(key):
            raise InputError(
                f"{s.given[key].place}: {s.given[key].key}: models with other than transformer decoder layers are not "
                "read; name the model instead (silicost models list)"
            )
    hidden, layers = s.whole("hidden_size"), s.whole("num_layers", most=10_000)
    bias = not s.flag("disable_bias_linear")
    attention = _attention(s, hidden, bias, causal)
    positions = s.whole("max_position_embeddings", default=0, most=10**9)
    learned = s.text("position_embedding_type", default="learned_absolute").lower().startswith("learned")
    learned = learned and not attention.rotary and not s.flag("no_position_embedding") and positions > 0
    arch = Architecture(
        id=name,
        hidden=hidden,
        vocab=1,
        groups=_layers(s, hidden, layers, attention, bias),
        tied=not s.flag("untie_embeddings_and_output_weights"),
        norm=s.word(_NORMS, "normalization", default="layernorm"),
        learned_positions=positions if learned else 0,
        embedding_norm=s.flag("embed_layernorm"),
        max_positions=positions,
        source=s.file,
    )
    return check_architecture(msgspec.structs.replace(arch, vocab=_vocabulary(s, arch, tp)), f"{s.file}: the model")


def _attention(s: Settings, hidden: int, bias: bool, causal: bool) -> Attention:
    heads = s.whole("num_attention_heads")
    rotary = s.word(_ROTARY, "position_embedding_type", default="learned_absolute")
    rotary = s.flag("use_rotary_position_embeddings") or rotary
    qkv_bias, normed = bias or s.flag("add_qkv_bias"), s.flag("qk_layernorm")
    if s.flag("multi_latent_attention"):
        rope = s.whole("qk_pos_emb_head_dim", default=64)
        return Attention(
            "mla", heads, heads, s.whole("qk_head_dim", default=128) + rope,
            v_head_dim=s.whole("v_head_dim", default=128), q_lora=s.whole("q_lora_rank", default=0, least=0),
            kv_lora=s.whole("kv_lora_rank"), rope_dim=rope, causal=causal, qkv_bias=qkv_bias, out_bias=bias,
        )  # fmt: skip
    kv_heads = s.whole("num_query_groups", default=1 if s.flag("group_query_attention") else heads)
    if hidden % heads and not s.has("kv_channels"):
        place, key = s.given["num_attention_heads"].place, s.given["num_attention_heads"].key
        raise InputError(
            f"{place}: {key}: {heads} attention heads do not divide the hidden size {hidden}; allowed: divisors of it, "
            f"or {s.spelt('kv_channels')}"
        )
    kind: AttentionKind = "mha" if kv_heads == heads else "mqa" if kv_heads == 1 else "gqa"
    return Attention(
        kind, heads, kv_heads, s.whole("kv_channels", default=max(hidden // heads, 1)), causal=causal, rotary=rotary,
        qkv_bias=qkv_bias, out_bias=bias, qk_norm=normed,
    )  # fmt: skip


def _layers(s: Settings, hidden: int, layers: int, attention: Attention, bias: bool) -> tuple[LayerGroup, ...]:
    gated = s.flag("swiglu") or s.flag("geglu")
    activation: Literal["silu", "gelu", "relu"] = "silu" if s.flag("swiglu") else "gelu"
    activation = "relu" if s.flag("squared_relu") else activation
    usual = int(4 * hidden * 2 / 3 / 64) * 64 if s.flag("swiglu") else 4 * hidden
    width = s.whole("ffn_hidden_size", default=max(usual, 1))
    s.flag("openai_gelu")
    dense = FeedForward(width, gated, bias, activation)
    count = s.whole("num_experts", default=0, least=0)
    if count == 0:
        return (LayerGroup(layers, attention, dense),)
    experts = Experts(
        count, s.whole("moe_router_topk", default=2, most=count), s.whole("moe_ffn_hidden_size", default=width), gated,
        shared_width=s.whole("moe_shared_expert_intermediate_size", default=0, least=0), bias=bias,
        router_bias=s.flag("moe_router_enable_expert_bias"), shared_gate=s.flag("moe_shared_expert_gate"),
    )  # fmt: skip
    which = _expert_layers(s, layers)
    return stack(LayerGroup(1, attention, experts if sparse else dense) for sparse in which)


def _expert_layers(s: Settings, layers: int) -> list[bool]:
    """Which layers have experts: every ``moe_layer_freq``-th, or as its list says."""
    found = s.find("moe_layer_freq")
    if found is None:
        return [True] * layers
    values = found.value
    if isinstance(values, str) and "[" in values:
        values = expressions.whole_list(values, f"{found.place}: {found.key}")
    if isinstance(values, list):
        if len(values) != layers or any(v not in (0, 1) for v in values):
            raise wrong(found, f"a list of {layers} zeros and ones, one for each layer")
        return [v == 1 for v in values]
    frequency = s.whole("moe_layer_freq")
    return [layer % frequency == 0 for layer in range(layers)]


def _vocabulary(s: Settings, arch: Architecture, tp: int) -> int:
    """Rows of the embedding, padded as Megatron pads them."""
    exact, known = s.maybe_whole("padded_vocab_size"), s.maybe_whole("vocab_size")
    kind = s.known_text("tokenizer_type").lower()
    names = [s.known_text(key) for key in ("tokenizer_model", "tokenizer_name_or_path", "pretrained_model_name")]
    multiple = s.whole("make_vocab_size_divisible_by", default=128) * tp
    if exact is not None:
        return exact
    rows = known + (kind == "nulltokenizer") if known is not None else _VOCABULARIES.get(kind, 0)
    if not rows:
        rows = _vocabulary_of_likes(s, arch, [name for name in names if name])
    return -(-rows // multiple) * multiple


def _vocabulary_of_likes(s: Settings, arch: Architecture, names: list[str]) -> int:
    """The vocabulary of the catalogue's model whose tokenizer is named, else of the one of the same shape whose name is
    most like the file's, else GPT-2's."""
    models = [load_model(name) for name in model_names()]
    endings = {name.rstrip("/").lower().split("/")[-1] for name in names}
    for model in models:
        if model.hf_id and model.hf_id.lower().split("/")[-1] in endings:
            s.assumed.append(f"vocabulary of {model.vocab} rows: that of {model.id}, whose tokenizer is named")
            return model.vocab
    alike = [m for m in models if _shape(m) == _shape(arch)]
    if not alike:
        s.assumed.append(f"vocabulary of {_GPT2} rows, GPT-2's: the file names no size (--vocab-size)")
        return _GPT2
    best = max(alike, key=lambda m: difflib.SequenceMatcher(None, _letters(m.id), _letters(arch.id)).ratio())
    others = sorted({m.vocab for m in alike} - {best.vocab})
    said = f", as have others with {', '.join(map(str, others))}" if others else ""
    s.assumed.append(f"vocabulary of {best.vocab} rows: that of {best.id}, which has the same layers{said}")
    return best.vocab


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _shape(arch: Architecture) -> tuple[object, ...]:
    """What tells models of one family from others, whatever their biases."""
    found: list[object] = [arch.hidden, arch.is_encoder]
    for group in arch.groups:
        a, mlp = group.attention, group.mlp
        found.append((group.count, a and (a.heads, a.kv_heads, a.head_dim), mlp and (mlp.width, mlp.gated)))
    return tuple(found)
