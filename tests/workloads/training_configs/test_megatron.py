"""Scripts and arguments of Megatron-LM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from workloads.lowering.recompute import policy_of
from workloads.models.architecture import Architecture, Attention, Experts, FeedForward, LayerGroup
from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters
from workloads.training_configs import (
    Offload,
    Overlap,
    Recompute,
    TrainingConfig,
    for_devices,
    megatron_arguments,
    megatron_script,
    read_config,
)
from workloads.training_configs.megatron import read_megatron

NUMBERS = "--num-layers 24 --hidden-size 1024 --num-attention-heads 16 --seq-length 2048 --micro-batch-size 2"
GPT = f"{NUMBERS} --max-position-embeddings 2048 --global-batch-size 512 --vocab-size 50257 --bf16"


def read(arguments: str, **variables: str) -> TrainingConfig:
    return read_megatron(arguments, "args.sh", "args", "", variables)


def left(config: TrainingConfig) -> dict[str, str]:
    return {item.key: item.why for item in config.left_out}


SCRIPT = """#!/bin/bash
# The 175B model
#SBATCH --nodes=12
#SBATCH --gpus-per-node=8
export CUDA_DEVICE_MAX_CONNECTIONS=1

GPUS_PER_NODE=8
NNODES=${SLURM_NNODES:-"1"}
WORLD_SIZE=$(($GPUS_PER_NODE*$NNODES))
CHECKPOINT_PATH=$1
TP=8
PP=12

DISTRIBUTED_ARGS=(
    --nproc_per_node $GPUS_PER_NODE
    --nnodes $NNODES
    --master_addr ${MASTER_ADDR:-localhost}
)
MODEL_ARGS=(
    --num-layers 96
    --hidden-size 12288
    --num-attention-heads 96
    --seq-length 2048
    --max-position-embeddings 2048
    --attention-backend auto # or flash, fused
)
TRAINING_ARGS=(
    --micro-batch-size 1
    --global-batch-size 1536
    --rampup-batch-size 16 16 5859375
    --train-iters 500000
    --lr 6.0e-5
    --bf16
#   --fp8-format hybrid
)
if [ "${RECOMPUTE:-selective}" = selective ]; then
    TRAINING_ARGS+=(--recompute-activations)
fi
torchrun ${DISTRIBUTED_ARGS[@]} pretrain_gpt.py \\
    ${MODEL_ARGS[@]} \\
    ${TRAINING_ARGS[@]} \\
    --tensor-model-parallel-size $TP --pipeline-model-parallel-size ${PP} --sequence-parallel \\
    --num-layers-per-virtual-pipeline-stage $((96 / PP / 2)) \\
    --use-distributed-optimizer --overlap-grad-reduce \\
    --vocab-file gpt2-vocab.json --tokenizer-type GPT2BPETokenizer \\
    --save-interval 10000 --save $CHECKPOINT_PATH $EXTRA_ARGS
