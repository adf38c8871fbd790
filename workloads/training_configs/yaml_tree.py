"""YAML files as flat keys, with the interpolations of Hydra and OmegaConf that can be worked out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from hardware_specs.errors import InputError, clipped
from workloads.training_configs import expressions
from workloads.training_configs.settings import UNSET, Given

_MOST_KEYS: Final = 20_000
_DEEPEST: Final = 30
_INNERMOST: Final = re.compile(r"\$\{([^${}]*)\}")
_OPERATORS: Final = {
    "multiply": "*", "mul": "*", "add": "+", "sum": "+", "subtract": "-", "sub": "-", "divide": "/", "div": "/",
    "floor_div": "/", "int_div": "/",
}  # fmt: skip


def load_yaml(text: str, file: str) -> dict[str, Any]:
    """The mapping in a YAML text; only plain data are built.

    Raises:
        InputError: PyYAML is not there, the text is not YAML, or no mapping.
    """
    try:
        import yaml
    except ImportError:
        raise InputError(f"{file}: YAML files need PyYAML; it comes with silicost[configs]") from None
    try:
        root = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f": line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        problem = clipped(" ".join(str(problem).split()))
        raise InputError(f"{file}{where}: not YAML that can be read: {problem}") from None
    except (ValueError, RecursionError, OverflowError):
        raise InputError(f"{file}: not YAML that can be read: nested too deeply, or a number that is none") from None
    if not isinstance(root, dict):
        raise InputError(f"{file}: holds {type(root).__name__}; allowed: a mapping with model: and trainer:")
    return root


def leaves(root: dict[str, Any], file: str) -> list[Given]:
    """Every value of a tree with its dotted key; lists of plain values are one value.

    Raises:
        InputError: the tree holds itself, or has more than 20,000 values.
    """
    found: list[Given] = []
    for key, value in _walk(root, "", 0, file):
        found.append(Given(_resolved(value, root, key, 0), file, key))
        if len(found) > _MOST_KEYS:
            raise InputError(f"{file}: has more than {_MOST_KEYS} values; no configuration has")
    return found


def _walk(node: Any, key: str, depth: int, file: str) -> Iterator[tuple[str, Any]]:
    if depth > _DEEPEST:
        raise InputError(f"{file}: {clipped(key)}: nested too deeply, or holds itself")
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _walk(value, f"{key}.{name}" if key else str(name), depth + 1, file)
    elif isinstance(node, list) and any(isinstance(item, (dict, list)) for item in node):
        for index, item in enumerate(node):
            yield from _walk(item, f"{key}.{index}", depth + 1, file)
    else:
        yield key, node


def _resolved(value: Any, root: dict[str, Any], key: str, depth: int) -> Any:
    """``value`` with its interpolations worked out; marked as unknown where one cannot be."""
    if not isinstance(value, str) or "${" not in value:
        return value
    if depth > _DEEPEST:
        return f"{UNSET}{value}{UNSET}"
    whole = _INNERMOST.fullmatch(value.strip())
    if whole and ":" not in whole[1]:
        return _named(whole[1], root, key, depth)
    for _ in range(_DEEPEST):
        match = _INNERMOST.search(value)
        if match is None:
            break
        value = value[: match.start()] + str(_worked_out(match[1], root, key, depth)) + value[match.end() :]
        if len(value) > 10_000:
            break
    return value


def _worked_out(inside: str, root: dict[str, Any], key: str, depth: int) -> Any:
    """What ``${inside}`` stands for."""
    name, colon, rest = inside.partition(":")
    if not colon:
        return _named(inside, root, key, depth)
    arguments = [part.strip() for part in rest.split(",")]
    if name == "oc.env" and len(arguments) == 2:
        return arguments[1].strip("'\"")
    if name in _OPERATORS and UNSET not in rest:
        try:
            return expressions.whole(_OPERATORS[name].join(f"({part})" for part in arguments), key)
        except InputError:
            pass
    return _unknown(inside)


def _named(name: str, root: dict[str, Any], key: str, depth: int) -> Any:
    """The value of another key: from the root, from beside ``key`` with a dot in front, or without the name of the file
    that a launcher puts first."""
    parts = name.strip().split(".")
    paths = [parts, parts[1:]]
    if parts[0] == "":
        dots = len(name.strip()) - len(name.strip().lstrip("."))
        parents = key.split(".")
        paths = [[*parents[: max(len(parents) - dots, 0)], *parts[dots:]]]
    for path in paths:
        node: Any = root
        for part in path:
            node = node.get(part, _MISSING) if isinstance(node, dict) else _MISSING
        if path and node is not _MISSING and not isinstance(node, (dict, list)):
            return _resolved(node, root, ".".join(path), depth + 1)
    return _unknown(name)


def _unknown(inside: str) -> str:
    return f"{UNSET}{inside.replace(UNSET, '')}{UNSET}"


_MISSING: Final = object()
