"""Requests meant to be read differently by two readers, and those too large: each is refused (RFC 9112 §11)."""

from __future__ import annotations

import pytest
from tests.support.heads import table
from tests.wire.reading import LIMITS, byte_by_byte, requests_in

from springhouse.wire.admission import Limits

CHUNKED = b"Transfer-Encoding: chunked"


def to(line: bytes, *lines: bytes, host: bytes | None = b"Host: a", body: bytes = b"") -> bytes:
    fields = [line, *([host] if host is not None else []), *lines]
    return b"\r\n".join(fields) + b"\r\n\r\n" + body


GET, POST = b"GET / HTTP/1.1", b"POST / HTTP/1.1"

FRAMING = [
    ("CL and TE", to(POST, b"Content-Length: 4", CHUNKED, body=b"0\r\n\r\n"), 400),
    ("TE and CL", to(POST, CHUNKED, b"Content-Length: 4", body=b"0\r\n\r\n"), 400),
    ("two lengths", to(POST, b"Content-Length: 4", b"Content-Length: 5"), 400),
    ("two lengths alike", to(POST, b"Content-Length: 4", b"Content-Length: 4", body=b"abcd"), 400),
    ("a list of lengths", to(POST, b"Content-Length: 4, 4", body=b"abcd"), 400),
    ("+5", to(POST, b"Content-Length: +5", body=b"abcde"), 400),
    ("-1", to(POST, b"Content-Length: -1"), 400),
    ("0x10", to(POST, b"Content-Length: 0x10", body=b"a" * 16), 400),
    ("1e1", to(POST, b"Content-Length: 1e1"), 400),
    ("5 5", to(POST, b"Content-Length: 5 5"), 400),
    ("no number", to(POST, b"Content-Length:"), 400),
    ("beyond 64 bits", to(POST, b"Content-Length: 99999999999999999999"), 400),
    ("a length of nothing known", to(POST, b"Content-Length: \xd9\xa1"), 400),
    ("gzip, chunked", to(POST, b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501),
    ("gzip and chunked, on two lines", to(POST, b"Transfer-Encoding: gzip", CHUNKED, body=b"0\r\n\r\n"), 501),
    ("chunked twice", to(POST, CHUNKED, CHUNKED, body=b"0\r\n\r\n"), 400),
    ("chunked, chunked", to(POST, b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), 400),
    ("chunked, gzip", to(POST, b"Transfer-Encoding: chunked, gzip"), 400),
    ("gzip", to(POST, b"Transfer-Encoding: gzip"), 400),
    ("identity", to(POST, b"Transfer-Encoding: identity"), 400),
    ("xchunked", to(POST, b"Transfer-Encoding: xchunked"), 400),
    ("chunked in quotes", to(POST, b'Transfer-Encoding: "chunked"'), 400),
    ("chunked behind a vertical tab", to(POST, b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"), 400),
    ("empty", to(POST, b"Transfer-Encoding:"), 400),
    ("a parameter", to(POST, b"Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n"), 400),
    ("TE in HTTP/1.0", to(b"POST / HTTP/1.0", CHUNKED, body=b"0\r\n\r\n"), 400),
    ("TE on a GET in HTTP/1.0", to(b"GET / HTTP/1.0", CHUNKED, body=b"0\r\n\r\n"), 400),
    ("a chunk size that is none", to(POST, CHUNKED, body=b"xyz\r\n"), 400),
    ("a chunk size with a sign", to(POST, CHUNKED, body=b"+5\r\nhello\r\n0\r\n\r\n"), 400),
    ("a negative chunk size", to(POST, CHUNKED, body=b"-1\r\n"), 400),
    ("a chunk size with 0x", to(POST, CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n"), 400),
    ("a chunk size beyond 64 bits", to(POST, CHUNKED, body=b"10000000000000005\r\nhello\r\n0\r\n\r\n"), 400),
    ("a chunk size behind a space", to(POST, CHUNKED, body=b" 5\r\nhello\r\n0\r\n\r\n"), 400),
    ("an empty chunk size", to(POST, CHUNKED, body=b"\r\nhello\r\n0\r\n\r\n"), 400),
    ("a chunk that is longer", to(POST, CHUNKED, body=b"4\r\nhello\r\n0\r\n\r\n"), 400),
    ("a chunk that ends in LF", to(POST, CHUNKED, body=b"5\r\nhello\n0\r\n\r\n"), 400),
    ("a chunk size that ends in LF", to(POST, CHUNKED, body=b"5\nhello\r\n0\r\n\r\n"), 400),
    ("a chunk extension with LF", to(POST, CHUNKED, body=b"5;a\nb\r\nhello\r\n0\r\n\r\n"), 400),
    ("a length in a trailer", to(POST, CHUNKED, body=b"0\r\nContent-Length: 5\r\n\r\n"), 400),
]

SYNTAX = [
    ("obs-fold", to(GET, b"X: 1\r\n 2"), 400),
    ("obs-fold with a tab", to(GET, b"X: 1\r\n\t2"), 400),
    ("obs-fold of Host", to(GET, host=b"Host:\r\n a"), 400),
    ("a first line that is folded", to(GET, host=b" Host: a"), 400),
    ("bare LF behind the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    ("bare LF behind a field", b"GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", 400),
    ("bare LF at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    ("bare CR in a value", to(GET, b"X: 1\rY: 2"), 400),
    ("bare CR behind the request line", b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
    ("NUL in a value", to(GET, b"X: a\x00b"), 400),
    ("NUL in a name", to(GET, b"X\x00: a"), 400),
    ("another control in a value", to(GET, b"X: a\x01b"), 400),
    ("DEL in a value", to(GET, b"X: a\x7fb"), 400),
    ("space before the colon", to(GET, b"X : 1"), 400),
    ("tab before the colon", to(GET, b"X\t: 1"), 400),
    ("space before the colon of Content-Length", to(POST, b"Content-Length : 5", body=b"hello"), 400),
    ("no colon", to(GET, b"X"), 400),
    ("no name", to(GET, b": 1"), 400),
    ("a space in a name", to(GET, b"X Y: 1"), 400),
    ("a name in another script", to(GET, b"\xc3\xa9: 1"), 400),
    ("a tab in the request line", to(b"GET\t/ HTTP/1.1"), 501),
    ("a space in the target", to(b"GET /a b HTTP/1.1"), 400),
]

VERSIONS = [
    ("0.9", b"GET /\r\n\r\n", 505),
    ("0.9 by name", to(b"GET / HTTP/0.9"), 505),
    ("1.10", to(b"GET / HTTP/1.10"), 400),
    ("2.0", to(b"GET / HTTP/2.0"), 505),
    ("2.1", to(b"GET / HTTP/2.1"), 400),
    ("3.0", to(b"GET / HTTP/3.0"), 400),
    ("9.9", to(b"GET / HTTP/9.9", b"Connection: keep-alive"), 400),
    ("none", to(b"GET / HTTP"), 400),
    ("another protocol", to(b"GET / FTP/1.0"), 400),
    ("lower case", to(b"GET / http/1.1"), 400),
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
]

METHODS = [
    ("CONNECT", to(b"CONNECT a:443 HTTP/1.1"), 501),
    ("TRACE", to(b"TRACE / HTTP/1.1"), 405),
    ("unknown", to(b"FOO / HTTP/1.1"), 501),
    ("lower case", to(b"get / HTTP/1.1"), 501),
    ("rubbish", b"\x16\x03\x01\x02\x00\x01\x00\x01", 501),
]

HOSTS = [
    ("no Host", to(GET, host=None), 400),
    ("no Host behind one that had it", to(GET) + to(GET, host=None), 400),
    ("two Hosts", to(GET, b"Host: a"), 400),
    ("two Hosts, in HTTP/1.0", to(b"GET / HTTP/1.0", b"hOST: b"), 400),
    ("empty", to(GET, host=b"Host:"), 400),
    *((value.decode(), to(GET, host=b"Host: " + value), 400) for value in (
        b"x/..?", b"x#", b"x@y", b"u:p@x", b"x y", b"x,y z", b"x:80:80", b"x:port", b"x\\y", b"x|y", b"x^y", b'"x"',
        b"<x>", b"[::1", b"::1]", b"x:123456", b"\xc3\xa9", b"[::1]x", b"a" * 300,
    )),
    ("invalid in HTTP/1.0", to(b"GET / HTTP/1.0", host=b"Host: x/y"), 400),
]  # fmt: skip

TARGETS = [
    ("without a slash", to(b"GET a HTTP/1.1"), 400),
    ("a query only", to(b"GET ?a HTTP/1.1"), 400),
    ("an asterisk for GET", to(b"GET * HTTP/1.1"), 400),
    ("a fragment", to(b"GET /a#b HTTP/1.1"), 400),
    ("a fragment in absolute form", to(b"GET http://ours.test/a#b HTTP/1.1"), 400),
    ("an authority", to(b"GET a:80 HTTP/1.1"), 400),
    ("a foreign authority", to(b"GET http://other.test/ HTTP/1.1"), 421),
    ("a foreign port", to(b"GET http://ours.test:81/ HTTP/1.1"), 421),
    ("user information", to(b"GET http://ours.test@other.test/ HTTP/1.1"), 421),
    ("user information before ours", to(b"GET http://a@ours.test/ HTTP/1.1"), 421),
    ("user information before Host", to(b"GET http://a@a/ HTTP/1.1"), 421),
    ("user information that Host has, too", to(b"GET http://u@a/ HTTP/1.1", host=b"Host: u@a"), 400),
    ("the port of another scheme", to(b"GET http://a:443/ HTTP/1.1"), 421),
    ("a foreign authority, in HTTP/1.0 without Host", to(b"GET http://a/ HTTP/1.0", host=None), 421),
    ("no authority", to(b"GET http:/// HTTP/1.1"), 421),
    ("another scheme", to(b"GET ftp://ours.test/ HTTP/1.1"), 400),
    ("DEL", to(b"GET /a\x7f HTTP/1.1"), 400),
    ("NUL", to(b"GET /a\x00b HTTP/1.1"), 400),
    ("a control", to(b"GET /a\x1b HTTP/1.1"), 400),
    ("CR", to(b"GET /a\rb HTTP/1.1"), 400),
    ("an octet above ASCII", to(b"GET /\xc3\xa9 HTTP/1.1"), 400),
]

SIZES = [
    ("target", to(b"GET /" + b"x" * 200 + b" HTTP/1.1"), 414),
    ("target without end", b"GET /" + b"x" * 5000, 414),
    ("a field", to(GET, b"X: " + b"x" * 1100), 431),
    ("many fields together", to(GET, *(b"X: " + b"x" * 100 for _ in range(12))), 431),
    ("too many fields", to(GET, *(b"X: 1" for _ in range(25))), 431),
    ("a field without end", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000, 431),
    ("fields without end", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 2000, 431),
    ("announced content", to(POST, b"Content-Length: 101"), 413),
    ("a byte too much", to(POST, CHUNKED, body=b"65\r\n" + b"x" * 0x65 + b"\r\n0\r\n\r\n"), 413),
    ("content in one chunk", to(POST, CHUNKED, body=b"66\r\n" + b"x" * 0x66 + b"\r\n0\r\n\r\n"), 413),
    ("content in many chunks", to(POST, CHUNKED, body=b"4\r\nabcd\r\n" * 26 + b"0\r\n\r\n"), 413),
]

NOMINATED = [
    (f"Connection: {value.decode()}", to(POST, b"Connection: " + value, b"Content-Length: 1", body=b"x"), 400)
    for value in (
        b"Content-Length", b"content-length", b"keep-alive, CONTENT-LENGTH", b"Transfer-Encoding", b"host",
        b"Host,close",
        b"close, ,\tHost ", b'"Host"', b'"x, host', b"x\"host", b"Content_Length", b"transfer.encoding", b"host;q=1",
        b"x=host", b"upgrade, HOST",
    )
] + [
    ("nominated in a line of its own", to(GET, b"Connection: close", b"Connection: x, host"), 400),
    ("nominated though it is not there", to(GET, b"Connection: transfer-encoding"), 400),
    ("nominated in HTTP/1.0", to(b"GET / HTTP/1.0", b"Connection: host, keep-alive"), 400),
]  # fmt: skip

OTHER = [
    ("an expectation unknown", to(POST, b"Expect: 200-ok", b"Content-Length: 1", body=b"x"), 417),
    ("two expectations", to(POST, b"Expect: 100-continue, x", b"Content-Length: 1", body=b"x"), 417),
]


@table("about data status", FRAMING + SYNTAX + VERSIONS + METHODS + HOSTS + TARGETS + SIZES + NOMINATED + OTHER)
def test_refused(about: str, data: bytes, status: int) -> None:
    for chunks in ([data], byte_by_byte(data), [data[:20], data[20:]]):
        reader = requests_in(chunks)
        assert reader.refusal is not None, about
        assert reader.refusal.status == status, reader.refusal.detail
        assert all(not noted.is_complete for noted in reader.read[1:])


LARGEST = [
    ("target", to(b"GET /" + b"x" * 199 + b" HTTP/1.1")),
    ("a field", to(GET, b"X: " + b"x" * 990)),
    ("fields", to(GET, *(b"X: 1" for _ in range(20)))),
    ("content", to(POST, b"Content-Length: 100", body=b"x" * 100)),
    ("chunked content", to(POST, CHUNKED, body=b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n")),
]


@table("about data", LARGEST)
def test_the_largest_that_is_taken(about: str, data: bytes) -> None:
    for chunks in ([data], byte_by_byte(data)):
        reader = requests_in(chunks)
        assert (reader.refusal, len(reader.read)) == (None, 1)
        assert reader.read[0].is_complete


def test_content_without_limit() -> None:
    data = to(POST, b"Content-Length: 5000", body=b"x" * 5000)
    reader = requests_in(byte_by_byte(data), Limits(target=200, header=1000, fields=20))
    assert reader.refusal is None
    assert len(reader.read[0].body) == 5000


ABSOLUTE = [
    ("a path", to(b"GET http://ours.test/a?b HTTP/1.1"), (b"/a?b", b"ours.test")),
    ("no path", to(b"GET http://ours.test HTTP/1.1"), (b"/", b"ours.test")),
    ("a query only", to(b"GET http://ours.test?b HTTP/1.1"), (b"/?b", b"ours.test")),
    (
        "it counts, not Host",
        to(b"GET HTTP://Ours.Test/ HTTP/1.1", host=b"Host: else.test"),
        (b"/", b"ours.test"),
    ),
    ("in HTTP/1.0 without Host", to(b"GET http://ours.test/ HTTP/1.0", host=None), (b"/", b"ours.test")),
    ("OPTIONS without a path", to(b"OPTIONS http://ours.test HTTP/1.1"), (b"*", b"ours.test")),
    ("OPTIONS with one", to(b"OPTIONS http://ours.test/ HTTP/1.1"), (b"/", b"ours.test")),
]


@table("about data expected", ABSOLUTE)
def test_absolute_form_of_ours(about: str, data: bytes, expected: tuple[bytes, bytes]) -> None:
    """RFC 9112 §3.2.2, §3.2.4."""
    reader = requests_in([data])
    assert reader.refusal is None
    head = reader.read[0].head
    assert (head.target, head.authority) == expected


@pytest.mark.parametrize("host", [b"a", b"a.b-c", b"A:80", b"a:", b"127.0.0.1:1", b"[::1]:80", b"a_b", b"a%41"])
def test_hosts_that_are_taken(host: bytes) -> None:
    """RFC 9110 §7.2, RFC 3986 §3.2.2."""
    reader = requests_in([to(GET, host=b"Host: " + host)], LIMITS)
    assert reader.refusal is None
    assert reader.read[0].head.authority == host.lower()


def test_a_refusal_ends_it() -> None:
    reader = requests_in([to(GET, host=None) + to(GET), to(GET)])
    assert (len(reader.read), reader.refusal is not None) == (0, True)


@table(
    "about data name",
    [
        ("alone", to(b"FOO / HTTP/1.1"), "FOO"),
        ("longer than one that is known", to(b"GETX / HTTP/1.1"), "GETX"),
        ("lower case", to(b"get / HTTP/1.1"), "get"),
        ("behind another request", to(GET) + to(b"M-FOO /a HTTP/1.1"), "M-FOO"),
        ("that could not be told", b"\x16\x03\x01\x02", None),
        ("too long to be told", to(b"F" * 100 + b" / HTTP/1.1"), None),
    ],
)
def test_a_method_that_is_not_known_is_named(about: str, data: bytes, name: str | None) -> None:
    reader = requests_in([data])
    assert reader.refusal is not None
    named = f" {name}" if name else ""
    assert reader.refusal.detail == f"The method{named} is not one this proxy knows"


def test_an_open_head_is_refused_as_soon_as_it_has_too_many_fields() -> None:
    """Each field takes some eighty bytes besides its own: they are counted while they arrive."""
    for size in (1, 40, 4000):
        reader = requests_in([])
        head = GET + b"\r\nHost: a\r\n" + 1000 * b"a:\r\n"
        fed = 0
        while reader.refusal is None:
            reader.take(head[fed : fed + size])
            fed += size
        assert reader.refusal.status == 431
        assert reader.in_head
        assert len(reader.fields) <= LIMITS.fields + 1 + size // 4
