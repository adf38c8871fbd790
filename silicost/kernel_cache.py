"""A damaged or full cache of compiled kernels is no reason to fail: the command runs once more with a new one."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, NoReturn

from hardware_specs.errors import InputError

MARKER = "SILICOST_NEW_KERNEL_CACHE"
"""Environment variable that names the new cache of a second run, so that there is no third."""

_NUMBA_CACHE = ("numba", "core", "caching.py")


def is_cache_failure(error: BaseException) -> bool:
    """Whether ``error``, or what it was raised from, came out of numba's reading or writing of compiled kernels."""
    seen: BaseException | None = error
    while seen is not None:
        frames = traceback.extract_tb(seen.__traceback__)
        if any(Path(frame.filename).parts[-3:] == _NUMBA_CACHE for frame in frames):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def run_again(error: BaseException) -> NoReturn:
    """Replace this process by the same command with an empty cache in a temporary folder.

    Raises:
        InputError: this is the second run already, or there is no room for a new cache.
    """
    if MARKER in os.environ:
        raise InputError(f"the cache of compiled kernels cannot be used, a new one neither: {_in_words(error)}")
    try:
        place = tempfile.mkdtemp(prefix="silicost-kernels-")
    except OSError as full:
        raise InputError(f"no room for compiled kernels: {_in_words(full)}; set NUMBA_CACHE_DIR to a folder") from None
    sys.stderr.write(
        f"silicost: warning: the cache of compiled kernels cannot be used ({_in_words(error)}); compiling them again "
        "for this run; NUMBA_CACHE_DIR names another folder\n"
    )
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    environment = {**os.environ, MARKER: place, "NUMBA_CACHE_DIR": place}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def tell_of_compiling(kernel: Any) -> None:
    """Say on a terminal that this run takes longer, where nothing compiled is kept of ``kernel``, a dispatcher of
    numba; where numba does not tell, nothing is said."""
    if not sys.stderr.isatty() or getattr(kernel, "signatures", None):
        return
    try:
        kept = kernel._cache._cache_file._load_index()
    except (AttributeError, OSError, ValueError, EOFError):
        return
    if not kept:
        sys.stderr.write("silicost: compiling kernels, about a minute, once\n")


def forget_new_cache() -> None:
    """Remove the temporary cache of a second run."""
    if MARKER in os.environ:
        shutil.rmtree(os.environ[MARKER], ignore_errors=True)


def _in_words(error: BaseException) -> str:
    error = error.__cause__ or error
    text = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    return " ".join(text.split())[:200]
