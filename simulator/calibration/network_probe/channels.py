"""Ways that two processes send bytes to each other: sockets, pipes, memory that both have mapped.

Each sends and receives whole messages whose size both ends know. The end of the other process is an ``EOFError``.
"""

from __future__ import annotations

import mmap
import os
import socket
from typing import Final, Protocol

SLOT_BYTES: Final = 1 << 20
"""Shared memory is used in slots of this size [B]: large enough that the wake-up is small beside the copy."""
SLOTS: Final = 2
"""Slots each way: one is filled while the other is emptied."""
SHARED_BYTES: Final = 2 * SLOTS * SLOT_BYTES
"""Size of the memory of a ``SharedChannel`` [B]."""


class Channel(Protocol):
    """A way to the other process. Both raise OSError or EOFError when it breaks off."""

    def send(self, data: memoryview) -> None:
        """Send all of ``data``."""

    def receive(self, into: memoryview) -> None:
        """Fill ``into``."""

    def close(self) -> None:
        """End it, if it has not ended yet; the other process sees the end."""


class SocketChannel:
    """A connected stream socket: TCP, or a Unix socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: memoryview) -> None:
        """See ``Channel``."""
        self.connection.sendall(data)

    def receive(self, into: memoryview) -> None:
        """See ``Channel``."""
        got = 0
        while got < len(into):
            more = self.connection.recv_into(into[got:])
            if not more:
                raise EOFError(f"after {got} of {len(into)} bytes of a message")
            got += more

    def close(self) -> None:
        """See ``Channel``."""
        self.connection.close()


class PipeChannel:
    """A pipe each way."""

    def __init__(self, reads: int, writes: int) -> None:
        self.reads, self.writes = reads, writes
        self.open = True

    def send(self, data: memoryview) -> None:
        """See ``Channel``."""
        sent = 0
        while sent < len(data):
            sent += os.write(self.writes, data[sent:])

    def receive(self, into: memoryview) -> None:
        """See ``Channel``."""
        got = 0
        while got < len(into):
            more = os.readv(self.reads, [into[got:]])
            if not more:
                raise EOFError(f"after {got} of {len(into)} bytes of a message")
            got += more

    def close(self) -> None:
        """See ``Channel``."""
        if self.open:
            self.open = False
            os.close(self.reads)
            os.close(self.writes)


class SharedChannel:
    """Memory that both processes have mapped, in slots; a byte over a socket says "ready" or "free".

    ``first`` is true for one end and false for the other: which half each one writes.
    """

    def __init__(self, memory: mmap.mmap, wake: socket.socket, first: bool) -> None:
        self.memory, self.wake = memory, wake
        self.view = memoryview(memory)
        half = SLOTS * SLOT_BYTES
        self.out_at, self.in_at = (0, half) if first else (half, 0)
        self.filled = self.emptied = 0
        self.waiting = self.ready = 0

    def send(self, data: memoryview) -> None:
        """See ``Channel``."""
        for start in range(0, len(data), SLOT_BYTES):
            while self.waiting == SLOTS:
                self._listen()
            piece = data[start : start + SLOT_BYTES]
            at = self.out_at + self.filled % SLOTS * SLOT_BYTES
            self.view[at : at + len(piece)] = piece
            self.filled += 1
            self.waiting += 1
            self.wake.sendall(b"R")

    def receive(self, into: memoryview) -> None:
        """See ``Channel``."""
        for start in range(0, len(into), SLOT_BYTES):
            while not self.ready:
                self._listen()
            size = min(SLOT_BYTES, len(into) - start)
            at = self.in_at + self.emptied % SLOTS * SLOT_BYTES
            into[start : start + size] = self.view[at : at + size]
            self.emptied += 1
            self.ready -= 1
            self.wake.sendall(b"F")

    def _listen(self) -> None:
        words = self.wake.recv(64)
        if not words:
            raise EOFError("while waiting for the other process")
        self.ready += words.count(b"R")
        self.waiting -= words.count(b"F")

    def close(self) -> None:
        """See ``Channel``."""
        self.wake.close()
        self.view.release()
        self.memory.close()
