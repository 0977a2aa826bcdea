"""What a newer answer has disproved is gone: from memory, from disk, from Redis, in every process (RFC 9111 §4.3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, gated, raw, whole
from tests.support.answers import head as head_of
from tests.support.messages import request
from tests.support.redis_server import redis_server, shared_redis

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.answers import Handler
    from tests.support.clock import Clock
    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy
    from tests.support.redis_server import RedisServer

__all__ = ["redis_server", "shared_redis"]

OLD = answer(b"old", cache_control="max-age=10, stale-while-revalidate=600, stale-if-error=600", etag='"1"')
BROKEN = answer(b"broken", 503)
STALE_S = 20


@pytest.fixture(params=["memory", "disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"disk:{tmp_path}" if request.param == "disk" else "memory"


NEWER = {
    "no-store": answer(b"new", cache_control="no-store"),
    "private": answer(b"new", cache_control="private, max-age=60"),
    "a cookie": answer(b"new", cache_control="max-age=60", set_cookie="a=1"),
    "Vary: *": answer(b"new", cache_control="max-age=60", vary="*"),
    "malformed": answer(b"new", cache_control="no-store;"),
    "nothing to reuse it by": answer(b"new", cache_control="max-age=0"),
    "a stream": answer(b"new", content_type="text/event-stream"),
    "404": answer(b"new", 404),
    "410, not to be stored": answer(b"new", 410, cache_control="no-store"),
    "401": answer(b"new", 401, cache_control="max-age=60"),
    "a redirect": answer(b"new", 302, location="/login"),
    "a part that nobody asked for": answer(b"new", 206, content_range="bytes 0-2/9"),
}


@pytest.mark.parametrize("newer", NEWER.values(), ids=NEWER)
@pytest.mark.parametrize("how", ["refresh", "reload"])
def test_what_was_disproved_is_not_served_again(
    origin: Origin, serve: Serve, clock: Clock, newer: Handler, how: str
) -> None:
    check_disproved(origin, serve(), clock, newer, how)


@pytest.mark.parametrize("name", ["no-store", "410, not to be stored"])
@pytest.mark.parametrize("how", ["refresh", "reload", "stale"])
def test_nor_from_any_store(origin: Origin, serve: Serve, clock: Clock, name: str, how: str, place: str) -> None:
    check_disproved(origin, serve(store=place), clock, NEWER[name], how)


def check_disproved(origin: Origin, proxy: Proxy, clock: Clock, newer: Handler, how: str) -> None:
    origin.on("/a", OLD, newer, BROKEN)
    proxy.get("/a")
    if how == "reload":
        assert proxy.get("/a", cache_control="no-cache").body == b"new"
    else:
        clock.advance(STALE_S if how == "refresh" else 1000)
        assert proxy.get("/a").body == (b"old" if how == "refresh" else b"new")
        origin.await_requests(2)
        proxy.await_that(lambda: not proxy.engine.flights.by_key)
    clock.advance(STALE_S)
    for _ in range(2):
        got = proxy.get("/a")
        assert (got.status, got.body, got.x_cache) == (503, b"broken", "MISS")
    assert "If-None-Match" not in origin.requests[-1], "nothing is left to ask about"


@pytest.mark.parametrize("status", [500, 501, 503, 599])
def test_a_5xx_disproves_nothing(origin: Origin, serve: Serve, clock: Clock, status: int, place: str) -> None:
    proxy = serve(store=place)
    origin.on("/a", OLD, answer(b"broken", status))
    proxy.get("/a")
    clock.advance(STALE_S)
    for _ in range(3):
        got = proxy.get("/a")
        assert (got.body, got.x_cache) == (b"old", "STALE")


def test_an_answer_that_breaks_off_disproves_nothing(origin: Origin, serve: Serve, clock: Clock, place: str) -> None:
    proxy = serve(store=place)
    origin.on("/a", OLD, raw(head_of(content_length=9, cache_control="max-age=60") + b"half"), BROKEN)
    proxy.get("/a")
    clock.advance(STALE_S)
    assert proxy.get("/a").body == b"old"
    origin.await_requests(2)
    proxy.await_that(lambda: not proxy.engine.flights.by_key)
    assert proxy.get("/a").body == b"old"


@pytest.mark.parametrize("how", ["refresh", "reload"])
def test_an_answer_that_grows_too_large_does(origin: Origin, serve: Serve, clock: Clock, how: str) -> None:
    proxy = serve(max_object="10000")
    origin.on("/a", OLD, answer(bytes(50_000), framing="chunked", cache_control="max-age=60"), BROKEN)
    proxy.get("/a")
    if how == "reload":
        assert len(proxy.get("/a", cache_control="no-cache").body) == 50_000
    else:
        clock.advance(STALE_S)
        assert proxy.get("/a").body == b"old"
        origin.await_requests(2)
        proxy.await_that(lambda: not proxy.engine.flights.by_key)
    assert proxy.get("/a").status == 503


def test_what_is_chosen_in_another_way_does_not_leave_the_old_one(origin: Origin, serve: Serve, clock: Clock) -> None:
    proxy = serve()
    newer = answer(b"new", cache_control="max-age=60", vary="Cookie", etag='"2"')
    origin.on("/a", OLD, newer, BROKEN)
    proxy.get("/a")
    assert proxy.get("/a", cache_control="no-cache", cookie="a=1").body == b"new"
    assert proxy.get("/a", cookie="a=1").x_cache == "HIT"
    assert proxy.get("/a").status == 503


@pytest.mark.parametrize("status", [404, 410, 403, 301])
def test_a_head_disproves_too(origin: Origin, serve: Serve, clock: Clock, status: int) -> None:
    proxy = serve()
    origin.on("/a", OLD, answer(b"", status), BROKEN)
    proxy.get("/a")
    assert proxy.ask("HEAD", "/a", cache_control="no-cache").status == status
    assert proxy.get("/a").status == 503


def test_what_was_not_asked_about_stays(origin: Origin, serve: Serve) -> None:
    """An answer to a request that nothing stored could have answered says nothing about what is stored."""
    proxy = serve()
    origin.on("/a", OLD, answer(b"new", cache_control="private"))
    proxy.get("/a")
    assert proxy.get("/a", authorization="Basic eA==", cache_control="no-cache").body == b"new"
    assert proxy.get("/a").body == b"old"


def test_a_304_about_something_else_does_not_save_it(origin: Origin, serve: Serve) -> None:
    proxy = serve()
    origin.on("/a", OLD, answer(b"", 304, etag='"9"'), answer(b"new", cache_control="no-store"), BROKEN)
    proxy.get("/a")
    assert proxy.get("/a", cache_control="no-cache").body == b"new"
    assert proxy.get("/a").status == 503


def test_those_who_wait_are_let_go_at_once(origin: Origin, serve: Serve, clock: Clock) -> None:
    """Law 10: nobody waits for more than one fetch that was not for them."""
    proxy = serve()
    gate, late = origin.gate(), origin.gate()
    private = answer(b"new", cache_control="private")
    origin.on("/a", answer(b"old", cache_control="max-age=10"), gated(gate, private), gated(late, private))
    proxy.get("/a")
    clock.advance(STALE_S)
    clients = [proxy.connect() for _ in range(5)]
    for client in clients:
        client.send(request("GET", "/a"))
    proxy.await_heard()
    assert origin.count("/a") == 2
    gate.open()
    origin.await_requests(6)  # one of them had led
    late.open()
    assert [client.answer().body for client in clients] == [b"new"] * 5


def test_an_older_fetch_does_not_bring_it_back(origin: Origin, serve: Serve) -> None:
    """Law 5."""
    proxy = serve()
    gate = origin.gate()

    async def by_language(exchange: Exchange) -> None:
        if exchange.request.get("Accept-Language") == "de":
            await exchange.send(head_of(content_length=3, cache_control="max-age=600", vary="Accept-Language"))
            await gate.passed()
            await exchange.send(b"old")
        elif "Cache-Control" in exchange.request:
            await exchange.send(whole(b"gone", 410, cache_control="no-store"))
        else:
            await exchange.send(whole(b"old", cache_control="max-age=600", vary="Accept-Language"))

    origin.on("/a", by_language)
    proxy.get("/a", accept_language="en")
    slow = proxy.connect()
    slow.send(request("GET", "/a", accept_language="de"))
    slow.head()
    assert proxy.get("/a", accept_language="en", cache_control="no-cache").status == 410
    gate.open()
    assert slow.read(3) == b"old"
    assert proxy.get("/a", accept_language="de").x_cache == "MISS"


def test_it_is_gone_from_every_node(
    origin: Origin, serve: Serve, clock: Clock, shared_redis: RedisServer
) -> None:  # fmt: skip
    nodes = [serve(store=shared_redis.url, store_timeout=10) for _ in range(2)]
    origin.on("/a", OLD, answer(b"new", cache_control="no-store"), BROKEN)
    for node in nodes:
        node.await_that(lambda node=node: not node.engine.store.is_behind())  # type: ignore[misc]
    nodes[0].get("/a")
    nodes[0].await_that(lambda: not nodes[0].engine.flights.by_key)
    for _ in range(100):
        if nodes[1].get("/a").x_cache == "HIT":
            break
    assert nodes[0].get("/a", cache_control="no-cache").body == b"new"
    assert nodes[1].get("/a").status == 503
    assert nodes[0].get("/a").status == 503


# Fields of a 304, and errors.


def test_the_client_that_asked_gets_what_may_not_be_stored(
    origin: Origin, serve: Serve, clock: Clock, place: str
) -> None:
    proxy = serve(store=place, set_cookie="strip")
    first = answer(b"x", cache_control="max-age=10", etag='"1"')
    said = {"etag": '"1"', "set_cookie": ["a=1", "b=2"], "x_who": "me", "cache_control": 'private="X-Who", max-age=10'}
    origin.on("/a", first, answer(b"", 304, **said))
    proxy.get("/a")
    clock.advance(STALE_S)
    asked = proxy.get("/a")
    assert (asked.x_cache, asked.body, asked.all("Set-Cookie"), asked.get("X-Who")) == (
        "REVALIDATED", b"x", ["a=1", "b=2"], "me",
    )  # fmt: skip
    other = proxy.get("/a")
    assert (other.x_cache, other.all("Set-Cookie"), other.get("X-Who")) == ("HIT", [], None)
    clock.advance(STALE_S)
    conditional = proxy.get("/a", if_none_match='"1"')
    assert (conditional.status, conditional.all("Set-Cookie"), conditional.get("X-Who")) == (304, ["a=1", "b=2"], "me")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("trouble", [answer(b"broken", 503), raw(b"")], ids=["503", "closed"])
def test_a_reload_that_fails_is_not_answered_from_what_is_fresh(
    origin: Origin, serve: Serve, clock: Clock, method: str, trouble: Handler, place: str
) -> None:
    proxy = serve(store=place)
    for target, fields in (("/a", {}), ("/b", {"stale_while_revalidate": 99}), ("/c", {"stale_if_error": 99})):
        directives = ", ".join(["max-age=60", *(f"{n.replace('_', '-')}={v}" for n, v in fields.items())])
        origin.on(target, answer(b"old", cache_control=directives, etag='"1"'), trouble)
        proxy.get(target)
        got = proxy.ask(method, target, cache_control="no-cache")
        is_said = target == "/c"
        assert (got.status < 500, got.x_cache) == (is_said, "HIT" if is_said else "MISS"), target
        assert ("stale-if-error" in (got.get("Cache-Status") or "")) is is_said
        asked = proxy.ask(method, target, cache_control="no-cache, stale-if-error=9")
        assert (asked.status, asked.x_cache) == (200, "HIT")
    clock.advance(STALE_S + 60)
    assert proxy.ask(method, "/c").x_cache == "STALE"


def test_a_refresh_carries_nothing_that_a_client_wants_for_itself(origin: Origin, serve: Serve, clock: Clock) -> None:
    proxy = serve()
    fresh = answer(b"new", cache_control="max-age=60", etag='"2"')
    origin.on("/a", OLD, fresh)
    proxy.get("/a")
    clock.advance(STALE_S)
    wants = {"cache_control": "no-store, max-stale=1", "pragma": "no-cache", "if_none_match": '"9"'}
    assert proxy.get("/a", accept="text/html", range="bytes=0-0", **wants).body == b"o"
    origin.await_requests(2)
    seen = origin.requests[-1]
    assert not [name for name in ("Cache-Control", "Pragma", "Range") if name in seen]
    assert (seen["If-None-Match"], seen["Accept"]) == ('"1"', "text/html")
    proxy.await_that(lambda: not proxy.engine.flights.by_key)
    got = proxy.get("/a")
    assert (got.x_cache, got.body) == ("HIT", b"new")
