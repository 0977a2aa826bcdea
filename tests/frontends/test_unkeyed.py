"""What shapes an answer without being in the key reaches no origin and no application, by any front end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, Response, request
from tests.frontends.calling import call, call_wsgi
from tests.support.answers import answer
from tests.support.client import Client

from springhouse.asgi import CacheMiddleware
from springhouse.http import unkeyed
from springhouse.wsgi import SpringhouseCache

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.frontends.together import Together
    from tests.support.origin import Exchange

FIELDS_AT_ONCE = 60


def spellings(name: bytes) -> list[bytes]:
    """Return names that an origin may read as this one, or as one of its family."""
    plain = name.replace(b"*", b"")
    members = [plain] if plain == name else [plain.rstrip(b"-"), name.replace(b"*", b"-never-seen")]
    if name.endswith(b"-*"):
        members = members[1:]
    return [
        spelled
        for member in members
        for spelled in (member.title(), member.upper().replace(b"-", b"_"), member.replace(b"-", b"_", 1))
    ]


NAMES = list(dict.fromkeys(spelled for name in unkeyed.UNKEYED_NAMES for spelled in spellings(name)))
PARTS = [NAMES[at : at + FIELDS_AT_ONCE] for at in range(0, len(NAMES), FIELDS_AT_ONCE)]


async def reflecting(exchange: Exchange) -> None:
    """Answer with what was asked, for everybody."""
    await answer(exchange.request.head, cache_control="max-age=60")(exchange)


def with_canaries(target: str, names: Iterable[bytes]) -> bytes:
    lines = b"".join(b"%b: canary\r\n" % name for name in names)
    return b"GET %b HTTP/1.1\r\nHost: cache.test\r\n%b\r\n" % (target.encode(), lines)


@pytest.mark.parametrize("part", range(len(PARTS)))
def test_servers(together: Together, part: int) -> None:
    for number, names in enumerate([PARTS[part], *([name] for name in PARTS[part][:2])]):
        target = f"/unkeyed-{part}-{number}"
        together.on(target, reflecting)
        for frontend, proxy in together.proxies.items():
            with Client(proxy.address) as client:
                client.send(with_canaries(target, names))
                assert b"canary" not in client.answer().body, frontend
            clean = proxy.get(target)
            assert (clean.x_cache, b"canary" in clean.body) == ("HIT", False), frontend


def test_asgi_applications() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=60")]})
        await send({"type": "http.response.body", "body": repr(scope["headers"]).encode()})

    async def asked() -> list[bytes]:
        cached = CacheMiddleware(app)
        found = []
        for number, names in enumerate(PARTS):
            first = await call(cached, "GET", f"/{number}", names=[name.lower() for name in names])
            second = await call(cached, "GET", f"/{number}")
            assert second.x_cache == "HIT"
            found += [first.body, second.body]
        return found

    for body in asyncio.run(asked()):
        assert b"canary" not in body


def test_wsgi_applications() -> None:
    app = Flask(__name__)

    @app.get("/<number>")
    def reflect(number: str) -> Response:
        return Response(f"{request.environ} {request.headers}", headers={"Cache-Control": "max-age=60"})

    cache = SpringhouseCache(app)
    try:
        for number, names in enumerate(PARTS):
            fields = {name.decode().upper().replace("-", "_"): "canary" for name in names}
            assert b"canary" not in call_wsgi(app, "GET", f"/{number}", **fields).body
            clean = call_wsgi(app, "GET", f"/{number}")
            assert (clean.x_cache, b"canary" in clean.body) == ("HIT", False)
    finally:
        cache.close()
