"""What an unsafe request makes invalid (RFC 9111 §4.4)."""

from __future__ import annotations

import pytest
from tests.support.heads import get, ok, table

from springhouse.rules.invalidation import invalidated

ORIGIN = b"http://origin.test"
KEY = ORIGIN + b"/dir/a?q"


@pytest.mark.parametrize(
    ("method", "status", "expected"),
    [
        (b"POST", 200, True), (b"PUT", 201, True), (b"DELETE", 204, True), (b"PATCH", 303, True), (b"POST", 399, True),
        (b"FOO", 200, True), (b"post", 200, True),  # methods whose safety is unknown
        (b"POST", 199, False), (b"POST", 400, False), (b"POST", 404, False), (b"DELETE", 500, False),
        (b"GET", 200, False), (b"HEAD", 200, False), (b"OPTIONS", 200, False), (b"TRACE", 200, False),
        (b"QUERY", 200, False), (b"PROPFIND", 207, False),
    ],
)  # fmt: skip
def test_the_target(method: bytes, status: int, expected: bool) -> None:
    response = ok("Location: /b", "Content-Location: /c", status=status)
    keys = [KEY, ORIGIN + b"/b", ORIGIN + b"/c"] if expected else []
    assert invalidated(get(method=method), KEY, response) == keys


LOCATIONS = [
    # about, reference, the key it names; None: another origin, or none at all
    ("a path", "/b", b"/b"),
    ("a path and query", "/b?x=1", b"/b?x=1"),
    ("relative", "b", b"/dir/b"),
    ("relative, up", "../b", b"/b"),
    ("a query only", "?x", b"/dir/a?x"),
    ("a fragment is no part of it", "/b#top", b"/b"),
    ("the origin itself", "http://origin.test", b"/"),
    ("absolute", "http://origin.test/b", b"/b"),
    ("the host has no case", "HTTP://ORIGIN.Test/b", b"/b"),
    ("without a scheme", "//origin.test/b", b"/b"),
    ("escapes are left as they are", "/b%2F%c3", b"/b%2F%c3"),
    ("the target itself, once", "/dir/a?q", None),
    ("empty: the target itself", "", None),
    ("another scheme", "https://origin.test/b", None),
    ("another host", "http://other.test/b", None),
    ("another host, without a scheme", "//other.test/b", None),
    ("another port", "http://origin.test:81/b", None),
    ("a subdomain", "http://a.origin.test/b", None),
    ("user information", "http://origin.test@other.test/b", None),
    ("no http", "mailto:a@b", None),
    ("nonsense", "http://[/b", None),
]


@table("about reference target", LOCATIONS)
@pytest.mark.parametrize("field", ["Location", "Content-Location"])
def test_what_location_names(about: str, reference: str, target: bytes | None, field: str) -> None:
    found = invalidated(get(method=b"POST"), KEY, ok(f"{field}: {reference}"))
    assert found == [KEY] + ([ORIGIN + target] if target is not None else [])


def test_both_at_once() -> None:
    found = invalidated(get(method=b"POST"), KEY, ok("Location: /b", "Content-Location: /b"))
    assert found == [KEY, ORIGIN + b"/b"]
