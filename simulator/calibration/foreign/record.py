"""What a file of another benchmark becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from simulator.calibration.samples import Measurement

Phase = Literal["prompt", "generation", "both"]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One measured run of a whole model: no operator, so no ``Measurement``.

    Args:
        model: what the benchmark calls it, without the storage format ("llama 7B").
        params: parameters.
        size_bytes: all tensors of the file [B].
        quant: storage format as the benchmark writes it ("Q4_K - Medium").
        backend: what computed ("CPU", "CUDA", "Metal,BLAS").
        threads: CPU threads; 0 where the file does not say.
        phase: the prompt, the generation, or one after the other in one figure.
        tokens: new tokens of the run.
        depth: tokens that were in the cache before.
        tokens_per_s: mean over the repetitions, and their standard deviation ``sd`` (NaN where not given) [1/s].
        repeats: repetitions; 0 where the file does not say.
        gpu_layers: layers offloaded to a GPU; None where the file does not say.
        flash: flash attention; None where the file does not say.
        chunk: tokens that are computed together; 0 where the file does not say.
        source: name of the file.
    """

    model: str
    params: float
    size_bytes: float
    quant: str
    backend: str
    threads: int
    phase: Phase
    tokens: int
    depth: int
    tokens_per_s: float
    sd: float
    repeats: int = 0
    gpu_layers: int | None = None
    flash: bool | None = None
    chunk: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class Foreign:
    """What one file says.

    Args:
        kind: name of its format.
        measurements: calls as operators. Where the file gives no spread, ``low_s`` and ``high_s`` equal ``time_s``:
            unknown, not zero (``about["interval"]`` says what the ends are).
        about: what else it says of the machine and the run: plain texts by name.
        model_rows: runs of whole models.
        skipped: rows that were left out, with the reason, one text for each reason.
    """

    kind: str
    measurements: tuple[Measurement, ...]
    about: Mapping[str, str]
    model_rows: tuple[ModelRow, ...] = ()
    skipped: tuple[str, ...] = field(default=())
