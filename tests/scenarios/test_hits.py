"""What is stored is served: MISS, then HIT, and what happens when it gets old."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, raw, validated

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.clock import Clock
    from tests.support.origin import Origin
    from tests.support.proxy import Proxy

FRESH = "max-age=60"


def test_the_second_request_is_a_hit_with_the_same_bytes(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    origin.on("/a", answer(b"spring water", cache_control=FRESH, content_type="text/plain", x_own="kept"))
    first = proxy.get("/a")
    clock.advance(7)
    second = proxy.get("/a")
    assert (first.x_cache, second.x_cache) == ("MISS", "HIT")
    assert first.body == second.body == b"spring water"
    assert (second.age, second["Content-Type"], second["X-Own"]) == (7, "text/plain", "kept")
    assert "Age" not in first
    assert origin.count("/a") == 1


def test_cache_status_says_why(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH))
    assert proxy.get("/a")["Cache-Status"] == "springhouse; fwd=uri-miss; stored; ttl=60"
    clock.advance(20)
    assert proxy.get("/a")["Cache-Status"] == "springhouse; hit; ttl=40"


def test_without_a_word_from_the_origin_the_ttl_of_the_settings_counts(
    origin: Origin, serve: Serve, clock: Clock
) -> None:
    proxy = serve(ttl=10)
    origin.on("/a", answer(b"x"))
    proxy.get("/a")
    clock.advance(9)
    assert proxy.get("/a").x_cache == "HIT"
    clock.advance(1)
    assert proxy.get("/a").x_cache == "MISS"
    assert origin.count("/a") == 2


def test_what_the_origin_says_wins_over_the_ttl(origin: Origin, serve: Serve, clock: Clock) -> None:
    proxy = serve(ttl=10)
    origin.on("/a", answer(b"x", cache_control="max-age=100"))
    proxy.get("/a")
    clock.advance(99)
    assert proxy.get("/a").x_cache == "HIT"


def test_ttl_zero_is_the_bare_standard(origin: Origin, serve: Serve, clock: Clock) -> None:
    proxy = serve(ttl=0)
    origin.on("/a", answer(b"x"))
    assert [proxy.get("/a").x_cache for _ in range(2)] == ["MISS", "MISS"]


def test_what_has_expired_is_fetched_again(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    origin.on("/a", answer(b"old", cache_control=FRESH), answer(b"new", cache_control=FRESH))
    proxy.get("/a")
    clock.advance(60)
    again = proxy.get("/a")
    assert (again.x_cache, again.body) == ("MISS", b"new")
    assert proxy.get("/a").body == b"new"


def test_what_has_expired_is_revalidated_when_it_can_be(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    origin.on("/a", validated(b"x", '"v1"', cache_control=FRESH))
    proxy.get("/a")
    clock.advance(61)
    again = proxy.get("/a")
    assert (again.status, again.x_cache, again.body) == (200, "REVALIDATED", b"x")
    assert origin.last["If-None-Match"] == '"v1"'
    clock.advance(59)
    hit = proxy.get("/a")
    assert (hit.x_cache, hit.age) == ("HIT", 59)
    assert origin.count("/a") == 2


def test_stale_while_revalidate_answers_at_once_and_refreshes_behind(
    origin: Origin, proxy: Proxy, clock: Clock
) -> None:
    fields = {"cache_control": "max-age=10, stale-while-revalidate=30"}
    origin.on("/a", answer(b"old", **fields), answer(b"new", **fields))
    proxy.get("/a")
    clock.advance(15)
    stale = proxy.get("/a")
    assert (stale.x_cache, stale.body, stale.age) == ("STALE", b"old", 15)
    origin.await_requests(2)
    fresh = proxy.get("/a")
    while fresh.x_cache == "STALE":  # the refreshed entry is stored a moment after the origin was asked
        fresh = proxy.get("/a")
    assert (fresh.x_cache, fresh.body) == ("HIT", b"new")
    assert origin.count("/a") == 2


def test_stale_if_error_stands_in_for_an_origin_that_fails(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    origin.on(
        "/a", answer(b"good", cache_control="max-age=10, stale-if-error=30"), answer(b"no", 503), raw(end="close")
    )
    proxy.get("/a")
    clock.advance(15)
    for _ in range(2):
        stale = proxy.get("/a")
        assert (stale.status, stale.x_cache, stale.body) == (200, "STALE", b"good")
    clock.advance(30)
    assert proxy.get("/a").status == 502


def test_get_answers_head_from_the_cache(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"spring water", cache_control=FRESH, etag='"v1"'))
    proxy.get("/a")
    head = proxy.ask("HEAD", "/a")
    assert (head.x_cache, head["Content-Length"], head["ETag"], head.body) == ("HIT", "12", '"v1"', b"")
    assert origin.count("/a") == 1


def test_head_alone_is_not_stored(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"spring water", cache_control=FRESH))
    head = proxy.ask("HEAD", "/a")
    assert (head.status, head["Content-Length"], head.body) == (200, "12", b"")
    assert proxy.get("/a").x_cache == "MISS"
    assert [seen.method for seen in origin.requests] == ["HEAD", "GET"]


@pytest.mark.parametrize("directive", ["no-cache", "max-age=0"])
def test_a_client_may_insist_on_a_fresh_answer(origin: Origin, proxy: Proxy, directive: str) -> None:
    origin.on("/a", validated(b"x", '"v1"', cache_control=FRESH))
    proxy.get("/a")
    assert proxy.get("/a", cache_control=directive).x_cache == "REVALIDATED"
    assert origin.count("/a") == 2


def test_pragma_no_cache_counts_where_there_is_no_cache_control(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH))
    proxy.get("/a")
    assert proxy.get("/a", pragma="no-cache").x_cache == "MISS"
    assert proxy.get("/a", pragma="no-cache", cache_control="max-age=30").x_cache == "HIT"


def test_only_if_cached_never_asks_the_origin(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH))
    refused = proxy.get("/a", cache_control="only-if-cached")
    assert (refused.status, refused["Content-Type"]) == (504, "application/problem+json")
    assert not origin.requests
    proxy.get("/a")
    assert proxy.get("/a", cache_control="only-if-cached").x_cache == "HIT"


@pytest.mark.parametrize("directive", ["no-store", "private", "no-store, max-age=60"])
def test_what_forbids_storing_is_never_stored(origin: Origin, proxy: Proxy, directive: str) -> None:
    origin.on("/a", answer(b"x", cache_control=directive))
    assert [proxy.get("/a").x_cache for _ in range(3)] == ["MISS"] * 3
    assert origin.count("/a") == 3


def test_a_request_with_no_store_leaves_nothing_behind(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH))
    assert proxy.get("/a", cache_control="no-store").x_cache == "MISS"
    assert proxy.get("/a").x_cache == "MISS"
    assert proxy.get("/a").x_cache == "HIT"


def test_the_origins_age_counts(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH, age="50"))
    proxy.get("/a")
    clock.advance(9)
    assert proxy.get("/a").age == 59
    clock.advance(1)
    assert proxy.get("/a").x_cache == "MISS"


@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 308, 404, 410])
def test_every_cacheable_status_comes_back_as_it_was(origin: Origin, proxy: Proxy, status: int) -> None:
    body = b"" if status == 204 else b"why"
    origin.on("/a", answer(body, status, cache_control=FRESH, location="/b"))
    proxy.get("/a")
    hit = proxy.get("/a")
    assert (hit.x_cache, hit.status, hit.body, hit["Location"]) == ("HIT", status, body, "/b")


def test_targets_differ_in_every_byte(origin: Origin, proxy: Proxy) -> None:
    targets = ["/a", "/A", "/a?", "/a?x", "/a?x=1", "/a?x=2", "/%61", "/a/", "//a", "/./a", "/a;b", "/a%2Fb", "/a%2fb"]
    origin.otherwise = answer(b"x", cache_control=FRESH)
    assert [proxy.get(target).x_cache for target in targets] == ["MISS"] * len(targets)
    assert [proxy.get(target).x_cache for target in targets] == ["HIT"] * len(targets)
    assert [seen.target for seen in origin.requests] == targets
