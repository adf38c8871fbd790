"""Which operator family and dtype runs natively, emulated or not at all on which device under which runtime.

Dtypes follow from the peaks of the device: native where it has units for one, else at the rate of what stands in for
it; 8- and 4-bit formats without units are for stored weights alone, which are unpacked before each product. Kernels
follow from what is known of the runtime (``workloads.runtimes.kernels``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final, Literal

from hardware_specs.dtypes import BITS, COMPUTE_DTYPES, FALLBACKS, PASSES
from hardware_specs.errors import InputError
from hardware_specs.records import DeviceSpec
from simulator.devices.model import native_dtype
from simulator.scenario import Pool, StaticBatch, TrainStep, TrainThenInfer, Workload
from workloads.lowering.dataflow import Dataflow
from workloads.models.architecture import Architecture, Experts
from workloads.runtimes.catalogue import default_runtime, load_all_runtimes, runs_on
from workloads.runtimes.kernels import WORDS, InferenceOnly, KernelRule, inference_only, kernel_rules
from workloads.runtimes.record import Runtime

Level = Literal["native", "emulated", "weights only", "none"]
_ORDER: Final = ("native", "emulated", "weights only", "none")

_WIDE: Final = frozenset({"attention_prefill", "attention_decode", "softmax", "ssm_scan", "vector"})
"""Words whose math stays in 16 bits or more beside narrow products."""

_FLOW_WORDS: Final = {
    "gemm": ("gemm",), "matmul": ("gemm",), "convolution": ("convolution",), "experts": ("moe",),
    "attention": ("attention_prefill",), "softmax": ("softmax",), "loss": ("softmax",),
}  # fmt: skip
"""What operators of a dataflow need, by kind; all others are of the vector units."""

OPERATOR_NAMES: Final = {
    "moe": ("moe.experts",), "ssm_scan": ("ssm.scan",), "attention_prefill": ("attention.scores",),
    "attention_decode": ("attention.scores",),
}  # fmt: skip
"""Names that lowered models give to what a word stands for."""


@dataclass(frozen=True, slots=True)
class Support:
    """One cell of the matrix.

    ``runs_as`` is the dtype at whose rate it runs ("" where it does not), ``rate`` that rate over the native one of
    16-bit math (None: not known or not run) and ``how`` what stands behind a level other than native; ``origin`` is
    the source, or begins with "Assumed"; ``instead`` what to use.
    """

    device: str
    runtime: str
    operator: str
    dtype: str
    level: Level
    runs_as: str = ""
    rate: float | None = None
    how: str = ""
    origin: str = ""
    instead: str = ""


def support(spec: DeviceSpec, runtime: Runtime, word: str, dtype: str) -> Support:
    """How ``spec`` under ``runtime`` runs operators that ``word`` names (``WORDS``) in ``dtype``: the lesser of what
    its units and what the runtime's kernels can do."""
    units = _by_units(spec, runtime, word, dtype)
    rule = rule_of(spec, runtime, word, dtype)
    if word == "training":
        return _training(spec, runtime, dtype, units)
    if rule is None or _ORDER.index(rule.level) < _ORDER.index(units.level):
        return units
    found: Level = rule.level
    return Support(
        spec.id, runtime.id, word, dtype, found, units.runs_as if found != "none" else "",
        None, rule.how, rule.origin,
        _other_runtime(spec, word, dtype, runtime) if found == "none" else "",
    )  # fmt: skip


def rule_of(spec: DeviceSpec, runtime: Runtime, word: str, dtype: str) -> KernelRule | None:
    """The first rule of the runtime on ``word`` that holds for this device and dtype."""
    for rule in kernel_rules(runtime.id):
        fits = not rule.devices or any(fnmatchcase(spec.id, pattern) for pattern in rule.devices)
        if fits and rule.speaks_of(word) and (not rule.dtypes or dtype in rule.dtypes):
            return rule
    return None


