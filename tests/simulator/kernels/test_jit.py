"""Compiled functions without a way in from Python are called by compiled ones alone: a call from there is a crash."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
CODE = ("simulator", "silicost", "reports", "workloads", "hardware_specs", "benchmarks", "tests", "docs")
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
    for room in CODE:
        for path in (ROOT / room).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            text = path.read_text(encoding="utf-8")
            if not module.startswith(TARGETS) and not any(target in text for target in TARGETS):
                continue
            tree = ast.parse(text)
            functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
            parts |= {f"{module}.{each.name}" for each in functions if "law_part" in decorators(each)}
            uses |= set(python_uses(tree, module, imported(tree)))
    assert len(parts) > 100
    assert "simulator.kernels.fleet.run.run" in uses
    assert parts & uses == set()


def test_a_call_from_python_is_found() -> None:
    text = """
from simulator.kernels.fleet import run as fleet
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
