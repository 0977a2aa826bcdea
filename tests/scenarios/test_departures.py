"""Who has gone holds nothing: no place in a queue, no connection to the origin, no memory (laws 11 and 12)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, gated, head, in_parts
from tests.support.client import KERNEL
from tests.support.messages import chunked, request
from tests.support.proxy import BRISK, Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Serve
    from tests.support.origin import Exchange, Origin

FRESH = "max-age=60"
MIB = 1 << 20


@pytest.fixture
def pace() -> Pace:
    """Look for late connections often, so that short deadlines are noticed."""
    return BRISK


class Silent:
    """An origin that answers only what is asked for at /well."""

    def __init__(self, origin: Origin) -> None:
        self.gate = origin.gate()
        origin.otherwise = gated(self.gate, answer(b"late", cache_control=FRESH))
        origin.on("/well", answer(b"well", cache_control="no-store"))


@pytest.fixture
def silent(origin: Origin) -> Iterator[Silent]:
    """Return what holds the origin's answers back."""
    made = Silent(origin)
    yield made
    made.gate.open()


UPGRADE = {"connection": "Upgrade", "upgrade": "websocket"}
DEPARTED: dict[str, Callable[[int], bytes]] = {
    "GET, each of another key": lambda n: request("GET", f"/{n}"),
    "GET, all of one key": lambda _: request("GET", "/one"),
    "GET of a key that is not shared": lambda _: request("GET", "/alone"),
    "GET that wants a fresh answer": lambda _: request("GET", "/one", cache_control="no-cache"),
    "GET of a part": lambda n: request("GET", f"/{n % 3}", range="bytes=0-9"),
    "GET with a condition": lambda n: request("GET", f"/{n % 3}", if_none_match='"x"'),
    "GET with credentials": lambda n: request("GET", f"/{n % 3}", authorization="Basic YTpi"),
    "HEAD": lambda _: request("HEAD", "/one"),
    "POST": lambda _: request("POST", "/one"),
    "POST with content": lambda _: request("POST", "/one", b"content"),
    "POST in chunks": lambda _: request("POST", "/one", transfer_encoding="chunked") + chunked(b"content"),
    "upgrade": lambda _: request("GET", "/one", **UPGRADE),
    "several in one connection": lambda n: request("GET", f"/{n}") + 70 * request("GET", f"/x{n}"),
}


BROKEN_OFF = ["GET, each of another key", "POST with content"]


@pytest.mark.parametrize(
    ("kind", "goes"), [*((kind, "closes") for kind in DEPARTED), *((kind, "resets") for kind in BROKEN_OFF)]
)
def test_who_closes_at_once_takes_nobody_elses_place(
    origin: Origin, serve: Serve, silent: Silent, kind: str, goes: str
) -> None:
    proxy = serve(origin_connections=3, half_close_timeout=0.1, connect_timeout=5)
    origin.on("/alone", answer(b"x", cache_control="no-store"), gated(silent.gate, answer(b"x")))
    if "not shared" in kind:
        proxy.get("/alone")
    gone = []
    for number in range(12):
        client = proxy.connect()
        client.send(DEPARTED[kind](number))
        gone.append(client)
    proxy.await_that(lambda: sum(c.is_busy for c in proxy.server.connections) == 12)
    for client in gone:
        client.reset() if goes == "resets" else client.close()
    began = time.monotonic()
    assert proxy.get("/well").body == b"well"
    assert time.monotonic() - began < 2.5
    proxy.await_connections(0)
    pool = proxy.engine.upstream
    assert proxy.call(lambda: (len(pool.calls), len(pool.waiting), len(proxy.engine.flights.by_key))) == (0, 0, 0)
    proxy.await_that(lambda: pool.open == len(pool.idle))


def test_who_closes_before_an_answer_that_then_stops_is_gone(origin: Origin, serve: Serve) -> None:
    """What is sent to it comes back; nothing is read from it any more, so that has to be looked for."""
    proxy = serve(half_close_timeout=10)
    gate = origin.gate()

    async def stopping(exchange: Exchange) -> None:
        await gate.passed()
        await exchange.send(head(content_length=10, cache_control="no-store") + b"x")
        await exchange.read_until_end()
        exchange.close()

    origin.on("/a", stopping)
    client = proxy.connect()
    client.send(request("GET", "/a"))
    proxy.await_heard_from(client)
    client.close()
    proxy.await_that(lambda: all(c.has_ended for c in proxy.server.connections))
    gate.open()
    origin.await_that(lambda: origin.open_connections == 0)
    proxy.await_connections(0)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_only_sends_no_more_gets_all_of_an_answer_that_begins_in_time(
    origin: Origin, serve: Serve, method: str
) -> None:
    proxy = serve(half_close_timeout=0.3)
    gates = [origin.gate(), origin.gate()]
    origin.on("/a", gated(gates[0], in_parts(b"first ", gates[1], b"rest", cache_control=FRESH)))
    client = proxy.connect()
    client.send(request(method, "/a", b"content" if method == "POST" else None))
    client.end_sending()
    assert client.is_silent(0.1)
    gates[0].open()
    client.head()
    assert client.read(6) == b"first "
    assert client.is_silent(0.6), "once it has begun it may take its time"
    gates[1].open()
    assert client.read(4) == b"rest"
    assert client.is_ended()


