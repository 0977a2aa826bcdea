"""CacheMiddleware: the wrapped ASGI application is the origin, by the same rules."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.frontends.calling import call

from springhouse.asgi import CacheMiddleware

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class App:
    """An application whose answers are made by a function of the scope; it counts its calls."""

    def __init__(self, answer: Callable[..., Awaitable[None]]) -> None:
        self.calls: list[dict[str, Any]] = []
        self._answer = answer

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.calls.append(scope)
        await self._answer(scope, receive, send)


def answering(body: bytes = b"hello", status: int = 200, **fields: str) -> App:
    """Return an application that always gives this answer."""
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return App(answer)


def run(*requests: tuple[Any, ...], app: App, **options: Any) -> list[Any]:
    """Send requests one after the other through a middleware around the application."""

    async def all_of_them() -> list[Any]:
        cached = CacheMiddleware(app, **options)
        return [await call(cached, *arguments[:2], **dict(arguments[2:])) for arguments in requests]

    return asyncio.run(all_of_them())


def test_what_the_application_allows_is_kept() -> None:
    app = answering(cache_control="max-age=60")
    first, second = run(("GET", "/a"), ("GET", "/a"), app=app)
    assert (first.x_cache, second.x_cache, second.body) == ("MISS", "HIT", b"hello")
    assert len(app.calls) == 1


def test_what_it_says_nothing_about_is_not_kept() -> None:
    app = answering()
    assert [reply.x_cache for reply in run(("GET", "/a"), ("GET", "/a"), app=app)] == ["MISS", "MISS"]


def test_a_ttl_of_ours_is_an_option() -> None:
    assert [reply.x_cache for reply in run(("GET", "/a"), ("GET", "/a"), app=answering(), ttl=9)] == ["MISS", "HIT"]


def test_the_key_is_the_raw_target() -> None:
    app = answering(cache_control="max-age=60")
    replies = run(("GET", "/a%2fb"), ("GET", "/a/b"), ("GET", "/a%2fb"), app=app)
    assert [reply.x_cache for reply in replies] == ["MISS", "MISS", "HIT"]


def test_hosts_are_kept_apart() -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        host = dict(scope["headers"])[b"host"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=9")]})
        await send({"type": "http.response.body", "body": host})

    async def ask() -> list[bytes]:
        cached = CacheMiddleware(App(answer))

        def for_host(host: bytes) -> Any:
            async def app(scope: Any, receive: Any, send: Any) -> None:
                await cached({**scope, "headers": [(b"host", host)]}, receive, send)

            return app

        return [(await call(for_host(host), "GET", "/")).body for host in (b"a.test", b"b.test", b"a.test")]

    assert asyncio.run(ask()) == [b"a.test", b"b.test", b"a.test"]


def test_content_reaches_the_application() -> None:
    async def echo(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})

    (reply,) = run(("POST", "/a", ("body", b"posted")), app=App(echo))
    assert (reply.x_cache, reply.body) == ("BYPASS", b"posted")


def test_many_ask_once() -> None:
    gate = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=9")]})
        await send({"type": "http.response.body", "body": b"one for all"})

    async def herd() -> tuple[int, set[bytes]]:
        app = App(slow)
        cached = CacheMiddleware(app)
        clients = [asyncio.ensure_future(call(cached, "GET", "/")) for _ in range(50)]
        await asyncio.sleep(0.05)
        gate.set()
        return len(app.calls), {(await client).body for client in clients}

    assert asyncio.run(herd()) == (1, {b"one for all"})


def test_an_exception_goes_to_whoever_is_outside() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("a bug")

    with pytest.raises(LookupError, match="a bug"):
        run(("GET", "/"), app=App(broken))


def test_a_stale_answer_stands_in_for_an_exception() -> None:
    async def once(scope: Any, receive: Any, send: Any) -> None:
        if len(app.calls) > 1:
            raise LookupError("a bug")
        headers = [(b"cache-control", b"max-age=0, stale-if-error=60"), (b"etag", b'"1"')]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"good"})

    app = App(once)
    assert [(reply.x_cache, reply.body) for reply in run(("GET", "/"), ("GET", "/"), app=app)] == [
        ("MISS", b"good"),
        ("STALE", b"good"),
    ]


def test_a_stale_answer_is_refreshed_by_a_call_without_client() -> None:
    async def ask() -> list[str | None]:
        app = answering(cache_control="max-age=5, stale-while-revalidate=60")
        cached = CacheMiddleware(app)
        now = cached.engine.clock()
        words = [(await call(cached, "GET", "/p?q")).x_cache]
        cached.engine.clock = lambda: now + 10
        words.append((await call(cached, "GET", "/p?q")).x_cache)
        await asyncio.sleep(0.01)
        assert [scope["query_string"] for scope in app.calls] == [b"q", b"q"]
        return words

    assert asyncio.run(ask()) == ["MISS", "STALE"]


def test_a_short_answer_is_not_kept() -> None:
    app = answering(b"four", cache_control="max-age=60", content_length="10")
    for _ in range(2):
        with pytest.raises(Exception, match=r"broke off|shorter"):
            run(("GET", "/"), app=app)


def test_lifespan_and_websockets_are_the_applications() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def ask() -> None:
        cached = CacheMiddleware(app)
        await cached({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
        await cached({"type": "websocket"}, None, None)  # type: ignore[arg-type]

    asyncio.run(ask())
    assert seen == ["lifespan", "websocket"]


def test_head_and_not_modified() -> None:
    app = answering(b"body", cache_control="max-age=60", etag='"1"')
    replies = run(("GET", "/"), ("HEAD", "/"), ("GET", "/", ("if_none_match", '"1"')), app=app)
    assert [(reply.status, reply.body) for reply in replies] == [(200, b"body"), (200, b""), (304, b"")]


@pytest.mark.parametrize("order", ["PURGE /a", "POST /a", "POST https://app.test/a"])
def test_purging_over_http_knows_the_scheme(order: str) -> None:
    """The key has the client's scheme in it, because an application may answer differently for each."""

    async def both() -> list[str | None]:
        cached = CacheMiddleware(answering(cache_control="max-age=60"), token="secret-enough-for-this-test")

        async def secure(scope: Any, receive: Any, send: Any) -> None:
            await cached({**scope, "scheme": "https"}, receive, send)

        for app in (cached, secure):
            await call(app, "GET", "/a")
        method, url = order.split()
        to = url if method == "PURGE" else "/.springhouse/purge"
        body = b"" if method == "PURGE" else b'{"url": "%b"}' % url.encode()
        told = await call(secure, method, to, body, authorization="Bearer secret-enough-for-this-test")
        assert json.loads(told.body)["entries"] == 1
        return [(await call(app, "GET", "/a")).x_cache for app in (cached, secure)]

    assert asyncio.run(both()) == ["HIT", "MISS"]
