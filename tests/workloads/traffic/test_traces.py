"""Recorded traffic: every format, what is left out and what is refused, and the public traces where they are."""

from __future__ import annotations

import csv
import datetime
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError, UnknownName
from workloads.traffic import tables
from workloads.traffic.lengths import lengths_of
from workloads.traffic.record import Traffic, checked
from workloads.traffic.traces import FORMATS, read_trace

TRACES = Path(__file__).parents[4] / "shared" / "ground_truth" / "traces"
HEADER = "arrival_s,input,output\n"


def trace(folder: Path, text: str | bytes, name: str = "trace.csv", form: str = "auto", **how: Any) -> Traffic:
    place = folder / name
    place.write_bytes(text.encode() if isinstance(text, str) else text)
    return checked(read_trace(place, form, **how))


def rows(traffic: Traffic) -> list[tuple[float, int, int]]:
    return list(zip(traffic.arrival_s.tolist(), traffic.input.tolist(), traffic.output.tolist(), strict=True))


USUAL = {
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n"
             "2023-11-16 18:15:48.1805901,396,109",
    "splitwise": "request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size\n"
                 "0,2,0,10.0,1,374,44\n1,2,0,11.5000001,1,396,109\n",
}  # fmt: skip
OTHERS = (
    "arrived_at,num_prefill_tokens,num_decode_tokens\n3,374,44\n4.5000001,396,109\n",
    "Timestamp,Model,Request tokens,Response tokens,Total tokens\n5,a,374,44,418\n6.5000001,a,396,109,505\n",
    "\ufefftimestamp_ms;isl;osl\n0;374;44\n1500.0001;396;109\n",
    "osl\tisl\tarrival_ns\n44\t374\t1700000000000000000\n109\t396\t1700000001500000256\n",
    "time,input,output\n2024-05-10 00:00:00.009930+00:00,374,44\n2024-05-10T02:00:01.5099301+02:00,396,109\n",
    '"arrival_s","input","output"\n"1e1","374","44"\n\n"11.5000001"," 396 ","1.09e2"\n\n',
)


@pytest.mark.parametrize("form", USUAL)
def test_formats_by_name(tmp_path: Path, form: str) -> None:
    for asked in (form, "csv", "auto"):
        found = trace(tmp_path, USUAL[form], form=asked)
        assert found.arrival_s == pytest.approx([0.0, 1.5000001], abs=2e-8)
        assert [row[1:] for row in rows(found)] == [(374, 44), (396, 109)]
        assert found.notes == ()


@pytest.mark.parametrize("text", OTHERS)
def test_usual_names_of_columns(tmp_path: Path, text: str) -> None:
    found = trace(tmp_path, text)
    assert found.arrival_s == pytest.approx([0.0, 1.5000001], abs=3e-7)
    assert [row[1:] for row in rows(found)] == [(374, 44), (396, 109)]


def test_seven_decimals_are_kept(tmp_path: Path) -> None:
    found = trace(tmp_path, USUAL["azure"])
    assert found.arrival_s[1] == 1.5000001


def test_gzip_and_parquet(tmp_path: Path) -> None:
    assert len(rows(trace(tmp_path, gzip.compress(USUAL["azure"].encode()), "a.csv.gz"))) == 2
    frame = pd.DataFrame({"arrival_s": [1.0, 3.0], "input": [5, 6], "output": [7, 8], "x": ["a", "b"]})
    frame.to_parquet(tmp_path / "a.parquet")
    assert rows(read_trace(tmp_path / "a.parquet")) == [(0.0, 5, 7), (2.0, 6, 8)]
    frame = frame.assign(timestamp=pd.to_datetime(["2024-01-01 00:00:01.00", "2024-01-01 00:00:03.25"]))
    frame = frame.drop(columns="arrival_s").assign(output=[7.0, np.nan])
    frame.to_parquet(tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"b\.parquet: row 2: output '' must be a whole number"):
        read_trace(tmp_path / "b.parquet")
    frame.assign(output=[7, 8]).to_parquet(tmp_path / "b.parquet")
    assert rows(read_trace(tmp_path / "b.parquet")) == [(0.0, 5, 7), (2.25, 6, 8)]


