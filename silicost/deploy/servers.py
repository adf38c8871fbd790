"""Inference servers: vLLM, SGLang, TensorRT-LLM, by the flags of their documentation.

vLLM: https://docs.vllm.ai/en/latest/cli/serve; SGLang: https://docs.sglang.io/advanced_features/server_arguments.html;
TensorRT-LLM: https://nvidia.github.io/TensorRT-LLM/commands/trtllm-serve. What they have no flag for is said, and what
they decide by the checkpoint is left to it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError, UnknownName
from hardware_specs.hosts import host_of
from silicost.deploy.chosen import Chosen
from silicost.deploy.settings import Launch, Setting, Unsaid, header
from workloads.models.catalogue import load_model
from workloads.runtimes.catalogue import load_runtime, runs_on, runtime_names

Item = Setting | Unsaid
_DTYPES: Final = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_KV: Final = {"vllm": {"fp8": "fp8"}, "sglang": {"fp8": "fp8_e4m3"}, "trtllm": {}}
_WIDE: Final = ("bf16", "fp16", "fp32")


class Server(NamedTuple):
    """How a server spells what all servers have; "" where it has no such flag.

    ``known_as`` begins the names of its runtimes in the catalogue; ``memory`` is its share of a device's memory.
    """

    name: str
    command: tuple[str, ...]
    known_as: str
    model: str
    tp: str
    pp: str
    dp: str
    ep: str
    sequences: str
    length: str
    tokens: str
    memory: str
    why_not_memory: str
    dtype: str
    quantization: str
    kv: str


SERVERS: Final[Mapping[str, Server]] = {
    "vllm": Server(
        "vLLM", ("vllm", "serve"), "vllm", "", "--tensor-parallel-size", "--pipeline-parallel-size",
        "--data-parallel-size", "--enable-expert-parallel", "--max-num-seqs", "--max-model-len",
        "--max-num-batched-tokens", "--gpu-memory-utilization", "", "--dtype", "--quantization", "--kv-cache-dtype",
    ),
    "sglang": Server(
        "SGLang", ("python", "-m", "sglang.launch_server"), "sglang", "--model-path", "--tp-size", "--pp-size",
        "--dp-size", "--ep-size", "--max-running-requests", "--context-length", "--chunked-prefill-size",
        "--mem-fraction-static", "", "--dtype", "--quantization", "--kv-cache-dtype",
    ),
    "trtllm": Server(
        "TensorRT-LLM", ("trtllm-serve",), "trtllm", "", "--tp_size", "--pp_size", "", "--ep_size", "--max_batch_size",
        "--max_seq_len", "--max_num_tokens", "",
        "--kv_cache_free_gpu_memory_fraction is a share of what weights and buffers leave, not of the device", "", "",
        "",
    ),
}  # fmt: skip
"""Servers by the name of --runtime."""


def server_launch(name: str, chosen: Chosen, model: str = "") -> Launch:
    """The command that serves a plan.

    Args:
        model: checkpoint to be served in place of the model's own.

    Raises:
        InputError: a plan of training, or a server that does not exist for its device.
    """
    server, asked = SERVERS[name], chosen.configuration
    if asked.trains:
        raise InputError(f"--runtime {name}: serves; the plan is one of training: use --runtime torchrun")
    _check_device(server, asked.device)
    items = [*_model(server, chosen, model), *_ways(server, chosen), *_sizes(server, chosen), *_formats(server, chosen)]
    settings = tuple(each for each in items if isinstance(each, Setting))
    unsaid = (*(each for each in items if isinstance(each, Unsaid)), *_unknown(chosen))
    doubts = tuple(_doubts(server, chosen))
    doubts += tuple(f"{each.value}: {each.note}" for each in settings if "--checkpoint" in each.note)
    words = [" ".join(server.command)]
    for each in settings:
        words.append(" ".join(filter(None, (each.flag, shlex.quote(each.value) if each.value else ""))))
    title = f"{asked.model} on {asked.count} x {asked.device}, by the prediction of {asked.runtime}"
    body = " \\\n    ".join([f"{words[0]} {words[1]}", *words[2:]])
    text = "\n".join(["#!/bin/sh", *header(title, settings, unsaid, doubts), body]) + "\n"
    return Launch(name, text, settings, unsaid, doubts)


def _check_device(server: Server, device: str) -> None:
    """Refuse a device for which the catalogue has no such server.

    Raises:
        InputError: with the device.
    """
    try:
        spec = load_device(device)
    except UnknownName:
        return
    known = [load_runtime(name) for name in runtime_names() if name.startswith(server.known_as)]
    if not any(runs_on(runtime, spec) for runtime in known):
        raise InputError(f"{server.name} does not run on {device} as far as known (silicost runtimes list)")


def _model(server: Server, chosen: Chosen, given: str) -> Iterator[Item]:
    asked = chosen.configuration
    name, note = given, "set by the user"
    if not given:
        try:
            name, note = load_model(asked.model).hf_id or asked.model, "its name on the Hugging Face hub"
        except InputError:
            name, note = asked.model, "not in the catalogue: give one with --checkpoint"
        if name == asked.model:
            note = "no name of a checkpoint is known: give one with --checkpoint"
    yield Setting(server.model, name, f"{chosen.place}.model", asked.model, note)


def _ways(server: Server, chosen: Chosen) -> Iterator[Item]:
    plan, place = chosen.configuration.plan, f"{chosen.place}.plan"
    yield Setting(server.tp, str(plan.tp), f"{place}.tp", str(plan.tp))
    yield Setting(server.pp, str(plan.pp), f"{place}.pp", str(plan.pp))
    if plan.dp > 1 and server.dp:
        yield Setting(server.dp, str(plan.dp), f"{place}.dp", str(plan.dp))
    elif plan.dp > 1:
        yield Unsaid(f"{place}.dp", str(plan.dp), f"start {plan.dp} servers behind a router")
    if plan.ep > 1:
        yield _experts(server, chosen)
    yield from _nodes(server, chosen)
    if chosen.replicas > 1:
        why = "start as many of these servers behind a router"
        yield Unsaid(f"{chosen.place.rpartition('.')[0]}.replicas", str(chosen.replicas), why)


def _nodes(server: Server, chosen: Chosen) -> Iterator[Item]:
    """How a plan of more devices than a node has is started."""
    plan, held = chosen.configuration.plan, _node(chosen.configuration.device)
    # Replicas of vLLM and of TensorRT-LLM are other processes, those of SGLang belong to the one launch.
    many = plan.tp * plan.pp * (plan.dp if server.known_as == "sglang" else 1)
    if many <= held:
        return
    note, field = f"a node has {held}", f"{chosen.place}.count"
    if server.known_as == "vllm":
        yield Setting("--distributed-executor-backend", "ray", field, str(many), note)
    elif server.known_as == "sglang":
        yield Setting("--nnodes", str(-(-many // held)), field, str(many), note)
        why = "add --node-rank RANK --dist-init-addr HOST:PORT on each node: yours to say"
        yield Unsaid(field, str(many), why)
    else:
        yield Unsaid(field, str(many), f"{note}: start it under trtllm-llmapi-launch with mpirun or srun")


def _experts(server: Server, chosen: Chosen) -> Item:
    plan, field = chosen.configuration.plan, f"{chosen.place}.plan.ep"
    if server.known_as != "vllm":
        return Setting(server.ep, str(plan.ep), field, str(plan.ep))
    if plan.ep == plan.tp * plan.dp:
        return Setting(server.ep, "", field, str(plan.ep), "vLLM cuts experts over tp x dp")
    return Unsaid(field, str(plan.ep), f"vLLM cuts experts over tp x dp = {plan.tp * plan.dp} or not at all")


def _node(device: str) -> int:
    try:
        return host_of(load_device(device)).devices
    except InputError:
        return 8


def _sizes(server: Server, chosen: Chosen) -> Iterator[Item]:
    asked = chosen.configuration
    own = asked.runtime.startswith(server.known_as)
    if asked.batch and not chosen.replicas:
        sequences = -(-asked.batch // asked.plan.dp)
        note = f"of dp {asked.plan.dp}" if asked.plan.dp > 1 else ""
        yield Setting(server.sequences, str(sequences), f"{chosen.place}.batch", str(asked.batch), note)
    elif chosen.replicas:
        why = "traffic was simulated with the server's own default: leave it"
        yield Unsaid(f"{chosen.place}.batch", str(asked.batch), why)
    if asked.isl:
        note = "isl + osl: the longest request that was asked about"
        length = asked.isl + asked.osl
        yield Setting(server.length, str(length), f"{chosen.place}.isl", f"{asked.isl} + {asked.osl}", note)
    if not own:
        why = f"numbers of {asked.runtime}, not of {server.name}"
        yield Unsaid(f"{chosen.place}.runtime", asked.runtime, why)
        return
    runtime = load_runtime(asked.runtime)
    if runtime.prefill_chunk:
        chunk = str(runtime.prefill_chunk)
        yield Setting(server.tokens, chunk, f"runtime {asked.runtime}: prefill_chunk", chunk)
    share = chosen.facts.get("runtime.memory_utilisation", runtime.memory_utilisation.text)
    field = "provenance runtime.memory_utilisation" if chosen.facts else f"runtime {asked.runtime}: memory_utilisation"
    if server.memory:
        yield Setting(server.memory, share, field, share)
    else:
        yield Unsaid(field, share, server.why_not_memory)


def _formats(server: Server, chosen: Chosen) -> Iterator[Item]:
    asked = chosen.configuration
    shipped = _shipped(asked.model)
    weight, place = asked.weight_dtype or asked.dtype, f"{chosen.place}.weight_dtype"
    if asked.dtype in _DTYPES and server.dtype:
        yield Setting(server.dtype, _DTYPES[asked.dtype], f"{chosen.place}.dtype", asked.dtype)
    elif asked.dtype in _DTYPES:
        yield Unsaid(f"{chosen.place}.dtype", asked.dtype, f"{server.name} takes the dtype of the checkpoint")
    if asked.dtype == "fp8" or (weight == "fp8" and asked.dtype in _WIDE):
        yield _eight(server, chosen, shipped)
    elif asked.dtype not in _DTYPES:
        yield Unsaid(f"{chosen.place}.dtype", asked.dtype, f"serve a checkpoint that computes in {asked.dtype}")
    elif weight == shipped and weight:
        yield Unsaid(place, weight, "the checkpoint is in this format already: nothing is set")
    elif weight != asked.dtype:
        yield Unsaid(place, weight, f"serve a checkpoint whose weights are {weight} (--checkpoint PATH)")
    kv = asked.kv_dtype
    if kv and kv not in _WIDE:
        spelt = _KV[server.known_as].get(kv) if server.kv else None
        if spelt:
            yield Setting(server.kv, spelt, f"{chosen.place}.kv_dtype", kv)
        else:
            yield Unsaid(f"{chosen.place}.kv_dtype", kv, f"{server.name} has no flag for a cache in {kv}")
    elif kv and server.kv:
        yield Setting(server.kv, "auto", f"{chosen.place}.kv_dtype", kv, "that of the activations")


def _eight(server: Server, chosen: Chosen, shipped: str) -> Item:
    asked = chosen.configuration
    field, value = (
        (f"{chosen.place}.dtype", asked.dtype)
        if asked.dtype == "fp8"
        else (f"{chosen.place}.weight_dtype", asked.weight_dtype)
    )
    if shipped == "fp8":
        return Unsaid(field, value, "the checkpoint is in fp8 already: nothing is set")
    if not server.quantization:
        return Unsaid(field, value, "serve a checkpoint that is quantised to fp8 (--checkpoint PATH)")
    note = "quantises weights when it loads" + (
        "" if asked.dtype == "fp8" else "; where the device can it computes in fp8 too, which was not predicted"
    )
    return Setting(server.quantization, "fp8", field, value, note)


def _shipped(model: str) -> str:
    try:
        return load_model(model).quantization
    except InputError:
        return ""


def _unknown(chosen: Chosen) -> Iterator[Unsaid]:
    for key, value in chosen.unknown.items():
        yield Unsaid(f"{chosen.place}.{key}", str(value), "no flag stands for it")


def _doubts(server: Server, chosen: Chosen) -> Iterator[str]:
    runtime = chosen.configuration.runtime
    if not runtime.startswith(server.known_as):
        yield f"the prediction is of {runtime}: under {server.name} times are others"