def _by_units(spec: DeviceSpec, runtime: Runtime, word: str, dtype: str) -> Support:
    """What the units of the device make of ``dtype``."""
    peaks = spec.compute.peaks
    try:
        native = native_dtype(spec, dtype)
    except InputError:
        return _without_units(spec, runtime, word, dtype)
    if BITS[dtype] < 16 and word in _WIDE:
        wide = next((d for d in FALLBACKS["bf16"] if d in peaks), "")
        how = "stays in 16 bits beside narrow products" if wide else ""
        return Support(
            spec.id, runtime.id, word, dtype, "emulated" if wide else "native", wide or native,
            _rate(spec, wide or native), how, "docs: physics, number formats" if wide else _peak_origin(spec, native),
        )  # fmt: skip
    if native == dtype:
        return Support(
            spec.id, runtime.id, word, dtype, "native", dtype, _rate(spec, dtype), "", _peak_origin(spec, dtype)
        )
    passes = PASSES.get((dtype, native), 1.0)
    slower = f"its {dtype} units are slower" if dtype in peaks else f"it has no {dtype} units"
    how = f"as {passes:g} {native} products each: {slower}" if passes > 1.0 else f"as {native}: {slower}"
    return Support(
        spec.id, runtime.id, word, dtype, "emulated", native, _rate(spec, native, passes), how,
        _peak_origin(spec, native), f"--dtype {native}" if BITS[native] == BITS[dtype] else "",
    )  # fmt: skip


def _without_units(spec: DeviceSpec, runtime: Runtime, word: str, dtype: str) -> Support:
    """A dtype that nothing on the device stands in for: narrow weights can be stored in it, and unpacked."""
    peaks = spec.compute.peaks
    wide = next((d for d in FALLBACKS["bf16"] if d in peaks), "")
    has = ", ".join(peaks)
    if BITS[dtype] < 16 and wide and word in ("gemm", "moe", "convolution"):
        how = (
            f"weights stored in {dtype} are unpacked to {wide} before each product (one vector operation a weight); "
            f"activations stay in {wide}"
        )
        rate = _rate(spec, wide)
        instead = f"--dtype {wide} --weight-dtype {dtype}"
        return Support(spec.id, runtime.id, word, dtype, "weights only", wide, rate, how, f"units: {has}", instead)
    if BITS[dtype] < 16 and wide and word in _WIDE:
        how = "stays in 16 bits beside narrow weights"
        return Support(spec.id, runtime.id, word, dtype, "emulated", wide, _rate(spec, wide), how, f"units: {has}")
    return Support(
        spec.id, runtime.id, word, dtype, "none", how=f"no units for {dtype} and none that stand in for them",
        origin=f"units: {has}", instead=f"--dtype {wide or next(iter(peaks))}",
    )  # fmt: skip


def _rate(spec: DeviceSpec, native: str, passes: float = 1.0) -> float | None:
    """Rate of ``native`` over that of 16-bit math on the device; None where it has none."""
    peaks = spec.compute.peaks
    base = next((d for d in FALLBACKS["bf16"] if d in peaks), "")
    return peaks[native].value / passes / peaks[base].value if base else None


def _peak_origin(spec: DeviceSpec, dtype: str) -> str:
    fact = spec.compute.peaks[dtype]
    return f"Assumed: {fact.origin}" if fact.mark.value == "assumed" else fact.origin


@lru_cache(maxsize=1024)
def _only_infers(device: str) -> InferenceOnly | None:
    """The record that says that a device only infers."""
    return next((r for r in inference_only() if any(fnmatchcase(device, p) for p in r.devices)), None)


def _training(spec: DeviceSpec, runtime: Runtime, dtype: str, units: Support) -> Support:
    """Whether a training step runs."""
    only = _only_infers(spec.id)
    if only is not None:
        return Support(
            spec.id, runtime.id, "training", dtype, "none", how="the device only infers", origin=only.origin,
            instead="another device (silicost compat)",
        )  # fmt: skip
    if not runtime.trains:
        usual = default_runtime(spec, training=True)
        instead = f"--runtime {usual.id}" if usual.trains else "another device (silicost compat)"
        return Support(
            spec.id, runtime.id, "training", dtype, "none", how="the runtime does not train",
            origin=f"runtime {runtime.id}", instead=instead,
        )  # fmt: skip
    if units.level == "weights only":
        return Support(
            spec.id, runtime.id, "training", dtype, "none", how=f"weights that are trained are not kept in {dtype}",
            origin=units.origin, instead=f"--dtype {units.runs_as}",
        )  # fmt: skip
    return units


