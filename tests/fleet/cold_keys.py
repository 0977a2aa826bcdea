"""What clients ask of several processes that share a store, for a key that none of them has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, head
from tests.support.client import Broken

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.client import Client
    from tests.support.origin import Exchange, Origin

FRESH = {"cache_control": "max-age=600"}
VARIANTS = 20


def ask_for_variants(origin: Origin, clients: list[Client], await_heard: Callable[[], None]) -> list[str]:
    """Ask for /x with VARIANTS cookies in turn, and return what came.

    The origin answers nothing until all variants have been asked for, but for the first request of all: its answer is
    what tells that there are variants.
    """
    first, together = origin.gate(), origin.gate()

    async def varied(exchange: Exchange) -> None:
        if origin.count("/x") == VARIANTS:
            together.open_here()
        await (first if origin.count("/x") == 1 else together).passed()
        await answer(exchange.request["Cookie"].encode(), vary="Cookie", **FRESH)(exchange)

    origin.on("/x", varied)
    for at, client in enumerate(clients):
        client.send(f"GET /x HTTP/1.1\r\nHost: a\r\nCookie: n={at % VARIANTS}\r\n\r\n".encode())
    await_heard()
    origin.await_requests(1)
    assert origin.count("/x") == 1
    first.open()
    return [client.answer().body.decode() for client in clients]


def ask_for_what_breaks_off(
    origin: Origin, clients: list[Client], await_heard: Callable[[], None], *, part: bytes
) -> None:
    """Ask for /x, whose answer ends after a part of its content, and see to it that every client finds it broken."""
    gate = origin.gate()

    async def broken(exchange: Exchange) -> None:
        await gate.passed()
        await exchange.send(head(content_length=1000, **FRESH) + part)
        exchange.close()

    origin.on("/x", broken)
    for client in clients:
        client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    await_heard()
    origin.await_requests(1)
    gate.open()
    for client in clients:
        with pytest.raises(Broken):
            client.answer()
