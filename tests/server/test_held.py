"""What one connection can make the proxy hold is bounded, and nothing that it asked is lost for that (law 11)."""

from __future__ import annotations

import contextlib
import gc
import threading
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, echo, gated, head
from tests.support.messages import request

from springhouse.http.messages import Request
from springhouse.server.turns import QUEUED_MAX, REQUEST_BYTES

if TYPE_CHECKING:
    from tests.support.client import Client
    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

TINY = b"GET /x HTTP/1.1\r\nHost:a\r\n\r\n"


def sent(client: Client, data: bytes) -> threading.Thread:
    """Send from a thread, for the proxy may not take all of it at once."""
    sender = threading.Thread(target=client.send, args=(data,))
    sender.start()
    return sender


def requests_alive() -> int:
    """Return how many requests this process holds; the tests before this one may have left some."""
    return sum(type(each) is Request for each in gc.get_objects())


@pytest.mark.parametrize("half_closed", [False, True])
@pytest.mark.parametrize("target", ["/x", "/kept"])
def test_of_requests_that_wait_only_so_many_are_held_and_all_are_answered(
    origin: Origin, proxy: Proxy, half_closed: bool, target: str
) -> None:
    """One read may bring ten thousand of them; each takes a kilobyte."""
    gate = origin.gate()
    origin.on("/first", gated(gate, answer(b"first", cache_control="no-store")))
    origin.on("/x", answer(b"x", cache_control="no-store"))
    origin.on("/kept", answer(b"x", cache_control="max-age=60"))
    proxy.get("/kept")
    client = proxy.connect()
    client.send(request("GET", "/first"))
    origin.await_that(lambda: origin.count("/first") == 1)
    count, before = 2000, proxy.call(requests_alive)
    sender = sent(client, count * TINY.replace(b"/x", target.encode()))
    proxy.await_that(lambda: any(c.is_held_back for c in proxy.server.connections))
    waiting = proxy.call(requests_alive) - before
    assert waiting < QUEUED_MAX // REQUEST_BYTES + 200
    gate.open()
    assert client.answer().body == b"first"
    if half_closed:
        sender.join()
        client.end_sending()
    for _ in range(count):
        assert client.answer().body == b"x"
    sender.join()
    assert not half_closed or client.is_ended()


def test_content_in_tiny_chunks_takes_no_more_than_its_bytes(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("/first", gated(gate, answer(b"first", cache_control="no-store")))
    origin.on("/echo", echo)
    client = proxy.connect()
    client.send(request("GET", "/first") + request("POST", "/echo", b"", transfer_encoding="chunked"))
    sender = sent(client, 150_000 * b"2\r\nab\r\n" + b"0\r\n\r\n")
    proxy.await_that(lambda: any(c.is_held_back for c in proxy.server.connections))
    (connection,) = proxy.server.connections
    assert connection._content is not None
    held = connection._content.held
    assert isinstance(held, bytearray)
    assert 64 * 1024 < len(held) < 512 * 1024
    gate.open()
    assert client.answer().body == b"first"
    assert client.answer().body == 150_000 * b"ab"
    sender.join()


def test_trailers_without_end_are_refused(origin: Origin, proxy: Proxy) -> None:
    """A parser gathers a trailer field until it is whole."""
    origin.on("/echo", echo)
    client = proxy.connect()
    client.send(request("POST", "/echo", b"", transfer_encoding="chunked") + b"5\r\nhello\r\n0\r\nX: ")
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 200:
            client.send(64 * 1024 * b"x")
            sent += 1
    assert sent < 200, "12 MiB of one trailer field"
    origin.on("/x", answer(b"x"))
    assert proxy.get("/x").status == 200


def test_a_few_trailers_are_dropped(origin: Origin, proxy: Proxy) -> None:
    origin.on("/echo", echo)
    client = proxy.connect()
    for _ in range(3):
        body = b"5\r\nhello\r\n0\r\nX: " + 20_000 * b"x" + b"\r\nY: 1\r\n\r\n"
        client.send(request("POST", "/echo", b"", transfer_encoding="chunked"))
        for at in range(0, len(body), 5000):
            client.send(body[at : at + 5000])
        assert client.answer().body == b"hello"


def test_an_origin_s_trailers_without_end_break_its_answer_off(origin: Origin, proxy: Proxy) -> None:
    sizes: list[int] = []

    async def endless(exchange: Exchange) -> None:
        await exchange.send(head(transfer_encoding="chunked", cache_control="no-store") + b"5\r\nhello\r\n0\r\nX: ")
        try:
            for _ in range(400):
                await exchange.send(64 * 1024 * b"x")
        finally:
            sizes.append(exchange.sent)

    origin.on("/", endless)
    client = proxy.connect()
    client.send(request("GET", "/"))
    client.head()
    client.rest()
    origin.await_that(lambda: bool(sizes) or origin.open_connections == 0)
    assert not sizes or sizes[0] < 24 * 1024 * 1024


@pytest.mark.parametrize("count", [2000, 20_000])
def test_an_origin_s_answer_may_have_a_thousand_fields(origin: Origin, proxy: Proxy, count: int) -> None:
    async def many(exchange: Exchange) -> None:
        await exchange.send(head()[:-2] + count * b"a:\r\n" + b"Content-Length: 0\r\n\r\n")

    async def some(exchange: Exchange) -> None:
        await exchange.send(head()[:-2] + 1000 * b"a: b\r\n" + b"Content-Length: 0\r\n\r\n")

    origin.on("/many", many)
    origin.on("/some", some)
    assert proxy.get("/many").status == 502
    assert len(proxy.get("/some").all("a")) == 1000


def test_an_idle_connection_holds_nothing_of_its_last_request(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control="no-store", x="y" * 50_000))
    client = proxy.connect()
    assert client.get("/a").body == b"x"
    (connection,) = proxy.server.connections
    for _ in range(2):
        assert client.get("/a", x="z" * 30_000).body == b"x"
        proxy.await_that(lambda: not connection.fields and connection.writer.reply is None)
