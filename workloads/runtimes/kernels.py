"""What runtimes have no kernels for, or only a slow way round, and devices that only infer; one TOML each.

Kernels are facts of a runtime at a version: ``kernels/<runtime>.toml``, found in the user's ``kernels`` folder first. A
runtime without a file has kernels for everything, which is assumed.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final, Literal

import msgspec

from hardware_specs.catalogue import Catalogue
from hardware_specs.errors import InputError, nearest
from workloads.operator_record import FAMILIES, OpKind

Level = Literal["native", "emulated", "none"]

WORDS: Final = (
    "gemm", "convolution", "moe", "attention_prefill", "attention_decode", "softmax", "ssm_scan", "vector", "training",
)  # fmt: skip
"""What rules speak of: families, the kinds that some stacks lack, and training steps."""


class KernelRule(msgspec.Struct, frozen=True):
    """How a runtime runs what ``operator`` names ("attention": both phases).

    ``how`` says what it does, or what is missing; exactly one of ``source`` and ``assumed`` says where this is known
    from. ``dtypes`` limits it to some (none: all). ``devices`` are shell patterns of device names (none: all).
    """

    operator: str
    level: Level
    how: str
    source: str = ""
    assumed: str = ""
    dtypes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Where it is known from."""
        return self.source or f"Assumed: {self.assumed}"

    def speaks_of(self, word: str) -> bool:
        """Whether the rule is about ``word``; softmax is a part of attention."""
        attention = word.startswith("attention")
        return self.operator == word or (attention and self.operator in ("attention", "softmax"))


class RuntimeKernels(msgspec.Struct, frozen=True):
    """The rules of the runtime ``id``."""

    id: str
    rules: tuple[KernelRule, ...] = ()


class InferenceOnly(msgspec.Struct, frozen=True):
    """Devices (shell patterns) that no training stack runs on, and where that is known from."""

    id: str
    devices: tuple[str, ...]
    source: str = ""
    assumed: str = ""

    @property
    def origin(self) -> str:
        """Where it is known from."""
        return self.source or f"Assumed: {self.assumed}"


_HERE = Path(__file__).parent
_KERNELS = Catalogue("kernel", RuntimeKernels, _HERE / "kernels")
_ONLY = Catalogue("inference_only_device", InferenceOnly, _HERE / "inference_only")


def kernel_rules(runtime: str) -> tuple[KernelRule, ...]:
    """The rules of the runtime called ``runtime``; none where no file speaks of it.

    Raises:
        InputError: a broken file, an operator that does not exist, or a rule without source.
    """
    if runtime not in _KERNELS.paths:
        return ()
    found = _KERNELS.load(runtime).rules
    known = (*WORDS, "attention")
    for index, rule in enumerate(found):
        place = f"kernels of {runtime}: rules[{index}]"
        if rule.operator not in known:
            close = nearest(rule.operator, known)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{place}: operator {rule.operator!r} is not allowed{hint} (allowed: {', '.join(known)})")
        if bool(rule.source) == bool(rule.assumed):
            raise InputError(f"{place}: needs exactly one of source and assumed")
    return found


def kernel_files() -> tuple[str, ...]:
    """Runtimes that a file speaks of."""
    return _KERNELS.names()


@cache
def inference_only() -> tuple[InferenceOnly, ...]:
    """All records of devices that only infer."""
    return tuple(_ONLY.load(name) for name in _ONLY.names())


def word_of(kind: OpKind, family: str) -> str:
    """What rules call an operator of this kind and family; "" where they say nothing of such."""
    if kind in (OpKind.CONVOLUTION, OpKind.SSM_SCAN, OpKind.SOFTMAX):
        return kind.name.lower()
    return family if family in WORDS and family in FAMILIES else ""
