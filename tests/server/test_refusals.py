"""Requests beyond our limits: refused in words, and the connection closed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer
from tests.support.messages import Answer, request

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.origin import Origin
    from tests.support.proxy import Proxy


def refused(proxy: Proxy, raw: bytes) -> Answer:
    """Send bytes, and return the one answer that comes before the end."""
    with proxy.connect() as client:
        client.send(raw)
        got = client.answer()
        assert client.is_ended()
    return got


def test_a_refusal_says_why(origin: Origin, proxy: Proxy) -> None:
    got = refused(proxy, b"GET /a HTTP/1.1\r\n\r\n")
    assert (got.status, got.phrase, got["Content-Type"]) == (400, "Bad Request", "application/problem+json")
    assert (got["Connection"], got["Cache-Control"]) == ("close", "no-store")
    assert got["Proxy-Status"] == 'springhouse; details="The request has no Host field"'
    problem = json.loads(got.body)
    assert (problem["status"], problem["title"], problem["detail"]) == (
        400, "Bad Request", "The request has no Host field",
    )  # fmt: skip
    assert not origin.requests


def test_a_refused_head_gets_no_content(proxy: Proxy) -> None:
    with proxy.connect() as client:
        got = client.ask("HEAD", "/a", cache_control="only-if-cached")
        assert (got.status, got.body) == (504, b"")
        assert int(got["Content-Length"]) > 0
        assert client.ask("HEAD", "/a", cache_control="only-if-cached").status == 504


def test_targets_have_a_length(origin: Origin, serve: Serve) -> None:
    proxy = serve(max_target=100)
    origin.otherwise = answer(b"x", cache_control="max-age=60")
    longest = "/" + "a" * 99
    assert proxy.get(longest).status == 200
    for _ in range(2):
        assert refused(proxy, request("GET", longest + "a")).status == 414
    assert proxy.get(longest).x_cache == "HIT"


def test_an_endless_target_is_refused_before_it_ends(serve: Serve) -> None:
    proxy = serve(max_target=100)
    assert refused(proxy, b"GET /" + b"a" * 101).status == 414


def test_header_sections_have_a_size(origin: Origin, serve: Serve) -> None:
    proxy = serve(max_header=1000)
    origin.otherwise = answer(b"x", cache_control="max-age=60")
    assert proxy.get("/a", x_large="a" * 800).status == 200
    for _ in range(2):
        assert refused(proxy, request("GET", "/a", x_large="a" * 1100)).status == 431
    assert refused(proxy, request("GET", "/a", **{f"x_{n}": "a" * 90 for n in range(11)})).status == 431


def test_an_endless_header_section_is_refused_before_it_ends(serve: Serve) -> None:
    proxy = serve(max_header=1000, max_target=100)
    assert refused(proxy, b"GET /a HTTP/1.1\r\nHost: a\r\n" + b"X-A: bbbbbbbbbb\r\n" * 100).status == 431
    assert refused(proxy, b"GET /a HTTP/1.1\r\nHost: a\r\nX-A: " + b"b" * 1500).status == 431
    assert refused(proxy, b"GET /a HTTP/1.1\r\nHost: a\r\n" + b"X" * 1500).status == 431


def test_header_sections_have_a_number_of_fields(origin: Origin, serve: Serve) -> None:
    proxy = serve(max_fields=10)
    origin.otherwise = answer(b"x", cache_control="max-age=60")
    assert proxy.get("/a", **{f"x_{n}": "a" for n in range(9)}).status == 200
    for _ in range(2):
        assert refused(proxy, request("GET", "/a", **{f"x_{n}": "a" for n in range(11)})).status == 431


def test_limits_count_anew_for_each_request(origin: Origin, serve: Serve) -> None:
    proxy = serve(max_header=1000, max_fields=10, max_target=100, max_body=100)
    origin.otherwise = answer(b"x")
    message = request("POST", "/" + "a" * 90, b"b" * 90, **{f"x_{n}": "a" * 50 for n in range(7)})
    with proxy.connect() as client:
        for _ in range(5):
            client.send(message * 4)
            assert [client.answer("POST").status for _ in range(4)] == [200] * 4


def test_a_large_pipeline_of_small_requests_is_no_large_request(origin: Origin, serve: Serve) -> None:
    proxy = serve(max_header=1000)
    origin.otherwise = answer(b"x", cache_control="max-age=60")
    with proxy.connect() as client:
        client.send(request("GET", "/a") * 60)
        assert [client.answer().status for _ in range(60)] == [200] * 60


def test_a_large_head_in_small_pieces_counts_as_one(origin: Origin, serve: Serve) -> None:
    proxy = serve(max_header=1000)
    message = request("GET", "/a", **{f"x_{n}": "a" * 90 for n in range(12)})
    with proxy.connect() as client:
        for at in range(0, len(message), 40):
            client.send(message[at : at + 40])
        assert client.answer().status == 431
    assert not origin.requests


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_content_has_a_size(origin: Origin, serve: Serve, method: str) -> None:
    proxy = serve(max_body=10)
    assert refused(proxy, request(method, "/a", content_length=11)).status == 413
    assert not origin.requests


def test_a_refusal_waits_for_its_turn(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()

    async def slow(exchange) -> None:
        await gate.passed()
        await answer(b"slow")(exchange)

    origin.on("/a", slow)
    with proxy.connect() as client:
        client.send(request("GET", "/a") * 3 + b"nonsense\r\n\r\n")
        assert client.is_silent()
        gate.open()
        assert [client.answer().status for _ in range(3)] == [200, 200, 200]
        assert client.answer().status == 501
        assert client.is_ended()


def test_an_unknown_method_is_named(origin: Origin, proxy: Proxy) -> None:
    got = refused(proxy, b"FOO /a HTTP/1.1\r\nHost: a\r\n\r\n")
    assert got.status == 501
    assert json.loads(got.body)["detail"] == "The method FOO is not one this proxy knows"
    assert not origin.requests
