"""SpringhouseCache: the wrapped Flask application is the origin, by the same rules."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from flask import Flask, Response, request
from tests.frontends.calling import call_wsgi

from springhouse.wsgi import SpringhouseCache, create_flask_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.origin import Origin


@pytest.fixture
def app() -> Iterator[Flask]:
    """Return an application that counts its calls, with the cache around it."""
    made = Flask("app")
    made.calls = []  # type: ignore[attr-defined]

    @made.before_request
    def count() -> None:
        made.calls.append(request.full_path)  # type: ignore[attr-defined]

    @made.get("/kept")
    def kept() -> Response:
        return Response("hello", headers={"Cache-Control": "max-age=60"})

    @made.post("/echo")
    def echo() -> bytes:
        return request.get_data()

    @made.get("/stream")
    def stream() -> Response:
        return Response((b"%d," % n for n in range(1000)), headers={"Cache-Control": "max-age=60"})

    cache = SpringhouseCache(made)
    yield made
    cache.close()


def test_what_the_application_allows_is_kept(app: Flask) -> None:
    replies = [call_wsgi(app, "GET", "/kept") for _ in range(2)]
    assert [reply.x_cache for reply in replies] == ["MISS", "HIT"]
    assert replies[0].body == replies[1].body == b"hello"
    assert len(app.calls) == 1  # type: ignore[attr-defined]


def test_it_works_with_the_test_client(app: Flask) -> None:
    client = app.test_client()
    assert [client.get("/kept").headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]


def test_content_reaches_the_application(app: Flask) -> None:
    body = bytes(100_000)
    assert call_wsgi(app, "POST", "/echo", body).body == body


def test_answers_stream(app: Flask) -> None:
    whole = b"".join(b"%d," % n for n in range(1000))
    assert [call_wsgi(app, "GET", "/stream").body for _ in range(2)] == [whole, whole]


def test_what_is_not_there(app: Flask) -> None:
    assert call_wsgi(app, "GET", "/nowhere").status == 404


def test_clearing(app: Flask) -> None:
    call_wsgi(app, "GET", "/kept")
    assert app.extensions["springhouse"].clear() == 1
    assert call_wsgi(app, "GET", "/kept").x_cache == "MISS"


def test_many_ask_once(app: Flask) -> None:
    gate = threading.Event()

    @app.get("/slow")
    def slow() -> Response:
        gate.wait(5)
        return Response("one for all", headers={"Cache-Control": "max-age=60"})

    with ThreadPoolExecutor(20) as pool:
        replies = [pool.submit(call_wsgi, app, "GET", "/slow") for _ in range(20)]
        gate.set()
        assert {reply.result().body for reply in replies} == {b"one for all"}
    assert app.calls.count("/slow?") == 1  # type: ignore[attr-defined]


def test_an_exception_goes_to_whoever_is_outside(app: Flask) -> None:
    app.testing = True

    @app.get("/broken")
    def broken() -> str:
        raise LookupError("a bug")

    with pytest.raises(LookupError, match="a bug"):
        call_wsgi(app, "GET", "/broken")


def test_a_proxy_works_with_the_test_client(origin: Origin) -> None:
    from tests.support.answers import answer

    origin.on("/a%2Fb", answer(b"raw"))
    app = create_flask_app(origin=origin.url)
    client = app.test_client()
    assert [client.get("/a%2Fb").headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
    app.extensions["springhouse"].close()
