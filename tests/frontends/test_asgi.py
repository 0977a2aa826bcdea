"""The ASGI application by itself: targets, mounts, event loops, lifespans, clients that leave."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from tests.frontends.calling import call
from tests.support.answers import answer, echo, head

from springhouse.asgi import create_fastapi_app
from springhouse.frontends.asgi.proxy import TARGET_EXTENSION, asgi_target
from springhouse.frontends.targets import without_prefix
from springhouse.frontends.wsgi.proxy import wsgi_target

if TYPE_CHECKING:
    from tests.support.origin import Exchange, Origin


async def close(app: FastAPI) -> None:
    """Close an application's connections, and let the loop see to it."""
    app.state.springhouse.close()
    await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("raw", "root", "rest"),
    [
        (b"/api/x", b"/api", b"/x"),
        (b"/api", b"/api", b"/"),
        (b"/api/", b"/api", b"/"),
        (b"/api//x", b"/api", b"//x"),
        (b"/api/a%2Fb", b"/api", b"/a%2Fb"),
        (b"/%61pi/x", b"/api", b"/x"),
        (b"/caf%C3%A9/x", "/café".encode(), b"/x"),
        (b"/apix", b"/api", b"/apix"),
        (b"/ap", b"/api", b"/ap"),
        (b"/x", b"/api", b"/x"),
        (b"/x", b"", b"/x"),
        (b"/x", b"/", b"/x"),
        (b"/api%2Fx", b"/api", b"/api%2Fx"),
    ],
)
def test_without_prefix(raw: bytes, root: bytes, rest: bytes) -> None:
    assert without_prefix(raw, root) == rest


@pytest.mark.parametrize(
    ("scope", "target"),
    [
        ({"path": "/a/b", "raw_path": b"/a%2Fb", "query_string": b""}, b"/a%2Fb"),
        ({"path": "/a", "raw_path": b"/a", "query_string": b"x=%20"}, b"/a?x=%20"),
        ({"path": "/a", "raw_path": b"/a?x", "query_string": b"x"}, b"/a?x"),
        ({"path": "/é b", "query_string": b""}, b"/%C3%A9%20b"),
        ({"path": "/api/a", "raw_path": b"/api/a", "query_string": b"x", "root_path": "/api"}, b"/a?x"),
        ({"path": "/a", "extensions": {TARGET_EXTENSION: b"/a?"}}, b"/a?"),
        (
            {
                "path": "/api/a",
                "raw_path": b"/api/a",
                "root_path": "/api",
                "extensions": {TARGET_EXTENSION: b"/api/a?"},
            },
            b"/a?",
        ),
    ],
)
def test_target_of_a_scope(scope: dict[str, Any], target: bytes) -> None:
    assert asgi_target(scope) == target


@pytest.mark.parametrize(
    ("environ", "target"),
    [
        ({"RAW_URI": "/a%2Fb?x", "PATH_INFO": "/a/b", "QUERY_STRING": "x"}, b"/a%2Fb?x"),
        ({"REQUEST_URI": "/a?", "PATH_INFO": "/a"}, b"/a?"),
        ({"RAW_URI": "/api/a%2Fb", "SCRIPT_NAME": "/api", "PATH_INFO": "/a/b"}, b"/a%2Fb"),
        ({"SCRIPT_NAME": "/api", "PATH_INFO": "/a b", "QUERY_STRING": "x"}, b"/a%20b?x"),
        ({"PATH_INFO": ""}, b"/"),
    ],
)
def test_target_of_an_environ(environ: dict[str, Any], target: bytes) -> None:
    assert wsgi_target(environ) == target


