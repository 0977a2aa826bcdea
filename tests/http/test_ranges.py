"""A Range value against a length (RFC 9110 §14.1.2, §14.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springhouse.http.ranges import resolve

RESOLVED = [
    # value, length, (start, stop) or False (416) or None (ignored), why
    (b"bytes=0-0", 10, (0, 1), "the first byte"),
    (b"bytes=0-9", 10, (0, 10), "all of it"),
    (b"bytes=2-5", 10, (2, 6), "last-pos is inclusive"),
    (b"bytes=5-", 10, (5, 10), "open"),
    (b"bytes=5-999", 10, (5, 10), "last-pos beyond the end is the end"),
    (b"bytes=9-9", 10, (9, 10), "the last byte"),
    (b"bytes=10-", 10, False, "first-pos is not within"),
    (b"bytes=10-20", 10, False, "first-pos is not within"),
    (b"bytes=-3", 10, (7, 10), "suffix"),
    (b"bytes=-10", 10, (0, 10), "suffix of all"),
    (b"bytes=-99", 10, (0, 10), "suffix longer than all"),
    (b"bytes=-0", 10, False, "an empty suffix is unsatisfiable"),
    (b"bytes=0-", 0, False, "nothing to select from"),
    (b"bytes=-5", 0, False, "nothing to select from"),
    (b"BYTES=0-1", 10, (0, 2), "range units have no case"),
    (b"bytes = 0-1 ", 10, (0, 2), "white space some clients send"),
    (b"bytes=5-4", 10, None, "last before first is invalid, and ignored"),
    (b"bytes=-", 10, None, "invalid"),
    (b"bytes=", 10, None, "invalid"),
    (b"bytes", 10, None, "invalid"),
    (b"", 10, None, "invalid"),
    (b"bytes=0-1,3-4", 10, None, "several ranges: the whole is sent instead"),
    (b"bytes=a-b", 10, None, "invalid"),
    (b"bytes=0x0-1", 10, None, "invalid"),
    (b"bytes=+1-2", 10, None, "invalid"),
    (b"bytes=1--2", 10, None, "invalid"),
    (b"items=0-1", 10, None, "an unknown unit is ignored"),
    (b"bytes=" + b"9" * 19 + b"-", 10, False, "a large number"),
    (b"bytes=" + b"9" * 20 + b"-", 10, None, "an absurd one"),
    (b"bytes=0-" + b"9" * 19, 10, (0, 10), "a large number"),
]


@pytest.mark.parametrize(("value", "length", "expected", "why"), RESOLVED)
def test_resolve(value: bytes, length: int, expected: tuple[int, int] | bool | None, why: str) -> None:
    assert resolve(value, length) == expected, why
    assert type(resolve(value, length)) is type(expected)


@given(st.binary(max_size=30) | st.from_regex(rb"bytes=[0-9]{0,3}-[0-9]{0,3}", fullmatch=True), st.integers(0, 500))
def test_what_is_selected_lies_within(value: bytes, length: int) -> None:
    found = resolve(value, length)
    if isinstance(found, tuple):
        assert 0 <= found[0] < found[1] <= length
