"""A second process of this host as the answering end, over each way that processes can talk.

The process is ``python -m simulator.calibration.network_probe.local KIND NUMBERS``; it gets open file descriptors (or
a port) and ends when the channel does.
"""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from hardware_specs.errors import InputError
from simulator.calibration.network_probe.channels import (
    SHARED_BYTES,
    Channel,
    PipeChannel,
    SharedChannel,
    SocketChannel,
)
from simulator.calibration.network_probe.protocol import serve, speaking_with

CONNECT_S: Final = 300.0
"""Longest silence of the second process [s]: virtual machines may stand still for minutes; its end is seen at once."""
_ROOT: Final = str(Path(__file__).resolve().parents[3])
_POSIX: Final = os.name == "posix"


def _pipe(theirs: ExitStack) -> tuple[Channel, list[int]]:
    there, back = os.pipe(), os.pipe()
    for descriptor in (there[0], back[1]):
        theirs.callback(os.close, descriptor)
    return PipeChannel(back[0], there[1]), [there[0], back[1]]


def _unix(theirs: ExitStack) -> tuple[Channel, list[int]]:
    ours, other = socket.socketpair()
    theirs.callback(other.close)
    ours.settimeout(CONNECT_S)
    return SocketChannel(ours), [other.fileno()]


def _shared(theirs: ExitStack) -> tuple[Channel, list[int]]:
    memory = Path("/dev/shm")
    folder = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    descriptor, name = tempfile.mkstemp(dir=folder)
    theirs.callback(os.close, descriptor)
    Path(name).unlink()
    os.truncate(descriptor, SHARED_BYTES)
    ours, other = socket.socketpair()
    theirs.callback(other.close)
    ours.settimeout(CONNECT_S)
    return SharedChannel(mmap.mmap(descriptor, SHARED_BYTES), ours, True), [descriptor, other.fileno()]


_WAYS: Final[dict[str, Callable[[ExitStack], tuple[Channel, list[int]]]]] = {
    "pipe": _pipe, "unix": _unix, "shared-memory": _shared,
}  # fmt: skip
TRANSPORTS: Final = ("tcp-loopback", *_WAYS)
"""Ways between two processes of this host."""


def missing(transport: str) -> str:
    """Why a transport cannot be used here; "" where it can."""
    return "" if transport == "tcp-loopback" or _POSIX else "needs POSIX file descriptors"


@contextmanager
def second_process(transport: str, limit_s: float) -> Iterator[Channel]:
    """A channel to a second process over ``transport``; it is ended after ``limit_s`` at the latest.

    Raises:
        InputError: the process cannot be started, or does not connect.
    """
    with ExitStack() as stack, speaking_with(transport):
        if transport == "tcp-loopback":
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            process = _start(transport, [server.getsockname()[1]], (), stack, limit_s)
            channel: Channel = SocketChannel(_accepted(server, process))
            stack.callback(_close, channel)
        else:
            # The other end must be open in the second process only, or nobody would see that one end.
            with ExitStack() as theirs:
                channel, descriptors = _WAYS[transport](theirs)
                stack.callback(_close, channel)
                _start(transport, descriptors, descriptors, stack, limit_s)
            stack.callback(_close, channel)
        yield channel


def _close(channel: Channel) -> None:
    with suppress(OSError, ValueError):
        channel.close()


def _start(
    transport: str, numbers: Sequence[int], descriptors: Sequence[int], stack: ExitStack, limit_s: float
) -> subprocess.Popen[bytes]:
    """Start the second process; the stack waits for its end, the watchdog ends one that hangs."""
    command = [sys.executable, "-m", "simulator.calibration.network_probe.local", transport, *map(str, numbers)]
    paths = [_ROOT, os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    try:
        process = subprocess.Popen(
            command, env=environment, pass_fds=tuple(descriptors), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        raise InputError(f"{transport}: no second process can be started ({error.strerror})") from None
    stack.callback(_end, process)
    watchdog = threading.Timer(limit_s, process.kill)
    watchdog.daemon = True
    watchdog.start()
    stack.callback(watchdog.cancel)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=2.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _accepted(server: socket.socket, process: subprocess.Popen[bytes]) -> socket.socket:
    server.settimeout(CONNECT_S)
    try:
        connection, _ = server.accept()
    except TimeoutError:
        state = "ended" if process.poll() is not None else "did not connect"
        raise InputError(f"tcp-loopback: the second process {state}") from None
    connection.settimeout(CONNECT_S)
    return connection


def main(arguments: Sequence[str]) -> int:
    """Be the second process: ``arguments`` are the transport and its numbers."""
    transport, numbers = arguments[0], [int(word) for word in arguments[1:]]
    if transport == "tcp-loopback":
        channel: Channel = SocketChannel(socket.create_connection(("127.0.0.1", numbers[0]), CONNECT_S))
    elif transport == "pipe":
        channel = PipeChannel(*numbers)
    elif transport == "unix":
        channel = SocketChannel(socket.socket(fileno=numbers[0]))
    else:
        channel = SharedChannel(mmap.mmap(numbers[0], SHARED_BYTES), socket.socket(fileno=numbers[1]), False)
    try:
        serve(channel, "first process")
    except InputError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
