"""What the origin is told: about the client, about us, and what is kept from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, raw
from tests.support.proxy import Proxy, free_port

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.clock import Clock
    from tests.support.messages import Answer
    from tests.support.origin import Exchange, Origin

FRESH = "max-age=60"
CLAIMS = {
    "forwarded": "for=6.6.6.6",
    "x_forwarded_for": "6.6.6.6",
    "x_forwarded_proto": "https",
    "x_forwarded_host": "evil.test",
    "x_forwarded_port": "444",
    "x_forwarded_prefix": "/evil",
    "x_real_ip": "6.6.6.6",
    "true_client_ip": "6.6.6.6",
}


def test_the_origin_is_told_who_asks(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x"))
    proxy.get("/a")
    seen = origin.last
    assert seen["Forwarded"] == "for=127.0.0.1;proto=http"
    assert (seen["X-Forwarded-For"], seen["X-Forwarded-Proto"]) == ("127.0.0.1", "http")
    assert seen["Via"] == "1.1 springhouse"
    assert seen["CDN-Loop"].startswith("springhouse-")
    assert "X-Forwarded-Host" not in seen  # it is not in the key, so no shared answer may depend on it
    assert (seen["Host"], seen.method, seen.target) == (origin.authority, "GET", "/a")


def test_a_preserved_host_is_told(origin: Origin, serve: Serve) -> None:
    origin.on("/a", answer(b"x"))
    serve(preserve_host=True).get("/a", host="shop.test")
    assert origin.last["X-Forwarded-Host"] == "shop.test"
    assert origin.last["Forwarded"] == 'for=127.0.0.1;proto=http;host="shop.test"'


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_a_stranger_claims_is_replaced(origin: Origin, proxy: Proxy, method: str) -> None:
    origin.on("/a", answer(b"x"))
    proxy.ask(method, "/a", None if method == "GET" else b"", **CLAIMS)
    assert b"6.6.6.6" not in origin.last.head
    assert b"evil" not in origin.last.head
    assert b"444" not in origin.last.head.replace(origin.authority.encode(), b"")
    assert origin.last["X-Forwarded-Proto"] == "http"


def test_what_a_trusted_proxy_claims_is_added_to(origin: Origin, serve: Serve) -> None:
    origin.on("/a", answer(b"x"))
    serve(trusted_proxy=("127.0.0.0/8",)).get("/a", **CLAIMS)
    seen = origin.last
    assert ", ".join(seen.all("X-Forwarded-For")) == "6.6.6.6, 127.0.0.1"
    assert ", ".join(seen.all("Forwarded")) == "for=6.6.6.6, for=127.0.0.1;proto=http"
    assert (seen["X-Forwarded-Proto"], seen["X-Forwarded-Host"]) == ("https", "evil.test")


def test_trust_is_for_the_named_networks_only(origin: Origin, serve: Serve) -> None:
    origin.on("/a", answer(b"x"))
    serve(trusted_proxy=("10.0.0.0/8", "::1/128")).get("/a", **CLAIMS)
    assert b"6.6.6.6" not in origin.last.head


@pytest.mark.parametrize(
    "name",
    [
        "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Original-URI",
        "X-Rewrite-URL", "X-Host",
    ],
)  # fmt: skip
def test_nothing_makes_the_origin_answer_something_else_than_the_key_says(
    origin: Origin, proxy: Proxy, name: str
) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH))
    for spelling in (name, name.lower(), name.upper()):
        with proxy.connect() as client:
            client.send(
                b"GET /a HTTP/1.1\r\nHost: a\r\nCache-Control: no-cache\r\n%b: DELETE\r\n\r\n" % spelling.encode()
            )
            assert client.answer().status == 200
        assert name not in origin.last
    proxy.ask("POST", "/a", b"", **{name: "PUT"})
    assert origin.last[name] == "PUT"


def test_a_trusted_proxy_speaks_for_its_client_only(origin: Origin, serve: Serve) -> None:
    """What only looks like its word, or is for nobody to say, goes nowhere all the same."""
    origin.on("/a", answer(b"x"))
    proxy = serve(trusted_proxy=("127.0.0.0/8",))
    with proxy.connect() as client:
        for number, method in enumerate((b"GET", b"POST")):
            client.send(
                b"%b /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX-Forwarded-Host: told\r\n"
                b"X_Forwarded_Host: evil\r\nX.Real.IP: evil\r\nProxy: evil\r\nX-Middleware-Subrequest: evil\r\n"
                b"Content_Length: 99\r\nX-Original-Host: told%d\r\n\r\n" % (method, number)
            )
            client.answer()
            assert origin.last["X-Forwarded-Host"] == "told"
            assert origin.last["X-Original-Host"] == f"told{number}"
            assert b"evil" not in origin.last.head
            assert "Content_Length" not in origin.last


def test_a_post_about_another_target_leaves_nothing_for_this_one(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"of another", cache_control=FRESH, content_location="/a"), answer(b"own"))
    assert proxy.ask("POST", "/a", b"", x_original_url="/b").body == b"of another"
    assert proxy.get("/a").body == b"own"


def test_a_name_that_cgi_takes_for_one_in_vary_selects_like_it(origin: Origin, proxy: Proxy) -> None:
    async def cgi(exchange: Exchange) -> None:
        said = [v for n, v in exchange.request.fields if n.lower().replace(b"_", b"-") == b"x-theme"]
        await answer(b"theme " + b",".join(said), cache_control=FRESH, vary="X-Theme")(exchange)

    origin.on("/a", cgi)
    with proxy.connect() as client:
        for _ in range(2):
            for name, value in ((b"X_Theme", b"evil"), (b"X-Theme", b"dark"), (b"X-Other", b"x")):
                client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n%b: %b\r\n\r\n" % (name, value))
                assert client.answer().body == b"theme " + (b"" if name == b"X-Other" else value)
    assert origin.count("/a") == 3


def test_nothing_is_decided_by_what_a_stranger_claims(origin: Origin, serve: Serve) -> None:
    """Vary compares what the origin got: who is believed, and who is not, are not served one another's answers."""

    async def told(exchange: Exchange) -> None:
        value = exchange.request.get("X-Real-IP") or "nothing"
        await answer(value.encode(), cache_control=FRESH, vary="X-Real-IP")(exchange)

    origin.on("/a", told)
    proxy = serve()
    assert [proxy.get("/a", x_real_ip=ip).body for ip in ("6.6.6.6", "7.7.7.7")] == [b"nothing"] * 2
    assert proxy.get("/a").x_cache == "HIT"
    assert origin.count("/a") == 1
    believer = serve(trusted_proxy=("127.0.0.0/8",))
    assert [believer.get("/a", x_real_ip=ip).body for ip in ("6.6.6.6", "7.7.7.7")] == [b"6.6.6.6", b"7.7.7.7"]


