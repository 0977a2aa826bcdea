"""Answers about one request are for nobody else; and what speaks of caching badly gets no lifetime of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, gated
from tests.support.messages import request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

FRESH = "public, max-age=600"
SPECIAL: list[tuple[int, dict[str, object]]] = [
    (416, {"range": "bytes=900-"}),
    (416, {"range": "bytes=900-", "if_range": '"x"'}),
    (206, {"range": "bytes=0-0"}),
    (226, {"a_im": "feed"}),
    (412, {"if_match": '"x"'}),
    (412, {"if_none_match": '"x"'}),
    (417, {"expect": "100-continue"}),
    (401, {"authorization": "Basic eA=="}),
    (401, {"cookie": "sid=old"}),
    (406, {"accept": "image/none"}),
    (415, {"accept_encoding": "x"}),
    (426, {"x_protocol": "2"}),
    (429, {}),
    (431, {"x_large": "x" * 6000}),
    (425, {"early_data": "1"}),
    (600, {}),
    (999, {}),
]


def answering(status: int, plain: bytes = b"page"):
    """Answer in this way what has the field `Special`, with a page what has not."""
    odd, page = answer(b"odd", status, cache_control=FRESH), answer(plain, cache_control=FRESH)

    async def handler(exchange: Exchange) -> None:
        await (odd if "Special" in exchange.request else page)(exchange)

    return handler


@pytest.mark.parametrize(("status", "fields"), SPECIAL, ids=str)
def test_a_special_answer_is_for_who_asked(
    origin: Origin, proxy: Proxy, status: int, fields: dict[str, object]
) -> None:
    check_special(origin, proxy, status, fields)


@pytest.mark.parametrize(("status", "fields"), [(416, {"range": "bytes=900-"}), (226, {"a_im": "feed"})])
def test_on_disk_too(origin: Origin, serve: Serve, tmp_path: Path, status: int, fields: dict[str, object]) -> None:
    check_special(origin, serve(store=f"disk:{tmp_path}"), status, fields)


def check_special(origin: Origin, proxy: Proxy, status: int, fields: dict[str, object]) -> None:
    origin.on("/a", answering(status))
    for _ in range(2):
        got = proxy.get("/a", special="1", **fields)
        assert (got.status, "stored" in got["Cache-Status"]) == (status, False)
    plain = proxy.get("/a")
    assert (plain.status, plain.body, plain.x_cache) == (200, b"page", "MISS")
    assert proxy.get("/a").x_cache == "HIT"


@pytest.mark.parametrize(("status", "fields"), [(226, {"a_im": "feed"}), (431, {}), (401, {"cookie": "a=1"})])
def test_nor_do_those_get_it_who_waited_for_it(
    origin: Origin, proxy: Proxy, status: int, fields: dict[str, object]
) -> None:
    gate = origin.gate()
    origin.on("/a", gated(gate, answering(status)), answering(status))
    leader = proxy.connect()
    leader.send(request("GET", "/a", special="1", **fields))
    origin.await_requests(1)
    others = [proxy.connect() for _ in range(3)]
    for client in others:
        client.send(request("GET", "/a"))
    proxy.await_heard()
    gate.open()
    assert leader.answer().status == status
    assert [(got.status, got.body) for got in (client.answer() for client in others)] == [(200, b"page")] * 3
    assert proxy.get("/a").x_cache == "HIT"


BADLY: list[dict[str, object]] = [
    {"cache_control": "private;max-age=0"},
    {"cache_control": "no-store;"},
    {"cache_control": '"no-store"'},
    {"cache_control": "private max-age=0"},
    {"cache_control": 'x="no-store'},
    {"cache_control": "NO-CACHE;"},
    {"cache_control": ["max-age=60", "no-store;"]},
    {"cache_control": ["max-age=60, no-store.", "public"]},
    {"cache_control": "public; max-age=60"},
    {"cache_control": "max-age 60"},
    {"pragma": "no-cache"},
    {"pragma": "No-Cache, x"},
    {"expires": "0"},
    {"expires": "soon"},
    {"cdn_cache_control": "no-store;;"},
    {"cdn_cache_control": 'max-age="60"'},
]


@pytest.mark.parametrize("fields", BADLY, ids=str)
def test_what_says_something_badly_gets_no_ttl_of_ours(origin: Origin, serve: Serve, fields: dict[str, object]) -> None:
    proxy = serve(ttl=60)
    origin.on("/a", answer(b"personal", **fields))
    for _ in range(3):
        got = proxy.get("/a")
        assert (got.x_cache, "stored" in got["Cache-Status"]) == ("MISS", False)


@pytest.mark.parametrize("fields", [{}, {"cache_control": ""}, {"pragma": "public"}, {"cache_control": "x-any=1"}])
def test_what_says_nothing_does(origin: Origin, serve: Serve, fields: dict[str, object]) -> None:
    proxy = serve(ttl=60)
    origin.on("/a", answer(b"page", **fields))
    assert [proxy.get("/a").x_cache for _ in range(2)] == ["MISS", "HIT"]


def test_the_rest_is_stored_where_no_cache_names_the_cookie(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"page", cache_control='max-age=60, no-cache="Set-Cookie"', set_cookie="a=1"))
    first, second = proxy.get("/a"), proxy.get("/a")
    assert (first.x_cache, first.get("Set-Cookie")) == ("MISS", "a=1")
    assert (second.x_cache, second.get("Set-Cookie")) == ("HIT", None)


REASONS: list[tuple[str, dict[str, object], str]] = [
    ("/page", {"cookie": "a=1"}, "springhouse; fwd=uri-miss; detail=credentials"),
    ("/page", {}, "springhouse; fwd=uri-miss; stored; ttl=60"),
    ("/missing", {}, "springhouse; fwd=uri-miss; detail=status-without-ttl"),
    ("/check", {}, "springhouse; fwd=uri-miss; detail=not-reusable"),
    ("/badly", {}, "springhouse; fwd=uri-miss; detail=malformed"),
    ("/part", {}, "springhouse; fwd=uri-miss; detail=one-request"),
]


@pytest.mark.parametrize(("target", "fields", "said"), REASONS, ids=str)
def test_reasons_say_what_was_in_the_way(
    origin: Origin, serve: Serve, target: str, fields: dict[str, object], said: str
) -> None:
    proxy = serve(ttl=60)
    origin.on("/page", answer(b"x"))
    origin.on("/missing", answer(b"x", 404))
    origin.on("/check", answer(b"x", cache_control="no-cache"))
    origin.on("/badly", answer(b"x", cache_control="no-store;"))
    origin.on("/part", answer(b"x", 416, cache_control=FRESH))
    assert proxy.get(target, **fields)["Cache-Status"] == said
    assert "not-reusable" not in serve(ttl=0).get("/page")["Cache-Status"]