def test_under_a_prefix(origin: Origin) -> None:
    origin.on("/a%2Fb?x", answer(b"mounted"))
    app = FastAPI()
    inner = create_fastapi_app(origin=origin.url, classic=True)
    app.mount("/api", inner)

    async def ask() -> list[Any]:
        replies = [await call(app, "GET", target) for target in ("/api/a%2Fb?x", "/api/a%2Fb?x", "/api/docs", "/a")]
        await close(inner)
        return replies

    first, second, docs, elsewhere = asyncio.run(ask())
    assert (first.body, first.x_cache, second.x_cache) == (b"mounted", "MISS", "HIT")
    assert b"docs/swagger-ui.css" in docs.body
    assert elsewhere.status == 404


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_each_request_in_a_loop_of_its_own(origin: Origin) -> None:
    """As test clients do it: what is stored stays, connections do not. A closed loop cannot close its sockets."""
    origin.on("/a", answer(b"a"))
    origin.on("/b", answer(b"b"))
    app = create_fastapi_app(origin=origin.url)
    replies = [asyncio.run(call(app, "GET", target)) for target in ("/a", "/a", "/b")]
    assert [(reply.body, reply.x_cache) for reply in replies] == [(b"a", "MISS"), (b"a", "HIT"), (b"b", "MISS")]
    del app
    gc.collect()


def test_lifespans_may_follow_each_other(origin: Origin) -> None:
    origin.on("/a", answer(b"a", cache_control="no-store"))
    app = create_fastapi_app(origin=origin.url)

    async def live() -> list[Any]:
        messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
        sent = []

        async def receive() -> dict[str, Any]:
            if len(messages) == 1:
                assert (await call(app, "GET", "/a")).body == b"a"
            return messages.pop(0)

        async def send(message: dict[str, Any]) -> None:
            sent.append(message["type"])

        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
        return sent

    for _ in range(2):
        assert asyncio.run(live()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    origin.await_that(lambda: origin.open_connections == 0)


def test_openapi_describes_the_classic_endpoints(origin: Origin) -> None:
    assert set(create_fastapi_app(origin=origin.url, classic=True).openapi()["paths"]) == {
        "/proxy",
        "/cache",
        "/clear-cache",
    }


def test_routes_of_ones_own_come_first(origin: Origin) -> None:
    origin.on("/theirs", answer(b"theirs"))
    app = create_fastapi_app(origin=origin.url)

    @app.get("/mine")
    def mine() -> str:
        return "mine"

    async def ask() -> list[bytes]:
        bodies = [(await call(app, "GET", target)).body for target in ("/mine", "/theirs")]
        await close(app)
        return bodies

    assert asyncio.run(ask()) == [b'"mine"', b"theirs"]


def test_http_2_needs_no_field_to_announce_content(origin: Origin) -> None:
    origin.on("/echo", echo)
    app = create_fastapi_app(origin=origin.url)

    async def ask() -> list[bytes]:
        bodies = [(await call(app, "POST", "/echo", body, "2")).body for body in (b"posted", b"")]
        await close(app)
        return bodies

    assert asyncio.run(ask()) == [b"posted", b""]


def test_websockets_are_closed(origin: Origin) -> None:
    app = create_fastapi_app(origin=origin.url)
    sent = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    scope = {"type": "websocket", "path": "/", "raw_path": b"/", "headers": [], "query_string": b"", "root_path": ""}
    asyncio.run(app(scope, receive, send))
    assert sent == ["websocket.close"]


def test_a_client_that_leaves_ends_the_request(origin: Origin) -> None:
    gone = origin.gate()

    async def endless(exchange: Exchange) -> None:
        await exchange.send(head(content_length=1 << 30, cache_control="no-store") + b"x")
        await exchange.read_until_end()
        gone.open_here()

    origin.on("/", endless)
    app = create_fastapi_app(origin=origin.url)

    async def leave() -> list[str]:
        began = asyncio.Event()
        first = [{"type": "http.request", "body": b"", "more_body": False}]
        sent = []

        async def receive() -> dict[str, Any]:
            if first:
                return first.pop()
            await began.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message["type"])
            began.set()

        scope = {
            "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/", "raw_path": b"/",
            "query_string": b"", "root_path": "", "headers": [(b"host", b"a")], "client": ("127.0.0.1", 1),
        }  # fmt: skip
        await asyncio.wait_for(app(scope, receive, send), 5)
        await close(app)
        return sent

    assert asyncio.run(leave())[0] == "http.response.start"
    origin.await_that(lambda: origin.open_connections == 0)
