"""The store: what is there stays there, and what is wrong is said."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from toy_study import Toy, evaluations

from hardware_specs.errors import InputError
from simulator.explore.executors import InProcess, Outcome, run_parts
from simulator.explore.manifest import MANIFEST, read_manifest
from simulator.explore.parts import part_path
from simulator.explore.progress import Progress
from simulator.explore.reading import open_study
from simulator.explore.store import open_store

ROOT = Path(__file__).parents[3]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    place = tmp_path / "log"
    place.mkdir()
    return place


def run(folder: Path, toy: Toy, warnings: list[str] | None = None, title: str = "toy") -> Outcome:
    with open_store(folder, toy.definition(title), ([] if warnings is None else warnings).append) as writer:
        return run_parts(writer, InProcess(), toy.work)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_study_from_beginning_to_end(tmp_path: Path, log: Path) -> None:
    outcome = run(tmp_path / "study", Toy(log=str(log)))
    assert outcome.is_whole
    assert outcome.progress.rows == 400
    manifest = read_manifest(tmp_path / "study")
    assert manifest.is_whole
    assert [(part.start, part.stop, part.rows) for part in manifest.parts] == [
        (0, 100, 100), (100, 200, 100), (200, 300, 100), (300, 400, 100),
    ]  # fmt: skip
    assert manifest.definition == Toy(log=str(log)).definition()
    assert set(manifest.versions) == {"silicost", "python", "numpy", "numba", "pyarrow"}
    assert sorted(files(tmp_path / "study")) == sorted(
        [MANIFEST, *(f"parts/{part.key}.parquet" for part in manifest.parts)]
    )
    frame = open_study(tmp_path / "study").to_pandas()
    assert list(frame.columns) == ["model", "step", "time_s", "fits", "feasible", "reason"]
    assert list(zip(frame["model"], frame["step"], strict=True)) == [(m, n) for m in "abcd" for n in range(100)]
    assert frame["time_s"].isna().sum() == 40
    assert set(frame["reason"][~frame["fits"]]) == {"memory"}


def test_running_again_computes_nothing(tmp_path: Path, log: Path) -> None:
    toy = Toy(log=str(log))
    run(tmp_path / "study", toy)
    before = files(tmp_path / "study" / "parts")
    created = read_manifest(tmp_path / "study").created
    warnings: list[str] = []
    outcome = run(tmp_path / "study", toy, warnings)
    assert len(evaluations(log)) == 4
    assert (outcome.progress.parts_kept, outcome.progress.parts_made, outcome.progress.rows) == (4, 0, 400)
    assert files(tmp_path / "study" / "parts") == before
    assert read_manifest(tmp_path / "study").created == created
    assert warnings == []


def test_a_grown_axis_computes_what_is_new(tmp_path: Path, log: Path) -> None:
    run(tmp_path / "study", Toy(("a", "b"), log=str(log)))
    outcome = run(tmp_path / "study", Toy(("a", "b", "c"), log=str(log)))
    assert len(evaluations(log)) == 3
    assert outcome.progress.parts_kept == 2
    assert open_study(tmp_path / "study").to_pandas()["model"].unique().tolist() == ["a", "b", "c"]


def test_another_evaluator_computes_all_anew_and_says_so(tmp_path: Path, log: Path) -> None:
    run(tmp_path / "study", Toy(log=str(log)))
    warnings: list[str] = []
    run(tmp_path / "study", Toy(log=str(log), fingerprint="toy 2"), warnings)
    assert len(evaluations(log)) == 8
    (warning,) = warnings
    assert "4 parts were computed by other laws" in warning
    assert read_manifest(tmp_path / "study").rows == 400
    run(tmp_path / "study", Toy(log=str(log)))
    assert len(evaluations(log)) == 8


def test_rows_of_two_evaluators_are_never_in_one_table(tmp_path: Path) -> None:
    run(tmp_path / "study", Toy())
    other = Toy(fingerprint="toy 2")

    def stop(progress: Progress) -> None:
        if progress.parts_made == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_store(tmp_path / "study", other.definition()) as writer:
        run_parts(writer, InProcess(), other.work, progress=stop)
    assert [part.start for part in read_manifest(tmp_path / "study").parts] == [0]


def test_a_stopped_run_loses_no_part(tmp_path: Path, log: Path) -> None:
    toy = Toy(log=str(log))

    def stop(progress: object) -> None:
        if len(evaluations(log)) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_store(tmp_path / "study", toy.definition()) as writer:
        run_parts(writer, InProcess(), toy.work, progress=stop)
    assert read_manifest(tmp_path / "study").points == 200
    run(tmp_path / "study", toy)
    assert len(evaluations(log)) == 4


def test_parts_without_the_manifest_are_found(tmp_path: Path, log: Path) -> None:
    run(tmp_path / "study", Toy(log=str(log)))
    (tmp_path / "study" / MANIFEST).rename(tmp_path / "study" / "old.json")
    run(tmp_path / "study", Toy(log=str(log)))
    assert len(evaluations(log)) == 4
    assert read_manifest(tmp_path / "study").is_whole


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-20], lambda data: b"", lambda data: data[:99] + b"!" + data[100:]]
)
def test_a_damaged_part_is_set_aside_and_computed_anew(
    tmp_path: Path, log: Path, damage: Callable[[bytes], bytes]
) -> None:
    toy = Toy(log=str(log))
    run(tmp_path / "study", toy)
    table = open_study(tmp_path / "study").to_arrow()
    part = part_path(tmp_path / "study", read_manifest(tmp_path / "study").parts[1].key)
    whole, broken = part.read_bytes(), damage(part.read_bytes())
    part.write_bytes(broken)
    with pytest.raises(InputError, match=r"damaged .* run the study again"):
        open_study(tmp_path / "study").to_arrow()
    warnings: list[str] = []
    run(tmp_path / "study", toy, warnings)
    (warning,) = warnings
    assert f"{part}: damaged" in warning
    assert len(evaluations(log)) == 5
    assert part.read_bytes() == whole
    assert part.with_name(f"{part.name}.damaged").read_bytes() == broken
    assert open_study(tmp_path / "study").to_arrow().equals(table)


def test_a_part_that_is_gone(tmp_path: Path, log: Path) -> None:
    toy = Toy(log=str(log))
    run(tmp_path / "study", toy)
    part_path(tmp_path / "study", read_manifest(tmp_path / "study").parts[2].key).unlink()
    with pytest.raises(InputError, match="is gone; run the study again"):
        open_study(tmp_path / "study").to_arrow()
    run(tmp_path / "study", toy)
    assert sorted(name.split("-")[0] for name in evaluations(log)) == ["0", "100", "200", "200", "300"]


def test_a_full_disk_loses_nothing(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy, room, real = Toy(log=str(log)), [5], os.fsync

    def full(descriptor: int) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"\.parquet: cannot be written \(No space left on device\)"):
            run(tmp_path / "study", toy)
    done = len(list((tmp_path / "study" / "parts").glob("*.parquet")))
    assert 1 <= done < 4
    assert not [name for name in files(tmp_path / "study") if name.endswith((".tmp", ".lock"))]
    read_manifest(tmp_path / "study")
    tried = len(evaluations(log))
    assert run(tmp_path / "study", toy).progress.parts_kept == done
    assert len(evaluations(log)) == tried + 4 - done


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(InputError, match=r"study: cannot be written \(Permission denied\)"):
        run(tmp_path / "study", Toy())


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"cannot be written \(Permission denied\)"):
        run(tmp_path / "study", Toy())


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "study").write_text("mine")
    for place in (tmp_path / "study", tmp_path / "study" / "below"):
        with pytest.raises(InputError, match=r"study"):
            run(place, Toy())
    assert (tmp_path / "study").read_text() == "mine"


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"holds other things \(thesis.tex\) and no study"):
        run(tmp_path, Toy())
    assert files(tmp_path) == {"thesis.tex": b"mine"}


@pytest.mark.parametrize(("title", "words"), [("other", "the study 'toy', not 'other'")])
def test_the_folder_of_another_study(tmp_path: Path, title: str, words: str) -> None:
    run(tmp_path / "study", Toy())
    before = files(tmp_path / "study")
    with pytest.raises(InputError, match=words):
        run(tmp_path / "study", Toy(), title=title)
    other = msgspec.structs.replace(Toy().definition(), axes=("model", "batch"))
    with (
        pytest.raises(InputError, match="a study over model, step, not over model, batch"),
        open_store(tmp_path / "study", other),
    ):
        pass
    assert files(tmp_path / "study") == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema": 99, "parts": "new"}', "schema 99; this version of silicost reads schema 1"),
        ('{"schema": 1}', "is no manifest of a study"),
        ("{", "is no manifest of a study"),
        ("", "is no manifest of a study"),
        ("\udcff", "is no manifest of a study"),
    ],
)
def test_manifests_that_cannot_be_used(tmp_path: Path, text: str, words: str) -> None:
    run(tmp_path / "study", Toy())
    (tmp_path / "study" / MANIFEST).write_bytes(text.encode("utf-8", "surrogateescape"))
    before = files(tmp_path / "study")
    for use in (lambda: run(tmp_path / "study", Toy()), lambda: open_study(tmp_path / "study")):
        with pytest.raises(InputError, match=words):
            use()
    assert files(tmp_path / "study") == before


def test_what_others_left_unfinished_is_removed(tmp_path: Path) -> None:
    parts = tmp_path / "study" / "parts"
    parts.mkdir(parents=True)
    (parts / ".abc.parquet.1-2.tmp").write_text("half")
    (tmp_path / "study" / ".study.json.1-2.tmp").write_text("half")
    run(tmp_path / "study", Toy())
    assert not [name for name in files(tmp_path / "study") if name.endswith(".tmp")]


def test_two_processes_on_one_study(tmp_path: Path) -> None:
    folder, toy = tmp_path / "study", Toy()
    script = (
        "import sys; from pathlib import Path; from toy_study import Toy\n"
        "from simulator.explore.store import open_store\n"
        "with open_store(Path(sys.argv[1]), Toy().definition()): pass"
    )
    paths = os.pathsep.join((str(ROOT), str(Path(__file__).parent)))
    with open_store(folder, toy.definition()):
        other = subprocess.run(
            [sys.executable, "-c", script, str(folder)], env={**os.environ, "PYTHONPATH": paths}, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        assert f"in use by process {os.getpid()} on " in other.stderr
        assert json.loads((folder / "study.lock").read_text())["pid"] == os.getpid()
    assert not (folder / "study.lock").exists()
    run(folder, toy)
