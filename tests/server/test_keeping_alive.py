"""Several requests on one connection: kept alive, pipelined, half closed, and answered in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, echo, gated
from tests.support.messages import chunked, request

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

FRESH = "max-age=60"


async def named(exchange: Exchange) -> None:
    """Answer with the target; what has `stored` in it may be."""
    target = exchange.request.target
    await answer(target.encode(), cache_control=FRESH if "stored" in target else "no-store")(exchange)


@pytest.fixture
def proxy(serve: Serve) -> Proxy:
    """Start a proxy that lets clients that have said all wait for as long as the origin takes."""
    return serve(half_close_timeout=0)


@pytest.fixture(autouse=True)
def _named(origin: Origin) -> None:
    origin.otherwise = named


def test_many_requests_on_one_connection(origin: Origin, proxy: Proxy) -> None:
    with proxy.connect() as client:
        for number in range(50):
            target = f"/{'stored' if number % 2 else 'passed'}/{number % 5}"
            assert client.get(target).body.decode() == target
    assert origin.connections == 1


def test_pipelined_requests_are_answered_in_order(proxy: Proxy) -> None:
    for target in ("/stored/1", "/stored/1", "/stored/2"):
        proxy.get(target)
    targets = ["/passed/1", "/stored/1", "/stored/1", "/passed/2", "/stored/2", "/stored/3", "/stored/3", "/passed/3"]
    with proxy.connect() as client:
        client.send(b"".join(request("GET", target) for target in targets))
        got = [client.answer() for _ in targets]
    assert [one.body.decode() for one in got] == targets
    assert [one.x_cache for one in got] == ["MISS", "HIT", "HIT", "MISS", "HIT", "MISS", "HIT", "MISS"]


def test_a_hit_waits_for_a_miss_before_it(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("/slow", gated(gate, answer(b"slow")))
    for _ in range(2):
        proxy.get("/stored/1")
    with proxy.connect() as client:
        client.send(request("GET", "/slow") + request("GET", "/stored/1"))
        assert client.is_silent()
        gate.open()
        assert [client.answer().body for _ in range(2)] == [b"slow", b"/stored/1"]


def test_methods_and_content_in_one_pipeline(origin: Origin, proxy: Proxy) -> None:
    origin.on("/echo", echo)
    with proxy.connect() as client:
        client.send(
            request("POST", "/echo", b"one")
            + request("HEAD", "/stored/1")
            + request("PUT", "/echo", chunked(b"t", b"wo"), transfer_encoding="chunked")
            + request("GET", "/stored/1")
            + request("DELETE", "/echo")
        )
        got = [client.answer(method) for method in ("POST", "HEAD", "PUT", "GET", "DELETE")]
    assert [one.body for one in got] == [b"one", b"", b"two", b"/stored/1", b""]


def test_more_pipelined_requests_than_are_held(proxy: Proxy) -> None:
    count = 500
    with proxy.connect() as client:
        client.send(b"".join(request("GET", f"/passed/{number}") for number in range(count)))
        for number in range(count):
            assert client.answer().body == b"/passed/%d" % number


def test_requests_that_come_byte_by_byte(proxy: Proxy) -> None:
    message = request("GET", "/stored/1", accept="*/*") + b"\r\n" + request("GET", "/stored/1")
    with proxy.connect() as client:
        for at in range(len(message)):
            client.send(message[at : at + 1])
        assert [client.answer().x_cache for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.parametrize("target", ["/stored/1", "/passed/1"])
def test_connection_close_is_kept(proxy: Proxy, target: str) -> None:
    for _ in range(3):
        with proxy.connect() as client:
            client.send(request("GET", target, connection="close") + request("GET", target))
            got = client.answer()
            assert (got.body.decode(), got["Connection"]) == (target, "close")
            assert client.is_ended()


@pytest.mark.parametrize("target", ["/stored/1", "/passed/1"])
def test_http_1_0_closes(proxy: Proxy, target: str) -> None:
    for _ in range(3):
        with proxy.connect() as client:
            got = client.get(target, version="1.0")
            assert (got.body.decode(), got["Connection"]) == (target, "close")
            assert client.is_ended()


@pytest.mark.parametrize("target", ["/stored/1", "/passed/1"])
def test_http_1_0_is_kept_alive_when_it_asks(proxy: Proxy, target: str) -> None:
    with proxy.connect() as client:
        for _ in range(3):
            got = client.get(target, version="1.0", connection="keep-alive")
            assert (got.body.decode(), got["Connection"]) == (target, "keep-alive")


def test_http_1_0_without_host(proxy: Proxy) -> None:
    assert proxy.get("/passed/1", version="1.0", host=None).body == b"/passed/1"


def test_answers_to_http_1_0_say_http_1_1_and_serve_both(proxy: Proxy) -> None:
    proxy.get("/stored/1", version="1.0")
    assert proxy.get("/stored/1").x_cache == "HIT"


def test_a_client_that_has_said_all_gets_all(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("/slow", gated(gate, answer(b"slow")))
    with proxy.connect() as client:
        client.send(b"".join(request("GET", target) for target in ("/stored/1", "/slow", "/passed/1", "/stored/1")))
        client.end_sending()
        gate.open()
        assert [client.answer().body for _ in range(4)] == [b"/stored/1", b"slow", b"/passed/1", b"/stored/1"]
        assert client.is_ended()


def test_a_client_that_has_said_all_and_waits_for_a_hit(proxy: Proxy) -> None:
    for _ in range(3):
        with proxy.connect() as client:
            client.send(request("GET", "/stored/1"))
            client.end_sending()
            assert client.answer().body == b"/stored/1"
            assert client.is_ended()


def test_half_a_request_and_the_end(origin: Origin, proxy: Proxy) -> None:
    for part in (b"G", b"GET /a HTTP/1.1\r\nHost: a\r\n"):
        with proxy.connect() as client:
            client.send(request("GET", "/passed/1") + part)
            client.end_sending()
            assert client.answer().body == b"/passed/1"
            assert client.is_ended()
    assert origin.count("/a") == 0


def test_empty_lines_between_requests_are_ignored(proxy: Proxy) -> None:
    with proxy.connect() as client:
        for _ in range(3):
            client.send(b"\r\n\r\n" + request("GET", "/stored/1") + b"\r\n")
            assert client.answer().body == b"/stored/1"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_hit_with_content_is_not_followed_by_what_the_content_says(
    origin: Origin, proxy: Proxy, framing: str
) -> None:
    proxy.get("/stored/1")
    smuggled = request("GET", "/stored/evil")
    with proxy.connect() as client:
        if framing == "length":
            client.send(request("GET", "/stored/1", smuggled))
        else:
            client.send(request("GET", "/stored/1", chunked(smuggled), transfer_encoding="chunked"))
        assert client.answer().body == b"/stored/1"
        assert client.is_silent()
        assert client.get("/stored/2").body == b"/stored/2"
    assert origin.count("/stored/evil") == 0


def test_a_head_with_content_is_drained(origin: Origin, proxy: Proxy) -> None:
    proxy.get("/stored/1")
    with proxy.connect() as client:
        client.ask("HEAD", "/stored/1", request("GET", "/stored/evil"))
        assert client.get("/stored/1").body == b"/stored/1"
    assert origin.count("/stored/evil") == 0
