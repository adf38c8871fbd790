"""The record of a software runtime (vLLM 0.19, llama.cpp, torch eager ...)."""

from __future__ import annotations

import msgspec

from hardware_specs.facts import Bytes, Number, Seconds

FUSIONS: tuple[str, ...] = (
    "qkv",  # one product for queries, keys and values
    "gate_up",  # one product for the gate and up projections
    "residual_norm",  # the residual addition inside the next norm
    "rope",  # rotary embedding inside the attention kernel or the cache write
    "activation",  # the activation in the epilogue of the product before it
    "flash",  # attention never writes its scores
    "experts",  # all experts of a layer in one grouped call
    "accumulate",  # a weight's gradient is added to that of earlier micro-batches by the product that makes it
    "loss",  # cross-entropy of a training step in one kernel each way
    "quantize",  # activations of products in 8 bits are quantised in the kernel that makes them
    "sampling",  # draw inside the head's kernel
)
"""The fusions a runtime may claim; what is not fused is an operator, and a launch, of its own."""

OVERLAPS: dict[str, str] = {
    "gradients": "gradients are reduced while earlier layers are still in their backward",
    "weights": "weights that ZeRO cuts are gathered while the layer before is computed",
    "tensor": "exchanges of tensor parallel ranks move piece by piece beside the products before or after them",
    "pipeline": "activations are sent to the next stage while this one computes the next micro-batch",
}
"""What a training step may move beside its math."""


PACKED_KERNELS: dict[str, float] = {
    "": 0.0, "lanes": 0.25, "few": 0.5, "copy": 0.75, "row": 1.0, "tile": 8.0, "table": -1.0,
}  # fmt: skip
"""How kernels multiply packed weights by activations, as laws read it: "" unpacks them once for all rows; "row" and
"tile" take dot products in int8 with the packed weights, which one row, or 8, share; "few" does so for single rows on
GPUs alone, and for more where vector lanes are faster than 16-bit math; "copy" as well, and unpacks to a copy in memory
for many rows; "lanes" are shaders that multiply blocks with
one scale on vector lanes and unpack others; "table" adds up table entries, one look-up for each bit of a group of
weights (T-MAC, arXiv:2407.00088)."""

EXPERT_RUNS: dict[str, str] = {
    "routed": "the experts that tokens are routed to",
    "prompts": "every expert for every token of a prompt, with weights of 0 where none is routed; steps as routed",
    "all": "every expert for every token: a static graph holds a product for each",
}
"""Which experts a runtime computes."""


class Factors(msgspec.Struct, frozen=True):
    """Speed of this runtime's kernels relative to the device law, by family (1 = as the law; 0.5 = half).

    ``gemm`` and ``moe`` scale the rate of computing a product; ``gemv`` scales the rate at which a product
    (dense or expert) reads its weights, which bounds it at few rows. A runtime whose tensor-core kernels are
    poor may still stream weights well. None: as ``gemm``.
    """

    gemm: Number
    moe: Number
    attention_prefill: Number
    attention_decode: Number
    vector: Number
    collective: Number
    gemv: Number | None = None

    @property
    def weight_stream(self) -> float:
        """Rate of reading weights relative to the device law: ``gemv`` where it is given, else ``gemm``."""
        return (self.gemv or self.gemm).value


