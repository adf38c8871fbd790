"""What is asked of ``silicost recommend``: a workload, bounds, an objective, budgets, hardware."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from hardware_specs.devices import device_names, load_device
from hardware_specs.errors import InputError, clipped, nearest
from hardware_specs.records import DEVICE_CLASSES, DeviceSpec
from hardware_specs.sites import DEFAULT_SITE
from hardware_specs.units import parse_quantity
from simulator.explore.objectives import Constraint
from simulator.metrics import BY_NAME

Kind = Literal["inference", "traffic", "training"]
OBJECTIVES: Final[Mapping[str, Mapping[Kind, str]]] = {
    "usd": {
        "inference": "usd_per_million_output_tokens", "traffic": "usd_per_million_output_tokens",
        "training": "usd_per_step",
    },
    "energy": {"inference": "j_per_output_token", "traffic": "j_per_output_token", "training": "device_j"},
    "latency": {"inference": "e2e_s", "traffic": "e2e_s", "training": "step_time_s"},
    "throughput": {"inference": "output_tokens_per_s", "training": "step_time_s"},
}  # fmt: skip
"""The metric that an objective means, by kind of workload; a training step of a given batch is a throughput as well."""
_BOUND: Final = re.compile(r"\s*([a-z0-9_]+)\s*(<=|>=|<|>|=)\s*([^@]+?)\s*(?:@\s*p(\d{1,2}(?:\.\d+)?)\s*)?")
_LATENCIES: Final = ("ttft", "tpot", "e2e", "queue")
MOST_BATCH: Final = 1024
DEVICES: Final = 8
TRAINERS: Final = (8, 16, 32, 64, 128, 256)
"""Numbers of devices that a training step is tried on until it fits, where nobody says how many."""


class Limit(NamedTuple):
    """A bound of the objectives: ``share`` of the requests must keep it, where requests differ."""

    constraint: Constraint
    share: float


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One question.

    Args:
        slo: "ttft_s<0.5,tpot_s<0.05".
        objective: of ``OBJECTIVES``.
        rate: requests a second; of traffic.
        batch: sequences at once; 0: all powers of two.
        global_batch, seq_len, lora_rank: of training.
        dtype, weight_dtype, kv_dtype: formats that are allowed, by commas; what they do to quality is not known here.
        count: numbers of devices that are tried, by commas; without it up to ``most_devices``.
        budget_usd: "20 USD/h" what all devices may cost an hour (so is a bare number), "9000 USD" their purchase.
        budget_w: rated power of all devices [W].
        only: classes of devices; devices: names; by commas.
        prices: "rent", "own" or "" (rent, and where none is known the purchase over its life).
        utilisation: share of the hours at work, of what is owned.
        top: candidates whose chances are compared.
    """

    model: str
    name: str = ""
    slo: str = ""
    objective: str = "usd"
    isl: int = 0
    osl: int = 0
    batch: int = 0
    rate: float = 0.0
    global_batch: int = 0
    seq_len: int = 0
    lora_rank: int = 0
    dtype: str = "bf16"
    weight_dtype: str = ""
    kv_dtype: str = ""
    runtime: str = ""
    count: str = ""
    most_devices: int = DEVICES
    budget_usd: str = ""
    budget_w: float = 0.0
    only: str = ""
    devices: str = ""
    site: str = DEFAULT_SITE
    prices: str = ""
    utilisation: float = 0.6
    top: int = 5

    @property
    def kind(self) -> Kind:
        """What the workload is."""
        if self.global_batch or self.seq_len:
            return "training"
        return "traffic" if self.rate else "inference"

    @property
    def metric(self) -> str:
        """The metric that ranks."""
        return OBJECTIVES[self.objective][self.kind]

    @property
    def higher(self) -> bool:
        """Whether more of it is better."""
        known = BY_NAME.get(self.metric)
        return known is not None and known.better == "higher"

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The bounds that must hold."""
        return tuple(_limit(part) for part in self.slo.split(",") if part.strip())

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of devices to be tried; () where none is said."""
        return tuple(_whole(part, "--count") for part in self.count.split(",") if part.strip())

    @property
    def usd_per_h(self) -> float:
        """What all devices may cost an hour [USD/h]; infinite without a bound."""
        text = self.budget_usd.strip()
        if not text or not _is_hourly(text):
            return float("inf")
        return parse_quantity(text if "/" in text else f"{text} USD/h", "usd_per_s", "--budget-usd") * 3600.0

    @property
    def purchase_usd(self) -> float:
        """What all devices may cost at once [USD]; infinite without a bound."""
        text = self.budget_usd.strip()
        return float("inf") if not text or _is_hourly(text) else parse_quantity(text, "usd", "--budget-usd")


