"""Whole-number arithmetic of scripts, ``A * B / 2``, and lists such as ``[0]*3+[1]*58``, without running anything."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Final

from hardware_specs.errors import InputError, clipped

_LONGEST: Final = 300
_LARGEST: Final = 10**18
_MOST_ITEMS: Final = 100_000
_WHOLE: Final[Mapping[type, Callable[[int, int], int]]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: _towards_zero(a, b),
    ast.FloorDiv: lambda a, b: _towards_zero(a, b),
    ast.Mod: lambda a, b: a - b * _towards_zero(a, b),
}

_COMPARED: Final[Mapping[type, Callable[[int, int], bool]]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip


def whole(text: str, place: str) -> int:
    """The value of an expression of whole numbers with ``+ - * / %`` and brackets; division is towards zero.

    A comparison is 1 or 0, and ``a ? b : c`` chooses.

    Raises:
        InputError: anything else, division by zero, or numbers beyond 1e18.
    """
    test, chooses, rest = text.partition("?")
    if chooses:
        first, _, second = rest.partition(":")
        return whole(first if whole(test, place) else second, place)
    value = _value(_tree(text, place), text, place)
    if not isinstance(value, int):
        raise _cannot(text, place)
    return value


def whole_list(text: str, place: str) -> list[int]:
    """The value of an expression of lists of whole numbers with ``+`` and ``*``.

    Raises:
        InputError: anything else, or more than 100,000 items.
    """
    value = _value(_tree(text, place), text, place)
    if not isinstance(value, list):
        raise _cannot(text, place)
    return value


def _tree(text: str, place: str) -> ast.expr:
    if len(text) > _LONGEST:
        raise _cannot(text, place)
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _cannot(text, place) from None


def _value(node: ast.expr, text: str, place: str) -> int | list[int]:
    if isinstance(node, ast.Constant) and type(node.value) is int and abs(node.value) <= _LARGEST:
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = _value(node.operand, text, place)
        if isinstance(inner, int):
            return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARED:
        left, right = _value(node.left, text, place), _value(node.comparators[0], text, place)
        if isinstance(left, int) and isinstance(right, int):
            return int(_COMPARED[type(node.ops[0])](left, right))
    if isinstance(node, ast.List):
        items = [_value(item, text, place) for item in node.elts]
        return [item for item in items if isinstance(item, int)]
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, text, place), _value(node.right, text, place)
        return _both(left, right, type(node.op), text, place)
    raise _cannot(text, place)


def _both(left: int | list[int], right: int | list[int], kind: type, text: str, place: str) -> int | list[int]:
    if isinstance(left, int) and isinstance(right, int):
        if kind not in _WHOLE or (right == 0 and kind in (ast.Div, ast.FloorDiv, ast.Mod)):
            raise _cannot(text, place)
        value = _WHOLE[kind](left, right)
        if abs(value) > _LARGEST:
            raise _cannot(text, place)
        return value
    if kind is ast.Add and isinstance(left, list) and isinstance(right, list):
        return _few([*left, *right], text, place)
    if kind is ast.Mult and isinstance(left, list) and isinstance(right, int):
        if len(left) * max(right, 0) > _MOST_ITEMS:
            raise _cannot(text, place)
        return left * right
    raise _cannot(text, place)


def _few(items: list[int], text: str, place: str) -> list[int]:
    if len(items) > _MOST_ITEMS:
        raise _cannot(text, place)
    return items


def _towards_zero(a: int, b: int) -> int:
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _cannot(text: str, place: str) -> InputError:
    return InputError(
        f"{place}: {clipped(text)!r} cannot be worked out; allowed: whole numbers with + - * / % and brackets, lists "
        "of them with + and *"
    )
