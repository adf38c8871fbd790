"""YAML of NeMo 1.x, NeMo 2.x and Megatron-Bridge."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from hardware_specs.errors import InputError
from workloads.models.architecture import Attention, FeedForward, LayerGroup
from workloads.models.catalogue import load_model, model_names
from workloads.training_configs import Offload, Overlap, Recompute, TrainingConfig, for_devices, read_config
from workloads.training_configs.nemo import read_nemo
from workloads.training_configs.nemo_words import MODELS

pytest.importorskip("yaml")

OLD = """
defaults:
  - _self_
  - optional tp_overlap@model.ub_tp_comm_overlap_cfg: ub_cfg_h100
run:
  name: llama3_70b
  results_dir: ${base_results_dir}/${.name}
trainer:
  num_nodes: 128
  devices: 8
  precision: bf16-mixed
  max_steps: 300000 # consumed_samples = global_step * global_batch_size
exp_manager:
  checkpoint_callback_params:
    every_n_train_steps: 2000
    model_parallel_size: ${multiply:${training.model.tensor_model_parallel_size}, ${model.pipeline_model_parallel_size}}
model:
  mcore_gpt: true
  micro_batch_size: 1
  global_batch_size: ${multiply:${trainer.num_nodes}, 16}
  rampup_batch_size: null
  tensor_model_parallel_size: 4
  pipeline_model_parallel_size: 4
  virtual_pipeline_model_parallel_size: 5
  context_parallel_size: 2
  encoder_seq_length: 8192
  max_position_embeddings: ${.encoder_seq_length}
  num_layers: 80
  hidden_size: 8192
  ffn_hidden_size: 28672
  num_attention_heads: 64
  num_query_groups: 8
  kv_channels: null
  normalization: rmsnorm
  bias: false
  activation: fast-swiglu
  position_embedding_type: rope
  share_embeddings_and_output_weights: false
  tokenizer:
    library: huggingface
    type: meta-llama/Meta-Llama-3-70B
  megatron_amp_O2: true
  activations_checkpoint_granularity: full
  activations_checkpoint_method: block
  activations_checkpoint_num_layers: 2
  sequence_parallel: true
  fp8: False
  fp8_hybrid: True
  ub_tp_comm_overlap: true
  optim:
    name: mcore_distributed_optim
    lr: 1.5e-4
    overlap_grad_sync: true
    overlap_param_sync: false
"""

RECIPE = """
_partial_: true
_target_: nemo.collections.llm.api.pretrain
data:
  _target_: nemo.collections.llm.gpt.data.mock.MockDataModule
  global_batch_size: 512
  micro_batch_size: 1
  seq_length: 8192
model:
  _target_: nemo.collections.llm.gpt.model.llama.LlamaModel
  config:
    _target_: nemo.collections.llm.gpt.model.llama.Llama31Config405B
    seq_length: 8192
optim:
  config:
    _target_: megatron.core.optimizer.optimizer_config.OptimizerConfig
    optimizer: adam
    use_distributed_optimizer: true
trainer:
  num_nodes: 72
  devices: 8
  max_steps: -1
  callbacks:
    - _target_: nemo.lightning.pytorch.callbacks.MegatronCommOverlapCallback
      tp_comm_overlap: true
  plugins:
    precision: bf16-mixed
    fp8: hybrid
    fp8_recipe: delayed
  strategy:
    tensor_model_parallel_size: 8
    pipeline_model_parallel_size: 9
    virtual_pipeline_model_parallel_size: 7
    sequence_parallel: true
    ckpt_async_save: true
    ddp:
      overlap_grad_reduce: true
      overlap_param_gather: true
      grad_reduce_in_fp32: false
peft: null
"""

BRIDGE = """
train: {global_batch_size: 128, micro_batch_size: 1, train_iters: 100}
model:
  num_layers: 24
  hidden_size: 2048
  num_attention_heads: 16
  seq_length: 4096
  tensor_model_parallel_size: 2
  gated_linear_unit: true
  add_bias_linear: false
  normalization: RMSNorm
  vocab_size: 32000
  make_vocab_size_divisible_by: 128
  activation_func: {_target_: torch.nn.functional.silu}
