"""A connection that has gone leaves nothing in memory, however it ended: nothing waits for the cyclic collector."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

from tests.support.answers import answer, echo, head, raw
from tests.support.messages import request

from springhouse.engine.driver import Exchange
from springhouse.http.messages import Request
from springhouse.server.connection import ClientConnection
from springhouse.server.writer import ReplyWriter
from springhouse.transport.content import RequestContent
from springhouse.upstream.connection import OriginConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.client import Client
    from tests.support.origin import Origin
    from tests.support.proxy import Proxy

KINDS = (ClientConnection, ReplyWriter, OriginConnection, Exchange, Request, RequestContent)
SWITCH = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello"


def asked(*requests: bytes) -> Callable[[Client, Origin], None]:
    """Return a function that sends requests and takes their answers."""

    def ask(client: Client, _origin: Origin) -> None:
        for each in requests:
            client.send(each)
            client.answer()

    return ask


def left(first: bytes, *, reset: bool = False) -> Callable[[Client, Origin], None]:
    """Return a function that sends bytes and goes once the origin has heard of it."""

    def leave(client: Client, origin: Origin) -> None:
        seen = len(origin.requests)
        client.send(first)
        origin.await_requests(seen + 1)
        if reset:
            client.reset()

    return leave


def tunnelled(client: Client, _origin: Origin) -> None:
    client.send(request("GET", "/switch", connection="upgrade", upgrade="x"))
    assert client.head().status == 101
    assert client.read(5) == b"hello"


def alone(first: bytes) -> Callable[[Client, Origin], None]:
    """Return a function that only sends."""
    return lambda client, _origin: client.send(first)


WAYS: dict[str, Callable[[Client, Origin], None]] = {
    "nothing": lambda _client, _origin: None,
    "a request": asked(request("GET", "/passed")),
    "several": asked(request("GET", "/passed"), request("GET", "/kept"), request("GET", "/kept")),
    "the last one": asked(request("GET", "/kept", connection="close")),
    "HTTP/1.0": asked(request("GET", "/kept", version="1.0")),
    "an origin that closes": asked(request("GET", "/closing")),
    "an origin that breaks off": asked(request("GET", "/broken")),
    "a Host that is none": asked(request("GET", "/", host="a/")),
    "too large a head": asked(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + 50_000 * b"x"),
    "nonsense": asked(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    "an upload": asked(request("POST", "/echo", b"x" * 1000)),
    "half an upload": left(request("POST", "/echo", b"x", content_length=10)),
    "half an upload, reset": left(request("POST", "/echo", b"x", content_length=10), reset=True),
    "half a head": alone(b"GET / HTTP/1.1\r\nHost: a\r\nX: x"),
    "gone while waiting": left(request("GET", "/never")),
    "gone with requests in the queue": left(3 * request("GET", "/never") + request("POST", "/echo", b"xyz")),
    "another protocol": tunnelled,
}
LINGERS = {"another protocol": ["OriginConnection"]}
"""It may still have to send what was written: a timer ends it."""


def left() -> list[str]:
    """Return what there is of connections and exchanges."""
    return [type(each).__name__ for each in gc.get_objects() if type(each) in KINDS]


def test_nothing_is_left_behind(proxy: Proxy, origin: Origin) -> None:
    origin.on("/passed", answer(b"x", cache_control="no-store"))
    origin.on("/kept", answer(b"x", cache_control="max-age=60"))
    origin.on("/closing", answer(b"x", framing="close", cache_control="no-store"))
    origin.on("/broken", raw(head(content_length=5)[:-2]))
    origin.on("/echo", echo)
    origin.on("/never", answer(b"x", cache_control="no-store"))
    origin.on("/switch", raw(SWITCH, end="keep"))
    proxy.await_that(lambda: proxy.server._collected_at > 0)  # the collector comes once, and not again for long
    gc.collect()
    gc.freeze()  # what other tests have left need not be looked through again and again
    gc.disable()
    found = {}
    try:
        for way, go in WAYS.items():
            client = proxy.connect()
            go(client, origin)
            client.close()
            proxy.await_connections(0)
            origin.drop_connections()
            proxy.await_that(lambda: proxy.engine.upstream.open == 0)  # type: ignore[attr-defined]
            end = time.monotonic() + 1.0
            while proxy.call(left) != LINGERS.get(way, []) and time.monotonic() < end:
                time.sleep(0.01)
            if proxy.call(left) != LINGERS.get(way, []):
                found[way] = left()
                gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()
    assert not found
