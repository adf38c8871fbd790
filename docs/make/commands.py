"""The page of all commands, from the application itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from silicost.cli import app

KINDS = {"str": "text", "text": "text", "int": "whole number", "float": "number", "path": "path"}

HEAD = """# Commands

Made from the code by `python docs/make/write.py`; `silicost COMMAND --help` prints the same. Exit status: 0 answered,
2 bad input, 3 no feasible design. Data goes to standard output, everything else to standard error.
"""


def page() -> str:
    """The page."""
    return HEAD + "".join(_sections(typer.main.get_command(app), "silicost"))


def _sections(command: Any, path: str) -> Iterator[str]:
    if getattr(command, "commands", None):
        rows = [f"| {_link(f'{path} {name}')} | {_cell(each.help)} |" for name, each in command.commands.items()]
        own = _options(command)
        yield f"\n## {path}\n\n{_text(command.help)}\n\n" + own + "\n".join(["| command | |", "|---|---|", *rows, ""])
        for name, each in command.commands.items():
            yield from _sections(each, f"{path} {name}")
        return
    arguments = " ".join(_argument(each) for each in command.params if each.param_type_name == "argument")
    usage = f"```text\n{f'{path} [OPTIONS] {arguments}'.rstrip()}\n```"
    level = "##" if path.count(" ") == 1 else "###"
    yield f"\n{level} {path}\n\n{_text(command.help)}\n\n{usage}\n\n{_options(command)}"


def _link(path: str) -> str:
    return f"[`{path}`](#{path.replace(' ', '-')})"


def _argument(argument: Any) -> str:
    name = str(argument.metavar or argument.name.upper()).strip("[]{}.")
    return f"{name}{'...' if argument.nargs == -1 else ''}" if argument.required else f"[{name}]"


def _options(command: Any) -> str:
    rows = [_row(each) for each in command.params if not getattr(each, "hidden", False) and each.name != "help"]
    return "\n".join(["| option | value | default | |", "|---|---|---|---|", *rows, ""]) if rows else ""


def _row(option: Any) -> str:
    """One option or argument; help texts live on both in typer."""
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    if option.param_type_name == "argument":
        names = f"`{_argument(option)}`"
    value = "" if getattr(option, "is_flag", False) else _kind(option)
    if getattr(option, "multiple", False):
        value = f"{value}, several"
    default = option.default() if callable(option.default) else option.default
    shown = "needed" if option.required else _default(default)
    return f"| {names} | {value} | {shown} | {_cell(option.help)} |"


def _kind(option: Any) -> str:
    """What it takes: its own word, else that of its type, which two generations of typer keep in two places."""
    if option.param_type_name == "argument":
        return ""
    if option.metavar:
        return str(option.metavar).strip("[]{}")
    described = getattr(option, "type_descriptor", None)
    name = str(getattr(described, "annotation", None) or option.type.name)
    return next((word for sign, word in KINDS.items() if sign in name.lower()), name)


def _default(value: Any) -> str:
    if value is None or value is False or value in ("", (), []):
        return ""
    return f"`{getattr(value, 'value', value)}`"


def _text(text: str | None) -> str:
    paragraphs = (text or "").replace("\b", "").split("\n\n")
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", r"\|")
