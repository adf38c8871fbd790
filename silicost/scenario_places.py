"""Errors about a scenario file in the words of the file: what laws and plans call by its flag is a key there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from hardware_specs.errors import InputError

_TABLES: Final = {
    "traffic": ("batch", "isl", "osl", "global-batch", "seq-len", "steps"),
    "plan": ("tp", "pp", "dp", "ep", "micro-batch", "recompute", "dtype", "weight-dtype", "kv-dtype"),
    "compress": ("prune", "low-rank", "sparsity", "activation-dtype", "quality"),
    "workload": ("lora-rank", "optimizer"),
}
"""Flags by the table that has them as keys."""
KEYS: Final = {flag: f"{table}.{flag.replace('-', '_')}" for table, flags in _TABLES.items() for flag in flags} | {
    "count": "count"
}
"""Key of a scenario file by the flag that says the same; a count may be that of the system or of a pool."""
_FLAG: Final = re.compile(r"--([a-z][a-z-]*[a-z])(?![\w-])")
_OF_THE_FILE: Final = ("[privacy]", "unknown dtype", "unknown format")


def in_keys(text: str) -> str:
    """``text`` with flags that files have keys for written as these."""
    return _FLAG.sub(lambda found: KEYS.get(found[1], found[0]), text)


@contextmanager
def about_file(name: str) -> Iterator[None]:
    """Give errors about what the scenario file ``name`` says their place in it.

    Raises:
        InputError: what was raised inside; with the file and the key, where it was of a flag that is a key.
    """
    try:
        yield
    except InputError as error:
        flag = _FLAG.match(text := str(error))
        if (flag is None or flag[1] not in KEYS) and not text.startswith(_OF_THE_FILE):
            raise
        raise InputError(f"{name}: {in_keys(text)}", error.code) from None