def test_fields_that_connection_names_decide_nothing(origin: Origin, proxy: Proxy) -> None:
    """The origin does not get them, so its answer is the one for those who never sent them."""

    async def who(exchange: Exchange) -> None:
        seen = exchange.request
        body = f"{seen.get('Authorization')} {seen.get('Cookie')} {seen.get('X-Theme')}".encode()
        await answer(body, cache_control=FRESH, vary="Cookie, X-Theme")(exchange)

    origin.on("/a", who)
    names = {"authorization": "Basic YQ==", "cookie": "a=1", "x_theme": "dark"}
    hidden = {"connection": "close, Authorization, cookie, X-Theme", **names}
    assert proxy.get("/a", **hidden).body == b"None None None"
    assert proxy.get("/a").x_cache == "HIT"
    assert proxy.get("/a", **names).body == b"Basic YQ== a=1 dark"
    assert proxy.get("/a", **hidden).body == b"None None None"
    assert proxy.get("/a", cookie="a=1", x_theme="dark").x_cache == "MISS"


def test_connection_takes_no_trace_of_the_way_out(origin: Origin, serve: Serve) -> None:
    origin.on("/a", answer(b"x"))
    proxy = serve(trusted_proxy=("127.0.0.0/8",))
    claims = {"via": "1.0 outer", "cdn_loop": "other", "x_forwarded_for": "6.6.6.6", "forwarded": "for=6.6.6.6"}
    proxy.get("/a", connection="Via, CDN-Loop, X-Forwarded-For, Forwarded, Max-Forwards", **claims)
    seen = origin.last
    assert ", ".join(seen.all("Via")) == "1.0 outer, 1.1 springhouse"
    assert seen["CDN-Loop"].startswith("other, springhouse-")
    assert ", ".join(seen.all("X-Forwarded-For")) == "6.6.6.6, 127.0.0.1"
    assert ", ".join(seen.all("Forwarded")) == "for=6.6.6.6, for=127.0.0.1;proto=http"
    assert proxy.get("/a", connection="cdn-loop", cdn_loop=seen["CDN-Loop"]).status == 508


