"""A slow side holds the other one back instead of filling memory, and holds up nobody else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, head
from tests.support.client import KERNEL
from tests.support.messages import chunked, request

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.client import Client
    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

MIB = 1 << 20
PIECE = bytes(64 * 1024)
ENOUGH = KERNEL * 5 // 4 // len(PIECE)
"""Pieces that are more than what may be on the way."""


class Stream:
    """A handler that sends pieces without end, or so many."""

    def __init__(self, pieces: int = 2**40, *, is_chunked: bool = False, **fields: object) -> None:
        self.pieces = pieces
        self.is_chunked = is_chunked
        framing = {"transfer_encoding": "chunked"} if is_chunked else {"content_length": pieces * len(PIECE)}
        self.head = head(**framing, **fields)
        self.exchange: Exchange

    async def __call__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        await exchange.send(self.head)
        for _ in range(self.pieces):
            await exchange.send(chunked(PIECE, end=b"") if self.is_chunked else PIECE)
        if self.is_chunked:
            await exchange.send(b"0\r\n\r\n")

    def settles(self) -> int:
        """Wait until no more is accepted, and return how much was."""
        before = -1
        while before != self.exchange.sent:
            before = self.exchange.sent
            time.sleep(0.1)
        return before


def slow_reader(proxy: Proxy, target: str = "/a", method: str = "GET") -> Client:
    """Return a client that has asked for something and reads nothing."""
    client = proxy.connect(receive_buffer=32 * 1024)
    client.send(request(method, target, None if method == "GET" else b""))
    return client


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unstored_stream_waits_for_its_client(origin: Origin, proxy: Proxy, method: str, is_chunked: bool) -> None:
    stream = Stream(ENOUGH, is_chunked=is_chunked, cache_control="no-store")
    origin.on("/a", stream)
    client = slow_reader(proxy, method=method)
    origin.await_requests(1)
    proxy.await_heard()
    time.sleep(0.1)
    assert stream.settles() < KERNEL
    assert sum(proxy.held_back().values()) < MIB
    got = client.answer(method)  # and goes on when it reads
    assert len(got.body) == ENOUGH * len(PIECE)


def test_a_stream_that_has_become_too_large_to_store_waits_for_its_slowest_client(origin: Origin, serve: Serve) -> None:
    proxy = serve(max_object=MIB)
    stream = Stream(ENOUGH, is_chunked=True, cache_control="max-age=60")
    origin.on("/a", stream)
    client = slow_reader(proxy)
    origin.await_requests(1)
    time.sleep(0.1)
    assert stream.settles() < KERNEL
    assert sum(proxy.held_back().values()) < 3 * MIB
    assert len(client.answer().body) == ENOUGH * len(PIECE)


def test_a_slow_client_does_not_hold_up_a_fast_one(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", Stream(256, cache_control="max-age=60"))
    slow = slow_reader(proxy)
    origin.await_requests(1)
    fast = proxy.get("/a")
    assert len(fast.body) == 256 * len(PIECE)
    assert len(slow.answer().body) == 256 * len(PIECE)
    assert origin.count("/a") == 1


def test_a_slow_client_of_a_stored_object_holds_up_nobody(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", Stream(256, cache_control="max-age=60"))
    origin.on("/b", answer(b"x", cache_control="max-age=60"))
    for _ in range(2):
        proxy.get("/a")
    hits = proxy.server.hits
    slow = slow_reader(proxy)
    proxy.await_that(lambda: proxy.server.hits > hits)
    assert [len(proxy.get("/a").body), proxy.get("/b").body] == [256 * len(PIECE), b"x"]
    slow.send(request("GET", "/b"))  # pipelined behind what it has not read yet
    assert len(slow.answer().body) == 256 * len(PIECE)
    assert slow.answer().body == b"x"


def test_an_endless_stream_ends_with_its_client(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", Stream(is_chunked=True, cache_control="no-store"))
    client = slow_reader(proxy)
    client.head()
    client.reset()
    origin.await_that(lambda: origin.open_connections == 0)


def test_an_endless_stream_that_was_being_stored_ends_with_its_last_client(origin: Origin, serve: Serve) -> None:
    proxy = serve(max_object=MIB)
    origin.on("/a", Stream(is_chunked=True, cache_control="max-age=60"))
    clients = [slow_reader(proxy), slow_reader(proxy)]
    clients[1].head()
    clients[0].head()
    clients[0].read(2 * MIB)
    clients[1].reset()
    clients[0].read(8 * MIB)
    clients[0].reset()
    origin.await_that(lambda: origin.open_connections == 0)


@pytest.mark.parametrize("count", [500, 4000])
def test_a_pipeline_of_hits_that_nobody_reads_does_not_fill_memory(origin: Origin, proxy: Proxy, count: int) -> None:
    """Small requests for larger answers would otherwise let a client reserve as much as it likes."""
    origin.on("/a", answer(bytes(15_000), cache_control="max-age=60"))
    for _ in range(2):
        proxy.get("/a")
    client = proxy.connect(receive_buffer=16 * 1024)
    client.send(request("GET", "/a") * count)
    proxy.await_that(lambda: any(c.writer.paused for c in proxy.server.connections))
    assert sum(proxy.held_back().values()) < 2 * MIB
    for _ in range(count):
        assert len(client.answer().body) == 15_000
