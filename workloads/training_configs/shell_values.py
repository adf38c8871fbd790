"""What words of shell scripts stand for: variables, arrays and arithmetic of the script itself, no command run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from hardware_specs.errors import InputError, clipped
from workloads.training_configs import expressions
from workloads.training_configs.settings import UNSET
from workloads.training_configs.shell_words import close_of, end_of_quote

_NAME: Final = re.compile(r"[A-Za-z_]\w*|[0-9@*#?$!-]")
_BRACED: Final = re.compile(r"([A-Za-z_]\w*|[0-9@*]+)(?:\[([^\]]*)\])?(?:(:?[-=+?])(.*))?", re.DOTALL)
_IDENTIFIER: Final = re.compile(r"[A-Za-z_]\w*")
_MARKED: Final = rf"{UNSET}[^{UNSET}]*{UNSET}|"
_PLAIN: Final = re.compile(rf"(?:{_MARKED}[^\\'\"`${UNSET}])+")
_PLAIN_IN_QUOTES: Final = re.compile(rf"(?:{_MARKED}[^\\`${UNSET}])+")
_PIECES: Final = re.compile(rf"(?:{_MARKED}[^\s{UNSET}])+")
"""What spaces separate; those inside the mark of an unknown variable do not."""
_LONGEST: Final = 1 << 20
_MOST_WORDS: Final = 20_000
_DEEPEST: Final = 30


class Word(NamedTuple):
    """A word as a command would get it, and its line. A variable that is not set stands in it between marks."""

    text: str
    line: int


class Value(NamedTuple):
    """What an expansion stands for: one text, or several words that stay apart (an array)."""

    words: tuple[Word, ...]
    is_array: bool = False


def unset(name: str, line: int) -> Value:
    """What stands for a variable, or the output of a command, that is not known."""
    plain = re.sub(rf"[{UNSET}'\"`\\\\]", "", name)
    return Value((Word(f"{UNSET}{plain}{UNSET}", line),))


class Variables:
    """The variables of one script.

    Args:
        file: its name, for errors.
        environment: variables that are set before it begins.
    """

    def __init__(self, file: str, environment: Mapping[str, str]) -> None:
        self.file = file
        self.values = {name: Value((Word(text, 0),)) for name, text in environment.items()}
        self.letters = 0

    def assign(self, name: str, value: Value, add: bool = False) -> None:
        """Set a variable, or add to it: words to an array, text to a text.

        Raises:
            InputError: it grows beyond all measure.
        """
        before = self.values.get(name)
        if add and before is not None:
            array = before.is_array or value.is_array
            words = (*before.words, *value.words) if array else (_joined((*before.words, *value.words), ""),)
            value = Value(words, array)
        self._bounded(value.words)
        self.values[name] = value

    def expand(self, text: str, line: int, depth: int = 0) -> list[Word]:
        """The words that one word of a script stands for; none for an empty expansion.

        Raises:
            InputError: expansions inside each other beyond all measure.
        """
        if depth > _DEEPEST:
            raise InputError(f"{self.file}: line {line}: {clipped(text)!r} is nested too deeply to be read")
        parts = _Parts(line)
        at = 0
        while at < len(text):
            at = self._piece(text, at, line, depth, parts)
        found = parts.words()
        self._bounded(found)
        return found

    def text(self, text: str, line: int, depth: int = 0) -> str:
        """As ``expand``, as one text."""
        return " ".join(word.text for word in self.expand(text, line, depth))

    def _piece(self, text: str, at: int, line: int, depth: int, parts: _Parts) -> int:
        """Add what begins at ``at`` of a word to ``parts``; the place behind it."""
        letter = text[at]
        if letter == "\\":
            parts.add(text[at + 1 : at + 2].replace("\n", ""))
            return at + 2
        if letter == "'":
            end = end_of_quote(text, at)
            parts.add(text[at + 1 : end - 1])
            return end
        if letter == '"':
            end = end_of_quote(text, at)
            self._quoted(text[at + 1 : end - 1], line, depth, parts)
            return end
        if letter == "`":
            end = end_of_quote(text, at)
            parts.split(self._command(text[at + 1 : end - 1], line, depth))
            return end
        if letter == "$":
            value, end = self._value(text, at, line, depth)
            parts.split(value)
            return end
        plain = _PLAIN.match(text, at)
        parts.add(plain[0] if plain else letter)
        return plain.end() if plain else at + 1

    def _quoted(self, text: str, line: int, depth: int, parts: _Parts) -> None:
        """Add what stands between double quotes."""
        parts.add("")
        at = 0
        while at < len(text):
            if text[at] == "\\" and text[at + 1 : at + 2] in ("\n", '"', "\\", "$", "`"):
                parts.add(text[at + 1].replace("\n", ""))
                at += 2
            elif text[at] == "$":
                value, at = self._value(text, at, line, depth)
                parts.keep(value)
            elif text[at] == "`":
                end = end_of_quote(text, at)
                parts.keep(self._command(text[at + 1 : end - 1], line, depth))
                at = end
            else:
                plain = _PLAIN_IN_QUOTES.match(text, at)
                parts.add(plain[0] if plain else text[at])
                at = plain.end() if plain else at + 1

    def _value(self, text: str, at: int, line: int, depth: int) -> tuple[Value, int]:
        """What the ``$`` at ``at`` begins, and the place behind it."""
        if text.startswith("$((", at):
            end = close_of(text, at + 1)
            return self._arithmetic(text[at + 3 : end - 2], line, depth), end
        if text.startswith("$(", at):
            end = close_of(text, at + 1)
            return self._command(text[at + 2 : end - 1], line, depth), end
        if text.startswith("${", at):
            end = close_of(text, at + 1)
            return self._braced(text[at + 2 : end - 1], line, depth), end
        name = _NAME.match(text, at + 1)
        if name is None:
            return Value((Word("$", line),)), at + 1
        return self._named(name[0], line), name.end()

    def _named(self, name: str, line: int) -> Value:
        if name in ("@", "*"):
            return Value((), True)
        found = self.values.get(name)
        if found is None:
            return unset(name, line)
        return Value(found.words[:1]) if found.is_array else found

    def _braced(self, inside: str, line: int, depth: int) -> Value:
        """``${...}``: a variable, an item or all of an array, or a default."""
        match = _BRACED.fullmatch(inside)
        if match is None:
            return unset(inside, line)
        name, item, operator, word = match[1], match[2], match[3] or "", match[4] or ""
        found = self.values.get(name)
        if item is not None and found is not None:
            found = _item(found, item)
        empty = found is None or (operator.startswith(":") and not any(w.text for w in found.words))
        if operator.endswith("+"):
            return Value((), True) if empty else Value(tuple(self.expand(word, line, depth + 1)), True)
        if empty and operator.endswith(("-", "=")):
            default = Value((Word(self.text(word, line, depth + 1), line),))
            if operator.endswith("="):
                self.assign(name, default)
            return default
        if found is None:
            return Value((), True) if item in ("@", "*") or name in ("@", "*") else unset(name, line)
        return found if item is not None or not found.is_array else Value(found.words[:1])

    def _arithmetic(self, inside: str, line: int, depth: int) -> Value:
        """``$((...))``; not known where one of its variables is not, or where it is no arithmetic that is read."""
        text = self.text(f'"{inside}"', line, depth + 1)
        missing = text.split(UNSET)[1::2]

        def number(match: re.Match[str]) -> str:
            found = self.values.get(match[0])
            words = found.words if found is not None else ()
            if not words or UNSET in words[0].text:
                missing.append(match[0])
                return "0"
            return words[0].text

        if not missing:
            text = _IDENTIFIER.sub(number, text)
        if missing:
            return unset(missing[0], line)
        try:
            return Value((Word(str(expressions.whole(text, f"{self.file}: line {line}")), line),))
        except InputError:
            return unset(f"$(({' '.join(inside.split())}))", line)

    def _command(self, inside: str, line: int, depth: int) -> Value:
        """The output of a command: known for ``expr`` only."""
        if inside.strip().startswith("expr "):
            return self._arithmetic(inside.strip()[5:].replace("\\", ""), line, depth)
        return unset(f"$({' '.join(inside.split())})", line)

    def _bounded(self, words: tuple[Word, ...] | list[Word]) -> None:
        letters = sum(len(word.text) for word in words)
        self.letters += letters
        if letters > _LONGEST or len(words) > _MOST_WORDS or self.letters > 32 * _LONGEST:
            raise InputError(f"{self.file}: its variables grow beyond {_LONGEST} characters; none need that")


class _Parts:
    """Words that are being put together from the pieces of one word of a script."""

    def __init__(self, line: int) -> None:
        self.line = line
        self.done: list[Word] = []
        self.open: list[Word] = []

    def add(self, text: str) -> None:
        """Add text to the word that is open."""
        self.open.append(Word(text, self.line))

    def split(self, value: Value) -> None:
        """Add an expansion without quotes: its spaces end words."""
        for index, word in enumerate(value.words):
            if index or word.text[:1].isspace():
                self._end()
            pieces = _PIECES.findall(word.text)
            for number, piece in enumerate(pieces):
                if number:
                    self._end()
                self.open.append(Word(piece, word.line or self.line))
            if pieces and word.text[-1:].isspace():
                self._end()

    def keep(self, value: Value) -> None:
        """Add an expansion in quotes: words of an array stay apart, spaces do not end any."""
        for index, word in enumerate(value.words):
            if index:
                self._end()
            self.open.append(Word(word.text, word.line or self.line))

    def words(self) -> list[Word]:
        """All words."""
        self._end()
        return self.done

    def _end(self) -> None:
        if self.open:
            line = next((piece.line for piece in self.open if piece.text), self.line)
            self.done.append(Word("".join(piece.text for piece in self.open), line))
            self.open = []


def _item(array: Value, item: str) -> Value:
    if item in ("@", "*"):
        return Value(array.words, True)
    index = int(item) if item.isdigit() and len(item) < 6 else -1
    return Value(array.words[index : index + 1]) if 0 <= index < len(array.words) else Value(())


def _joined(words: tuple[Word, ...], between: str) -> Word:
    return Word(between.join(w.text for w in words), words[0].line if words else 0)
