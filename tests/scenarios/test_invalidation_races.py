"""What was invalidated while it was being fetched does not come back (law 5)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, gated, in_parts, validated
from tests.support.messages import request

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.clock import Clock
    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

FRESH = "max-age=60"


def test_a_change_during_a_fill_is_not_undone_by_it(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("/a", in_parts(b"old ", gate, b"end", cache_control=FRESH), answer(b"done"), answer(b"new"))
    reader = proxy.connect()
    reader.send(request("GET", "/a"))
    reader.head()
    assert proxy.ask("POST", "/a", b"change").body == b"done"
    fresh = proxy.get("/a")
    assert (fresh.x_cache, fresh.body) == ("MISS", b"new")
    gate.open()
    assert reader.read(7) == b"old end"  # who asked before the change still gets all of it
    assert proxy.get("/a").body == b"new"


def test_a_change_before_the_head_arrives_is_not_undone(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("/a", gated(gate, answer(b"old", cache_control=FRESH)), answer(b"done"), answer(b"new"))
    early = [proxy.connect() for _ in range(3)]
    for client in early:
        client.send(request("GET", "/a"))
    proxy.await_heard()
    proxy.ask("POST", "/a", b"change")
    assert proxy.get("/a").body == b"new"
    gate.open()
    assert early[0].answer().body in (b"old", b"new")
    assert [client.answer().body for client in early[1:]] == [b"new"] * 2
    assert proxy.get("/a").body == b"new"


@pytest.mark.parametrize("order", [{"url": "/a"}, {"prefix": "/"}, {"tag": "t"}, {"all": True}], ids=str)
@pytest.mark.parametrize("is_soft", [False, True])
def test_a_purge_during_a_fill_is_not_undone_by_it(
    origin: Origin, serve: Callable[..., Proxy], order: dict[str, object], is_soft: bool
) -> None:
    proxy = serve(token="t")
    gate = origin.gate()
    fields = {"cache_control": FRESH, "cache_tag": "t"}
    origin.on("/a", in_parts(b"old ", gate, b"end", **fields), answer(b"new", **fields))
    reader = proxy.connect()
    reader.send(request("GET", "/a"))
    reader.head()
    for dry_run in (True, False):
        said = json.dumps({**order, "soft": is_soft, "dry_run": dry_run}).encode()
        receipt = proxy.ask("POST", "/.springhouse/purge", said, authorization="Bearer t")
        assert receipt.status == 200
        assert json.loads(receipt.body)["entries"] == 1, "who asks now would stream along"
    gate.open()
    assert reader.read(7) == b"old end"
    assert proxy.get("/a").body == b"new"


def test_a_change_during_a_revalidation_is_not_undone_by_it(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    gate = origin.gate()
    old = validated(b"old", '"v1"', cache_control=FRESH)
    origin.on("/a", old, gated(gate, old), answer(b"done"), answer(b"new", cache_control=FRESH))
    proxy.get("/a")
    clock.advance(61)
    reader = proxy.connect()
    reader.send(request("GET", "/a"))
    origin.await_requests(2)
    proxy.ask("PUT", "/a", b"change")
    gate.open()
    assert reader.answer().status == 200
    assert proxy.get("/a").body == b"new"


def test_a_change_during_a_background_refresh_is_not_undone_by_it(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    gate = origin.gate()
    fields = {"cache_control": "max-age=10, stale-while-revalidate=60"}
    origin.on(
        "/a", answer(b"1", **fields), gated(gate, answer(b"2", **fields)), answer(b"done"), answer(b"3", **fields)
    )
    proxy.get("/a")
    clock.advance(20)
    assert proxy.get("/a").x_cache == "STALE"
    origin.await_requests(2)
    proxy.ask("DELETE", "/a")
    gate.open()
    assert [proxy.get("/a").body for _ in range(2)] == [b"3", b"3"]


@pytest.mark.parametrize("is_in_time", [True, False])
def test_a_fill_that_began_after_the_change_may_be_stored(origin: Origin, proxy: Proxy, is_in_time: bool) -> None:
    """The change counts from when its answer is there, not from when it was asked for."""
    gate = origin.gate()

    async def slow_change(exchange: Exchange) -> None:
        await gate.passed()
        await answer(b"done")(exchange)

    origin.on("/a", slow_change, answer(b"x", cache_control=FRESH))
    writer = proxy.connect()
    writer.send(request("POST", "/a", b""))
    origin.await_requests(1)
    if is_in_time:
        gate.open()
        writer.answer()
    proxy.get("/a")
    if not is_in_time:
        gate.open()
        writer.answer()
    assert proxy.get("/a").x_cache == ("HIT" if is_in_time else "MISS")