def _other_runtime(spec: DeviceSpec, word: str, dtype: str, runtime: Runtime) -> str:
    """What to use for what a runtime has no kernel for: another runtime of the device, or its host."""
    if rule_of(spec, runtime, word, "fp16") is None:
        return "--dtype fp16"
    # Where a runtime is for a class it may not be for every part of it: only CPUs and GPUs take any.
    others = [
        other.id for other in load_all_runtimes()
        if spec.device_class in ("cpu", "gpu") and other.id not in (runtime.id, "ideal") and runs_on(other, spec)
        and getattr(rule_of(spec, other, word, dtype), "level", "native") != "none"
    ]  # fmt: skip
    fallback = "--fallback host" if word in OPERATOR_NAMES else "another device"
    return f"--runtime {others[0]}, or {fallback}" if others else fallback


def matrix(
    pairs: Iterable[tuple[DeviceSpec, Runtime]], words: Iterable[str] = WORDS, dtypes: Iterable[str] = COMPUTE_DTYPES
) -> list[Support]:
    """Every cell for these devices under these runtimes."""
    asked, numbers = tuple(words), tuple(dtypes)
    return [support(spec, runtime, word, dtype) for spec, runtime in pairs for word in asked for dtype in numbers]


def words_of(work: Workload) -> tuple[str, ...]:
    """What a workload needs kernels for, in the order of ``WORDS``."""
    found: set[str] = {"gemm"}
    if isinstance(work, Dataflow):
        found = {word for o in work.operators for word in _FLOW_WORDS.get(o.kind, ("vector",))}
        found |= {"training"} if work.train else set()
    if isinstance(work, (StaticBatch, TrainThenInfer)):
        batch = work.infer if isinstance(work, TrainThenInfer) else work
        found |= _of_model(batch.model, decodes=batch.osl > 1 and not batch.model.is_encoder)
    if isinstance(work, TrainStep):
        found |= _of_model(work.model, decodes=False) | {"training"}
    return tuple(word for word in WORDS if word in found)


def _of_model(model: Architecture, decodes: bool) -> set[str]:
    found: set[str] = set()
    for group in model.groups:
        if group.attention is not None:
            found |= {"attention_prefill"} | ({"attention_decode"} if decodes else set())
        if isinstance(group.mlp, Experts):
            found.add("moe")
        if group.ssm is not None and group.ssm.scans:
            found.add("ssm_scan")
    return found


def missing(pool: Pool, words: Iterable[str]) -> tuple[Support, ...]:
    """What of ``words`` does not run on a pool at all. Dtypes that a device has no units for are refused elsewhere."""
    spec, runtime, dtype = pool.device, pool.runtime, pool.formats.dtype
    if dtype not in COMPUTE_DTYPES:
        return ()
    lacks = any(rule.level == "none" for rule in kernel_rules(runtime.id))
    doubtful = [word for word in words if lacks or word == "training"]
    cells = (support(spec, runtime, word, dtype) for word in doubtful)
    return tuple(cell for cell in cells if cell.level == "none" and not cell.origin.startswith("units"))


def check_kernels(pool: Pool, words: Iterable[str]) -> None:
    """Refuse a pool that must run what its device or runtime cannot.

    Raises:
        InputError: the operator, why it does not run, the source, and what to use instead.
    """
    for cell in missing(pool, words):
        raise InputError(refusal(cell), "compatibility")


def refusal(cell: Support) -> str:
    """One line on a cell that does not run."""
    instead = f"; use {cell.instead.removesuffix(' (silicost compat)')}" if cell.instead else ""
    return (
        f"{cell.operator} in {cell.dtype} does not run on {cell.device} under {cell.runtime}: {cell.how} "
        f"({cell.origin}){instead} (silicost compat --device {cell.device})"
    )