def test_connection_specific_fields_stay_here(origin: Origin, proxy: Proxy) -> None:
    fields = {"connection": "keep-alive, X-Hop", "keep_alive": "timeout=5", "te": "trailers", "proxy_connection": "x"}
    origin.on("/a", answer(b"x", cache_control=FRESH, x_hop="yes", **fields, trailer="X-T", x_own="kept"))
    first = proxy.get("/a", **fields, x_hop="yes", proxy_authorization="Basic YQ==", x_own="kept")
    for name in ("Connection", "Keep-Alive", "TE", "Proxy-Connection", "X-Hop", "Proxy-Authorization"):
        assert name not in origin.last
    for got in (first, proxy.get("/a")):
        for name in ("Connection", "Keep-Alive", "TE", "Proxy-Connection", "X-Hop", "Trailer"):
            assert name not in got
        assert got["X-Own"] == "kept"
    assert origin.last["X-Own"] == "kept"


def test_what_others_said_of_themselves_stays(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH, via="1.0 inner", cache_status="inner; hit", x_cache="HIT"))
    proxy.get("/a", via="1.0 outer", cdn_loop="other-cdn; a=b")
    assert ", ".join(origin.last.all("Via")) == "1.0 outer, 1.1 springhouse"
    assert origin.last["CDN-Loop"].startswith("other-cdn; a=b, springhouse-")
    hit = proxy.get("/a")
    assert ", ".join(hit.all("Via")) == "1.0 inner, 1.1 springhouse"
    assert ", ".join(hit.all("Cache-Status")).startswith("inner; hit, springhouse; hit")
    assert hit.all("X-Cache") == ["HIT"]


HTTP_1_0 = b'HTTP/1.0 200 OK\r\nCache-Control: max-age=60\r\nETag: "1"\r\nVia: 1.1 inner\r\n'


def vias(answer: Answer) -> str:
    return ", ".join(answer.all("Via"))


def test_via_tells_the_version_of_the_request(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control="no-store"))
    for version in ("1.0", "1.1", "1.2"):
        proxy.get("/a", version=version)
        assert origin.last["Via"] == f"{version} springhouse"


def test_via_tells_the_version_of_the_answer(origin: Origin, proxy: Proxy) -> None:
    """However much of it goes to the client, from the origin or from the cache."""
    origin.on("/a", raw(HTTP_1_0 + b"Content-Length: 5\r\n\r\nhello"))
    origin.on("/b", raw(HTTP_1_0.replace(b"max-age=60", b"no-store") + b"\r\nhello"))
    came = "1.1 inner, 1.0 springhouse"
    assert vias(proxy.get("/b")) == vias(proxy.ask("POST", "/b", b"")) == came
    assert [(got.x_cache, vias(got)) for got in (proxy.get("/a"), proxy.get("/a"))] == [("MISS", came), ("HIT", came)]
    assert vias(proxy.get("/a", cache_control="max-stale")) == came
    for asked in ({}, {"cache_control": "max-stale"}):
        part = proxy.get("/a", range="bytes=1-2", **asked)
        assert (part.status, part.body, vias(part)) == (206, b"el", came)
        same = proxy.get("/a", if_none_match='"1"', **asked)
        assert (same.status, vias(same)) == (304, "1.0 springhouse")
    beyond = proxy.get("/a", range="bytes=9-")
    assert (beyond.status, vias(beyond)) == (416, "1.0 springhouse")


