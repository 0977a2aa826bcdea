"""Objects larger than memory: on their way to the disk or to Redis while they arrive, and to everybody who asks."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from tests.support.answers import answer, gated, head, in_parts
from tests.support.client import Broken
from tests.support.messages import chunked, request
from tests.support.redis_server import redis_server, shared_redis

from springhouse.rules.purging import Keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Serve
    from tests.support.answers import Framing
    from tests.support.client import Client
    from tests.support.origin import Exchange, Handler, Origin
    from tests.support.proxy import Proxy
    from tests.support.redis_server import RedisServer

    from springhouse.engine.recordings import Recording

    Open = Callable[..., Proxy]

__all__ = ["redis_server", "shared_redis"]

MIB = 1 << 20
MEMORY = 8 * MIB
SIZE = 3 * MEMORY
BODY = random.Random(1).randbytes(SIZE)
HALF = SIZE // 2
FRESH = "max-age=60"


@pytest.fixture(params=["disk", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a store that is empty."""
    if request.param == "disk":
        return f"disk:{tmp_path}"
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


@pytest.fixture
def opened(serve: Serve, store: str) -> Open:
    """Return a function that starts a proxy with little memory before the store; keyword arguments are settings."""

    def start(**settings: object) -> Proxy:
        proxy = serve(**{"store": store, "memory": MEMORY, "max_object": "1GiB", "store_timeout": 10.0, **settings})
        if store.startswith("redis"):
            proxy.await_that(lambda: proxy.engine.store.tier.is_up)
        return proxy

    return start


def halves(gate: object, rest: bytes = BODY[HALF:], **fields: object) -> Handler:
    """Send the first half of the body, and the rest when the gate is open."""
    return in_parts(BODY[:HALF], gate, rest, cache_control=FRESH, etag='"v1"', **fields)


def asked(proxy: Proxy, target: str = "/a", **fields: object) -> Client:
    """Return a client that has asked, once the proxy has heard it."""
    client = proxy.connect()
    client.send(request("GET", target, **fields))
    proxy.await_heard_from(client)
    return client


def slow(proxy: Proxy) -> Client:
    """Return a client that has asked and reads nothing."""
    client = proxy.connect(receive_buffer=32 * 1024)
    client.send(request("GET", "/a"))
    proxy.await_heard_from(client)
    return client


def await_half(proxy: Proxy) -> None:
    """Wait until what has come is stored, so that little of it is in memory."""

    def is_half() -> bool:
        recording = arriving(proxy)
        return recording is not None and recording.size == HALF and recording.size - recording.held_from < MIB

    proxy.await_that(is_half)
    assert proxy.call(lambda: proxy.reserved) < MIB


def arriving(proxy: Proxy) -> Recording | None:
    """Return the content that is arriving."""
    entries = proxy.engine.flights.selected(Keys((proxy.engine.origin.prefix + b"/a",)))
    return entries[0].content if entries else None


def await_readers(proxy: Proxy, count: int) -> None:
    """Wait until so many clients are being sent what is arriving."""

    def are_there() -> bool:
        recording = arriving(proxy)
        return recording is not None and len(recording.readers) == count

    proxy.await_that(are_there)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_it_is_stored_and_outlives_the_proxy(origin: Origin, opened: Open, framing: Framing) -> None:
    origin.on("/a", answer(BODY, framing=framing, cache_control=FRESH))
    proxy = opened()
    for x_cache in ("MISS", "HIT"):
        found = proxy.get("/a")
        assert (found.x_cache, found.body == BODY) == (x_cache, True)
    proxy.close()
    proxy = opened()
    found = proxy.get("/a")
    assert (found.x_cache, found.body == BODY, found["Content-Length"]) == ("HIT", True, str(SIZE))
    part = proxy.get("/a", range=f"bytes={HALF - 5}-{HALF + MIB}")
    assert (part.status, part.x_cache, part.body == BODY[HALF - 5 : HALF + MIB + 1]) == (206, "HIT", True)
    assert origin.count("/a") == 1


