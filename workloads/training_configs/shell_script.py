"""Shell scripts, read without a shell: which training command they would start, with which words.

Assignments, arrays, defaults, whole-number arithmetic, ``if`` and ``case`` are followed. No command is run: what a
command would print is not known, and neither is a variable that the script does not set. Bodies of loops and of
functions are passed over.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from hardware_specs.errors import InputError, clipped
from workloads.training_configs.settings import UNSET
from workloads.training_configs.shell_values import Value, Variables, Word
from workloads.training_configs.shell_words import Token, tokens_of

_ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w*)(\+?)=", re.ASCII)
_DECLARES: Final = ("export", "declare", "local", "readonly", "typeset")
_SHOWS: Final = ("echo", "printf", "mkdir", "cp", "rm", "cat", "ls", "cd", "tee")
_WHOLE_TESTS: Final = {
    "-eq": "==", "-ne": "!=", "-gt": ">", "-ge": ">=", "-lt": "<", "-le": "<=",
}  # fmt: skip
_SEPARATORS: Final = ("\n", ";", "&", "&&", "|", "||", "(", ")", ";;")
_DEEPEST: Final = 8
_HEADER: Final = re.compile(r"^#SBATCH\s+(?:--([\w-]+)(?:[= ]\s*(\S+))?|-([NG])\s*(\S+))", re.MULTILINE)


class Command(NamedTuple):
    """One command: its words."""

    words: tuple[Word, ...]


class Skipped(NamedTuple):
    """What was passed over: its line, its words, and why."""

    line: int
    text: str
    why: str


@dataclass
class _Block:
    """A part of the script between ``if`` and ``fi`` or their like.

    ``active``: its lines are followed; ``outer``: those around it are; ``taken``: one branch was, or which one is to
    be taken is not known; ``condition``: the words since ``if`` or ``elif``, None once it is over; ``subject``: the
    text that a ``case`` compares.
    """

    kind: Literal["if", "case", "loop", "function", "group"]
    line: int
    outer: bool
    active: bool
    taken: bool = False
    condition: list[Token] | None = None
    subject: str = ""
    pattern: bool = False


@dataclass
class Script:
    """A script that was read.

    Attributes:
        variables: what it sets.
        commands: commands with a Python file among their words, and lines of bare options.
        skipped: what was passed over.
        blocks: the blocks that are open, innermost last.
        gate: whether ``&&`` or ``||`` lets the next statement run.
    """

    variables: Variables
    commands: list[Command] = field(default_factory=list)
    bare: list[Word] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    blocks: list[_Block] = field(default_factory=list)
    gate: bool = True


def read_script(text: str, file: str, environment: Mapping[str, str]) -> Script:
    """What a script would start.

    Args:
        file: its name, for errors.
        environment: variables that are set before it begins; the nodes that ``#SBATCH`` lines ask for are, too.

    Raises:
        InputError: expansions or blocks inside each other beyond all measure.
    """
    script = Script(Variables(file, {**_headers(text), **environment}))
    try:
        _follow(script, tokens_of(text.replace("\r\n", "\n")), 0)
    except RecursionError:
        raise InputError(f"{file}: nested too deeply to be read") from None
    return script


def _headers(text: str) -> dict[str, str]:
    """Variables that the scheduler sets because of ``#SBATCH`` lines."""
    names = {"nodes": ("SLURM_NNODES", "SLURM_JOB_NUM_NODES"), "gpus-per-node": ("SLURM_GPUS_PER_NODE",),
             "ntasks-per-node": ("SLURM_NTASKS_PER_NODE",), "gres": ("SLURM_GPUS_PER_NODE",)}  # fmt: skip
    found = {}
    for match in _HEADER.finditer(text):
        key = match[1] or {"N": "nodes"}.get(match[3], "")
        number = (match[2] or match[4] or "").rpartition(":")[2]
        found.update({name: number for name in names.get(key, ()) if number.isdigit()})
    return found


def _follow(script: Script, tokens: list[Token], depth: int) -> None:
    """Follow the statements of ``tokens`` one after the other."""
    statement: list[Token] = []
    for token in tokens:
        block = script.blocks[-1] if script.blocks else None
        if block is not None and block.condition is not None:
            _in_condition(script, block, token)
        elif block is not None and block.kind == "case" and not block.active:
            _between_cases(script, block, token)
        elif not token.is_word and token.text in _SEPARATORS:
            _statement(script, statement, token, depth)
            statement = []
        else:
            statement = _grown(script, statement, token)
    _statement(script, statement, Token("\n", 0, False), depth)


