"""Measured rows of inference as cases: what each is of, the class that scores it, and what is predicted for it.

Rows of quality A and B whose batch is known: exact (``static``: one batch that runs to its end) or a mean. The mean
power of a run is a case too, of joules, where its table states no joules itself.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from hardware_specs.calibrations import calibrations_of, use_calibration
from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Mark
from hardware_specs.records import DeviceSpec
from hardware_specs.threads import with_threads
from simulator.calibration.write import calibrations_text
from simulator.devices.priors import idle_w, is_sram_resident, tdp_w
from simulator.devices.registry import law_of
from simulator.scenario import Scenario
from simulator.validation import logged_power
from simulator.validation.assumptions import complete
from simulator.validation.cells import Row, Unpredictable, measured_value, number, reason_of
from simulator.validation.inference import DECODE_METRICS, PROMPT_METRICS, energy_per_token, published_of
from simulator.validation.inference_point import Point, point_of
from simulator.validation.one_pool import device_of, one_pool
from simulator.validation.points import conditions_in, read_points
from simulator.validation.predictor import Predictor
from workloads.runtimes.catalogue import load_runtime
from workloads.runtimes.match import match_runtime
from workloads.runtimes.record import Runtime

Values = Mapping[str, float]

CLASSES: Final = ("gpu-servers", "gpu-others", "asic", "cpu", "tpu", "fpga", "sram-asic", "joules")
"""NVIDIA GPUs under server software; GPUs of others, and all under software for personal use (llama.cpp, MLX) ...;
energy and power of any device."""
PERSONAL: Final = ("llamacpp", "ik-llamacpp", "mlx")
CONSUMER: Final = ("rtx-", "gtx-", "titan-", "quadro-", "jetson-")
KNOWN_BATCH: Final = ("", "exact", "static", "mean")
ENERGY: Final = "j_per_output_token"
POWER: Final = "power_w"
"""What the cases of mean power are called; the metric of their row stands in the cell ``RAN``, the share
of their log in which weights are loaded in ``LOADING``."""
RAN, LOADING = "ran", "loading"
SHORTEST_POWER_S: Final = 2.0
"""Loggers read about once a second: of shorter runs they see the rest before and after."""
MOST_AT_REST: Final = 0.2
"""Share of the rated power up to which a mean power is of a device at rest, whatever the run: an A100 of 400 W with a
model loaded rests at 70 W."""
MOST_LOADING: Final = 0.3
"""Share of a log that may be loading, whose rate is known to a factor of two at best."""
_BYTES: Final = re.compile(r"\bbytes=(\d+)")
SETTINGS: Final = ("model", "weight_dtype", "kv_dtype", "tp", "pp", "dp", "batch", "input_len", "output_len")
"""Cells in which runs of one device and software differ."""
SKIPPED: Final = 1.0
"""The error that a row counts as that cannot be predicted."""
SHIPPED: Final = Path("hardware_specs/data/calibrations").resolve()


class Case(NamedTuple):
    """A measured row: what it says, where it is from, and the class, device and runtime that it is of."""

    row: Row
    source: str
    table: str
    kind: str
    device: str
    runtime: str
    reason: str = ""
    """Why it has no device or runtime; "" where it has both."""

    @property
    def model(self) -> str:
        return self.row.get("model", "")

    @property
    def metric(self) -> str:
        return self.row.get("metric", "")

    @property
    def observed(self) -> float:
        return measured_value(self.row, "measured")

    @property
    def is_energy(self) -> bool:
        """Whether it is of energy or power, which runtimes are not fitted to."""
        return self.metric in (ENERGY, POWER)

    @property
    def key(self) -> str:
        """Rows of one key are thinned together."""
        return f"{self.device} {self.model}"


class Guess(NamedTuple):
    """A prediction, or why there is none; whether the numbers behind it were fitted without its row."""

    predicted: float
    reason: str = ""
    refitted: bool = True


class Spared(Predictor):
    """Predictions with other runtimes and device specs than the catalogue's."""

    def __init__(self, runtimes: Mapping[str, Runtime], specs: Mapping[str, DeviceSpec] | None = None) -> None:
        super().__init__({}, list(runtimes.values()))
        self.specs = specs or {}

    def scenario(self, point: Point) -> Scenario:
        """As ``Predictor.scenario``, with the spec that is given for the device."""
        made = super().scenario(point)
        spec = self.specs.get(point.device)
        if spec is None:
            return made
        spec = with_threads(spec, point.threads)
        return one_pool(made.workload, spec, made.pools[0].runtime, point.plan, point.formats, point.plan.devices)


