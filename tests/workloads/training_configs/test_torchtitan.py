"""TOML of torchtitan, old and new."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hardware_specs.errors import InputError
from workloads.models.catalogue import model_names
from workloads.training_configs import Offload, Overlap, Recompute, TrainingConfig, for_devices, read_config
from workloads.training_configs.torchtitan import MODELS

NEW = """
[job]
description = "70B"
[model]
name = "llama3"
flavor = "70B"
converters = ["float8"]
[optimizer]
name = "AdamW"
lr = 1.5e-4
[training]
local_batch_size = 8
seq_len = 8192
steps = 1000
[parallelism]
data_parallel_replicate_degree = 2
data_parallel_shard_degree = 16
tensor_parallel_degree = 8
enable_async_tensor_parallel = true
pipeline_parallel_degree = 1
context_parallel_degree = 1
[checkpoint]
enable = true
interval = 250
async_mode = "async_with_pinned_mem"
[activation_checkpoint]
mode = "selective"
selective_ac_option = "op"
[compile]
enable = true
[float8]
recipe_name = "rowwise"
enable_fsdp_float8_all_gather = true
"""

OLD = """
[model]
name = "llama3"
flavor = "8B"
norm_type = "rmsnorm"
[optimizer]
name = "AdamW"
[training]
batch_size = 8
seq_len = 8192
steps = 1000
data_parallel_degree = -1
tensor_parallel_degree = 2
compile = false
[experimental]
pipeline_parallel_degree = 4
pipeline_parallel_schedule = "1F1B"
[checkpoint]
enable_checkpoint = true
interval_type = "seconds"
interval = 3600
[activation_checkpoint]
mode = 'full'
[float8]
enable_float8_linear = true
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(folder: Path, text: str, **flags: str) -> TrainingConfig:
    path = folder / "run.toml"
    path.write_text(text)
    return read_config(path, **flags)


def test_new_names(folder: Path) -> None:
    config = read(folder, NEW)
    assert (config.form, config.model, config.runtime) == ("torchtitan", "llama-3.1-70b", "torchtitan-2025")
    assert (config.tp, config.dp, config.shard, config.copies, config.zero) == (8, 32, 16, 2, 3)
    assert (config.global_batch, config.micro_batch, config.seq_len, config.steps) == (256, 8, 8192, 1000)
    assert (config.precision, config.fp8_recipe, config.gradients) == ("fp8", "rowwise", "fp32")
    assert (config.sequence_parallel, config.compiled, config.optimizer) == (True, True, "adam")
    assert config.recompute == Recompute("selective")
    assert (config.checkpoint_interval, config.checkpoint_async) == (250, True)
    assert config.overlap == Overlap(gradients=True, parameters=True, tensor=True)
    left = {item.key: item.why for item in config.left_out}
    assert left == {
        "float8.enable_fsdp_float8_all_gather": "changes the cost; not counted", "job.description": "",
        "optimizer.lr": "",
    }  # fmt: skip
    assert for_devices(config, 256).dp == 32
    with pytest.raises(InputError, match="allowed: 256 devices"):
        for_devices(config, 512)


def test_old_names(folder: Path) -> None:
    config = read(folder, OLD)
    assert (config.model, config.tp, config.pp, config.dp, config.vpp) == ("llama-3.1-8b", 2, 4, None, 1)
    assert (config.global_batch, config.replica_batch, config.micro_batch) == (None, 8, 2)
    assert (config.precision, config.fp8_recipe, config.recompute) == ("fp8", "tensorwise", Recompute("full"))
    assert (config.zero, config.shard, config.checkpoint_interval) == (2, 0, None)
    assert "seconds" in {item.key: item.why for item in config.left_out}["checkpoint.interval"]
    full = for_devices(config, 64)
    assert (full.dp, full.global_batch, full.shard) == (8, 64, 8)


