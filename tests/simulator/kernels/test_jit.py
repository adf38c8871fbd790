"""Compiled functions without a way in from Python are called by compiled ones alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.kernels.cache import ROOMS, sources
from simulator.kernels.jit import law_kernel, law_part

ROOT = Path(__file__).parents[3]
COMPILED = frozenset({"law_kernel", "law_part", "njit"})
TARGETS = ("simulator.kernels", "simulator.devices", "simulator.schedules", "simulator.goodput", "simulator.network")


def decorators(function: ast.FunctionDef) -> set[str]:
    """Names of the decorators of a function."""
    found = (each.func if isinstance(each, ast.Call) else each for each in function.decorator_list)
    return {each.id if isinstance(each, ast.Name) else getattr(each, "attr", "") for each in found}


def imported(tree: ast.AST) -> dict[str, str]:
    """What the names that a module imports stand for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
        elif isinstance(node, ast.Import):
            names |= {each.asname: each.name for each in node.names if each.asname}
    return names


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of such an expression, else ""."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def python_uses(node: ast.AST, module: str, names: dict[str, str]) -> Iterator[str]:
    """Full names of what stands in a module outside compiled functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and decorators(child) & COMPILED:
            continue
        text = dotted(child)
        if text:
            head, _, rest = text.partition(".")
            yield ".".join(part for part in (names.get(head, f"{module}.{head}"), rest) if part)
        yield from python_uses(child, module, names)


def test_parts_are_called_by_compiled_functions_alone() -> None:
    parts, uses = set[str](), set[str]()
    for path in (ROOT / "simulator").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text(encoding="utf-8")
        if not module.startswith(TARGETS) and "simulator.kernels" not in text:
            continue
        tree = ast.parse(text)
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        parts |= {f"{module}.{each.name}" for each in functions if "law_part" in decorators(each)}
        uses |= set(python_uses(tree, module, imported(tree)))
    assert len(parts) > 100
    assert "simulator.kernels.fleet.run.run" in uses
    assert parts & uses == set()


def names_in(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def compiled_files() -> list[Path]:
    """All files with compiled functions in the rooms of kernels."""
    return [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "import law_" in path.read_text()]


def test_what_is_compiled_in_comes_from_sources_of_the_directory() -> None:
    """Constants and callees of compiled functions, and what these files take from others, lie in ``sources``."""
    covered, wrong = set(sources()), []
    assert len(compiled_files()) > 15
    for path in compiled_files():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = imported(tree)
        functions = [each for each in tree.body if isinstance(each, ast.FunctionDef) and decorators(each) & COMPILED]
        used = {name for function in functions for part in function.body for name in names_in(part)}
        for each in tree.body:  # constants of the file are made of what stands behind them
            targets = each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)]
            if any(isinstance(target, ast.Name) and target.id in used for target in targets):
                used |= names_in(each)
        for full in (names.get(name, "") for name in sorted(used)):
            if full.startswith(("simulator.", "workloads.", "hardware_specs.")):
                module = ROOT.joinpath(*full.split(".")[:-1]).with_suffix(".py")
                whole = ROOT.joinpath(*full.split(".")).with_suffix(".py")
                if not {module, whole} & covered:
                    wrong.append(f"{path.name}: {full}")
    assert wrong == []


def twice(value: float) -> float:
    return 2.0 * value


PART = law_part(twice)


@law_kernel
def twice_and_one(value: float) -> float:
    return float(PART(value) + 1.0)


def test_a_call_from_python_is_refused() -> None:
    """Before a compiled function has used it, after, and where it was found compiled."""
    for _ in range(2):
        with pytest.raises(TypeError, match=r"twice\(\) is called by compiled functions only"):
            PART(1.0)
        assert twice_and_one(3.0) == 7.0
    PART.compile("float64(float64)")
    with pytest.raises(TypeError, match="compiled functions only"):
        PART(1.0)
    assert PART.py_func(1.5) == 3.0


def test_a_call_from_python_is_found() -> None:
    text = """
from simulator.kernels.fleet import run as fleet
from simulator.kernels.cache import ROOMS, sources
from simulator.kernels.jit import law_kernel

@law_kernel
def inside():
    return fleet.hidden(1)

def outside():
    return fleet.seen(1)
"""
    tree = ast.parse(text)
    uses = set(python_uses(tree, "here", imported(tree)))
    assert "simulator.kernels.fleet.run.seen" in uses
    assert "simulator.kernels.fleet.run.hidden" not in uses
