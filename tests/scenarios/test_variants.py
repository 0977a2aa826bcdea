"""One URL, several representations: Vary, cookies, credentials and hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.clock import Clock
    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

FRESH = "max-age=60"


def saying(name: str, **fields: object):
    """Answer with the request's value of a field."""

    async def handler(exchange: Exchange) -> None:
        await answer((exchange.request.get(name) or "nothing").encode(), **fields)(exchange)

    return handler


# Vary.


def test_every_variant_is_stored_and_served(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", saying("Accept-Language", cache_control=FRESH, vary="Accept-Language"))
    for expected in ("MISS", "HIT"):
        for language in ("de", "en", None):
            fields = {"accept_language": language} if language else {}
            got = proxy.get("/a", **fields)
            assert (got.x_cache, got.body.decode()) == (expected, language or "nothing")
    assert origin.count("/a") == 3


def test_values_that_mean_the_same_share_a_variant(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH, vary="Accept-Encoding, X-List"))
    proxy.get("/a", accept_encoding="gzip, br", x_list="1, 2")
    assert proxy.get("/a", accept_encoding="br,GZIP", x_list="1,2").x_cache == "HIT"
    assert proxy.get("/a", accept_encoding=["gzip", "br"], x_list=["1", "2"]).x_cache == "HIT"
    assert proxy.get("/a", accept_encoding="gzip, br", x_list="2, 1").x_cache == "MISS"


def test_vary_star_is_never_a_hit(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH, vary="Accept, *"))
    assert [proxy.get("/a").x_cache for _ in range(3)] == ["MISS"] * 3


def test_values_that_differ_by_white_space_alone_have_variants_of_their_own(origin: Origin, proxy: Proxy) -> None:
    """Where a comma separates nothing, the space behind it is part of the value."""
    origin.on("/a", answer(b"x", cache_control=FRESH, vary="Cookie"), answer(b"y", cache_control=FRESH, vary="Cookie"))
    assert proxy.get("/a", cookie="a=1,2").body == b"x"
    assert proxy.get("/a", cookie="a=1, 2").body == b"y"
    for _ in range(2):
        assert [proxy.get("/a", cookie=said).body for said in ("a=1,2", "a=1, 2")] == [b"x", b"y"]
    assert origin.count("/a") == 2


@pytest.mark.parametrize("vary", ['"Cookie"', "Cookie Accept", "Accept, (Cookie)", ["Accept", "x/y"]])
def test_a_vary_that_cannot_be_parsed_is_a_star(origin: Origin, proxy: Proxy, vary: object) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH, vary=vary))
    for _ in range(2):
        got = proxy.get("/a")
        assert (got.x_cache, "detail=vary-star" in got["Cache-Status"]) == ("MISS", True)


@pytest.mark.parametrize(
    ("vary", "said"), [("Origin", "http://one.test"), ("Cookie", "sid=1"), ("Accept-Encoding", "gzip"), ("X-Any", "1")]
)
@pytest.mark.parametrize("connection", ["keep-alive, {}", "{}"])
def test_a_client_that_keeps_a_field_to_itself_changes_nothing_for_others(
    origin: Origin, proxy: Proxy, vary: str, said: str, connection: str
) -> None:
    """Connection lists fields that go no further (RFC 9110 §7.6.1): the origin answers as if they were not there."""

    async def handler(exchange: Exchange) -> None:
        value = exchange.request.get(vary)
        cors = {"access_control_allow_origin": value} if vary == "Origin" and value else {}
        await answer((value or "nothing").encode(), cache_control=FRESH, vary=vary, **cors)(exchange)

    origin.on("/a", handler)
    mine = {vary.lower(): said}
    assert [proxy.get("/a", **each).x_cache for each in ({}, mine)] == ["MISS", "MISS"]
    for _ in range(3):
        for _ in range(2):  # the first finds no hit guard
            withheld = proxy.get("/a", connection=connection.format(vary.lower()), **mine)
            assert (withheld.x_cache, withheld.body) == ("HIT", b"nothing")
        got = proxy.get("/a", **mine)
        assert (got.x_cache, got.body.decode()) == ("HIT", said)
        assert got.get("Access-Control-Allow-Origin") == (said if vary == "Origin" else None)
        assert proxy.get("/a").body == b"nothing"
    assert origin.count("/a") == 2


def test_only_so_many_variants_are_kept(origin: Origin, serve: Serve) -> None:
    proxy = serve(max_variants=2)
    origin.on("/a", answer(b"x", cache_control=FRESH, vary="X-Who"))
    for who in "abc":
        proxy.get("/a", x_who=who)
    assert [proxy.get("/a", x_who=who).x_cache for who in "cba"] == ["HIT", "HIT", "MISS"]


# Set-Cookie.


def test_a_cookie_for_one_client_is_not_stored(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH, set_cookie=["id=1", "b=2"]))
    for _ in range(2):
        got = proxy.get("/a")
        assert (got.x_cache, got.all("Set-Cookie")) == ("MISS", ["id=1", "b=2"])
        assert "detail=set-cookie" in got["Cache-Status"]


