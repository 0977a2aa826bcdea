"""Operations on a header section (RFC 9110 §5, §7.6.1)."""

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.heads import fields

from springhouse.http import fields as f
from springhouse.http import headers
from springhouse.http.memo import BOUNDS, held

if TYPE_CHECKING:
    from springhouse.http.fields import Field

MEMBERS = [
    # value, members (§5.6.1)
    (b"", []),
    (b"a", [b"a"]),
    (b"a, b ,\tc", [b"a", b"b", b"c"]),
    (b",a,, ,b,", [b"a", b"b"]),
    (b'a="x, y", b', [b'a="x, y"', b"b"]),
    (b'"x, \\" y", b', [b'"x, \\" y"', b"b"]),
    (b'a="\\\\", b', [b'a="\\\\"', b"b"]),
    (b'a="x, b', [b'a="x, b']),
    (b"a b, c", [b"a b", b"c"]),
]


@pytest.mark.parametrize(("value", "expected"), MEMBERS)
def test_members(value: bytes, expected: list[bytes]) -> None:
    assert headers.members(value) == expected


@given(st.lists(st.from_regex(rb'[a-z]+(="([^"\\]|\\[ -~])*")?', fullmatch=True)))
def test_members_undoes_joining(parts: list[bytes]) -> None:
    assert headers.members(b" , ".join(parts)) == parts


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"a", b"a"), (b'"a"', b"a"), (b'"a\\"\\\\b"', b'a"\\b'), (b'""', b""), (b'"', b'"'), (b'"a', b'"a'), (b"", b"")],
)
def test_unquoted(value: bytes, expected: bytes) -> None:
    assert headers.unquoted(value) == expected


SECTION = fields("ETag: 1", "cache-control: a", "X-Other:  b ", "CACHE-CONTROL:c", "eTaG:2")


def test_lookups_know_no_case_and_strip() -> None:
    assert headers.first(SECTION, b"etag") == b"1"
    assert headers.first(SECTION, b"x-other") == b"b"
    assert headers.first([(b"A", b"\t 1 \t")], b"a") == b"1"
    assert headers.first(SECTION, b"absent") is None
    assert headers.values(SECTION, b"cache-control") == [b"a", b"c"]
    assert headers.combined_value(SECTION, b"cache-control") == b"a, c"
    assert headers.combined_value(SECTION, b"x-other") == b"b"
    assert headers.combined_value(SECTION, b"absent") is None


def test_bits_of() -> None:
    assert headers.bits_of(SECTION) == f.ETAG | f.CACHE_CONTROL
    assert headers.bits_of(fields("Content-Length: 1", "content-length: 1")) == f.CONTENT_LENGTH | f.REPEATED
    assert headers.bits_of(fields("Cookie: 1", "Cookie: 1")) == f.COOKIE
    assert headers.bits_of([]) == 0


END_TO_END = [
    # fields, also left out, what remains (§7.6.1)
    (["A: 1", "b: 2"], 0, ["A: 1", "b: 2"]),
    (["A: 1", "Connection: close"], 0, ["A: 1"]),
    (["A: 1", "cOnnection: close"], 0, ["A: 1"]),
    (["A: 1", "Connection: keep-alive", "Keep-Alive: timeout=5"], 0, ["A: 1"]),
    (["A: 1", "B: 2", "Connection: b, close"], 0, ["A: 1"]),
    (["A: 1", "x-HOP: 2", "Connection: close", "connection: X-Hop"], 0, ["A: 1"]),
    (["Etag: 1", "Connection: eTAG"], 0, []),
    (["Connection: close, keep-alive", "Close: 1"], 0, ["Close: 1"]),
    (["TE: trailers", "Trailer: x", "Transfer-Encoding: chunked", "Upgrade: h2c", "HTTP2-Settings: x"], 0, []),
    (["Proxy-Connection: close", "Proxy-Authorization: x", "proxy-authenticate: y"], 0, []),
    (["Surrogate-Capability: x", "A: 1"], 0, ["A: 1"]),
    (["A: 1", "ETag: 2", "Age: 3"], f.AGE, ["A: 1", "ETag: 2"]),
    (["A: 1", "aGE: 3"], f.AGE, ["A: 1"]),
    (["A: 1", "Age: 3", "Connection: A"], f.AGE, []),
]


