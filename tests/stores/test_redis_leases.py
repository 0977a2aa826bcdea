"""Of all nodes that miss a key one fetches it, whatever happens to that one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from tests.stores.backends import make_entry, nobody
from tests.stores.redis_backend import PATIENT, asked, eventually, node, unique
from tests.support.redis_server import keys_without_expiry

from springhouse.stores.leasing import Lease, Verdict
from springhouse.stores.redis import RedisLimits
from springhouse.stores.redis_leases import LeaseLimits

if TYPE_CHECKING:
    from tests.support.redis_server import RedisServer

    from springhouse.stores.redis import RedisStore

KEY = b"http://a.test/"
SHORT = RedisLimits(link=PATIENT, leases=LeaseLimits(lease=0.3, patience=5.0, look=0.02))


async def nodes(stack: AsyncExitStack, server: RedisServer, count: int, limits: RedisLimits) -> list[RedisStore]:
    prefix = unique()
    return [await stack.enter_async_context(node(server, limits, prefix=prefix)) for _ in range(count)]


def test_exactly_one_of_many_gets_it(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            fleet = await nodes(stack, shared_redis, 8, SHORT)
            for n in range(20):
                key = b"http://a.test/%d" % n
                answers = await asyncio.gather(*(asked(store.leases.acquire, key) for store in fleet))
                assert sum(isinstance(answer, Lease) for answer in answers) == 1
                assert answers.count(Verdict.HELD) == 7

    asyncio.run(test())
    assert keys_without_expiry(shared_redis) == []


async def fetch(store: RedisStore, origin: list[bytes], seconds: float) -> bytes:
    """Do what an engine does with a key that it misses."""
    while True:
        found = await asked(store.lookup, KEY)
        if found:
            return bytes(found[0].content)
        answer = await asked(store.leases.acquire, KEY)
        if answer is Verdict.HELD:
            answer = await asked(store.leases.wait, KEY)
        if answer is Verdict.FREE:
            continue
        origin.append(KEY)
        await asyncio.sleep(seconds)
        store.put(make_entry(KEY, b"fetched"))
        if isinstance(answer, Lease):
            store.leases.release(answer)
        return b"fetched"


def test_a_fleet_asks_the_origin_once(shared_redis: RedisServer) -> None:
    async def test() -> None:
        origin: list[bytes] = []
        async with AsyncExitStack() as stack:
            fleet = await nodes(stack, shared_redis, 6, SHORT)
            # The fetch takes longer than a lease lasts: it is extended.
            answers = await asyncio.gather(*(fetch(store, origin, 1.0) for store in fleet))
        assert answers == [b"fetched"] * 6
        assert len(origin) == 1

    asyncio.run(test())


def test_a_dead_leader_is_replaced_and_what_it_still_brings_is_refused(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            dead, heir, third = await nodes(stack, shared_redis, 3, SHORT)
            first = await asked(dead.leases.acquire, KEY)
            assert isinstance(first, Lease)
            assert dead.leases._keeper is not None
            dead.leases._keeper.cancel()  # it is asleep, and extends nothing
            assert await asked(heir.leases.acquire, KEY) is Verdict.HELD
            assert await asked(heir.leases.wait, KEY) is Verdict.FREE
            second = await asked(heir.leases.acquire, KEY)
            assert isinstance(second, Lease)
            assert second.token > first.token
            heir.put(make_entry(KEY, b"new"))
            heir.leases.release(second)
            await asked(heir.flush)
            dead.put(make_entry(KEY, b"old"))
            await asked(dead.flush)
            assert dead.refusals == {"late": 1}
            (entry,) = await asked(third.lookup, KEY)
            assert entry.content == b"new"
            dead.leases.release(first)
            await asked(dead.flush)
            assert isinstance(await asked(third.leases.acquire, KEY), Lease)

    asyncio.run(test())


def test_a_late_write_is_refused_even_before_its_heir_has_stored_anything(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            dead, heir = await nodes(stack, shared_redis, 2, SHORT)
            assert isinstance(await asked(dead.leases.acquire, KEY), Lease)
            dead.leases._keeper.cancel()
            assert await asked(heir.leases.wait, KEY) is Verdict.FREE
            assert isinstance(await asked(heir.leases.acquire, KEY), Lease)
            large = dead.arrive(KEY, nobody)
            large.write(b"x" * 2**20)
            large.commit(make_entry(KEY, b""))
            await asked(dead.flush)
            assert dead.refusals == {"late": 1}
            assert await asked(heir.lookup, KEY) == ()

    asyncio.run(test())


def test_a_lease_that_lapsed_is_known_to_be_lost(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            (store,) = await nodes(stack, shared_redis, 1, SHORT)
            lease = await asked(store.leases.acquire, KEY)
            client = shared_redis.client()
            client.delete(*client.scan_iter(match="*s:http://a.test/*", count=1000))
            await eventually(lambda: lease.is_lost)

    asyncio.run(test())


def test_a_lease_that_is_never_released_ends(shared_redis: RedisServer) -> None:
    async def test() -> None:
        forgetful = RedisLimits(link=PATIENT, leases=LeaseLimits(lease=0.2, longest=0.5, look=0.02))
        async with AsyncExitStack() as stack:
            one, two = await nodes(stack, shared_redis, 2, forgetful)
            lease = await asked(one.leases.acquire, KEY)
            assert await asked(two.leases.wait, KEY) is Verdict.FREE
            assert lease.is_lost
            assert one.leases.token(KEY) == 0
            assert isinstance(await asked(two.leases.acquire, KEY), Lease)

    asyncio.run(test())


def test_nobody_waits_for_a_key_that_is_not_shareable(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two = await nodes(stack, shared_redis, 2, SHORT)
            lease = await asked(one.leases.acquire, KEY)
            waiting = asyncio.create_task(asked(two.leases.wait, KEY))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            one.leases.release(lease, alone=True)
            assert await waiting is Verdict.ALONE
            assert await asked(two.leases.acquire, KEY) is Verdict.ALONE

    asyncio.run(test())


def test_who_has_waited_long_enough_goes_on_without(shared_redis: RedisServer) -> None:
    async def test() -> None:
        impatient = RedisLimits(link=PATIENT, leases=LeaseLimits(patience=0.1))
        async with AsyncExitStack() as stack:
            one, two = await nodes(stack, shared_redis, 2, impatient)
            assert isinstance(await asked(one.leases.acquire, KEY), Lease)
            assert await asked(one.leases.acquire, KEY) is Verdict.WITHOUT
            assert await asked(two.leases.wait, KEY) is Verdict.WITHOUT

    asyncio.run(test())


def test_waiting_can_be_given_up(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two = await nodes(stack, shared_redis, 2, SHORT)
            lease = await asked(one.leases.acquire, KEY)
            told: list[Verdict] = []
            stop = two.leases.wait(KEY, told.append)
            await asyncio.sleep(0.02)
            stop()
            one.leases.release(lease)
            await asked(one.flush)
            await asyncio.sleep(0.1)
            assert told == []

    asyncio.run(test())


def test_without_redis_everybody_fetches(redis_server: RedisServer) -> None:
    async def test() -> None:
        async with node(redis_server, SHORT) as store:
            lease = await asked(store.leases.acquire, KEY)
            redis_server.kill()
            assert await asked(store.leases.acquire, b"http://a.test/2") is Verdict.WITHOUT
            assert await asked(store.leases.wait, b"http://a.test/2") is Verdict.WITHOUT
            store.leases.release(lease)
            await asked(store.flush)
            assert store.leases.token(KEY) == 0

    asyncio.run(test())
