"""What is written is read back as it was (RFC 9112 §2, §7.1)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.wire.reading import Responses, requests_in

from springhouse.http.headers import lines_of
from springhouse.wire import encode

NAMES = st.from_regex(rb"X-[A-Za-z]{1,9}", fullmatch=True)
VALUES = st.from_regex(rb"([!-~]([ -~]{0,9}[!-~])?)?", fullmatch=True)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
CHUNKS = st.lists(st.binary(min_size=1, max_size=300), max_size=4)


@given(FIELDS, CHUNKS)
def test_chunked_responses(fields: list[tuple[bytes, bytes]], chunks: list[bytes]) -> None:
    framed = [*fields, (b"Transfer-Encoding", b"chunked")]
    head = encode.response_head(299, b"So so", framed, b"\r\n")
    assert head == encode.response_head(299, b"So so", lines_of(framed), b"\r\n")
    reader = Responses()
    reader.feed(head + b"".join(map(encode.chunk, chunks)) + encode.LAST_CHUNK)
    assert reader.failure is None
    noted = reader.read[0]
    assert (noted.head.status, noted.head.reason, noted.head.fields) == (299, b"So so", framed)
    assert (noted.body, noted.is_complete) == (b"".join(chunks), True)


@given(FIELDS)
def test_requests(fields: list[tuple[bytes, bytes]]) -> None:
    reader = requests_in([encode.request_head(b"GET", b"/a?b", b"a.test", fields)])
    assert reader.refusal is None
    head = reader.read[0].head
    assert (head.method, head.target, head.authority, head.fields) == (b"GET", b"/a?b", b"a.test", fields)
    assert reader.read[0].is_complete


def test_continue() -> None:
    assert encode.CONTINUE == b"HTTP/1.1 100 Continue\r\n\r\n"
