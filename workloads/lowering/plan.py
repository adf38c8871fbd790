"""What lowering needs to know beside the architecture: number formats, sharding, fusions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

from hardware_specs.dtypes import BITS
from hardware_specs.errors import InputError, UnknownName
from workloads.models.architecture import Architecture, Attention, Experts
from workloads.recipes import Scaling


@dataclass(frozen=True, slots=True)
class Precision:
    """Number formats of a run.

    ``compute`` is the dtype of matrix products of weights; ``attention`` that of attention and of activations in memory
    (never below 16 bit unless asked); ``weight_bits`` counts scales; ``dequantize`` says that weights are unpacked to
    ``compute`` before the product (as in ``Operator``); ``head_bits`` is what the embedding and head are
    stored in. ``scaling`` is how training casts the operands of 8-bit products, whose weights are kept in
    ``weight_bits`` all the same (None: nothing is cast); ``scale_group`` how many packed weights share a scale that is
    packed itself (0: none).

    Of sparse weights of products in the stack (experts, embedding and head stay dense) ``sparse_bits`` are the bits per
    weight with zeros left out (0: none are), and ``sparse_gain`` how many weights the matrix units pass for each that
    they multiply, of which products reach the part ``sparse_reached``; at 1 the zeros are put back before the product.
    ``quantize`` "static" or "dynamic" says that activations are quantised to ``compute`` by operators, with scales
    known before or of their own largest values ("": the device law has it in its products).
    """

    compute: str = "bf16"
    attention: str = "bf16"
    weight_bits: float = 16.0
    dequantize: int = 0
    kv_bits: float = 16.0
    head_bits: float = 16.0
    scaling: Scaling | None = None
    scale_group: float = 0.0
    sparse_bits: float = 0.0
    sparse_gain: float = 1.0
    sparse_reached: float = 1.0
    quantize: str = ""

    @property
    def stack_bits(self) -> float:
        """Bits per weight of products in the stack, experts aside."""
        return self.sparse_bits or self.weight_bits

    @property
    def stack_dequantize(self) -> int:
        """As ``dequantize``, of products in the stack: zeros that were left out are put back as well."""
        return int(self.dequantize) or int(self.sparse_bits > 0.0 and self.sparse_gain == 1.0)

    @property
    def activation_bytes(self) -> float:
        """Bytes of one activation value in memory [B]."""
        return BITS[self.attention] / 8.0

    @property
    def gathered_weight_bytes(self) -> float:
        """Bytes of a weight of a linear layer as shards of it are gathered [B]."""
        return self.activation_bytes if self.scaling is None else self.scaling.gathered_weight_bytes

    @property
    def wide(self) -> Precision:
        """The precision of layers that an 8-bit recipe leaves in 16 bits."""
        return replace(self, compute=self.attention, scaling=None)


CONTEXT_EXCHANGES = {
    "p2p": "keys and values round a ring, beside attention (Liu et al., arXiv:2310.01889)",
    "all_gather": "keys and values before attention (Llama Team, arXiv:2407.21783, section 3.3.2)",
    "a2a": "tokens for heads before attention, and back behind it (Jacobs et al., arXiv:2309.14509)",
}
"""What context parallel ranks may exchange."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """How one model replica is cut: ``tp`` ways across heads and widths, ``ep`` ways across experts,
    ``pp`` ways across layers. Experts are cut ``ep`` x (tp within an expert when ep = 1). In training ``cp`` ranks
    share the tokens of each sequence, and with ``sequence`` the tp ranks share those of what is not cut across widths
    (norms, residual additions; Korthikanti et al., arXiv:2205.05198).

    What does not divide is rounded up: a rank has at least one key-value head (repeated where there are fewer heads
    than ranks), and widths and vocabularies are padded to a multiple of the ways. ``stages`` are the layers of each
    pipeline stage, all pieces of an interleaved schedule together (none: as equal as can be). ``etp`` ways cut each
    expert (0: as above); ``cp_comm`` is what context parallel ranks exchange, see ``CONTEXT_EXCHANGES``.
    """

    tp: int = 1
    ep: int = 1
    pp: int = 1
    cp: int = 1
    sequence: bool = False
    stages: tuple[int, ...] = ()
    etp: int = 0
    cp_comm: str = "p2p"

    @property
    def whole_share(self) -> float:
        """Share of the tokens that a rank has of what is not cut across widths."""
        return 1.0 / self.tp if self.sequence else 1.0

    @property
    def expert_tp(self) -> int:
        """Ways one expert's width is cut: expert parallelism replaces tensor parallelism in the experts."""
        return self.etp or (self.tp if self.ep == 1 else 1)

    @property
    def sends_tokens(self) -> bool:
        """Whether ranks send their tokens to experts elsewhere, rather than have a part of every expert."""
        return self.ep > 1 or self.etp > 0

    @property
    def heads_ways(self) -> int:
        """Ways the heads of attention are cut: over tp, and over cp where ranks exchange tokens for heads."""
        return self.tp * (self.cp if self.cp_comm == "a2a" else 1)


