"""The network probe: what is sent arrives, what is measured is a transfer, what breaks is said in one line."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hardware_specs.errors import InputError, UnknownName
from simulator.calibration.network_probe import protocol, remote
from simulator.calibration.network_probe.channels import SLOT_BYTES, SocketChannel
from simulator.calibration.network_probe.local import TRANSPORTS, missing, second_process
from simulator.calibration.network_probe.measure import measure_network
from simulator.calibration.network_probe.protocol import (
    MAGIC,
    MOST_BYTES,
    VERSION,
    Stranger,
    Word,
    greet,
    ping_pong,
    pull,
    push,
    send_header,
    serve,
)
from simulator.calibration.network_probe.remote import Address, connected_to, listen, parse_address
from simulator.calibration.samples import Samples, read_samples, write_samples
from workloads.operators import OpKind

HERE = [name for name in TRANSPORTS if not missing(name)]


class InThread:
    """A call that runs in a thread; ``result`` is what it returned or raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.found: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._run, args=(call,), daemon=True).start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self.found.put(call())
        except Exception as error:
            self.found.put(error)

    @property
    def result(self) -> Any:
        return self.found.get(timeout=20.0)


@contextmanager
def pair(timeout_s: float = 5.0) -> Iterator[tuple[SocketChannel, SocketChannel]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(timeout_s)
        theirs.settimeout(timeout_s)
        yield SocketChannel(ours), SocketChannel(theirs)


@contextmanager
def listening(**options: Any) -> Iterator[tuple[Address, InThread]]:
    """A host that listens on a free port, and what becomes of it."""
    at: queue.Queue[Address] = queue.Queue()
    host = InThread(lambda: listen("127.0.0.1:0", ready=at.put, **options))
    yield at.get(timeout=5.0), host


@pytest.mark.parametrize("transport", HERE)
def test_bytes_go_both_ways_between_two_processes(transport: str) -> None:
    with second_process(transport, 60.0) as channel:
        greet(channel, transport)
        for size in (1, 4096, 3 * SLOT_BYTES + 17):
            message = memoryview(bytearray(range(256)) * (size // 256 + 1))[:size]
            assert len(ping_pong(channel, transport, message, 5)) == 5
            assert push(channel, transport, message, 3) > 0.0
            into = memoryview(bytearray(b"\xff" * size))
            assert pull(channel, transport, into, 3) > 0.0
            assert bytes(into[1:]) == bytes(message[1:])
        send_header(channel, Word.BYE)


def test_times_are_one_way_and_of_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 1000, 6))
    monkeypatch.setattr(protocol.time, "perf_counter", lambda: float(next(ticks)))
    with pair() as (ours, theirs):
        answer = InThread(lambda: serve(theirs, "peer"))
        greet(ours, "peer")
        message = memoryview(bytearray(8))
        assert ping_pong(ours, "peer", message, 2) == [3.0, 3.0]
        assert push(ours, "peer", message, 3) == pull(ours, "peer", message, 3) == 2.0
        send_header(ours, Word.BYE)
        assert answer.result == (2 * 2 + 3 + 3, 8 * 10)


@pytest.mark.parametrize("transport", HERE)
def test_a_second_process_that_ends_is_seen(transport: str) -> None:
    broken = pytest.raises(InputError, match=f"{transport}: (closed the connection|the connection broke off)")
    with broken, second_process(transport, 60.0) as channel:
        greet(channel, transport)
        send_header(channel, Word.BYE)
        for _ in range(1000):
            ping_pong(channel, transport, memoryview(bytearray(4096)), 1)


def test_the_watchdog_ends_a_process_that_hangs() -> None:
    with pytest.raises(InputError, match="closed the connection"), second_process("unix", 0.5) as channel:
        channel.receive(memoryview(bytearray(1)))


def test_rows_are_transfers(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    report = measure_network(
        sizes=(256, 1, 256), budget_s=0.2, progress=lambda what, done, of: seen.append((what, done, of))
    )
    expected = [
        (f"{transport}.{mode}", size)
        for transport in HERE
        for size in (1, 256)
        for mode in ("pingpong", "stream", "stream.back")
    ]
    assert [(m.variant, m.operator.message_bytes) for m in report.measurements] == expected
    for m in report.measurements:
        assert m.operator.kind is OpKind.TRANSFER and m.probe == "network" and m.runtime == ""
        assert 0.0 < m.low_s <= m.time_s <= m.high_s < 1.0
        assert m.repeats >= 2 and m.at.endswith("+00:00")
    assert seen[:2] == [(f"{HERE[0]} 1 bytes", 0, 2), (f"{HERE[0]} 256 bytes", 1, 2)]
    write_samples(tmp_path / "network.parquet", Samples(report.measurements, report.about))
    assert repr(read_samples(tmp_path / "network.parquet").measurements) == repr(report.measurements)


@pytest.mark.parametrize("sizes", [(1 << 20, 1 << 22, MOST_BYTES), (1, 2, 1 << 22)])
def test_sizes_that_would_take_too_long_are_left_out(monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...]) -> None:
    def slow(channel: Any, peer: str, message: memoryview, count: int) -> list[float]:
        return [1e-5 + 1e-7 * len(message)] * count

    monkeypatch.setattr("simulator.calibration.network_probe.measure.ping_pong", slow)
    report = measure_network(transports=("unix",), sizes=sizes, budget_s=0.01)
    assert {m.operator.message_bytes for m in report.measurements} == {size for size in sizes if size < 1 << 22}
    assert report.skipped == (f"unix: {1 << 22} bytes and more would take longer than the budget",)


def test_transports_that_this_system_lacks_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.calibration.network_probe.local._POSIX", False)
    report = measure_network(transports=("pipe",), sizes=(1,), budget_s=0.1)
    assert report.measurements == () and report.skipped == ("pipe: needs POSIX file descriptors",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transports": ("carrier-pigeon",)}, "unknown transport 'carrier-pigeon'"),
        ({"sizes": (0,)}, r"message sizes \[0\]: must be"),
        ({"sizes": ()}, "message sizes"),
        ({"sizes": (MOST_BYTES + 1,)}, "must be whole numbers"),
        ({"budget_s": 0.0}, "budget 0.0 s"),
    ],
)
def test_what_cannot_be_measured_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure_network(**options)


