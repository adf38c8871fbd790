"""From Megatron's words to a training configuration; NeMo's are turned into them first."""

from __future__ import annotations

from typing import Final, Literal

from workloads.lowering.recompute import policy_of
from workloads.models.architecture import Architecture, Experts
from workloads.models.catalogue import load_model
from workloads.training_configs.megatron_model import NUMBERS, OTHERS, architecture_of
from workloads.training_configs.record import (
    ContextExchange,
    Form,
    Offload,
    Optimizer,
    Overlap,
    Policy,
    Recompute,
    Schedule,
    TrainedIn,
    TrainingConfig,
)
from workloads.training_configs.settings import Settings, wrong

_OPTIMIZERS: Final[dict[str, Optimizer]] = {
    "adam": "adam", "adamw": "adam", "fused_adam": "adam", "hybridadam": "adam", "distributed_fused_adam": "adam",
    "mcore_distributed_optim": "adam", "megatron_fused_adam": "adam", "adam8bit": "adam-8bit", "adam-8bit": "adam-8bit",
    "adamw8bit": "adam-8bit", "adafactor": "adafactor", "sgd": "sgd", "muon": "muon", "dist_muon": "muon",
    "adaptive_muon": "muon",
}  # fmt: skip
_SHARES: Final = ("distributed_fused_adam", "mcore_distributed_optim")
"""Names of optimizers whose states are shared by the replicas."""
_STRATEGIES: Final = {
    "no_shard": 0, "optim": 1, "optim_grads": 2, "optim_grads_params": 3, "full": 3, "hybrid": 3, "grad": 2,
}  # fmt: skip
_EXCHANGES: Final[dict[str, ContextExchange]] = {
    "p2p": "ring", "a2a": "all-to-all", "all_gather": "all-gather", "a2a+p2p": "hierarchical",
}  # fmt: skip
_GRANULARITIES: Final[dict[str, Policy]] = {"none": "none", "selective": "selective", "full": "full"}
_BACKENDS: Final = {"auto": None, "flash": True, "fused": True, "unfused": False, "local": False}
_CHANGES: Final = "changes the cost; not counted"


def config_of(s: Settings, form: Form, name: str, model: str, runtime: str, causal: bool = True) -> TrainingConfig:
    """The configuration.

    Args:
        name: id of the architecture that is built.
        model: name of a model to take instead ("": build it).

    Raises:
        InputError: a number is missing or cannot be.
    """
    tp = s.whole("tensor_model_parallel_size", "model_parallel_size", default=1)
    pp = s.whole("pipeline_model_parallel_size", default=1)
    arch = load_model(model) if model else architecture_of(s, name, tp, causal)
    if model:
        s.used.update((*NUMBERS, *OTHERS))
    vpp = _chunks(s, arch, pp)
    sparse = any(isinstance(group.mlp, Experts) for group in arch.groups)
    zero, copies = _sharding(s)
    global_batch = s.maybe_whole("global_batch_size")
    micro_batch = s.whole("micro_batch_size", "batch_size")
    _remarks(s)
    adapters = s.whole("lora_rank", default=0, least=0, most=65536)
    return TrainingConfig(
        form=form,
        model=model or arch,
        seq_len=s.whole("seq_length", "encoder_seq_length"),
        micro_batch=micro_batch,
        global_batch=global_batch,
        replica_batch=micro_batch if global_batch is None else None,
        tp=tp, pp=pp, vpp=vpp, cp=s.whole("context_parallel_size", default=1),
        ep=s.whole("expert_model_parallel_size", default=1),
        etp=s.whole("expert_tensor_parallel_size", default=tp) if sparse else 1,
        first_stage=s.whole("decoder_first_pipeline_num_layers", "num_layers_in_first_pipeline_stage", default=0),
        last_stage=s.whole("decoder_last_pipeline_num_layers", "num_layers_in_last_pipeline_stage", default=0),
        sequence_parallel=s.flag("sequence_parallel") and tp > 1,
        cp_exchange=s.word(_EXCHANGES, "cp_comm_type", default="p2p"),
        zero=zero,
        shard=s.whole("shard_ways", default=0),
        copies=copies,
        schedule=_schedule(s, vpp),
        recompute=_recompute(s),
        precision=_precision(s),
        fp8_recipe=s.text("fp8_recipe"),
        gradients=_gradients(s),
        optimizer=_optimizer(s),
        offload=_offload(s),
        overlap=_overlap(s, vpp),
        flash_attention=_flash(s),
        expert_capacity=_capacity(s),
        lora_rank=adapters,
        lora_modules=s.words("lora_target_modules") if adapters else (),
        qlora=s.flag("qlora"),
        nodes=s.maybe_whole("nodes"),
        devices=_devices(s),
        runtime=runtime,
        steps=_steps(s, global_batch),
        checkpoint_interval=s.maybe_whole("save_interval", most=10**9),
        checkpoint_async=s.flag("async_save"),
        left_out=s.rest(),
        assumed=tuple(s.assumed),
    )  # fmt: skip


