"""The probe between two hosts over TCP: one listens, the other connects and measures.

There is no encryption and no password: whoever reaches the port can have bytes sent and thrown away, and nothing else,
for one session. Listen on the address of the network that is to be measured, and only while measuring.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from hardware_specs.errors import InputError, clipped
from simulator.calibration.network_probe.channels import Channel, SocketChannel
from simulator.calibration.network_probe.protocol import Served, Stranger, serve, speaking_with

DEFAULT_PORT: Final = 47511
"""Port that nobody has registered (IANA)."""
ANSWER_S: Final = 60.0
"""Longest silence of the other host [s]."""
_ADDRESS: Final = re.compile(r"^(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^:\[\]\s/]*))(?::(?P<port>\d{1,5}))?$")


class Address(NamedTuple):
    """Host and port; the host "" is every address of this machine."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Session(NamedTuple):
    """Who connected, and what was served."""

    peer: str
    served: Served


def parse_address(text: str) -> Address:
    """ "HOST:PORT", "HOST", ":PORT", "PORT" or "[IPv6]:PORT".

    Raises:
        InputError: none of these, or a port above 65535.
    """
    match = _ADDRESS.match(f":{text}" if text.isdigit() else text)
    port = int(match["port"] or DEFAULT_PORT) if match else -1
    if not match or not 0 <= port <= 65535:
        raise InputError(
            f"address {clipped(text)!r}: must be HOST:PORT (node1:{DEFAULT_PORT}, [fe80::1]:{DEFAULT_PORT}), "
            "with a port from 0 to 65535"
        )
    return Address(match["six"] or match["host"], port)


def listen(
    address: str = "", *, timeout_s: float = 300.0, ready: Callable[[Address], None] = lambda address: None
) -> Session:
    """Be the answering host for one session.

    Args:
        timeout_s: how long to wait for the other host.
        ready: told the address, with its real port, when it can be connected to.

    Raises:
        InputError: the address cannot be used, nobody came, or the other host broke off half-way.
    """
    wanted = parse_address(address)
    try:
        family = socket.AF_INET6 if ":" in wanted.host else socket.AF_INET
        server = socket.create_server(wanted, family=family)
    except OSError as error:
        raise InputError(f"{wanted}: cannot listen there ({error.strerror or error})") from None
    with server:
        ready(Address(wanted.host, server.getsockname()[1]))
        deadline = time.monotonic() + timeout_s
        while True:
            server.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                connection, source = server.accept()
            except TimeoutError:
                raise InputError(f"{wanted}: nobody connected within {timeout_s:g} s") from None
            peer = str(Address(*source[:2]))
            with connection:
                connection.settimeout(ANSWER_S)
                try:
                    return Session(peer, serve(SocketChannel(connection), peer))
                except Stranger:
                    continue


@contextmanager
def connected_to(address: str, timeout_s: float = ANSWER_S) -> Iterator[tuple[Channel, str]]:
    """A channel to the host that listens at ``address``, and its name.

    Raises:
        InputError: no such host, refused, or no answer.
    """
    wanted = parse_address(address)
    if not wanted.host or not wanted.port:
        raise InputError(f"address {clipped(address)!r}: needs the host and the port that the other end listens on")
    try:
        connection = socket.create_connection(wanted, timeout_s)
    except ConnectionRefusedError:
        raise InputError(f"{wanted}: refused; start 'silicost calibrate network --listen' there first") from None
    except TimeoutError:
        raise InputError(f"{wanted}: no answer within {timeout_s:g} s; is a firewall in between?") from None
    except OSError as error:
        raise InputError(f"{wanted}: cannot be reached ({error.strerror or error})") from None
    with connection, speaking_with(str(wanted)):
        connection.settimeout(timeout_s)
        yield SocketChannel(connection), str(wanted)
