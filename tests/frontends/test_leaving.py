"""Clients that leave a wrapped application: what it makes for nobody any more ends (law 12)."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, Response
from tests.frontends.calling import environ_of, scope_of

from springhouse.asgi import CacheMiddleware
from springhouse.wsgi import SpringhouseCache

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS, BYTES = "text/event-stream", "application/octet-stream"


class Endless:
    """An ASGI application whose answer has no end; it counts those it is making."""

    def __init__(self, content_type: str) -> None:
        self.under_way = 0
        self._head = [(b"content-type", content_type.encode()), (b"cache-control", b"max-age=60")]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.under_way += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self._head})
            number = 0
            while True:
                await send({"type": "http.response.body", "body": b"%d," % number, "more_body": True})
                number += 1
                await asyncio.sleep(0.005)
        finally:
            self.under_way -= 1


class Subscriber:
    """A client of an ASGI application, there until it is told to leave."""

    def __init__(self, app: Any) -> None:
        self.got = b""
        self.has_some = asyncio.Event()
        self._leaves = asyncio.Event()
        self._task = asyncio.ensure_future(app(scope_of("GET", "/"), self._receive, self._send))

    async def leave(self) -> None:
        self._leaves.set()
        await asyncio.wait_for(self._task, 5)

    async def _receive(self) -> dict[str, Any]:
        await self._leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            self.got += message["body"]
            self.has_some.set()


async def until(holds: Any) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def test_subscribers_of_an_asgi_application_have_streams_of_their_own() -> None:
    async def come_and_go() -> None:
        app = Endless(EVENTS)
        cached = CacheMiddleware(app, ttl=60)
        subscribers = []
        for number in range(1, 7):
            subscribers.append(Subscriber(cached))
            await asyncio.wait_for(subscribers[-1].has_some.wait(), 5)
            assert (app.under_way, subscribers[-1].got[:2]) == (number, b"0,")
        for subscriber in subscribers:
            await subscriber.leave()
        await until(lambda: app.under_way == 0)
        assert not cached.engine.store.records

    asyncio.run(come_and_go())


def test_an_asgi_application_makes_nothing_for_nobody_for_long() -> None:
    async def leave() -> None:
        app = Endless(BYTES)
        cached = CacheMiddleware(app, unattended_timeout=0.3)
        first, second = Subscriber(cached), Subscriber(cached)
        await asyncio.wait_for(first.has_some.wait(), 5)
        await first.leave()
        await asyncio.sleep(0.4)
        assert app.under_way == 1, "the second reads it as well"
        await second.leave()
        assert app.under_way == 1, "it may still become an entry"
        await until(lambda: app.under_way == 0)
        assert not cached.engine.flights.by_key

    asyncio.run(leave())


@pytest.mark.parametrize(("content_type", "calls"), [(EVENTS, 2), (BYTES, 1)])
def test_a_wsgi_application_makes_nothing_for_nobody_for_long(content_type: str, calls: int) -> None:
    app = Flask("app")
    under_way: list[int] = []
    lock = threading.Lock()

    @app.get("/")
    def endless() -> Response:
        def numbers() -> Iterator[bytes]:
            with lock:
                under_way.append(1)
            try:
                for number in range(100_000):
                    yield b"%d," % number
                    time.sleep(0.005)
            finally:
                with lock:
                    under_way.pop()

        return Response(numbers(), content_type=content_type, headers={"Cache-Control": "max-age=60"})

    cache = SpringhouseCache(app, unattended_timeout=0.3)
    try:
        clients = []
        for _ in range(2):
            clients.append(iter(app(environ_of("GET", "/"), lambda *_: lambda _: None)))
            assert next(clients[-1]).startswith(b"0,")
        assert len(under_way) == calls
        for client in clients:
            client.close()  # type: ignore[attr-defined]
        end = time.monotonic() + 5
        while under_way and time.monotonic() < end:
            time.sleep(0.01)
        assert not under_way
    finally:
        cache.close()


def test_a_wsgi_application_is_not_called_for_who_has_gone_meanwhile() -> None:
    app = Flask("app")
    gate, called = threading.Event(), []

    @app.post("/<name>")
    def wait(name: str) -> Response:
        called.append(name)
        gate.wait(5)
        return Response(b"done")

    cache = SpringhouseCache(app, threads=1)
    try:
        threads = [threading.Thread(target=app, args=(environ_of("POST", "/first"), lambda *_: lambda _: None))]
        threads[0].start()
        while not called:
            time.sleep(0.01)
        gone, client = socket.socketpair()
        client.close()
        heads: list[str] = []

        def start(status: str, *_: object) -> Any:
            heads.append(status)
            return lambda _: None

        list(app({**environ_of("POST", "/second"), "gunicorn.socket": gone}, start))
        gone.close()
        assert heads[0].startswith("408 ")
        gate.set()
        threads[0].join()
        app(environ_of("POST", "/third"), lambda *_: lambda _: None)
        assert called == ["first", "third"]
    finally:
        gate.set()
        cache.close()