def test_a_cookie_may_be_stripped(origin: Origin, serve: Serve) -> None:
    proxy = serve(set_cookie="strip")
    origin.on("/a", answer(b"x", cache_control=FRESH, set_cookie="id=1"))
    assert proxy.get("/a").all("Set-Cookie") == ["id=1"]
    hit = proxy.get("/a")
    assert (hit.x_cache, hit.all("Set-Cookie")) == ("HIT", [])


def test_a_cookie_may_be_stored(origin: Origin, serve: Serve) -> None:
    proxy = serve(set_cookie="store")
    origin.on("/a", answer(b"x", cache_control=FRESH, set_cookie="id=1"))
    proxy.get("/a")
    hit = proxy.get("/a")
    assert (hit.x_cache, hit.all("Set-Cookie")) == ("HIT", ["id=1"])


# Credentials.


def test_an_authorized_answer_is_for_one_client(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", saying("Authorization", cache_control=FRESH))
    for who in ("Basic YQ==", "Basic Yg==", "Basic YQ=="):
        got = proxy.get("/a", authorization=who)
        assert (got.x_cache, got.body.decode()) == ("MISS", who)
    assert proxy.get("/a").body == b"nothing"
    assert proxy.get("/a", authorization="Basic YQ==").body == b"Basic YQ=="


@pytest.mark.parametrize("directives", ["public, max-age=60", "s-maxage=60", "max-age=60, must-revalidate"])
def test_an_authorized_answer_is_shared_when_the_origin_says_so(origin: Origin, proxy: Proxy, directives: str) -> None:
    origin.on("/a", answer(b"x", cache_control=directives))
    proxy.get("/a", authorization="Basic YQ==")
    assert proxy.get("/a", authorization="Basic Yg==").x_cache == "HIT"
    assert proxy.get("/a").x_cache == "HIT"


@pytest.mark.parametrize("credential", ["authorization", "cookie"])
def test_a_ttl_of_ours_never_reaches_credentials(origin: Origin, serve: Serve, credential: str) -> None:
    proxy = serve(ttl=60)
    origin.on("/a", saying(credential))
    mine = {credential: "mine"}
    assert [proxy.get("/a", **mine).x_cache for _ in range(2)] == ["MISS", "MISS"]
    assert proxy.get("/a").body == b"nothing"
    assert proxy.get("/a").x_cache == "HIT"
    again = proxy.get("/a", **mine)
    assert (again.x_cache, again.body) == ("MISS", b"mine")


def test_a_ttl_of_ours_reaches_credentials_when_told_to(origin: Origin, serve: Serve) -> None:
    proxy = serve(ttl=60, ttl_despite_credentials=True)
    origin.on("/a", answer(b"x"))
    proxy.get("/a", cookie="mine")
    assert proxy.get("/a", cookie="yours").x_cache == "HIT"


# --force-ttl.


@pytest.mark.parametrize("directives", ["no-cache", "max-age=0", "max-age=1, must-revalidate", "max-age=3600"])
def test_a_forced_ttl_wins(origin: Origin, serve: Serve, clock: Clock, directives: str) -> None:
    proxy = serve(ttl=10, force_ttl=True)
    origin.on("/a", answer(b"x", cache_control=directives))
    proxy.get("/a")
    clock.advance(9)
    assert proxy.get("/a").x_cache == "HIT"
    clock.advance(1)
    assert proxy.get("/a").x_cache == "MISS"


@pytest.mark.parametrize("fields", [{"cache_control": "private"}, {"cache_control": "no-store"}, {"set_cookie": "a=b"}])
def test_a_forced_ttl_does_not_reach_what_is_personal(origin: Origin, serve: Serve, fields: dict[str, str]) -> None:
    careful, reckless = serve(force_ttl=True), serve(force_ttl=True, ttl_despite_no_store=True, set_cookie="store")
    origin.on("/a", answer(b"x", **fields))
    assert [careful.get("/a").x_cache for _ in range(2)] == ["MISS", "MISS"]
    assert [reckless.get("/a").x_cache for _ in range(2)] == ["MISS", "HIT"]


def test_a_forced_ttl_is_for_200_only(origin: Origin, serve: Serve) -> None:
    proxy = serve(force_ttl=True)
    origin.on("/a", answer(b"x", 404, cache_control="no-cache"))
    assert [proxy.get("/a").x_cache for _ in range(2)] == ["MISS", "MISS"]


# Hosts.


def test_the_clients_host_does_not_matter(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", saying("Host", cache_control=FRESH))
    assert proxy.get("/a", host="one.test").body.decode() == origin.authority
    assert proxy.get("/a", host="two.test").x_cache == "HIT"


def test_a_preserved_host_is_part_of_the_key(origin: Origin, serve: Serve) -> None:
    proxy = serve(preserve_host=True)
    origin.on("/a", saying("Host", cache_control=FRESH))
    for expected in ("MISS", "HIT"):
        for host in ("one.test", "two.test", "two.test:81"):
            got = proxy.get("/a", host=host)
            assert (got.x_cache, got.body.decode()) == (expected, host)
    assert proxy.get("/a", host="ONE.test").x_cache == "HIT"


def test_a_preserved_host_of_an_absolute_target_is_the_targets(origin: Origin, serve: Serve) -> None:
    proxy = serve(preserve_host=True)
    origin.on("/a", saying("Host", cache_control=FRESH))
    got = proxy.get(f"http://{proxy.authority}/a", host="other.test")
    assert got.body.decode() == proxy.authority