def test_two_hosts(tmp_path: Path) -> None:
    with listening() as (address, host):
        report = measure_network(str(address), sizes=(1, 65536), budget_s=0.2)
        session = host.result
    assert {m.variant for m in report.measurements} == {"tcp.pingpong", "tcp.stream", "tcp.stream.back"}
    assert report.about["peer"] == str(address)
    assert session.peer.startswith("127.0.0.1:")
    assert session.served.messages > 2 * sum(m.repeats for m in report.measurements if m.variant == "tcp.pingpong")
    assert session.served.bytes > 65536


def test_strangers_do_not_end_the_session() -> None:
    with listening() as (address, host):
        for words in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", MAGIC + bytes([VERSION + 1]) + bytes(15)):
            with socket.create_connection(address) as stranger:
                stranger.sendall(words)
                stranger.settimeout(5.0)
                with pytest.raises((ConnectionError, AssertionError)):
                    assert stranger.recv(1)
        with connected_to(str(address)) as (channel, peer):
            greet(channel, peer)
            send_header(channel, Word.BYE)
        assert host.result.served == (0, 0)


def test_nobody_comes() -> None:
    with pytest.raises(InputError, match=r"127\.0\.0\.1:0: nobody connected within 0\.05 s"):
        listen("127.0.0.1:0", timeout_s=0.05)


def test_a_port_in_use() -> None:
    with listening(timeout_s=2.0) as (address, _), pytest.raises(InputError, match="cannot listen there"):
        listen(str(address))


def test_refused_and_unknown_hosts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    with pytest.raises(InputError, match=f"127.0.0.1:{free}: refused; start 'silicost calibrate network --listen'"):
        measure_network(f"127.0.0.1:{free}")
    for address in (":5", "5", "host:0"):
        with pytest.raises(InputError, match="needs the host and the port"):
            measure_network(address)


def test_a_host_that_hangs_up_half_way() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            connection, _ = server.accept()
            channel = SocketChannel(connection)
            protocol.receive_header(channel, "client")
            send_header(channel, Word.HELLO)
            protocol.receive_header(channel, "client")
            channel.receive(memoryview(bytearray(100)))
            channel.send(memoryview(bytearray(60)))
            connection.close()

        thread = InThread(hang_up)
        with pytest.raises(
            InputError, match=r"127\.0\.0\.1:\d+: closed the connection after 60 of 100 bytes|broke off"
        ):
            measure_network(f"127.0.0.1:{server.getsockname()[1]}", sizes=(100,))
        assert thread.result is None


