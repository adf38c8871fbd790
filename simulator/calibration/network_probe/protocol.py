"""What the two ends of the probe say to each other: fixed headers, then messages of the sizes that these announce.

A header is magic, version, word, count and size. One end asks, the other (``serve``) answers and never does more than
send and receive bytes, which it throws away. Sizes and counts are checked at both ends.

    ask "ping"   count, size     count times: size bytes there, the same back
    ask "take"   count, size     count x size bytes there, then "done" with the bytes that came
    ask "give"   count, size     count x size bytes back, then "done" with the bytes that went
    ask "bye"                    the end
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Final, NamedTuple

from hardware_specs.errors import InputError
from simulator.calibration.network_probe.channels import Channel

MAGIC: Final = b"SCNP"
VERSION: Final = 1
MOST_BYTES: Final = 1 << 28
"""Largest message [B]."""
MOST_MESSAGES: Final = 1 << 20
_HEADER: Final = struct.Struct("!4sBBHIQ")


class Word(IntEnum):
    """What a header says."""

    HELLO = 1
    PING = 2
    TAKE = 3
    GIVE = 4
    DONE = 5
    REFUSED = 6
    BYE = 7


class Header(NamedTuple):
    """One header: the word, how many messages, and of what size [B] (hello: the largest; done: all bytes)."""

    word: Word
    messages: int
    size: int


class Stranger(InputError):
    """What answers is no probe, or one of another version."""


class Served(NamedTuple):
    """What the answering end has done: messages received and sent, and their bytes."""

    messages: int
    bytes: int


@contextmanager
def speaking_with(peer: str) -> Iterator[None]:
    """Turn what breaks a connection into an InputError that names the ``peer``."""
    try:
        yield
    except EOFError as error:
        raise InputError(f"{peer}: closed the connection {error}") from None
    except TimeoutError:
        raise InputError(f"{peer}: does not answer any more (timed out)") from None
    except OSError as error:
        raise InputError(f"{peer}: the connection broke off ({error.strerror or error})") from None


def send_header(channel: Channel, word: Word, count: int = 0, size: int = 0) -> None:
    """Send a header."""
    channel.send(memoryview(_HEADER.pack(MAGIC, VERSION, word, 0, count, size)))


def receive_header(channel: Channel, peer: str) -> Header:
    """Receive a header.

    Raises:
        Stranger: no header of this protocol and version.
        InputError: a word that does not exist, sizes beyond the limits, or the peer refused.
    """
    data = bytearray(_HEADER.size)
    channel.receive(memoryview(data))
    magic, version, code, _, count, size = _HEADER.unpack(data)
    if magic != MAGIC:
        raise Stranger(f"{peer}: is no silicost network probe (it says {bytes(magic)!r}, not {MAGIC!r})")
    if version != VERSION:
        raise Stranger(
            f"{peer}: speaks version {version} of the probe, not {VERSION}; use the same silicost on both ends"
        )
    if code not in list(Word):
        raise InputError(f"{peer}: says word {code}, which is none")
    if code == Word.REFUSED:
        raise InputError(f"{peer}: refused {count} messages of {size} bytes")
    if count > MOST_MESSAGES or (size > MOST_BYTES and code != Word.DONE):
        raise InputError(f"{peer}: asks for {count} messages of {size} bytes (at most {MOST_MESSAGES} of {MOST_BYTES})")
    return Header(Word(code), count, size)


def greet(channel: Channel, peer: str) -> None:
    """Say hello as the asking end, and hear it.

    Raises:
        InputError: the peer is no probe, or of another version, or the connection broke.
    """
    with speaking_with(peer):
        send_header(channel, Word.HELLO, 0, MOST_BYTES)
        _expect(receive_header(channel, peer), Word.HELLO, peer)


def serve(channel: Channel, peer: str) -> Served:
    """Be the answering end until the other says bye.

    Raises:
        InputError: the peer is no probe, breaks the protocol, or broke off.
    """
    messages = moved = 0
    buffer = memoryview(bytearray(0))
    with speaking_with(peer):
        _expect(receive_header(channel, peer), Word.HELLO, peer)
        send_header(channel, Word.HELLO, 0, MOST_BYTES)
        while True:
            word, count, size = receive_header(channel, peer)
            if word == Word.BYE:
                return Served(messages, moved)
            if word not in (Word.PING, Word.TAKE, Word.GIVE) or not count or not size:
                send_header(channel, Word.REFUSED, count, size)
                raise InputError(f"{peer}: {word.name.lower()} of {count} messages of {size} bytes has no meaning here")
            if len(buffer) < size:
                buffer = memoryview(bytearray(size))
            _answer(channel, word, count, buffer[:size])
            messages += count * (2 if word == Word.PING else 1)
            moved += count * size * (2 if word == Word.PING else 1)


def _answer(channel: Channel, word: Word, count: int, message: memoryview) -> None:
    for _ in range(count):
        if word != Word.GIVE:
            channel.receive(message)
        if word != Word.TAKE:
            channel.send(message)
    if word != Word.PING:
        send_header(channel, Word.DONE, count, count * len(message))


def ping_pong(channel: Channel, peer: str, message: memoryview, count: int) -> list[float]:
    """Send ``message`` there and back ``count`` times: half of each round trip [s].

    Raises:
        InputError: another message came back, or the connection broke.
    """
    seconds = []
    back = memoryview(bytearray(len(message)))
    with speaking_with(peer):
        send_header(channel, Word.PING, count, len(message))
        for number in range(count):
            message[0] = number & 0xFF
            start = time.perf_counter()
            channel.send(message)
            channel.receive(back)
            seconds.append(0.5 * (time.perf_counter() - start))
            if back[0] != number & 0xFF:
                raise InputError(f"{peer}: sent another message back than number {number}")
    return seconds


def push(channel: Channel, peer: str, message: memoryview, count: int) -> float:
    """Send ``count`` messages there and wait for the one answer: seconds for each message.

    Raises:
        InputError: not all bytes arrived, or the connection broke.
    """
    with speaking_with(peer):
        start = time.perf_counter()
        send_header(channel, Word.TAKE, count, len(message))
        for _ in range(count):
            channel.send(message)
        _check_done(receive_header(channel, peer), count, len(message), peer)
        return (time.perf_counter() - start) / count


def pull(channel: Channel, peer: str, message: memoryview, count: int) -> float:
    """Have ``count`` messages of the size of ``message`` sent here: seconds for each message.

    Raises:
        InputError: not all bytes were sent, or the connection broke.
    """
    with speaking_with(peer):
        start = time.perf_counter()
        send_header(channel, Word.GIVE, count, len(message))
        for _ in range(count):
            channel.receive(message)
        seconds = (time.perf_counter() - start) / count
        _check_done(receive_header(channel, peer), count, len(message), peer)
        return seconds


def _check_done(header: Header, count: int, size: int, peer: str) -> None:
    _expect(header, Word.DONE, peer)
    if (header.messages, header.size) != (count, count * size):
        raise InputError(
            f"{peer}: counts {header.size} bytes in {header.messages} messages, not {count * size} in {count}"
        )


def _expect(header: Header, word: Word, peer: str) -> None:
    if header.word != word:
        raise InputError(f"{peer}: says {header.word.name.lower()} where {word.name.lower()} was due")