def test_many_who_ask_at_once_cost_one_request_and_little_memory(origin: Origin, opened: Open) -> None:
    origin.on("/a", answer(BODY, cache_control=FRESH))
    proxy = opened()
    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(lambda _: proxy.get("/a").body == BODY, range(12)))
    assert found == [True] * 12
    assert origin.count("/a") == 1
    assert proxy.call(lambda: proxy.engine.store.memory.used) < MIB


def test_who_comes_late_gets_all_of_it_from_the_first_byte(origin: Origin, opened: Open) -> None:
    gate = origin.gate()
    origin.on("/a", halves(gate))
    proxy = opened()
    leader = asked(proxy)
    await_half(proxy)
    late = [asked(proxy), asked(proxy, range=f"bytes={HALF - 9}-")]
    await_readers(proxy, 3)
    assert proxy.get("/a", range="bytes=5-1000004").body == BODY[5:1000005], "it does not wait for the rest"
    assert late[0].head().status == 200
    assert late[0].read(HALF) == BODY[:HALF]
    gate.open()
    assert late[0].read(SIZE - HALF) == BODY[HALF:]
    assert late[1].answer().body == BODY[HALF - 9 :]
    assert leader.answer().body == BODY
    assert origin.count("/a") == 1
    assert proxy.get("/a").x_cache == "HIT"


def test_a_slow_client_holds_up_neither_the_others_nor_the_store(origin: Origin, opened: Open) -> None:
    origin.on("/a", answer(BODY, cache_control=FRESH))
    proxy = opened()
    laggards = [slow(proxy) for _ in range(3)]
    assert proxy.get("/a").body == BODY
    assert proxy.get("/a").x_cache == "HIT"
    assert proxy.call(lambda: proxy.reserved) == 0
    for laggard in laggards[:2]:
        assert laggard.answer().body == BODY
    laggards[2].reset()
    assert origin.count("/a") == 1


def test_it_is_stored_though_its_client_has_left(origin: Origin, opened: Open) -> None:
    gate = origin.gate()
    origin.on("/a", halves(gate))
    proxy = opened()
    leader = asked(proxy)
    await_half(proxy)
    leader.reset()
    proxy.await_connections(0)
    gate.open()
    found = proxy.get("/a")
    assert (found.body == BODY, origin.count("/a")) == (True, 1)
    assert proxy.get("/a").x_cache == "HIT"


def test_what_breaks_off_is_not_stored_and_all_who_read_it_are_told(origin: Origin, opened: Open, store: str) -> None:
    gate = origin.gate()

    async def broken(exchange: Exchange) -> None:
        await exchange.send(head(content_length=SIZE, cache_control=FRESH) + BODY[:HALF])
        await gate.passed()
        exchange.close()

    origin.on("/a", broken, answer(BODY, cache_control=FRESH))
    proxy = opened()
    leader = asked(proxy)
    await_half(proxy)
    followers = [leader, asked(proxy), slow(proxy), asked(proxy, range=f"bytes={HALF}-")]
    await_readers(proxy, 4)
    gate.open()
    for client in followers:
        with pytest.raises(Broken) as caught:
            client.answer()
        assert BODY.startswith(caught.value.body)
    assert bodies_in(store) == 0
    found = proxy.get("/a")
    assert (found.x_cache, found.body == BODY) == ("MISS", True)
    assert proxy.get("/a").x_cache == "HIT"


def bodies_in(store: str) -> int:
    """Return how many bodies the store has that are not in its rows, once it has had time to remove what was begun."""

    def count() -> int:
        if store.startswith("disk:"):
            return sum(path.is_file() for path in (Path(store[5:]) / "bodies").rglob("*"))
        with redis.Redis.from_url(store) as client:
            return sum(b"}c:" in key for key in client.scan_iter())

    end = time.monotonic() + 10
    while count() and time.monotonic() < end:
        time.sleep(0.01)
    return count()


def got_of(client: Client) -> bytes:
    """Return the content of an answer, as far as it came."""
    try:
        return client.answer().body
    except Broken as broken:
        return broken.body


