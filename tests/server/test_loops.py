"""The same on uvloop and on asyncio's own loop, which serves where uvloop does not exist."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, echo, gated, head, in_parts, raw
from tests.support.client import Broken
from tests.support.messages import request

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Serve
    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

    NewLoop = Callable[[], asyncio.AbstractEventLoop]

FRESH = "max-age=60"
uvloop = pytest.importorskip("uvloop")


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    """Return what makes the proxy's loop."""
    return request.param


@pytest.fixture
def proxy(serve: Serve, new_loop: NewLoop) -> Proxy:
    """Start a proxy on that loop."""
    return serve(loop=new_loop, half_close_timeout=0)


def test_miss_hit_and_bypass(origin: Origin, proxy: Proxy) -> None:
    body = bytes(range(256)) * 4000
    origin.on("/a", answer(body, framing="chunked", cache_control=FRESH))
    origin.on("/echo", echo)
    with proxy.connect() as client:
        for x_cache in ("MISS", "HIT", "HIT"):
            got = client.get("/a")
            assert (got.x_cache, got.body) == (x_cache, body)
            assert client.ask("POST", "/echo", body).body == body
    assert origin.connections == 1


def test_a_pipeline(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"a", cache_control=FRESH))
    origin.on("/b", answer(b"b", cache_control="no-store"))
    with proxy.connect() as client:
        client.send(b"".join(request("GET", target) for target in ("/a", "/b", "/a", "/a", "/b")))
        client.end_sending()
        assert [client.answer().body for _ in range(5)] == [b"a", b"b", b"a", b"a", b"b"]
        assert client.is_ended()


def test_coalescing_and_streaming(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("/a", in_parts(b"first ", gate, b"rest", cache_control=FRESH))
    clients = [proxy.connect() for _ in range(20)]
    for client in clients:
        client.send(request("GET", "/a"))
    for client in clients:
        client.head()
        assert client.read(6) == b"first "
    gate.open()
    assert {client.read(4) for client in clients} == {b"rest"}
    assert origin.count("/a") == 1


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_what_broke_off_can_be_told(origin: Origin, proxy: Proxy, version: str) -> None:
    async def broken(exchange: Exchange) -> None:
        await exchange.send(head(transfer_encoding="chunked", cache_control=FRESH) + b"5\r\nhello\r\n")
        exchange.close()

    origin.on("/a", broken)
    with proxy.connect() as client:
        client.send(request("GET", "/a", version=version))
        with pytest.raises(Broken):
            client.answer()


def test_a_tunnel(origin: Origin, proxy: Proxy) -> None:
    origin.on("/ws", raw(head(101, upgrade="x", connection="Upgrade") + b"hello"))
    with proxy.connect() as client:
        assert client.get("/ws", upgrade="x", connection="Upgrade").status == 101
        assert client.rest() == b"hello"


def test_a_refusal_and_the_end(proxy: Proxy) -> None:
    with proxy.connect() as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert client.answer().status == 400
        assert client.is_ended()


def test_an_origin_that_closes_idle_connections(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control="no-store"))
    for _ in range(3):
        assert proxy.get("/a").status == 200
        origin.drop_connections()
        proxy.await_that(lambda: not proxy.engine.upstream.idle)


def test_a_slow_client_holds_the_origin_back(origin: Origin, proxy: Proxy) -> None:
    body = bytes(40_000_000)
    origin.on("/a", answer(body, cache_control="no-store"))
    client = proxy.connect(receive_buffer=16 * 1024)
    client.send(request("GET", "/a"))
    client.head()
    proxy.await_that(lambda: any(c.writer.paused for c in proxy.server.connections))
    assert sum(proxy.held_back().values()) < 2_000_000
    assert client.read(len(body)) == body


def test_clients_that_leave(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("/a", gated(gate, answer(b"x" * 100_000, cache_control=FRESH)))
    for _ in range(10):
        client = proxy.connect()
        client.send(request("GET", "/a"))
        proxy.await_heard_from(client)
        client.reset()
    proxy.await_connections(0)
    proxy.await_that(lambda: proxy.engine.upstream.open == 0)
    gate.open()
    assert len(proxy.get("/a").body) == 100_000
