"""Sizes of symbolic dimensions, as torch.export writes them: ``Mul(Integer(4), Symbol('s77', positive=True))``.

The text is parsed, and only the arithmetic listed here is done; nothing is executed.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import Final

from hardware_specs.errors import InputError, clipped

LONGEST: Final = 10_000
"""Longest expression [characters]."""

_FUNCTIONS: Final[dict[str, Callable[[list[float]], float]]] = {
    "Add": math.fsum,
    "Mul": math.prod,
    "Max": max,
    "Min": min,
    "FloorDiv": lambda v: math.floor(v[0] / v[1]),
    "CleanDiv": lambda v: math.floor(v[0] / v[1]),
    "CeilDiv": lambda v: math.ceil(v[0] / v[1]),
    "IntTrueDiv": lambda v: v[0] / v[1],
    "Mod": lambda v: math.fmod(v[0], v[1]),
    "PythonMod": lambda v: v[0] % v[1],
    "Pow": lambda v: math.pow(v[0], v[1]),
    "PowByNatural": lambda v: math.pow(v[0], v[1]),
    "Rational": lambda v: v[0] / v[1],
    "Integer": lambda v: v[0],
    "Float": lambda v: v[0],
    "TruncToInt": lambda v: math.trunc(v[0]),
    "ToFloat": lambda v: v[0],
    "Identity": lambda v: v[0],
}


def symbols_of(text: str, place: str) -> tuple[str, ...]:
    """Names of the symbols in an expression."""
    found = [str(n.args[0].value) for n in ast.walk(_parse(text, place)) if _is_symbol(n)]  # type: ignore[attr-defined]
    return tuple(dict.fromkeys(found))


def size_of(text: str, sizes: Mapping[str, int], place: str) -> int:
    """The size that an expression stands for.

    Raises:
        InputError: no such expression, or one that is no whole number of at least 0.
    """
    try:
        value = _value(_parse(text, place), sizes, 0)
    except (ArithmeticError, ValueError, IndexError, TypeError, KeyError, RecursionError):
        raise InputError(f"{place}: dimension {clipped(text)!r} cannot be computed") from None
    if not math.isfinite(value) or value < 0 or value != int(value):
        raise InputError(f"{place}: dimension {clipped(text)!r} is {value:g}; must be a whole number of at least 0")
    return int(value)


def _parse(text: str, place: str) -> ast.expr:
    if len(text) > LONGEST:
        raise InputError(f"{place}: a dimension of {len(text)} characters; at most {LONGEST}")
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"{place}: dimension {clipped(text)!r} is no expression") from None


def _is_symbol(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Symbol"
        and bool(node.args)
        and isinstance(node.args[0], ast.Constant)
    )


def _value(node: ast.expr, sizes: Mapping[str, int], depth: int) -> float:
    if depth > 100:
        raise ValueError(depth)
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str)):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, sizes, depth + 1)
    if isinstance(node, ast.Name):
        return float(sizes[node.id])
    if not isinstance(node, ast.Call):
        raise ValueError(ast.dump(node))
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    if name == "Symbol":
        return float(sizes[str(getattr(node.args[0], "value", ""))])
    return float(_FUNCTIONS[name]([_value(argument, sizes, depth + 1) for argument in node.args]))