def test_speedup(tmp_path: Path) -> None:
    text = HEADER + "10,1,1\n12,1,1\n16,1,1\n"
    assert trace(tmp_path, text, speedup=4.0).arrival_s.tolist() == [0.0, 0.5, 1.5]
    assert trace(tmp_path, text, speedup=0.5).arrival_s.tolist() == [0.0, 4.0, 12.0]


def test_rows_out_of_order_are_sorted_and_said(tmp_path: Path) -> None:
    found = trace(tmp_path, HEADER + "5,1,1\n3,2,1\n3,3,1\n9,4,1\n")
    assert rows(found) == [(0.0, 2, 1), (0.0, 3, 1), (2.0, 1, 1), (6.0, 4, 1)]
    assert found.notes == (f"{tmp_path}/trace.csv: 2 of 4 requests stand after later ones and were sorted by time",)


def test_duplicates_are_kept(tmp_path: Path) -> None:
    assert rows(trace(tmp_path, HEADER + "1,5,6\n" * 4)) == [(0.0, 5, 6)] * 4


def test_requests_of_no_tokens_are_counted(tmp_path: Path) -> None:
    found = trace(tmp_path, HEADER + "1,5,6\n\n2,0,6\n3,5,0\n4,7,8\n")
    assert rows(found) == [(0.0, 5, 6), (3.0, 7, 8)]
    assert found.notes == (
        f"{tmp_path}/trace.csv: 2 lines without a prompt or an answer left out (line 4: input is 0)",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"no request in it \(1 line without a prompt or an answer left out \(line 2"):
        trace(tmp_path, HEADER + "1,5,0\n")


BROKEN = [
    ("1,NaN,6", "input 'NaN' must be a whole number of tokens, from 0"),
    ("1,,6", "input '' must be"),
    ("1,-4,6", "input '-4' must be"),
    ("1,4.5,6", "input '4.5' must be"),
    ("1,4,inf", "output 'inf' must be"),
    ("1,4,1e30", "output '1e30' must be"),
    ("1,4", "output '' must be"),
    ("x,4,5", "arrival_s 'x' must be a finite number or a date"),
    ("inf,4,5", "arrival_s 'inf' must be"),
    ("1,1,024,5", "has more cells than the header"),
]


