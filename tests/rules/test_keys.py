"""The key is what the origin was asked, and nothing else is (RFC 9111 §2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springhouse.rules import keys

SCHEMES = st.sampled_from([b"http", b"https"])
AUTHORITIES = st.from_regex(rb"[a-z0-9.-]{1,5}(:[0-9]{1,3})?", fullmatch=True) | st.just(b"")
TARGETS = st.from_regex(rb"/[!-~]{0,6}", fullmatch=True) | st.just(b"*") | st.sampled_from([b"//", b"/://", b"/a?b"])


@given(st.lists(st.tuples(SCHEMES, AUTHORITIES, TARGETS), min_size=2, max_size=2, unique=True))
def test_different_requests_have_different_keys(asked: list[tuple[bytes, bytes, bytes]]) -> None:
    assert keys.key_of(*asked[0]) != keys.key_of(*asked[1])


@given(SCHEMES, AUTHORITIES, TARGETS)
def test_a_key_is_the_uri(scheme: bytes, authority: bytes, target: bytes) -> None:
    assert keys.key_of(scheme, authority, target) == scheme + b"://" + authority + target


@given(st.from_regex(rb"/[a-z/.?]{0,6}", fullmatch=True), st.binary(max_size=12))
def test_no_reference_names_a_key_of_another_origin(target: bytes, reference: bytes) -> None:
    key = keys.key_of(b"http", b"a.test", target)
    other = keys.same_origin(key, reference)
    assert other is None or other.startswith(b"http://a.test/")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://a.test/b?c", (b"http", b"a.test", b"/b?c")),
        ("HTTPS://A.Test:8443/B", (b"https", b"a.test:8443", b"/B")),
        ("http://http/p", (b"http", b"http", b"/p")),
        ("http://t/a", (b"http", b"t", b"/a")),
        ("http://a.test", (b"http", b"a.test", b"/")),
        ("http://a.test?q", (b"http", b"a.test", b"/?q")),
        ("http://a.test/b#c", (b"http", b"a.test", b"/b")),
        ("http://[::1]:80/", (b"http", b"[::1]:80", b"/")),
        ("http://a.test/http://b.test/", (b"http", b"a.test", b"/http://b.test/")),
    ],
)
def test_the_parts_of_a_url_are_those_of_its_key(url: str, parts: tuple[bytes, bytes, bytes]) -> None:
    assert keys.parts_of_url(url) == parts


@pytest.mark.parametrize("url", ["", "a.test/b", "ftp://a.test/", "http:///b", "http://", "http:/a.test", "//a.test/b"])
def test_what_is_no_http_url_has_no_parts(url: str) -> None:
    with pytest.raises(ValueError, match="neither a path nor an http URL"):
        keys.parts_of_url(url)