def _grown(script: Script, statement: list[Token], token: Token) -> list[Token]:
    """``statement`` with one more word, unless the word begins or ends a block."""
    if statement or not token.is_word or token.items is not None:
        return [*statement, token]
    word, outer = token.text, _active(script)
    if word in ("if", "case"):
        script.blocks.append(_Block("if" if word == "if" else "case", token.line, outer, False, condition=[]))
    elif word in ("for", "while", "until", "select"):
        script.blocks.append(_Block("loop", token.line, outer, False))
        _skip(script, outer, token.line, word, "loops are not followed")
    elif word in ("elif", "else", "fi", "done", "esac", "}"):
        _turn(script, word)
    elif word == "{":
        _open(script, token.line)
    elif word not in ("then", "do", "!", "time"):
        return [token]
    return []


def _open(script: Script, line: int) -> None:
    """A curly bracket: of the function that was just named, or of a group."""
    block = script.blocks[-1] if script.blocks else None
    if block is not None and block.kind == "function" and not block.taken:
        block.taken = True
    else:
        outer = _active(script) and script.gate
        script.blocks.append(_Block("group", line, outer, outer))
        script.gate = True


def _turn(script: Script, word: str) -> None:
    """Go on to the next branch of a block, or leave it."""
    if not script.blocks:
        return
    block = script.blocks[-1]
    if word == "elif" and block.kind == "if":
        block.active, block.condition = False, []
    elif word == "else" and block.kind == "if":
        block.active, block.taken = block.outer and not block.taken, True
    elif word in ("fi", "done", "esac", "}"):
        script.blocks.pop()


def _in_condition(script: Script, block: _Block, token: Token) -> None:
    """Gather the words of a condition; at its end find out whether its branch is followed."""
    assert block.condition is not None
    is_case = block.kind == "case"
    starts = not block.condition or not block.condition[-1].is_word
    if not token.is_word or token.text != ("in" if is_case else "then") or starts == is_case:
        block.condition.append(token)
        return
    condition = [t for t in block.condition if t.text != "\n"]
    block.condition, block.pattern = None, True
    if not block.outer or block.taken:
        return
    shown = f"{block.kind} {' '.join(t.text for t in condition)}"
    if block.kind == "case":
        subject = _as_unset(" ".join(script.variables.text(t.text, t.line) for t in condition))
        block.subject, block.taken = subject or "", subject is None
        _skip(script, subject is None, block.line, shown, "its text is not known; no branch is read")
        return
    holds = _holds(script, condition)
    _skip(script, holds is None, block.line, shown, "whether this holds is not known; neither branch is read")
    block.active, block.taken = holds is True, holds is not False


def _between_cases(script: Script, block: _Block, token: Token) -> None:
    """A pattern of a ``case``, a branch that is not taken, or the end."""
    if token.is_word and token.text == "esac":
        script.blocks.pop()
    elif token.text in (")", ";;") and not token.is_word:
        block.pattern = token.text == ";;"
    elif token.is_word and block.pattern and block.outer and not block.taken:
        pattern = script.variables.text(token.text, token.line)
        block.active = block.taken = fnmatch.fnmatchcase(block.subject, pattern)
    elif token.is_word and token.text == "case" and not block.pattern:
        script.blocks.append(_Block("case", token.line, False, False))


def _statement(script: Script, statement: list[Token], end: Token, depth: int) -> None:
    """Follow one statement, if the block around it is followed."""
    block = script.blocks[-1] if script.blocks else None
    runs, tests = script.gate, bool(statement) and statement[0].text in ("[", "[[", "test")
    if statement:
        script.gate = True
    named = end.text == "(" and len(statement) == 1 and re.fullmatch(r"[\w-]+", statement[0].text)
    if statement and (statement[0].text == "function" or named):
        opened = any(token.text == "{" for token in statement)
        _skip(script, _active(script), statement[0].line, statement[0].text, "functions are not followed")
        script.blocks.append(_Block("function", statement[0].line, _active(script), False, opened))
    elif statement and _active(script):
        if end.text in ("&&", "||"):
            done = (_holds(script, statement) if tests else True) if runs else end.text == "||"
            _skip(script, done is None, statement[0].line, " ".join(t.text for t in statement), "not known")
            script.gate = done is not None and done == (end.text == "&&")
        if runs and not tests:
            _simple(script, statement, depth)
    if end.text == ";;" and block is not None and block.kind == "case":
        block.active, block.pattern = False, True


def _simple(script: Script, statement: list[Token], depth: int) -> None:
    """Assignments, and the command behind them."""
    words = _without_redirects(statement)
    if words and words[0].text in _DECLARES:
        for word in words[1:]:
            if match := _ASSIGNMENT.match(word.text):
                _assign(script, word, match)
        return
    while words and (match := _ASSIGNMENT.match(words[0].text)):
        _assign(script, words[0], match)
        words = words[1:]
    if words:
        _command(script, words, depth)


