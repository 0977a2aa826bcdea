"""Clients that take too long, or come in too great a number, are let go; the others notice nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, echo, gated, head
from tests.support.client import Broken, quietly
from tests.support.messages import chunked, request
from tests.support.proxy import BRISK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.origin import Exchange, Origin


LINGER_S = 2.5
"""As long as a connection that was refused stays open at most."""


@pytest.fixture(autouse=True)
def _answering(origin: Origin) -> None:
    origin.otherwise = answer(b"x", cache_control="max-age=60")


@pytest.mark.parametrize("part", [b"G", b"GET /a HTTP/1.1\r\n", b"GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n"])
def test_a_head_that_does_not_end_is_a_408(standing: Serve, part: bytes) -> None:
    proxy = standing(header_timeout=10)
    with proxy.connect() as client:
        client.send(part)
        proxy.pass_time(9)
        assert client.is_silent(0)
        proxy.pass_time(2)
        assert client.answer().status == 408
        proxy.pass_time(LINGER_S)
        assert client.is_ended()


def test_a_head_that_drips_is_a_408(standing: Serve) -> None:
    proxy = standing(header_timeout=10)
    with proxy.connect() as client:
        client.send(b"GET /a HTTP/1.1\r\nHost: a\r\nX: ")
        passed = 0
        while client.is_silent(0):
            client.send(b"y")
            proxy.pass_time(1)
            passed += 1
        assert 10 <= passed <= 12
        assert client.answer().status == 408


def test_the_second_head_has_its_own_time(standing: Serve) -> None:
    proxy = standing(header_timeout=10)
    with proxy.connect() as client:
        for _ in range(3):
            client.send(b"GET /a HTTP/1.1\r\n")
            proxy.pass_time(6)
            client.send(b"Host: a\r\n\r\n")
            assert client.answer().status == 200


def test_a_slow_head_does_not_break_the_answer_before_it(origin: Origin, standing: Serve) -> None:
    proxy = standing(header_timeout=10)
    gate = origin.gate()
    origin.on("/slow", gated(gate, answer(b"slow")))
    with proxy.connect() as client:
        client.send(request("GET", "/slow") + b"GET /a HT")
        origin.await_requests(1)
        proxy.pass_time(25)
        assert client.is_silent(0)
        gate.open()
        assert client.answer().body == b"slow"
        proxy.pass_time(11)
        assert client.answer().status == 408
        proxy.pass_time(LINGER_S)
        assert client.is_ended()


@pytest.mark.parametrize("is_chunked", [False, True])
def test_content_that_stops_is_a_408(origin: Origin, standing: Serve, is_chunked: bool) -> None:
    proxy = standing(body_timeout=10)
    broken = []

    async def reading(exchange: Exchange) -> None:
        try:
            await exchange.body()
        except (EOFError, ConnectionError):
            broken.append(True)
            origin.noted()

    origin.on("/a", reading)
    framing = {"transfer_encoding": "chunked"} if is_chunked else {"content_length": 100}
    with proxy.connect() as client:
        client.send(request("POST", "/a", **framing) + (chunked(b"half", end=b"") if is_chunked else b"half"))
        origin.await_requests(1)
        proxy.pass_time(9)
        assert client.is_silent(0)
        proxy.pass_time(2)
        got = client.answer("POST")
        assert (got.status, got["Connection"]) == (408, "close")
        proxy.pass_time(LINGER_S)
        assert client.is_ended()
    origin.await_that(lambda: bool(broken))


def test_content_slower_than_the_least_rate_is_a_408(origin: Origin, standing: Serve) -> None:
    proxy = standing(min_rate=1000)
    origin.on("/a", echo)
    with proxy.connect() as client:
        client.send(request("POST", "/a", content_length=1000))
        passed = 0
        while client.is_silent(0):
            quietly(client, b"x")
            proxy.pass_time(1)
            passed += 1
        assert 10 <= passed <= 12, "its grace, and no more"
        assert client.answer("POST").status == 408


def test_an_unused_connection_is_closed(standing: Serve) -> None:
    proxy = standing(idle_timeout=20)
    with proxy.connect() as never_used, proxy.connect() as used:
        assert used.get("/a").status == 200
        proxy.pass_time(19)
        assert never_used.is_silent(0)
        assert used.is_silent(0)
        proxy.pass_time(2)
        assert never_used.is_ended()
        assert used.is_ended()


def test_a_connection_in_use_is_not_closed(standing: Serve) -> None:
    proxy = standing(idle_timeout=20)
    with proxy.connect() as client:
        for _ in range(5):
            proxy.pass_time(18)
            assert client.get("/a").status == 200


def test_a_connection_that_waits_for_its_answer_is_not_closed(origin: Origin, standing: Serve) -> None:
    proxy = standing(idle_timeout=1, header_timeout=1, body_timeout=1, send_timeout=1)
    gate = origin.gate()
    origin.on("/slow", gated(gate, answer(b"slow")))
    with proxy.connect() as client:
        client.send(request("POST", "/slow", b"content"))
        origin.await_requests(1)
        proxy.pass_time(10)
        assert client.is_silent(0)
        gate.open()
        assert client.answer("POST").body == b"slow"


def test_after_a_late_answer_a_connection_is_kept_as_long_as_after_any(origin: Origin, standing: Serve) -> None:
    proxy = standing(idle_timeout=10)
    gate = origin.gate()
    origin.on("/slow", gated(gate, answer(b"slow")))
    with proxy.connect() as client:
        client.send(request("GET", "/slow"))
        origin.await_requests(1)
        proxy.pass_time(12)
        assert client.is_silent(0)
        gate.open()
        assert client.answer().body == b"slow"
        proxy.pass_time(9)
        assert client.get("/a").status == 200


@pytest.mark.parametrize("target", ["/stored", "/streamed"])
def test_a_client_that_reads_nothing_is_broken_off(origin: Origin, standing: Serve, target: str) -> None:
    proxy = standing(send_timeout=10)
    size = 40_000_000

    async def large(exchange: Exchange) -> None:
        caching = "max-age=60" if exchange.request.target == "/stored" else "no-store"
        await exchange.send(head(content_length=size, cache_control=caching) + bytes(size))

    origin.on(target, large)
    if target == "/stored":
        assert len(proxy.get(target).body) == size
    client = proxy.connect(receive_buffer=16 * 1024)
    client.send(request("GET", target))
    proxy.await_that(lambda: any(c.writer.paused for c in proxy.server.connections))
    proxy.pass_time(9)
    assert proxy.call(lambda: len(proxy.server.connections)) == 1
    proxy.pass_time(12)
    proxy.await_connections(0)
    with pytest.raises(Broken):
        client.answer()


def test_a_client_that_reads_slowly_but_steadily_gets_all(origin: Origin, standing: Serve) -> None:
    proxy = standing(send_timeout=7)
    origin.on("/a", answer(bytes(8_000_000), cache_control="max-age=60"))
    client = proxy.connect(receive_buffer=16 * 1024)
    client.send(request("GET", "/a"))
    client.head()
    got = b""
    for _ in range(20):
        got += client.read(400_000)
        proxy.pass_time(1)
    assert got == bytes(8_000_000)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_client_that_leaves_the_last_few_bytes_is_broken_off(
    origin: Origin, serve: Serve, tmp_path: Path, version: str
) -> None:
    """So few that the connection does not count as full; nobody would ever close it."""
    origin.on("/large", answer(bytes(4_000_000), cache_control="max-age=60"))
    proxy = serve(unix_socket=tmp_path / "s", send_timeout=1, idle_timeout=1, pace=BRISK)
    proxy.get("/large")
    probe = proxy.connect()
    probe.send(request("GET", "/large", version=version))
    proxy.await_that(lambda: any(c.writer.paused for c in proxy.server.connections))
    taken = 4_000_000 - sum(proxy.held_back().values())
    probe.reset()
    proxy.await_connections(0)
    origin.on("/a", answer(bytes(taken - 8_000), cache_control="max-age=60"))  # its end is written apart
    proxy.get("/a")
    client = proxy.connect()
    client.send(request("GET", "/a", version=version))
    proxy.await_that(lambda: any(c.transport.get_write_buffer_size() > 0 for c in proxy.server.connections))
    assert not proxy.call(lambda: [c for c in proxy.server.connections if c.writer.paused])
    proxy.await_connections(0)


def test_connections_beyond_the_limit_get_503(serve: Serve) -> None:
    proxy = serve(max_connections=3)
    clients = [proxy.connect() for _ in range(3)]
    assert [client.get("/a").status for client in clients] == [200] * 3
    for _ in range(20):
        with proxy.connect() as one_more:
            quietly(one_more, request("GET", "/a"))
            got = one_more.answer()
            assert (got.status, got["Content-Type"], got["Connection"]) == (503, "application/problem+json", "close")
            assert one_more.is_ended()
    assert [client.get("/a").status for client in clients] == [200] * 3
    clients[0].close()
    proxy.await_connections(2)
    assert proxy.get("/a").status == 200


def test_slow_clients_hold_up_nobody(standing: Serve) -> None:
    proxy = standing(header_timeout=5)
    slow = [proxy.connect() for _ in range(200)]
    for client in slow:
        client.send(b"GET /a HTTP/1.1\r\nHost: ")
    assert [proxy.get("/a").status for _ in range(20)] == [200] * 20, "no time has passed"
    assert all(client.is_silent(0) for client in slow)