class Runtime(msgspec.Struct, frozen=True):
    """One software stack at one version.

    ``sparse`` lists the storage formats of weights that it has kernels for where they are 2:4 sparse, ``unpacks_zeros``
    those whose single zeros it leaves out of memory and puts back before the product.

    ``launch`` is the time to dispatch one operator when ``graph_mode`` is off [s]; ``graph_launch`` the gap between
    operators inside a captured graph or compiled program; ``host_step`` what the host adds to each iteration
    (scheduler, sampling, detokenisation), ``host_sequence`` what it adds for each sequence of the batch, and
    ``host_rank`` what it adds for each tensor parallel rank but the first, which it sends each step (0 where absent).
    ``memory_utilisation`` is the share of usable memory that weights, cache and activations may fill;
    ``free_memory_share`` the share of what weights, activations and the runtime leave free that the cache of a server
    takes, where the runtime sizes it so (then it goes before ``memory_utilisation``); ``context`` what the runtime
    itself holds on each device [B]. ``prefill_chunk`` is the most prompt tokens that one step takes (0: whole prompts),
    ``prefill_in_flight`` the most of these steps that pipeline stages hold at once (0: no limit of their own),
    ``launch_queue`` how many kernels the queue of a device holds before the one thread that launches for all stages
    blocks (absent: that does not limit it).
    ``collectives`` names the library that its devices communicate with, see ``workloads.collectives``.
    ``half_accumulate`` says that 16-bit products accumulate in fp16; ``vector_decode`` that decode attention runs on
    the vector units, one query head at a time, so that many query heads on one key are bound by compute,
    ``grouped_heads`` how many on one key its kernels for tensor cores take nevertheless (0: none). ``packed_kernel`` is
    one of ``PACKED_KERNELS``, ``experts`` one of ``EXPERT_RUNS``. ``pads_heads`` says that it pads heads so that any tp
    can cut them (where all share one key, ranks beyond the heads share the sequences); ``reserves_answers`` that a
    server admits a request only with cache for its whole answer, and so never takes one out again; ``async_scheduling``
    that the host prepares the next iteration of a server while the devices work on this one; ``launches_in_turn`` that
    one thread launches an operator on all chips of a replica, one after the other; ``runs_ahead`` that the launches of
    a step queue up before the devices, so that a step takes all its launches or all its kernels, whichever is longer,
    and not the longer of the two for each operator; ``trains`` that it can run a training step; ``shards_replicas``
    that data-parallel replicas each hold a part of the weights, gradients and optimizer states (ZeRO stage 3, FSDP);
    ``half_gradients`` the 16-bit formats of training whose gradients are kept and reduced in that format, all others'
    in fp32; ``sequence_parallel`` that tensor parallel ranks usually share the tokens of what they do not cut;
    ``selective`` what its selective recomputation runs again (see ``workloads.lowering.training.RECOMPUTED``);
    ``overlaps_tensor`` that what they exchange in training moves beside the products before or after it, piece by
    piece; ``contiguous_context`` that context parallel ranks have one piece of a sequence each, so that all wait for
    the last under a causal mask; ``sends_once`` that a token for several experts of a node goes there once;
    ``master_shards`` that shards of weights are the fp32 masters themselves, narrowed when they are gathered;
    ``loss_bytes`` what the loss holds of each logit at its peak, where it is more than 16 bits and their fp32 copy [B],
    ``split_loss_bytes`` that of logits that are cut over the vocabulary, where that differs; ``two_batches`` that
    inference runs a step as two halves, of which one computes while the other exchanges tokens with experts elsewhere;
    ``overlaps_gradients`` that gradients are reduced beside the backward; ``can_overlap`` what else it moves beside the
    math where a plan asks for it (see ``simulator.steps.overlap``). Of a server ``scheduler`` names how it batches ("":
    mixed, or as ``reserves_answers`` says), ``prefix_caching`` that it keeps prefixes unless told not to,
    ``max_num_seqs`` how many sequences run at once, ``max_num_seqs_large`` how many on devices of 70 GiB and more (0:
    not known). ``vendors`` empty: any vendor. ``aliases`` are what people write for
    it, see ``workloads.runtimes.match``.
    """

    id: str
    name: str
    version: str
    date: str
    device_classes: tuple[str, ...]
    fusions: tuple[str, ...]
    graph_mode: bool
    launch: Seconds
    graph_launch: Seconds
    host_step: Seconds
    memory_utilisation: Number
    context: Bytes
    factors: Factors
    host_sequence: Seconds | None = None
    host_rank: Seconds | None = None
    can_overlap: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    prefill_chunk: int = 0
    prefill_in_flight: int = 0
    launch_queue: Number | None = None
    collectives: str = "nccl"
    half_accumulate: bool = False
    packed_kernel: str = ""
    experts: str = "routed"
    vector_decode: bool = False
    grouped_heads: int = 0
    pads_heads: bool = False
    async_scheduling: bool = False
    runs_ahead: bool = False
    launches_in_turn: bool = False
    reserves_answers: bool = False
    free_memory_share: Number | None = None
    trains: bool = False
    shards_replicas: bool = False
    zero: int = 0
    two_batches: bool = False
    overlaps_gradients: bool = False
    half_gradients: tuple[str, ...] = ()
    sequence_parallel: bool = False
    selective: str = "selective"
    overlaps_tensor: bool = False
    contiguous_context: bool = False
    sends_once: bool = False
    master_shards: bool = False
    loss_bytes: Number | None = None
    split_loss_bytes: Number | None = None
    scheduler: str = ""
    prefix_caching: bool = False
    max_num_seqs: int = 0
    max_num_seqs_large: int = 0
    sparse: tuple[str, ...] = ()
    unpacks_zeros: tuple[str, ...] = ()
    notes: str = ""
