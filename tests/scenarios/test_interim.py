"""Interim responses: passed on to whom they concern, and never mistaken for the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, gated, head, raw, whole
from tests.support.messages import request

if TYPE_CHECKING:
    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

HINTS = head(103, "Early Hints", link="</style.css>; rel=preload", connection="X-Hop", x_hop="1")
FRESH = "max-age=60"


@pytest.mark.parametrize("cache_control", [FRESH, "no-store"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_early_hints_come_before_the_answer(origin: Origin, proxy: Proxy, method: str, cache_control: str) -> None:
    gate = origin.gate()

    async def hinting(exchange: Exchange) -> None:
        await exchange.send(head(102, "Processing") + HINTS)
        await gated(gate, answer(b"x", cache_control=cache_control))(exchange)

    origin.on("/a", hinting)
    with proxy.connect() as client:
        client.send(request(method, "/a"))
        assert client.head().status == 102
        hint = client.head()
        assert (hint.status, hint.phrase, hint["Link"]) == (103, "Early Hints", "</style.css>; rel=preload")
        assert "X-Hop" not in hint
        gate.open()
        assert client.answer(method).body == b"x"


def test_early_hints_are_not_stored(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", raw(HINTS, whole(b"x", cache_control=FRESH), end="keep"))
    assert [len(proxy.get("/a").interims) for _ in range(2)] == [1, 0]


def test_http_1_0_knows_no_interim_responses(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", raw(HINTS, whole(b"x", cache_control=FRESH), end="keep"))
    got = proxy.get("/a", version="1.0")
    assert (got.interims, got.body) == ([], b"x")


def test_any_number_of_them(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", raw(HINTS * 50, whole(b"x"), end="keep"))
    assert len(proxy.get("/a").interims) == 50


def test_an_interim_response_that_never_ends_is_no_answer(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", raw(HINTS, b"HTTP/1.1 103 Early Hints\r\nLink: "))
    with proxy.connect() as client:
        got = client.get("/a")
        assert (got.status, len(got.interims)) == (502, 1)


def test_pipelined_requests_keep_their_interim_responses_apart(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("/a", gated(gate, answer(b"a", cache_control="no-store")))
    origin.on("/b", raw(HINTS, whole(b"b", cache_control="no-store"), end="keep"))
    with proxy.connect() as client:
        client.send(request("GET", "/a") + request("GET", "/b"))
        gate.open()
        first, second = client.answer(), client.answer()
        assert (first.interims, first.body) == ([], b"a")
        assert (len(second.interims), second.body) == (1, b"b")
