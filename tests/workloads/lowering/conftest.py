"""Architectures of known models, typed from their published configurations."""

from __future__ import annotations

import pytest

from workloads.models.architecture import Architecture, Attention, Experts, FeedForward, LayerGroup, StateSpace


def llama_2_7b() -> Architecture:
    """Touvron et al., arXiv:2307.09288: 32 layers of 4096, 32 heads, SwiGLU of 11008, vocabulary 32,000."""
    layer = LayerGroup(32, Attention("mha", 32, 32, 128), FeedForward(11008))
    return Architecture("llama-2-7b", 4096, 32000, (layer,))


def llama_3_8b() -> Architecture:
    """Llama 3 (arXiv:2407.21783): grouped queries with 8 key-value heads, SwiGLU of 14336, vocabulary 128,256."""
    layer = LayerGroup(32, Attention("gqa", 32, 8, 128), FeedForward(14336))
    return Architecture("llama-3-8b", 4096, 128256, (layer,))


def gpt_3() -> Architecture:
    """Brown et al., arXiv:2005.14165: 96 layers of 12288, 96 heads, GELU of 4 x; vocabulary padded to 51,200."""
    attention = Attention("mha", 96, 96, 128, rotary=False)
    layer = LayerGroup(96, attention, FeedForward(4 * 12288, gated=False))
    return Architecture("gpt-3", 12288, 51200, (layer,), tied=True, norm="layernorm", learned_positions=2048)


def mixtral() -> Architecture:
    """Jiang et al., arXiv:2401.04088: 32 layers of 4096, 8 experts of 14336, 2 per token, 8 key-value heads."""
    layer = LayerGroup(32, Attention("gqa", 32, 8, 128), Experts(8, 2, 14336))
    return Architecture("mixtral-8x7b", 4096, 32000, (layer,))


def deepseek_v3() -> Architecture:
    """DeepSeek-AI, arXiv:2412.19437, section 4.2: 3 dense and 58 expert layers of 7168, latent attention."""
    attention = Attention(
        "mla", 128, 128, head_dim=192, v_head_dim=128, q_lora=1536, kv_lora=512, rope_dim=64
    )  # fmt: skip
    dense = LayerGroup(3, attention, FeedForward(18432))
    experts = LayerGroup(58, attention, Experts(256, 8, 2048, shared_width=2048))
    return Architecture("deepseek-v3", 7168, 129280, (dense, experts))


def falcon_7b() -> Architecture:
    """Almazrouei et al., arXiv:2311.16867: parallel blocks with one norm, 71 heads of 64 over one key-value head."""
    layer = LayerGroup(32, Attention("mqa", 71, 1, 64), FeedForward(4 * 4544, gated=False), norms=1, parallel=True)
    return Architecture("falcon-7b", 4544, 65024, (layer,), tied=True, norm="layernorm")


def mamba() -> Architecture:
    """Gu and Dao, arXiv:2312.00752: mamba-2.8b, 64 layers of 2560 without attention or MLP."""
    layer = LayerGroup(64, ssm=StateSpace(inner=5120, state=16, dt_rank=160), norms=1)
    return Architecture("mamba-2.8b", 2560, 50280, (layer,), tied=True)


def bert() -> Architecture:
    """Devlin et al., arXiv:1810.04805: BERT base, 12 layers of 768."""
    layer = LayerGroup(12, Attention("mha", 12, 12, 64, causal=False, rotary=False), FeedForward(3072, gated=False))
    return Architecture(
        "bert-base", 768, 30522, (layer,), norm="layernorm", learned_positions=512, extra_embeddings=2,
        embedding_norm=True, final_norm=False, head="pool",
    )  # fmt: skip


@pytest.fixture(scope="session")
def models() -> dict[str, Architecture]:
    """All of them by id."""
    made = (llama_2_7b(), llama_3_8b(), gpt_3(), mixtral(), deepseek_v3(), falcon_7b(), mamba(), bert())
    return {arch.id: arch for arch in made}