def test_who_sends_no_more_has_time_for_each_of_several_answers(origin: Origin, serve: Serve) -> None:
    proxy = serve(half_close_timeout=0.3)
    gates = [origin.gate() for _ in range(3)]
    for number, gate in enumerate(gates):
        origin.on(f"/{number}", gated(gate, answer(b"%d" % number, cache_control="no-store")))
    client = proxy.connect()
    client.send(b"".join(request("GET", f"/{number}") for number in range(3)))
    client.end_sending()
    for number, gate in enumerate(gates):
        assert client.is_silent(0.15)
        gate.open()
        assert client.answer().body == b"%d" % number
    assert client.is_ended()


@pytest.mark.parametrize("behind", [0, 1])
def test_who_sends_no_more_is_told_that_it_took_too_long(serve: Serve, silent: Silent, behind: int) -> None:
    proxy = serve(half_close_timeout=0.1)
    client = proxy.connect()
    client.send(request("GET", "/a") + behind * request("GET", "/b"))
    client.end_sending()
    got = client.answer()
    assert (got.status, got["Connection"]) == (408, "close")
    assert client.is_ended()


def test_without_a_limit_who_sends_no_more_may_wait(origin: Origin, serve: Serve, silent: Silent) -> None:
    proxy = serve(half_close_timeout=0)
    client = proxy.connect()
    client.send(request("GET", "/a"))
    client.end_sending()
    assert client.is_silent(0.3)
    silent.gate.open()
    assert client.answer().body == b"late"


def test_an_upload_that_is_held_back_ends_with_its_client(serve: Serve, silent: Silent) -> None:
    """Nothing is read from it, so its end has to be looked for."""
    proxy = serve(half_close_timeout=0.1)
    client = proxy.connect()
    client.send(request("POST", "/a", content_length=KERNEL))
    client.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.send(bytes(KERNEL))
    proxy.await_that(lambda: any(c.is_held_back for c in proxy.server.connections))
    client.reset()
    proxy.await_connections(0)
    proxy.await_that(lambda: proxy.engine.upstream.open == 0)


def test_an_upload_that_waits_for_a_connection_ends_with_its_client(serve: Serve, silent: Silent) -> None:
    proxy = serve(half_close_timeout=0.1, origin_connections=1)
    first = proxy.connect()
    first.send(request("GET", "/a"))
    proxy.await_heard_from(first)
    second = proxy.connect()
    second.send(request("POST", "/b", content_length=300_000) + bytes(200_000))
    proxy.await_that(lambda: len(proxy.engine.upstream.waiting) == 1)
    proxy.await_that(lambda: any(c.is_held_back for c in proxy.server.connections))
    second.close()
    proxy.await_that(lambda: len(proxy.engine.upstream.waiting) == 0)
    proxy.await_connections(1)
    first.reset()


# What may still become an entry.


class Endless:
    """A handler that says that its answer is fresh, and sends a little of it again and again."""

    def __init__(self, content: bytes = b"x") -> None:
        self._piece = chunked(content, end=b"")

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.send(head(transfer_encoding="chunked", cache_control=FRESH) + self._piece)
        await exchange.read_until_end()
        exchange.close()


def test_a_fetch_without_a_client_ends_when_it_takes_too_long(origin: Origin, serve: Serve) -> None:
    proxy = serve(unattended_timeout=0.3)
    origin.on("/a", Endless())
    client = proxy.connect()
    client.send(request("GET", "/a"))
    client.head()
    client.reset()
    proxy.await_connections(0)
    assert proxy.engine.upstream.open == 1, "it may still become an entry"
    origin.await_that(lambda: origin.open_connections == 0)
    assert proxy.call(lambda: proxy.reserved) == 0