def test_a_silent_host_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(InputError, match="does not answer any more"),
        connected_to(f"127.0.0.1:{server.getsockname()[1]}", 0.1) as (channel, peer),
    ):
        greet(channel, peer)


def test_the_listening_host_sees_the_other_end_go() -> None:
    with listening() as (address, host):
        with connected_to(str(address)) as (channel, peer):
            greet(channel, peer)
            send_header(channel, Word.TAKE, 2, 1000)
            channel.send(memoryview(bytearray(1500)))
        assert "closed the connection after 500 of 1000 bytes" in str(host.result)


def header(
    *, magic: bytes = MAGIC, version: int = VERSION, word: int = Word.HELLO, count: int = 0, size: int = 0
) -> bytes:
    return protocol._HEADER.pack(magic, version, word, 0, count, size)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (header(magic=b"HTTP"), Stranger, r"is no silicost network probe \(it says b'HTTP', not b'SCNP'\)"),
        (header(version=9), Stranger, "speaks version 9 of the probe, not 1"),
        (header(word=200), InputError, "says word 200, which is none"),
        (header(word=Word.PING), InputError, "says ping where hello was due"),
        (header() + header(word=Word.PING, count=1, size=MOST_BYTES + 1), InputError, "asks for 1 messages of"),
        (header() + header(word=Word.PING, count=2**31, size=1), InputError, "asks for 2147483648 messages of 1 bytes"),
        (
            header() + header(word=Word.TAKE, count=0, size=8),
            InputError,
            "take of 0 messages of 8 bytes has no meaning",
        ),
        (
            header() + header(word=Word.DONE, count=1, size=8),
            InputError,
            "done of 1 messages of 8 bytes has no meaning",
        ),
        (header()[:7], InputError, "closed the connection after 7 of 20 bytes"),
    ],
)
def test_the_answering_end_takes_nothing_on_trust(data: bytes, error: type[InputError], message: str) -> None:
    with pair() as (ours, theirs):
        ours.connection.sendall(data)
        ours.connection.shutdown(socket.SHUT_WR)
        with pytest.raises(error, match=message):
            serve(theirs, "peer")


def answering(*headers: bytes, echo: bytes = b"") -> Callable[[SocketChannel], None]:
    def answer(channel: SocketChannel) -> None:
        channel.connection.sendall(b"".join(headers) + echo)

    return answer


@pytest.mark.parametrize(
    ("call", "answer", "message"),
    [
        (greet, answering(header(word=Word.DONE)), "says done where hello was due"),
        (greet, answering(b"SSH-2.0-OpenSSH_9.2 Debian"), "is no silicost network probe"),
        (
            lambda c, p: push(c, p, memoryview(bytearray(10)), 2),
            answering(header(word=Word.DONE, count=2, size=19)),
            "counts 19 bytes in 2 messages, not 20 in 2",
        ),
        (
            lambda c, p: push(c, p, memoryview(bytearray(10)), 2),
            answering(header(word=Word.REFUSED, count=2, size=10)),
            "refused 2 messages of 10 bytes",
        ),
        (
            lambda c, p: ping_pong(c, p, memoryview(bytearray(4)), 1),
            answering(echo=b"\x07\0\0\0"),
            "sent another message back than number 0",
        ),
    ],
)
def test_the_asking_end_checks_what_comes_back(call: Any, answer: Any, message: str) -> None:
    with pair() as (ours, theirs):
        answer(theirs)
        with pytest.raises(InputError, match=message):
            call(ours, "peer")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("node1:5", ("node1", 5)),
        ("node1", ("node1", remote.DEFAULT_PORT)),
        (":7", ("", 7)),
        ("7", ("", 7)),
        ("", ("", remote.DEFAULT_PORT)),
        ("[fe80::1%eth0]:9", ("fe80::1%eth0", 9)),
        ("[::1]", ("::1", remote.DEFAULT_PORT)),
        ("10.0.0.2:0", ("10.0.0.2", 0)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address
    assert parse_address(str(parse_address(text))) == address


@pytest.mark.parametrize("text", ["a:b", "host:65536", "::1", "http://x/", "a b:3", "999999"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InputError, match="must be HOST:PORT"):
        parse_address(text)


def test_unknown_names_are_of_the_tree() -> None:
    with pytest.raises(UnknownName):
        measure_network(transports=("shared",))
