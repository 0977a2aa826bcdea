"""Streams without an end: every subscriber has one of its own, from where it is now, for as long as it stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.answers import head
from tests.support.messages import chunked, request
from tests.support.proxy import BRISK

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

EVENTS = "text/event-stream"
PARTS = "multipart/x-mixed-replace; boundary=x"
FRESH = {"cache_control": "max-age=60"}


class Events:
    """A handler that sends an event now, and then nothing until the connection is closed."""

    def __init__(self, content_type: str = EVENTS, *, is_chunked: bool = True, **fields: object) -> None:
        self.count = 0
        self._is_chunked = is_chunked
        if is_chunked:
            fields["transfer_encoding"] = "chunked"
        self._head = head(content_type=content_type, **fields)

    async def __call__(self, exchange: Exchange) -> None:
        self.count += 1
        event = b"data: %d\n\n" % self.count
        await exchange.send(self._head + (chunked(event, end=b"") if self._is_chunked else event))
        await exchange.read_until_end()
        exchange.close()


def subscribe(proxy: Proxy, event: bytes, *, is_chunked: bool = True):
    """Return a client that has been sent this event first of all."""
    client = proxy.connect()
    client.send(request("GET", "/events"))
    got = client.head()
    assert (got.status, got.x_cache) == (200, "MISS")
    expected = chunked(event, end=b"") if is_chunked or got.get("Transfer-Encoding") else event
    assert client.read(len(expected)) == expected
    return client


@pytest.mark.parametrize("is_chunked", [True, False])
@pytest.mark.parametrize("fields", [{}, FRESH], ids=["no word on caching", "said to be fresh"])
@pytest.mark.parametrize("content_type", [EVENTS, "Text/Event-Stream;charset=utf-8", PARTS])
def test_each_subscriber_has_a_stream_of_its_own(
    origin: Origin, serve: Serve, content_type: str, fields: dict[str, object], is_chunked: bool
) -> None:
    proxy = serve(ttl=60)
    origin.on("/events", Events(content_type, is_chunked=is_chunked, **fields))
    clients = [subscribe(proxy, b"data: %d\n\n" % number, is_chunked=is_chunked) for number in (1, 2, 3)]
    assert origin.open_connections == 3
    clients[1].reset()
    origin.await_that(lambda: origin.open_connections == 2)
    clients.append(subscribe(proxy, b"data: 4\n\n", is_chunked=is_chunked))
    for client in (clients[0], clients[2], clients[3]):
        client.reset()
    origin.await_that(lambda: origin.open_connections == 0)
    assert proxy.engine.store.lookup(proxy.engine.origin.key_prefix(b"") + b"/events") == ()


def test_who_comes_back_waits_for_nobody(origin: Origin, serve: Serve) -> None:
    """One answer tells that the key is a stream's; from then on requests go without waiting for each other's head."""
    proxy = serve(ttl=60)
    held = origin.gate()

    async def late(exchange: Exchange) -> None:
        await held.passed()
        exchange.close()

    origin.on("/events", Events(), late, Events())
    subscribe(proxy, b"data: 1\n\n").reset()
    waiting = proxy.connect()
    waiting.send(request("GET", "/events"))
    origin.await_requests(2)
    subscribe(proxy, b"data: 1\n\n")
    held.open()


def test_head_says_what_a_stream_is(origin: Origin, serve: Serve) -> None:
    proxy = serve(ttl=60)

    async def bare(exchange: Exchange) -> None:
        await exchange.send(head(content_type=EVENTS))

    origin.on("/events", bare)
    for _ in range(2):
        got = proxy.ask("HEAD", "/events")
        assert (got.status, got.x_cache, got["Content-Type"]) == (200, "MISS", EVENTS)
    assert origin.count("/events") == 2


@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_subscriber_that_closes_is_gone_although_nothing_is_sent(
    origin: Origin, serve: Serve, is_chunked: bool
) -> None:
    """There is no whole answer that one who only sends no more could wait for."""
    proxy = serve(ttl=60, half_close_timeout=0.1, pace=BRISK)
    origin.on("/events", Events(is_chunked=is_chunked))
    for number in range(1, 7):
        subscribe(proxy, b"data: %d\n\n" % number, is_chunked=is_chunked).close()
    origin.await_that(lambda: origin.open_connections == 0)
    proxy.await_connections(0)
