"""Content that clients send: streamed, held back when the origin is slow, and never half of it taken for whole."""

from __future__ import annotations

import asyncio
import hashlib
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, echo, head, whole
from tests.support.client import KERNEL, quietly
from tests.support.loops import uvloop_or_asyncio
from tests.support.messages import chunked, request

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.loops import LoopFactory
    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

MIB = 1 << 20


def noise(size: int) -> bytes:
    """Return bytes that are the same every time."""
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", [1, 1000, 65_536, 65_537, 3_000_000])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_the_origin_gets_the_same_bytes(origin: Origin, proxy: Proxy, size: int, is_chunked: bool) -> None:
    body = noise(size)
    origin.on("/a", echo)
    with proxy.connect() as client:
        for _ in range(2):  # and the connection stays usable
            if is_chunked:
                got = client.ask("POST", "/a", chunked(body), transfer_encoding="chunked")
                assert (origin.last.get("Content-Length"), origin.last["Transfer-Encoding"]) == (None, "chunked")
            else:
                got = client.ask("POST", "/a", body)
                assert origin.last["Content-Length"] == str(size)
            assert got.body == body
    assert origin.connections == 1


def test_content_cut_into_single_bytes(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", echo)
    with proxy.connect() as client:
        message = request("POST", "/a", chunked(b"spring", b"water", b"!"), transfer_encoding="chunked")
        for at in range(len(message)):
            client.send(message[at : at + 1])
        assert client.answer("POST").body == b"springwater!"


def test_an_upload_streams_before_it_is_complete(origin: Origin, proxy: Proxy) -> None:
    read = []

    async def reading(exchange: Exchange) -> None:
        read.append(await exchange.read(6))
        origin.noted()
        rest = await exchange.read(6)
        await exchange.send(head(content_length=6) + rest)

    origin.on("/a", reading)
    with proxy.connect() as client:
        client.send(request("POST", "/a", content_length=12) + b"first ")
        origin.await_that(lambda: read == [b"first "])
        client.send(b"second")
        assert client.answer("POST").body == b"second"


def test_trailers_and_extensions_of_a_request_are_dropped(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", echo)
    with proxy.connect() as client:
        body = b"5;x=y\r\nhello\r\n0\r\nX-Trailer: 1\r\nHost: evil\r\n\r\n"
        client.send(request("POST", "/a", body, transfer_encoding="chunked", trailer="X-Trailer"))
        assert client.answer("POST").body == b"hello"
    assert "X-Trailer" not in origin.last


def test_a_slow_origin_holds_its_client_back(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    digest = hashlib.sha256()

    async def slow(exchange: Exchange) -> None:
        await gate.passed()
        digest.update(await exchange.body())
        await answer(b"done")(exchange)

    origin.on("/a", slow)
    piece, pieces = noise(MIB), KERNEL * 5 // 4 // MIB
    sent = []
    client = proxy.connect()

    def send() -> None:
        client.send(request("PUT", "/a", content_length=pieces * MIB))
        for _ in range(pieces):
            quietly(client, piece)
            sent.append(MIB)

    sender = threading.Thread(target=send)
    sender.start()
    origin.await_requests(1)
    settled = -1
    while settled != sum(sent):
        settled = sum(sent)
        time.sleep(0.15)
    assert settled < KERNEL
    gate.open()
    sender.join(10)
    assert client.answer("PUT").body == b"done"
    assert digest.digest() == hashlib.sha256(piece * pieces).digest()


# Expect: 100-continue.


def test_the_origin_decides_whether_to_continue(origin: Origin, proxy: Proxy) -> None:
    async def welcoming(exchange: Exchange) -> None:
        assert exchange.request["Expect"] == "100-continue"
        await echo(exchange)

    origin.on("/a", welcoming)
    with proxy.connect() as client:
        client.send(request("POST", "/a", content_length=5, expect="100-continue"))
        assert client.head().status == 100
        client.send(b"hello")
        assert client.answer("POST").body == b"hello"
        assert client.ask("POST", "/a", b"again", expect="100-continue").interims[0].status == 100


def test_the_origin_may_refuse_before_the_content_comes(origin: Origin, proxy: Proxy) -> None:
    async def refusing(exchange: Exchange) -> None:
        await exchange.send(head(413, "Too large", content_length=0))

    origin.on("/a", refusing)
    with proxy.connect() as client:
        client.send(request("POST", "/a", content_length=500_000_000, expect="100-continue"))
        got = client.answer("POST")
        assert (got.status, got.interims) == (413, [])


def test_nobody_asked_to_continue(origin: Origin, proxy: Proxy) -> None:
    async def eager(exchange: Exchange) -> None:
        assert "Expect" not in exchange.request
        await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await echo(exchange)

    origin.on("/a", eager)
    assert proxy.ask("POST", "/a", b"hello").interims == []
    assert proxy.ask("GET", "/a").interims == []


# Early answers, and clients that give up.


@pytest.mark.parametrize("is_chunked", [False, True])
def test_an_early_answer_reaches_a_client_that_is_still_sending(origin: Origin, proxy: Proxy, is_chunked: bool) -> None:
    async def refusing(exchange: Exchange) -> None:
        await exchange.read(1)
        await exchange.send(head(403, "No", content_length=2) + b"no")
        exchange.close()

    origin.on("/a", refusing)
    with proxy.connect() as client:
        framing = {"transfer_encoding": "chunked"} if is_chunked else {"content_length": 100 * MIB}
        client.send(request("POST", "/a", **framing))
        piece = chunked(bytes(1000), end=b"") if is_chunked else bytes(1000)
        client.send(piece)
        got = client.answer("POST")
        assert (got.status, got.body) == (403, b"no")
        for _ in range(2000):
            quietly(client, piece)
    origin.on("/b", answer(b"x"))
    assert proxy.get("/b").status == 200


@pytest.mark.parametrize("loop", [uvloop_or_asyncio, asyncio.new_event_loop])
def test_the_answer_of_an_origin_that_hangs_up_on_an_upload_is_heard(
    origin: Origin, serve: Serve, loop: LoopFactory
) -> None:
    """It closes with unread bytes, as simple servers do: writing fails before its answer was read."""
    proxy = serve(loop=loop)

    async def refusing(exchange: Exchange) -> None:
        await exchange.send(whole(b"no", 403))
        exchange.close()

    origin.on("/a", refusing)
    message = request("POST", "/a", chunked(*[bytes(60_000)] * 300), transfer_encoding="chunked")
    for _ in range(20):
        client = proxy.connect()
        sender = threading.Thread(target=quietly, args=(client, message))
        sender.start()
        assert client.answer("POST").body == b"no"
        client.reset()
        sender.join()


def test_after_an_early_answer_a_small_rest_is_read_and_the_connection_used_again(origin: Origin, proxy: Proxy) -> None:
    async def hasty(exchange: Exchange) -> None:
        await exchange.send(head(403, "No", content_length=0))

    origin.on("/a", hasty)
    origin.on("/b", answer(b"x"))
    with proxy.connect() as client:
        client.send(request("POST", "/a", content_length=1000))
        assert client.answer("POST").status == 403
        client.send(bytes(1000))
        assert client.get("/b").body == b"x"


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("how", ["reset", "close", "end_sending"])
def test_a_client_that_gives_up_never_leaves_a_whole_request(
    origin: Origin, proxy: Proxy, how: str, is_chunked: bool
) -> None:
    outcome = []

    async def reading(exchange: Exchange) -> None:
        try:
            await exchange.body()
            outcome.append("whole")
        except (EOFError, ConnectionError):
            outcome.append("broken")
        origin.noted()

    origin.on("/a", reading)
    framing = {"transfer_encoding": "chunked"} if is_chunked else {"content_length": 1000}
    client = proxy.connect()
    client.send(request("POST", "/a", **framing) + (chunked(b"half", end=b"") if is_chunked else b"half"))
    origin.await_requests(1)
    getattr(client, how)()
    origin.await_that(lambda: outcome == ["broken"], timeout=3)


def test_an_origin_that_closes_on_an_upload_is_a_502(origin: Origin, proxy: Proxy) -> None:
    async def closing(exchange: Exchange) -> None:
        await exchange.read(1)
        exchange.reset()

    origin.on("/a", closing)
    with proxy.connect() as client:
        client.send(request("POST", "/a", content_length=1000) + b"half")
        assert client.answer("POST").status == 502


# Our own limit.


def test_content_that_is_too_large_is_refused_at_once(origin: Origin, serve: Serve) -> None:
    proxy = serve(max_body=1000)
    origin.on("/a", echo)
    assert proxy.ask("POST", "/a", bytes(1000)).status == 200
    with proxy.connect() as client:
        client.send(request("POST", "/a", content_length=1001))
        assert client.answer("POST").status == 413
        assert client.is_ended()
    assert origin.count("/a") == 1


def test_chunked_content_that_grows_too_large_is_broken_off(origin: Origin, serve: Serve) -> None:
    proxy = serve(max_body=1000)
    outcome = []

    async def reading(exchange: Exchange) -> None:
        try:
            await exchange.body()
        except (EOFError, ConnectionError):
            outcome.append("broken")
            origin.noted()

    origin.on("/a", reading)
    with proxy.connect() as client:
        client.send(request("POST", "/a", transfer_encoding="chunked") + chunked(bytes(900), end=b""))
        origin.await_requests(1)
        quietly(client, chunked(bytes(900)))
        assert client.answer("POST").status == 413
        assert client.is_ended()
    origin.await_that(lambda: outcome == ["broken"])
