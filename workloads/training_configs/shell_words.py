"""Words of shell scripts: where each one begins and ends, with its quotes still on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from workloads.training_configs.settings import UNSET

_OPERATORS: Final = (";;", "&&", "||", ";", "&", "|", "(", ")")
_REDIRECT: Final = re.compile(r"&>>?|<<<|>>|[<>]&?-?\d*")
_HEREDOC: Final = re.compile(r"<<-?\s*(['\"]?)([\w.-]+)\1")
_ARRAY: Final = re.compile(r"[A-Za-z_]\w*\+?=$")
_CLOSING: Final = {"(": ")", "{": "}"}


class Token(NamedTuple):
    """A word as it stands in the file, an operator (a new line is ``"\\n"``), or an array ``NAME=(...)`` with its
    words in ``items``; ``line`` counts from 1."""

    text: str
    line: int
    is_word: bool = True
    items: tuple[Token, ...] | None = None


def tokens_of(text: str, line: int = 1) -> list[Token]:
    """All tokens of a script. Nothing is refused: a quote that nobody closes ends with the text."""
    return list(_Lexer(text, line).tokens())


def close_of(text: str, at: int) -> int:
    """The place behind the bracket that closes the one at ``at``; the end of the text where there is none."""
    opening = text[at]
    closing, depth = _CLOSING[opening], 0
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            at += 1
        elif letter in "'\"" and opening != "{":
            at = end_of_quote(text, at) - 1
        elif letter == opening:
            depth += 1
        elif letter == closing:
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return len(text)


def end_of_quote(text: str, at: int) -> int:
    """The place behind the quote that begins at ``at``."""
    quote = text[at]
    at += 1
    while at < len(text) and text[at] != quote:
        if text[at] == "\\" and quote != "'":
            at += 1
        elif quote == '"' and text.startswith(("$(", "${"), at):
            at = close_of(text, at + 1) - 1
        at += 1
    return min(at + 1, len(text))


class _Lexer:
    """One pass over a script."""

    def __init__(self, text: str, line: int) -> None:
        self.text, self.at, self.line = text, 0, line
        self.endings: list[str] = []

    def tokens(self) -> Iterator[Token]:
        while self.at < len(self.text):
            token = self._next()
            if token is not None:
                yield token

    def _next(self) -> Token | None:
        """The token at the present place; None for what separates tokens."""
        text, at, line = self.text, self.at, self.line
        letter = text[at]
        if letter == "\n":
            self._move(at + 1)
            self._skip_documents()
            return Token("\n", line, False)
        if letter in " \t\r" or text.startswith("\\\n", at):
            self._move(at + (2 if letter == "\\" else 1))
            return None
        if letter == "#":
            end = text.find("\n", at)
            self._move(len(text) if end < 0 else end)
            return None
        if heredoc := _HEREDOC.match(text, at):
            self.endings.append(heredoc[2])
            self._move(heredoc.end())
            return None
        if redirect := _REDIRECT.match(text, at):
            self._move(redirect.end())
            return None if redirect[0][-1:].isdigit() or redirect[0].endswith("-") else Token(">", line, False)
        operator = next((o for o in _OPERATORS if text.startswith(o, at)), "")
        if operator:
            self._move(at + len(operator))
            return Token(operator, line, False)
        return self._word()

    def _word(self) -> Token | None:
        text, start, line = self.text, self.at, self.line
        at = start
        while at < len(text) and text[at] not in " \t\r\n;&|()<>":
            at = self._past(at)
        word = text[start:at]
        if at < len(text) and text[at] == "(" and _ARRAY.match(word):
            self._move(at + 1)
            return Token(word, line, True, tuple(self._items()))
        self._move(at)
        digits = word.isdigit() and at < len(text) and text[at] in "<>"
        return None if digits else Token(word, line)

    def _items(self) -> Iterator[Token]:
        """The words of an array, up to its closing bracket."""
        while self.at < len(self.text):
            token = self._next()
            if token is None or token.text == "\n":
                continue
            if not token.is_word and token.text == ")":
                return
            if token.is_word:
                yield token

    def _past(self, at: int) -> int:
        """The place behind the letter, quote or expansion at ``at`` of a word."""
        text, letter = self.text, self.text[at]
        if letter == "\\":
            return min(at + 2, len(text))
        if letter in "'\"`":
            return end_of_quote(text, at)
        if letter == UNSET:
            return (text.find(UNSET, at + 1) + 1) or len(text)
        if text.startswith(("$(", "${"), at):
            return close_of(text, at + 1)
        return at + 1

    def _move(self, to: int) -> None:
        self.line += self.text.count("\n", self.at, to)
        self.at = max(to, self.at + 1)

    def _skip_documents(self) -> None:
        """Skip the here-documents that the line before began."""
        for ending in self.endings:
            match = re.compile(rf"^\s*{re.escape(ending)}\s*$", re.MULTILINE).search(self.text, self.at)
            self._move(match.end() if match else len(self.text))
        self.endings.clear()
