"""``silicost train --config``: what is priced is what the file says, and what is not is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
DENSE = (
    "--num-layers 30 --hidden-size 1024 --num-attention-heads 16 --seq-length 1024 --max-position-embeddings 1024 "
    "--padded-vocab-size 32000 --micro-batch-size 1 --global-batch-size 32 --bf16"
)
EXPERTS = f"{DENSE} --num-experts 8 --moe-router-topk 2"
TITAN = """
[model]
name = "llama3"
flavor = "8B"
[optimizer]
name = "{optimizer}"
[training]
local_batch_size = 1
seq_len = 4096
enable_cpu_offload = {offload}
[parallelism]
data_parallel_replicate_degree = 2
data_parallel_shard_degree = 4
context_parallel_degree = {cp}
[activation_checkpoint]
mode = "full"
[compile]
enable = true
{more}
"""
H100 = "--device h100-sxm-80gb --format json"


@pytest.fixture
def megatron(silicost: Run, tmp_path: Path) -> Run:
    """Run ``train --config`` of a script with these arguments of Megatron-LM."""

    def run(arguments: str, flags: str = "--count 16") -> Any:
        file = tmp_path / "run.sh"
        file.write_text(f"torchrun pretrain_gpt.py {arguments}\n")
        return silicost(f"train --config {file} {H100} {flags}")

    return run


@pytest.fixture
def titan(silicost: Run, tmp_path: Path) -> Run:
    """Run ``train --config`` of a file of torchtitan."""

    def run(flags: str, offload: str = "false", optimizer: str = "AdamW", cp: int = 1, more: str = "") -> Any:
        file = tmp_path / "run.toml"
        file.write_text(TITAN.format(offload=offload, optimizer=optimizer, cp=cp, more=more))
        return silicost(f"train --config {file} {H100} {flags}")

    return run


def test_all_that_a_script_says_is_priced(megatron: Run) -> None:
    ran = megatron(
        f"{EXPERTS} --tensor-model-parallel-size 2 --pipeline-model-parallel-size 4 --expert-model-parallel-size 2 "
        "--expert-tensor-parallel-size 2 --optimizer sgd --optimizer-cpu-offload --decoder-first-pipeline-num-layers 6 "
        "--tp-comm-overlap --use-distributed-optimizer"
    )
    assert ran.status == 0, ran.err
    plan = ran.json["configuration"]["plan"]
    assert (plan["tp"], plan["pp"], plan["dp"], plan["ep"], plan["etp"], plan["zero"]) == (2, 4, 2, 2, 2, 1)
    assert (plan["stages"], plan["offload"], plan["overlap"]) == ([6, 8, 8, 8], "optimizer", "tensor")
    assert ran.json["configuration"]["optimizer"] == "sgd"
    assert ran.json["memory_bytes"]["optimizer"] == 0.0
    assert "sgd: priced without momentum" in ran.err


@pytest.mark.parametrize(
    ("arguments", "plan"),
    [
        ("--decoder-first-pipeline-num-layers 6 --decoder-last-pipeline-num-layers 4", {"stages": [6, 10, 10, 4]}),
        ("--decoder-last-pipeline-num-layers 6", {"stages": [8, 8, 8, 6]}), ("", {"stages": [], "overlap": "none"}),
        ("--context-parallel-size 2 --cp-comm-type a2a", {"cp_comm": "a2a", "cp": 2}),
        ("--context-parallel-size 2 --cp-comm-type all_gather", {"cp_comm": "all_gather"}),
        ("--context-parallel-size 2", {"cp_comm": "p2p"}),
        ("--overlap-grad-reduce --use-distributed-optimizer --overlap-param-gather", {"overlap": "gradients,weights"}),
        ("--num-virtual-stages-per-pipeline-rank 3 --num-layers 36", {"vpp": 3, "overlap": "pipeline"}),
        ("--fine-grained-activation-offloading", {"offload": "activations"}),
        ("--cpu-offloading-num-layers 8 --cpu-offloading-weights", {"offload": "weights,activations"}),
        ("--use-distributed-optimizer --num-distributed-optimizer-instances 2", {"shard": 2, "zero": 1}),
        ("--use-distributed-optimizer --num-distributed-optimizer-instances 2 --context-parallel-size 2", {"shard": 2}),
    ],
)  # fmt: skip
def test_options_of_megatron(megatron: Run, arguments: str, plan: dict[str, Any]) -> None:
    ran = megatron(f"{DENSE} --pipeline-model-parallel-size 4 {arguments}")
    assert ran.status == 0, ran.err
    found = ran.json["configuration"]["plan"]
    assert {name: found[name] for name in plan} == plan


@pytest.mark.parametrize(
    ("arguments", "etp"),
    [
        ("--expert-model-parallel-size 4", 2), ("--expert-model-parallel-size 4 --expert-tensor-parallel-size 1", 0),
        ("", 0), ("--expert-tensor-parallel-size 1", 1),
    ],
)  # fmt: skip
def test_each_expert_is_cut_as_megatron_cuts_it(megatron: Run, arguments: str, etp: int) -> None:
    """Over the tensor parallel ranks unless told otherwise; of one expert parallel rank that is the usual way here."""
    ran = megatron(f"{EXPERTS} --tensor-model-parallel-size 2 {arguments}")
    assert ran.json["configuration"]["plan"]["etp"] == etp, ran.err


@pytest.mark.parametrize(
    ("file", "priced"),
    [
        ("adam", "adamw"), ("sgd", "sgd"), ("muon", "muon"), ("adafactor", "adafactor"), ("adam8bit", "adamw-8bit"),
    ],
)  # fmt: skip
def test_the_optimizer_is_the_one_of_the_file(megatron: Run, file: str, priced: str) -> None:
    assert megatron(f"{DENSE} --optimizer {file}").json["configuration"].get("optimizer", "adamw") == priced


def test_adapters_beside_weights_in_four_bits(megatron: Run) -> None:
    plain, packed = (megatron(f"{DENSE} --lora-r 16 {more}").json for more in ("", "--qlora"))
    assert packed["configuration"]["weight_dtype"] == "nf4"
    assert packed["memory_bytes"]["weights"] < 0.6 * plain["memory_bytes"]["weights"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--optimizer-cpu-offload --optimizer-offload-fraction 0.5", "offloading of 0.5 of the optimizer states"),
        ("--cpu-offloading-num-layers 3", "offloading of a part (3 of 8 layers of a stage)"),
        ("--fine-grained-activation-offloading --offload-modules attn_norm", "offloading of a part (attn_norm)"),
        ("--context-parallel-size 2 --cp-comm-type a2a+p2p", "in two levels (a2a+p2p): priced as a ring"),
        ("--num-experts 8 --moe-expert-capacity-factor 1.5", "beyond a capacity of 1.5: priced without dropping"),
        ("--attention-backend unfused", "flash attention off: priced with it"),
        ("--grad-reduce-in-bf16", "gradients in bf16: priced in fp32"),
        ("--lora-r 8 --lora-target-modules linear_qkv", "adapters on linear_qkv: priced on all linear layers"),
    ],
)  # fmt: skip
def test_what_is_priced_otherwise_is_said(megatron: Run, arguments: str, said: str) -> None:
    ran = megatron(f"{DENSE} --pipeline-model-parallel-size 4 {arguments}")
    assert ran.status == 0, ran.err
    assert f"run.sh: {said}" in ran.err or said in ran.err
    assert ran.json["configuration"]["plan"]["offload"] == ""


def test_an_overlap_that_a_runtime_does_not_know_is_said(megatron: Run) -> None:
    ran = megatron(f"{DENSE} --tensor-model-parallel-size 2 --tp-comm-overlap", "--count 16 --runtime megatron-2022")
    assert "overlap of tensor: runtime megatron-2022 is not known to do it" in ran.err
    assert ran.json["configuration"]["plan"]["overlap"] == "none"


def test_hybrid_shards_of_torchtitan_with_all_on_the_host(titan: Run) -> None:
    ran = titan("--count 8", offload="true", optimizer="SGD")
    assert ran.status == 0, ran.err
    plan = ran.json["configuration"]["plan"]
    assert (plan["dp"], plan["zero"], plan["shard"], plan["offload"]) == (8, 3, 4, "weights,optimizer")
    assert (plan["overlap"], ran.json["configuration"]["optimizer"]) == ("gradients,weights", "sgd")


def test_shards_span_context_parallel_ranks(titan: Run) -> None:
    plan = titan("--count 16", cp=2).json["configuration"]["plan"]
    assert (plan["dp"], plan["cp"], plan["shard"], plan["cp_comm"]) == (8, 2, 8, "all_gather")


def test_a_recipe_of_eight_bits(titan: Run) -> None:
    eight = '[float8]\nenable_float8_linear = true\nrecipe_name = "rowwise"'
    plain = titan("--count 8").json
    rows, usual = (titan("--count 8", more=more).json for more in (eight, eight.replace("rowwise", "tensorwise")))
    assert (rows["configuration"]["dtype"], rows["configuration"]["recipe"]) == ("fp8", "rowwise")
    assert rows["step_time_s"] != usual["step_time_s"] < plain["step_time_s"]
    assert titan("--count 8 --precision bf16", more=eight).json["configuration"]["dtype"] == "bf16"
    assert titan("--count 8 --dtype bf16", more=eight).json["configuration"]["dtype"] == "bf16"
    strange = titan("--count 8", more=eight.replace("rowwise", "rowwiser"))
    assert strange.status == 2 and "did you mean 'rowwise'" in strange.err


def test_flags_go_before_the_file(megatron: Run, titan: Run) -> None:
    script = (
        f"{DENSE} --tensor-model-parallel-size 4 --optimizer sgd --optimizer-cpu-offload --use-distributed-optimizer"
    )
    script += " --pipeline-model-parallel-size 2 --decoder-first-pipeline-num-layers 10"
    ran = megatron(
        script, "--count 16 --tp 2 --offload activations --optimizer lion --stages 14,16 --overlap gradients"
    )
    plan = ran.json["configuration"]["plan"]
    assert (plan["tp"], plan["dp"], plan["offload"], plan["overlap"]) == (2, 4, "activations", "gradients")
    assert (plan["stages"], ran.json["configuration"]["optimizer"]) == ([14, 16], "lion")
    plan = megatron(script, "--nodes 2 --fsdp all").json["configuration"]["plan"]
    assert (plan["tp"], plan["dp"], plan["zero"], plan["shard"], plan["stages"]) == (4, 2, 3, 0, [10, 20])
    plan = titan("--count 8 --fsdp 2").json["configuration"]["plan"]
    assert (plan["zero"], plan["shard"]) == (3, 2)


def test_a_search_takes_the_work_of_a_file_and_not_its_plan(megatron: Run) -> None:
    script = f"{DENSE} --tensor-model-parallel-size 4 --pipeline-model-parallel-size 2 --optimizer sgd"
    script += " --decoder-first-pipeline-num-layers 10 --optimizer-cpu-offload"
    ran = megatron(script, "--count 8 --search --cp 1")
    assert ran.status == 0, ran.err
    assert "its plan is not held" in ran.err
    assert {plan["offload"] for plan in ran.json["front"]} > {"optimizer"}
    held = megatron(script, "--count 8 --search --cp 1 --tp 2 --offload optimizer").json["front"]
    assert held and all((plan["tp"], plan["offload"]) == (2, "optimizer") for plan in held)


def test_checkpoints_of_a_file_are_those_of_its_run(megatron: Run) -> None:
    flags = "--count 16 --steps 50000 --mtbf 100h"
    blocking, beside = (megatron(f"{DENSE} {more} --save-interval 500", flags) for more in ("", "--async-save"))
    assert 0.0 < beside.json["run"]["checkpoint_stall_s"] < blocking.json["run"]["checkpoint_stall_s"] / 5.0
    assert "checkpoints every 500 steps" in blocking.err
    assert "checkpoints every" not in megatron(f"{DENSE} --save-interval 500").err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--decoder-first-pipeline-num-layers 7", "leave 23 of 30 for 3 stages"),
        ("--decoder-first-pipeline-num-layers 29", "leave 1 of 30 for 3 stages"),
    ],
)
def test_layers_that_cannot_be_spread(megatron: Run, arguments: str, said: str) -> None:
    ran = megatron(f"{DENSE} --pipeline-model-parallel-size 4 {arguments}")
    assert ran.status == 2
    assert said in ran.err


@pytest.mark.parametrize(
    ("arguments", "flags", "said"),
    [
        (DENSE, "--count 32 --tp 3", "run.sh: 32 devices: tp 3 x pp 1 x cp 1 = 3 does not divide them"),
        (DENSE.replace("32 --bf16", "33 --bf16"), "--count 16", "run.sh: --global-batch-size 33: must be a multi"),
        (DENSE, "--count 16 --global-batch 33", "silicost: --global-batch 33: must be a multiple of dp 16 x"),
        (DENSE.replace("heads 16", "heads 31"), "", "run.sh: line 1: --num-attention-heads: 31 attention heads do not"),
        (DENSE, "", "run.sh does not say how many devices there are; give --count or --nodes"),
    ],
)  # fmt: skip
def test_errors_have_a_place(megatron: Run, arguments: str, flags: str, said: str) -> None:
    ran = megatron(arguments, flags)
    assert ran.status == 2
    assert said in ran.err


def test_a_batch_of_nemo_has_a_place(silicost: Run, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    model = "num_layers: 2\n  hidden_size: 64\n  num_attention_heads: 4\n  encoder_seq_length: 64"
    model += "\n  global_batch_size: 63\n  micro_batch_size: 1"
    file.write_text(f"trainer:\n  devices: 8\n  num_nodes: 1\nmodel:\n  {model}\n")
    ran = silicost(f"train --config {file} {H100}")
    assert (ran.status, ran.out) == (2, "")
    assert "run.yaml: global_batch_size 63: must be a multiple of dp 8 x micro-batch 1 = 8" in ran.err