"""


def test_a_script(tmp_path: Path) -> None:
    path = tmp_path / "train_175b.sh"
    path.write_text(SCRIPT)
    config = read_config(path)
    assert isinstance(config.model, Architecture)
    assert (config.form, config.model.id, config.runtime) == ("megatron", "train_175b", "megatron-core-2025")
    assert (config.tp, config.pp, config.vpp, config.schedule) == (8, 12, 2, "interleaved")
    assert (config.seq_len, config.micro_batch, config.global_batch, config.steps) == (2048, 1, 1536, 500_000)
    assert (config.nodes, config.devices, config.dp) == (12, 96, None)
    assert (config.precision, config.gradients, config.zero, config.sequence_parallel) == ("bf16", "fp32", 1, True)
    assert config.distributed_optimizer
    assert config.recompute == Recompute("selective")
    assert config.overlap == Overlap(gradients=True, pipeline=True)
    assert config.checkpoint_interval == 10_000
    assert config.model.vocab == 51_200
    known = load_model("gpt3-175b")
    assert config.model.groups == known.groups
    assert count_parameters(config.model).total - count_parameters(known).total == (51_200 - 50_257) * 12_288


def test_what_is_left_out_has_its_place(tmp_path: Path) -> None:
    path = tmp_path / "train.sh"
    path.write_text(SCRIPT)
    found = {item.key: item for item in read_config(path).left_out}
    lines = SCRIPT.splitlines()
    for key in ("--rampup-batch-size", "--lr", "--vocab-file", "--save"):
        line = int(found[key].place.removeprefix("train.sh: line "))
        assert key in lines[line - 1]
    assert found["--rampup-batch-size"].value == "16 16 5859375"
    assert "grows" in found["--rampup-batch-size"].why
    assert found["${EXTRA_ARGS}"].why == "not set in this file; what it adds is not read"
    assert found["--save"].value == "${1}"
    assert "--bf16" not in found


def test_a_file_of_bare_arguments() -> None:
    config = read(NUMBERS.replace(" --", "\n--") + "\n--fp16\n")
    assert (config.global_batch, config.replica_batch, config.precision, config.gradients) == (None, 2, "fp16", "fp16")
    assert for_devices(config, 8).global_batch == 16


def test_arguments_in_a_variable_that_another_script_uses() -> None:
    config = read(f'export MEGATRON_PARAMS=" {NUMBERS} \\\n --tensor-model-parallel-size ${{TP}} "\n', TP="4")
    assert config.tp == 4


def test_the_command_with_most_of_the_options_counts() -> None:
    config = read(f"python tools/preprocess.py --seq-length 9\npython pretrain_gpt.py {GPT}\npython eval.py --bf16")
    assert config.seq_len == 2048


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ("--context-parallel-size 2", "cp", 2),
        ("--context-parallel-size 2 --cp-comm-type a2a", "cp_exchange", "all-to-all"),
        ("--model-parallel-size 4", "tp", 4),
        ("--virtual-pipeline-model-parallel-size 3", "vpp", 3),
        ("--num-virtual-stages-per-pipeline-rank 2", "schedule", "interleaved"),
        ("--enable-zero-bubble", "schedule", "zb-h1"),
        ("--zero-bubble-v-schedule", "schedule", "zb-v"),
        ("--schedules-method dualpipev", "schedule", "dualpipe"),
        ("--sequence-parallel", "sequence_parallel", False),
        ("--sequence-parallel --tensor-model-parallel-size=2", "sequence_parallel", True),
        ("--recompute-granularity full --recompute-method uniform --recompute-num-layers 4", "recompute",
         Recompute("full", span=4)),
        ("--recompute-granularity full --recompute-method block --recompute-num-layers 4", "recompute",
         Recompute("full", first=4)),
        ("--recompute-granularity selective --recompute-modules core_attn mlp", "recompute",
         Recompute("selective", ("core_attn", "mlp"))),
        ("--recompute-activations", "recompute", Recompute("selective")),
        ("--checkpoint-activations", "recompute", Recompute("full")),
        ("--activations-checkpoint-method block --checkpoint-activations --checkpoint-num-layers 2", "recompute",
         Recompute("full", first=2)),
        ("--use-torch-fsdp2", "zero", 3),
        ("--use-megatron-fsdp --data-parallel-sharding-strategy optim_grads", "zero", 2),
        ("--use-custom-fsdp --data-parallel-sharding-strategy optim_grads_params", "zero", 3),
        ("--data-parallel-sharding-strategy optim_grads_params", "zero", 0),
        ("--zero-stage 3", "zero", 3),
        ("--use-distributed-optimizer --num-distributed-optimizer-instances 4", "copies", 4),
        ("--fp8-format hybrid --fp8-recipe blockwise", "precision", "fp8"),
        ("--fp8-format hybrid --fp8-recipe blockwise", "fp8_recipe", "blockwise"),
        ("--fp8-hybrid", "precision", "fp8"),
        ("--grad-reduce-in-bf16", "gradients", "bf16"),
        ("--optimizer SGD", "optimizer", "sgd"),
        ("--optimizer dist_muon", "optimizer", "muon"),
        ("--optimizer hybridadam --optimizer-offload-fraction 0.5", "offload", Offload(optimizer=0.5)),
        ("--checkpoint-activations --deepspeed-activation-checkpointing", "recompute", Recompute("full")),
        ("--exp-avg-dtype fp8 --exp-avg-sq-dtype fp8", "optimizer", "adam-8bit"),
        ("--optimizer-cpu-offload", "offload", Offload(optimizer=1.0)),
        ("--optimizer-cpu-offload --optimizer-offload-fraction 0.5", "offload", Offload(optimizer=0.5)),
        ("--cpu-offloading-num-layers 3", "offload", Offload(activations=True, layers=3)),
        ("--fine-grained-activation-offloading --offload-modules moe_act", "offload",
         Offload(activations=True, modules=("moe_act",))),
        ("--tp-comm-overlap --overlap-param-gather", "overlap", Overlap(tensor=True, parameters=True)),
        ("--use-flash-attn", "flash_attention", True),
        ("--attention-backend unfused", "flash_attention", False),
        ("--train-samples 51200", "steps", 100),
        ("--lora-r 16 --lora-target-modules linear_qkv linear_proj", "lora_modules", ("linear_qkv", "linear_proj")),
        ("--lora-r 16 --qlora", "lora_rank", 16),
        ("--save-interval 100 --async-save", "checkpoint_async", True),
        ("--decoder-first-pipeline-num-layers 5 --pipeline-model-parallel-size 4", "first_stage", 5),
        ("--DDP-impl local", "runtime", "megatron-2021"),
        ("--DDP-impl local --sequence-parallel", "runtime", "megatron-2022"),
        ("--deepspeed --zero-stage 1", "runtime", "megatron-2022"),
        ("", "runtime", "megatron-core-2025"),
    ],
)  # fmt: skip
def test_options(options: str, field: str, value: Any) -> None:
    config = read(f"{GPT} {options}")
    assert getattr(config, field) == value
    assert all(item.why for item in config.left_out), config.left_out


def layer(options: str) -> tuple[LayerGroup, ...]:
    model = read(f"{GPT} {options}").model
    assert isinstance(model, Architecture)
    return model.groups


def test_layers() -> None:
    (plain,) = layer("")
    assert plain.mlp == FeedForward(4096, gated=False, bias=True, activation="gelu")
    assert plain.attention == Attention("mha", 16, 16, 64, rotary=False, qkv_bias=True, out_bias=True)
    (llama,) = layer("--swiglu --disable-bias-linear --group-query-attention --num-query-groups 4 "
                     "--position-embedding-type rope --ffn-hidden-size 2816")  # fmt: skip
    assert llama.mlp == FeedForward(2816)
    assert llama.attention == Attention("gqa", 16, 4, 64)
    (qwen,) = layer("--disable-bias-linear --add-qkv-bias --qk-layernorm --kv-channels 128 --num-query-groups 1")
    assert qwen.attention == Attention("mqa", 16, 1, 128, rotary=False, qkv_bias=True, qk_norm=True)
    (narrow,) = layer("--swiglu")
    assert isinstance(narrow.mlp, FeedForward)
    assert narrow.mlp.width == 2688


def test_experts_and_latent_attention() -> None:
    options = """ --num-experts 64 --moe-router-topk 6 --moe-ffn-hidden-size 512 --swiglu --disable-bias-linear
      --moe-shared-expert-intermediate-size 1024 --moe-layer-freq '([0]*1+[1]*23)' --ffn-hidden-size 4096
      --expert-model-parallel-size 8 --moe-router-enable-expert-bias --tensor-model-parallel-size 2
      --multi-latent-attention --kv-lora-rank 512 --q-lora-rank 768"""
    config = read(GPT + options.replace("\n", " "))
    dense, sparse = config.architecture.groups
    latent = Attention("mla", 16, 16, 192, v_head_dim=128, q_lora=768, kv_lora=512, rope_dim=64)
    assert dense == LayerGroup(1, latent, FeedForward(4096))
    assert sparse == LayerGroup(23, latent, Experts(64, 6, 512, shared_width=1024, router_bias=True))
    assert (config.ep, config.etp) == (8, 2)
    assert [g.count for g in layer("--num-experts 8 --moe-layer-freq 2")] == [12, 12]


def test_the_ends() -> None:
    def model(options: str, arguments: str = GPT) -> Architecture:
        return read(f"{arguments} {options}").architecture

    assert (model("").tied, model("").learned_positions, model("").norm) == (True, 2048, "layernorm")
    rope = model("--position-embedding-type rope --untie-embeddings-and-output-weights --normalization RMSNorm")
    assert (rope.tied, rope.learned_positions, rope.norm) == (False, 0, "rmsnorm")
    assert model("--no-position-embedding").learned_positions == 0
    assert (model("--embed-layernorm").embedding_norm, model("--pad-vocab-size-to 250880").vocab) == (True, 250_880)
    assert model("--use-rotary-position-embeddings").groups[0].attention == Attention(
        "mha", 16, 16, 64, qkv_bias=True, out_bias=True
    )


@pytest.mark.parametrize(
    ("options", "vocab", "said"),
    [
        ("--vocab-size 50257", 50304, ""),
        ("--vocab-size 50257 --tensor-model-parallel-size 8", 51200, ""),
        ("--vocab-size 50257 --make-vocab-size-divisible-by 1", 50257, ""),
        ("--padded-vocab-size 50257 --tensor-model-parallel-size 8", 50257, ""),
        ("--tokenizer-type NullTokenizer --vocab-size 128", 256, ""),
        ("--tokenizer-type Llama2Tokenizer", 32000, ""),
        ("--tokenizer-type HuggingFaceTokenizer --tokenizer-model mistralai/Mistral-7B-v0.1", 32000, "mistral-7b-v0.1"),
        ("--tokenizer-model $NOWHERE/t.model --kv-channels 65", 50304, "GPT-2's"),
        ("", 50304, "gpt2-medium"),
    ],
)  # fmt: skip
def test_vocabularies(options: str, vocab: int, said: str) -> None:
    config = read(f"{NUMBERS} {options}")
    assert config.architecture.vocab == vocab
    assert (said in " ".join(config.assumed)) if said else config.assumed == ()


def test_a_model_of_the_same_layers_lends_its_vocabulary() -> None:
    text = ("--num-layers 32 --hidden-size 4096 --num-attention-heads 32 --group-query-attention --num-query-groups 8 "
            "--ffn-hidden-size 14336 --swiglu --seq-length 8192 --micro-batch-size 1")  # fmt: skip
    config = read_megatron(text, "train.sh", "train_llama3_8b", "", {})
    assert config.architecture.vocab == 128_256
    assert "that of llama-3-8b, which has the same layers, as have others with 32000" in config.assumed[0]
    assert read_megatron(text, "train.sh", "mistral7b", "", {}).architecture.vocab == 32_768


def test_another_model_may_stand_in() -> None:
    options = "--num-layers-per-virtual-pipeline-stage 4 --pipeline-model-parallel-size 4"
    config = read_megatron(f"{options} {GPT}", "a", "a", "llama-3.1-8b", {})
    assert (config.model, config.vpp, config.architecture.hidden) == ("llama-3.1-8b", 2, 4096)
    assert "--num-layers" not in left(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GPT.replace(" 24", " none"), r"args.sh: line 1: --num-layers is 'none'; allowed: a whole number from 1 to 1"),
        (GPT.replace(" 24", " 0"), r"--num-layers is '0'"),
        (GPT.replace(" 24", " 2.5"), r"--num-layers is '2.5'"),
        (GPT.replace(" 24", " nan"), r"--num-layers is 'nan'"),
        (GPT.replace("--num-layers 24", "--num-layers"), r"--num-layers is 'true'"),
        (GPT.replace("--num-layers", "--num-layer"), r"args.sh: --num-layers is missing.*nearest .* '--num-layer'"),
        (GPT.replace("1024", "1000"), r"16 attention heads do not divide the hidden size 1000"),
        (f"{GPT} --tensor-model-parallel-size $TP", r"line 1: --tensor-model-parallel-size: TP is not set in"),
        (f"{GPT} --pipeline-model-parallel-size $(nproc)", r"\$\(nproc\) is not set"),
        (f"{GPT} --optimizer adan", r"--optimizer is 'adan'; allowed: adam, .*did you mean 'adam'"),
        (f"{GPT} --normalization BatchNorm", r"--normalization is 'BatchNorm'; allowed: layernorm"),
        (f"{GPT} --recompute-granularity some", r"allowed: none, selective, full"),
        (f"{GPT} --recompute-granularity selective --recompute-modules core_atn",
         r"recompute-modules: unknown part of a layer 'core_atn'; did you mean 'core_attn'"),
        (f"{GPT} --zero-stage 4", r"from 0 to 3"),
        (f"{GPT} --sequence-parallel maybe", r"true or false"),
        (f"{GPT} --fp4-format e2m1", r"no fp4"),
        (f"{GPT} --num-layers-per-virtual-pipeline-stage 5 --pipeline-model-parallel-size 2", r"together make 24"),
        (f"{GPT} --num-experts 8 --moe-layer-freq [1]*3", r"a list of 24 zeros and ones"),
        (f"{GPT} --num-experts 8 --moe-router-topk 9", r"from 1 to 8"),
        (f"{GPT} --num-query-groups 3", r"kv_heads is 3; it must divide heads \(16\)"),
        (f"{GPT} --hybrid-override-pattern M-M*", r"other than transformer decoder layers"),
        (f"{GPT} --optimizer-offload-fraction 1.5 --optimizer-cpu-offload", r"a number from 0 to 1"),
        (f"python pretrain_t5.py {GPT}", r"pretrain_t5 trains a model of a kind that is not read"),
        ("echo hello", r"no command with options of Megatron-LM"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_unknown_options_are_left_out_with_what_they_resemble() -> None:
    config = read(f"{GPT} --tensor-model-parralel-size 8 --wandb-project $WANDB --no-such-thing")
    assert config.tp == 1
    assert left(config) == {
        "--tensor-model-parralel-size": "spelt almost like --tensor-model-parallel-size",
        "--wandb-project": "",
        "--no-such-thing": "",
    }


def test_bert_sees_both_ways() -> None:
    assert read(f"python pretrain_bert.py {GPT}").architecture.is_encoder


def test_devices() -> None:
    config = read(f"{GPT} --tensor-model-parallel-size 4 --pipeline-model-parallel-size 2")
    full = for_devices(config, 64)
    assert (full.dp, full.shard, full.copies, full.global_batch) == (8, 8, 1, 512)
    for devices, message in ((60, "multiples of 8"), (24, "multiple of dp 3 "), (0, "0 devices")):
        with pytest.raises(InputError, match=message):
            for_devices(config, devices)
    with pytest.raises(InputError, match="allowed: 64 devices"):
        for_devices(full, 128)
    two = msgspec.structs.replace(config, copies=2)
    assert for_devices(two, 64).shard == 4
    with pytest.raises(InputError, match="share a copy"):
        for_devices(msgspec.structs.replace(config, shard=3), 64)


@pytest.mark.parametrize(
    ("recompute", "words", "text"),
    [
        (Recompute(), "none", "none"), (Recompute("selective"), "selective", "selective"),
        (Recompute("selective", ("mlp", "core_attn")), "selective: mlp, core_attn", "modules:mlp,core_attn"),
        (Recompute("full"), "full", "full"), (Recompute("full", every=2), "full every 2 layers", "every:2"),
        (Recompute("full", span=3), "full, 3 layers at a time", "uniform:3"),
        (Recompute("full", first=3), "full, first 3 layers of a stage", "layers:3"),
    ],
)  # fmt: skip
def test_words_of_recomputation(recompute: Recompute, words: str, text: str) -> None:
    assert recompute.words == words
    assert recompute.text == text
    assert policy_of(recompute.text).text == text


def test_layers_are_counted_in_one_way() -> None:
    with pytest.raises(InputError, match="counts layers in two ways; allowed: one of none"):
        _ = Recompute("full", every=2, span=3).text


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    kv_heads, per_group = draw(st.sampled_from([1, 2, 8])), draw(st.sampled_from([1, 4]))
    heads, bias, rotary = kv_heads * per_group, draw(st.booleans()), draw(st.booleans())
    gated = draw(st.booleans())
    if draw(st.booleans()):
        kind: Any = "mha" if per_group == 1 else "mqa" if kv_heads == 1 else "gqa"
        attention = Attention(
            kind, heads, kv_heads, draw(st.integers(1, 256)), rotary=rotary, qkv_bias=bias or draw(st.booleans()),
            out_bias=bias, qk_norm=draw(st.booleans()),
        )  # fmt: skip
    else:
        rotary = True
        attention = Attention("mla", heads, heads, 192, v_head_dim=96, q_lora=draw(st.sampled_from([0, 64])),
                              kv_lora=draw(st.integers(1, 999)), rope_dim=64, qkv_bias=bias, out_bias=bias)  # fmt: skip
    activation: Any = "silu" if gated else draw(st.sampled_from(["gelu", "relu"]))
    dense = FeedForward(draw(st.integers(1, 9999)), gated, bias, activation)
    groups = [LayerGroup(draw(st.integers(1, 40)), attention, dense)]
    if draw(st.booleans()):
        experts = Experts(8, draw(st.integers(1, 8)), draw(st.integers(1, 999)), gated, draw(st.sampled_from([0, 77])),
                          bias=bias, router_bias=draw(st.booleans()), shared_gate=draw(st.booleans()))  # fmt: skip
        groups.append(LayerGroup(draw(st.integers(1, 40)), attention, experts))
    positions = draw(st.integers(1, 9999))
    learned = not rotary and draw(st.booleans())
    return Architecture(
        "m", draw(st.integers(1, 9999)), draw(st.integers(1, 99_999)), tuple(groups), draw(st.booleans()),
        norm=draw(st.sampled_from(["rmsnorm", "layernorm"])), learned_positions=positions if learned else 0,
        max_positions=positions, source="m", embedding_norm=draw(st.booleans()),
    )  # fmt: skip


RECOMPUTED = (
    Recompute(), Recompute("selective"), Recompute("selective", ("mlp", "core_attn")), Recompute("full"),
    Recompute("full", first=3), Recompute("full", span=2),
)  # fmt: skip


@st.composite
def configs(draw: st.DrawFn) -> TrainingConfig:
    model = draw(architectures())
    sparse = len(model.groups) > 1
    tp, vpp, zero = draw(st.sampled_from([1, 2, 8])), draw(st.sampled_from([1, 2, 5])), draw(st.integers(0, 3))
    precision = draw(st.sampled_from(["fp32", "bf16", "fp16", "fp8"]))
    batch, micro = draw(st.none() | st.integers(1, 4096)), draw(st.integers(1, 8))
    lora = draw(st.sampled_from([0, 16]))
    layers = draw(st.sampled_from([0, 4]))
    offload = Offload(
        activations=layers > 0 or draw(st.booleans()), layers=layers, optimizer=draw(st.sampled_from([0.0, 0.25, 1.0]))
    )
    return TrainingConfig(
        form="megatron", model=model, seq_len=draw(st.integers(1, 10**6)), micro_batch=micro, global_batch=batch,
        replica_batch=micro if batch is None else None, tp=tp, pp=draw(st.integers(1, 9)), cp=draw(st.integers(1, 9)),
        ep=draw(st.integers(1, 9)), etp=draw(st.integers(1, 9)) if sparse else 1, vpp=vpp,
        first_stage=draw(st.integers(0, 9)), last_stage=draw(st.integers(0, 9)),
        sequence_parallel=tp > 1 and draw(st.booleans()), zero=zero, copies=draw(st.sampled_from([1, 4])),
        cp_exchange=draw(st.sampled_from(["ring", "all-to-all", "all-gather", "hierarchical"])),
        schedule=draw(st.sampled_from(["interleaved" if vpp > 1 else "1f1b", "zb-h1", "zb-v"])),
        recompute=draw(st.sampled_from(RECOMPUTED)),
        precision=precision, fp8_recipe="mxfp8" if precision == "fp8" else "",
        gradients=draw(st.sampled_from(["fp32", "bf16"] if precision != "fp16" else ["fp32", "bf16", "fp16"])),
        optimizer=draw(st.sampled_from(["adam", "adam-8bit", "adafactor", "muon", "sgd"])), offload=offload,
        overlap=Overlap(draw(st.booleans()), draw(st.booleans()), draw(st.booleans()), vpp > 1 and draw(st.booleans())),
        flash_attention=draw(st.sampled_from([None, True, False])), lora_rank=lora,
        expert_capacity=draw(st.sampled_from([None, 1.25])), lora_modules=("linear_qkv", "linear_fc1") if lora else (),
        qlora=draw(st.booleans()), steps=draw(st.none() | st.integers(1, 10**6)), runtime="megatron-core-2025",
        checkpoint_interval=draw(st.none() | st.integers(1, 999)), checkpoint_async=draw(st.booleans()),
    )  # fmt: skip


@given(configs())
def test_arguments_say_what_was_read(config: TrainingConfig) -> None:
    back = read_megatron("\n".join(_quoted(megatron_arguments(config))), "m", "m", "", {})
    assert back == config
    placed = msgspec.structs.replace(config, nodes=4, devices=32)
    assert read_megatron(megatron_script(placed), "m", "m", "", {}) == placed


def _quoted(words: tuple[str, ...]) -> list[str]:
    lines: list[str] = []
    for word in words:
        if word.startswith("--"):
            lines.append(word)
        else:
            lines[-1] += f" '{word}'"
    return lines


@pytest.mark.parametrize(
    ("changes", "lost"),
    [({"schedule": "gpipe"}, "schedule"), ({"recompute": Recompute("full", every=2)}, "recompute"),
     ({"compiled": True}, "compiled"), ({"dp": 4}, "dp"), ({"model": "gemma-2-9b"}, "model")],
)  # fmt: skip
def test_what_arguments_cannot_say(changes: dict[str, Any], lost: str) -> None:
    config = msgspec.structs.replace(read(GPT), **changes)
    with pytest.raises(InputError, match=f"cannot say its .*{lost}"):
        megatron_arguments(config)


def test_models_of_the_catalogue_can_be_said() -> None:
    base = read(GPT)
    for name in ("llama-3.1-8b", "llama-2-70b", "gpt3-175b", "deepseek-v3", "mixtral-8x7b", "qwen3-30b-a3b", "phi-4"):
        words = megatron_arguments(msgspec.structs.replace(base, model=name))
        back = read_megatron(" ".join(_quoted(words)), name, name, "", {}).architecture
        assert count_parameters(back).total == count_parameters(load_model(name)).total
