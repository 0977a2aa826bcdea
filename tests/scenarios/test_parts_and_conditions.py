"""A client's own conditions and ranges, answered from what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, head

if TYPE_CHECKING:
    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

BODY = bytes(range(256)) * 4
MODIFIED, LATER, EARLIER = (f"{day} Nov 2026 10:00:00 GMT" for day in ("Fri, 20", "Sat, 21", "Thu, 19"))


@pytest.fixture
def stored(origin: Origin, proxy: Proxy) -> Proxy:
    """Return a proxy that has /a stored."""
    fields = {"etag": '"v1"', "last_modified": MODIFIED, "x_own": "kept"}
    origin.on("/a", answer(BODY, cache_control="max-age=60", content_type="text/plain", **fields))
    proxy.get("/a")
    return proxy


@pytest.mark.parametrize(
    "condition",
    [
        {"if_none_match": '"v1"'},
        {"if_none_match": 'W/"v1"'},
        {"if_none_match": '"v0", "v1"'},
        {"if_none_match": ['"v0"', '"v1"']},
        {"if_none_match": "*"},
        {"if_modified_since": MODIFIED},
        {"if_modified_since": LATER},
        {"if_none_match": '"v1"', "if_modified_since": EARLIER},
    ],
    ids=str,
)
def test_the_client_is_told_that_it_has_it_already(stored: Proxy, condition: dict[str, str]) -> None:
    for method in ("GET", "HEAD"):
        unchanged = stored.ask(method, "/a", **condition)
        assert (unchanged.status, unchanged.x_cache, unchanged.body) == (304, "HIT", b"")
        assert (unchanged["ETag"], unchanged["Cache-Control"], unchanged.age) == ('"v1"', "max-age=60", 0)
        assert "Content-Length" not in unchanged


@pytest.mark.parametrize(
    "condition",
    [
        {"if_none_match": '"v2"'},
        {"if_modified_since": EARLIER},
        {"if_modified_since": "yesterday"},
        {"if_none_match": '"v2"', "if_modified_since": LATER},
    ],
    ids=str,
)
def test_what_the_client_has_not_it_gets(stored: Proxy, condition: dict[str, str]) -> None:
    full = stored.get("/a", **condition)
    assert (full.status, full.x_cache, full.body) == (200, "HIT", BODY)


def test_a_condition_on_a_cold_cache_still_fills_it(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(BODY, cache_control="max-age=60", etag='"v1"'))
    assert proxy.get("/a", if_none_match='"v1"').status == 304
    assert "If-None-Match" not in origin.last
    assert proxy.get("/a").x_cache == "HIT"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, 1024),
        ("bytes=-24", 1000, 1024),
        ("bytes=-5000", 0, 1024),
        ("bytes=1000-5000", 1000, 1024),
        ("BYTES=1-2", 1, 3),
    ],
)
def test_a_part_of_what_is_stored(origin: Origin, stored: Proxy, asked: str, start: int, stop: int) -> None:
    part = stored.get("/a", range=asked)
    assert (part.status, part.x_cache, part.body) == (206, "HIT", BODY[start:stop])
    assert part["Content-Range"] == f"bytes {start}-{stop - 1}/1024"
    assert (part["ETag"], part["Content-Type"]) == ('"v1"', "text/plain")
    assert origin.count("/a") == 1


@pytest.mark.parametrize(
    "more", [{}, {"if_range": '"v1"'}, {"cache_control": "max-age=100"}, {"cache_control": "no-cache"}]
)
def test_a_part_has_no_digest_of_the_whole(origin: Origin, proxy: Proxy, more: dict[str, str]) -> None:
    """RFC 9530 §2, §3: Content-Digest is of a message's content, Repr-Digest of the representation."""
    digests = {"content_digest": "sha-256=:aA==:", "CONTENT-MD5": "bQ==", "repr_digest": "sha-256=:cg==:"}
    whole = answer(BODY, cache_control="max-age=60", etag='"v1"', **digests)
    origin.on("/a", whole, answer(b"", 304, etag='"v1"', content_digest="sha-256=:ZQ==:"))
    assert proxy.get("/a")["Content-Digest"] == "sha-256=:aA==:"
    part = proxy.get("/a", range="bytes=2-4", **more)
    assert (part.status, part.body) == (206, BODY[2:5])
    assert "Content-Digest" not in part
    assert "Content-MD5" not in part
    assert part["Repr-Digest"] == "sha-256=:cg==:"
    missing, same = proxy.get("/a", range="bytes=5000-"), proxy.get("/a", if_none_match='"v1"')
    assert (missing.status, same.status) == (416, 304)
    assert not [name for got in (missing, same) for name, _ in got.fields if b"Digest" in name or b"MD5" in name]
    again = proxy.get("/a")
    assert [again[name] for name in ("Content-Digest", "Content-MD5", "Repr-Digest")] == [*digests.values()]


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000", "bytes=-0"])
def test_a_part_that_is_not_there(stored: Proxy, asked: str) -> None:
    none = stored.get("/a", range=asked)
    assert (none.status, none["Content-Range"], none.body) == (416, "bytes */1024", b"")


@pytest.mark.parametrize("asked", ["bytes=9-3", "lines=1-2", "bytes=a-b", "bytes=0-1,4-5", "bytes="])
def test_a_range_that_is_not_understood_is_ignored(stored: Proxy, asked: str) -> None:
    full = stored.get("/a", range=asked)
    assert (full.status, full.body) == (200, BODY)


@pytest.mark.parametrize(
    ("validator", "status"), [('"v1"', 206), ('"v2"', 200), ('W/"v1"', 200), (MODIFIED, 206), (LATER, 200)]
)
def test_if_range_wants_the_same_representation(stored: Proxy, validator: str, status: int) -> None:
    assert stored.get("/a", range="bytes=0-9", if_range=validator).status == status


def test_head_knows_no_ranges(stored: Proxy) -> None:
    whole = stored.ask("HEAD", "/a", range="bytes=0-9")
    assert (whole.status, whole["Content-Length"]) == (200, "1024")


def test_a_range_of_what_is_not_stored_comes_from_the_origin(origin: Origin, proxy: Proxy) -> None:
    async def part(exchange: Exchange) -> None:
        assert exchange.request["Range"] == "bytes=2-4"
        fields = {"content_range": "bytes 2-4/10", "content_length": 3, "cache_control": "max-age=60"}
        await exchange.send(head(206, **fields) + b"cde")

    origin.on("/a", part, answer(b"abcdefghij", cache_control="max-age=60"))
    cold = proxy.get("/a", range="bytes=2-4")
    assert (cold.status, cold.x_cache, cold.body, cold["Content-Range"]) == (206, "MISS", b"cde", "bytes 2-4/10")
    assert proxy.get("/a").body == b"abcdefghij"
    assert (hit := proxy.get("/a", range="bytes=2-4")).body == b"cde"
    assert hit.x_cache == "HIT"


def test_an_encoded_representation_is_kept_byte_for_byte(origin: Origin, proxy: Proxy) -> None:
    packed = b"\x1f\x8b\x08\x00 this is no gzip, and nobody looks"
    origin.on("/a", answer(packed, cache_control="max-age=60", content_encoding="gzip"))
    assert proxy.get("/a").body == proxy.get("/a").body == packed
    assert proxy.get("/a")["Content-Encoding"] == "gzip"
