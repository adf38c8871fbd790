"""STREAM, BabelStream and Intel's mlc: rates come back as copies of the bytes that were moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardware_specs.errors import InputError
from simulator.calibration.foreign.formats.mlc import NOMINAL_BYTES
from simulator.calibration.foreign.record import Foreign
from simulator.calibration.foreign.registry import read_foreign
from simulator.calibration.samples import Measurement
from workloads.operators import OpKind

ARRAYS = {"Copy": 2, "Scale": 2, "Add": 3, "Triad": 3}


def read(tmp_path: Path, text: str) -> Foreign:
    path = tmp_path / "out.txt"
    path.write_text(text, encoding="utf-8")
    return read_foreign(path)


def rate(m: Measurement) -> float:
    return m.operator.moved_bytes / m.time_s


def stream(elements: int = 50_000_000, threads: int = 8, width: int = 8, rate_gb: float = 40.0) -> str:
    lines = ["-" * 61, "STREAM version $Revision: 5.10 $", f"This system uses {width} bytes per array element."]
    lines += [f"Array size = {elements} (elements), Offset = 0 (elements)", "Each kernel will be executed 10 times."]
    lines += [" The *best* time for each kernel", f"Number of Threads requested = {threads}"]
    lines += [f"Number of Threads counted = {threads}", "Each test below will take on the order of 10811 microseconds."]
    lines += ["Function    Best Rate MB/s  Avg time     Min time     Max time"]
    for name, arrays in ARRAYS.items():
        low = arrays * elements * width / (rate_gb * 1e9)
        lines.append(f"{name + ':':11}{rate_gb * 1e3:12.1f}  {1.1 * low:11.6f}  {low:11.6f}  {1.3 * low:11.6f}")
    return "\n".join([*lines, "Solution Validates: avg error less than 1.000000e-13 on all three arrays", ""])


@pytest.mark.parametrize("width", [4, 8])
def test_stream(tmp_path: Path, width: int) -> None:
    foreign = read(tmp_path, stream(width=width))
    assert foreign.kind == "stream" and foreign.about["version"] == "Revision: 5.10"
    assert [m.variant for m in foreign.measurements] == ["stream.copy", "stream.scale", "stream.add", "stream.triad"]
    for m, arrays in zip(foreign.measurements, ARRAYS.values(), strict=True):
        low = arrays * 50e6 * width / 40e9
        assert (m.low_s, m.time_s, m.high_s) == pytest.approx((low, 1.1 * low, 1.3 * low), rel=1e-3)
        assert m.operator.kind is OpKind.STREAM_COPY
        assert m.operator.moved_bytes == arrays * 50e6 * width
        assert m.operator.write_bytes == 50e6 * width
        assert m.threads == 8 and m.repeats == 9


def test_stream_over_threads_in_one_file(tmp_path: Path) -> None:
    foreign = read(tmp_path, stream(threads=1, rate_gb=12.0) + stream(threads=16))
    assert [m.threads for m in foreign.measurements] == [1] * 4 + [16] * 4
    assert rate(foreign.measurements[3]) == pytest.approx(12e9 / 1.1, rel=1e-3)


def test_the_table_alone_gives_its_bytes_by_rate_and_time(tmp_path: Path) -> None:
    header = "Function      Rate (MB/s)   Avg time     Min time     Max time"
    m = read(tmp_path, f"{header}\nTriad:      12000.0000       0.0210       0.0200       0.0220").measurements[0]
    assert m.operator.moved_bytes == pytest.approx(12e9 * 0.02)
    assert m.threads == 0


def test_stream_that_failed_its_validation_is_no_measurement(tmp_path: Path) -> None:
    bad = stream().replace("Solution Validates", "Failed Validation on array a[], AvgRelAbsErr >")
    with pytest.raises(InputError, match="failed their validation"):
        read(tmp_path, bad)
    assert len(read(tmp_path, stream() + bad).measurements) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("Array size = 50000000", "Array size = 5000000"),
            "line 11: 40000 MB/s in .* but copy of arrays of 5000000 x 8 bytes",
        ),
        (("40000.0", "nan"), "line 11: rate 'nan' must be a number above zero"),
        (("Avg time     Min time     Max time", "Min time     Max time     Avg time"), "not Avg, Min, Max time"),
    ],
)
def test_broken_stream_output_says_where(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, stream().replace(*change))


def test_a_row_that_was_cut_off(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 14: 2 values, not 4"):
        read(tmp_path, "\n".join(line[:36] if line.startswith("Triad") else line for line in stream().splitlines()))


BABEL = """\
BabelStream
Version: 5.0
Implementation: HIP
Running kernels 100 times
Precision: double
Array size: 268.4 MB (=0.3 GB)
Total size: 805.3 MB (=0.8 GB)
Using HIP device AMD Instinct MI300X
Driver: 60342134
Function    MBytes/sec  Min (sec)   Max         Average
Copy        4000000.000 0.00013     0.00020     0.00015
Mul         4000000.000 0.00013     0.00020     0.00014
Add         3900000.000 0.00021     0.00030     0.00022
Triad       3900000.000 0.00021     0.00030     0.00022
Dot         3500000.000 0.00015     0.00030     0.00016
"""
BABEL_CSV = """\
phase,n_elements,sizeof,max_mbytes_per_sec,runtime
Init,33554432,8,1000,0.8
function,num_times,n_elements,sizeof,max_mbytes_per_sec,min_runtime,max_runtime,avg_runtime
Copy,100,33554432,8,4000000,0.000134217728,0.0002,0.00015
Nstream,100,33554432,8,3900000,0.00027531,0.0004,0.0003
"""


def test_babelstream(tmp_path: Path) -> None:
    foreign = read(tmp_path, BABEL)
    assert foreign.about["implementation"] == "HIP" and foreign.about["devices"] == "AMD Instinct MI300X"
    names = [f"babelstream.{name}" for name in ("copy", "mul", "add", "triad", "dot")]
    assert [m.variant for m in foreign.measurements] == names
    copy, dot = foreign.measurements[0], foreign.measurements[4]
    assert copy.operator.moved_bytes == pytest.approx(2 * 268.4e6)
    assert (copy.low_s, copy.time_s, copy.high_s) == pytest.approx((2 * 268.4e6 / 4e12, 1.5e-4, 2e-4))
    assert (dot.operator.read_bytes, dot.operator.write_bytes) == pytest.approx((2 * 268.4e6, 0.0))
    assert copy.repeats == 99


def test_babelstream_csv(tmp_path: Path) -> None:
    copy, nstream = read(tmp_path, BABEL_CSV).measurements
    assert copy.operator.moved_bytes == 2 * 33554432 * 8
    assert (copy.low_s, copy.time_s, copy.high_s) == pytest.approx((1.34217728e-4, 1.5e-4, 2e-4))
    assert nstream.operator.read_bytes == 3 * nstream.operator.write_bytes


def test_babelstream_of_mebibytes_and_of_the_triad_alone(tmp_path: Path) -> None:
    text = BABEL_CSV.replace("max_mbytes_per_sec", "max_mibytes_per_sec").replace("4000000", str(4e12 / 2**20))
    assert read(tmp_path, text).measurements[0].low_s == pytest.approx(1.34217728e-4)
    only = "function,num_times,n_elements,sizeof,gbytes_per_sec,runtime\nTriad,100,1000000,8,2400,0.001\n"
    assert read(tmp_path, only).measurements[0].time_s == pytest.approx(1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BABEL.replace("0.00020     0.00015", "0.00020"), "line 11: 3 values, not 4"),
        (BABEL_CSV.replace(",0.0002,0.00015", ",0.0002"), "line 4: 7 values under a header of 8"),
        (BABEL_CSV.replace("33554432,8,4000000", "many,8,4000000"), "line 4: n_elements 'many' must be"),
    ],
)
def test_broken_babelstream_output_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


MLC = """\
Intel(R) Memory Latency Checker - v3.11b
*** Unable to modify prefetchers (try executing 'modprobe msr')
Measuring idle latencies for sequential access (in ns)...
\t\tNuma node
Numa node\t     0\t     1
       0\t  80.0\t 140.0
       1\t 141.0\t     -