def part(whole: float, ways: int) -> float:
    """The part of one of ``ways`` ranks, rounded up: what real stacks pad heads, widths and vocabularies to."""
    return float(-(-whole // ways))


def shares_sequences(attention: Attention, tp: int) -> bool:
    """Whether ranks share the sequences of a batch in decode attention: more ranks than query heads on one key.

    Prompts are cut over heads. The cache of a sequence lies with the rank that has it.

    Pope et al., "Efficiently Scaling Transformer Inference", arXiv:2211.05102, section 3.3.
    """
    return attention.kv_heads == 1 and attention.kind != "mla" and tp > attention.heads


def stage_of(layer: int, layers: int, stages: int) -> int:
    """The pipeline stage of a layer (both counted from 0): runs of nearly equal length, bottom to top."""
    return layer * stages // layers


def stage_lengths(layers: int, stages: int) -> tuple[int, ...]:
    """Layers of each of ``stages`` stages of nearly equal length, as ``stage_of`` spreads them."""
    firsts = [-(-stage * layers // stages) for stage in range(stages + 1)]
    return tuple(after - first for first, after in pairwise(firsts))


@lru_cache(maxsize=4096)
def stage_layers(counts: tuple[int, ...], stages: int, lengths: tuple[int, ...] = ()) -> tuple[tuple[int, ...], ...]:
    """How many layers of each group stand on each stage, shape [stages][groups].

    Args:
        counts: layers of each group; groups lie one after the other.
        stages: pipeline stages.
        lengths: layers of each stage; none: nearly equal ones.
    """
    found, first = [], 0
    for length in lengths or stage_lengths(sum(counts), stages):
        row, start = [], 0
        for count in counts:
            row.append(max(min(first + length, start + count) - max(first, start), 0))
            start += count
        found.append(tuple(row))
        first += length
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Lowering:
    """Everything that shapes a graph beside the architecture and the phase."""

    precision: Precision = field(default_factory=Precision)
    sharding: Sharding = field(default_factory=Sharding)
    fusions: frozenset[str] = frozenset()
    experts: str = "routed"
    """One of ``workloads.runtimes.record.EXPERT_RUNS``."""

    def fused(self, name: str) -> bool:
        """Whether the runtime fuses ``name`` (see ``workloads.runtimes.record.FUSIONS``)."""
        return name in self.fusions


def check_sharding(arch: Architecture, sharding: Sharding, pads_heads: bool = False) -> None:
    """Refuse a plan that cannot cut this model; where heads are padded any tp up to their number will do.

    Raises:
        InputError: tp does not divide the heads, or neither divides the key-value heads nor is a multiple of them;
            ep does not divide the experts; pp more than layers; stages that are not pp or do not hold all layers.
    """
    tp, ep, pp = sharding.tp, sharding.ep, sharding.pp
    for flag, value in (("tp", tp), ("ep", ep), ("pp", pp)):
        if value < 1:
            raise InputError(f"--{flag} {value}: must be at least 1")
    if pp > arch.layers:
        raise InputError(f"--pp {pp}: {arch.id} has only {arch.layers} layers; use at most that")
    _check_stages(arch, sharding)
    for group in arch.groups:
        if group.attention is not None:
            _check_heads(arch.id, group.attention, tp, pads_heads)
            _check_exchange(arch.id, group.attention, sharding)
        if isinstance(group.mlp, Experts):
            experts = group.mlp.count
            if experts % ep:
                raise InputError(f"--ep {ep}: does not divide the {experts} experts of {arch.id}; {_divisors(experts)}")
            if sharding.etp > group.mlp.width:
                raise InputError(
                    f"--etp {sharding.etp}: experts of {arch.id} have only {group.mlp.width:g} inner units"
                )
    for flag, ways in (("ep", ep > 1), ("etp", sharding.etp > 0)):
        if ways and not any(isinstance(g.mlp, Experts) for g in arch.groups):
            raise InputError(f"--{flag} {getattr(sharding, flag)}: {arch.id} has no experts; use --tp or --dp")


def _check_stages(arch: Architecture, sharding: Sharding) -> None:
    """Refuse lengths of pipeline stages that are not those of this model."""
    lengths = sharding.stages
    if not lengths:
        return
    said = ",".join(map(str, lengths))
    if len(lengths) != sharding.pp:
        raise InputError(f"--stages {said}: {len(lengths)} stages, but --pp is {sharding.pp}; give one number for each")
    if min(lengths) < 1:
        raise InputError(f"--stages {said}: each must hold at least 1 layer")
    if sum(lengths) != arch.layers:
        near = ",".join(map(str, stage_lengths(arch.layers, sharding.pp)))
        raise InputError(f"--stages {said}: {sum(lengths)} layers, but {arch.id} has {arch.layers}; for example {near}")


def _check_exchange(model: str, attention: Attention, sharding: Sharding) -> None:
    """Refuse to exchange tokens for heads where there are too few of these."""
    if sharding.cp_comm not in CONTEXT_EXCHANGES:
        known = tuple(CONTEXT_EXCHANGES)
        raise UnknownName("exchange", sharding.cp_comm, known, f"allowed: {', '.join(known)}", "--cp-comm")
    if sharding.cp_comm == "a2a" and sharding.cp > 1 and attention.heads % sharding.heads_ways:
        raise InputError(
            f"--cp-comm a2a: tp x cp = {sharding.heads_ways} does not divide the {attention.heads} heads of {model}; "
            "use p2p"
        )


def _check_heads(model: str, attention: Attention, tp: int, pads_heads: bool) -> None:
    """Refuse a tp that leaves a rank a part of a head. Latents of MLA are not cut, so they have no say.

    Where heads are padded and all share one key, ranks beyond the heads take sequences of the batch (Pope et al.,
    arXiv:2211.05102, section 3.3): a rank has at most the work of one head.
    """
    heads = attention.heads
    shared = heads if attention.kind == "mla" else attention.kv_heads
    if pads_heads:
        if tp > heads and shared > 1:
            raise InputError(f"--tp {tp}: {model} has only {heads} heads; use at most that")
        return
    if heads % tp == 0 and (shared % tp == 0 or tp % shared == 0):
        return
    usable = [d for d in range(1, min(heads, 1024) + 1) if heads % d == 0 and (shared % d == 0 or d % shared == 0)]
    what = f"{heads} heads" if heads % tp else f"{shared} key-value heads"
    raise InputError(f"--tp {tp}: does not divide the {what} of {model}; allowed: {', '.join(map(str, usable))}")


def _divisors(number: int) -> str:
    """The usable divisors of ``number``, in words."""
    usable = [d for d in range(1, min(number, 1024) + 1) if number % d == 0]
    return "allowed: " + ", ".join(map(str, usable))