optimizer: {optimizer: adam, use_distributed_optimizer: true}
ddp: {overlap_grad_reduce: true, grad_reduce_in_fp32: true}
mixed_precision: bf16_with_fp8_current_scaling_mixed
checkpoint: {save_interval: 50}
"""


def read(text: str) -> TrainingConfig:
    return read_nemo(text, "c.yaml", "c", "")


def with_model(*lines: str) -> TrainingConfig:
    return read(OLD.replace("  optim:", "".join(f"  {line}\n" for line in lines) + "  optim:"))


def test_nemo_1(tmp_path: Path) -> None:
    path = tmp_path / "llama3_70b.yaml"
    path.write_text(OLD)
    config = read_config(path)
    assert (config.form, config.runtime) == ("nemo", "megatron-core-2025")
    model, known = config.architecture, load_model("llama-3-70b")
    assert (model.groups, model.tied, model.norm) == (known.groups, False, "rmsnorm")
    assert (model.id, model.vocab, model.max_positions) == ("llama3_70b", 128_512, 8192)
    assert (config.tp, config.pp, config.cp, config.vpp, config.schedule) == (4, 4, 2, 5, "interleaved")
    assert (config.global_batch, config.micro_batch, config.seq_len) == (2048, 1, 8192)
    assert (config.nodes, config.devices, config.steps, config.checkpoint_interval) == (128, 1024, 300_000, 2000)
    assert (config.precision, config.gradients, config.zero, config.sequence_parallel) == ("bf16", "fp32", 1, True)
    assert config.recompute == Recompute("full", first=2)
    assert config.overlap == Overlap(gradients=True, tensor=True, pipeline=True)
    left = {item.key: item.value for item in config.left_out}
    assert left["exp_manager.checkpoint_callback_params.model_parallel_size"] == "16"
    assert left["run.results_dir"] == "${base_results_dir}/llama3_70b"
    assert "model.rampup_batch_size" not in left
    assert for_devices(config, 1024).dp == 32


def test_nemo_2() -> None:
    config = read(RECIPE)
    assert config.model == "llama-3.1-405b"
    assert (config.tp, config.pp, config.vpp, config.zero, config.sequence_parallel) == (8, 9, 7, 1, True)
    assert (config.precision, config.fp8_recipe, config.gradients) == ("fp8", "delayed", "bf16")
    assert (config.global_batch, config.seq_len, config.devices, config.steps) == (512, 8192, 576, None)
    assert config.overlap == Overlap(gradients=True, parameters=True, tensor=True, pipeline=True)
    assert (config.checkpoint_async, config.lora_rank, config.assumed) == (True, 0, ())


def test_megatron_bridge() -> None:
    config = read(BRIDGE)
    attention = Attention("mha", 16, 16, 128, rotary=False)
    assert config.architecture.groups == (LayerGroup(24, attention, FeedForward(5440)),)
    assert config.architecture.vocab == 32_000
    assert (config.tp, config.zero, config.precision, config.gradients) == (2, 1, "fp8", "fp32")
    assert (config.steps, config.checkpoint_interval, config.global_batch) == (100, 50, 128)


def test_a_recipe_and_its_arguments() -> None:
    text = """
        _target_: nemo.collections.llm.recipes.llama3_8b_16k.pretrain_recipe
        num_nodes: 2
        num_gpus_per_node: 8
        tensor_parallelism: 2
        sequence_parallelism: true
        global_batch_size: 64
        micro_batch_size: 1
        seq_length: 16384
        peft_scheme: lora
    """
    config = read("\n".join(line.strip() for line in text.splitlines()))
    assert (config.model, config.tp, config.sequence_parallel, config.devices) == ("llama-3-8b", 2, True, 16)
    assert (config.seq_len, config.global_batch, config.lora_rank) == (16_384, 64, 32)
    assert "only what the file itself says" in config.assumed[0] + config.assumed[1]


@pytest.mark.parametrize(
    ("lines", "field", "value"),
    [
        (["fsdp: true"], "zero", 3),
        (["fsdp: true", "fsdp_sharding_strategy: grad"], "zero", 2),
        (["fsdp: true", "fsdp_sharding_strategy: hybrid"], "shard", 8),
        (["expert_model_parallel_size: 4", "num_moe_experts: 8"], "etp", 4),
        (["cpu_offloading: true", "cpu_offloading_num_layers: 3"], "offload", Offload(activations=True, layers=3)),
        (["cpu_offloading: false", "cpu_offloading_num_layers: 3"], "offload", Offload()),
        (["peft:", "  peft_scheme: lora", "  lora_tuning:", "    adapter_dim: 16"], "lora_rank", 16),
        (["peft:", "  peft_scheme: qlora", "  lora_tuning:", "    adapter_dim: 16"], "qlora", True),
        (["peft:", "  peft_scheme: null", "  lora_tuning:", "    adapter_dim: 16"], "lora_rank", 0),
        (["peft:", "  peft_scheme: lora", "  lora_tuning:", "    target_modules: [attention_qkv, mlp_fc1]"],
         "lora_modules", ("attention_qkv", "mlp_fc1")),
        (["use_flash_attention: true"], "flash_attention", True),
    ],
)  # fmt: skip
def test_keys(lines: list[str], field: str, value: Any) -> None:
    assert getattr(with_model(*lines), field) == value


@pytest.mark.parametrize(
    ("word", "precision"),
    [("bf16", "bf16"), ("16", "fp16"), ("'16-mixed'", "fp16"), ("32", "fp32"), ("bf16-true", "bf16")],
)
def test_precisions(word: str, precision: str) -> None:
    assert read(OLD.replace("bf16-mixed", word)).precision == precision
    assert read(OLD.replace("fp8: False", "fp8: True")).precision == "fp8"


@pytest.mark.parametrize(
    ("activation", "mlp"),
    [("gelu", FeedForward(28672, False, False, "gelu")), ("swiglu", FeedForward(28672)),
     ("fast-geglu", FeedForward(28672, activation="gelu")),
     ("squared-relu", FeedForward(28672, False, False, "relu"))],
)  # fmt: skip
def test_activations(activation: str, mlp: FeedForward) -> None:
    assert read(OLD.replace("fast-swiglu", activation)).architecture.groups[0].mlp == mlp


def test_devices_may_be_listed_or_unsaid() -> None:
    assert read(OLD.replace("devices: 8", "devices: [0, 1, 2, 3]")).devices == 512
    unsaid = read(OLD.replace("devices: 8", "devices: auto"))
    assert (unsaid.devices, unsaid.nodes) == (None, 128)
    assert any(item.key == "trainer.devices" for item in unsaid.left_out)


def test_of_two_lengths_that_of_the_data_counts() -> None:
    config = read(RECIPE.replace("    seq_length: 8192", "    seq_length: 4096"))
    assert config.seq_len == 8192
    assert {item.key: item.value for item in config.left_out}["model.config.seq_length"] == "4096"


@pytest.mark.parametrize(
    ("text", "value"),
    [("${model.hidden_size}", 8192), ("${training.model.num_layers}", 80), ("${add:1,2,3}", 6),
     ("${divide:9,2}", 4), ("${oc.env:GBS,96}", 96), ("${multiply:${trainer.devices},${add:1,1}}", 16),
     ("${floor_div:${.num_layers},16}", 5)],
)  # fmt: skip
def test_interpolations(text: str, value: int) -> None:
    assert read(OLD.replace("${multiply:${trainer.num_nodes}, 16}", text)).global_batch == value


@pytest.mark.parametrize(
    "text",
    ["${oc.env:GBS}", "${nowhere}", "${eval:'2*3'}", "${.global_batch_size}", "${multiply:a,2}", "${model}", "${..x}",
     "${multiply:${nowhere},2}", "${divide:1,0}"],
)  # fmt: skip
def test_interpolations_that_are_not_known(text: str) -> None:
    with pytest.raises(InputError, match=r"c.yaml: model.global_batch_size: .* is not set in this file"):
        read(OLD.replace("${multiply:${trainer.num_nodes}, 16}", f'"{text}"'))
    assert read(OLD.replace("lr: 1.5e-4", f'lr: "{text}"')).global_batch == 2048


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("num_layers: 80", "num_layers: many", r"c.yaml: model.num_layers is 'many'; allowed: a whole number"),
        ("num_layers: 80", "num_layers: 1e3x", r"whole number"),
        ("num_layers: 80", "num_layers: [80]", r"whole number"),
        ("num_layers: 80", "num_layers: true", r"whole number"),
        ("num_layers: 80", "num_lairs: 80", r"c.yaml: num_layers is missing"),
        ("precision: bf16-mixed", "precision: int4", r"trainer.precision is 'int4'; allowed: bf16"),
        ("fast-swiglu", "swishy", r"model.activation is 'swishy'; allowed: gelu"),
        ("mcore_distributed_optim", "lionel", r"model.optim.name is 'lionel'; allowed: adam"),
        ("mcore_gpt: true", "fsdp: maybe", r"model.fsdp is 'maybe'; allowed"),
        ("mcore_gpt: true", "peft: {peft_scheme: ptuning}", r"is 'ptuning'; allowed: lora, qlora"),
        ("bias: false", "bias: perhaps", r"true or false"),
    ],
)  # fmt: skip
def test_what_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(OLD.replace(old, new))
    assert "\n" not in str(caught.value)


def test_models_of_nemo_are_in_the_catalogue() -> None:
    assert set(MODELS.values()) <= set(model_names())


def test_models_that_are_not_known() -> None:
    with pytest.raises(InputError, match=r"model.config._target_: unknown NeMo model 'llama39b'; did you mean"):
        read(RECIPE.replace("Llama31Config405B", "Llama3Config9B"))
    with pytest.raises(InputError, match=r"changes .*Llama31Config405B; allowed: all of num_layers"):
        read(RECIPE.replace("    seq_length: 8192", "    seq_length: 8192\n    num_layers: 2"))
    text = RECIPE.replace("Llama31Config405B", "Llama3Config9B")
    assert read_nemo(text, "c.yaml", "c", "llama-3-8b").model == "llama-3-8b"


HOSTILE = {
    "cycle": "model: &m\n  num_layers: 1\n  more: *m\n",
    "list cycle": "model: &m [*m, {a: 1}]\n",
    "bomb": "a: &a {x: 1, y: 2, z: 3}\n" + "".join(
        f"{name}: &{name} {{p: *{before}, q: *{before}, r: *{before}, s: *{before}}}\n"
        for before, name in zip("abcdefghij", "bcdefghijk", strict=True)
    ) + "model: *k\n",
    "deep": "model: " + "[" * 20_000,
    "deep mapping": "model: " + "{a: " * 3000,
    "object": "model: !!python/object/apply:os.system ['true']\n",
    "tag": "model: !secret x\n",
    "tab": "model:\n\tnum_layers: 3\n",
    "two": "model: {}\n---\nmodel: {}\n",
    "list": "- model: 1\n",
    "text": "model: [1, 2\ntrainer: }\n",
    "date": "model:\n  num_layers: 2024-99-99\n",
    "keys": "model:\n  ? [1, 2]\n  : 3\n",
    "merge": "model:\n  <<: 5\n",
    "number": "model:\n  num_layers: " + "9" * 5000 + "\n",
    "odd keys": "model: {1: 2, null: 3, true: 4}\n",
    "nothing": "model:\n",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(HOSTILE[name])
    with pytest.raises(InputError) as caught:
        read_config(path, form="nemo")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_without_pyyaml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    path = tmp_path / "c.yaml"
    path.write_text(OLD)
    with pytest.raises(InputError, match=r"c.yaml: YAML files need PyYAML; it comes with silicost\[configs\]"):
        read_config(path)
