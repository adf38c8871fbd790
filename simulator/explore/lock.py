"""One process at a time: a lock file that says who has it, and that does not outlive its holder."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from hardware_specs.errors import InputError

if sys.platform != "win32":
    import fcntl

BEAT_S: Final = 20.0
"""How often a holder touches its lock file, for hosts that cannot see its process [s]."""
STALE_S: Final = 300.0
"""A lock of another host that was not touched for so long is stale [s]."""
_TRIES: Final = 10


class Holder(msgspec.Struct, frozen=True):
    """Who has a lock, as the file says it; ``started`` tells a process from a later one of the same number."""

    pid: int
    host: str
    since: str
    started: str = ""


@contextmanager
def locked(path: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file ``path``, whose folder exists.

    Args:
        warn: is told of a stale lock that was taken over.

    Raises:
        InputError: another process has it, or the file cannot be written.
    """
    descriptor = _take(path, warn)
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, over), daemon=True)
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join()
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _take(path: Path, warn: Callable[[str], None]) -> int:
    """The open lock file, which is ours."""
    for _ in range(_TRIES):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        try:
            before = _check_free(path, descriptor)
            if _is_at(path, descriptor):
                _sign(path, descriptor)
                if before is not None:
                    warn(f"{path}: process {before.pid} on {before.host} left it behind; taken over")
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it between our opening and our locking
    raise InputError(f"{path}: taken and released all the time by others; try again")


def _check_free(path: Path, descriptor: int) -> Holder | None:
    """Refuse a lock that is held; the holder that left it behind, if there is one."""
    known = _locked_by_system(descriptor)
    holder = _holder(descriptor)
    if known is not False and (holder is None or not _is_alive(holder, path, known)):
        return holder
    who = "another process" if holder is None else f"process {holder.pid} on {holder.host} since {holder.since}"
    raise InputError(f"{path.parent}: in use by {who}; wait for it, or choose another folder (its lock: {path.name})")


def _locked_by_system(descriptor: int) -> bool | None:
    """Whether the system gave us its lock on the file; None where files have none."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_alive(holder: Holder, path: Path, known: bool | None) -> bool:
    """Whether a holder is at work; ``known``: whether the system's lock on its file is ours.

    The system's locks may end at its host, so that a holder elsewhere is told by the age of its last touch.
    """
    if holder.host != socket.gethostname():
        return _age_s(path) < STALE_S
    if known:
        return False
    if sys.platform == "win32":
        return _age_s(path) < STALE_S
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return _started(holder.pid) == holder.started


def _holder(descriptor: int) -> Holder | None:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        return msgspec.json.decode(os.read(descriptor, 4096), type=Holder)
    except (msgspec.MsgspecError, OSError, UnicodeDecodeError):
        return None


def _sign(path: Path, descriptor: int) -> None:
    """Write who we are into our lock file."""
    pid = os.getpid()
    since = datetime.now(UTC).isoformat(timespec="seconds")
    text = msgspec.json.encode(Holder(pid, socket.gethostname(), since, _started(pid)))
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None


def _started(pid: int) -> str:
    """When a process of this host started, in the kernel's ticks (proc(5), field 22); "" where nothing says it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the one at ``path``."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _beat(path: Path, over: threading.Event) -> None:
    while not over.wait(BEAT_S):
        with suppress(OSError):
            os.utime(path)