@pytest.mark.parametrize(("lines", "also", "remaining"), END_TO_END)
def test_end_to_end(lines: list[str], also: int, remaining: list[str]) -> None:
    section = fields(*lines)
    assert headers.end_to_end(section, headers.bits_of(section), also) == fields(*remaining)


def test_end_to_end_drops_unusual_spellings_whatever_has_been_learnt() -> None:
    section = fields("A: 1", "tRANSFER-eNCODING: chunked", "kEEP-aLIVE: 1", "pROXY-cONNECTION: 1", "x-New: 1")
    for number in range(6000):
        f.learn(b"x-%d" % number)
        if number % 500 == 0:
            assert headers.end_to_end(section, headers.bits_of(section)) == fields("A: 1", "x-New: 1")


def test_connection_may_nominate_any_number_of_fields() -> None:
    listed = [b"x-%d" % number for number in range(5000)]
    section = [(b"A", b"1"), *[(name.title(), b"1") for name in listed], (b"Connection", b", ".join(listed))]
    assert headers.end_to_end(section, headers.bits_of(section)) == [(b"A", b"1")]


def test_end_to_end_returns_a_list_of_its_own() -> None:
    section: list[Field] = fields("A: 1")
    assert headers.end_to_end(section, 0) is not section


@pytest.mark.parametrize(
    ("value", "token", "in_value"),
    [
        (b"X-a.b_c~1", True, True), (b"a b", False, True), (b"", False, True), (b"a:", False, True),
        (b"a\r\nb", False, False), (b"a\x00", False, False), (b"a\x7f", False, False), (b"\tx\xe9", False, True),
    ],
)  # fmt: skip
def test_syntax(value: bytes, token: bool, in_value: bool) -> None:
    assert headers.is_token(value) is token
    assert headers.is_value(value) is in_value


_NAME = st.from_regex(rb"[A-Za-z-]{1,9}", fullmatch=True)
_TEXT = st.from_regex(rb"([!-~]([ -~\t\x80-\xff]{0,9}[!-~])?)?", fullmatch=True)


@given(st.lists(st.tuples(_NAME, _TEXT), max_size=8))
def test_fields_are_the_same_when_they_have_been_lines(given_fields: list[f.Field]) -> None:
    lines = headers.lines_of(given_fields)
    assert headers.fields_of(lines) == given_fields
    assert lines == b"".join(b"%b: %b\r\n" % field for field in given_fields)


@given(st.lists(st.tuples(st.sampled_from([b"ETag", b"etag", b"X-ETag", b"ET"]), _TEXT | st.just(b" a\t")), max_size=4))
def test_the_first_line_of_a_name_is_its_first_field(given_fields: list[f.Field]) -> None:
    assert headers.first_line(headers.lines_of(given_fields), b"etag") == headers.first(given_fields, b"etag")


def test_layouts_are_remembered_but_not_without_bound() -> None:
    section = fields("A: 1", "ETag: 2")
    assert headers.layout_of(section) is headers.layout_of(fields("A: 3", "ETag: 4"))
    known = headers.layout_of(section)
    for unusual in ([(b"X" * 9000, b"1")], [(b"X%d" % n, b"1") for n in range(500)]):
        assert headers.layout_of(unusual) is not headers.layout_of(unusual)
    for n in range(10_000):
        headers.layout_of([(b"X-%d" % n, b"1")])
    assert held()["header layouts"] <= BOUNDS["header layouts"].limit
    assert headers.layout_of(section) is not known
    assert headers.layout_of(section).places == known.places == {f.ETAG: 1}


def test_a_field_cannot_become_two() -> None:
    with pytest.raises(ValueError, match="line break"):
        headers.lines_of([(b"X", b"a\r\nSet-Cookie: b")])
    with pytest.raises(ValueError, match="unpack"):
        headers.fields_of(b"X: a\r\nnonsense\r\n")
