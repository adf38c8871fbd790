"""Files that are broken, too large or hostile: one line of an error, and nothing of them is executed."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardware_specs.errors import InputError
from workloads.importing import torch_export
from workloads.importing.dims import size_of, symbols_of
from workloads.importing.program import Binding
from workloads.importing.read import import_model


def tensor(*sizes: Any) -> dict[str, Any]:
    return {"dtype": 7, "sizes": [size if isinstance(size, dict) else {"as_int": size} for size in sizes]}


def node(name: str, target: str, inputs: dict[str, str], output: str) -> dict[str, Any]:
    return {
        "name": name, "target": target, "metadata": {},
        "inputs": [{"name": key, "arg": {"as_tensor": {"name": value}}} for key, value in inputs.items()],
        "outputs": [{"as_tensor": {"name": output}}],
    }  # fmt: skip


def document() -> dict[str, Any]:
    """y = relu(x w), as the schema of torch 2.13 has it."""
    return {
        "graph_module": {
            "graph": {
                "inputs": [], "outputs": [{"as_tensor": {"name": "y"}}],
                "nodes": [
                    node("linear", "torch.ops.aten.linear.default", {"input": "x", "weight": "w"}, "h"),
                    node("relu", "torch.ops.aten.relu.default", {"self": "h"}, "y"),
                ],
                "tensor_values": {"x": tensor(4, 8), "w": tensor(3, 8), "h": tensor(4, 3), "y": tensor(4, 3)},
                "sym_int_values": {}, "sym_bool_values": {},
            },
            "signature": {
                "input_specs": [
                    {"parameter": {"arg": {"name": "w"}, "parameter_name": "w.weight"}},
                    {"user_input": {"arg": {"as_tensor": {"name": "x"}}}},
                ]
            },
        }
    }  # fmt: skip


def archive(path: Path, content: Any, name: str = "a/models/model.json") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(name, content if isinstance(content, (str, bytes)) else json.dumps(content))
    return path


def refused(path: Path, words: str, binding: Binding | None = None) -> None:
    with pytest.raises(InputError, match=words) as caught:
        import_model(path, binding or Binding(1))
    assert len(str(caught.value)) < 1000


def test_the_plain_program_is_read(tmp_path: Path) -> None:
    found = import_model(archive(tmp_path / "a.pt2", document()), Binding(1))
    assert [(o.name, o.kind, o.sizes) for o in found.flow.operators] == [
        ("w", "gemm", {"m": 4.0, "n": 3.0, "k": 8.0}),
        ("relu", "elementwise", {"rows": 4.0, "cols": 3.0}),
    ]
    assert found.report.totals["parameters"] == 24.0


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    def never(*args: Any, **more: Any) -> Any:
        raise AssertionError("a pickle was read")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, never)
    path = tmp_path / "a.pt2"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("a/models/model.json", json.dumps(document()))
        made.writestr("a/data/sample_inputs/model.pt", b"cos\nsystem\n(S'touch owned'\ntR.")
        made.writestr("a/data/weights/weight_0", b"cos\nsystem\n(S'touch owned'\ntR.")
    assert import_model(path, Binding(1)).flow.operators


def test_endings_and_missing_files(tmp_path: Path) -> None:
    refused(tmp_path / "a.safetensors", "must end in .onnx or .pt2")
    refused(tmp_path / "a.pt2", "there is no such file")
    (tmp_path / "b.pt2").mkdir()
    refused(tmp_path / "b.pt2", "there is no such file")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04\x95", bytes(1000)])
def test_no_archive(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pt2"
    path.write_bytes(content)
    refused(path, "not a whole zip archive")


def test_an_archive_of_torch_save_is_no_program(tmp_path: Path) -> None:
    refused(archive(tmp_path / "a.pt2", b"\x80\x02}q\x00.", "archive/data.pkl"), "torch.save")


def test_zip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_export, "LARGEST_JSON", 1000)
    refused(archive(tmp_path / "a.pt2", " " * 100_000), "unpacks to 100000 bytes; at most 1000")


@pytest.mark.parametrize("content", ["", "[1", "[" * 100_000, '"text"', "[]", '{"graph_module": 1}', "1" * 5000])
def test_broken_json(tmp_path: Path, content: str) -> None:
    refused(archive(tmp_path / "a.pt2", content), "a.pt2: ")


def test_cycle(tmp_path: Path) -> None:
    made = document()
    made["graph_module"]["graph"]["nodes"].reverse()
    refused(archive(tmp_path / "a.pt2", made), "nodes must be in order and have no cycle")


def test_huge_sizes(tmp_path: Path) -> None:
    made = document()
    made["graph_module"]["graph"]["tensor_values"]["h"] = tensor(10**30, 3)
    refused(archive(tmp_path / "a.pt2", made), "each size must be from 0 to 2\\^40")


def test_expressions_are_not_executed(tmp_path: Path) -> None:
    for text in ("__import__('os').system('touch owned')", "Symbol('s0').x", "open('x')", "1 +", "9" * 20_000):
        made = document()
        made["graph_module"]["graph"]["tensor_values"]["x"] = tensor({"as_expr": {"expr_str": text}}, 8)
        refused(archive(tmp_path / "a.pt2", made), "a.pt2: ", Binding(1, named={"s0": 4} if "s0" in text else {}))


def test_sizes_of_expressions() -> None:
    text = "Add(Mul(Integer(4), Symbol('s77', positive=True, integer=True)), Integer(-1))"
    assert symbols_of(text, "here") == ("s77",)
    assert size_of(text, {"s77": 3}, "here") == 11
    with pytest.raises(InputError, match="cannot be computed"):
        size_of(text, {}, "here")
    with pytest.raises(InputError, match="must be a whole number of at least 0"):
        size_of(text, {"s77": 0}, "here")
    with pytest.raises(InputError, match="cannot be computed"):
        size_of("Pow(Integer(10), Integer(10000000))", {}, "here")


def test_names_with_markup_become_plain(tmp_path: Path) -> None:
    made = document()
    made["graph_module"]["signature"]["input_specs"][0]["parameter"]["parameter_name"] = "<script>[red]\x1b[31m\n\"'é"
    made["graph_module"]["graph"]["nodes"][1]["name"] = "../../etc/[bold]" + "x" * 5000
    found = import_model(archive(tmp_path / "a.pt2", made), Binding(1))
    for text in (*(o.name for o in found.flow.operators), *(row["node"] for row in found.report.nodes)):
        assert text.isascii() and len(text) <= 120 and not set(text) & set("<>[]/\"'\n\x1b")


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    made = document()
    made["graph_module"]["graph"]["nodes"][1]["target"] = "torch.ops.mine.strange.default"
    report = import_model(archive(tmp_path / "a.pt2", made), Binding(1)).report
    (row,) = [row for row in report.nodes if row["outcome"] == "not mapped"]
    assert row["why"] == "operator mine.strange.default is not known"
    assert 0.0 < report.totals["bytes_covered"] < 1.0
    assert any("not mapped" in note for note in report.notes)


def test_dimensions_without_a_size(tmp_path: Path) -> None:
    made = document()
    values = made["graph_module"]["graph"]["tensor_values"]
    for name, cols in (("x", 8), ("h", 3), ("y", 3)):
        values[name] = tensor(
            {"as_expr": {"expr_str": "Symbol('s0')"}}, {"as_expr": {"expr_str": "Symbol('s1')"}}, cols
        )
    path = archive(tmp_path / "a.pt2", made)
    refused(path, "'s1' is symbolic; say how large it is: --seq N")
    refused(path, "has no such symbolic dimension", Binding(1, 4, {"s9": 3}))
    found = import_model(path, Binding(2, 5))
    assert found.flow.operators[0].sizes["m"] == 5.0


def test_damaged_files_are_refused_or_read(exported: Callable[..., Path], tmp_path: Path) -> None:
    """Bytes of real files changed at random, 60 times each, by one seed."""
    chance = random.Random(7)
    for ending in (".pt2", ".onnx"):
        whole = exported("bert-unfused", ending).read_bytes()
        path = tmp_path / f"damaged{ending}"
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(chance.choice((1, 5, 20))):
                data[chance.randrange(len(data))] = chance.randrange(256)
            path.write_bytes(data[: chance.choice((len(data), len(data) // 2))])
            try:
                import_model(path, Binding(1))
            except InputError as error:
                assert str(error)
