"""Files of samples: what goes in comes out to the bit, and what is no file of samples is said in one line."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardware_specs.errors import InputError
from simulator.calibration.samples import Measurement, Samples, read_samples, write_samples
from workloads import operators as op
from workloads.operators import Operator, OpKind

THIRD = 1.0 / 3.0
ODD = Operator(
    "odd ⊗ name", OpKind.MOE_GEMM, "fp8", 1.5, THIRD, 7e22, 3.0, 5.0, 2.0, 65.0, 1e-3 * THIRD, 11.0, 0.1, 0.2, 0.3,
    17.5, 9, "ep", 4.25, 2, 6.0, 2.5, 8.0, 1.75,
)  # fmt: skip
"""Every field is another than its default."""
ALL = (
    Measurement(
        "torch.products", op.gemm("product", 64, 2048, 1024, "bf16"), THIRD, 0.1 + 0.2, math.nextafter(THIRD, 1.0), 41,
        "torch-cpu-2.13", "dgrad", 2, 61.5, 2.6e9, "2026-11-25T20:00:00+00:00",
    ),
    Measurement("nccl-tests", ODD, 5e-324, 5e-324, 1e300, source="all_reduce.txt"),
    Measurement("stream", op.stream_copy("stream.copy", 1e9), 0.02, 0.01, 0.03),
)  # fmt: skip
ABOUT = {"processor.model": "AMD EPYC", "remark.0": 'noisy "neighbours"\n', "": "", "ünïcode": "✓"}
Change = Callable[[pa.Table], pa.Table]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "samples.parquet"
    write_samples(place, Samples(ALL, ABOUT))
    return place


def bits(measurement: Measurement) -> list[object]:
    """All values, floats as their bits: NaN equals itself."""
    flat = dataclasses.asdict(measurement)
    values = [*flat.pop("operator").items(), *flat.items()]
    numbers = {field.name for field in dataclasses.fields(Operator) if field.type == "float"}
    return [
        (key, struct.pack("d", value) if isinstance(value, float) or key in numbers else value) for key, value in values
    ]


def test_the_odd_operator_has_every_field_set() -> None:
    for field in dataclasses.fields(Operator):
        assert getattr(ODD, field.name) != field.default


def test_all_that_is_written_is_read_to_the_bit(path: Path) -> None:
    found = read_samples(path)
    assert len(found.measurements) == 3
    for read, written in zip(found.measurements, ALL, strict=True):
        assert bits(read) == bits(written)
        assert type(read.operator.kind) is OpKind
        assert read.operator == written.operator
    assert found.environment == ABOUT
    assert math.isnan(found.measurements[1].power_w) and math.isnan(found.measurements[1].clock_hz)
    again = path.with_name("again.parquet")
    write_samples(again, found)
    assert again.read_bytes() == path.read_bytes()


def test_no_measurements_are_a_file_too(tmp_path: Path) -> None:
    write_samples(tmp_path / "empty.parquet", Samples((), {}))
    assert read_samples(tmp_path / "empty.parquet") == Samples((), {})


def test_a_file_without_a_description(path: Path) -> None:
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    assert read_samples(path).environment == {}


def test_other_columns_and_another_order_do_not_matter(path: Path) -> None:
    table = pq.read_table(path)
    wider = table.append_column("mine", pa.array([1, 2, 3])).select(["mine", *reversed(table.column_names)])
    pq.write_table(wider, path)
    assert [bits(each) for each in read_samples(path).measurements] == [bits(each) for each in ALL]


def test_repetitions_share_a_key_and_everything_else_has_its_own() -> None:
    first = ALL[0]
    later = dataclasses.replace(first, time_s=9.0, high_s=9.0, repeats=3, power_w=1.0, at="later", source="x")
    assert later.key == first.key
    changes: dict[str, Any] = {"probe": "numpy.products", "runtime": "numpy-2", "variant": "", "threads": 1}
    changes["operator"] = op.gemm("product", 64, 2048, 1025, "bf16")
    keys = {dataclasses.replace(first, **{name: value}).key for name, value in changes.items()}
    assert len(keys | {first.key}) == len(changes) + 1
    sizes: dict[str, Any] = {
        "m": 2.0, "n": 2.0, "k": 2.0, "batch": 2.0, "heads": 2.0, "kv_heads": 2.0, "value_dim": 2.0,
        "message_bytes": 2.0, "weight_bits": 4.0, "group": 2, "dtype": "fp32", "name": "x", "kind": OpKind.NORM,
    }  # fmt: skip
    keys = {
        dataclasses.replace(first, operator=dataclasses.replace(first.operator, **{name: value})).key
        for name, value in sizes.items()
    }
    assert len(keys | {first.key}) == len(sizes) + 1


def test_shapes_group_what_has_the_same_weights_heads_or_sizes() -> None:
    def shape(operator: Operator) -> str:
        return dataclasses.replace(ALL[0], operator=operator).shape

    assert shape(op.gemm("x", 1, 64, 32)) == shape(op.gemm("x", 512, 64, 32)) != shape(op.gemm("x", 1, 32, 64))
    decode = [op.attention("x", 1, seen, 8, 2, 64) for seen in (10, 1000)]
    assert shape(decode[0]) == shape(decode[1]) != shape(op.attention("x", 1, 10, 8, 4, 64))
    assert shape(op.norm("x", 4, 64)) != shape(op.norm("x", 8, 64))


def test_a_write_that_fails_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_samples(path, Samples(ALL[:1], {}))
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["samples.parquet"]


def test_a_place_that_cannot_be_written(path: Path) -> None:
    with pytest.raises(InputError, match=r"below\.parquet: cannot be written \(.+\)$"):
        write_samples(path / "below.parquet", Samples(ALL, {}))


def test_what_is_no_parquet_file(tmp_path: Path) -> None:
    for name, content in (("none", None), ("empty", b""), ("text", b"m,n,k\n1,2,3\n"), ("magic", b"PAR1" * 9)):
        place = tmp_path / f"{name}.parquet"
        if content is not None:
            place.write_bytes(content)
        message = "no such file of samples" if content is None else "not a Parquet file of samples"
        assert message in refusal(place)
    assert "no such file of samples" in refusal(tmp_path)


def refusal(place: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_samples(place)
    text = str(caught.value)
    assert text.startswith(f"{place}: ")
    assert "\n" not in text
    return text


def test_half_a_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])
    assert "not a Parquet file of samples" in refusal(path)


def column(name: str, values: list[object], kind: pa.DataType | None = None) -> Change:
    def change(table: pa.Table) -> pa.Table:
        array = pa.array(values, kind or table.schema.field(name).type)
        return table.set_column(table.column_names.index(name), name, array)

    return change


BROKEN: dict[str, tuple[Change, str]] = {
    "missing columns": (lambda table: table.drop_columns(["low_s", "heads"]), "it lacks the columns heads, low_s"),
    "unknown kind": (column("kind", ["gemm", "gem", "stream_copy"]), "row 2: kind 'gem' is none (allowed: gemm, "),
    "unknown dtype": (column("dtype", ["bf16", "fp8", "float"]), "row 3: dtype 'float' is none (allowed: "),
    "negative time": (column("time_s", [-1.0, 1.0, 0.02]), "row 1: times 0.30000000000000004, -1.0, "),
    "no time": (column("time_s", [THIRD, math.nan, 0.02]), "row 2: times 5e-324, nan, 1e+300 s must rise"),
    "zero time": (column("low_s", [0.0, 5e-324, 0.01]), "row 1: times 0.0, "),
    "endless time": (column("high_s", [1.0, math.inf, 1.0]), "row 2: times 5e-324, 5e-324, inf s must"),
    "ends the wrong way round": (column("low_s", [0.4, 5e-324, 0.01]), "row 1: times 0.4, "),
    "empty cell": (column("runtime", ["", None, ""]), "row 2: runtime is empty"),
    "empty size": (column("heads", [1.0, 1.0, None]), "row 3: heads is empty"),
    "negative size": (column("m", [1.0, 1.0, -1.0]), "row 3: sizes must be finite and not negative, not [-1.0, "),
    "endless size": (column("flops", [math.nan, 1.0, 1.0]), "row 1: sizes must be finite and not negative"),
    "words for times": (column("time_s", ["fast", "slow", "1"], pa.string()), "column time_s must be double ("),
    "lists for times": (column("time_s", [[1.0]] * 3, pa.list_(pa.float64())), "column time_s must be double ("),
    "bytes for names": (column("probe", [b"\xff", b"a", b"b"], pa.binary()), "column probe must be string ("),
    "halves for counts": (column("repeats", [1.5, 2.0, 3.0], pa.float64()), "column repeats must be int64 ("),
    "columns twice": (lambda table: table.append_column("time_s", table["time_s"]), "not a Parquet file of samples (M"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_said_in_one_line(path: Path, name: str) -> None:
    change, message = BROKEN[name]
    pq.write_table(change(pq.read_table(path)), path)
    assert message in refusal(path)


@pytest.mark.parametrize("text", [b"{", b"[1]", b'"x"', b"\xff\xfe", b"null"])
def test_a_description_that_cannot_be_read(path: Path, text: bytes) -> None:
    table = pq.read_table(path).replace_schema_metadata({b"silicost.environment": text})
    pq.write_table(table, path)
    assert "the description of the machine in it cannot be read" in refusal(path)


def test_a_description_of_numbers_becomes_texts(path: Path) -> None:
    text = json.dumps({"cores": 2, "on": True}).encode()
    pq.write_table(pq.read_table(path).replace_schema_metadata({b"silicost.environment": text}), path)
    assert read_samples(path).environment == {"cores": "2", "on": "True"}


def test_damaged_bytes_are_refused_or_harmless(path: Path) -> None:
    """Whatever byte of a file is another, reading it ends in one line or in measurements."""
    whole = path.read_bytes()
    for place in range(4, len(whole), 37):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        try:
            read_samples(path)
        except InputError as error:
            assert "\n" not in str(error)
