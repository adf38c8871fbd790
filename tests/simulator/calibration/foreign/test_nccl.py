"""nccl-tests and rccl-tests: synthetic tables of known times come back as collectives in our sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hardware_specs.errors import InputError
from simulator.calibration.foreign.collective_rows import nodes_of
from simulator.calibration.foreign.record import Foreign
from simulator.calibration.foreign.registry import read_foreign
from simulator.calibration.samples import Samples, read_samples, write_samples
from workloads.operators import OpKind

SIZES = [2**k for k in range(10, 31, 4)]
FACTOR = {
    "all_reduce": lambda n: 2 * (n - 1) / n,
    "all_gather": lambda n: (n - 1) / n,
    "alltoall": lambda n: (n - 1) / n,
    "reduce_scatter": lambda n: (n - 1) / n,
    "sendrecv": lambda n: 1.0,
    "broadcast": lambda n: 1.0,
    "reduce": lambda n: 1.0,
    "gather": lambda n: (n - 1) / n,
}
SHARED = {"all_gather", "reduce_scatter", "alltoall", "gather"}
REDUCES = {"all_reduce", "reduce_scatter", "reduce", "sendrecv"}
ROOTED = {"broadcast", "reduce", "gather"}


def time_us(size: float, n: int) -> float:
    return 10.0 + n + size / 100e3


WIDTH = {"float": 4, "half": 2, "bfloat16": 2, "double": 8}


def row(program: str, size: int, n: int, *, wrong: str = "0", kind: str = "float") -> str:
    count = size // WIDTH[kind] // (n if program in SHARED else 1)
    redop = "sum" if program in REDUCES else "none"
    cells = [f"{size:12d}  {count:12d}  {kind:>8}  {redop:>6}  {0 if program in ROOTED else -1:6d}"]
    for place in ("out", "in"):
        seconds = time_us(size, n) * (1.0 if place == "out" else 1.1)
        algbw = size / seconds / 1e3
        check = "N/A" if place == "in" and program in ("alltoall", "sendrecv") else wrong
        cells.append(f"  {seconds:9.2f}  {algbw:6.2f}  {algbw * FACTOR[program](n):6.2f}  {check:>5}")
    return "".join(cells)


def head(n: int, hosts: int = 1, old: bool = False, iters: int = 20) -> list[str]:
    lines = [f"# nThread 1 nGpus 1 minBytes 8 maxBytes 128 step: 2(factor) warmup iters: 5 iters: {iters} graph: 0"]
    lines += ["#", "# Using devices"]
    group = "" if old else "Group  0 "
    lines += [
        f"#  Rank {rank:2d} {group}Pid  {100 + rank} on   node{rank * hosts // n} device {rank:2d} [0x07] NVIDIA A100"
        for rank in range(n)
    ]
    return [*lines, "#"]


HEADER = [
    "#                                                              out-of-place                       in-place",
    "#       size         count      type   redop    root" + "     time   algbw   busbw #wrong" * 2,
    "#        (B)    (elements)                          " + "     (us)  (GB/s)  (GB/s)       " * 2,
]
TAIL = ["# Out of bounds values : 0 OK", "# Avg bus bandwidth    : 12.3"]


def table(program: str, n: int, sizes: list[int] = SIZES, **options: str) -> list[str]:
    return [*HEADER, *(row(program, size, n, **options) for size in sizes), *TAIL]  # type: ignore[arg-type]


def read(tmp_path: Path, lines: list[str], name: str = "out.txt", kind: str = "") -> Foreign:
    path = tmp_path / name
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_foreign(path, kind)


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("all_reduce", OpKind.ALL_REDUCE),
        ("all_gather", OpKind.ALL_GATHER),
        ("reduce_scatter", OpKind.REDUCE_SCATTER),
        ("alltoall", OpKind.ALL_TO_ALL),
        ("sendrecv", OpKind.SEND_RECV),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_rows_become_collectives_in_our_sizes(tmp_path: Path, program: str, kind: OpKind, named: bool) -> None:
    command = [f"$ mpirun ./build/{program}_perf -b 1K -e 1G -f 16 -g 4"] if named else []
    foreign = read(tmp_path, [*command, *head(4), *table(program, 4)])
    places = ["out-of-place"] if program in ("alltoall", "sendrecv") else ["out-of-place", "in-place"]
    assert [m.operator.message_bytes for m in foreign.measurements[:: len(places)]] == SIZES
    assert {m.operator.kind for m in foreign.measurements} == {kind}
    assert {m.operator.group for m in foreign.measurements} == {4}
    assert {m.variant for m in foreign.measurements} == set(places)
    first = foreign.measurements[0]
    assert first.time_s == pytest.approx(time_us(SIZES[0], 4) * 1e-6, abs=1e-8)
    assert first.low_s == first.high_s == first.time_s
    assert first.repeats == 20 and first.probe == "nccl-tests" and first.source == "out.txt"
    assert foreign.about["devices"] == "NVIDIA A100" and foreign.about["hosts"] == "node0"
    assert "means over the iterations" in foreign.about["interval"]


def test_ranks_are_found_without_a_list_of_devices(tmp_path: Path) -> None:
    for program in ("all_gather", "all_reduce"):
        foreign = read(tmp_path, [f"./{program}_perf -g 16", *table(program, 16)])
        assert {m.operator.group for m in foreign.measurements} == {16}
        assert "taken as one" in foreign.about["nodes"]
    with pytest.raises(InputError, match="sendrecv among how many ranks"):
        read(tmp_path, ["./sendrecv_perf -g 16", *table("sendrecv", 16)])


def test_nodes_are_in_the_variant(tmp_path: Path) -> None:
    foreign = read(tmp_path, [*head(8, hosts=2), *table("all_reduce", 8)])
    assert foreign.measurements[0].variant == "out-of-place nodes=2"
    assert {nodes_of(m) for m in foreign.measurements} == {2}


def test_a_header_of_2019_without_root_and_with_error(tmp_path: Path) -> None:
    lines = [*head(2, hosts=2, old=True)]
    lines += [
        "#       size         count      type   redop     time   algbw   busbw  error     time   algbw   busbw  error"
    ]
    lines += [
        "  1310720000     327680000     float     sum   1311.8   999.2   999.2  2e-06   1400.0   936.2   936.2  2e-06"
    ]
    foreign = read(tmp_path, lines)
    assert [m.time_s for m in foreign.measurements] == pytest.approx([1.3118e-3, 1.4e-3])
    assert {m.operator.kind for m in foreign.measurements} == {OpKind.ALL_REDUCE}
    assert foreign.measurements[0].operator.group == 2 and nodes_of(foreign.measurements[0]) == 2


def test_columns_of_single_iterations_and_time_stamps(tmp_path: Path) -> None:
    names = "time   algbw   busbw #wrong i_min i_max i_p99 i_cv%"
    lines = ["# Collective test starting: all_reduce_perf", *head(2)]
    lines += [f"#  size count type redop root {names} {names} timestamp"]
    cells = "10.0 0.41 0.41 0 9.0 12.0 11.9 3.0"
    lines += [f"  4096 1024 float sum -1 {cells} {cells.replace('10.0', '11.0', 1)} 2025-01-01 12:00:00"]
    assert [m.time_s for m in read(tmp_path, lines).measurements] == pytest.approx([10e-6, 11e-6])


def test_several_runs_of_one_file(tmp_path: Path) -> None:
    lines = ["# Collective test starting: all_reduce_perf", *head(4), *table("all_reduce", 4)]
    lines += ["# Collective test concluded: all_reduce_perf"]
    lines += ["# nccl-tests version 2.17.6 nccl-headers=22501 nccl-library=22501"]
    lines += ["# Collective test starting: alltoall_perf", *head(8, iters=50), *table("alltoall", 8)]
    foreign = read(tmp_path, lines)
    found = [(m.operator.kind.name, m.operator.group, m.repeats) for m in foreign.measurements]
    assert found == [("ALL_REDUCE", 4, 20)] * 2 * len(SIZES) + [("ALL_TO_ALL", 8, 50)] * len(SIZES)
    assert foreign.about["library"] == "22501"
    assert any("cannot run in place" in reason for reason in foreign.skipped)


def test_rccl_and_graphs(tmp_path: Path) -> None:
    lines = [line.replace("NVIDIA A100", "AMD Instinct MI300X").replace("graph: 0", "graph: 2") for line in head(8)]
    foreign = read(tmp_path, ["rccl-tests: Version develop:83d38d9", *lines, *table("all_reduce", 8, kind="half")])
    assert {m.probe for m in foreign.measurements} == {"rccl-tests"}
    assert foreign.measurements[0].variant == "out-of-place graph"
    assert foreign.about["rccl-tests"] == "Version develop:83d38d9"
    assert foreign.measurements[0].operator.dtype == "fp16"


@pytest.mark.parametrize("program", ["broadcast", "reduce", "gather"])
def test_collectives_that_we_do_not_have_are_skipped(tmp_path: Path, program: str) -> None:
    lines = [*head(4), *table("all_reduce", 4), f"./{program}_perf", *head(4), *table(program, 4)]
    foreign = read(tmp_path, lines)
    assert len(foreign.measurements) == 2 * len(SIZES)
    assert f"{program}: no operator for this collective ({len(SIZES)} rows)" in foreign.skipped


def test_rows_that_cannot_be_used_are_skipped_with_the_reason(tmp_path: Path) -> None:
    lines = [
        *head(4),
        *HEADER,
        row("all_reduce", 0, 4),
        row("all_reduce", 2**20, 4, wrong="3"),
        row("all_reduce", 2**24, 4),
    ]
    foreign = read(tmp_path, lines)
    assert [m.operator.message_bytes for m in foreign.measurements] == [2**24, 2**24]
    assert set(foreign.skipped) == {"message of 0 bytes", "all_reduce: the test found wrong results (2 rows)"}


def test_one_rank_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one rank alone communicates with nobody"):
        read(tmp_path, [*head(1), *table("all_reduce", 1)])


def test_a_file_name_settles_what_columns_leave_open(tmp_path: Path) -> None:
    unchecked = list(table("all_gather", 4, wrong="N/A"))
    with pytest.raises(InputError, match="which collective is this\\? Its columns fit all_gather, alltoall"):
        read(tmp_path, [*head(4), *unchecked])
    foreign = read(tmp_path, [*head(4), *unchecked], "nccl-all-gather.log")
    assert {m.operator.kind for m in foreign.measurements} == {OpKind.ALL_GATHER}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [*head(4), *HEADER, "     1048576        262144     float     sum      -1    20.1"],
            "line 12: 6 values under a .* 13",
        ),
        (
            [*head(4), *HEADER, row("all_reduce", 2**20, 4).replace("sum", "sum", 1).replace(".", "x")],
            "time '.*x.*' must be",
        ),
        (["# bytes N type op time algbw busbw res", "  1024 256 float sum 0.06 1.0 1.0 0e+00"], "before version 2.0"),
        ([*head(8), *table("all_reduce", 4)], r"line 18: busbw / algbw = 1.5, but all_reduce among 8 ranks has 1.75"),
    ],
)
def test_broken_tables_say_where(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, lines)


def test_host_times_are_not_times_of_the_collective(tmp_path: Path) -> None:
    lines = [line.replace("    time", " cputime") for line in [*head(4), *table("all_reduce", 4)]]
    with pytest.raises(InputError, match="time of the host"):
        read(tmp_path, lines)


def document(program: str, n: int, times: list[float] | None = None) -> dict[str, object]:
    results = []
    for size in SIZES:
        seconds = time_us(size, n)
        body = {"time": seconds, "alg_bw": size / seconds / 1e3, "bus_bw": size / seconds / 1e3 * FACTOR[program](n)}
        result = {
            "size": size,
            "count": size // 4 // (n if program in SHARED else 1),
            "type": "float",
            "redop": "sum",
            "root": "    -1",
            "out_of_place": {**body, "nwrong": 0.0},
            "in_place": {**body, "nwrong": None},
        }
        if times:
            result["out_of_place_per_iter"] = {"times_us": times}
        results.append(result)
    devices = [
        {"rank": rank, "group": 0, "pid": 1, "hostname": f"h{rank // 4}", "device_info": "NVIDIA H100"}
        for rank in range(n)
    ]
    return {
        "version": 2,
        "start_time": "2026-01-01 00:00:00",
        "args": [f"./{program}_perf", "-J", "x"],
        "nccl_version": 22809,
        "config": {"nthreads": 1, "ngpus": 1, "iterations": 20, "graph": 0, "devices": devices},
        "results": results,
    }


@pytest.mark.parametrize("program", ["all_reduce", "reduce_scatter", "sendrecv"])
def test_json_is_read_as_the_table(tmp_path: Path, program: str) -> None:
    foreign = read(tmp_path, [json.dumps(document(program, 8))])
    assert foreign.kind == "nccl-tests-json"
    outs = [m for m in foreign.measurements if m.variant.startswith("out-of-place")]
    assert [m.operator.message_bytes for m in outs] == SIZES
    assert [m.time_s for m in outs] == pytest.approx([time_us(size, 8) * 1e-6 for size in SIZES])
    assert {m.operator.group for m in outs} == {8} and {nodes_of(m) for m in outs} == {2}
    assert foreign.about["library"] == "22809" and foreign.about["devices"] == "NVIDIA H100"


def test_json_of_one_process_lists_one_device_of_many(tmp_path: Path) -> None:
    whole = document("sendrecv", 8)
    whole["config"] = {"nthreads": 1, "ngpus": 8, "iterations": 20, "devices": whole["config"]["devices"][:1]}  # type: ignore[index]
    assert {m.operator.group for m in read(tmp_path, [json.dumps(whole)]).measurements} == {8}


def test_json_with_times_of_single_calls_gives_a_median_and_its_interval(tmp_path: Path) -> None:
    times = [20.0 + 0.1 * k for k in range(21)]
    first = read(tmp_path, [json.dumps(document("all_reduce", 2, times))]).measurements[0]
    assert first.time_s == pytest.approx(21e-6)
    assert 20e-6 < first.low_s < first.time_s < first.high_s < 22e-6
    assert first.repeats == 21


def test_json_names_the_collective_by_its_results_too(tmp_path: Path) -> None:
    whole = document("reduce_scatter", 4)
    del whole["args"]
    for result in whole["results"]:  # type: ignore[attr-defined]
        result["experiment_name"] = "ReduceScatter"
    assert read(tmp_path, [json.dumps(whole)]).measurements[0].operator.kind is OpKind.REDUCE_SCATTER


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("size", "big"), r"results\[1\]\.size: must be a number, not 'big'"),
        (
            ("out_of_place", {"time": -1.0, "alg_bw": 1.0, "bus_bw": 1.0}),
            r"results\[1\]\.out_of_place\.time '-1.0' must be",
        ),
    ],
)
def test_broken_json_says_where(tmp_path: Path, change: tuple[str, object], message: str) -> None:
    whole = document("all_reduce", 4)
    whole["results"][0][change[0]] = change[1]  # type: ignore[index]
    with pytest.raises(InputError, match=message):
        read(tmp_path, [json.dumps(whole)])


def test_json_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 1: not valid JSON, or cut off"):
        read(tmp_path, [json.dumps(document("all_reduce", 4))[:-300]])


def test_what_was_read_can_be_kept_as_samples(tmp_path: Path) -> None:
    foreign = read(
        tmp_path, [*head(4), *table("all_reduce", 4, kind="bfloat16"), *head(4), *table("all_gather", 4, kind="double")]
    )
    write_samples(tmp_path / "kept.parquet", Samples(foreign.measurements, foreign.about))
    kept = read_samples(tmp_path / "kept.parquet").measurements
    assert [m.key for m in kept] == [m.key for m in foreign.measurements]
    assert len({m.key for m in kept}) == len(kept)
