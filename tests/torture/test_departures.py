"""Thousands who send a request and close, and dozens who read nothing: what it costs the others, and what stays."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, gated, head
from tests.support.client import Client
from tests.support.memory import resident
from tests.support.messages import chunked, request
from tests.support.processes import Running

if TYPE_CHECKING:
    from tests.support.origin import Exchange, Origin

MIB = 1 << 20
FRESH = "max-age=60"


@pytest.fixture(autouse=True)
def _enough_descriptors() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < 12_000:
        pytest.skip("too few file descriptors")


def descriptors(pid: int) -> int:
    """Return how many files and connections a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.parametrize(("count", "connections"), [(1030, 1024), (5000, 1024), (1030, 10)])
@pytest.mark.parametrize("has_head", [False, True], ids=["before the head", "after the head"])
def test_thousands_who_close_at_once(origin: Origin, count: int, connections: int, has_head: bool) -> None:
    gate = origin.gate()
    beginning = head(transfer_encoding="chunked", cache_control=FRESH) + chunked(b"x", end=b"")

    async def begun(exchange: Exchange) -> None:
        await exchange.send(beginning)
        await exchange.read_until_end()
        exchange.close()

    origin.otherwise = begun if has_head else gated(gate, answer(b"late", cache_control=FRESH))
    origin.on("/well", answer(b"well", cache_control="no-store"))
    with Running(origin=origin.url, origin_connections=connections) as proxy:
        proxy.started()
        pid = proxy.process.pid
        with Client(proxy.address) as client:
            assert client.get("/well").body == b"well"
        before, idle = resident(pid), descriptors(pid)
        for number in range(count):
            with Client(proxy.address) as client:
                client.send(request("GET", f"/{number}"))
        began = time.monotonic()
        with Client(proxy.address) as client:
            assert client.get("/well").status == 200
        assert time.monotonic() - began < 4.5, "well before the queue would turn it away"
        assert resident(pid) - before < 64 * MIB
        end = time.monotonic() + 10
        while not has_head and descriptors(pid) > idle + 4 and time.monotonic() < end:
            time.sleep(0.05)
        assert descriptors(pid) <= (connections + idle + 4 if has_head else idle + 4)
        gate.open()


def test_sixty_who_read_nothing(origin: Origin) -> None:
    """Of one answer without an announced length, which grows beyond what is stored, and beyond all buffers."""
    pieces = 4096
    piece = os.urandom(64 * 1024)
    gate = origin.gate()

    async def growing(exchange: Exchange) -> None:
        await exchange.send(head(transfer_encoding="chunked", cache_control=FRESH))
        await gate.passed()
        for _ in range(pieces):
            await exchange.send(chunked(piece, end=b""))
        await exchange.send(b"0\r\n\r\n")

    origin.on("/a", growing)
    with Running(origin=origin.url, memory="64MiB", max_object="8MiB") as proxy:
        proxy.started()
        stopped = [Client(proxy.address, receive_buffer=16 * 1024) for _ in range(60)]
        before = resident(proxy.process.pid)
        for client in stopped:
            client.send(request("GET", "/a"))
            origin.await_requests(1)
        with Client(proxy.address, timeout=20) as client:
            client.send(request("GET", "/a"))
            time.sleep(0.2)
            gate.open()
            assert client.answer().body == piece * pieces
        assert resident(proxy.process.pid) - before < 160 * MIB
        assert origin.count("/a") == 1
        for client in stopped:
            client.reset()