def test_who_comes_back_in_time_saves_it(origin: Origin, serve: Serve) -> None:
    proxy = serve(unattended_timeout=0.3)
    gate = origin.gate()
    origin.on("/a", in_parts(b"first ", gate, b"rest", cache_control=FRESH))
    first = proxy.connect()
    first.send(request("GET", "/a"))
    first.head()
    first.reset()
    proxy.await_connections(0)
    second = proxy.connect()
    second.send(request("GET", "/a"))
    second.head()
    time.sleep(0.5)
    gate.open()
    assert second.read(10) == b"first rest"
    assert origin.count("/a") == 1


def test_who_had_only_a_condition_or_a_part_leaves_a_fetch_to_itself(origin: Origin, serve: Serve) -> None:
    proxy = serve(unattended_timeout=0.3)
    gate = origin.gate()
    origin.on("/a", in_parts(b"first ", gate, b"rest", cache_control=FRESH, etag='"x"'))
    assert proxy.get("/a", if_none_match='"x"').status == 304
    assert proxy.get("/a", range="bytes=0-1").body == b"fi"
    proxy.await_that(lambda: proxy.engine.upstream.open == 0)
    assert origin.count("/a") == 1
    gate.open()


def test_a_fetch_without_a_client_gives_way_to_one_with(origin: Origin, serve: Serve) -> None:
    proxy = serve(origin_connections=2, connect_timeout=5)
    origin.otherwise = Endless()
    origin.on("/well", answer(b"well", cache_control="no-store"))
    for target in ("/1", "/2"):
        client = proxy.connect()
        client.send(request("GET", target))
        client.head()
        client.reset()
        proxy.await_connections(0)
    assert proxy.engine.upstream.open == 2
    assert proxy.get("/well").body == b"well"
    proxy.await_that(lambda: len(proxy.engine.upstream.calls) == 1)
    assert list(proxy.engine.flights.by_key) == [proxy.engine.origin.key_prefix(b"") + b"/2"], "the oldest went"


def test_a_fetch_that_has_lost_its_client_gives_way_to_one_that_waits_already(origin: Origin, serve: Serve) -> None:
    proxy = serve(origin_connections=1, connect_timeout=5)
    origin.otherwise = Endless()
    origin.on("/well", answer(b"well", cache_control="no-store"))
    client = proxy.connect()
    client.send(request("GET", "/1"))
    client.head()
    waiting = proxy.connect()
    waiting.send(request("GET", "/well"))
    proxy.await_that(lambda: len(proxy.engine.upstream.waiting) == 1)
    client.reset()
    assert waiting.answer().body == b"well"


def test_a_refresh_in_the_background_is_bounded_as_well(origin: Origin, serve: Serve, clock) -> None:
    proxy = serve(unattended_timeout=0.2)
    stale = "max-age=1, stale-while-revalidate=1000"
    origin.on("/a", answer(b"old", cache_control=stale), Endless())
    assert proxy.get("/a").x_cache == "MISS"
    clock.now += 10
    assert proxy.get("/a").x_cache == "STALE"
    origin.await_requests(2)
    proxy.await_that(lambda: not proxy.engine.upstream.calls)
    assert proxy.get("/a").body == b"old"


# Slow readers.


def test_who_reads_nothing_holds_up_nobody_else(origin: Origin, serve: Serve) -> None:
    """Of an answer that has grown beyond what may be stored; whoever reads it gets all, byte for byte."""
    proxy = serve(max_object=MIB, send_timeout=1)
    body = bytes(range(256)) * (KERNEL // 128)
    gate = origin.gate()

    async def growing(exchange: Exchange) -> None:
        await exchange.send(head(transfer_encoding="chunked", cache_control=FRESH))
        await gate.passed()
        await exchange.send(chunked(*[body[at : at + 65536] for at in range(0, len(body), 65536)]))

    origin.on("/a", growing)
    stopped = [proxy.connect(receive_buffer=16 * 1024) for _ in range(5)]
    fast = proxy.connect()
    part = proxy.connect()
    for client in (*stopped[:3], fast, *stopped[3:]):
        client.send(request("GET", "/a"))
        origin.await_requests(1)
    stopped[0].head()
    part.send(request("GET", "/a", range=f"bytes=500000-{2 * MIB}"))
    proxy.await_that(lambda: sum(c.is_busy for c in proxy.server.connections) == 7)
    stopped[0].reset()
    gate.open()
    assert fast.answer().body == body
    assert part.head().status in (200, 206)
    assert sum(proxy.held_back().values()) < 8 * MIB
    assert proxy.call(lambda: proxy.reserved) <= 2 * MIB
    assert origin.count("/a") == 1