Measuring Peak Injection Memory Bandwidths for the system
Bandwidths are in MB/sec (1 MB/sec = 1,000,000 Bytes/sec)
Using all the threads from each core if Hyper-threading is enabled
Using traffic with the following read-write ratios
ALL Reads        :\t200000.0\t
3:1 Reads-Writes :\t180000.0
Stream-triad like:\t160000.0
All NT writes    :      100000.0
1:1 Read-NT write:      120000.0

Measuring Memory Bandwidths between nodes within system
Bandwidths are in MB/sec (1 MB/sec = 1,000,000 Bytes/sec)
Using Read-only traffic type
\t\tNuma node
Numa node\t     0\t     1
       0\t100000.0\t40000.0
       1\t40000.0\t100000.0

Measuring Loaded Latencies for the system
Inject\tLatency\tBandwidth
Delay\t(ns)\tMB/sec
==========================
 00000\t330.00\t 198000.0
 20000\t 82.00\t   3000.0

Measuring cache-to-cache transfer latency (in ns)...
Local Socket L2->L2 HIT  latency\t49.5
Remote Socket L2->L2 HITM latency (data address homed in writer socket)
\t\t\tReader Numa Node
Writer Numa Node     0\t     1
            0\t     -\t 115.2
"""


def test_mlc_bandwidths_become_copies_and_latencies_texts(tmp_path: Path) -> None:
    foreign = read(tmp_path, MLC)
    found = {m.variant: m for m in foreign.measurements}
    assert {name: rate(m) / 1e9 for name, m in found.items()} == pytest.approx(
        {
            "mlc.reads": 200.0,
            "mlc.3:1": 180.0,
            "mlc.triad": 160.0,
            "mlc.nt-writes": 100.0,
            "mlc.1:1-nt": 120.0,
            "mlc.reads nodes 0 to 0": 100.0,
            "mlc.reads nodes 0 to 1": 40.0,
            "mlc.reads nodes 1 to 0": 40.0,
            "mlc.reads nodes 1 to 1": 100.0,
        }
    )
    assert found["mlc.3:1"].operator.read_bytes == 3 * found["mlc.3:1"].operator.write_bytes == 0.75 * NOMINAL_BYTES
    assert found["mlc.reads"].operator.write_bytes == found["mlc.nt-writes"].operator.read_bytes == 0.0
    assert foreign.about["version"] == "v3.11b"
    for words in ("node 0 to 1: 140 ns idle", "330 ns at 198 GB/s", "Local Socket L2->L2 HIT latency: 49.5 ns"):
        assert words in foreign.about["latencies"]
    assert "node 1 to 1" not in foreign.about["latencies"]


def test_single_modes_of_mlc(tmp_path: Path) -> None:
    head = "Intel(R) Memory Latency Checker - v3.9\nCommand line parameters: --idle_latency\n\n"
    idle = read(tmp_path, head + "Each iteration took 202.0 core clocks ( 80.8    ns)\n")
    assert idle.measurements == () and idle.about["latencies"] == "idle: 80.8 ns"
    most = read(
        tmp_path, head + "Measuring Maximum Memory Bandwidths for the system\nALL Reads        :      50000.0\n"
    )
    assert [m.variant for m in most.measurements] == ["mlc.max-reads"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MLC.replace("200000.0\t", ""), "line 13: bandwidth '' must be a number above zero"),
        (MLC.replace("100000.0\t40000.0", "100000.0"), "line 24: 1 values for 2 NUMA nodes"),
        (MLC.splitlines()[0], "no bandwidth and no latency in it"),
    ],
)
def test_broken_mlc_output_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)