def _chunks(s: Settings, arch: Architecture, pp: int) -> int:
    """Chunks of layers on each rank: given, or from the layers of one chunk."""
    given = s.maybe_whole("virtual_pipeline_model_parallel_size", "num_virtual_stages_per_pipeline_rank")
    found = s.find("num_layers_per_virtual_pipeline_stage")
    if given is not None or found is None:
        return given or 1
    layers = s.whole("num_layers_per_virtual_pipeline_stage")
    if arch.layers % (pp * layers):
        raise wrong(found, f"a number of layers of which pp {pp} x vpp together make {arch.layers}")
    return arch.layers // (pp * layers)


def _sharding(s: Settings) -> tuple[int, int]:
    """The stage of sharding over replicas, and how many whole copies there are."""
    zero = s.whole("zero_stage", default=0, least=0, most=3)
    shares = s.text("optimizer").lower() in _SHARES or s.flag("use_distributed_optimizer")
    zero = max(zero, int(shares))
    strategy = s.word(_STRATEGIES, "data_parallel_sharding_strategy", "fsdp_sharding_strategy", default="no_shard")
    of_megatron = s.any_flag("use_megatron_fsdp", "use_custom_fsdp")
    if s.flag("use_torch_fsdp2"):
        zero = 3
    elif of_megatron:
        zero = strategy or zero
    return zero, s.whole("num_distributed_optimizer_instances", default=1)


def _schedule(s: Settings, vpp: int) -> Schedule:
    found = s.find("schedules_method")
    if found is not None:
        if found.value != "dualpipev":
            raise wrong(found, ("dualpipev",))
        s.used.discard("schedules_method")
        s.remark("counted as DualPipe: the same order, with two copies of the weights where DualPipeV has one",
                 "schedules_method")  # fmt: skip
        return "dualpipe"
    if s.flag("zero_bubble_v_schedule"):
        return "zb-v"
    if s.any_flag("enable_zero_bubble", "enable_zb_runtime"):
        return "zb-h1"
    return "interleaved" if vpp > 1 else "1f1b"


def _recompute(s: Settings) -> Recompute:
    whole = s.any_flag("checkpoint_activations", "deepspeed_activation_checkpointing")
    policy = s.word(_GRANULARITIES, "recompute_granularity", default="full" if whole else "none")
    if policy == "none" and s.flag("recompute_activations"):
        policy = "selective"
    method = s.word({"uniform": "uniform", "block": "block"}, "recompute_method", "activations_checkpoint_method",
                    default="uniform")  # fmt: skip
    layers = s.whole("recompute_num_layers", "checkpoint_num_layers", default=1, most=10_000)
    modules = s.words("recompute_modules")
    if modules:
        policy_of(f"modules:{','.join(modules)}", f"{s.file}: {s.spelt('recompute_modules')}")
    s.remark(_CHANGES, "distribute_saved_activations", "distribute_checkpointed_activations")
    if policy == "selective":
        return Recompute(policy, modules=modules)
    if policy == "full":
        return Recompute(policy, first=layers if method == "block" else 0, span=layers if method == "uniform" else 1)
    return Recompute()


def _precision(s: Settings) -> TrainedIn:
    if s.has("fp4_format", "fp4"):
        raise wrong(s.given["fp4_format" if s.has("fp4_format") else "fp4"], "no fp4; fp32, bf16, fp16 or fp8")
    fp8 = s.text("fp8_format", "fp8", default="none").lower() not in ("none", "null", "false")
    fp8 = s.any_flag("fp8_hybrid", "fp8_e4m3") or fp8
    bf16, fp16 = s.flag("bf16"), s.flag("fp16")
    if fp8:
        return "fp8"
    return "bf16" if bf16 else "fp16" if fp16 else "fp32"


