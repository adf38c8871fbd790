"""The page of the Python interface, from the names that ``silicost`` exports: signatures and docstrings."""

from __future__ import annotations

import inspect
import re
import types
from typing import Any

import silicost
from silicost.scenarios import one_pool

HEAD = """# Python

Made from the code by `python docs/make/write.py`: what `import silicost` gives. Everything else is internal and may
change; pages that import more than this show what there is today.

```py
import silicost

scenario = silicost.inference_scenario("llama-3.1-8b", "l40s", batch=4, isl=1024, osl=256)
result = silicost.simulate(scenario)
print(result.metrics["tpot_s"], result.intervals["tpot_s"].p90, result.bound["decode"])

faster = silicost.inference_scenario(
    "llama-3.1-8b", "l40s", batch=4, isl=1024, osl=256, changes={"device.memory.bandwidth": "2x"}
)
print(silicost.simulate(faster).metrics["tpot_s"])
```

A scenario is frozen and holds everything that the answer depends on. The keys of `metrics`, `intervals`, `bound` and
`breakdown` are those of [results](results.md). How results show themselves in a notebook and become tables of pandas is
in [exports](exports.md#notebooks-and-pandas).
"""
SHARED = "`**hardware` of the two functions that make scenarios"
"""The title of the keywords that both take."""


def page() -> str:
    """The page."""
    names = [name for name in silicost.__all__ if name != "__version__"]
    found = [(name, getattr(silicost, name)) for name in names]
    parts = [_section(f"`silicost.{name}`", name, each) for name, each in found]
    place = names.index("training_scenario") + 1
    parts.insert(place, _section(SHARED, "one_pool", one_pool))
    return HEAD + "".join(parts)


def _section(title: str, name: str, each: Any) -> str:
    """A name with its docstring, and its signature or, of a record, its fields."""
    text = prose(inspect.getdoc(each) or "")
    if not isinstance(each, type):
        return f"\n## {title}\n\n```text\n{_signature(name, each)}\n```\n\n{text}\n"
    if issubclass(each, Exception):
        return f"\n## {title}\n\nAn exception, a kind of `{each.__bases__[0].__name__}`. {text}\n"
    rows = [f"| `{field}` | {_cell(hint)} | {default} |" for field, hint, default in _fields(each)]
    return "\n".join([f"\n## {title}\n\n{text}\n", "| field | type | default |", "|---|---|---|", *rows, ""])


def _fields(record: type) -> list[tuple[str, str, str]]:
    """Name, type and default of each field of a record."""
    parameters = inspect.signature(record).parameters.values()
    return [
        (one.name, _type(one.annotation), "needed" if one.default is one.empty else f"`{_value(one.default)}`")
        for one in parameters
    ]


def _cell(text: str) -> str:
    return "`" + text.replace("|", r"\|") + "`"


def _signature(name: str, each: Any) -> str:
    found = inspect.signature(each)
    result = "" if found.return_annotation is found.empty else f" -> {_type(found.return_annotation)}"
    pieces = [_parameter(each) for each in found.parameters.values() if each.name != "self"]
    stars = [place for place, one in enumerate(found.parameters.values()) if one.kind is one.KEYWORD_ONLY]
    if stars:
        pieces.insert(stars[0], "*")
    line = f"{name}({', '.join(pieces)}){result}"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {piece},\n" for piece in pieces) + f"){result}"


def _parameter(one: inspect.Parameter) -> str:
    kind = "" if one.annotation is one.empty else f": {_type(one.annotation)}"
    stars = {one.VAR_KEYWORD: "**", one.VAR_POSITIONAL: "*"}.get(one.kind, "")
    given = "" if one.default is one.empty else f"{' = ' if kind else '='}{_value(one.default)}"
    return f"{stars}{one.name}{kind}{given}"


def _type(hint: Any) -> str:
    """A type as it is written in code, without the modules."""
    plain = isinstance(hint, type) and not isinstance(hint, types.GenericAlias)
    text = hint.__name__ if plain else str(hint)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text.strip("'\""))


def _value(value: Any) -> str:
    """A default in code; of one that is made for each record, or that is long, the call that makes it."""
    text = repr(value)
    return text if len(text) <= 40 and not text.startswith("<") else f"{type(value).__name__}()"


def prose(text: str) -> str:
    """A docstring as Markdown: the entries under ``Args`` and ``Raises`` are lists, what is indented deeper goes on."""
    made: list[str] = []
    listing = False
    for line in text.replace("``", "`").splitlines():
        head = re.fullmatch(r"(Args|Raises|Returns):", line)
        entry = re.match(r" {4}(\S[^:]*): (.*)", line)
        if head:
            made += [f"*{head[1].replace('Args', 'Arguments')}*", ""]
            listing = True
        elif listing and entry:
            names = ", ".join(f"`{name}`" for name in entry[1].split(", "))
            made.append(f"- {names}: {entry[2]}")
        elif listing and line.startswith("    "):
            made.append(f"  {line.strip()}")
        else:
            listing = listing and not line
            made.append(line)
    return "\n".join(made).strip()
