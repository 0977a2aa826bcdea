"""Entity tags and their two comparisons (RFC 9110 §8.8.3, §13.1.2)."""

import pytest

from springhouse.http import etags

# The table of RFC 9110 §8.8.3.2: a, b, strong comparison, weak comparison.
COMPARED = [
    (b'W/"1"', b'W/"1"', False, True),
    (b'W/"1"', b'W/"2"', False, False),
    (b'W/"1"', b'"1"', False, True),
    (b'"1"', b'W/"1"', False, True),
    (b'"1"', b'"1"', True, True),
    (b'"1"', b'"2"', False, False),
    (b'w/"1"', b'"1"', False, False),  # W is case-sensitive
]


@pytest.mark.parametrize(("a", "b", "strongly", "weakly"), COMPARED)
def test_comparison(a: bytes, b: bytes, strongly: bool, weakly: bool) -> None:
    assert etags.match_strongly(a, b) is strongly
    assert etags.match_weakly(a, b) is weakly


def test_strength() -> None:
    assert etags.is_strong(b'"W/"')
    assert not etags.is_strong(b'W/""')


LISTED = [
    # stored tag, If-None-Match, is it listed?
    (b'"a"', b'"a"', True),
    (b'"a"', b'"b"', False),
    (b'"a"', b'"b", "a"', True),
    (b'"a"', b'"b" ,\t"a"', True),
    (b'"a"', b'"b",,"a",', True),
    (b'"a"', b'W/"a"', True),
    (b'W/"a"', b'"a"', True),
    (b'"a"', b'"A"', False),
    (b'"a"', b"*", True),
    (None, b"*", True),
    (b'"a"', b" * ", True),
    (b'"a"', b'"*"', False),
    (b'"a"', b'"b", *', False),  # the grammar has * alone only
    (None, b'"a"', False),
    (b'"a"', b"", False),
    (b'"x,y"', b'"x,y"', True),
    (b'"x"', b'"x,y"', False),
    (b'"b"', b'"a\\", "b"', True),  # a backslash is an ordinary character of an opaque-tag
    (b'"a\\"', b'"a\\", "b"', True),
    (b'"\xe9"', b'"\xe9"', True),
    (b'""', b'""', True),
    (b"a", b"a", True),  # not quoted, but equal
    (b'"a"', b"a", False),
]


@pytest.mark.parametrize(("tag", "value", "expected"), LISTED)
def test_is_listed(tag: bytes | None, value: bytes, expected: bool) -> None:
    assert etags.is_listed(tag, value) is expected
