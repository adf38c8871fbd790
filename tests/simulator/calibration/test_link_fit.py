"""Links: known latencies and bandwidths come back from noisy rows, and the file that is written is a link."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardware_specs.catalogue import Catalogue
from hardware_specs.errors import InputError
from hardware_specs.facts import Mark
from hardware_specs.links import load_link
from hardware_specs.records import LinkSpec
from simulator.calibration.link_fit import fit_line, fit_link, hops_of, link_text, write_link
from simulator.calibration.samples import Measurement
from workloads.operators import Operator, OpKind, collective, transfer

US = 1e-6
SIZES = tuple(float(4**k) for k in range(14))
ONES = np.ones(len(SIZES))


def row(operator: Operator, seconds: float, variant: str, probe: str = "network", source: str = "") -> Measurement:
    return Measurement(probe, operator, seconds, 0.95 * seconds, 1.05 * seconds, variant=variant, source=source)


def transfers(
    latency_s: float, rate: float, variant: str, noise: float = 0.0, sizes: tuple[float, ...] = SIZES, seed: int = 0
) -> list[Measurement]:
    off = np.exp(noise * np.random.default_rng(seed).standard_normal(len(sizes)))
    name = variant.split(".")[0]
    return [
        row(transfer(name, size), (latency_s + size / rate) * factor, variant)
        for size, factor in zip(sizes, off.tolist(), strict=True)
    ]


@pytest.mark.parametrize(("noise", "close"), [(0.0, 1e-6), (0.05, 0.08)])
def test_latency_and_bandwidth_are_recovered(noise: float, close: float) -> None:
    fit = fit_link(transfers(20 * US, 1.1e9, "tcp.pingpong", noise))
    assert fit.single.latency_s == pytest.approx(20 * US, rel=close)
    assert fit.bytes_per_s == pytest.approx(1.1e9, rel=close)
    assert fit.single.rows == len(SIZES) and [size for size, _ in fit.single.left_out] == list(SIZES)


def test_standard_errors_cover_the_truth() -> None:
    inside = 0
    for seed in range(40):
        line = fit_link(transfers(20 * US, 1.1e9, "tcp.pingpong", 0.1, seed=seed)).single
        inside += abs(np.log(line.latency_s / (20 * US))) < 1.96 * line.latency_sd
        inside += abs(np.log(line.bytes_per_s / 1.1e9)) < 1.96 * line.bandwidth_sd
    assert 62 <= inside <= 80


def test_an_outlier_hardly_moves_the_line() -> None:
    rows = transfers(20 * US, 1.1e9, "tcp.pingpong")
    rows[6] = replace(rows[6], time_s=10.0 * rows[6].time_s)
    line = fit_link(rows).single
    assert (line.latency_s, line.bytes_per_s) == (pytest.approx(20 * US, rel=0.05), pytest.approx(1.1e9, rel=0.05))
    worst = max(line.left_out, key=lambda each: abs(each.log_ratio))
    assert worst.message_bytes == SIZES[6] and worst.log_ratio == pytest.approx(-np.log(10.0), abs=0.1)


def test_errors_are_of_sizes_that_fits_had_not_seen() -> None:
    bent = [
        row(transfer("tcp", size), 20 * US + size / (1e9 if size < 1e6 else 0.5e9), "tcp.pingpong") for size in SIZES
    ]
    line = fit_link(bent).single
    assert line.error[1] > 0.3
    seen = (line.latency_s + SIZES[-1] / line.bytes_per_s) / bent[-1].time_s
    last = line.left_out[-1]
    assert last.message_bytes == SIZES[-1] and last.log_ratio < np.log(seen) - 0.02


def test_the_bandwidth_is_that_of_the_largest_messages() -> None:
    bent = [row(transfer("shm", size), 10 * US + size / (12e9 if size < 5e5 else 6e9), "shm.stream") for size in SIZES]
    fit = fit_link(transfers(15 * US, 12e9, "shm.pingpong") + bent)
    assert fit.streamed is not None and 6e9 < fit.streamed.bytes_per_s < 12e9
    assert fit.bytes_per_s == pytest.approx(6e9, rel=0.01)
    small = fit_link(transfers(15 * US, 12e9, "shm.pingpong", sizes=SIZES[:11])).single
    assert small.large_bytes_per_s == small.bytes_per_s


def test_streams_give_the_bandwidth_and_ping_pong_the_latency() -> None:
    rows = transfers(30 * US, 0.8e9, "tcp.pingpong", sizes=SIZES[:8])
    rows += transfers(2 * US, 1.2e9, "tcp.stream") + transfers(2 * US, 1.2e9, "tcp.stream.back")
    fit = fit_link(rows)
    assert fit.single.latency_s == pytest.approx(30 * US, rel=1e-3)
    assert fit.streamed is not None and fit.bytes_per_s == pytest.approx(1.2e9, rel=1e-3)
    assert fit.single.rows == 8 and fit.streamed.rows == 2 * len(SIZES)


@pytest.mark.parametrize(
    ("kind", "count", "hops", "times"),
    [
        (OpKind.ALL_REDUCE, 8, 14.0, 1.75),
        (OpKind.ALL_GATHER, 4, 3.0, 0.75),
        (OpKind.REDUCE_SCATTER, 2, 1.0, 0.5),
        (OpKind.ALL_TO_ALL, 8, 1.0, 0.875),
        (OpKind.SEND_RECV, 8, 1.0, 1.0),
    ],
)
def test_collectives_count_hops_and_passes(kind: OpKind, count: int, hops: float, times: float) -> None:
    rows = [
        row(
            collective("x", kind, size, count, ""),
            5 * US * hops + times * size / 50e9,
            "out-of-place",
            "nccl-tests",
            "a.txt",
        )
        for size in SIZES
    ]
    assert hops_of(rows[0]) == (hops, times)
    fit = fit_link(rows)
    assert fit.single.latency_s == pytest.approx(5 * US, rel=1e-4) and fit.bytes_per_s == pytest.approx(50e9, rel=1e-4)
    assert fit.transport == "nccl-tests" and fit.sources == ("a.txt",) and fit.with_library


@pytest.mark.parametrize(
    ("rows", "transport", "message"),
    [
        ([], "", "no transfer and no collective"),
        (transfers(1 * US, 1e9, "pipe.pingpong") + transfers(1 * US, 1e9, "tcp.pingpong"), "", "pipe, tcp; say which"),
        (transfers(1 * US, 1e9, "pipe.pingpong"), "tcp", r"no rows of transport 'tcp' \(there are: pipe\)"),
        (transfers(1 * US, 1e9, "tcp.stream"), "", "streams only"),
        (transfers(1 * US, 1e9, "tcp.pingpong", sizes=(1.0, 2.0)), "", "2 message sizes do not show"),
        (transfers(1e-3, 1e12, "tcp.pingpong", 0.02, sizes=SIZES[:6]), "", "do not show the bandwidth .* larger ones"),
        (transfers(1e-9, 1e9, "tcp.pingpong", 0.02, sizes=SIZES[8:]), "", "do not show the latency .* smaller ones"),
    ],
)
def test_rows_that_show_no_link_are_refused(rows: list[Measurement], transport: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_link(rows, transport)


def test_the_transport_chooses_rows() -> None:
    rows = transfers(1 * US, 1e9, "pipe.pingpong") + transfers(9 * US, 2e9, "tcp.pingpong")
    assert fit_link(rows, "tcp").single.latency_s == pytest.approx(9 * US, rel=1e-4)


def test_fit_line_needs_only_what_is_wanted() -> None:
    size, seconds = np.array(SIZES[:6]), np.full(6, 1e-3)
    with pytest.raises(InputError, match="bandwidth"):
        fit_line(size, seconds, ONES[:6], ONES[:6])
    assert fit_line(size, seconds, ONES[:6], ONES[:6], ("latency",)).latency_s == pytest.approx(1e-3, rel=1e-3)


def test_the_file_is_a_link_of_the_users_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = fit_link(transfers(21.5 * US, 1.15e9, "tcp.pingpong") + transfers(5 * US, 1.18e9, "tcp.stream"))
    text = link_text(
        fit,
        id="lab-10g",
        name='Lab "blue" 10 Gb/s',
        category="scale-out",
        date="2026-11-25",
        nominal_bytes_per_s=1.25e9,
    )
    path = write_link(tmp_path, "lab-10g", text)
    assert path == tmp_path / "links" / "lab-10g.toml"
    monkeypatch.setenv("SILICOST_DATA_DIR", str(tmp_path))
    link = Catalogue("link", LinkSpec, tmp_path / "none").load("lab-10g")
    assert link == load_link(path)
    assert link.id == "lab-10g" and link.name == 'Lab "blue" 10 Gb/s' and link.topology == "fat-tree"
    assert link.latency.value == pytest.approx(21.5 * US, rel=1e-3)
    assert link.bandwidth.value * link.achieved_fraction.value == pytest.approx(1.18e9, rel=1e-3)
    assert link.bandwidth.mark is Mark.ASSUMED
    for fact in (link.latency, link.achieved_fraction):
        assert fact.mark is Mark.CALIBRATED and fact.fit is not None and fact.fit.id == "lab-10g"
        assert fact.fit.rows == 2 * len(SIZES) and fact.fit.sources == ("silicost network probe",)
        assert fact.date == "2026-11-25"
    assert "sizes left out are off by 0% in the median" in link.notes


def test_without_a_nominal_rate_the_measured_one_is_the_bandwidth(tmp_path: Path) -> None:
    fit = fit_link(transfers(4 * US, 4e9, "pipe.pingpong"))
    link = load_link(
        write_link(tmp_path, "pipe", link_text(fit, id="pipe", name="Pipe", category="chip-to-chip", date="2026-11-25"))
    )
    assert link.bandwidth.value == pytest.approx(4e9, rel=1e-3) and link.bandwidth.mark is Mark.CALIBRATED
    assert link.achieved_fraction.value == 1.0 and link.topology == "full-mesh"


def test_more_than_the_nominal_rate_is_refused() -> None:
    fit = fit_link(transfers(4 * US, 4e9, "pipe.pingpong"))
    with pytest.raises(InputError, match="4 GB/s were measured, more than the nominal"):
        link_text(fit, id="x", name="X", category="scale-out", date="2026-11-25", nominal_bytes_per_s=1.25e9)
