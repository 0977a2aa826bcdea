"""Large replies go out in pieces, of content that all of them share, and only as fast as each client reads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer
from tests.support.loops import uvloop_or_asyncio
from tests.support.messages import request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.origin import Origin

MIB = 1 << 20
BODY = bytes(range(256)) * (16 * MIB // 256)
LOOPS = {"uvloop": (uvloop_or_asyncio, 5 * MIB), "asyncio": (asyncio.new_event_loop, MIB)}
"""And what may wait in the transport at most: uvloop's refers to it, asyncio's has a copy."""
ASKED = [
    ({}, slice(0, None)),
    ({"range": "bytes=1-"}, slice(1, None)),
    ({"range": f"bytes=-{12 * MIB}"}, slice(4 * MIB, None)),
    ({"range": f"bytes=5-{11 * MIB}"}, slice(5, 11 * MIB + 1)),
    ({"range": "bytes=1-", "if_range": '"1"'}, slice(1, None)),
    ({"version": "1.0"}, slice(0, None)),
]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_what_a_client_does_not_read_waits_where_it_is_stored(
    origin: Origin, serve: Serve, loop: str, framing: str
) -> None:
    factory, most = LOOPS[loop]
    proxy = serve(loop=factory)
    origin.on("/large", answer(BODY, framing=framing, cache_control="max-age=60", etag='"1"'))  # type: ignore[arg-type]
    origin.on("/small", answer(b"small", cache_control="max-age=60"))
    for _ in range(2):
        proxy.get("/large")
        proxy.get("/small")
    clients = []
    for fields, _ in ASKED:
        client = proxy.connect(receive_buffer=32 * 1024)
        client.send(request("GET", "/large", **fields))  # type: ignore[arg-type]
        clients.append(client)
    proxy.await_that(lambda: sum(c.writer.paused for c in proxy.server.connections) == len(ASKED))
    assert max(proxy.held_back().values()) < most
    assert proxy.get("/small").body == b"small"
    for client, (fields, part) in zip(clients, ASKED, strict=True):
        if "version" not in fields:
            client.send(request("GET", "/small"))  # waits behind what is not read yet
        got = client.answer()
        assert (got.status, got.x_cache) == (206 if "range" in fields else 200, "HIT")
        assert got.body == BODY[part]
        if "version" not in fields:
            assert client.answer().body == b"small"


@pytest.mark.parametrize("way", ["leaves", "ends"])
def test_a_client_that_goes_in_the_middle_leaves_nothing_behind(origin: Origin, serve: Serve, way: str) -> None:
    proxy = serve(loop=asyncio.new_event_loop)
    origin.on("/large", answer(BODY, cache_control="max-age=60"))
    for _ in range(2):
        proxy.get("/large")
    client = proxy.connect(receive_buffer=32 * 1024)
    client.send(request("GET", "/large", range="bytes=1-"))
    client.head()
    if way == "leaves":
        client.reset()
    else:  # what was asked for before is still sent
        client.end_sending()
        assert client.rest() == BODY[1:]
    proxy.await_connections(0)


def test_a_part_of_what_lies_on_disk(origin: Origin, serve: Serve, tmp_path: Path) -> None:
    proxy = serve(store=f"disk:{tmp_path}", memory=32 * MIB)
    origin.on("/large", answer(BODY, cache_control="max-age=60"))
    proxy.get("/large")
    client = proxy.connect(receive_buffer=32 * 1024)
    client.send(request("GET", "/large", range="bytes=1-"))
    proxy.await_that(lambda: any(c.writer.paused for c in proxy.server.connections))
    assert max(proxy.held_back().values()) < MIB
    got = client.answer()
    assert (got.x_cache, got.body) == ("HIT", BODY[1:])
