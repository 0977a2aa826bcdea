"""Clients that take too long, or come in too great a number, are let go; the others notice nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, echo, gated, head
from tests.support.client import Broken, quietly
from tests.support.messages import chunked, request
from tests.support.proxy import Pace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.origin import Exchange, Origin


@pytest.fixture
def pace() -> Pace:
    """Look for late connections often, so that short deadlines are noticed."""
    return Pace(sweep=0.02, grace=0.2)


@pytest.fixture(autouse=True)
def _answering(origin: Origin) -> None:
    origin.otherwise = answer(b"x", cache_control="max-age=60")


@pytest.mark.parametrize("part", [b"G", b"GET /a HTTP/1.1\r\n", b"GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n"])
def test_a_head_that_does_not_end_is_a_408(serve: Serve, part: bytes) -> None:
    proxy = serve(header_timeout=0.2)
    with proxy.connect() as client:
        client.send(part)
        assert client.answer().status == 408
        assert client.is_ended()


def test_a_head_that_drips_is_a_408(serve: Serve) -> None:
    proxy = serve(header_timeout=0.3)
    with proxy.connect() as client:
        client.send(b"GET /a HTTP/1.1\r\nHost: a\r\nX: ")
        start = time.monotonic()
        while client.is_silent(0.04):
            client.send(b"y")
        assert 0.2 < time.monotonic() - start < 3
        assert client.answer().status == 408


def test_the_second_head_has_its_own_time(serve: Serve) -> None:
    proxy = serve(header_timeout=0.4)
    with proxy.connect() as client:
        for _ in range(3):
            client.send(b"GET /a HTTP/1.1\r\n")
            time.sleep(0.2)
            client.send(b"Host: a\r\n\r\n")
            assert client.answer().status == 200


def test_a_slow_head_does_not_break_the_answer_before_it(origin: Origin, serve: Serve) -> None:
    proxy = serve(header_timeout=0.2)
    gate = origin.gate()
    origin.on("/slow", gated(gate, answer(b"slow")))
    with proxy.connect() as client:
        client.send(request("GET", "/slow") + b"GET /a HT")
        assert client.is_silent(0.5)
        gate.open()
        assert client.answer().body == b"slow"
        assert client.answer().status == 408
        assert client.is_ended()


@pytest.mark.parametrize("is_chunked", [False, True])
def test_content_that_stops_is_a_408(origin: Origin, serve: Serve, is_chunked: bool) -> None:
    proxy = serve(body_timeout=0.2)
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
        got = client.answer("POST")
        assert (got.status, got["Connection"]) == (408, "close")
        assert client.is_ended()
    origin.await_that(lambda: bool(broken))


def test_content_slower_than_the_least_rate_is_a_408(origin: Origin, serve: Serve) -> None:
    proxy = serve(min_rate=1000)
    origin.on("/a", echo)
    with proxy.connect() as client:
        client.send(request("POST", "/a", content_length=1000))
        while client.is_silent(0.05):
            quietly(client, b"x")
        assert client.answer("POST").status == 408


def test_an_unused_connection_is_closed(serve: Serve) -> None:
    proxy = serve(idle_timeout=0.2)
    with proxy.connect() as never_used, proxy.connect() as used:
        assert used.get("/a").status == 200
        assert never_used.is_ended()
        assert used.is_ended()


def test_a_connection_in_use_is_not_closed(serve: Serve) -> None:
    proxy = serve(idle_timeout=0.3)
    with proxy.connect() as client:
        for _ in range(5):
            time.sleep(0.12)
            assert client.get("/a").status == 200


def test_a_connection_that_waits_for_its_answer_is_not_closed(origin: Origin, serve: Serve) -> None:
    proxy = serve(idle_timeout=0.1, header_timeout=0.1, body_timeout=0.1, send_timeout=0.1)
    gate = origin.gate()
    origin.on("/slow", gated(gate, answer(b"slow")))
    with proxy.connect() as client:
        client.send(request("POST", "/slow", b"content"))
        assert client.is_silent(0.5)
        gate.open()
        assert client.answer("POST").body == b"slow"


def test_after_a_late_answer_a_connection_is_kept_as_long_as_after_any(origin: Origin, serve: Serve) -> None:
    proxy = serve(idle_timeout=1.2)
    gate = origin.gate()
    origin.on("/slow", gated(gate, answer(b"slow")))
    with proxy.connect() as client:
        client.send(request("GET", "/slow"))
        assert client.is_silent(1.4)
        gate.open()
        assert client.answer().body == b"slow"
        time.sleep(0.15)
        assert client.get("/a").status == 200


@pytest.mark.parametrize("target", ["/stored", "/streamed"])
def test_a_client_that_reads_nothing_is_broken_off(origin: Origin, serve: Serve, target: str) -> None:
    proxy = serve(send_timeout=0.3)
    size = 40_000_000

    async def large(exchange: Exchange) -> None:
        caching = "max-age=60" if exchange.request.target == "/stored" else "no-store"
        await exchange.send(head(content_length=size, cache_control=caching) + bytes(size))

    origin.on(target, large)
    if target == "/stored":
        assert len(proxy.get(target).body) == size
    client = proxy.connect(receive_buffer=16 * 1024)
    client.send(request("GET", target))
    proxy.await_heard()
    proxy.await_connections(0)
    with pytest.raises(Broken):
        client.answer()


def test_a_client_that_reads_slowly_but_steadily_gets_all(origin: Origin, serve: Serve) -> None:
    proxy = serve(send_timeout=0.3)
    origin.on("/a", answer(bytes(8_000_000), cache_control="max-age=60"))
    client = proxy.connect(receive_buffer=16 * 1024)
    client.send(request("GET", "/a"))
    client.head()
    for _ in range(20):
        client.read(400_000)
        time.sleep(0.04)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_client_that_leaves_the_last_few_bytes_is_broken_off(
    origin: Origin, serve: Serve, tmp_path: Path, version: str
) -> None:
    """So few that the connection does not count as full; nobody would ever close it."""
    origin.on("/large", answer(bytes(4_000_000), cache_control="max-age=60"))
    proxy = serve(unix_socket=tmp_path / "s", send_timeout=0.3, idle_timeout=0.3)
    proxy.get("/large")
    probe = proxy.connect()
    probe.send(request("GET", "/large", version=version))
    proxy.await_that(lambda: any(c.writer.paused for c in proxy.server.connections))
    taken = 4_000_000 - sum(proxy.held_back().values())
    probe.reset()
    proxy.await_connections(0)
    origin.on("/a", answer(bytes(taken + 8_000), cache_control="max-age=60"))
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


def test_slow_clients_hold_up_nobody(serve: Serve) -> None:
    proxy = serve(header_timeout=5)
    slow = [proxy.connect() for _ in range(200)]
    for client in slow:
        client.send(b"GET /a HTTP/1.1\r\nHost: ")
    start = time.monotonic()
    assert [proxy.get("/a").status for _ in range(20)] == [200] * 20
    assert time.monotonic() - start < 2
