"""Handlers for the origin: the answers that tests need again and again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from tests.support.messages import chunked, field_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.origin import Exchange, Gate, Handler

Framing = Literal["length", "chunked", "close"]
PIECE = 64 * 1024


def head(status: int = 200, phrase: str = "OK", **fields: object) -> bytes:
    """Return the head of an answer."""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode() + field_lines(fields) + b"\r\n"


def answer(body: bytes = b"", status: int = 200, *, framing: Framing = "length", **fields: object) -> Handler:
    """Answer with these bytes; `cache_control="max-age=60"` gives a field, a list several."""
    raw = whole(body, status, framing=framing, **fields)
    bare = raw[: raw.index(b"\r\n\r\n") + 4]

    async def handler(exchange: Exchange) -> None:
        if not exchange.body_is_read:
            await exchange.body()
        await exchange.send(bare if exchange.request.method == "HEAD" else raw)
        if framing == "close":
            exchange.close()

    return handler


def whole(body: bytes = b"", status: int = 200, *, framing: Framing = "length", **fields: object) -> bytes:
    """Return a whole answer."""
    if framing == "length" and status not in (204, 304):
        fields["content_length"] = len(body)
    elif framing == "chunked":
        fields["transfer_encoding"] = "chunked"
        body = chunked(*pieces(body))
    return head(status, "Answered", **fields) + body


def pieces(body: bytes, size: int = PIECE) -> Iterable[bytes]:
    """Return the body in pieces."""
    return [body[at : at + size] for at in range(0, len(body), size)]


def raw(*parts: bytes, end: Literal["keep", "close", "reset"] = "close") -> Handler:
    """Send bytes as they are, one part after the other, and then end the connection that way."""

    async def handler(exchange: Exchange) -> None:
        for part in parts:
            await exchange.send(part)
        if end == "reset":
            await asyncio.sleep(0.05)  # a reset overtakes bytes that were not read yet
            exchange.reset()
        elif end == "close":
            exchange.close()

    return handler


def gated(gate: Gate, handler: Handler) -> Handler:
    """Wait at the gate before answering."""

    async def waiting(exchange: Exchange) -> None:
        await gate.passed()
        await handler(exchange)

    return waiting


def in_parts(first: bytes, gate: Gate, rest: bytes, **fields: object) -> Handler:
    """Announce all of the content but send only the first part of it until the gate opens."""

    async def handler(exchange: Exchange) -> None:
        await exchange.send(head(content_length=len(first) + len(rest), **fields) + first)
        await gate.passed()
        await exchange.send(rest)

    return handler


def validated(body: bytes, etag: str, **fields: object) -> Handler:
    """Answer 304 to whoever has the entity tag already."""
    full, unchanged = answer(body, etag=etag, **fields), answer(status=304, etag=etag, **fields)

    async def handler(exchange: Exchange) -> None:
        await (unchanged if exchange.request.get("If-None-Match") == etag else full)(exchange)

    return handler


async def echo(exchange: Exchange) -> None:
    """Answer with the request's content, not to be stored."""
    if "Expect" in exchange.request:
        await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    await answer(await exchange.body(), cache_control="no-store")(exchange)