@pytest.mark.parametrize(
    ("old", "new", "field", "value"),
    [
        ('selective_ac_option = "op"', "selective_ac_option = '4'", "recompute", Recompute("full", every=4)),
        ('selective_ac_option = "op"', "selective_ac_option = 4", "recompute", Recompute("full", every=4)),
        ('selective_ac_option = "op"', "", "recompute", Recompute("full", every=2)),
        ('mode = "selective"', 'mode = "none"', "recompute", Recompute()),
        ('mode = "selective"', 'mode = "memory_budget"', "recompute", Recompute("selective")),
        ("data_parallel_shard_degree = 16", "data_parallel_shard_degree = 1", "zero", 0),
        ("data_parallel_shard_degree = 16", "data_parallel_shard_degree = -1", "dp", None),
        ("data_parallel_shard_degree = 16", "data_parallel_shard_degree = -1", "replica_batch", 8),
        ("data_parallel_shard_degree = 16", 'fsdp_reshard_after_forward = "never"', "zero", 2),
        ("pipeline_parallel_degree = 1", "pipeline_parallel_degree = 2", "micro_batch", 1),
        ("pipeline_parallel_degree = 1", "pipeline_parallel_degree = 2", "zero", 2),
        ("pipeline_parallel_degree = 1", "pipeline_parallel_degree = 2\npipeline_parallel_microbatch_size = 4",
         "micro_batch", 4),
        ("pipeline_parallel_degree = 1", 'pipeline_parallel_degree = 2\npipeline_parallel_schedule = "ZBVZeroBubble"',
         "schedule", "zb-v"),
        ("pipeline_parallel_degree = 1", 'pipeline_parallel_degree = 2\npipeline_parallel_schedule = "GPipe"',
         "schedule", "gpipe"),
        ("pipeline_parallel_degree = 1", 'pipeline_parallel_degree = 2\npipeline_parallel_schedule = "Interleaved1F1B"',
         "vpp", 2),
        ("pipeline_parallel_degree = 1",
         'pipeline_parallel_degree = 4\npipeline_parallel_schedule = "Interleaved1F1B"\n'
         "pipeline_parallel_layers_per_stage = 4", "vpp", 5),
        ("pipeline_parallel_degree = 1", 'pipeline_parallel_degree = 2\npipeline_parallel_schedule = "DualPipeV"',
         "schedule", "dualpipe"),
        ("context_parallel_degree = 1", "context_parallel_degree = 4", "cp_exchange", "all-gather"),
        ("context_parallel_degree = 1", 'context_parallel_degree = 4\ncontext_parallel_rotate_method = "alltoall"',
         "cp_exchange", "ring"),
        ("context_parallel_degree = 1", "expert_parallel_degree = 4\nexpert_tensor_parallel_degree = 2", "etp", 2),
        ("steps = 1000", "steps = 1000\nglobal_batch_size = 1024", "global_batch", 1024),
        ("steps = 1000", "steps = 1000\nenable_cpu_offload = true", "offload",
         Offload(weights=True, gradients=True, optimizer=1.0)),
        ("steps = 1000", 'steps = 1000\nmixed_precision_reduce = "bfloat16"', "gradients", "bf16"),
        ('converters = ["float8"]', 'converters = ["quantize.linear.mx"]', "precision", "fp8"),
        ('converters = ["float8"]', "", "precision", "bf16"),
        ('"AdamW"', '"Muon"', "optimizer", "muon"),
        ('name = "llama3"', 'name = "llama3_simple_fsdp"', "model", "llama-3.1-70b"),
        ("enable = true\ninterval", "enable = false\ninterval", "checkpoint_interval", None),
    ],
)  # fmt: skip
def test_keys(folder: Path, old: str, new: str, field: str, value: Any) -> None:
    assert old in NEW
    assert getattr(read(folder, NEW.replace(old, new)), field) == value


def test_what_stands_for_another_schedule_is_said(folder: Path) -> None:
    staged = 'pipeline_parallel_degree = 2\npipeline_parallel_schedule = "LoopedBFS"'
    config = read(folder, NEW.replace("pipeline_parallel_degree = 1", staged))
    assert (config.schedule, config.vpp) == ("interleaved", 2)
    said = {item.key: item.why for item in config.left_out}
    assert "counted as interleaved 1F1B" in said["parallelism.pipeline_parallel_schedule"]


def test_models_are_in_the_catalogue() -> None:
    assert {name for flavors in MODELS.values() for name in flavors.values()} <= set(model_names())


def test_the_model_for_trying_out(folder: Path) -> None:
    config = read(folder, '[training]\nseq_len = 512\n[model]\nname = "llama3"\nflavor = "debugmodel"\n')
    assert config.architecture.layers == 6
    assert config.replica_batch == 8


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tensor_parallel_degree = 8", "tensor_parallel_degree = 0", r"run.toml: parallelism.tensor_parallel_deg.* is"),
        ("tensor_parallel_degree = 8", 'tensor_parallel_degree = "x"', r"allowed: a whole number from 1"),
        ("tensor_parallel_degree = 8", "tensor_parallel_degree = inf", r"allowed: a whole number from 1"),
        ("data_parallel_shard_degree = 16", "data_parallel_shard_degree = 0", r"-1 \(the rest of the devices\)"),
        ('"AdamW"', '"Lamb"', r"optimizer.name is 'Lamb'; allowed: adam"),
        ('flavor = "70B"', 'flavor = "71B"', r"model.flavor: unknown flavor of llama3 '71B'; did you mean '70b'"),
        ('name = "llama3"', 'name = "lama"', r"model.name: unknown torchtitan model 'lama'; did you mean 'llama4'"),
        ('mode = "selective"', 'mode = "sometimes"', r"activation_checkpoint.mode is 'sometimes'; allowed: none"),
        ('selective_ac_option = "op"', 'selective_ac_option = "ops"', r"selective_ac_option is 'ops'"),
        ("enable = true\ninterval", "enable = 3\ninterval", r"checkpoint.enable is '3'; allowed: true or false"),
        ("steps = 1000", "steps = ", r"run.toml: not valid TOML"),
        ("pipeline_parallel_degree = 1", 'pipeline_parallel_degree = 2\npipeline_parallel_schedule = "1F2B"',
         r"pipeline_parallel_schedule is '1F2B'; allowed: gpipe"),
        ("steps = 1000", f"steps = 1000\nx = {'[' * 5000}", r"not valid TOML"),
    ],
)  # fmt: skip
def test_what_is_refused(folder: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(folder, NEW.replace(old, new), form="torchtitan")
    assert "\n" not in str(caught.value)


def test_another_model_may_stand_in(folder: Path) -> None:
    assert read(folder, NEW.replace('"70B"', '"71B"'), model="llama-2-70b").model == "llama-2-70b"
    with pytest.raises(InputError, match="unknown model"):
        read(folder, NEW, model="llama-99")


def test_the_recipe_of_each_converter(folder: Path) -> None:
    for converter, recipe in (("float8", "tensorwise"), ("mx", "mxfp8_cublas"), ("quantize.linear.mx", "mxfp8_cublas")):
        file = folder / "run.toml"
        text = NEW.replace('["float8"]', f'["{converter}"]').replace('recipe_name = "rowwise"\n', "")
        file.write_text(text)
        assert read_config(file).fp8_recipe == recipe
