"""Megatron-LM: shell scripts that start a training run, and files of its arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from hardware_specs.errors import InputError
from workloads.training_configs.megatron_core import config_of
from workloads.training_configs.megatron_model import NUMBERS, OTHERS
from workloads.training_configs.record import LeftOut, TrainingConfig
from workloads.training_configs.settings import UNSET, Given, Settings, shown_value
from workloads.training_configs.shell_script import Script, read_script
from workloads.training_configs.shell_values import Word

_SIGNS: Final = (
    *NUMBERS, *OTHERS, "micro_batch_size", "batch_size", "global_batch_size", "seq_length", "train_iters",
    "tensor_model_parallel_size", "model_parallel_size", "pipeline_model_parallel_size", "sequence_parallel", "bf16",
    "fp16", "use_distributed_optimizer", "recompute_granularity",
)  # fmt: skip
"""Options that tell a command of Megatron from others."""
_SWITCHES: Final = frozenset({
    "sequence_parallel", "bf16", "fp16", "use_distributed_optimizer", "recompute_activations", "checkpoint_activations",
    "deepspeed_activation_checkpointing", "swiglu", "geglu", "squared_relu", "openai_gelu", "disable_bias_linear",
    "add_qkv_bias", "untie_embeddings_and_output_weights", "qk_layernorm", "group_query_attention",
    "multi_latent_attention", "use_rotary_position_embeddings", "no_position_embedding", "moe_shared_expert_gate",
    "moe_router_enable_expert_bias", "use_torch_fsdp2", "use_megatron_fsdp", "use_custom_fsdp", "optimizer_cpu_offload",
    "cpu_optimizer", "fine_grained_activation_offloading", "overlap_grad_reduce", "overlap_param_gather",
    "tp_comm_overlap", "no_overlap_p2p_communication", "overlap_moe_expert_parallel_comm", "use_flash_attn",
    "use_flash_attn_v2", "accumulate_allreduce_grads_in_fp32", "grad_reduce_in_bf16", "async_save", "qlora",
    "enable_zero_bubble", "enable_zb_runtime", "zero_bubble_v_schedule", "use_mcore_models", "embed_layernorm",
    "no_masked_softmax_fusion", "use_cpu_initialization", "moe_grouped_gemm", "deepspeed", "no_pipeline_parallel",
})  # fmt: skip
"""Options without a value: a variable behind one holds further options."""
_RENAMED: Final = {"lora_r": "lora_rank", "pad_vocab_size_to": "padded_vocab_size"}
_NODES: Final = ("nnodes", "num_nodes", "nodes", "N")
_OF_A_NODE: Final = ("nproc_per_node", "num_gpus", "gpus_per_node", "ntasks_per_node")
_OF_2021: Final = ("ddp_impl", "checkpoint_activations", "activations_checkpoint_method", "model_parallel_size",
                   "use_contiguous_buffers_in_ddp", "batch_size")  # fmt: skip
_OF_2022: Final = ("sequence_parallel", "recompute_activations", "recompute_granularity", "use_distributed_optimizer")
_OTHERS: Final = ("pretrain_t5", "pretrain_vision", "pretrain_vlm", "pretrain_mamba", "pretrain_retro", "pretrain_ict")
"""Programs that train other than decoders and BERT."""
_OPTION: Final = re.compile(r"--([A-Za-z][\w.-]*)(?:=(.*))?", re.DOTALL)


def read_megatron(text: str, file: str, name: str, model: str, variables: Mapping[str, str]) -> TrainingConfig:
    """The configuration in a script, or in a file of arguments.

    Args:
        file: its name, for errors.
        name: id of the architecture that it describes.
        model: name of a model to take instead of that one ("": none).
        variables: those that are set before the script begins.

    Raises:
        InputError: no Megatron command is found, a number is missing or cannot be, or a variable that it needs is not
            set.
    """
    script = read_script(text, file, variables)
    launcher, program, words = _training_words(script, file)
    if (kind := next((word for word in _OTHERS if word in program), "")) and not model:
        raise InputError(f"{file}: {kind} trains a model of a kind that is not read; name the model instead")
    given, stray = _options(words, file)
    _add_launcher(given, launcher, script, file)
    settings = Settings(file, given, spelt=lambda key: "--" + key.replace("_", "-"))
    settings.remarks.extend(stray)
    settings.remarks.extend(LeftOut(f"{file}: line {s.line}", shown_value(s.text), "", s.why) for s in script.skipped)
    runtime = _runtime(settings)
    return config_of(settings, "megatron", name, model, runtime, causal="pretrain_bert" not in program)


def _training_words(script: Script, file: str) -> tuple[Sequence[Word], str, Sequence[Word]]:
    """The launcher's words, the program, and its words: of the command with most of Megatron's options; else of lines
    of bare options; else of the variables that hold options."""
    best: tuple[int, Sequence[Word], str, Sequence[Word]] = (0, (), "", script.bare)
    for command in script.commands:
        at = next(i for i, word in enumerate(command.words) if ".py" in word.text)
        words = command.words[at + 1 :]
        if (signs := _signs(words)) > best[0]:
            best = (signs, command.words[:at], command.words[at].text, words)
    if best[0] == 0 and not _signs(script.bare):
        held = [
            Word(piece, word.line)
            for value in script.variables.values.values()
            for word in value.words
            for piece in re.findall(rf"(?:{UNSET}[^{UNSET}]*{UNSET}|[^\s{UNSET}])+", word.text)
            if any(w.text.startswith("--") for w in value.words) or "--" in word.text
        ]
        if not _signs(held):
            raise InputError(f"{file}: no command with options of Megatron-LM, such as --num-layers")
        best = (0, (), "", held)
    return best[1], best[2], best[3]


def _signs(words: Iterable[Word]) -> int:
    return sum(1 for w in words if (match := _OPTION.match(w.text)) and _key(match[1]) in _SIGNS)


def _key(option: str) -> str:
    key = option.replace("-", "_").lower()
    return _RENAMED.get(key, key)


def _options(words: Sequence[Word], file: str) -> tuple[dict[str, Given], list[LeftOut]]:
    """Options by key, the last of equal ones; and variables that hold further options but are not set."""
    given: dict[str, Given] = {}
    stray: list[LeftOut] = []
    values: list[str] = []
    key, spelt, line = "", "", 0
    for word in [*words, Word("--end", 0)]:
        match = _OPTION.fullmatch(word.text)
        if match is None:
            lone = re.fullmatch(rf"{UNSET}[^{UNSET}]+{UNSET}", word.text)
            if lone and (not key or values or key in _SWITCHES):
                why = "not set in this file; what it adds is not read"
                stray.append(LeftOut(f"{file}: line {word.line}", shown_value(word.text), "", why))
            else:
                values.append(word.text)
            continue
        if key:
            given[key] = Given(" ".join(values) if values else True, f"{file}: line {line}", spelt)
        key, spelt, line = _key(match[1]), f"--{match[1]}", word.line
        values = [] if match[2] is None else [match[2]]
    return given, stray


def _add_launcher(given: dict[str, Given], launcher: Sequence[Word], script: Script, file: str) -> None:
    """Add the nodes and the devices of each that the launcher names, where they are known numbers."""
    found = _options([*launcher], file)[0]
    variables = script.variables.values
    per_node = ("devices_per_node", _OF_A_NODE, "SLURM_GPUS_PER_NODE")
    for key, names, slurm in (("nodes", _NODES, "SLURM_NNODES"), per_node):
        known = next((found[n] for n in names if n in found and str(found[n].value).isdigit()), None)
        if known is None and slurm in variables:
            known = Given(variables[slurm].words[0].text, f"{file}: #SBATCH", key)
        if known is not None and key not in given:
            given[key] = known


def _runtime(s: Settings) -> str:
    """The runtime that the options belong to: those that were given up again tell the old ones."""
    if s.flag("deepspeed"):
        return "megatron-2022"
    old = s.has(*_OF_2021)
    name = "megatron-core-2025" if not old else "megatron-2022" if s.has(*_OF_2022) else "megatron-2021"
    if old:
        s.assumed.append(f"runtime {name}: it has options that later versions gave up")
    s.used.update(("ddp_impl", "use_mcore_models", "use_contiguous_buffers_in_ddp"))
    return name
