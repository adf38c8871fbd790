"""Traces of lines of JSON that say which blocks of tokens prompts share: the format of Mooncake.

Source: Qin et al., Mooncake, FAST 2025; kvcache-ai/Mooncake, FAST25-release. A line is ``{"timestamp": 27482,
"input_length": 6955, "output_length": 52, "hash_ids": [46, 47, ...]}``: milliseconds, tokens, tokens, one id for each
block of 512 tokens that the prompt fills or begins.
"""

from __future__ import annotations

import array
import math
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np

from hardware_specs.errors import clipped
from workloads.traffic.record import MOST_TOKENS, Blocks, Floats, numbered
from workloads.traffic.rows import TOKENS_FROM_0, LeftOut
from workloads.traffic.tables import reading

BLOCK_TOKENS: Final = 512
"""Tokens of a block in Mooncake's traces (README of the release)."""
_LONGEST_LINE: Final = 1 << 24
"""Longest line [characters]: a prompt of some ten million tokens."""


class Recorded(NamedTuple):
    """Requests in the order of the file, shape [n] each: seconds, tokens, tokens."""

    time_s: Floats
    input: Floats
    output: Floats
    blocks: Blocks


class _Line(msgspec.Struct):
    timestamp: float
    input_length: float
    output_length: float
    hash_ids: list[int] = []


def read_blocks(path: Path, left: LeftOut, most: int | None, block_tokens: int) -> Recorded:
    """The requests of a file, line by line; at most ``most``.

    Args:
        left: notes lines that are not used.
        block_tokens: tokens of a block.

    Raises:
        InputError: no such file, a line that cannot be read (unless such lines are skipped), no request at all.
    """
    decode = msgspec.json.Decoder(_Line).decode
    time_ms, prompts, answers = array.array("d"), array.array("d"), array.array("d")
    ends, ids = array.array("q", [0]), array.array("q")
    with reading(path, left.place) as file:
        for number, text in enumerate(iter(lambda: file.readline(_LONGEST_LINE), ""), 1):
            if not text.strip():
                continue
            try:
                line = decode(text)
            except (msgspec.DecodeError, RecursionError) as error:
                left.unreadable(number, _in_words(error))
                continue
            wrong = _wrong(line, block_tokens)
            if wrong:
                left.unreadable(number, wrong)
                continue
            if not line.input_length or not line.output_length:
                zero = "output_length" if line.input_length else "input_length"
                left.of_no_tokens(number, f"{zero} is 0")
                continue
            time_ms.append(line.timestamp)
            prompts.append(line.input_length)
            answers.append(line.output_length)
            ids.extend(line.hash_ids)
            ends.append(len(ids))
            if len(prompts) == most:
                break
    if not prompts:
        raise left.all_of_them()
    blocks = Blocks(np.array(ends, np.int64), numbered(np.array(ids, np.int64)), block_tokens)
    return Recorded(np.array(time_ms) / 1e3, np.array(prompts), np.array(answers), blocks)


def _in_words(error: Exception) -> str:
    keys = "a line is {timestamp, input_length, output_length, hash_ids} in JSON"
    return f"{clipped(str(error)).replace('$.', '')} ({keys})"


def _wrong(line: _Line, block_tokens: int) -> str:
    """What of a line cannot be; "" where all can."""
    if not math.isfinite(line.timestamp):
        return f"timestamp {line.timestamp} must be a finite number of milliseconds"
    for name, value in (("input_length", line.input_length), ("output_length", line.output_length)):
        if not 0.0 <= value <= MOST_TOKENS or value != math.floor(value):
            return f"{name} {value:g} must be {TOKENS_FROM_0}"
    filled = -int(-line.input_length // block_tokens)
    if len(line.hash_ids) > filled > 0:
        return (
            f"{len(line.hash_ids)} hash_ids of a prompt of {line.input_length:g} tokens; allowed: at most {filled}, of "
            f"{block_tokens} tokens each"
        )
    if any(not -(1 << 63) <= name < 1 << 63 for name in line.hash_ids):
        return "hash_ids must be whole numbers of 64 bits"
    return ""
