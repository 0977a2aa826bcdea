"""Changing protocols: tunnelled after the origin's 101, and not a byte before it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, echo, gated, head, raw
from tests.support.client import KERNEL, Client, quietly
from tests.support.messages import chunked, request
from tests.support.proxy import BRISK, Pace

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.origin import Exchange, Gate, Origin
    from tests.support.proxy import Proxy

SWITCH = head(101, "Switching Protocols", upgrade="websocket", connection="Upgrade", sec_websocket_accept="yes")
ASK = {"upgrade": "websocket", "connection": "keep-alive, Upgrade", "sec_websocket_key": "key"}
SMUGGLED = request("GET", "/evil")


async def echoing(exchange: Exchange) -> None:
    """Switch, and send everything back."""
    await exchange.send(SWITCH)
    while data := await exchange.read(1 << 16):
        await exchange.send(data)
    exchange.close()


def test_bytes_go_both_ways(origin: Origin, proxy: Proxy) -> None:
    origin.on("/ws", echoing)
    with proxy.connect() as client:
        switched = client.get("/ws", **ASK)
        assert (switched.status, switched["Upgrade"], switched["Connection"]) == (101, "websocket", "Upgrade")
        assert switched["Sec-WebSocket-Accept"] == "yes"
        assert "Content-Length" not in switched
        assert "Transfer-Encoding" not in switched
        for data in (b"\x81\x05hello", b"\r\n\r\n", SMUGGLED, bytes(range(256))):
            client.send(data)
            assert client.read(len(data)) == data
    seen = origin.last
    assert (seen["Upgrade"], seen["Connection"], seen["Sec-WebSocket-Key"]) == ("websocket", "Upgrade", "key")
    assert len(origin.requests) == 1


def test_megabytes_go_both_ways(origin: Origin, proxy: Proxy) -> None:
    origin.on("/ws", echoing)
    data = bytes(range(256)) * 1000
    with proxy.connect() as client:
        client.get("/ws", **ASK)
        for _ in range(20):
            client.send(data)
            assert client.read(len(data)) == data


def test_the_origin_may_speak_first(origin: Origin, proxy: Proxy) -> None:
    origin.on("/ws", raw(SWITCH + b"welcome"))
    with proxy.connect() as client:
        assert client.get("/ws", **ASK).status == 101
        assert client.read(7) == b"welcome"
        assert client.is_ended()


def test_when_the_origin_closes_the_client_is_closed(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()

    async def closing(exchange: Exchange) -> None:
        await exchange.send(SWITCH + b"bye")
        await gate.passed()
        exchange.close()

    origin.on("/ws", closing)
    with proxy.connect() as client:
        client.get("/ws", **ASK)
        gate.open()
        assert client.rest() == b"bye"


@pytest.mark.parametrize("how", ["close", "reset", "end_sending"])
def test_when_the_client_closes_the_origin_is_closed(origin: Origin, proxy: Proxy, how: str) -> None:
    received = []

    async def listening(exchange: Exchange) -> None:
        await exchange.send(SWITCH)
        try:
            received.append(await exchange.read_until_end())
        except ConnectionError:
            received.append(b"reset")
        origin.noted()

    origin.on("/ws", listening)
    with proxy.connect() as client:
        client.get("/ws", **ASK)
        client.send(b"last words")
        getattr(client, how)()
        origin.await_that(lambda: bool(received))
    assert received == [b"last words"] or how == "reset"


def holding(gate: Gate, seen: list[bytes]):
    """Note what comes before the gate opens, then switch and note what comes after it."""

    async def handler(exchange: Exchange) -> None:
        early = asyncio.ensure_future(exchange.read(1 << 16))
        await gate.passed()
        seen.append(b"" if not early.done() else early.result())
        await exchange.send(SWITCH)
        seen.append(await early)
        exchange.close()

    return handler


def test_bytes_behind_the_request_wait_for_the_101(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    seen: list[bytes] = []
    origin.on("/ws", holding(gate, seen))
    with proxy.connect() as client:
        client.send(request("GET", "/ws", **ASK) + SMUGGLED)
        client.send(b" and more")
        origin.await_requests(1)
        assert client.is_silent()
        gate.open()
        assert client.answer().status == 101
        assert client.is_ended()
    assert seen == [b"", SMUGGLED + b" and more"]


def test_bytes_behind_a_pipelined_request_wait_for_the_101(origin: Origin, proxy: Proxy) -> None:
    slow, gate = origin.gate(), origin.gate()
    seen: list[bytes] = []
    origin.on("/slow", gated(slow, answer(b"slow")))
    origin.on("/ws", holding(gate, seen))
    with proxy.connect() as client:
        client.send(request("GET", "/slow") + request("GET", "/ws", **ASK) + SMUGGLED)
        origin.await_requests(1)
        slow.open()
        assert client.answer().body == b"slow"
        origin.await_requests(2)
        assert client.is_silent()
        gate.open()
        assert client.answer().status == 101
        assert client.is_ended()
    assert seen == [b"", SMUGGLED]
    assert [one.target for one in origin.requests] == ["/slow", "/ws"]


@pytest.mark.parametrize("status", [200, 400, 426])
def test_a_refused_upgrade_leaves_the_connection_usable(origin: Origin, proxy: Proxy, status: int) -> None:
    origin.on("/ws", answer(b"no", status, cache_control="max-age=60"))
    origin.on("/a", answer(b"x"))
    with proxy.connect() as client:
        client.send(request("GET", "/ws", **ASK) + request("GET", "/a"))
        refused = client.answer()
        assert (refused.status, refused.body, refused.x_cache) == (status, b"no", "BYPASS")
        assert client.answer().body == b"x"
        assert client.get("/ws", **ASK).status == status
        assert client.get("/a").body == b"x"


def test_an_upgrade_never_comes_from_the_cache(origin: Origin, proxy: Proxy) -> None:
    origin.on("/ws", answer(b"page", cache_control="max-age=60"), echoing)
    proxy.get("/ws")
    with proxy.connect() as client:
        assert client.get("/ws", **ASK).status == 101
    assert proxy.get("/ws").x_cache == "HIT"


@pytest.mark.parametrize("protocols", ["h2c", "websocket, h2c", "h2c, websocket"])
def test_http_2_is_not_tunnelled_since_it_would_hide_requests(origin: Origin, proxy: Proxy, protocols: str) -> None:
    origin.on("/a", answer(b"x"))
    with proxy.connect() as client:
        fields = {"upgrade": protocols, "connection": "Upgrade, HTTP2-Settings", "http2_settings": "AAMAAABkAAQ"}
        assert client.get("/a", **fields).body == b"x"
        assert client.get("/a").body == b"x"
    assert "Upgrade" not in origin.requests[0]
    assert "HTTP2-Settings" not in origin.requests[0]


@pytest.mark.parametrize("target", ["/a", "/.springhouse/"])
@pytest.mark.parametrize("fields", [{"upgrade": "h2c"}, {"upgrade": "websocket"}], ids=str)
def test_thousands_of_pipelined_wishes(origin: Origin, proxy: Proxy, target: str, fields: dict[str, str]) -> None:
    origin.on("/a", answer(b"x", cache_control="max-age=60"))
    count = 300 if fields["upgrade"] == "websocket" and target == "/a" else 3000
    message = request("GET", target, connection="Upgrade", host="localhost", **fields)
    with proxy.connect() as client:
        sender = threading.Thread(target=quietly, args=(client, message * count))
        sender.start()
        for _ in range(count):
            assert client.answer().status == (200 if target == "/a" else 403)
        sender.join()


def test_upgrade_without_connection_is_no_wish(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x"))
    with proxy.connect() as client:
        assert client.get("/a", upgrade="websocket").body == b"x"
        assert client.get("/a").body == b"x"
    assert "Upgrade" not in origin.requests[0]


def test_a_switch_that_nobody_asked_for_is_a_502(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", raw(SWITCH + b"\x00\x01"))
    for method in ("GET", "POST"):
        assert proxy.ask(method, "/a").status == 502


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("by_byte", [False, True])
def test_with_content_the_wish_is_ignored_and_the_content_is_content(
    origin: Origin, proxy: Proxy, protocol: str, is_chunked: bool, by_byte: bool
) -> None:
    origin.on("/a", echo)
    fields = {"upgrade": protocol, "connection": "Upgrade"}
    if is_chunked:
        message = request("POST", "/a", chunked(SMUGGLED), transfer_encoding="chunked", **fields)
    else:
        message = request("POST", "/a", SMUGGLED, **fields)
    message += request("PUT", "/a", b"next", **fields)
    with proxy.connect() as client:
        for at in range(0, len(message), 1 if by_byte else len(message)):
            client.send(message[at : at + 1] if by_byte else message)
        assert [client.answer(method).body for method in ("POST", "PUT")] == [SMUGGLED, b"next"]
        assert client.ask("POST", "/a", b"last").body == b"last"
    assert [seen.target for seen in origin.requests] == ["/a"] * 3
    assert "Upgrade" not in origin.requests[0]


def test_content_that_is_refused_is_refused_with_an_upgrade_too(origin: Origin, serve: Serve) -> None:
    proxy = serve(max_body=10)
    for fields in ({"content_length": 11}, {"transfer_encoding": "gzip, chunked"}):
        with proxy.connect() as client:
            client.send(request("POST", "/a", **ASK, **fields) + SMUGGLED)
            assert client.answer("POST").status in (413, 501)
            assert client.is_ended()
    with proxy.connect() as client:
        client.send(request("POST", "/a", chunked(bytes(11)), transfer_encoding="chunked", **ASK) + SMUGGLED)
        assert client.answer("POST").status == 413
        assert client.is_ended()
    assert not origin.requests


def test_a_tunnel_is_not_idle(origin: Origin, serve: Serve) -> None:
    deadlines = {"idle_timeout": 0.1, "body_timeout": 0.1, "between_bytes_timeout": 0.1}
    proxy = serve(**deadlines, first_byte_timeout=0.3, total_timeout=0.3, pace=BRISK)
    origin.on("/ws", echoing)
    with proxy.connect() as client:
        assert client.get("/ws", **ASK).status == 101
        assert client.is_silent(0.6)
        client.send(b"still here")
        assert client.read(10) == b"still here"


async def flooding(exchange: Exchange) -> None:
    """Switch, and send until nothing more is taken; read nothing."""
    await exchange.send(SWITCH)
    while exchange.sent < 2 * KERNEL:
        try:
            await asyncio.wait_for(exchange.send(bytes(1 << 16)), 0.3)
        except TimeoutError:
            await asyncio.Event().wait()


def stuck(proxy: Proxy) -> tuple[Client, int]:
    """Return a client that has a tunnel through which nothing goes any more, and how much it has sent."""
    client = proxy.connect(receive_buffer=32 * 1024)
    assert client.get("/ws", **ASK).status == 101
    client.socket.settimeout(0.3)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 2 * KERNEL:
            sent += client.socket.send(bytes(1 << 16))
    return client, sent


def test_a_tunnel_holds_back_whoever_sends_too_fast(origin: Origin, proxy: Proxy) -> None:
    origin.on("/ws", flooding)
    _, sent = stuck(proxy)
    assert sent < KERNEL
    assert sum(proxy.held_back().values()) < 1 << 20
    assert proxy.call(lambda: [call.connection.is_paused for call in proxy.engine.upstream.calls]) == [True]


def test_a_tunnel_that_is_stuck_goes_with_its_client(origin: Origin, serve: Serve) -> None:
    proxy = serve(pace=Pace(origin_linger=0.2))
    origin.on("/ws", flooding)
    client, _ = stuck(proxy)
    client.reset()
    proxy.await_that(lambda: proxy.engine.upstream.open == 0)
