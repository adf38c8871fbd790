"""Reported runs beside what is predicted for them, from rates of the same cluster and of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hardware_specs.reliability import PublishedRun, load_reliability, reliability_names
from simulator.goodput.checkpoints import Checkpoint
from simulator.goodput.failures import job_rates
from simulator.goodput.goodput import goodput_of

LLAMA3_405B: Final = Checkpoint(bytes=405e9 * 14.0, node_bytes_per_s=25e9, storage_bytes_per_s=2e12)
"""bf16 weights, fp32 master copies and Adam moments; the storage's sustained 2 TB/s (arXiv:2407.21783, section 3.3.1);
the nodes' 25 GB/s are assumed and do not bind."""
_STEP_S: Final = 6.5
_TIME_S: Final = 54.0 * 86400.0


@dataclass(frozen=True)
class Comparison:
    """One reported quantity: "interruptions", "MTBF [s]" or "effective" (share of time), and what is predicted.

    ``rates`` names the facts of the prediction; ``same_cluster`` says that they come from this run or cluster;
    ``at_least`` that the report is a lower bound.
    """

    run: str
    quantity: str
    reported: float
    predicted: float
    rates: str
    same_cluster: bool
    at_least: bool = False

    @property
    def error(self) -> float:
        """Predicted over reported, less 1; 0 where a bound is kept."""
        if self.at_least and self.predicted >= self.reported:
            return 0.0
        return self.predicted / self.reported - 1.0


def compare_published(rates: tuple[str, ...] = ("h100", "a100")) -> tuple[Comparison, ...]:
    """All quantities of all reported runs, each predicted with each of ``rates``.

    Effective time is that of ``LLAMA3_405B`` checkpoints at the best interval, and of recovery as assumed: the reports
    say neither.
    """
    found: list[Comparison] = []
    for name in reliability_names():
        for run in load_reliability(name).runs:
            found.extend(row for by in rates for row in _rows(run, by, name == by))
    return tuple(found)


def _rows(run: PublishedRun, by: str, own: bool) -> list[Comparison]:
    spec = load_reliability(by)
    rates = job_rates(spec, run.devices, spec.devices)
    rows: list[Comparison] = []
    if run.interruptions and run.time:
        same = own and run.interruptions.origin in _origins(by)
        predicted = rates.per_s * run.time.value
        rows.append(Comparison(run.name, "interruptions", run.interruptions.value, predicted, by, same))
    if run.mtbf:
        same = own and run.mtbf.origin in _origins(by)
        rows.append(Comparison(run.name, "MTBF [s]", run.mtbf.value, rates.mtbf_s, by, same))
    if run.effective:
        same = own and run.effective.origin in _origins(by)
        time_s = run.time.value if run.time else _TIME_S
        made = goodput_of(_STEP_S, run.devices, spec, steps=int(time_s / _STEP_S), checkpoint=LLAMA3_405B, runs=1)
        share = Comparison(run.name, "effective", run.effective.value, made.goodput, by, same, run.at_least)
        rows.append(share)
    return rows


def _origins(name: str) -> set[str]:
    """Citations that the rates of these facts rest on."""
    spec = load_reliability(name)
    parts = (spec.device_mtbf, spec.host_mtbf, spec.network_mtbf, spec.software_mtbf)
    return {fact.origin for fact in parts if fact}