def _gradients(s: Settings) -> Literal["fp32", "bf16", "fp16"]:
    """Megatron sums bf16 gradients in fp32 unless told otherwise, fp16 ones in fp16."""
    in_fp32 = s.flag("accumulate_allreduce_grads_in_fp32", "grad_reduce_in_fp32", default=not s.flag("fp16"))
    in_bf16 = s.flag("grad_reduce_in_bf16")
    if in_bf16 or (not in_fp32 and not s.flag("fp16")):
        return "bf16"
    return "fp32" if in_fp32 else "fp16"


def _optimizer(s: Settings) -> Optimizer:
    optimizer = s.word(_OPTIMIZERS, "optimizer", default="adam")
    states = [s.text(key).lower() for key in ("exp_avg_dtype", "exp_avg_sq_dtype")]
    return "adam-8bit" if optimizer == "adam" and states == ["fp8", "fp8"] else optimizer


def _offload(s: Settings) -> Offload:
    share = s.number("optimizer_offload_fraction", least=0.0, most=1.0, default=1.0) or 0.0
    on = s.any_flag("optimizer_cpu_offload", "cpu_optimizer") or s.text("optimizer").lower() == "hybridadam"
    layers = s.whole("cpu_offloading_num_layers", default=0, least=0)
    layerwise = s.flag("cpu_offloading", default=layers > 0)
    fine = s.flag("fine_grained_activation_offloading")
    modules = s.words("offload_modules")
    activations, weights = s.flag("cpu_offloading_activations", default=True), s.flag("cpu_offloading_weights")
    return Offload(
        activations=fine or (layerwise and activations),
        weights=layerwise and weights,
        optimizer=share if on else 0.0,
        layers=layers if layerwise else 0,
        modules=modules if fine else (),
    )


def _overlap(s: Settings, vpp: int) -> Overlap:
    return Overlap(
        gradients=s.flag("overlap_grad_reduce", "overlap_grad_sync"),
        parameters=s.flag("overlap_param_gather", "overlap_param_sync"),
        tensor=s.flag("tp_comm_overlap", "ub_tp_comm_overlap"),
        pipeline=s.flag("overlap_p2p_comm", default=vpp > 1) and not s.flag("no_overlap_p2p_communication"),
        experts=s.flag("overlap_moe_expert_parallel_comm"),
    )


def _flash(s: Settings) -> bool | None:
    backend = s.word(_BACKENDS, "attention_backend", default="auto")
    if s.has("use_flash_attn", "use_flash_attn_v2", "use_flash_attention"):
        return s.flag("use_flash_attn", "use_flash_attn_v2", "use_flash_attention")
    return backend


def _capacity(s: Settings) -> float | None:
    factor = s.number("moe_expert_capacity_factor", least=-1.0, most=1e4)
    return factor if factor is not None and factor > 0.0 else None


def _devices(s: Settings) -> int | None:
    """Nodes times devices of a node, or what the file says of all of them."""
    every = s.maybe_whole("world_size")
    nodes, of_a_node = s.maybe_whole("nodes"), s.maybe_whole("devices_per_node", most=100_000)
    if every is None and nodes is not None and of_a_node is not None:
        return nodes * of_a_node
    return every


def _steps(s: Settings, global_batch: int | None) -> int | None:
    steps, samples = s.maybe_whole("train_iters", most=10**12), s.maybe_whole("train_samples", most=10**15)
    if steps is not None or samples is None or global_batch is None:
        return steps
    s.assumed.append(f"{samples // global_batch} steps: {samples} sequences in batches of {global_batch}")
    return max(samples // global_batch, 1)


def _remarks(s: Settings) -> None:
    """What is left out although it changes the cost."""
    s.remark("the batch grows up to the global batch; only that is counted", "rampup_batch_size")
    s.remark("the layers that predict further tokens are not counted", "mtp_num_layers")
    s.remark("stages are cut into equal numbers of layers", "account_for_embedding_in_pipeline_split",
             "account_for_loss_in_pipeline_split", "pipeline_model_parallel_layout", "pipeline_split_rank",
             "pp_partition_method")  # fmt: skip
    s.remark("attention is counted over the whole sequence", "window_size", "window_attn_skip_freq")
    s.remark(_CHANGES, "moe_extended_tp", "moe_shared_expert_overlap", "delay_wgrad_compute", "enable_cuda_graph",
             "external_cuda_graph", "cuda_graph_impl", "fp8_param_gather", "fp8_params", "moe_token_dispatcher_type",
             "use_precision_aware_optimizer", "main_grads_dtype", "main_params_dtype",
             "moe_layer_recompute")  # fmt: skip