def test_via_tells_the_version_of_what_came_last(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    whole = HTTP_1_0.replace(b"Via: 1.1 inner\r\n", b"") + b"Content-Length: 5\r\n\r\nhello"
    confirmed = answer(status=304, etag='"1"')
    origin.on("/a", raw(whole), confirmed, raw(b'HTTP/1.0 304 Not Modified\r\nETag: "1"\r\n\r\n'))
    for version in ("1.0", "1.1", "1.0"):
        assert [vias(proxy.get("/a")) for _ in range(2)] == [f"{version} springhouse"] * 2
        clock.advance(61)
    assert origin.count("/a") == 3


def test_white_space_before_a_colon_is_removed(origin: Origin, proxy: Proxy) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Odd : 1\r\nCache-Control\t: max-age=60\r\nContent-Length : 5\r\n\r\n"
    origin.on("/a", raw(head + b"hello", end="keep"))
    origin.on("/b", raw(*(head[at : at + 1] for at in range(len(head))), b"hello", end="keep"))
    for target in ("/a", "/b"):
        for x_cache in ("MISS", "HIT"):
            got = proxy.get(target)
            assert (got.x_cache, got["X-Odd"], got.body) == (x_cache, "1", b"hello")
    assert origin.connections == 1


def test_field_values_go_through_byte_for_byte(origin: Origin, proxy: Proxy) -> None:
    value = b'caf\xc3\xa9 \xff\xfe  "quoted, with comma"; x=1'
    origin.on("/a", answer(b"x", cache_control=FRESH, x_out=value))
    got = [proxy.get("/a", x_in=value) for _ in range(2)]
    assert origin.last["X-In"].encode("latin-1") == value
    assert [one["X-Out"].encode("latin-1") for one in got] == [value, value]


def test_fields_keep_their_order_and_number(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH, x_a=["1", "2"], x_b="3"))
    got = [proxy.get("/a", x_c=["4", "5"]) for _ in range(2)]
    assert origin.last.all("X-C") == ["4", "5"]
    assert [one.all("X-A") for one in got] == [["1", "2"]] * 2


def test_the_origins_base_path_stands_before_every_target(origin: Origin, serve: Serve) -> None:
    proxy = serve(origin.url + "/api/v1/")
    origin.on("/api/v1/a?b", answer(b"x", cache_control=FRESH))
    assert [proxy.get("/a?b").x_cache for _ in range(2)] == ["MISS", "HIT"]
    assert origin.last.target == "/api/v1/a?b"


@pytest.mark.parametrize(
    "target",
    [
        "/../admin", "/%2e%2e/admin", "/.%2E/admin", "/a/..%2f..%2fadmin", "/..%5cadmin", "/..\\admin", "/%252e%252e/x",
        "/..;/admin", "//..//admin", "/%c0%ae%c0%ae/admin", "/a/../..", "/a%2fb/%2e%2e/%2e%2e", "http://cache.test/../x",
        "http://cache.test/%2e%2e/x?y",
    ],
)  # fmt: skip
def test_no_target_leads_out_of_the_base_path(origin: Origin, serve: Serve, target: str) -> None:
    proxy = serve(origin.url + "/api/v1")
    for method in ("GET", "HEAD", "POST", "PURGE"):
        refused = proxy.ask(method, target)
        assert refused.status == 400
        if method != "HEAD":
            assert b"/api/v1" in refused.body
    assert not origin.requests


@pytest.mark.parametrize("target", ["/a/../b", "/a/%2e%2e/b", "/a%2fb", "/a/..%2fb", "/a?/../..", "/..a/b", "/100%"])
def test_what_stays_below_the_base_path_is_sent_as_it_is(origin: Origin, serve: Serve, target: str) -> None:
    proxy = serve(origin.url + "/api/v1")
    origin.on("/api/v1" + target, answer(b"x", cache_control=FRESH))
    assert [proxy.get(target).x_cache for _ in range(2)] == ["MISS", "HIT"]
    assert origin.last.target == "/api/v1" + target


def test_without_a_base_path_nothing_is_refused(origin: Origin, proxy: Proxy) -> None:
    for target in ("/../a", "/%2e%2e/a", "/..;/a"):
        origin.on(target, answer(b"x"))
        assert proxy.get(target).status == 200
        assert origin.last.target == target


def test_max_forwards_counts_down(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x"))
    proxy.ask("OPTIONS", "/a", max_forwards="3")
    assert origin.last["Max-Forwards"] == "2"


def test_a_proxy_that_is_its_own_origin_says_so() -> None:
    port = free_port()
    with Proxy(f"http://127.0.0.1:{port}", port=port) as proxy:
        for method in ("GET", "POST"):
            looped = proxy.ask(method, "/a")
            assert (looped.status, looped["Content-Type"]) == (508, "application/problem+json")
