"""Content of every size and framing comes through byte for byte; what broke off is never taken for whole (law 6)."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, head, raw
from tests.support.client import Broken
from tests.support.messages import chunked, request

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.answers import Framing
    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

FRESH = "max-age=60"
FRAMINGS: list[Framing] = ["length", "chunked", "close"]
SIZES = [0, 1, 2, 1023, 16 * 1024, 16 * 1024 + 1, 65_536, 262_144 + 7, 3_000_000]
MIB = 1 << 20


def noise(size: int) -> bytes:
    """Return bytes that are the same every time."""
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("size", SIZES)
def test_the_same_bytes_on_miss_and_hit(origin: Origin, proxy: Proxy, size: int, framing: Framing) -> None:
    body = noise(size)
    origin.on("/a", answer(body, framing=framing, cache_control=FRESH))
    miss, hit = proxy.get("/a"), proxy.get("/a")
    assert (miss.x_cache, hit.x_cache) == ("MISS", "HIT")
    assert miss.body == body
    assert hit.body == body
    assert hit["Content-Length"] == str(size)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("size", [0, 1, 16 * 1024 + 1, 3_000_000])
def test_the_same_bytes_when_nothing_is_stored(origin: Origin, proxy: Proxy, size: int, framing: Framing) -> None:
    body = noise(size)
    origin.on("/a", answer(body, framing=framing, cache_control="no-store"))
    for method in ("GET", "POST"):
        assert proxy.ask(method, "/a").body == body


@pytest.mark.parametrize("framing", FRAMINGS)
def test_tens_of_mebibytes(origin: Origin, proxy: Proxy, framing: Framing) -> None:
    piece = noise(MIB)

    async def large(exchange: Exchange) -> None:
        fields = {"length": {"content_length": 32 * MIB}, "chunked": {"transfer_encoding": "chunked"}, "close": {}}
        await exchange.send(head(cache_control=FRESH, **fields[framing]))
        for _ in range(32):
            await exchange.send(chunked(piece, end=b"") if framing == "chunked" else piece)
        if framing == "chunked":
            await exchange.send(b"0\r\n\r\n")
        elif framing == "close":
            exchange.close()

    origin.on("/a", large)
    expected = hashlib.sha256(piece * 32).digest()
    for x_cache in ("MISS", "HIT"):
        got = proxy.get("/a")
        assert (got.x_cache, hashlib.sha256(got.body).digest()) == (x_cache, expected)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_http_1_0_gets_the_same_bytes(origin: Origin, proxy: Proxy, framing: Framing) -> None:
    origin.on("/a", answer(noise(100_000), framing=framing, cache_control=FRESH))
    for _ in range(2):
        got = proxy.get("/a", version="1.0")
        assert got.body == noise(100_000)
        assert "Transfer-Encoding" not in got


@pytest.mark.parametrize("pieces", [1, 3, 997])
def test_chunks_may_be_cut_anywhere(origin: Origin, proxy: Proxy, pieces: int) -> None:
    body = noise(3 * 997)
    message = head(transfer_encoding="chunked", cache_control=FRESH) + chunked(
        *[body[at : at + pieces] for at in range(0, len(body), pieces)]
    )
    origin.on("/a", raw(*[message[at : at + 101] for at in range(0, len(message), 101)], end="keep"))
    assert [proxy.get("/a").body for _ in range(2)] == [body, body]


def test_trailers_are_dropped(origin: Origin, proxy: Proxy) -> None:
    body = chunked(b"content", end=b"0\r\nX-Digest: 1\r\nSet-Cookie: a=b\r\n\r\n")
    origin.on("/a", raw(head(transfer_encoding="chunked", trailer="X-Digest", cache_control=FRESH) + body, end="keep"))
    for x_cache in ("MISS", "HIT"):
        with proxy.connect() as client:
            got = client.get("/a")
            assert (got.body, got.x_cache, "X-Digest" in got or "Set-Cookie" in got) == (b"content", x_cache, False)
            assert client.get("/a").body == b"content"


def test_chunk_extensions_are_dropped(origin: Origin, proxy: Proxy) -> None:
    body = b'5;name=value;other="a;b"\r\nhello\r\n0;last\r\n\r\n'
    origin.on("/a", raw(head(transfer_encoding="chunked", cache_control=FRESH) + body, end="keep"))
    assert [proxy.get("/a").body for _ in range(2)] == [b"hello", b"hello"]


@pytest.mark.parametrize("status", [204, 304])
def test_answers_that_have_no_content(origin: Origin, proxy: Proxy, status: int) -> None:
    origin.on("/a", raw(head(status, cache_control=FRESH, etag='"v1"', content_length=0), end="keep"))
    with proxy.connect() as client:
        for _ in range(2):
            assert client.get("/a", if_none_match='"v1"').status == status
    assert origin.connections == 1


# Content that broke off.

BROKEN = {
    "short length": (raw(head(cache_control=FRESH, content_length=100) + b"x" * 60), b"x" * 60),
    "short length, reset": (raw(head(cache_control=FRESH, content_length=100) + b"x" * 60, end="reset"), b"x" * 60),
    "no last chunk": (
        raw(head(cache_control=FRESH, transfer_encoding="chunked") + chunked(b"x" * 60, end=b"")), b"x" * 60,
    ),
    "half a chunk": (raw(head(cache_control=FRESH, transfer_encoding="chunked") + b"64\r\n" + b"x" * 60), b"x" * 60),
    "no chunk": (raw(head(cache_control=FRESH, transfer_encoding="chunked")), b""),
    "no end of trailers": (
        raw(head(cache_control=FRESH, transfer_encoding="chunked") + chunked(b"x" * 60, end=b"0\r\n")), b"x" * 60,
    ),
    "reset instead of the end": (raw(head(cache_control=FRESH) + b"x" * 60, end="reset"), b"x" * 60),
    "nonsense for a chunk": (
        raw(head(cache_control=FRESH, transfer_encoding="chunked") + chunked(b"x" * 60, end=b"zz\r\n")), b"x" * 60,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_what_broke_off_is_not_stored_and_the_client_can_tell(
    origin: Origin, proxy: Proxy, kind: str, version: str
) -> None:
    broken, part = BROKEN[kind]
    origin.on("/a", broken, answer(b"whole", cache_control=FRESH))
    with proxy.connect() as client:
        client.send(request("GET", "/a", version=version))
        with pytest.raises(Broken) as caught:
            client.answer()
    assert part.startswith(caught.value.body)
    whole = proxy.get("/a")
    assert (whole.x_cache, whole.body) == ("MISS", b"whole")


@pytest.mark.parametrize("kind", BROKEN)
def test_what_broke_off_and_is_not_stored_anyway(origin: Origin, proxy: Proxy, kind: str) -> None:
    origin.on("/a", BROKEN[kind][0])
    with proxy.connect() as client:
        client.send(request("POST", "/a", b""))
        with pytest.raises(Broken):
            client.answer()


# Content larger than what may be stored.


@pytest.mark.parametrize("framing", FRAMINGS)
def test_what_is_too_large_goes_through_unstored(origin: Origin, serve: Serve, framing: Framing) -> None:
    proxy = serve(max_object=100_000)
    origin.on("/a", answer(noise(400_000), framing=framing, cache_control=FRESH))
    origin.on("/b", answer(noise(100_000), framing=framing, cache_control=FRESH))
    for _ in range(2):
        got = proxy.get("/a")
        assert (got.x_cache, got.body) == ("MISS", noise(400_000))
    assert [proxy.get("/b").x_cache for _ in range(2)] == ["MISS", "HIT"]


def test_an_object_never_takes_more_than_half_of_the_store(origin: Origin, serve: Serve) -> None:
    proxy = serve(memory=1_000_000)
    origin.on("/a", answer(noise(600_000), framing="chunked", cache_control=FRESH))
    assert [proxy.get("/a").x_cache for _ in range(2)] == ["MISS", "MISS"]


def test_the_store_keeps_to_its_budget(origin: Origin, serve: Serve) -> None:
    proxy = serve(memory=1_000_000)
    origin.otherwise = answer(noise(90_000), cache_control=FRESH)
    for number in range(40):
        assert proxy.get(f"/{number}").body == noise(90_000)
        assert proxy.engine.store.memory.used <= 1_000_000
    assert proxy.get("/39").x_cache == "HIT"
    assert proxy.engine.store.memory.evictions >= 30