def question_of(given: Mapping[str, Any], place: str) -> Question:
    """A question from flags or from a table of a file, checked.

    Raises:
        InputError: an unknown key, a value that is none, or parts that contradict each other.
    """
    for key in given:
        if key not in Question.__struct_fields__:
            close = nearest(key, Question.__struct_fields__, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(
                f"{place}: {clipped(key)!r}: unknown key{hint} (allowed: {', '.join(Question.__struct_fields__)})"
            )
    if not given.get("model"):
        raise InputError(f"{place}: --model: which model?")
    for key in ("batch", "rate", "budget_w"):
        if isinstance(given.get(key), (int, float)) and not given[key] > 0:
            raise InputError(
                f"{place}: --{key.replace('_', '-')} {given[key]:g}: must be above 0; leave it out for none"
            )
    values = {key: _joined(value) if key in _TEXTS else value for key, value in given.items()}
    try:
        asked = msgspec.convert(values, Question)
    except msgspec.ValidationError as error:
        raise InputError(f"{place}: {error}") from None
    _check(asked, place)
    return asked


_TEXTS: Final = ("dtype", "weight_dtype", "count", "only", "devices", "budget_usd")


def _joined(value: Any) -> str:
    """A list as flags have it."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _check(asked: Question, place: str) -> None:
    if asked.objective not in OBJECTIVES:
        close = nearest(asked.objective, OBJECTIVES, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{place}: --objective {clipped(asked.objective)!r}{hint} (allowed: {', '.join(OBJECTIVES)})")
    if asked.kind not in OBJECTIVES[asked.objective]:
        raise InputError(f"{place}: --objective {asked.objective}: at a given --rate all do as much; ask for usd")
    if asked.kind == "training":
        if not (asked.global_batch > 0 and asked.seq_len > 0):
            raise InputError(f"{place}: training needs --global-batch and --seq-len, both above 0")
        if asked.isl or asked.osl or asked.rate or asked.batch:
            raise InputError(f"{place}: --isl, --osl, --batch and --rate do not belong to training")
    elif not (asked.isl > 0 and asked.osl > 0):
        raise InputError(f"{place}: needs --isl and --osl, both above 0 (training: --global-batch and --seq-len)")
    for name in ("batch", "rate", "budget_w", "lora_rank"):
        if not 0.0 <= getattr(asked, name) < 1e12:
            raise InputError(f"{place}: --{name.replace('_', '-')} {getattr(asked, name):g}: must not be below 0")
    if asked.prices not in ("", "rent", "own"):
        raise InputError(f"{place}: --prices {clipped(asked.prices)!r}: must be rent or own")
    if not 0.0 < asked.utilisation <= 1.0:
        raise InputError(f"{place}: --utilisation {asked.utilisation:g}: must be above 0 and at most 1")
    if not 1 <= asked.most_devices <= 4096:
        raise InputError(f"{place}: --most-devices {asked.most_devices}: must be from 1 to 4096")
    if not 2 <= asked.top <= 16:
        raise InputError(f"{place}: --top {asked.top}: must be from 2 to 16")
    if not asked.usd_per_h > 0.0 or not asked.purchase_usd > 0.0:
        raise InputError(f"{place}: --budget-usd {asked.budget_usd}: must be above 0")
    _ = asked.counts, asked.limits
    for limit in asked.limits:
        if asked.kind == "training" and limit.constraint.metric not in ("step_time_s", "usd_per_step"):
            raise InputError(f"{place}: --slo {limit.constraint.metric}: of training step_time_s or usd_per_step")
        if asked.kind == "traffic" and limit.constraint.metric.removesuffix("_s") not in _LATENCIES:
            raise InputError(f"{place}: --slo {limit.constraint.metric}: of traffic {', '.join(_LATENCIES)}")
    devices_of(asked, place)


def devices_of(asked: Question, place: str = "--devices") -> tuple[DeviceSpec, ...]:
    """The devices that are looked at, in the order of the catalogue.

    Raises:
        InputError: an unknown class or device, or none is left.
    """
    wanted = [part.strip() for part in asked.devices.split(",") if part.strip()]
    classes = [part.strip() for part in asked.only.split(",") if part.strip()]
    for name in classes:
        if name not in DEVICE_CLASSES:
            close = nearest(name, DEVICE_CLASSES, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"--only {clipped(name)!r}: no class{hint} (allowed: {', '.join(DEVICE_CLASSES)})")
    found = tuple(load_device(name) for name in wanted or device_names())
    kept = tuple(spec for spec in found if not classes or spec.device_class in classes)
    if not kept:
        raise InputError(f"{place}: no device is left of {asked.devices or 'all'} --only {asked.only}")
    return kept


def _limit(text: str) -> Limit:
    """One bound.

    Raises:
        InputError: no bound, an unknown metric, a value that is none, or a share that is none.
    """
    found = _BOUND.fullmatch(text)
    if found is None:
        raise InputError(f"--slo {clipped(text.strip())!r}: must be as ttft_s<0.5 or tpot<50ms@p90")
    name = f"{found[1]}_s" if found[1] in _LATENCIES else found[1]
    if name not in BY_NAME and name != "queue_s":
        close = nearest(name, BY_NAME, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"--slo {clipped(found[1])!r}: unknown metric{hint}")
    dimension = BY_NAME[name].dimension if name in BY_NAME else "s"
    try:
        value = float(found[3])
    except ValueError:
        value = parse_quantity(found[3], dimension, f"--slo {name}")
    if not 0.0 < value < float("inf"):
        raise InputError(f"--slo {clipped(text.strip())!r}: must be above 0")
    better = "lower" if name == "queue_s" else BY_NAME[name].better
    if (">" in found[2]) != (better == "higher") and better in ("lower", "higher"):
        sign = "<" if better == "lower" else ">"
        raise InputError(
            f"--slo {clipped(text.strip())!r}: {better} is better; write {found[1]}{sign}{found[3].strip()}"
        )
    share = float(found[4] or 99) / 100.0
    if not 0.0 < share < 1.0:
        raise InputError(f"--slo {clipped(text.strip())!r}: must be between p1 and p99.9")
    return Limit(Constraint(name, ">=" if ">" in found[2] else "<=", value), share)


def _whole(text: str, flag: str) -> int:
    if not text.strip().isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise InputError(f"{flag} {clipped(text)!r}: must be whole numbers from 1 to 1000000, as 1,2,4")
    return int(text)


def _is_hourly(text: str) -> bool:
    """Whether a budget is one of an hour: "20 USD/h" or a bare number, which may be one that is refused."""
    return "/" in text or _is_bare(text)


def _is_bare(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
