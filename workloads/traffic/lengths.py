"""How long prompts and answers are: laws, or measured lengths that are drawn with replacement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from hardware_specs.errors import InputError, clipped, nearest
from hardware_specs.files import is_path
from workloads.traffic.law_words import law_of_tokens
from workloads.traffic.laws import Law, Sample
from workloads.traffic.record import MOST_TOKENS, Floats, Ints
from workloads.traffic.rows import LeftOut, Wanted, tokens, values_of
from workloads.traffic.streams import counted, stream
from workloads.traffic.tables import INPUT, OUTPUT, Table, column_of, few, open_table, plain, reading

_ONE: Final = ("length", "lengths", "len", "tokens", "num_tokens", "n_tokens")
"""Names of the one column of a file of lengths."""
_ENDINGS: Final = (".csv", ".csv.gz", ".tsv", ".txt", ".json", ".parquet")
_ALLOWED: Final = f"a whole number of tokens, from 1 to {MOST_TOKENS}"


@dataclass(frozen=True)
class Lengths:
    """Laws of prompts and answers [tokens].

    ``paired``: both are samples of one file, of which a request takes both lengths from one row; else the lengths of a
    request are independent.
    """

    input: Law
    output: Law
    paired: bool = False

    def draw(self, count: int, seed: int) -> tuple[Ints, Ints]:
        """Prompts and answers of ``count`` requests, shape [count] each; more requests change no earlier one."""
        unit = stream(seed, "input").random(counted(count))
        other = unit if self.paired else stream(seed, "output").random(count)
        return whole_tokens(self.input, unit), whole_tokens(self.output, other)


def whole_tokens(law: Law, unit: Floats) -> Ints:
    """Quantiles of ``law``, rounded to the nearest whole number, and those below 1 (above ``MOST_TOKENS``) set to it.

    A law's mean is that of its numbers before this: small means grow a little.
    """
    return np.clip(np.rint(law.at(unit)), 1.0, float(MOST_TOKENS)).astype(np.int64)


def lengths_of(
    input_text: str | int | float, output_text: str | int | float | None = None, *,
    places: tuple[str, str] = ("--isl", "--osl"), folder: Path = Path(),
) -> Lengths:  # fmt: skip
    """Lengths in words: numbers, laws (see ``law_words``), or files of lengths.

    A file of (prompt, answer) pairs is named for both, or for the prompts alone: then pairs are drawn.

    Args:
        places: where the two stand, for errors.
        folder: where the paths of files begin.

    Raises:
        InputError: unknown words, numbers that cannot be, a file that cannot be read or lacks the lengths.
    """
    prompt_file, answer_file = (_file_named(text, folder) for text in (input_text, output_text))
    if prompt_file and output_text is None:
        table = read_lengths(prompt_file)
        if table.input is None or table.output is None:
            raise InputError(f"{table.place}: holds no pairs of prompts and answers; say the answers ({places[1]})")
        return Lengths(Sample(table.input), Sample(table.output), paired=True)
    if output_text is None:
        raise InputError(f"{places[1]}: missing; say how long answers are")
    if prompt_file and prompt_file == answer_file:
        table = read_lengths(prompt_file)
        pairs = table.input is not None and table.output is not None
        return Lengths(Sample(table.prompts()), Sample(table.answers()), paired=pairs)
    prompt_law = Sample(read_lengths(prompt_file).prompts()) if prompt_file else _law(input_text, places[0])
    answer_law = Sample(read_lengths(answer_file).answers()) if answer_file else _law(output_text, places[1])
    return Lengths(prompt_law, answer_law)


def _law(text: str | int | float, place: str) -> Law:
    return law_of_tokens(text, place, "; or a file of lengths, CSV, JSON or Parquet")


def _file_named(text: Any, folder: Path) -> Path | None:
    """The file that ``text`` names; None where it names none."""
    return folder / text if isinstance(text, str) and (is_path(text) or text.endswith(_ENDINGS)) else None


class LengthTable(NamedTuple):
    """Lengths of a file, shape [m] each, every one from 1 on: of one column, or of pairs."""

    place: str
    only: Floats | None
    input: Floats | None
    output: Floats | None

    def prompts(self) -> Floats:
        """Lengths of prompts."""
        return self._column(self.input, "prompts")

    def answers(self) -> Floats:
        """Lengths of answers."""
        return self._column(self.output, "answers")

    def _column(self, own: Floats | None, what: str) -> Floats:
        found = self.only if own is None else own
        if found is None:
            raise InputError(f"{self.place}: holds no lengths of {what}")
        return found


def read_lengths(path: Path) -> LengthTable:
    """The lengths of a file.

    CSV (also gzipped) or Parquet: one column, or columns of prompts and answers under any usual name. A CSV file of
    numbers without a header: one column, or prompts and answers. JSON: a list of numbers, of pairs or of tables, or a
    table of lists.

    Raises:
        InputError: no such file, no lengths, or a length that is no whole number from 1 on, with its line.
    """
    return _of_json(path) if path.suffix == ".json" else _of_table(path)


def _of_table(path: Path) -> LengthTable:
    table = open_table(path)
    columns = _columns_of(table)
    wanted = [
        Wanted(table.header[at] or f"column {at + 1}", at, _lengths, _ALLOWED) for at in columns.values()
    ]  # fmt: skip
    chunks = list(values_of(table, wanted, LeftOut(table.place, table.row_word)))
    parts = zip(*chunks, strict=True) if chunks else [[np.zeros(0)]] * len(wanted)
    found = {name: np.concatenate(part) for name, part in zip(columns, parts, strict=True)}
    return _checked(LengthTable(table.place, found.get("only"), found.get("input"), found.get("output")))


def _columns_of(table: Table) -> dict[str, int]:
    """The numbers of the columns of a ``LengthTable``."""
    if not table.named:
        if len(table.header) > 2:
            raise InputError(f"{table.place}: {len(table.header)} columns without names; allowed: one or two")
        return {"only": 0} if len(table.header) == 1 else {"input": 0, "output": 1}
    named = {"only": column_of(table, _ONE), "input": column_of(table, INPUT), "output": column_of(table, OUTPUT)}
    found = {name: at for name, at in named.items() if at is not None}
    if not found and len(table.header) == 1:
        return {"only": 0}
    if not found:
        raise InputError(
            f"{table.place}: no column of lengths (allowed: {few(_ONE)}; of prompts {few(INPUT)}; of answers "
            f"{few(OUTPUT)}; there: {clipped(', '.join(table.header))})"
        )
    return found


def _lengths(cells: Any) -> Floats:
    """Cells as lengths from 1 on; NaN where one is none."""
    values = tokens(cells)
    return np.where(values >= 1.0, values, np.nan)


def _checked(table: LengthTable) -> LengthTable:
    if not any(column is not None and len(column) for column in (table.only, table.input, table.output)):
        raise InputError(f"{table.place}: holds no lengths")
    return table


def _of_json(path: Path) -> LengthTable:
    import msgspec

    place = clipped(str(path))
    with reading(path, place) as file:
        text = file.read()
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(f"{place}: not valid JSON ({error})") from None
    if isinstance(value, dict):
        lists = {key: cells for key, cells in value.items() if isinstance(cells, list)}
        return _of_columns(place, lists)
    if not isinstance(value, list):
        raise InputError(f"{place}: must be a list of lengths, not {clipped(str(value))}")
    if value and all(isinstance(row, dict) for row in value):
        keys = dict.fromkeys(key for row in value for key in row)
        return _of_columns(place, {key: [row.get(key) for row in value] for key in keys})
    if value and all(isinstance(row, list) for row in value):
        for at, row in enumerate(value):
            if len(row) != 2:
                raise InputError(f"{place}: item {at}: {clipped(str(row))} must be a pair, [prompt, answer]")
        return _of_columns(place, {"input": [row[0] for row in value], "output": [row[1] for row in value]})
    return _of_columns(place, {"lengths": value})


def _of_columns(place: str, columns: dict[str, list[Any]]) -> LengthTable:
    """The table of lists by name."""
    found: dict[str, Floats] = {}
    for role, names in (("only", _ONE), ("input", INPUT), ("output", OUTPUT)):
        key = next((key for name in names for key in columns if plain(key) == name), None)
        if key is not None:
            found[role] = _list_of_lengths(place, key, columns[key])
    if not found:
        close = next((hit for key in columns for hit in nearest(plain(key), (*INPUT, *OUTPUT), 1)), None)
        hint = f"; did you mean {close!r}?" if close else ""
        raise InputError(f"{place}: no lists of lengths{hint} (there: {clipped(', '.join(columns)) or 'nothing'})")
    if "input" in found and "output" in found and len(found["input"]) != len(found["output"]):
        raise InputError(f"{place}: {len(found['input'])} prompts and {len(found['output'])} answers are no pairs")
    return _checked(LengthTable(place, found.get("only"), found.get("input"), found.get("output")))


def _list_of_lengths(place: str, key: str, cells: list[Any]) -> Floats:
    values = _lengths([np.nan if isinstance(cell, bool) else cell for cell in cells])
    bad = np.flatnonzero(np.isnan(values))
    if len(bad):
        raise InputError(f"{place}: {key}[{bad[0]}]: {clipped(str(cells[bad[0]]))} must be {_ALLOWED}")
    return values
