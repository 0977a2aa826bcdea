"""Whatever is thrown at it, the server goes on serving."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer
from tests.support.client import Client, quietly
from tests.support.messages import chunked, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

SEEDS = range(8)
ROUNDS = 200
FRAGMENTS = [
    b"GET /stored HTTP/1.1\r\n",
    b"POST /passed HTTP/1.1\r\n",
    b"PUT * HTTP/1.0\r\n",
    *(b"%b /stored HTTP/1.1\r\nHost: a\r\n\r\n" % method for method in (b"GET", b"HEAD", b"OPTIONS", b"PURGE")),
    b"POST /passed HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    *(
        line + b"\r\n"
        for line in (
            b"", b"\r\n", b"Host: a", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Connection: close",
            b"Connection: Upgrade", b"Upgrade: websocket", b"Upgrade: h2c", b"Expect: 100-continue", b"Cookie: a=b",
            b"Range: bytes=0-1", b"5\r\nhello", b"0\r\n", b"Cache-Control: no-cache", b"If-None-Match: *",
        )
    ),
    *(b"hello", b"\x00", b":", b" ", b"\n", b"X" * 5000),
]  # fmt: skip


def bytes_at_random(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(1, 2000))


def fragments_at_random(chance: random.Random) -> bytes:
    return b"".join(chance.choices(FRAGMENTS, k=chance.randrange(1, 25)))


def mutated(chance: random.Random) -> bytes:
    """Return good requests with a few bytes changed, left out or doubled."""
    good = bytearray(
        request("GET", "/stored", accept="*/*")
        + request("POST", "/passed", chunked(b"hello", b"world"), transfer_encoding="chunked")
        + request("GET", "/stored", range="bytes=0-3", if_none_match='"x"')
        + request("PUT", "/passed", b"content", expect="100-continue")
    )
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(good))
        change = chance.randrange(3)
        if change == 0:
            good[at] = chance.randrange(256)
        elif change == 1:
            del good[at : at + chance.randrange(1, 9)]
        else:
            good[at:at] = good[at : at + chance.randrange(1, 9)]
    return bytes(good)


@pytest.mark.parametrize("made", [bytes_at_random, fragments_at_random, mutated])
@pytest.mark.parametrize("seed", SEEDS)
def test_requests_at_random(origin: Origin, proxy: Proxy, seed: int, made: Callable[[random.Random], bytes]) -> None:
    async def lenient(exchange: Exchange) -> None:
        if not exchange.body_is_read:
            await exchange.body()
        caching = "max-age=60" if exchange.request.target == "/stored" else "no-store"
        await answer(b"fine", cache_control=caching, etag='"v"')(exchange)

    origin.otherwise = lenient
    chance = random.Random(seed)
    for number in range(ROUNDS):
        data = made(chance)
        with Client(proxy.address, timeout=5) as client:
            cut = chance.randrange(len(data)) if chance.random() < 0.5 else len(data)
            quietly(client, data[:cut])
            if cut < len(data):
                quietly(client, data[cut:])
            how = chance.randrange(4)
            if how == 0:
                client.reset()
            elif how == 1:
                with contextlib.suppress(OSError):
                    client.end_sending()
                with contextlib.suppress(ConnectionError):
                    client.rest()  # which comes to an end
        if number % 50 == 0:
            assert proxy.get("/stored", host="b").body == b"fine"
    assert proxy.get("/stored", host="b").body == b"fine"
    assert proxy.ask("POST", "/passed", b"content").status == 200
    proxy.await_connections(0)


ANSWERS = [
    *(
        line + b"\r\n"
        for line in (
            b"", b"\r\n", b"HTTP/1.1 200 OK", b"HTTP/1.0 404 No", b"HTTP/1.1 103 Early", b"HTTP/1.1 304 Same",
            b"HTTP/1.1 101 Switching\r\nUpgrade: x", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Age: x",
            b"Cache-Control: max-age=60", b'Cache-Control: private="x', b'CDN-Cache-Control: max-age=1, "', b"Vary: *",
            b'ETag: W/"x"', b"Vary: a", b"Set-Cookie: a", b"Date: yesterday", b"Expires: 0", b"Connection: close",
            b"Surrogate-Control: a;b", b"Last-Modified: Mon", b"Content-Range: x", b"5\r\nhello", b"0\r\n",
        )
    ),
    *(b"hello", b"\x00", b"X" * 3000),
]  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_at_random(origin: Origin, proxy: Proxy, seed: int) -> None:
    chance = random.Random(seed)

    async def nonsense(exchange: Exchange) -> None:
        data = b"HTTP/1.1 200 OK\r\n" if chance.random() < 0.8 else b""
        await exchange.send(data + b"".join(chance.choices(ANSWERS, k=chance.randrange(1, 15))))
        exchange.close()

    origin.otherwise = nonsense
    origin.on("/good", answer(b"good", cache_control="max-age=60"))
    for number in range(ROUNDS):
        with Client(proxy.address, timeout=5) as client:
            method = chance.choice(["GET", "HEAD", "POST", "OPTIONS"])
            client.send(request(method, f"/{number % 7}", connection="close"))
            with contextlib.suppress(ConnectionError):
                client.rest()
    assert proxy.get("/good").body == b"good"
    assert proxy.get("/good").x_cache == "HIT"


def test_a_thousand_connections_opened_and_closed(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control="max-age=60"))
    for number in range(1000):
        client = Client(proxy.address)
        if number % 3 == 0:
            assert client.get("/a").body == b"x"
        elif number % 3 == 1:
            client.send(b"GET /a HT")
        client.close()
    proxy.await_connections(0)
    assert proxy.get("/a").x_cache == "HIT"


def test_a_thousand_connections_at_once(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control="max-age=60"))
    clients = [proxy.connect() for _ in range(1000)]
    proxy.await_connections(1000)
    for client in clients:
        client.send(request("GET", "/a"))
    assert {client.answer().body for client in clients} == {b"x"}
    assert origin.count("/a") == 1
    for client in clients:
        client.close()
    proxy.await_connections(0)


def test_clients_that_leave_in_the_middle_of_everything(origin: Origin, proxy: Proxy) -> None:
    body = bytes(2_000_000)
    for caching in ("max-age=60", "no-store"):
        origin.on(f"/{caching}", answer(body, framing="chunked", cache_control=caching))
    for number in range(60):
        client = proxy.connect(receive_buffer=32 * 1024)
        client.send(request("GET", f"/{('max-age=60', 'no-store')[number % 2]}"))
        if number % 3:
            client.head()
            client.read(number * 1000)
        client.reset()
    proxy.await_connections(0)
    assert len(proxy.get("/max-age=60").body) == len(body)