def _without_redirects(statement: list[Token]) -> list[Token]:
    kept, file_follows = [], False
    for token in statement:
        if not token.is_word:
            file_follows = True
        elif file_follows:
            file_follows = False
        else:
            kept.append(token)
    return kept


def _assign(script: Script, token: Token, match: re.Match[str]) -> None:
    variables, name, add = script.variables, match[1], bool(match[2])
    if token.items is not None:
        words = [word for item in token.items for word in variables.expand(item.text, item.line)]
        variables.assign(name, Value(tuple(words), True), add)
    else:
        text = variables.text(token.text[match.end() :], token.line)
        variables.assign(name, Value((Word(text, token.line),)), add)


def _command(script: Script, tokens: list[Token], depth: int) -> None:
    """Note a command that trains; follow what is handed to another shell."""
    variables = script.variables
    words = [word for token in tokens for word in variables.expand(token.text, token.line)]
    if not words:
        return
    name = words[0].text
    if name == "unset":
        for word in words[1:]:
            variables.values.pop(word.text, None)
    elif name in ("source", "."):
        _skip(script, True, words[0].line, " ".join(w.text for w in words), "other files are not read")
    elif name.startswith("--"):
        script.bare.extend(words)
    elif name not in _SHOWS and any(".py" in word.text for word in words):
        inner = next((w for w in words if ".py" in w.text and re.search(r"\s", w.text)), None)
        again = " ".join(w.text for w in words[1:]) if name == "eval" else inner.text if inner else ""
        if again and depth < _DEEPEST:
            _follow(script, tokens_of(again, words[0].line), depth + 1)
        else:
            script.commands.append(Command(tuple(words)))


def _holds(script: Script, condition: list[Token]) -> bool | None:
    """Whether a condition holds, as if no variable were set that the script does not set; None: not known."""
    value: bool | None = None
    joint, test = "", list[Token]()
    for token in [*condition, Token(";", 0, False)]:
        if token.is_word:
            test.append(token)
            continue
        if token.text not in ("&&", "||", ";"):
            return None
        if test:
            inside = test[0].text == "[[" and test[-1].text != "]]"
            found = _test(script, [*test, Token("]]", 0)] if inside else test)
            value = found if not joint else _both(value, found, joint)
            test = [Token("[[", 0)] if inside else []
        joint = token.text
    return value


def _both(left: bool | None, right: bool | None, joint: str) -> bool | None:
    if joint == ";":
        return right
    decides = joint == "||"
    if decides in (left, right):
        return decides
    return None if None in (left, right) else not decides


def _test(script: Script, tokens: list[Token]) -> bool | None:
    """``[ ... ]``, ``[[ ... ]]`` or ``test ...`` with one comparison."""
    negated = tokens[0].text == "!"
    tokens = tokens[negated:]
    words = [t.text for t in tokens]
    if words and words[0] in ("[", "[[") and words[-1] == words[0].replace("[", "]"):
        tokens = tokens[1:-1]
    elif words and words[0] == "test":
        tokens = tokens[1:]
    else:
        return {"true": not negated, "false": negated}.get(" ".join(words))
    if tokens and tokens[0].text == "!":
        negated, tokens = not negated, tokens[1:]
    texts = [_as_unset(script.variables.text(t.text, t.line)) for t in tokens]
    found = None if None in texts else _comparison([t for t in texts if t is not None])
    return None if found is None else found != negated


def _comparison(words: list[str]) -> bool | None:
    if len(words) == 1:
        return words[0] != ""
    if len(words) == 2 and words[0] in ("-z", "-n"):
        return (words[1] == "") == (words[0] == "-z")
    if len(words) != 3:
        return None
    left, operator, right = words
    if operator in ("=", "==", "!="):
        return fnmatch.fnmatchcase(left, right) == (operator != "!=")
    if operator not in _WHOLE_TESTS or not re.fullmatch(r"-?\d{1,18}", left) or not re.fullmatch(r"-?\d{1,18}", right):
        return None
    a, b = int(left), int(right)
    return {"==": a == b, "!=": a != b, ">": a > b, ">=": a >= b, "<": a < b, "<=": a <= b}[_WHOLE_TESTS[operator]]


def _as_unset(text: str) -> str | None:
    """``text`` with nothing for variables that are not set; None where it holds the output of a command."""
    parts = text.split(UNSET)
    return None if any(name.startswith("$(") for name in parts[1::2]) else "".join(parts[::2])


def _active(script: Script) -> bool:
    return script.blocks[-1].active if script.blocks else True


def _skip(script: Script, active: bool, line: int, text: str, why: str) -> None:
    if active:
        script.skipped.append(Skipped(line, clipped(text), why))
