"""A file's format is found by its content, and what is no such file is refused in one line."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hardware_specs.errors import InputError
from simulator.calibration.foreign import registry
from simulator.calibration.foreign.registry import Format, known_formats, read_foreign

STREAM = """\
STREAM version $Revision: 5.10 $
This system uses 8 bytes per array element.
Array size = 1000000 (elements), Offset = 0 (elements)
Number of Threads counted = 4
Function    Best Rate MB/s  Avg time     Min time     Max time
Copy:           16000.0     0.001100     0.001000     0.001300
"""
LLAMA = """\
| model          |     size | params | backend | threads |  test |           t/s |
| -------------- | -------: | -----: | ------- | ------: | ----: | ------------: |
| llama 7B Q4_0  | 3.56 GiB | 6.74 B | CPU     |       8 | pp512 | 100.00 ± 1.00 |
"""


NCCL = """\
# nThread 1 nGpus 2 minBytes 8 maxBytes 128 step: 2(factor) warmup iters: 5 iters: 20 graph: 0
#  Rank  0 Group  0 Pid  100 on   node0 device  0 [0x07] NVIDIA A100
#  Rank  1 Group  0 Pid  100 on   node0 device  1 [0x0b] NVIDIA A100
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
     1048576        262144     float     sum      -1    20.00   52.43   52.43      0    21.00   49.93   49.93      0
"""
MLC = """\
Measuring Peak Injection Memory Bandwidths for the system
ALL Reads        :      200000.0
3:1 Reads-Writes :      180000.0
Measuring Memory Bandwidths between nodes within system
Numa node            0       1
       0        82329.6 33676.7
"""
ODD = ("nan", "inf", "-1", "1e999", "0", "", "N/A", "|", "{", "[", '"', "é", "9" * 5000, ":", "\t", "#")


def write(tmp_path: Path, text: str | bytes, name: str = "out.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_all_formats_of_the_folder_are_there() -> None:
    assert list(known_formats()) == ["babelstream", "llama-bench", "mlc", "nccl-tests", "nccl-tests-json", "stream"]
    assert all(each.made_by for each in known_formats().values())


def test_two_formats_of_one_name_are_refused() -> None:
    entry = known_formats()["stream"]
    with pytest.raises(ValueError, match="two formats are called 'stream'"):
        registry.register(Format("stream", "", entry.recognises, entry.read))


@pytest.mark.parametrize(
    ("encoding", "prefix"), [("utf-8", b""), ("utf-8", b"\xef\xbb\xbf"), ("utf-16-le", b"\xff\xfe")]
)
def test_redirected_output_is_read_in_any_encoding(tmp_path: Path, encoding: str, prefix: bytes) -> None:
    rows = read_foreign(write(tmp_path, prefix + LLAMA.encode(encoding))).model_rows
    assert [(row.tokens_per_s, row.sd) for row in rows] == [(100.0, 1.0)]


@pytest.mark.parametrize("label", ["0: ", " 12: ", "[1,0]<stdout>:", "\x1b[32m"])
def test_labels_of_launchers_and_colours_are_dropped(tmp_path: Path, label: str) -> None:
    text = "".join(f"{label}{line}\n" for line in STREAM.splitlines())
    assert [m.variant for m in read_foreign(write(tmp_path, text)).measurements] == ["stream.copy"]


def test_windows_line_ends(tmp_path: Path) -> None:
    assert len(read_foreign(write(tmp_path, STREAM.replace("\n", "\r\n"))).measurements) == 1


def test_an_unknown_file_names_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"begins with 'hello'\. Known: babelstream .*stream \(what STREAM prints\)"):
        read_foreign(write(tmp_path, "\n\nhello\n"))


def test_an_unknown_kind_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown format 'nccl'; did you mean 'nccl-tests'"):
        read_foreign(write(tmp_path, STREAM), "nccl")


def test_a_file_of_several_formats_is_refused_unless_one_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, STREAM + LLAMA)
    with pytest.raises(InputError, match="several formats: llama-bench, stream"):
        read_foreign(path)
    assert len(read_foreign(path, "stream").measurements) == 1


@pytest.mark.parametrize(
    ("data", "message"), [(b"a\0b", "not a text file"), (b"", "not a known format; it begins with ''")]
)
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_foreign(write(tmp_path, data))


def test_no_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_foreign(path)


def test_a_huge_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.calibration.foreign.text.MOST_BYTES", 100)
    with pytest.raises(InputError, match="bytes are no output of a benchmark"):
        read_foreign(write(tmp_path, STREAM))


@pytest.mark.parametrize("text", [STREAM, LLAMA, NCCL, MLC])
def test_whatever_is_broken_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    rng = random.Random(text)
    for _ in range(150):
        first = rng.randrange(len(text) + 1)
        last = min(len(text), first + rng.randint(0, 30))
        path = write(tmp_path, text[:first] + rng.choice(ODD) + text[last:])
        try:
            found = read_foreign(path)
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 900
            continue
        for m in found.measurements:
            assert 0.0 < m.low_s <= m.time_s <= m.high_s < 1e18
            assert 0.0 < m.operator.moved_bytes + m.operator.message_bytes < 1e19


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row in it that can be used"):
        read_foreign(write(tmp_path, STREAM.rsplit("Copy", 1)[0]))
