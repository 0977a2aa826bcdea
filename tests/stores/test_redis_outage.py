"""Redis that dies, hangs, is full or may only be read: requests go on, and all is well again by itself."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self

import pytest
from tests.stores.backends import make_entry, nobody
from tests.stores.redis_backend import PATIENT, asked, content_of, eventually, node, unique
from tests.support.relay import Relay

from springhouse.rules.purging import Everything, Keys, Purge, Tags
from springhouse.stores.errors import StoreErrors
from springhouse.stores.redis.contents import RedisContent
from springhouse.stores.redis.limits import RedisLimits
from springhouse.stores.redis.link import LinkLimits
from springhouse.stores.redis.tier import RedisTier

if TYPE_CHECKING:
    from tests.support.redis_server import RedisServer

KEY = b"http://a.test/"
HASTY = RedisLimits(link=LinkLimits(patience=0.1, limit=0.5, rest=0.05))
LOADED = RedisLimits(link=LinkLimits(patience=0.2, limit=10.0, rest=0.05))
"""For tests under load: a command that nobody gives up on takes so long that no busy machine could be the reason."""
GIVEN_UP_S = 5.0
CLIENTS = 30


def key(n: int) -> bytes:
    return b"http://a.test/%d" % n


class Load:
    """Clients that put and look up all the time, and note how long they waited and what they found."""

    def __init__(self, store: RedisTier, clients: int) -> None:
        self.waits: list[float] = []
        self.hits = 0
        self._store = store
        self._is_over = False
        self._tasks = [asyncio.create_task(self._ask(n)) for n in range(clients)]

    async def _ask(self, n: int) -> None:
        while not self._is_over:
            began = time.monotonic()
            found = await asked(self._store.lookup, key(n))
            self.waits.append(time.monotonic() - began)
            self.hits += len(found)
            if not found:
                self._store.put(make_entry(key(n), b"x" * 1000 * n))
            await asyncio.sleep(0.002)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)


def test_redis_is_killed_under_load_and_given_back(redis_server: RedisServer) -> None:
    async def test() -> None:
        async with node(redis_server, LOADED) as store, Load(store, CLIENTS) as load:
            await eventually(lambda: load.hits > 300)
            for _ in range(3):
                await asyncio.to_thread(redis_server.kill)
                await eventually(lambda: not store.is_up)
                asks = len(load.waits)
                await eventually(lambda asks=asks: len(load.waits) > asks + 60)  # what was answered before has come in
                hits, asks = load.hits, len(load.waits)
                await eventually(lambda asks=asks: len(load.waits) > asks + 300)
                assert load.hits == hits
                await asyncio.to_thread(redis_server.start)
                await eventually(lambda: store.is_up)
                await eventually(lambda hits=hits: load.hits > hits + 300)
            assert max(load.waits) < GIVEN_UP_S
            assert store.errors.counts["away"] > 0

    asyncio.run(test())


def test_a_redis_that_hangs_delays_nobody_for_longer_than_the_time_out(redis_server: RedisServer) -> None:
    async def test() -> None:
        async with node(redis_server, LOADED) as store, Load(store, CLIENTS) as load:
            await eventually(lambda: load.hits > 300)
            load.waits.clear()
            redis_server.pause()
            await eventually(lambda: not store.is_up)
            hits = load.hits
            await eventually(lambda: len(load.waits) > 500)
            assert load.hits == hits
            assert max(load.waits) < GIVEN_UP_S
            late = sorted(load.waits)[-(CLIENTS + 10) :]
            assert late[0] < LOADED.link.patience, "Once it is known to hang, nobody waits at all"
            redis_server.resume()
            await eventually(lambda: store.is_up)
            await eventually(lambda: load.hits > hits + 100)

    asyncio.run(test())


def test_content_that_takes_too_long_is_found_as_a_stream(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with Relay(shared_redis.port) as relay, node(relay.url, LOADED, prefix=unique()) as store:
            store.put(make_entry(KEY, b"x" * 500_000))
            await asked(store.flush)
            relay.delays[b"HMGET"] = LOADED.link.limit - 1
            async with asyncio.timeout(GIVEN_UP_S):
                (entry,) = await asked(store.lookup, KEY)
            relay.delays.clear()
            assert isinstance(entry.content, RedisContent)
            assert await content_of(entry) == b"x" * 500_000
            assert store.is_up
            assert not store.errors.counts

    asyncio.run(test())


def test_what_is_arriving_when_redis_dies_is_not_stored(redis_server: RedisServer) -> None:
    async def test() -> None:
        async with node(redis_server, HASTY) as store:
            arriving = store.arrive(KEY, nobody)
            assert arriving is not None
            arriving.write(b"x" * 2**20)
            await eventually(lambda: len(arriving) - arriving.reached < 2**18)
            redis_server.kill()
            arriving.write(b"x" * 2**22)
            await eventually(lambda: arriving.has_failed)
            arriving.write(b"x")
            assert (arriving.length, arriving.is_full) == (5 * 2**20 + 1, False)
            redis_server.start()
            await eventually(lambda: store.is_up)
            arriving.commit(make_entry(KEY, b""))
            assert await asked(arriving.read, 0, 10) is None
            assert await asked(store.lookup, KEY) == ()
            assert store.waiting == 0

    asyncio.run(test())


def test_redis_out_of_memory_still_answers(redis_server: RedisServer) -> None:
    async def test() -> None:
        async with node(redis_server) as store:
            store.put(make_entry(KEY, b"kept"))
            await asked(store.flush)
            client = redis_server.client()
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1_000_000)
            for n in range(20):
                store.put(make_entry(key(n), b"x" * 500_000))
            await asked(store.flush)
            assert store.errors.counts["memory"] > 0
            assert len(await asked(store.lookup, KEY)) == 1
            assert store.is_up
            client.config_set("maxmemory", 0)
            store.put(make_entry(key(1), b"y" * 500_000))
            assert len(await asked(store.lookup, key(1))) == 1

    asyncio.run(test())


def test_redis_that_may_only_be_read_still_answers(redis_server: RedisServer) -> None:
    async def test() -> None:
        async with node(redis_server) as store:
            store.put(make_entry(KEY, b"kept"))
            await asked(store.flush)
            client = redis_server.client()
            client.config_set("min-replicas-to-write", 0)
            client.replicaof("127.0.0.1", 1)
            store.put(make_entry(key(1)))
            await asked(store.flush)
            assert store.errors.counts["readonly"] > 0
            assert store.is_up
            client.replicaof("NO", "ONE")
            store.put(make_entry(key(1)))
            assert len(await asked(store.lookup, key(1))) == 1
            await eventually(lambda: store.is_following)

    asyncio.run(test())


@pytest.mark.parametrize("what", [Keys((KEY,)), Tags((b"t",)), Everything()])
def test_a_purge_while_redis_is_away_is_made_up_for(redis_server: RedisServer, what) -> None:
    """Redis keeps what it has: it only does not hear of the purge."""

    async def test() -> None:
        async with node(redis_server, HASTY) as store:
            store.put(make_entry(KEY, tags=(b"t",)))
            store.put(make_entry(key(1)))
            assert len(await asked(store.lookup, KEY)) == 1
            redis_server.pause()
            await eventually(lambda: asks_in_vain(store))
            receipt = await asked(store.purge, Purge(what))
            assert "made up for" in receipt.failure
            redis_server.resume()
            while store.purger.pending() or not store.is_up:
                assert await asked(store.lookup, KEY) == ()
            assert await asked(store.lookup, KEY) == ()
            assert len(await asked(store.lookup, key(1))) == (0 if what == Everything() else 1)
            store.put(make_entry(KEY, b"new", tags=(b"t",)))
            assert len(await asked(store.lookup, KEY)) == 1

    asyncio.run(test())


def asks_in_vain(store: RedisTier) -> bool:
    if store.is_up:
        store.lookup(KEY, lambda found: None)
    return not store.is_up


def test_too_many_owed_purges_become_one_of_everything(redis_server: RedisServer) -> None:
    async def test() -> None:
        async with node(redis_server, HASTY) as store:
            redis_server.kill()
            await eventually(lambda: asks_in_vain(store))
            for n in range(40):
                await asked(store.purge, Purge(Keys((key(n) + b"x" * 50_000,))))
            assert len(store.purger.pending()) <= 22
            assert Purge(Everything()) in store.purger.pending()
            redis_server.start()
            await eventually(lambda: not store.purger.pending())

    asyncio.run(test())


def test_a_store_that_never_reaches_redis_can_be_used_and_closed() -> None:
    async def test() -> None:
        said: list[str] = []
        store = RedisTier("redis://127.0.0.1:1", HASTY, errors=StoreErrors(said.append))
        store.put(make_entry(KEY))
        assert await asked(store.lookup, KEY) == ()
        assert store.arrive(KEY, nobody) is None
        assert not store.has_foreign_purges()
        assert (await asked(store.purge, Purge(Everything()))).failure
        await asked(store.flush)
        await store.aclose()
        assert "cannot be reached" in said[0]

    asyncio.run(test())


def test_closing_without_waiting(redis_server: RedisServer) -> None:
    loop = asyncio.new_event_loop()

    async def opened() -> RedisTier:
        async with node(redis_server, RedisLimits(link=PATIENT)) as store:
            store.put(make_entry(KEY))
            store.close()
            return store

    loop.run_until_complete(opened())
    loop.close()
    assert redis_server.client().exists(b"springhouse:{log}last") == 1
