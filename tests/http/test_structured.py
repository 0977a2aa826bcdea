"""Structured fields (RFC 9651): dictionaries in, strings out."""

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from springhouse.http.structured import dictionary, strings, text

READ = [
    ([b"max-age=60, no-store"], {"max-age": 60, "no-store": True}),
    ([b"max-age=60", b"no-store"], {"max-age": 60, "no-store": True}),
    ([b'private="a, b"'], {"private": "a, b"}),
    ([b"max-age=60;x=1"], {"max-age": 60}),
    ([b"a=?0"], {"a": False}),
    ([b"a=1, a=2"], {"a": 2}),  # §3.2: the last one, unlike Cache-Control
    ([], {}),
    ([b""], {}),
    ([b"max-age=60,"], None),
    ([b"Max-Age=60"], None),  # keys are lower-case
    ([b"max-age = 60"], None),
    ([b'x="unterminated'], None),
    ([b"\xff"], None),
]


@pytest.mark.parametrize(("lines", "expected"), READ)
def test_dictionary(lines: list[bytes], expected: dict[str, object] | None) -> None:
    assert dictionary(lines) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b'"a", "b"', b'"c"'], (b"a", b"b", b"c")),
        ([b'"a\\"b"'], (b'a"b',)),
        ([b'"a";x=1'], (b"a",)),
        ([b'"a", b'], ()),
        ([b'"a", 1'], ()),
        ([b'"a'], ()),
        ([b'("a")'], ()),
        ([], ()),
    ],
)
def test_strings(lines: list[bytes], expected: tuple[bytes, ...]) -> None:
    assert strings(lines) == expected


@given(st.text())
def test_text_is_always_a_string_item(value: str) -> None:
    parsed = http_sf.parse(text(value), tltype="item")[0]
    assert parsed == "".join(c if " " <= c <= "~" else "?" for c in value)