def test_what_grows_beyond_the_limit_reaches_who_keeps_up_and_is_not_stored(
    origin: Origin, opened: Open, store: str
) -> None:
    gate = origin.gate()

    async def growing(exchange: Exchange) -> None:
        await exchange.send(head(transfer_encoding="chunked", cache_control=FRESH) + chunked(BODY[:HALF], end=b""))
        await gate.passed()
        await exchange.send(chunked(BODY[HALF:]))

    origin.on("/a", growing)
    proxy = opened(max_object=HALF + MIB)
    leader = asked(proxy)
    await_half(proxy)
    clients = [leader, asked(proxy), slow(proxy)]
    await_readers(proxy, 3)
    gate.open()
    with ThreadPoolExecutor() as threads:  # at once: from here on all go at the pace of the fastest
        found = list(threads.map(got_of, clients))
    assert BODY in found
    assert all(BODY.startswith(body) for body in found), "who falls behind is told"
    assert bodies_in(store) == 0
    assert origin.count("/a") == 1
    assert proxy.get("/a").x_cache == "MISS"


def test_what_is_purged_while_it_arrives_is_not_stored(origin: Origin, opened: Open, store: str) -> None:
    """Law 5."""
    gate = origin.gate()
    origin.on("/a", halves(gate), answer(b"new", cache_control=FRESH))
    proxy = opened(token="t")
    leader, laggard = asked(proxy), slow(proxy)
    await_half(proxy)
    await_readers(proxy, 2)
    assert proxy.ask("POST", "/.springhouse/purge", b'{"url": "/a"}', authorization="Bearer t").status == 200
    assert proxy.get("/a").body == b"new"
    gate.open()
    for client in (leader, laggard):
        assert client.answer().body == BODY, "who had it before gets the rest"
    assert proxy.get("/a").body == b"new"
    assert bodies_in(store) == 0
    assert origin.count("/a") == 2


def test_a_revalidation_that_began_meanwhile_finds_it_stored(origin: Origin, opened: Open) -> None:
    gate, answered = origin.gate(), origin.gate()

    async def not_modified(exchange: Exchange) -> None:
        await exchange.send(head(304, "Not Modified", etag='"v1"', cache_control="max-age=600"))

    origin.on("/a", halves(gate), gated(answered, not_modified))
    proxy = opened()
    leader = asked(proxy)
    await_half(proxy)
    revalidating = asked(proxy, cache_control="no-cache")
    origin.await_requests(2)
    assert origin.last["if-none-match"] == '"v1"'
    gate.open()
    assert leader.answer().body == BODY
    answered.open()
    found = revalidating.answer()
    assert (found.x_cache, found.body == BODY) == ("REVALIDATED", True)
    found = proxy.get("/a")
    assert (found.x_cache, found["Cache-Control"], found.body == BODY) == ("HIT", "max-age=600", True)
    assert proxy.engine.store.tier.errors.counts == {}


@pytest.mark.parametrize("store", ["redis"], indirect=True)
def test_redis_that_goes_away_meanwhile_costs_only_the_storing(
    origin: Origin, opened: Open, redis_server: RedisServer
) -> None:
    gate = origin.gate()
    origin.on("/a", halves(gate), answer(BODY, cache_control=FRESH))
    proxy = opened()
    leader = asked(proxy)
    leader.head()
    assert leader.read(HALF) == BODY[:HALF]
    await_half(proxy)
    laggard = slow(proxy)
    await_readers(proxy, 2)
    redis_server.kill()
    gate.open()
    assert leader.read(SIZE - HALF) == BODY[HALF:]
    with pytest.raises(Broken) as caught:
        laggard.answer()
    assert BODY.startswith(caught.value.body), "what it had not been sent was in Redis only"
    found = proxy.get("/a")
    assert (found.x_cache, found.body == BODY) == ("MISS", True)
    assert proxy.call(lambda: proxy.reserved) == 0
    redis_server.start()
    proxy.await_that(lambda: proxy.engine.store.tier.is_up)