@pytest.mark.parametrize(("line", "message"), BROKEN)
def test_what_cannot_be_read_is_refused_or_counted(tmp_path: Path, line: str, message: str) -> None:
    text = HEADER + f"1,5,6\n\n1,5,6\n{line}\n7,8,9\n"
    with pytest.raises(InputError) as caught:
        trace(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/trace.csv: line 5: {message}")
    assert "\n" not in str(caught.value)
    found = trace(tmp_path, text, skip=True)
    assert [row[1:] for row in rows(found)] == [(5, 6), (5, 6), (8, 9)]
    assert len(found.notes) == 1
    assert "1 line that cannot be read left out (line 5: " + message in found.notes[0]
    assert rows(trace(tmp_path, text, most=2)) == [(0.0, 5, 6)] * 2, "what is behind the last one is not read"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        (HEADER, "no request in it$"),
        ("1,2,3\n", "the first line names no columns"),
        ("a,input,output\n1,2,3\n", "no column of arrival times"),
        ("arrival_s,promt_tokens,output\n1,2,3\n", "no column of prompt tokens; is it 'promt_tokens'"),
        ("arrival_s,input\n1,2\n", r"no column of output tokens.*there: arrival_s, input\)"),
        ("time,input,output\nnow,1,2\n", "time 'now' must be a finite number or a date"),
        ("time,input,output\n2024-01-01,1,2\n2024-13-01,1,2\n", "line 3: time '2024-13-01' must be"),
        ("time\0,input,output\n", "not UTF-8 text"),
        (HEADER + '1,2,"3' + "x" * 200_000, "field larger than field limit"),
    ],
)
def test_files_that_are_no_traces(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        trace(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a directory, not a file"):
        read_trace(tmp_path)
    with pytest.raises(InputError, match="cannot be read, or cut off"):
        trace(tmp_path, gzip.compress((HEADER + "1,2,3\n" * 9999).encode())[:-20], "a.csv.gz")
    with pytest.raises(InputError, match="not a Parquet file"):
        trace(tmp_path, "PAR1", "a.parquet")


@pytest.mark.parametrize(
    ("how", "message"),
    [({"speedup": 0.0}, "speedup 0.0"), ({"speedup": float("inf")}, "speedup inf"), ({"speedup": -1.0}, "speedup -1"),
     ({"most": 0}, "requests of a trace 0; allowed: a whole number from 1")],
)  # fmt: skip
def test_what_cannot_be_asked(tmp_path: Path, how: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        trace(tmp_path, HEADER + "1,2,3\n", **how)


def test_unknown_formats_name_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown format of traces 'azur'; did you mean 'azure'") as caught:
        trace(tmp_path, HEADER, form="azur")
    for form in FORMATS:
        assert form in str(caught.value)
    with pytest.raises(InputError, match="no column of arrival times"):
        trace(tmp_path, HEADER + "1,2,3\n", form="splitwise")


def test_large_files_are_read_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = HEADER + "".join(f"{at % 97},{at % 50 + 1},{at % 30 + 1}\n" + "\n" * (at % 3) for at in range(1000))
    whole = trace(tmp_path, text)
    for size in (1, 7, 1000):
        monkeypatch.setattr(tables, "CHUNK", size)
        assert rows(trace(tmp_path, text)) == rows(whole)
        for most in (1, 6, 7, 8, 999, 1000, 5000):
            assert trace(tmp_path, text, most=most).requests == min(most, 1000)
    monkeypatch.setattr(tables, "CHUNK", 7)
    with pytest.raises(InputError, match=f"line {text.count(chr(10)) + 1}: input 'x' must be"):
        trace(tmp_path, text + "1,x,3\n")


def line(time_ms: float, prompt: float, answer: float, ids: list[int] | None = None) -> str:
    fields = {"timestamp": time_ms, "input_length": prompt, "output_length": answer}
    return json.dumps(fields if ids is None else {**fields, "hash_ids": ids, "other": "x"}) + "\n"


def test_blocks_of_mooncake(tmp_path: Path) -> None:
    text = line(27482, 1100, 52, [46, 47, 900]) + "\n" + line(30535, 600, 26, [46, 2366]) + line(30535, 10.0, 1, [])
    for name, form in (("a.jsonl", "auto"), ("a.txt", "mooncake")):
        found = trace(tmp_path, text, name, form)
        assert rows(found) == [(0.0, 1100, 52), (pytest.approx(3.053), 600, 26), (pytest.approx(3.053), 10, 1)]
        assert found.blocks is not None
        assert found.blocks.tokens == 512
        assert found.blocks.offsets.tolist() == [0, 3, 5, 5]
        assert found.blocks.ids.tolist() == [0, 1, 2, 0, 3]
        assert found.notes == ()


def test_blocks_follow_their_requests(tmp_path: Path) -> None:
    text = line(9, 1500, 1, [8, 7, 5]) + line(4, 500, 1, [9]) + line(4, 900, 1, [8, 6]) + line(7, 5, 1)
    found = trace(tmp_path, text, "a.jsonl")
    assert found.blocks is not None
    assert [row[1] for row in rows(found)] == [500, 900, 5, 1500]
    assert found.blocks.offsets.tolist() == [0, 1, 3, 3, 6]
    assert found.blocks.ids.tolist() == [0, 1, 2, 1, 3, 4]
    assert "3 of 4 requests stand after later ones" in found.notes[0]
    first = checked(found.first(2))
    assert first.blocks is not None
    assert (first.blocks.offsets.tolist(), first.blocks.ids.tolist()) == ([0, 1, 3], [0, 1, 2])


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 4), max_size=5)),
        min_size=1, max_size=20,
    )
)  # fmt: skip
def test_equal_ids_stay_equal(tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, list[int]]]) -> None:
    text = "".join(line(time, 16 * len(ids) + 1, 1, ids) for time, ids in asked)
    found = trace(tmp_path_factory.getbasetemp(), text, "a.jsonl", block_tokens=16)
    assert found.blocks is not None
    order = sorted(range(len(asked)), key=lambda at: asked[at][0])
    given_ids = [name for at in order for name in asked[at][1]]
    names = {name: number for number, name in enumerate(dict.fromkeys(given_ids))}
    assert found.blocks.ids.tolist() == [names[name] for name in given_ids]
    assert np.diff(found.blocks.offsets).tolist() == [len(asked[at][1]) for at in order]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{bad\n", "JSON is malformed"),
        ("[1]\n", "Expected `object`"),
        ('{"timestamp": 1, "input_length": 5}\n', "missing required field `output_length`"),
        ('{"timestamp": "1", "input_length": 5, "output_length": 5}\n', "timestamp"),
        ('{"timestamp": NaN, "input_length": 5, "output_length": 5}\n', "JSON is malformed"),
        (line(1, -5, 5), "input_length -5 must be a whole number of tokens, from 0"),
        (line(1, 5.5, 5), "input_length 5.5 must be"),
        (line(1, 5, 1e15), "output_length 1e.15 must be"),
        (line(1, 600, 5, [1, 2, 3]), "3 hash_ids of a prompt of 600 tokens; allowed: at most 2, of 512 tokens each"),
        (line(1, 600, 5, [2**63]), "hash_ids must be whole numbers of 64 bits"),
    ],
)
def test_lines_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    whole = line(1, 5, 6) + "\n" + text + line(3, 8, 9)
    with pytest.raises(InputError, match=rf"a\.jsonl: line 3: .*{message}") as caught:
        trace(tmp_path, whole, "a.jsonl")
    assert "\n" not in str(caught.value)
    found = trace(tmp_path, whole, "a.jsonl", skip=True)
    assert [row[1:] for row in rows(found)] == [(5, 6), (8, 9)]
    assert "1 line that cannot be read left out (line 3: " in found.notes[0]
    assert trace(tmp_path, whole, "a.jsonl", most=1).notes == ()


