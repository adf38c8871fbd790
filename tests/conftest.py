"""Calibrations of one's own, as ``silicost calibrate`` writes them; afterwards the process has forgotten them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from hardware_specs import calibrations, twins
from hardware_specs.calibrations import Calibration, Calibrations, Residuals
from hardware_specs.devices import load_device
from hardware_specs.facts import Fit
from hardware_specs.records import DeviceSpec
from simulator.calibration.entry import texts_of
from simulator.calibration.write import machine_text
from simulator.devices import model
from simulator.devices.registry import Parameter, law_of
from workloads.operators import FAMILY, OpKind

KINDS = (
    (OpKind.GEMM, OpKind.BATCHED_GEMM),
    (OpKind.ATTENTION_PREFILL,),
    (OpKind.ATTENTION_DECODE,),
    tuple(kind for kind, family in FAMILY.items() if family == "vector" and kind != OpKind.STREAM_COPY),
)
RUNTIME = "torch-eager-2.4"
LEFT = Residuals(30, 10, 0.1, 0.08, 0.05, 0.1, (-0.3, -0.2, 0.2, 0.3))

MakeFile = Callable[..., Path]


def middle(parameter: Parameter) -> float:
    """A value inside the range of a parameter, whatever the law is now."""
    if parameter.low > 0.0:
        return math.sqrt(parameter.low * parameter.high)
    return 0.5 * (parameter.low + parameter.high)


def entries_of(name: str, scale: float, width: float, runtime: str, without: str) -> Iterator[Calibration]:
    """Entries for all that a decoder does, each value ``scale`` times that of the middle of its range."""
    free = [parameter for parameter in law_of("cpu").parameters if parameter.free and parameter.name != without]
    for kinds in KINDS:
        own = [parameter for parameter in free if FAMILY[kinds[0]] in parameter.families]
        values = {each.name: min(max(scale * middle(each), each.low), each.high) for each in own}
        ends = [texts_of({key: value * by for key, value in values.items()}, own) for by in (1.0 / width, width)]
        for dtype in ("fp32", "bf16"):
            label = "vector" if len(kinds) > 2 else kinds[0].name.lower()
            yield Calibration(
                operators=tuple(kind.name.lower() for kind in kinds),
                parameters=texts_of(values, own),
                fit=Fit(
                    f"{name}-{label}-{dtype}", ("torch.products",), "a rule", "2026-11-25", (name,), 30, ("m", "n")
                ),
                residuals=LEFT,
                dtypes=(dtype,),
                runtimes=(runtime,),
                intervals={key: (ends[0][key], ends[1][key]) for key in values},
            )


def device_of(name: str) -> DeviceSpec:
    """A small CPU."""
    like = load_device("epyc-9654")
    peaks = {dtype: like.compute.peaks[dtype] for dtype in ("fp32", "bf16")}
    compute = msgspec.structs.replace(like.compute, peaks=peaks)
    return DeviceSpec(name, "cpu", "AMD", "My CPU", RUNTIME, compute, like.memory, cache=like.cache, year=2026)


@pytest.fixture
def calibration_file(tmp_path: Path) -> Iterator[MakeFile]:
    """``calibration_file("one.toml", device="my-cpu", scale=0.9)``: writes a calibration and returns its path.

    Args of the function:
        file: its name.
        device: id of the device that it brings, or with ``brings`` off, of one that is known.
        scale: of every parameter.
        width: factor between a value and the ends of its interval.
        environment: texts of the machine.
        without: a parameter that an older law did not have.
        change: what to replace in the text of the file.
    """

    def make(
        file: str = "mine.toml", *, device: str = "my-cpu", brings: bool = True, scale: float = 1.0, width: float = 1.2,
        runtime: str = RUNTIME, environment: Mapping[str, str] | None = None, without: str = "",
        change: tuple[str, str] = ("", ""),
    ) -> Path:  # fmt: skip
        found = Calibrations(
            id=device, calibrations=tuple(entries_of(device, scale, width, runtime, without)),
            device=device_of(device) if brings else None, environment=dict(environment or {}),
        )  # fmt: skip
        text = machine_text(found)
        assert change[0] in text
        place = tmp_path / file
        place.write_text(text.replace(*change) if change[0] else text)
        return place

    catalogue = calibrations._CATALOGUE
    before, loaded = dict(catalogue.paths), dict(catalogue._loaded)
    yield make
    catalogue.paths.clear()
    catalogue.paths.update(before)
    catalogue._loaded.clear()
    catalogue._loaded.update(loaded)
    calibrations.calibrations_digest.cache_clear()
    twins._calibrated.cache_clear()
    model._COMPILED.clear()
