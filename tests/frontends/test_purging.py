"""Applications purge what their middleware keeps, alike in both wings; later requests are not answered with it."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from anyio import from_thread
from fastapi import FastAPI
from fastapi import Request as FastAPIRequest
from flask import Flask, Response, request
from tests.frontends.calling import call, call_wsgi

import springhouse.asgi
import springhouse.wsgi
from springhouse import BadSettings, Settings
from springhouse.asgi import PurgeCounts
from springhouse.frontends.purging import PurgeFailed, counts_of, selections_named
from springhouse.rules.purging import Keys, Prefix, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FIELDS = [("Cache-Control", "max-age=60"), ("Cache-Tag", "all-of-it, {tag}"), ("ETag", '"1"')]


class Asgi:
    """An ASGI application behind the cache: `/purge?…` purges from within, everything else is kept."""

    def __init__(self, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.calls: list[str] = []
        self.cache = springhouse.asgi.CacheMiddleware(self._app, **options)

    async def _app(self, scope: Any, _receive: Any, send: Any) -> None:
        self.calls.append(scope["path"])
        if scope["path"] == "/purge":
            await scope["springhouse"].purge(url=scope["query_string"].decode())
        tag = scope["path"].strip("/") or "root"
        headers = [(name.encode(), value.replace("{tag}", tag).encode()) for name, value in FIELDS]
        if scope["path"] == "/purge":
            headers = []
        is_asked_again = b"if-none-match" in dict(scope["headers"])
        await send({"type": "http.response.start", "status": 304 if is_asked_again else 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if is_asked_again else b"x"})

    def get(self, target: str) -> str | None:
        """GET and return X-Cache."""
        return self.loop.run_until_complete(call(self.cache, "GET", target)).x_cache

    def purge(self, **named: Any) -> PurgeCounts:
        """Purge from outside of a request."""
        return self.loop.run_until_complete(self.cache.purge(**named))

    def clear(self) -> int:
        """Purge everything."""
        return self.loop.run_until_complete(self.cache.clear())

    def close(self) -> None:
        """Release everything."""
        self.loop.run_until_complete(self.cache.aclose())
        self.loop.close()


class Wsgi:
    """The same in WSGI."""

    def __init__(self, **options: Any) -> None:
        self.calls: list[str] = []
        self.cache = springhouse.wsgi.CacheMiddleware(self._app, **options)
        self.purge, self.clear, self.close = self.cache.purge, self.cache.clear, self.cache.close

    def _app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        path = environ["PATH_INFO"]
        self.calls.append(path)
        if path == "/purge":
            environ["springhouse.cache"].purge(url=environ["QUERY_STRING"])
        tag = path.strip("/") or "root"
        fields = [(name, value.replace("{tag}", tag)) for name, value in FIELDS]
        is_asked_again = "HTTP_IF_NONE_MATCH" in environ
        start_response("304 Not Modified" if is_asked_again else "200 OK", [] if path == "/purge" else fields)
        return [] if is_asked_again else [b"x"]

    def get(self, target: str) -> str | None:
        """GET and return X-Cache."""
        return call_wsgi(self.cache, "GET", target).x_cache


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory" if request.param == "memory" else f"disk:{tmp_path}"


@pytest.fixture(params=[Asgi, Wsgi])
def cached(request: pytest.FixtureRequest, store: str) -> Iterator[Asgi | Wsgi]:
    made = request.param(store=store)
    yield made
    made.close()


def kept(cached: Asgi | Wsgi, *targets: str) -> list[str | None]:
    """Return what X-Cache says of each."""
    return [cached.get(target) for target in targets]


ALL = ("/a", "/a/b", "/a?q", "/c")


@pytest.mark.parametrize(
    ("named", "counts", "after"),
    [
        ({"url": "http://app.test/a"}, PurgeCounts(1, 1), ["MISS", "HIT", "HIT", "HIT"]),
        ({"url": "https://APP.test/a#part"}, PurgeCounts(1, 1), ["MISS", "HIT", "HIT", "HIT"]),
        ({"url": "http://other.test/a"}, PurgeCounts(0, 0), ["HIT", "HIT", "HIT", "HIT"]),
        ({"url": "http://app.test"}, PurgeCounts(0, 0), ["HIT", "HIT", "HIT", "HIT"]),
        ({"prefix": "http://app.test/a"}, PurgeCounts(3, 3), ["MISS", "MISS", "MISS", "HIT"]),
        ({"prefix": "http://app.test"}, PurgeCounts(4, 4), ["MISS", "MISS", "MISS", "MISS"]),
        ({"prefix": "http://app.tes"}, PurgeCounts(0, 0), ["HIT", "HIT", "HIT", "HIT"]),
        ({"tag": "a"}, PurgeCounts(2, 2), ["MISS", "HIT", "MISS", "HIT"]),
        ({"tag": "all-of-it"}, PurgeCounts(4, 4), ["MISS", "MISS", "MISS", "MISS"]),
        ({"tag": "none"}, PurgeCounts(0, 0), ["HIT", "HIT", "HIT", "HIT"]),
    ],
)
def test_what_is_named_is_purged(
    cached: Asgi | Wsgi, named: dict[str, Any], counts: PurgeCounts, after: list[str]
) -> None:
    assert kept(cached, *ALL) == ["MISS"] * 4
    assert kept(cached, *ALL) == ["HIT"] * 4
    assert cached.purge(**named) == counts
    assert kept(cached, *ALL) == after


def test_everything(cached: Asgi | Wsgi) -> None:
    kept(cached, *ALL)
    assert cached.clear() == 4
    assert cached.clear() == 0
    assert kept(cached, *ALL) == ["MISS"] * 4


def test_a_soft_purge_has_it_validated(cached: Asgi | Wsgi) -> None:
    kept(cached, "/a", "/c", "/validated")
    assert cached.purge(tag="validated", soft=True) == PurgeCounts(1, 1)
    assert kept(cached, "/a", "/c", "/validated", "/validated") == ["HIT", "HIT", "REVALIDATED", "HIT"]


def test_a_path_is_one_of_the_host_that_is_answered(cached: Asgi | Wsgi) -> None:
    kept(cached, "/a", "/c")
    cached.get("/purge?/a")
    assert kept(cached, "/a", "/c") == ["MISS", "HIT"]


def test_outside_of_a_request_a_path_needs_a_host(cached: Asgi | Wsgi) -> None:
    kept(cached, "/a")
    cached.get("/purge?/c")  # what was the host then is not remembered
    with pytest.raises(ValueError, match="name it: http://example"):
        cached.purge(url="/a")


@pytest.mark.parametrize("named", [{}, {"url": "/a", "tag": "b"}, {"url": "ftp://a/"}, {"prefix": "http://"}])
def test_what_names_nothing_is_refused(cached: Asgi | Wsgi, named: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"exactly one of|neither a path nor an http URL"):
        cached.purge(**named)


def test_a_fill_that_began_before_does_not_bring_it_back() -> None:
    """The response that was being made when the purge was asked for is not kept."""
    begun, go_on = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", FIELDS)
        begun.set()
        assert go_on.wait(5)
        return [b"old"]

    cache = springhouse.wsgi.CacheMiddleware(app)
    try:
        first = threading.Thread(target=call_wsgi, args=(cache, "GET", "/a"))
        first.start()
        assert begun.wait(5)
        cache.purge(url="http://app.test/a")
        go_on.set()
        first.join()
        assert call_wsgi(cache, "GET", "/a").x_cache == "MISS"
    finally:
        cache.close()


def test_a_fill_that_began_before_does_not_bring_it_back_in_asgi() -> None:
    """The same, where the calls are tasks."""

    async def race() -> str | None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def app(scope: Any, _receive: Any, send: Any) -> None:
            headers = [(name.encode(), value.encode()) for name, value in FIELDS]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            begun.set()
            await go_on.wait()
            await send({"type": "http.response.body", "body": b"old"})

        cache = springhouse.asgi.CacheMiddleware(app)
        first = asyncio.ensure_future(call(cache, "GET", "/a"))
        await begun.wait()
        await cache.purge(url="http://app.test/a")
        go_on.set()
        await first
        return (await call(cache, "GET", "/a")).x_cache

    assert asyncio.run(race()) == "MISS"


def test_a_function_that_fastapi_runs_in_a_thread_purges() -> None:
    app = FastAPI()
    app.add_middleware(springhouse.asgi.CacheMiddleware, ttl=60)

    @app.get("/report")
    def report() -> int:
        return 1

    @app.post("/changed")
    def changed(request: FastAPIRequest) -> int:
        counts = from_thread.run(partial(request.scope["springhouse"].purge, url="/report"))
        return int(counts.entries)

    async def ask() -> tuple[list[str | None], bytes, str | None]:
        before = [(await call(app, "GET", "/report")).x_cache for _ in range(2)]
        return before, (await call(app, "POST", "/changed")).body, (await call(app, "GET", "/report")).x_cache

    assert asyncio.run(ask()) == (["MISS", "HIT"], b"1", "MISS")


def test_it_is_not_certain() -> None:
    with pytest.raises(PurgeFailed, match="no answer"):
        counts_of([Receipt(keys=1, entries=1), Receipt(failure="no answer")])


def test_from_any_thread() -> None:
    wing = Wsgi()
    counts: list[PurgeCounts] = []
    try:
        kept(wing, *ALL)
        threads = [
            threading.Thread(target=lambda tag=tag: counts.append(wing.purge(tag=tag))) for tag in ("a", "a/b", "c")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(count.entries for count in counts) == 4
        assert kept(wing, *ALL) == ["MISS"] * 4
    finally:
        wing.close()


def test_flask() -> None:
    app = Flask("app")
    cache = springhouse.wsgi.SpringhouseCache(app, ttl=60)

    @app.get("/report")
    def report() -> str:
        return "report"

    @app.post("/changed")
    def changed() -> dict[str, int]:
        assert request.environ["springhouse.cache"] is cache.cache
        return {"entries": cache.purge(url="/report").entries}

    try:
        assert [call_wsgi(app, "GET", "/report").x_cache for _ in range(2)] == ["MISS", "HIT"]
        assert call_wsgi(app, "POST", "/changed").body == b'{"entries":1}\n'
        assert call_wsgi(app, "GET", "/report").x_cache == "MISS"
    finally:
        cache.close()


def test_an_extension_without_an_application() -> None:
    cache = springhouse.wsgi.SpringhouseCache()
    with pytest.raises(RuntimeError, match="call init_app"):
        cache.purge(tag="a")
    assert cache.clear() == 0


def test_a_lifespan_sees_the_cache() -> None:
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["springhouse"])

    async def live() -> None:
        await cache({"type": "lifespan", "state": {}}, None, None)  # type: ignore[arg-type]

    cache = springhouse.asgi.CacheMiddleware(app)
    asyncio.run(live())
    assert seen == [cache]


@pytest.mark.parametrize(
    "make",
    [
        springhouse.asgi.CacheMiddleware,
        springhouse.wsgi.CacheMiddleware,
        springhouse.wsgi.SpringhouseCache,
    ],
)
def test_options_are_settings(make: Any) -> None:
    app = Flask("app")
    make(app, ttl=60, store="memory")
    make(app, Settings(ttl=60))
    with pytest.raises(BadSettings, match="tll is no setting"):
        make(app, tll=60)


def test_responses_that_say_nothing_are_kept_for_the_ttl() -> None:
    def silent(_environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        return [b"x"]

    cache = springhouse.wsgi.CacheMiddleware(silent, ttl=60)
    try:
        assert [call_wsgi(cache, "GET", "/a").x_cache for _ in range(2)] == ["MISS", "HIT"]
    finally:
        cache.close()


def test_responses_of_flask_are_sent_as_they_are() -> None:
    app = Flask("app")
    app.add_url_rule("/a", view_func=lambda: Response(b"x", headers={"Cache-Control": "max-age=9"}), endpoint="a")
    app.wsgi_app = springhouse.wsgi.CacheMiddleware(app.wsgi_app)  # type: ignore[method-assign]
    try:
        assert [call_wsgi(app, "GET", "/a").x_cache for _ in range(2)] == ["MISS", "HIT"]
    finally:
        app.wsgi_app.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_url_stands_for_both_schemes(scheme: str) -> None:
    url, keys = f"{scheme}://a.test/b?c", (b"http://a.test/b?c", b"https://a.test/b?c")
    assert selections_named(url, None, None) == [Keys(keys)]
    assert selections_named(None, url, None) == [Prefix(key) for key in keys]