def test_lines_of_no_tokens_are_counted(tmp_path: Path) -> None:
    found = trace(tmp_path, line(1, 5, 6) + line(2, 0, 6, [3]) + line(3, 5, 0) + line(4, 5, 7), "a.jsonl")
    assert [row[1:] for row in rows(found)] == [(5, 6), (5, 7)]
    assert "2 lines without a prompt or an answer left out (line 2: input_length is 0)" in found.notes[0]
    for text in ("", "\n\n", line(1, 0, 5)):
        with pytest.raises(InputError, match="no request in it"):
            trace(tmp_path, text, "a.jsonl")


def test_a_trace_is_a_file_of_lengths(tmp_path: Path) -> None:
    place = tmp_path / "trace.csv"
    place.write_text(USUAL["azure"])
    prompts, answers = lengths_of(str(place)).draw(1000, 0)
    assert set(zip(prompts.tolist(), answers.tolist(), strict=True)) == {(374, 44), (396, 109)}


def public(name: str) -> Path:
    place = TRACES / name
    if not place.is_file():
        pytest.skip(f"the public trace {name} is not on this machine")
    return place


def test_the_azure_trace() -> None:
    place = public("azure2023/AzureLLMInferenceTrace_conv.csv")
    found = checked(read_trace(place, "azure"))
    with place.open(newline="") as file:
        known = list(csv.DictReader(file))
    assert found.requests == len(known) == 19_366
    assert found.input.tolist() == [int(row["ContextTokens"]) for row in known]
    assert found.output.tolist() == [int(row["GeneratedTokens"]) for row in known]
    begin, end = (datetime.datetime.fromisoformat(known[at]["TIMESTAMP"][:26]) for at in (0, -1))
    assert found.arrival_s[-1] == pytest.approx((end - begin).total_seconds(), abs=2e-6)
    assert found.notes == ()


def test_the_mooncake_trace() -> None:
    place = public("mooncake/conversation_trace.jsonl")
    found = checked(read_trace(place))
    known = [json.loads(text) for text in place.read_text().splitlines()]
    assert found.requests == len(known) == 12_031
    assert round(found.input.mean()) == 12_035, "README of the release"
    assert round(found.output.mean()) == 343, "README of the release"
    np.testing.assert_allclose(found.arrival_s, [row["timestamp"] / 1e3 for row in known])
    assert found.blocks is not None
    assert found.blocks.ids.tolist() == [name for row in known for name in row["hash_ids"]], "named in order already"
    assert found.blocks.offsets[-1] == sum(len(row["hash_ids"]) for row in known)


def test_a_trace_of_more_than_thirty_years(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("arrival_s,input,output\n0,5,5\n2e9,5,5\n")
    with pytest.raises(InputError, match=r"long\.csv: lasts 2e\+09 s; must be at most 1e\+09 s"):
        read_trace(path)
    assert read_trace(path, speedup=10.0).requests == 2