def judged(places: Sequence[Path], where: str = "") -> list[Case]:
    """Rows of quality A and B with a known batch, and the powers that they state."""
    found = []
    for points in read_points(places, "inference"):
        rows = list(zip(points.records(), points.sources(), strict=True))
        has_joules = any(row.get("metric") == ENERGY for row, _ in rows)
        kept = []
        for row, source in rows:
            stated = row.get("quality", "A") in ("A", "B") and row.get("batch_kind", "") in KNOWN_BATCH
            if not stated or not all(
                condition.holds([row.get(condition.column, "")])[0] for condition in conditions_in(where)
            ):
                continue
            found.append(case_of(row, source, points.name))
            if not has_joules:
                kept.append((row, source))
        found += [case_of(row, source, points.name) for row, source in powers(kept)]
    return found


def powers(rows: Sequence[tuple[Row, str]]) -> Iterator[tuple[Row, str]]:
    """Rows of the mean power of runs. Tables repeat that of a run beside each of its metrics: the longest counts.

    Powers whose scope is unclear are left out, those of runs of less than ``SHORTEST_POWER_S``, those of devices at
    rest, and those of logs that are loading for more than ``MOST_LOADING``.
    """
    runs: dict[tuple[str, ...], tuple[Row, str]] = {}
    for row, source in rows:
        if (
            row.get(POWER)
            and not row.get("energy_scope", "").startswith("unclear")
            and seconds_of(row) >= SHORTEST_POWER_S
            and not at_rest(row)
            and loading_share(row) <= MOST_LOADING
        ):
            run = (source, *(row.get(name, "") for name in ("engine", "device", *SETTINGS, POWER)))
            if run not in runs or row.get("metric", "") not in (*PROMPT_METRICS, *DECODE_METRICS):
                runs[run] = (row, source)
    for row, source in runs.values():
        ran = {RAN: row.get("metric", ""), LOADING: f"{loading_share(row):.6f}"}
        yield {**row, "metric": POWER, "measured": row[POWER], **ran}, source


def seconds_of(row: Row) -> float:
    """How long the run of a row takes at least, by what was measured [s]."""
    metric, measured = row.get("metric", ""), measured_value(row, "measured")
    if metric.endswith("tokens_per_s"):
        column = "input_len" if metric in PROMPT_METRICS else "output_len"
        return (number(row, column) or 0.0) * (number(row, "batch") or 1.0) / measured
    return measured * ((number(row, "output_len") or 1.0) if metric == "tpot_s" else 1.0)


def at_rest(row: Row) -> bool:
    """Whether the power of a row is that of devices at rest."""
    try:
        rated_w = tdp_w(device_of(row.get("device", "")))
    except InputError:
        return False
    return measured_value(row, POWER) <= MOST_AT_REST * rated_w * (number(row, "n_devices") or 1.0)


def loading_share(row: Row) -> float:
    """Share of the log of a row's power in which weights are loaded; 0 where the log is of the run alone."""
    size = _BYTES.search(row.get("note", ""))
    if not size or not logged_power.is_logged_whole(row):
        return 0.0
    prompts = row.get("metric", "") in PROMPT_METRICS
    runs = logged_power.PROMPT_RUNS if prompts else logged_power.GENERATION_RUNS
    return logged_power.loading_share(float(size[1]), seconds_of(row), runs)


