"""What lowering needs to know beside the architecture: number formats, sharding, fusions."""

from __future__ import annotations

from dataclasses import dataclass, field

from hardware_specs.dtypes import BITS
from hardware_specs.errors import InputError
from workloads.models.architecture import Architecture, Experts


@dataclass(frozen=True, slots=True)
class Precision:
    """Number formats of a run.

    ``compute`` is the dtype of matrix products of weights; ``attention`` that of attention and of activations
    in memory (never below 16 bit unless asked); ``weight_bits`` counts scales; ``dequantize`` says that weights
    are unpacked to ``compute`` before the product; ``head_bits`` is what the embedding and head are stored in.
    """

    compute: str = "bf16"
    attention: str = "bf16"
    weight_bits: float = 16.0
    dequantize: bool = False
    kv_bits: float = 16.0
    head_bits: float = 16.0

    @property
    def activation_bytes(self) -> float:
        """Bytes of one activation value in memory [B]."""
        return BITS[self.attention] / 8.0


@dataclass(frozen=True, slots=True)
class Sharding:
    """How one model replica is cut: ``tp`` ways across heads and widths, ``ep`` ways across experts,
    ``pp`` ways across layers. Experts are cut ``ep`` x (tp within an expert when ep = 1)."""

    tp: int = 1
    ep: int = 1
    pp: int = 1

    @property
    def expert_tp(self) -> int:
        """Ways one expert's width is cut: expert parallelism replaces tensor parallelism in the experts."""
        return self.tp if self.ep == 1 else 1


@dataclass(frozen=True, slots=True)
class Lowering:
    """Everything that shapes a graph beside the architecture and the phase."""

    precision: Precision = field(default_factory=Precision)
    sharding: Sharding = field(default_factory=Sharding)
    fusions: frozenset[str] = frozenset()

    def fused(self, name: str) -> bool:
        """Whether the runtime fuses ``name`` (see ``workloads.runtimes.record.FUSIONS``)."""
        return name in self.fusions


def check_sharding(arch: Architecture, sharding: Sharding) -> None:
    """Refuse a plan that cannot cut this model.

    Raises:
        InputError: tp does not divide the heads or widths, ep not the experts, pp more than layers.
    """
    tp, ep, pp = sharding.tp, sharding.ep, sharding.pp
    for flag, value in (("tp", tp), ("ep", ep), ("pp", pp)):
        if value < 1:
            raise InputError(f"--{flag} {value}: must be at least 1")
    if pp > arch.layers:
        raise InputError(f"--pp {pp}: {arch.id} has only {arch.layers} layers; use at most that")
    for group in arch.groups:
        heads = group.attention.heads if group.attention else 0
        if heads and heads % tp:
            raise InputError(f"--tp {tp}: does not divide the {heads} heads of {arch.id}; {_divisors(heads)}")
        if isinstance(group.mlp, Experts):
            experts = group.mlp.count
            if experts % ep:
                raise InputError(f"--ep {ep}: does not divide the {experts} experts of {arch.id}; {_divisors(experts)}")
    if ep > 1 and not any(isinstance(g.mlp, Experts) for g in arch.groups):
        raise InputError(f"--ep {ep}: {arch.id} has no experts; use --tp or --dp")


def _divisors(number: int) -> str:
    """The usable divisors of ``number``, in words."""
    usable = [d for d in range(1, min(number, 1024) + 1) if number % d == 0]
    return "allowed: " + ", ".join(map(str, usable))
