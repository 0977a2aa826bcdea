"""Requests are read alike however their bytes are cut (law 2), and hostile ones are refused (RFC 9112)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.wire.reading import LIMITS, Requests, byte_by_byte, pieces, plain, requests_in

from springhouse.http import fields as f
from springhouse.http.headers import bits_of
from springhouse.http.messages import Request
from springhouse.wire.admission import Limits

HOST = b"Host: cache.test\r\n"


def asking(line: bytes, *fields: bytes, body: bytes = b"", host: bytes = HOST) -> bytes:
    """Return the bytes of a request."""
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


GET = b"GET /a?b HTTP/1.1"
POST = b"POST /p HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked"
BODY = b"5\r\nhello\r\n1;ext=1\r\n!\r\n0\r\n\r\n"
TRAILED = b"2\r\nhi\r\n0\r\nX-Trailer: 1\r\nHost: other\r\nCookie: a=1\r\n\r\n"

TAKEN = [
    asking(GET),
    asking(GET, b"Accept: a/b", b"accept: c/d", b"X-Empty:", b"X-Padded: \t x \t "),
    asking(b"GET /a%2F?x=/&y=%00 HTTP/1.1"),
    asking(b"GET / HTTP/1.0"),
    asking(b"GET / HTTP/1.0", host=b""),
    asking(b"HEAD / HTTP/1.1", b"cOOKIE: a=1"),
    asking(POST, b"Content-Length: 5", body=b"hello"),
    asking(POST, b"Content-Length: 0"),
    asking(POST, CHUNKED, body=BODY),
    asking(POST, b"transfer-encoding:  CHUNKED", body=TRAILED),
    asking(POST, b"Expect: 100-continue", b"Content-Length: 1", body=b"x"),
    asking(b"OPTIONS * HTTP/1.1"),
    asking(b"GET http://ours.test/x?y HTTP/1.1"),
    asking(b"GET http://cache.test/x?y HTTP/1.1"),
    asking(b"GET / HTTP/1.2"),
    asking(GET, b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings"),
    b"\r\n" + asking(GET),
    asking(GET, host=b"hOST:  Cache.Test:80 \r\n"),
]
ENDING = [
    b"",
    asking(GET, b"Connection: close") + b"GET / HTTP/1.1\r\n\r\njunk",
    asking(GET, b"Upgrade: websocket", b"Connection: upgrade") + b"\x81\x00frames\r\n\r\n",
    b"\x00\x01\x02 rubbish",
    b"FOO / HTTP/1.1\r\n\r\n",
    asking(GET, b"Bad Name: 1"),
    asking(POST, b"Content-Length: 5", body=b"hell"),
    asking(POST, CHUNKED, body=b"5\r\nhelloX"),
    asking(POST, CHUNKED, body=b"60\r\n" + b"x" * 0x60 + b"\r\n60\r\n" + b"y" * 0x60 + b"\r\n0\r\n\r\n"),
    asking(GET, b"X-Long: " + b"x" * 1200),
    asking(GET, *(b"X: 1" for _ in range(30))),
    b"GET /" + b"x" * 300,
    GET + b"\r\nX: " + b"x" * 5000,
]


CUTS = st.lists(st.integers(0, 9999), max_size=12)
SHREDS = [b"GET / HTTP/1.1\r\n", b"Host: a\r\n", b"\r\n", b"\n", b" ", b"\x00", b":", b"x", b"0\r\n"]


@pytest.mark.parametrize("data", TAKEN)
def test_byte_by_byte_gives_the_same(data: bytes) -> None:
    whole = requests_in([data])
    assert len(whole.read) == 1
    assert whole.read[0].is_complete
    assert requests_in(byte_by_byte(data)).outcome == whole.outcome
    twice = requests_in([data + TAKEN[0]])
    assert twice.read == [whole.read[0], requests_in([TAKEN[0]]).read[0]] or b"HTTP/1.0" in data


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(st.sampled_from(TAKEN), max_size=4), st.sampled_from(ENDING), st.lists(st.integers(0, 9999), max_size=12)
)
def test_any_cut_gives_the_same(before: list[bytes], ending: bytes, cuts: list[int]) -> None:
    data = b"".join(before) + ending
    whole = requests_in([data])
    assert requests_in(pieces(data, cuts)).outcome == whole.outcome
    assert requests_in(byte_by_byte(data)).outcome == whole.outcome


@settings(deadline=None)
@given(
    st.binary(max_size=60)
    | st.lists(
        st.sampled_from([b"GET / HTTP/1.1\r\n", b"Host: a\r\n", b"\r\n", b"\n", b" ", b"\x00", b":", b"x", b"0\r\n"])
    ).map(b"".join),
    st.lists(st.integers(0, 99), max_size=5),
)
def test_any_bytes_cut_anywhere_give_the_same(data: bytes, cuts: list[int]) -> None:
    assert requests_in(pieces(data, cuts)).outcome == requests_in([data]).outcome


def first(data: bytes) -> Request:
    reader = requests_in([data])
    assert reader.refusal is None
    head = reader.read[0].head
    assert isinstance(head, Request)
    return head


def test_what_a_request_says() -> None:
    """White space behind a value stays: every look-up strips it, and nothing else minds (RFC 9112 §5.1)."""
    data = asking(b"PUT /a?b HTTP/1.1", b"cOOKIE: a=1", b"X:  padded\t ", b"Content-Length: 2", body=b"hi")
    request = first(data)
    assert (request.method, request.target, request.authority) == (b"PUT", b"/a?b", b"cache.test")
    assert plain(request.fields) == [("cOOKIE", "a=1"), ("X", "padded\t "), ("Content-Length", "2")]
    assert (request.scheme, request.peer, request.minor_version, request.has_content) == (b"http", "192.0.2.1", 1, True)
    assert request.bits == f.HOST | f.COOKIE | f.CONTENT_LENGTH


@pytest.mark.parametrize(
    "lines", [(), (b"Connection: keep-alive",), (b"Proxy-Connection: keep-alive",), (b"Connection: close",)]
)
@pytest.mark.parametrize("minor_version", [0, 1])
def test_its_version(minor_version: int, lines: tuple[bytes, ...]) -> None:
    """Whatever keeps the connection, or ends it."""
    assert first(asking(b"GET / HTTP/1.%d" % minor_version, *lines)).minor_version == minor_version


@pytest.mark.parametrize("minor_version", [2, 3, 9])
def test_later_versions_of_http_1_are_read_as_1_1(minor_version: int) -> None:
    """RFC 9110 §2.5. Nothing on a connection that was seen to speak HTTP/1.1 is asked again."""
    data = asking(b"POST / HTTP/1.%d" % minor_version, b"Transfer-Encoding: chunked", body=b"1\r\nx\r\n0\r\n\r\n")
    reader = requests_in([data * 2])
    assert [(noted.body, noted.head.minor_version) for noted in reader.read] == [(b"x", minor_version)] * 2


@pytest.mark.parametrize(
    ("target", "host", "read"),
    [
        (b"http://cache.test/a?b", b"cache.test", b"/a?b"),
        (b"HTTP://Cache.TEST/a", b"cache.test", b"/a"),
        (b"http://cache.test:80/a", b"cache.test", b"/a"),
        (b"http://cache.test/a", b"Cache.test:80", b"/a"),
        (b"https://cache.test:443/a", b"cache.test", b"/a"),
        (b"http://cache.test:/a", b"cache.test", b"/a"),
        (b"http://cache.test:8080/a", b"cache.test:8080", b"/a"),
        (b"http://[::1]/a", b"[::1]", b"/a"),
        (b"http://cache.test", b"cache.test", b"/"),
        (b"http://cache.test?q", b"cache.test", b"/?q"),
    ],
)
def test_absolute_form_that_says_what_host_says(target: bytes, host: bytes, read: bytes) -> None:
    request = first(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host))
    assert (request.target, request.authority) == (read, host.lower())


@pytest.mark.parametrize("data", TAKEN)
def test_bits_are_those_of_the_fields(data: bytes) -> None:
    request = first(data)
    host = f.HOST if b"ost:" in data.lower() else 0
    assert request.bits | f.UPGRADE == bits_of(request.fields) | host | f.UPGRADE


def test_trailers_are_dropped() -> None:
    """RFC 9112 §7.1.2: what is not understood may be; they never count as header fields."""
    reader = requests_in([asking(POST, CHUNKED, body=TRAILED) + TAKEN[0]])
    assert reader.read[0].body == b"hi"
    assert plain(reader.read[0].head.fields) == [("Transfer-Encoding", "chunked")]
    assert reader.read[0].head.authority == b"cache.test"
    assert reader.read[1] == requests_in([TAKEN[0]]).read[0]


def test_bytes_behind_an_upgrade_are_not_parsed() -> None:
    reader = requests_in([ENDING[2]])
    assert reader.read[0].head.bits & f.UPGRADE
    assert reader.rest == b"\x81\x00frames\r\n\r\n"
    assert len(reader.read) == 1


@pytest.mark.parametrize(
    "lines",
    [
        [b"Upgrade: h2c", b"Connection: Upgrade"],
        [b"Upgrade: websocket, H2C", b"Connection: Upgrade"],
        [b"Upgrade: websocket"],
    ],
)
def test_an_upgrade_that_is_ignored_hides_nothing(lines: list[bytes]) -> None:
    """RFC 9110 §7.8: h2c is never taken, and Upgrade without Connection: Upgrade asks nothing."""
    reader = requests_in([asking(GET, *lines) + TAKEN[0]])
    assert not reader.read[0].head.bits & f.UPGRADE
    assert len(reader.read) == 2
    assert reader.rest is None


def test_bytes_behind_connection_close_are_ignored() -> None:
    reader = requests_in([asking(GET, b"Connection: close") + asking(GET) + b"\x00"])
    assert (len(reader.read), reader.refusal) == (1, None)


def test_a_field_that_comes_in_pieces_is_put_together() -> None:
    assert first(asking(GET, b"X-Long: " + b"y" * 500)).fields == [(b"X-Long", b"y" * 500)]


def test_many_requests_in_one_read_are_no_large_header() -> None:
    """What limits a head counts from where that head begins, not from where the read began."""
    data = asking(GET, b"X: " + b"x" * 200) * 50
    for end in (-1, -2, -230, -len(data) // 3):
        reader = requests_in([data[:end], data[end:]])
        assert reader.refusal is None
        assert len(reader.read) == 50
    upload = asking(POST, b"Content-Length: 5000", body=b"x" * 5000) + asking(GET)
    reader = requests_in([upload[:-9], upload[-9:]], Limits(target=200, header=1000))
    assert reader.refusal is None
    assert len(reader.read) == 2


def test_readers_share_nothing() -> None:
    one, other = Requests(LIMITS), Requests(LIMITS)
    one.take(GET + b"\r\nX: ")
    other.take(asking(GET))
    one.take(b"1\r\n" + HOST + b"\r\n")
    assert plain(one.read[0].head.fields) == [("X", "1")]
    assert other.read[0].head.fields == []
