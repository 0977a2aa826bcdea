"""What clients get of content that is still arriving for another: parts, heads, conditions, and stale entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, gated, head, in_parts
from tests.support.client import Broken
from tests.support.messages import chunked, request

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.client import Client
    from tests.support.clock import Clock
    from tests.support.origin import Exchange, Gate, Origin
    from tests.support.proxy import Proxy

FRESH = "max-age=60"


def asked(proxy: Proxy, target: str = "/a", **fields: object) -> Client:
    """Return a client that has asked for something, once the proxy has heard it."""
    client = proxy.connect()
    client.send(request("GET", target, **fields))
    proxy.await_heard_from(client)
    return client


@pytest.fixture
def arriving(origin: Origin, proxy: Proxy) -> Gate:
    """Let /a, of twelve bytes, arrive as far as its first six; the gate lets the rest through."""
    gate = origin.gate()
    origin.on("/a", in_parts(b"first ", gate, b"second", cache_control=FRESH, etag='"v1"'))
    asked(proxy).head()
    return gate


def test_a_part_that_has_arrived_is_served_at_once(origin: Origin, proxy: Proxy, arriving: Gate) -> None:
    part = proxy.get("/a", range="bytes=1-3")
    assert (part.status, part.body, part["Content-Range"]) == (206, b"irs", "bytes 1-3/12")
    assert origin.count("/a") == 1
    arriving.open()


def test_a_part_that_has_not_arrived_is_waited_for(origin: Origin, proxy: Proxy, arriving: Gate) -> None:
    clients = [asked(proxy, range=part) for part in ("bytes=4-8", "bytes=8-", "bytes=-2")]
    for client in clients:
        assert client.head().status == 206
    assert clients[0].read(2) == b"t "
    arriving.open()
    assert [clients[0].read(3), clients[1].read(4), clients[2].read(2)] == [b"sec", b"cond", b"nd"]
    assert origin.count("/a") == 1


def test_a_part_beyond_the_end_is_refused_at_once(proxy: Proxy, arriving: Gate) -> None:
    assert proxy.get("/a", range="bytes=12-").status == 416
    arriving.open()


def test_whoever_has_it_is_told_at_once(origin: Origin, proxy: Proxy, arriving: Gate) -> None:
    assert proxy.get("/a", if_none_match='"v1"').status == 304
    head = proxy.ask("HEAD", "/a")
    assert (head.status, head["Content-Length"]) == (200, "12")
    assert origin.count("/a") == 1
    arriving.open()


def test_http_1_0_may_follow(origin: Origin, proxy: Proxy, arriving: Gate) -> None:
    client = asked(proxy, version="1.0")
    arriving.open()
    assert client.answer().body == b"first second"
    assert origin.count("/a") == 1


def test_who_insists_on_a_fresh_answer_does_not_follow(origin: Origin, proxy: Proxy, arriving: Gate) -> None:
    origin.on("/a", answer(b"own", cache_control=FRESH, etag='"v2"'))
    assert proxy.get("/a", cache_control="no-cache").body == b"own"
    arriving.open()
    assert origin.count("/a") == 2


def test_what_becomes_too_large_while_it_arrives_reaches_all_who_follow(origin: Origin, serve: Serve) -> None:
    proxy = serve(max_object=100_000)
    gate, piece = origin.gate(), bytes(range(250)) * 200

    async def growing(exchange: Exchange) -> None:
        await exchange.send(head(transfer_encoding="chunked", cache_control=FRESH) + chunked(piece, end=b""))
        await gate.passed()
        await exchange.send(chunked(*[piece] * 9))

    origin.on("/a", growing)
    clients = [asked(proxy) for _ in range(5)]
    gate.open()
    assert [client.answer().body == piece * 10 for client in clients] == [True] * 5
    assert origin.count("/a") == 1
    assert proxy.get("/a").x_cache == "MISS"


def test_who_comes_after_it_became_too_large_fetches_it_alone(origin: Origin, serve: Serve) -> None:
    proxy = serve(max_object=1000)
    gate = origin.gate()

    async def growing(exchange: Exchange) -> None:
        await exchange.send(head(transfer_encoding="chunked", cache_control=FRESH) + chunked(bytes(2000), end=b""))
        await gate.passed()
        await exchange.send(chunked(b"end"))

    origin.on("/a", growing, answer(b"alone", cache_control=FRESH))
    first = asked(proxy)
    first.head()
    origin.await_requests(1)
    assert proxy.get("/a").body == b"alone"
    gate.open()
    first.read(100)


def test_a_stale_entry_is_refreshed_once_while_many_are_served(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    gate = origin.gate()
    fields = {"cache_control": "max-age=10, stale-while-revalidate=60"}
    origin.on("/a", answer(b"old", **fields), gated(gate, answer(b"new", **fields)))
    proxy.get("/a")
    clock.advance(20)
    assert {(one.body, one.x_cache) for one in (proxy.get("/a") for _ in range(20))} == {(b"old", "STALE")}
    origin.await_requests(2)
    gate.open()
    while (fresh := proxy.get("/a")).x_cache == "STALE":
        pass
    assert (fresh.body, fresh.x_cache) == (b"new", "HIT")
    assert origin.count("/a") == 2


def test_a_refresh_that_fails_is_nobodys_trouble(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    async def broken(exchange: Exchange) -> None:
        exchange.reset()

    origin.on("/a", answer(b"old", cache_control="max-age=10, stale-while-revalidate=60"), broken)
    proxy.get("/a")
    clock.advance(20)
    for _ in range(3):
        assert proxy.get("/a").body == b"old"
    origin.await_requests(2)
    proxy.await_that(lambda: not proxy.engine.flights.by_key)
    assert proxy.get("/a").body == b"old"


def test_a_refresh_whose_content_breaks_off_leaves_the_old_entry(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.send(head(content_length=100, cache_control="max-age=10, stale-while-revalidate=60") + b"new")
        exchange.close()

    origin.on("/a", answer(b"old", cache_control="max-age=10, stale-while-revalidate=60"), half)
    proxy.get("/a")
    clock.advance(20)
    proxy.get("/a")
    origin.await_requests(2)
    proxy.await_that(lambda: not proxy.engine.flights.by_key)
    assert proxy.get("/a").body == b"old"


def test_a_replacement_that_breaks_off_leaves_the_old_entry(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.send(head(content_length=100, cache_control=FRESH) + b"new")
        exchange.close()

    origin.on("/a", answer(b"old", cache_control="max-age=10, stale-if-error=600", etag='"1"'), half)
    proxy.get("/a")
    clock.advance(20)
    with proxy.connect() as client, pytest.raises(Broken):
        client.get("/a")
    origin.stop_listening()
    origin.drop_connections()
    stale = proxy.get("/a")
    assert (stale.body, stale.x_cache) == (b"old", "STALE")