def case_of(row: Row, source: str, table_name: str) -> Case:
    """The class, device and runtime of a row."""
    try:
        spec = device_of(row.get("device", ""))
        runtime = match_runtime(row.get("engine", ""), spec, published_of((source, table_name)))[0].id
    except InputError as error:
        kind = {"gpu": "gpu-others"}.get(row.get("device_class", ""), row.get("device_class", ""))
        kind = "joules" if row.get("metric") in (ENERGY, POWER) else kind
        return Case(row, source, table_name, kind, row.get("device", ""), "", reason_of(error))
    return Case(row, source, table_name, class_of(spec, runtime, row.get("metric", "")), spec.id, runtime)


def class_of(spec: DeviceSpec, runtime: str, metric: str) -> str:
    """The class in which a row is scored."""
    if metric in (ENERGY, POWER):
        return "joules"
    if spec.device_class == "asic":
        return "sram-asic" if is_sram_resident(spec) else "asic"
    if spec.device_class != "gpu":
        return spec.device_class
    personal = runtime.startswith(PERSONAL) or spec.id.startswith(CONSUMER) or spec.vendor != "NVIDIA"
    return "gpu-others" if personal else "gpu-servers"


def under_law(spec: DeviceSpec, values: Values) -> DeviceSpec:
    """``spec`` with other values of law parameters."""
    known = {parameter.name: parameter.dimension for parameter in law_of(spec.device_class).parameters}
    facts = {name: Fact(value, known[name], f"{value:.4g}", Mark.CALIBRATED, "folds") for name, value in values.items()}
    return replace(spec, parameters={**spec.parameters, **facts})


def datasheet(spec: DeviceSpec) -> DeviceSpec:
    """``spec`` without the parameters that were fitted to rows of it."""
    kept = {name: fact for name, fact in spec.parameters.items() if fact.mark != Mark.CALIBRATED}
    return replace(spec, parameters=kept)


@contextmanager
def hidden(device: str) -> Iterator[None]:
    """Let no calibration hold meanwhile that saw rows of ``device``."""
    with tempfile.TemporaryDirectory() as folder:
        shipped = []
        for name in (device, load_device(device).device_class):
            entries = calibrations_of(name)
            kept = [entry for entry in entries if name != device and device not in entry.fit.devices]
            if len(kept) != len(entries):
                file = Path(folder) / f"{name}.toml"
                file.write_text(calibrations_text(kept, "What did not see it.") if kept else "calibrations = []\n")
                use_calibration(file)
                shipped.append(SHIPPED / file.name)
        try:
            yield
        finally:
            for file in shipped:
                use_calibration(file)


def guess_of(case: Case, predictor: Predictor) -> Guess:
    """The prediction of a case under its runtime."""
    if case.reason:
        return Guess(np.nan, case.reason)
    try:
        spec = load_device(case.device)
        row = {**case.row, "metric": case.row[RAN]} if case.metric == POWER else case.row
        cells, _ = complete(row, spec, load_runtime(case.runtime), {})
        point = predictor.settled(point_of(cells, case.device, case.runtime))
        if case.metric == POWER:
            loading = float(case.row[LOADING])
            rest_w = idle_w(spec) * point.plan.devices
            return Guess(logged_power.logged_w(mean_power_w(predictor, point), rest_w, loading))
        result = predictor.result(point)
        value = energy_per_token(result, cells) if case.metric == ENERGY else result.metrics[case.metric]
        if value is None:
            raise Unpredictable(result.reasons.get(case.metric, "no value"))
        return Guess(value)
    except InputError as error:
        return Guess(np.nan, reason_of(error))


def mean_power_w(predictor: Predictor, point: Point) -> float:
    """Mean power of all devices while ``point`` runs [W]; rows of prompts alone are points of one token."""
    result = predictor.result(point)
    return result.energy.device / (result.metrics["e2e_s"] or np.nan)


def error_of(case: Case, guess: Guess) -> float:
    """Absolute relative error; 100% where nothing was predicted."""
    return abs(guess.predicted / case.observed - 1.0) if np.isfinite(guess.predicted) else SKIPPED
