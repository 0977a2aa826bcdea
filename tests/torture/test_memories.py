"""What clients and origins can make a proxy hold is bounded in bytes (law 11): real processes, and what they take.

Each test says something long, different every time, that is remembered somewhere, and looks at resident memory. Before
memories were bounded in bytes each of these took from forty to some hundred MiB.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from tests.support.memory import resident
from tests.support.messages import request
from tests.support.origin import Origin
from tests.support.processes import Running
from tests.support.redis_server import redis_server, shared_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.origin import Exchange
    from tests.support.redis_server import RedisServer

__all__ = ["redis_server", "shared_redis"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")

MIB = 1 << 20
MARGIN = 24 * MIB
"""What all memories together may take, and the allocator on top."""
LONG = 30_000
NOTHING = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n"


@pytest.fixture
def origin() -> Iterator[Origin]:
    """Return an origin that answers everything, with nothing to be stored."""
    with Origin() as origin:
        answers_with(origin, lambda _: NOTHING)
        yield origin


def answers_with(origin: Origin, answer: Callable[[int], bytes]) -> None:
    """Let an origin answer the nth request with these bytes."""
    number = 0

    async def handler(exchange: Exchange) -> None:
        nonlocal number
        number += 1
        if not exchange.body_is_read:
            await exchange.body()
        origin.requests.clear()
        await exchange.send(answer(number))

    origin.otherwise = handler


class Proxy(Running):
    """A proxy whose memory is watched."""

    def warmed_up(self) -> Proxy:
        """Answer a few requests, and note what that takes."""
        self.started()
        self.client = self.connect()
        for number in range(300):
            self.client.get(f"/warm?{number}", cache_control="no-cache", connection="keep-alive, x")
        self.before = resident(self.process.pid)
        return self

    @property
    def grown(self) -> int:
        """Bytes that it takes more than at the beginning."""
        return resident(self.process.pid) - self.before

    def settle(self) -> None:
        """Wait until it has taken what was sent, or as much of it as it will: until its memory rests."""
        sizes = [0]
        while len(sizes) < 100 and (sizes[-6:].count(sizes[-1]) < 6 or len(sizes) < 10):
            sizes.append(self.grown)
            time.sleep(0.1)


@pytest.fixture
def start(origin: Origin) -> Iterator[Callable[..., Proxy]]:
    """Return a function that starts a proxy before the origin."""
    started: list[Proxy] = []

    def run(**options: object) -> Proxy:
        started.append(Proxy(**{"origin": origin.url, **options}))
        return started[-1].warmed_up()

    yield run
    for proxy in started:
        proxy.close()


def members(number: int, size: int = LONG) -> bytes:
    """Return a long list, different for each number."""
    count = size // 10
    return b",".join([b"%x%x" % (number, 4096 + part) for part in range(count)])[:size]


def text(number: int, size: int = LONG) -> bytes:
    """Return something long without structure, different for each number."""
    return b"%x" % number + b"y" * size


def named(number: int) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\n%b: 1\r\n\r\n" % text(number)


SAID_BY_CLIENTS: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "Cache-Control": (300, lambda n: request("GET", "/", cache_control=members(n))),
    "Pragma": (300, lambda n: request("GET", "/", pragma=members(n))),
    "Connection": (300, lambda n: request("GET", "/", connection=members(n))),
    "If-Modified-Since": (1300, lambda n: request("GET", "/stored", if_modified_since=text(n))),
    "names of fields": (2000, named),
}  # fmt: skip


@pytest.mark.parametrize("what", SAID_BY_CLIENTS)
def test_what_clients_say_of_any_length(what: str, start: Callable[..., Proxy], origin: Origin) -> None:
    count, said = SAID_BY_CLIENTS[what]
    stored = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nCache-Control: max-age=9999\r\n"
    dated = stored + b"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nx"
    answers_with(origin, lambda _: dated if what == "If-Modified-Since" else NOTHING)
    proxy = start()
    for number in range(count):
        proxy.client.send(said(number))
        assert proxy.client.answer().status in (200, 304)
    assert proxy.grown < MARGIN


def test_hosts_that_are_not_valid(start: Callable[..., Proxy]) -> None:
    proxy = start()
    for number in range(1300):
        client = proxy.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: %b/\r\n\r\n" % text(number))
        assert client.answer().status == 400
        client.close()
    assert proxy.grown < MARGIN


def answered(*lines: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: 0", *lines, b"", b""])


SAID_BY_ORIGINS: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "Cache-Control": (300, lambda n: answered(b"Cache-Control: no-store, " + members(n))),
    "Surrogate-Control": (300, lambda n: answered(b"Surrogate-Control: no-store, " + members(n))),
    "Connection": (300, lambda n: answered(b"Connection: " + members(n), b"Cache-Control: no-store")),
    "dates": (
        700,
        lambda n: answered(
            b"Date: " + text(4 * n), b"Expires: " + text(4 * n + 1), b"Last-Modified: " + text(4 * n + 2)
        ),
    ),
    "names of fields": (2000, lambda n: answered(b"Cache-Control: no-store", b"%b: 1" % text(n, 60_000))),
    "layouts": (
        1000,
        lambda n: answered(b"Cache-Control: no-store", b"x%x: 1" % n, *(b"%x: 1" % (16 + i) for i in range(800))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SAID_BY_ORIGINS)
def test_what_origins_say_of_any_length(what: str, start: Callable[..., Proxy], origin: Origin) -> None:
    count, said = SAID_BY_ORIGINS[what]
    proxy = start(ttl=0)
    answers_with(origin, said)
    for number in range(count):
        proxy.client.get(f"/{number}")
    assert proxy.grown < MARGIN


# Keys.


def asked(proxy: Proxy, requests: Callable[[int], bytes], count: int) -> None:
    """Ask for so much, on a few connections at once."""

    def ask(first: int) -> None:
        client = proxy.connect()
        for number in range(first, count, 8):
            client.send(requests(number))
            client.answer()
        client.close()

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


KEYS = 5000
"""Of eight kibibytes each: forty megabytes for whatever remembers all of them."""


def target(number: int) -> str:
    return f"/{number}?" + 8000 * "x"


@pytest.fixture(params=["memory", "disk", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return what --store says."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("shared_redis")
        return server.url
    return f"disk:{tmp_path}" if request.param == "disk" else "memory"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_long_keys(method: str, store: str, start: Callable[..., Proxy]) -> None:
    """Of what is not stored, and what is made invalid: a moment of waiting, a fence, an absence, a write."""
    proxy = start(store=store, memory="8MiB")
    asked(proxy, lambda n: request(method, target(n)), KEYS)
    assert proxy.grown < MARGIN


def test_what_chooses_a_variant_counts(start: Callable[..., Proxy], origin: Origin) -> None:
    proxy = start(memory="8MiB")
    answers_with(
        origin, lambda _: b"HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nVary: a\r\nContent-Length: 0\r\n\r\n"
    )
    asked(proxy, lambda n: request("GET", f"/{n // 60}", a=text(n)), 1500)
    assert proxy.grown < MARGIN


# Connections.


def opened(proxy: Proxy, count: int, data: bytes) -> list[socket.socket]:
    """Return so many connections on each of which these bytes were sent, as far as they were taken."""
    found = []
    for _ in range(count):
        connection = socket.create_connection(proxy.address)
        connection.settimeout(0.2)
        with suppress(OSError):
            connection.sendall(data)
        found.append(connection)
    return found


ENDLESS = {
    "fields of one letter": b"GET / HTTP/1.1\r\nHost: a\r\n" + 9800 * b"a:\r\n",
    "one long field": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + 39_000 * b"x",
    "requests in a pipeline": b"GET /slow HTTP/1.1\r\nHost:a\r\n\r\n" + 9000 * b"GET / HTTP/1.1\r\nHost:a\r\n\r\n",
    "large requests in a pipeline": b"GET /slow HTTP/1.1\r\nHost:a\r\n\r\n"
    + 10 * (b"GET / HTTP/1.1\r\nHost:a\r\nX: %b\r\n\r\n" % (30_000 * b"x")),
    "tiny chunks": b"GET /slow HTTP/1.1\r\nHost:a\r\n\r\n"
    + b"POST / HTTP/1.1\r\nHost:a\r\nTransfer-Encoding: chunked\r\n\r\n"
    + 30_000 * b"2\r\nab\r\n",
    "a trailer": b"POST / HTTP/1.1\r\nHost:a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + 2_000_000 * b"x",
}
EACH = {"one long field": 60, "requests in a pipeline": 700, "large requests in a pipeline": 700, "tiny chunks": 400}
"""KiB that each connection may take; where nothing is said, none, for it is refused at once."""


@pytest.mark.parametrize("what", ENDLESS)
def test_what_a_connection_holds(what: str, start: Callable[..., Proxy], origin: Origin) -> None:
    proxy = start()
    gate = origin.gate()

    async def slow(exchange: Exchange) -> None:
        if exchange.request.target == "/slow":
            await gate.passed()
        await exchange.send(NOTHING)

    origin.otherwise = slow
    connections = opened(proxy, 100, ENDLESS[what])
    proxy.settle()
    assert proxy.grown < MARGIN + 100 * 1024 * EACH.get(what, 0)
    for connection in connections:
        connection.close()


def test_connections_that_have_gone(start: Callable[..., Proxy]) -> None:
    proxy = start()
    for number in range(1500):
        client = proxy.connect()
        client.get("/", x=text(number), connection="close")
        client.close()
    assert proxy.grown < MARGIN


def test_an_origin_that_closes_its_connections(start: Callable[..., Proxy], origin: Origin) -> None:
    proxy = start()
    head = answered(b"Cache-Control: no-store", b"Connection: close", b"X: " + 100_000 * b"x")

    async def closing(exchange: Exchange) -> None:
        origin.requests.clear()
        exchange.close()
        await exchange.send(head)

    origin.otherwise = closing
    for number in range(800):
        proxy.client.get(f"/{number}")
    assert proxy.grown < MARGIN
