"""Requests made to be read differently by two parties: one in, at most one out, whatever the bytes (law 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer
from tests.support.client import quietly
from tests.support.messages import request

if TYPE_CHECKING:
    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

EVIL = b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
"""Stands behind every request here, and must never be taken for one."""


def get(*lines: bytes, target: bytes = b"/a", method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    """Return a request with these lines behind a good Host."""
    return b"\r\n".join([b"%b %b %b" % (method, target, version), b"Host: a", *lines, b"", b""])


def post(*lines: bytes, body: bytes = b"") -> bytes:
    """Return a POST with these lines behind a good Host."""
    return get(*lines, method=b"POST") + body


CL, TE = b"Content-Length: ", b"Transfer-Encoding: "

FRAMING = {
    "length and chunked": (400, post(CL + b"4", TE + b"chunked", body=b"0\r\n\r\n")),
    "chunked and length": (400, post(TE + b"chunked", CL + b"4", body=b"0\r\n\r\n")),
    "two lengths": (400, post(CL + b"4", CL + b"5", body=b"hello")),
    "the same length twice": (400, post(CL + b"5", CL + b"5", body=b"hello")),
    "a list of lengths": (400, post(CL + b"5, 5", body=b"hello")),
    "length with a plus": (400, post(CL + b"+5", body=b"hello")),
    "negative length": (400, post(CL + b"-5", body=b"hello")),
    "length in hexadecimal": (400, post(CL + b"0x5", body=b"hello")),
    "length with a tail": (400, post(CL + b"5a", body=b"hello")),
    "length with a gap": (400, post(CL + b"5 5", body=b"hello")),
    "empty length": (400, post(CL, body=b"hello")),
    "length beyond all bounds": (400, post(CL + b"99999999999999999999999", body=b"hello")),
    "length of 64 bits and more": (400, post(CL + b"18446744073709551621", body=b"hello")),
    "unknown coding": (400, post(TE + b"xchunked", body=b"0\r\n\r\n")),
    "chunked twice": (400, post(TE + b"chunked, chunked", body=b"0\r\n\r\n")),
    "chunked, then more": (400, post(TE + b"chunked, gzip", body=b"0\r\n\r\n")),
    "more, then chunked": (501, post(TE + b"gzip, chunked", body=b"0\r\n\r\n")),
    "identity": (400, post(TE + b"identity", body=b"0\r\n\r\n")),
    "chunked in two lines": (400, post(TE + b"chunked", TE + b"chunked", body=b"0\r\n\r\n")),
    "chunked, then identity in another line": (400, post(TE + b"chunked", TE + b"identity", body=b"0\r\n\r\n")),
    "chunked behind a vertical tab": (400, post(TE + b"\x0bchunked", body=b"0\r\n\r\n")),
    "chunked in quotes": (400, post(TE + b'"chunked"', body=b"0\r\n\r\n")),
    "chunked with a parameter": (400, post(TE + b"chunked;a=b", body=b"0\r\n\r\n")),
    "empty coding": (400, post(TE, body=b"0\r\n\r\n")),
    "chunked in HTTP/1.0": (
        400, get(TE + b"chunked", method=b"POST", version=b"HTTP/1.0") + b"0\r\n\r\n",
    ),
    "another expectation": (417, post(CL + b"5", b"Expect: 200-ok", body=b"hello")),
}  # fmt: skip

LINES = {
    "space before the colon": (400, post(b"Content-Length : 5", body=b"hello")),
    "a folded line": (400, get(b"X-A: b", b" folded")),
    "a folded coding": (400, post(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n")),
    "a first line that is folded": (400, b"GET /a HTTP/1.1\r\n Host: a\r\n\r\n"),
    "bare line feeds": (400, b"GET /a HTTP/1.1\nHost: a\n\n"),
    "a bare line feed behind a field": (400, b"GET /a HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    "a bare line feed at the end": (400, b"GET /a HTTP/1.1\r\nHost: a\r\n\n"),
    "a bare carriage return": (400, get(b"X-A: b\rc")),
    "a carriage return that ends a line": (400, b"GET /a HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"),
    "NUL in a value": (400, get(b"X-A: b\x00c")),
    "NUL in a name": (400, get(b"X\x00A: b")),
    "a control character in a value": (400, get(b"X-A: b\x01c")),
    "DEL in a value": (400, get(b"X-A: b\x7fc")),
    "a line without a colon": (400, get(b"nonsense")),
    "a line without a name": (400, get(b": value")),
    "a name with a space": (400, get(b"X A: b")),
    "a name with brackets": (400, get(b"X(A): b")),
    "a name beyond ASCII": (400, get("X-Ä: b".encode())),
}

CHUNKS = {
    "a size in hexadecimal notation": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "a size that is no number": b"g\r\nhello\r\n0\r\n\r\n",
    "a size beyond all bounds": b"fffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
    "a space before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "a space behind the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "a bare line feed behind the size": b"5\nhello\r\n0\r\n\r\n",
    "a bare line feed in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a bare line feed behind the data": b"5\r\nhello\n0\r\n\r\n",
    "data longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "no line end behind the data": b"5\r\nhello0\r\n\r\n",
    "a bare carriage return behind the data": b"5\r\nhello\r0\r\n\r\n",
    "a trailer without a colon": b"5\r\nhello\r\n0\r\nnonsense\r\n\r\n",
}

HOSTS = {
    "no host": b"GET /a HTTP/1.1\r\n\r\n",
    "two hosts": get(b"Host: b"),
    "the same host twice": get(b"Host: a"),
    **{
        f"Host: {host.decode('latin-1')}": b"GET /a HTTP/1.1\r\nHost: %b\r\n\r\n" % host
        for host in (
            b"", b"a b", b"a/b", b"a/..", b"a?b", b"a#b", b"me@a", b"a\tb", b"a\\b", b"a,b,c d", b"[::1", b"::1",
            b"[::1]x", b"a:b", b"a:80:80", b"a:999999", b"a<b>", b'"a"', b"a^b", b"a|b", b"\xff",
        )
    },
}  # fmt: skip

TARGETS = {
    "no target": (400, b"GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an empty target": (400, b"GET  HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a space in it": (400, get(target=b"/a b")),
    "a tab in it": (400, get(target=b"/a\tb")),
    "NUL in it": (400, get(target=b"/a\x00b")),
    "a fragment": (400, get(target=b"/a#b")),
    "no slash": (400, get(target=b"a")),
    "a star": (400, get(target=b"*")),
    "another authority": (421, get(target=b"http://evil.test/a")),
    "another authority that looks like ours": (421, get(target=b"http://localhost@evil.test/a")),
    "an address within": (421, get(target=b"http://169.254.169.254/a")),
    "another scheme": (400, get(target=b"ftp://localhost/a")),
    "no authority": (421, get(target=b"http:///a")),
    "a fragment in a URL": (400, get(target=b"http://localhost/a#b")),
    "CONNECT": (501, get(target=b"evil.test:443", method=b"CONNECT")),
    "CONNECT to a path": (501, get(target=b"/a", method=b"CONNECT")),
    "TRACE": (405, get(method=b"TRACE")),
    "an unknown method": (501, get(method=b"FOO")),
    "a method in lower case": (501, get(method=b"get")),
    "a method with a sign": (501, get(method=b"G@T")),
    "HTTP/0.9": (505, b"GET /a\r\n\r\n"),
    "HTTP/0.9 with a version": (505, get(version=b"HTTP/0.9")),
    "HTTP/2.0": (505, get(version=b"HTTP/2.0")),
    "HTTP/3.0": (400, get(version=b"HTTP/3.0")),
    "HTTP/3": (400, get(version=b"HTTP/3")),
    "HTTP/11.1": (400, get(version=b"HTTP/11.1")),
    "a version in lower case": (400, get(version=b"http/1.1")),
    "the preface of HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (501, bytes.fromhex("16030100f1010000ed0303") + bytes(range(200))),
    "nonsense": (501, b"\x00\x01\x02\x03"),
}

REFUSED = {**FRAMING, **LINES, **{name: (400, raw) for name, raw in HOSTS.items()}, **TARGETS}


@pytest.fixture(autouse=True)
def _answering(origin: Origin) -> None:
    async def not_evil(exchange: Exchange) -> None:
        assert "evil" not in exchange.request.target
        await answer(exchange.request.target.encode(), cache_control="max-age=60")(exchange)

    origin.otherwise = not_evil


def refused(proxy: Proxy, raw: bytes, *, by_byte: bool = False, before: bytes = b"") -> int:
    """Send bytes, and return the status of the one answer that comes before the end."""
    with proxy.connect() as client:
        if by_byte:
            for at in range(len(raw)):
                quietly(client, raw[at : at + 1])
            quietly(client, EVIL)
        else:
            quietly(client, before + raw + EVIL)
        if before:
            assert client.answer().status == 200
        got = client.answer()
        assert got["Content-Type"] == "application/problem+json"
        assert got["Proxy-Status"].startswith("springhouse; ")
        assert got["Connection"] == "close"
        assert client.is_ended()
        return got.status


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_and_nothing_behind_it_is_read(origin: Origin, proxy: Proxy, name: str) -> None:
    expected, raw = REFUSED[name]
    assert refused(proxy, raw) == expected
    assert not origin.requests
    assert refused(proxy, raw, by_byte=True) == expected
    assert not origin.requests
    assert refused(proxy, raw, before=request("GET", "/a")) == expected
    assert origin.count("/a") == len(origin.requests) == 1


@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.parametrize("by_byte", [False, True])
def test_content_that_is_no_content_breaks_its_request_off(
    origin: Origin, proxy: Proxy, name: str, by_byte: bool
) -> None:
    whole = []

    async def reading(exchange: Exchange) -> None:
        whole.append(await exchange.body())

    origin.on("/a", reading)
    assert refused(proxy, post(TE + b"chunked", body=CHUNKS[name]), by_byte=by_byte) == 400
    assert len(origin.requests) <= 1
    assert not whole


@pytest.mark.parametrize("name", CHUNKS)
def test_content_that_is_no_content_behind_another_request(origin: Origin, proxy: Proxy, name: str) -> None:
    raw = post(TE + b"chunked", body=CHUNKS[name]).replace(b"/a", b"/b")
    origin.on("/b", answer(b"b"))
    assert refused(proxy, raw, before=request("GET", "/a")) == 400
    assert origin.count("/b") == 0


NOMINATED = ["Content-Length", "keep-alive, transfer-encoding", "HOST", "close,host", "Content_Length", '"host"']


@pytest.mark.parametrize("options", NOMINATED)
def test_connection_cannot_take_away_what_frames_or_addresses_a_message(
    origin: Origin, proxy: Proxy, options: str
) -> None:
    for raw in (
        post(b"Connection: " + options.encode(), CL + b"%d" % len(EVIL), body=EVIL),
        get(b"Connection: " + options.encode()),
    ):
        assert refused(proxy, raw) == 400
        assert refused(proxy, raw, by_byte=True) == 400
    assert not origin.requests
    assert proxy.get("/a").status == 200
    assert refused(proxy, get(b"Connection: " + options.encode())) == 400, "not from the cache either"


def test_a_connection_that_names_itself_is_still_understood(origin: Origin, proxy: Proxy) -> None:
    with proxy.connect() as client:
        client.send(post(b"Connection: keep-alive, Connection", CL + b"%d" % len(EVIL), body=EVIL))
        client.answer("POST")
        assert client.get("/b").body == b"/b"
    assert [seen.target for seen in origin.requests] == ["/a", "/b"]
    assert origin.requests[0].body == EVIL


def test_later_versions_of_http_1_are_read_as_1_1(origin: Origin, proxy: Proxy) -> None:
    """RFC 9110 §2.5."""
    with proxy.connect() as client:
        client.send(get(version=b"HTTP/1.2") * 2 + get(target=b"/b"))
        assert [client.answer().x_cache for _ in range(3)] == ["MISS", "HIT", "MISS"]
    assert [seen.head.split(b"\r\n")[0] for seen in origin.requests] == [b"GET /a HTTP/1.1", b"GET /b HTTP/1.1"]


def test_a_uri_of_the_host_that_is_asked_is_its_path(origin: Origin, proxy: Proxy) -> None:
    with proxy.connect() as client:
        client.send(get(target=b"http://A/a") + get() + get(target=b"http://a:80/a"))
        assert [client.answer().x_cache for _ in range(3)] == ["MISS", "HIT", "HIT"]
    assert [seen.target for seen in origin.requests] == ["/a"]
    assert refused(proxy, get(target=b"http://b/a")) == 421


@pytest.mark.parametrize(
    "target", [b"//evil.test/a", b"/\\evil.test/a", b"/..;/a", b"/a%00b", b"/%2e%2e/a", b"/a%0d%0aX: y"[:10]]
)
def test_odd_paths_reach_the_origin_as_they_are(origin: Origin, proxy: Proxy, target: bytes) -> None:
    origin.on(target.decode(), answer(b"x"))
    with proxy.connect() as client:
        client.send(get(target=target))
        assert client.answer().status == 200
    assert origin.last.target.encode() == target


@pytest.mark.parametrize("line", [b"GET  /a HTTP/1.1", b"GET /a   HTTP/1.1"])
def test_more_spaces_in_the_request_line_are_read_as_one(origin: Origin, proxy: Proxy, line: bytes) -> None:
    with proxy.connect() as client:
        client.send(line + b"\r\nHost: a\r\n\r\n" + request("GET", "/b"))
        assert [client.answer().body for _ in range(2)] == [b"/a", b"/b"]
    assert [seen.head.split(b"\r\n")[0] for seen in origin.requests] == [b"GET /a HTTP/1.1", b"GET /b HTTP/1.1"]


def test_the_host_of_one_request_is_not_that_of_the_next(origin: Origin, proxy: Proxy) -> None:
    proxy.get("/a", version="1.0", host=None)
    assert proxy.get("/a").x_cache == "HIT"
    with proxy.connect() as client:
        client.send(b"GET /a HTTP/1.1\r\nHost:\r\n\r\n")
        assert client.answer().status == 400
