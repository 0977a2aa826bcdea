"""Responses are read alike however their bytes are cut (law 2), and end where RFC 9112 §6.3 says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.support.heads import table
from tests.wire.reading import Responses, byte_by_byte, pieces, plain

from springhouse.http import fields as f
from springhouse.http.headers import bits_of
from springhouse.wire.responses import Framing

OK = b"HTTP/1.1 200 OK"
CL5 = b"Content-Length: 5"
CHUNKED = b"Transfer-Encoding: chunked"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
CONTINUE, HINTS = b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
SWITCH = (b"Upgrade: x", b"Connection: upgrade")


def saying(line: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([line, *lines]) + b"\r\n\r\n" + body


FRAMED = [
    # about, method, bytes, framing, length, content, complete without the connection closing?, kept alive?
    ("a length", b"GET", saying(OK, CL5, body=b"hello"), Framing.LENGTH, 5, b"hello", True, True),
    ("a length of nothing", b"GET", saying(OK, b"Content-Length: 0"), Framing.LENGTH, 0, b"", True, True),
    ("chunked", b"GET", saying(OK, CHUNKED, body=HELLO), Framing.CHUNKED, None, b"hello", True, True),
    ("chunked, in another case", b"GET", saying(OK, b"transfer-ENCODING: Chunked", body=HELLO), Framing.CHUNKED, None,
        b"hello", True, True),
    ("chunked, with extensions and trailers", b"GET", saying(OK, CHUNKED, body=b"5;a=b\r\nhello\r\n0\r\nX: 1\r\n\r\n"),
        Framing.CHUNKED, None, b"hello", True, True),
    ("until the end", b"GET", saying(OK, body=b"hello"), Framing.CLOSE, None, b"hello", False, False),
    ("until the end, in a coding nobody knows", b"GET", saying(OK, b"Transfer-Encoding: Xyz", body=b"hello"),
        Framing.CLOSE, None, b"hello", False, False),
    ("the same, though it would be kept alive", b"GET",
        saying(b"HTTP/1.0 200 OK", b"Transfer-Encoding: Xyz", b"Connection: keep-alive", body=b"hello"), Framing.CLOSE,
        None, b"hello", False, False),
    ("HEAD, with a length", b"HEAD", saying(OK, CL5), Framing.NONE, 5, b"", True, True),
    ("HEAD, chunked", b"HEAD", saying(OK, CHUNKED), Framing.NONE, None, b"", True, True),
    ("HEAD, without either", b"HEAD", saying(OK), Framing.NONE, None, b"", True, False),
    ("204", b"GET", saying(b"HTTP/1.1 204 No Content"), Framing.NONE, None, b"", True, True),
    ("304, with a length", b"GET", saying(b"HTTP/1.1 304 Not Modified", CL5), Framing.NONE, 5, b"", True, True),
    ("with a field of its own for us", b"GET", saying(OK, CL5, b"X-Hop: 1", b"Connection: x-hop", body=b"hello"),
        Framing.LENGTH, 5, b"hello", True, True),
    ("closing", b"GET", saying(OK, CL5, b"Connection: close", body=b"hello"), Framing.LENGTH, 5, b"hello", True, False),
    ("HTTP/1.0", b"GET", saying(b"HTTP/1.0 200 OK", CL5, body=b"hello"), Framing.LENGTH, 5, b"hello", True, False),
    ("HTTP/1.0, kept alive", b"GET", saying(b"HTTP/1.0 200 OK", CL5, b"Connection: keep-alive", body=b"hello"),
        Framing.LENGTH, 5, b"hello", True, True),
    ("HTTP/1.0, chunked: faulty", b"GET",
        saying(b"HTTP/1.0 200 OK", CHUNKED, b"Connection: keep-alive", body=HELLO), Framing.CHUNKED, None, b"hello",
        True, False),
    ("without a phrase", b"GET", saying(b"HTTP/1.1 200 ", CL5, body=b"hello"), Framing.LENGTH, 5, b"hello", True, True),
    ("nor a space", b"GET", saying(b"HTTP/1.1 200", CL5, body=b"hello"), Framing.LENGTH, 5, b"hello", True, True),
]  # fmt: skip


@table("about method data framing length content complete kept_alive", FRAMED)
def test_framing(
    about: str, method: bytes, data: bytes, framing: Framing, length: int | None, content: bytes, complete: bool,
    kept_alive: bool,
) -> None:  # fmt: skip
    for chunks in ([data], byte_by_byte(data), [data[:30], data[30:]]):
        reader = Responses(method)
        for chunk in chunks:
            reader.feed(chunk)
        assert reader.failure is None
        assert reader.framings == [(framing, length, kept_alive)]
        assert reader.read[0].body == content
        assert reader.read[0].is_complete is complete
        assert reader.ended() is not complete
        assert reader.read[0].is_complete


BROKEN = [
    ("no response", b"GET", b"nonsense\r\n\r\n"),
    ("HTTP/0.9", b"GET", b"<html>"),
    ("HTTP/2.0", b"GET", saying(b"HTTP/2.0 200 OK", CL5, b"Connection: keep-alive", body=b"hello")),
    ("HTTP/2.0 after an interim response", b"GET", CONTINUE + saying(b"HTTP/2.0 200 OK", CL5, body=b"hello")),
    ("CL and TE", b"GET", saying(OK, CL5, CHUNKED, body=HELLO)),
    ("two lengths", b"GET", saying(OK, CL5, b"Content-Length: 6", body=b"hello!")),
    ("two lengths alike", b"GET", saying(OK, CL5, CL5, body=b"hello")),
    ("a length that is none", b"GET", saying(OK, b"Content-Length: +5", body=b"hello")),
    ("a negative length", b"GET", saying(OK, b"Content-Length: -5")),
    ("another coding", b"GET", saying(OK, b"Transfer-Encoding: gzip")),
    ("two codings", b"GET", saying(OK, b"Transfer-Encoding: gzip, chunked", body=HELLO)),
    ("a coding nobody knows before chunked", b"GET", saying(OK, b"Transfer-Encoding: x, chunked", body=HELLO)),
    ("a coding nobody knows behind chunked", b"GET", saying(OK, b"Transfer-Encoding: chunked, x", body=HELLO)),
    ("two codings nobody knows", b"GET", saying(OK, b"Transfer-Encoding: x", b"Transfer-Encoding: y")),
    ("a coding like chunked", b"GET", saying(OK, b"Transfer-Encoding: XChunked", body=HELLO)),
    ("a coding like gzip", b"GET", saying(OK, b"Transfer-Encoding: x-gzip")),
    ("a coding of content", b"GET", saying(OK, b"Transfer-Encoding: br")),
    ("no coding", b"GET", saying(OK, b"Transfer-Encoding: identity")),
    ("an empty coding", b"GET", saying(OK, b"Transfer-Encoding:")),
    ("a coding that is no token", b"GET", saying(OK, b'Transfer-Encoding: "x"')),
    ("a coding with a parameter", b"GET", saying(OK, b"Transfer-Encoding: x;q=1")),
    ("a length and a coding nobody knows", b"GET", saying(OK, CL5, b"Transfer-Encoding: x", body=b"hello")),
    ("a chunk size that is none", b"GET", saying(OK, CHUNKED, body=b"x\r\n")),
    ("a chunk that is longer", b"GET", saying(OK, CHUNKED, body=b"4\r\nhello\r\n0\r\n\r\n")),
    ("obs-fold", b"GET", saying(OK, b"X: 1\r\n 2", CL5, body=b"hello")),
    ("bare LF", b"GET", OK + b"\nContent-Length: 0\n\n"),
    ("NUL", b"GET", saying(OK, b"X: \x00", CL5, body=b"hello")),
    ("a space within a name", b"GET", saying(OK, b"X Y: 1", CL5, body=b"hello")),
    ("a space within a name, and one before a colon", b"GET", saying(OK, b"A : 1", b"X Y: 1", CL5, body=b"hello")),
    ("a space behind a name that no colon follows", b"GET", saying(OK, b"X ", CL5, body=b"hello")),
    ("a space before a colon, and obs-fold", b"GET", saying(OK, b"A : 1", b" b : 2", CL5, body=b"hello")),
    ("CL and TE, with spaces before their colons", b"GET", saying(OK, CL5.replace(b":", b" :"), CHUNKED, body=HELLO)),
    ("a large head with a space before a colon", b"GET", saying(OK, b"X : " + b"x" * 1100, CL5, body=b"hello")),
    ("a large head with a space before a colon that does not end", b"GET", OK + b"\r\nX : " + b"x" * 5000),
    ("a status below 100", b"GET", saying(b"HTTP/1.1 099 X", CL5, body=b"hello")),
    ("a status of four digits", b"GET", saying(b"HTTP/1.1 2000 OK", CL5, body=b"hello")),
    ("content after HEAD", b"HEAD", saying(OK, CL5, body=b"hello")),
    ("101 without Upgrade", b"GET", saying(b"HTTP/1.1 101 Switching Protocols")),
    ("a large head", b"GET", saying(OK, b"X: " + b"x" * 1100, CL5, body=b"hello")),
    ("a large head that does not end", b"GET", OK + b"\r\nX: " + b"x" * 5000),
    ("endless interim responses", b"GET", HINTS * 100),
]


@table("about method data", BROKEN)
def test_broken(about: str, method: bytes, data: bytes) -> None:
    for chunks in ([data], byte_by_byte(data)):
        reader = Responses(method)
        for chunk in chunks:
            if reader.failure is None:
                reader.feed(chunk)
        assert reader.failure
        if method == b"GET":
            assert not any(noted.is_complete for noted in reader.read)


@table(
    "about method data",
    [
        ("in the head", b"GET", OK + b"\r\nX: 1"),
        ("in the content", b"GET", saying(OK, CL5, body=b"hell")),
        ("in a chunk", b"GET", saying(OK, CHUNKED, body=b"5\r\nhell")),
        ("before the last chunk", b"GET", saying(OK, CHUNKED, body=b"5\r\nhello\r\n")),
        ("in the trailers", b"GET", saying(OK, CHUNKED, body=b"0\r\nX: 1\r\n")),
        ("after an interim response", b"GET", CONTINUE),
    ],
)
def test_what_ends_early_is_not_whole(about: str, method: bytes, data: bytes) -> None:
    """Law: what is not finished never happened."""
    reader = Responses(method)
    reader.feed(data)
    assert not reader.ended()
    assert not any(noted.is_complete for noted in reader.read)


SPACED = saying(OK, b"X\t : 1", b"Content-Length : 5", b"Y: a : b", body=b"hello")


@pytest.mark.parametrize(
    ("before", "interim"),
    [(b"", []), (CONTINUE + HINTS, [100, 103]), (HINTS.replace(b"Link:", b"Link :") + CONTINUE, [103, 100])],
)
def test_white_space_before_a_colon_is_removed(before: bytes, interim: list[int]) -> None:
    """RFC 9112 §5.1. However the bytes are cut."""
    data = before + SPACED
    for chunks in ([data], byte_by_byte(data), *([data[:at], data[at:]] for at in range(1, len(data)))):
        reader = Responses()
        for chunk in chunks:
            reader.feed(chunk)
        assert reader.failure is None
        assert plain(reader.read[0].head.fields) == [("X", "1"), ("Content-Length", "5"), ("Y", "a : b")]
        assert (reader.read[0].body, reader.read[0].is_complete) == (b"hello", True)
        assert reader.framings == [(Framing.LENGTH, 5, True)]
        assert [noted.head.status for noted in reader.interim] == interim
        assert all(name == b"Link" for noted in reader.interim for name, _ in noted.head.fields)


def test_the_answer_behind_one_with_white_space_before_a_colon_is_read_as_ever() -> None:
    reader = Responses(b"GET", b"GET")
    for chunk in byte_by_byte(SPACED):
        reader.feed(chunk)
    reader.expect(b"GET")
    reader.feed(SPACED)
    assert reader.failure is None
    assert [noted.body for noted in reader.read] == [b"hello", b"hello"]


@pytest.mark.parametrize("minor_version", [0, 1, 2, 9])
def test_the_version_it_came_in(minor_version: int) -> None:
    """What is beyond HTTP/1.1 is read as that (RFC 9110 §2.5)."""
    data = saying(b"HTTP/1.%d 200 OK" % minor_version, CL5, body=b"hello")
    for chunks in ([data], byte_by_byte(data)):
        reader = Responses()
        for chunk in chunks:
            reader.feed(chunk)
        assert reader.failure is None
        assert reader.read[0].head.is_http_1_0 is (minor_version == 0)
        assert reader.is_keep_alive is (minor_version > 0)


def test_interim_responses_come_apart() -> None:
    reader = Responses()
    reader.feed(CONTINUE + HINTS + saying(OK, CL5, b"X: 1", body=b"hello"))
    assert [noted.head.status for noted in reader.interim] == [100, 103]
    assert plain(reader.interim[1].head.fields) == [("Link", "</a>")]
    assert plain(reader.read[0].head.fields) == [("Content-Length", "5"), ("X", "1")]
    assert reader.framings == [(Framing.LENGTH, 5, True)]


def test_bytes_behind_a_101_belong_to_the_new_protocol() -> None:
    data = saying(b"HTTP/1.1 101 Switching Protocols", *SWITCH, body=b"\x00frames\r\n\r\n")
    reader = Responses()
    reader.feed(data)
    assert (reader.failure, reader.remainder) == (None, b"\x00frames\r\n\r\n")
    assert reader.read[0].head.status == 101
    assert not reader.read[0].is_complete


def test_trailers_are_dropped() -> None:
    """RFC 9111 §3.1: they are never combined with header fields."""
    reader = Responses()
    reader.feed(saying(OK, CHUNKED, body=b"0\r\nCache-Control: max-age=9\r\nX: 1\r\n\r\n"))
    assert plain(reader.read[0].head.fields) == [("Transfer-Encoding", "chunked")]
    assert reader.read[0].head.bits == f.TRANSFER_ENCODING


def test_nothing_is_received_after_a_failure() -> None:
    reader = Responses()
    reader.failure = "more bytes follow the answer"
    reader.feed(saying(OK, CL5, body=b"hello"))
    assert reader.read == []


def test_the_phrase_is_kept() -> None:
    reader = Responses()
    for byte in byte_by_byte(saying(b"HTTP/1.1 404 Not here, \xe9", b"Content-Length: 0")):
        reader.feed(byte)
    assert reader.read[0].head.reason == b"Not here, \xe9"


SEQUENCE = [(method, data) for _, method, data, framing, *_ in FRAMED if framing is not Framing.CLOSE]


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.sampled_from(SEQUENCE), min_size=1, max_size=4),
    st.booleans(),
    st.lists(st.integers(0, 9999), max_size=12),
)
def test_any_cut_gives_the_same(answers: list[tuple[bytes, bytes]], early: bool, cuts: list[int]) -> None:
    """One after another on one connection, as the pool reads them."""
    cut_up, whole, single = (Responses(*(method for method, _ in answers)) for _ in range(3))
    for number, (method, data) in enumerate(answers):
        if number:
            for reader in (cut_up, whole, single):
                reader.expect(method, fresh=answers[number - 1][0] == b"HEAD")
        sent = (HINTS if early else b"") + data
        whole.feed(sent)
        for chunk in pieces(sent, cuts):
            cut_up.feed(chunk)
        for chunk in byte_by_byte(sent):
            single.feed(chunk)
        assert whole.failure is None
        assert whole.read[-1].is_complete
        assert whole.read[-1].head.bits == bits_of(whole.read[-1].head.fields)
        if not whole.is_keep_alive:
            break
    assert cut_up.outcome == whole.outcome == single.outcome


@settings(deadline=None)
@given(st.binary(max_size=80), st.lists(st.integers(0, 99), max_size=5))
def test_any_bytes_cut_anywhere_give_the_same(junk: bytes, cuts: list[int]) -> None:
    data = saying(OK, CHUNKED, body=junk)
    whole, cut_up = Responses(), Responses()
    whole.feed(data)
    for chunk in pieces(data, cuts):
        if cut_up.failure is None:
            cut_up.feed(chunk)
    assert cut_up.outcome == whole.outcome


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_reader_expects_anew(method: bytes) -> None:
    reader = Responses(method, b"GET")
    reader.feed(saying(OK, CL5, b"A: 1", body=b"" if method == b"HEAD" else b"hello"))
    reader.expect(b"GET", fresh=method == b"HEAD")
    assert (reader.framing, reader.length, reader.in_head, reader.head_bytes) == (None, None, True, 0)
    reader.feed(saying(OK, b"Content-Length: 2", b"B: 2", body=b"hi"))
    assert reader.failure is None
    assert plain(reader.read[1].head.fields) == [("Content-Length", "2"), ("B", "2")]
    assert reader.read[1].body == b"hi"
