"""Scratch files leave nothing behind, reads go through them in order, and what is missing is said."""

from __future__ import annotations

import collections
import gc
import os
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

from simulator.calibration.probes import disk, host_copies
from simulator.calibration.probes.registry import Machine

MIB = 1 << 20
MACHINE = Machine("cpu", 1, 256e3, 50e6, ("fp32",), quick=True)


@pytest.fixture
def on_disk(tmp_path: Path) -> Path:
    if reason := disk.missing_in(tmp_path, 8 * MIB):
        pytest.skip(reason)
    return tmp_path


@pytest.mark.parametrize("direct", [True, False])
def test_reads_go_round_the_file(on_disk: Path, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not direct:
        monkeypatch.setattr(disk, "_made_direct", lambda file: False)
    read, places, dropped = os.preadv, [], []
    monkeypatch.setattr(os, "preadv", lambda number, into, place: places.append(place) or read(number, into, place))
    monkeypatch.setattr(os, "posix_fadvise", lambda number, start, size, advice: dropped.append((start, size)))
    call = disk.reader(on_disk, MIB, 3 * MIB)
    assert [call() for _ in range(4)] == [MIB] * 4
    assert places == [0, MIB, 2 * MIB, 0]
    assert dropped == ([] if direct and disk.takes_direct(on_disk) else [(place, MIB) for place in places])


def test_large_reads_are_several_requests(on_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, places = os.preadv, []
    monkeypatch.setattr(os, "preadv", lambda number, into, place: places.append(place) or read(number, into, place))
    assert disk.reader(on_disk, 8 * MIB, 8 * MIB)() == 8 * MIB
    assert places == [0, 4 * MIB]


@pytest.mark.parametrize("size", [4096, MIB, 5 * MIB])
def test_writes_reach_the_drive(on_disk: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size) or sync(number))
    call = disk.writer(on_disk, size)
    assert call() == size
    assert synced == [size, size]


def test_nothing_has_a_name_even_while_it_is_used(on_disk: Path) -> None:
    calls = [disk.reader(on_disk, 4096, MIB), disk.writer(on_disk, MIB)]
    for call in calls:
        call()
    assert list(on_disk.iterdir()) == []
    opened = Path("/proc/self/fd")
    before = len(list(opened.iterdir())) if opened.is_dir() else 0
    calls.clear()
    del call
    gc.collect()
    assert not before or len(list(opened.iterdir())) == before - 2


def test_a_full_drive_closes_the_file(on_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda number, block, place: len(block) // 2)
    with pytest.raises(OSError, match=r"only 524288 of 1048576 bytes"):
        disk.writer(on_disk, MIB)
    assert list(on_disk.iterdir()) == []


def test_scratch_files_are_bounded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 268435456"):
        disk.scratch(tmp_path, disk.LARGEST + 4096)
    for quick in (False, True):
        machine = Machine("cpu", 1, 0.0, 1e9, ("fp32",), quick)
        for case in host_copies.transfers(tmp_path, machine):
            assert case.operator.message_bytes <= disk.LARGEST
            assert 32 * MIB % case.operator.message_bytes == 0


def test_bytes_cannot_be_compressed() -> None:
    block = disk._noise(4100)
    assert len(block) == 4100
    assert len(set(block)) > 200


def test_missing_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/b {tmp_path}/deep xfs rw 0 0\nnone {tmp_path} tmpfs rw 0 0\n/dev/a / ext4 rw 0 0\n")
    reason = f"{tmp_path} lies in memory (tmpfs); choose a folder on a drive (TMPDIR)"
    assert disk.missing_in(tmp_path, MIB, mounts) == reason
    (tmp_path / "deep").mkdir()
    assert disk.missing_in(tmp_path / "deep", MIB, mounts) == ""
    assert "cannot be written (No such file" in disk.missing_in(tmp_path / "none", MIB, tmp_path / "no mounts")
    mounts.write_text("/dev/a / ext4 rw 0 0\n")
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(10 * MIB, 9 * MIB, MIB))
    assert disk.missing_in(tmp_path, MIB, mounts) == f"{tmp_path} has less than 2 MiB free"


def test_missing_permission_and_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    no_mounts = tmp_path / "none"
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert disk.missing_in(tmp_path, MIB, no_mounts) == f"{tmp_path} cannot be written (Permission denied)"
    monkeypatch.delattr(os, "posix_fadvise")
    assert "no way around its page cache" in disk.missing_in(tmp_path, MIB, no_mounts)


def test_the_folder_can_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(disk, "missing_in", lambda folder, size: asked.append(folder) or "")
    host_copies.disk_probe(tmp_path).missing(MACHINE)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "usual"))
    host_copies.disk_probe().missing(MACHINE)
    assert asked == [tmp_path, tmp_path / "usual"]


def test_the_variant_says_how_the_cache_was_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for direct, variant in ((True, "direct"), (False, "dropped")):
        monkeypatch.setattr(disk, "_made_direct", lambda file, direct=direct: direct)
        found = {c.operator.name: c.variant for c in host_copies.transfers(tmp_path, MACHINE)}
        assert found == {"disk.read": variant, "disk.write": "fsync"}
