"""The memory budget holds while far more than it streams through. STREAMED_MIB: how many MiB."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import head

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fleet.node import Node
    from tests.support.origin import Exchange, Origin

    Start = Callable[..., Node]

MIB = 2**20
STREAMED_MIB = int(os.environ.get("STREAMED_MIB", "2048"))
CHUNK = bytes(MIB)


def streamed(size_mib: int) -> Callable[[Exchange], object]:
    """Answer with so much, in big chunks."""

    async def handler(exchange: Exchange) -> None:
        await exchange.send(head(content_length=size_mib * MIB, cache_control="max-age=600"))
        for _ in range(size_mib):
            await exchange.send(CHUNK)

    return handler


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_memory_stays_under_its_budget(origin: Origin, start: Start, tmp_path: Path, kind: str) -> None:
    """Half of it in bodies too large to store, half of it in bodies of 8 MiB that are stored and evicted."""
    node = start(store="memory" if kind == "memory" else f"disk:{tmp_path}", memory="64MiB", disk_size="128MiB")
    total = STREAMED_MIB // 2
    before = most = node.resident
    for size in (min(256, total // 2), 8):
        origin.otherwise = streamed(size)
        for n in range(total // 2 // size):
            with socket.create_connection(node.address) as client:
                client.settimeout(30)
                client.sendall(b"GET /%d/%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % (size, n))
                got = 0
                while part := client.recv(MIB):
                    got += len(part)
                    if got % (16 * MIB) < len(part):
                        most = max(most, node.resident)
            assert size * MIB < got < size * MIB + 2000
            most = max(most, node.resident)
    assert most - before < 64 * MIB + 48 * MIB
