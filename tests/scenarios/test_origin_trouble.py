"""An origin that is away, late or talks nonsense: the client is told what it was (RFC 9209)."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, echo, gated, head, raw, whole
from tests.support.client import Broken, quietly
from tests.support.messages import chunked, request
from tests.support.proxy import free_port

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.messages import Answer
    from tests.support.origin import Live, Origin
    from tests.support.proxy import Proxy

FRESH = "max-age=60"


def error_of(got: Answer) -> str:
    """Return the type of error that Proxy-Status names."""
    assert (got["Content-Type"], got["Cache-Control"]) == ("application/problem+json", "no-store")
    assert json.loads(got.body)["status"] == got.status
    name, error, _ = got["Proxy-Status"].split("; ", 2)
    assert name == "springhouse"
    return error.removeprefix("error=")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_an_origin_that_is_not_there(serve: Serve, method: str) -> None:
    proxy = serve(f"http://127.0.0.1:{free_port()}")
    with proxy.connect() as client:
        for _ in range(2):  # and the connection stays usable
            got = client.ask(method, "/a")
            assert got.status == 502
            assert method == "HEAD" or error_of(got) == "connection_refused"


def test_a_name_that_does_not_exist(serve: Serve) -> None:
    got = serve("http://nowhere.invalid").get("/a")
    assert (got.status, error_of(got)) == (502, "dns_error")


@pytest.mark.parametrize("limit", ["connect_timeout", "total_timeout"])
def test_an_origin_that_accepts_nothing(standing: Serve, limit: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        queued = []
        try:
            for _ in range(4):  # until nothing more is taken
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(full.getsockname())
                queued.append(one)
            proxy = standing(f"http://127.0.0.1:{full.getsockname()[1]}", **{limit: 4})
            client = proxy.connect()
            client.send(request("GET", "/a"))
            proxy.await_heard_from(client)
            proxy.pass_time(3.9)
            assert client.is_silent(0)
            proxy.pass_time(0.5)
            got = client.answer()
        finally:
            for one in queued:
                one.close()
    assert (got.status, error_of(got)) == (504, "connection_timeout")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_that_does_not_come(origin: Origin, standing: Serve, method: str) -> None:
    proxy = standing(first_byte_timeout=20)
    gate = origin.gate()
    origin.on("/a", gated(gate, answer(b"late", cache_control=FRESH)))
    origin.on("/b", answer(b"x"))
    with proxy.connect() as client:
        client.send(request(method, "/a"))
        origin.await_requests(1)
        proxy.pass_time(19)
        assert client.is_silent(0)
        proxy.pass_time(1.5)
        got = client.answer(method)
        assert (got.status, error_of(got)) == (504, "http_response_timeout")
        assert client.get("/b").status == 200
    gate.open()


def test_the_wait_for_the_first_byte_begins_when_all_is_sent(origin: Origin, standing: Serve) -> None:
    proxy = standing(first_byte_timeout=3, body_timeout=50)
    origin.on("/a", answer(b"x"))
    with proxy.connect() as client:
        client.send(request("POST", "/a", content_length=5))
        for _ in range(4):
            proxy.pass_time(2)
            assert client.is_silent(0)
            client.send(b"x")
        client.send(b"x")
        assert client.answer("POST").status == 200


def test_a_client_that_pauses_its_upload_is_not_the_origins_fault(origin: Origin, standing: Serve) -> None:
    proxy = standing(first_byte_timeout=2, body_timeout=50)
    origin.on("/a", echo)
    with proxy.connect() as client:
        client.send(request("POST", "/a", content_length=8) + b"half")
        proxy.pass_time(8)
        assert client.is_silent(0)
        client.send(b"rest")
        assert client.answer("POST").body == b"halfrest"


def test_an_origin_that_takes_no_content_is_late(origin: Origin, standing: Serve) -> None:
    proxy = standing(first_byte_timeout=20)
    gate = origin.gate()
    origin.on("/a", gated(gate, answer(b"x")))
    with proxy.connect() as client:
        client.send(request("POST", "/a", content_length=60_000_000))
        sender = threading.Thread(target=quietly, args=(client, bytes(60_000_000)))
        sender.start()
        for _ in range(20):  # the origin's machine takes more for a moment, and time begins anew
            if client.is_silent(0.05):
                proxy.pass_time(21)
        assert client.answer("POST").status == 504
        client.reset()
        sender.join()
    gate.open()


def dripped(proxy: Proxy, live: Live, repeated: bytes) -> int:
    """Send something a byte at a time, one each second, over and over; return after how many seconds that ended."""
    passed = 0
    live.send(b"")  # once it was asked
    while proxy.engine.upstream.calls:
        live.send(repeated[passed % len(repeated) :][:1])
        proxy.pass_time(1)
        passed += 1
    return passed


HEADS = {
    "a status line": (b"HTTP/1.1 200 ", b"O"),
    "a field": (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "interim responses": (b"", head(102)),
    "a field behind an interim response": (head(103) + b"HTTP/1.1 200 OK\r\nX: ", b"y"),
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_head_that_drips_is_late(origin: Origin, standing: Serve, name: str, method: str) -> None:
    proxy = standing(first_byte_timeout=60)
    live = origin.live("/a")
    before, repeated = HEADS[name]
    with proxy.connect() as client:
        client.send(request(method, "/a"))
        live.send(before)
        assert 60 <= dripped(proxy, live, repeated) <= 61
        got = client.answer(method)
    assert (got.status, error_of(got)) == (504, "http_response_timeout")


def test_a_head_that_comes_in_pieces_is_taken_in_time(origin: Origin, standing: Serve) -> None:
    proxy = standing(first_byte_timeout=5, between_bytes_timeout=0.1)
    live = origin.live("/a")
    client = proxy.connect()
    client.send(request("GET", "/a"))
    for piece in (head(103), b"HTTP/1.1 200 OK\r\nCont", b"ent-Length: 1\r\n\r", b"\nx"):
        live.send(piece)
        proxy.pass_time(1)
    got = client.answer()
    assert ([interim.status for interim in got.interims], got.status, got.body) == ([103], 200, b"x")


FRAMING = {
    "a chunk's extension": (b"4\r\nhalf\r\n4;x=", b"y"),
    "a chunk's size": (b"4\r\nhalf\r\n", b"0"),
    "trailers": (b"4\r\nhalf\r\n0\r\nX: ", b"y"),
}


@pytest.mark.parametrize("name", FRAMING)
def test_framing_that_drips_is_no_content(origin: Origin, standing: Serve, name: str) -> None:
    proxy = standing(between_bytes_timeout=20)
    live = origin.live("/a")
    before, repeated = FRAMING[name]
    with proxy.connect() as client:
        client.send(request("GET", "/a"))
        live.send(head(transfer_encoding="chunked") + before)
        assert 20 <= dripped(proxy, live, repeated) <= 21
        with pytest.raises(Broken) as caught:
            client.answer()
    assert caught.value.body == b"half"


@pytest.mark.parametrize("caching", [FRESH, "no-store"])
def test_an_answer_that_stops(origin: Origin, standing: Serve, caching: str) -> None:
    proxy = standing(between_bytes_timeout=20)
    live = origin.live("/a")
    with proxy.connect() as client:
        client.send(request("GET", "/a"))
        live.send(head(content_length=100, cache_control=caching) + b"half")
        client.head()
        assert client.read(4) == b"half"
        proxy.pass_time(19)
        assert client.is_silent(0)
        proxy.pass_time(1.5)
        with pytest.raises(Broken) as caught:
            client.read(1)
    assert caught.value.body == b""
    origin.on("/a", answer(b"whole", cache_control=caching))
    assert proxy.get("/a").body == b"whole"


def test_an_answer_that_is_slow_but_goes_on(origin: Origin, standing: Serve) -> None:
    proxy = standing(between_bytes_timeout=3, first_byte_timeout=3)
    live = origin.live("/a")
    client = proxy.connect()
    client.send(request("GET", "/a"))
    live.send(head(content_length=8, cache_control=FRESH))
    for _ in range(8):
        proxy.pass_time(2)
        live.send(b"x")
    assert client.answer().body == b"x" * 8


def test_an_answer_that_takes_too_long_in_all(origin: Origin, standing: Serve) -> None:
    proxy = standing(total_timeout=30)
    live = origin.live("/a")
    with proxy.connect() as client:
        client.send(request("GET", "/a"))
        live.send(head(content_length=1000, cache_control=FRESH))
        assert 30 <= dripped(proxy, live, b"x") <= 31
        with pytest.raises(Broken):
            client.answer()
    gate = origin.gate()
    origin.on("/b", gated(gate, answer(b"x")))
    with proxy.connect() as client:
        client.send(request("GET", "/b"))
        origin.await_requests(2)
        proxy.pass_time(30.5)
        got = client.answer()
    assert (got.status, error_of(got)) == (504, "http_response_timeout")
    gate.open()


def test_a_slow_client_is_not_the_origins_fault(origin: Origin, standing: Serve) -> None:
    proxy = standing(between_bytes_timeout=2)
    body = bytes(30_000_000)
    origin.on("/a", answer(body, cache_control="no-store"))
    client = proxy.connect(receive_buffer=16 * 1024)
    client.send(request("GET", "/a"))
    client.head()
    proxy.await_that(lambda: any(c.writer.paused for c in proxy.server.connections))
    proxy.pass_time(30)
    assert client.read(len(body)) == body


# What is no HTTP.

CHUNKED = head(transfer_encoding="chunked", cache_control=FRESH)
NONSENSE = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "zeros": bytes(100),
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/3": b"HTTP/3 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
    "an escape in the reason": b"HTTP/1.1 200 \x1b[2J\r\nContent-Length: 0\r\n\r\n",
    "a carriage return in the reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
    "a name with brackets": b"HTTP/1.1 200 OK\r\nX(A): b\r\nContent-Length: 0\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "a folded line": b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n",
    "a space within a name": b"HTTP/1.1 200 OK\r\nContent Length: 0\r\n\r\n",
    "a carriage return in a value": b"HTTP/1.1 200 OK\r\nX: y\rSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX: y\x00z\r\nContent-Length: 0\r\n\r\n",
    "a control character in a value": b"HTTP/1.1 200 OK\r\nX: y\x01z\r\nContent-Length: 0\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 0\r\n\r\n",
    "two lengths": head(content_length=[5, 6]) + b"hello!",
    "a length that is no number": head(content_length="five") + b"hello",
    "a negative length": head(content_length="-5") + b"hello",
    "length and chunked": head(content_length=5, transfer_encoding="chunked") + chunked(b"hello"),
    "an unknown coding": head(transfer_encoding="gzip") + b"hello",
    "a coding before chunked": head(transfer_encoding="gzip, chunked") + chunked(b"hello"),
    "a coding behind chunked": head(transfer_encoding="chunked, gzip") + chunked(b"hello"),
    "101 unasked": head(101, upgrade="websocket", connection="Upgrade"),
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 40_000 + b"\r\n",
    "a field that is too large": head(x="y" * 200_000),
    "a head without end": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000,
}


@pytest.mark.parametrize("name", NONSENSE)
def test_an_answer_that_is_no_http_is_a_502_and_not_stored(origin: Origin, proxy: Proxy, name: str) -> None:
    origin.on("/a", raw(NONSENSE[name]), answer(b"good", cache_control=FRESH))
    got = proxy.get("/a")
    assert got.status == 502
    assert error_of(got) in ("http_protocol_error", "connection_terminated")
    good = proxy.get("/a")
    assert (good.status, good.x_cache, good.body) == (200, "MISS", b"good")


@pytest.mark.parametrize("name", NONSENSE)
def test_an_answer_to_a_post_that_is_no_http_is_a_502(origin: Origin, proxy: Proxy, name: str) -> None:
    origin.on("/a", raw(NONSENSE[name]))
    with proxy.connect() as client:
        for _ in range(2):
            assert client.ask("POST", "/a", b"content").status == 502


def test_nonsense_behind_a_good_answer_spoils_nothing(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", raw(whole(b"good", cache_control=FRESH) + b"\x00nonsense", end="keep"))
    origin.on("/b", answer(b"b"))
    assert [proxy.get(target).body for target in ("/a", "/b", "/a")] == [b"good", b"b", b"good"]


def test_status_codes_nobody_knows_go_through(origin: Origin, proxy: Proxy) -> None:
    for status in (299, 418, 499, 599):
        origin.on(f"/{status}", raw(head(status, "Well", content_length=1, cache_control=FRESH) + b"x", end="keep"))
        got = [proxy.get(f"/{status}") for _ in range(2)]
        assert [(one.status, one.phrase, one.body) for one in got] == [(status, "Well", b"x")] * 2


def test_a_reason_phrase_in_another_language(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", raw("HTTP/1.1 200 Schön\r\nContent-Length: 0\r\n\r\n".encode(), end="keep"))
    assert [proxy.get("/a").phrase.encode("latin-1").decode() for _ in range(2)] == ["Schön", "Schön"]


def test_an_answer_without_a_reason_phrase(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", raw(b"HTTP/1.1 200 \r\nContent-Length: 1\r\nCache-Control: max-age=60\r\n\r\nx", end="keep"))
    origin.on("/b", raw(b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", end="keep"))
    assert [proxy.get(target).body for target in ("/a", "/a", "/b", "/b")] == [b"x"] * 4
