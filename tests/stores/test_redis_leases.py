"""Of all nodes that miss a key one fetches it, whatever happens to that one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from tests.stores.backends import make_entry, nobody
from tests.stores.redis_backend import PATIENT, acquired, asked, eventually, node, unique
from tests.support.relay import Relay

from springhouse.stores.leases import Lease, LockStatus
from springhouse.stores.redis.leases import RedisLeaseLimits
from springhouse.stores.redis.limits import RedisLimits

if TYPE_CHECKING:
    from tests.support.redis_server import RedisServer

    from springhouse.stores.redis.tier import RedisTier

KEY = b"http://a.test/"
SHORT = RedisLimits(link=PATIENT, leases=RedisLeaseLimits(lease=0.3, patience=5.0, look=0.02))


async def nodes(stack: AsyncExitStack, server: RedisServer, count: int, limits: RedisLimits) -> list[RedisTier]:
    prefix = unique()
    return [await stack.enter_async_context(node(server, limits, prefix=prefix)) for _ in range(count)]


async def one_behind_a_relay(
    stack: AsyncExitStack, server: RedisServer, others: int
) -> tuple[Relay, RedisTier, list[RedisTier]]:
    """Return a node whose connection may be cut, so that its leases lapse, and some others."""
    prefix = unique()
    relay = await stack.enter_async_context(Relay(server.port))
    found = [
        await stack.enter_async_context(node(url, SHORT, prefix=prefix)) for url in [relay.url, *[server] * others]
    ]
    return relay, found[0], found[1:]


def test_a_dead_leader_is_replaced_and_what_it_still_brings_is_refused(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            relay, dead, (heir, third) = await one_behind_a_relay(stack, shared_redis, 2)
            first = await acquired(dead, KEY)
            assert isinstance(first, Lease)
            await relay.cut()  # it extends nothing
            assert await acquired(heir, KEY) is LockStatus.WAITING
            assert await asked(heir.leases.wait, KEY, b"") is LockStatus.DONE
            second = await acquired(heir, KEY)
            assert isinstance(second, Lease)
            assert second.token > first.token
            heir.put(make_entry(KEY, b"new"))
            heir.leases.release(second)
            await asked(heir.flush)
            await relay.mend()
            await eventually(lambda: dead.is_up)
            dead.put(make_entry(KEY, b"old"))
            await asked(dead.flush)
            assert dead.refusals == {"late": 1}
            (entry,) = await asked(third.lookup, KEY)
            assert entry.content.data == b"new"
            dead.leases.release(first)
            await asked(dead.flush)
            assert isinstance(await acquired(third, KEY), Lease)

    asyncio.run(test())


def test_a_late_write_is_refused_by_the_lease_of_its_own_variant(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            relay, dead, (heir,) = await one_behind_a_relay(stack, shared_redis, 1)
            first, other = [await acquired(dead, KEY, variant=variant) for variant in (b"1", b"2")]
            first.entry, other.entry = (make_entry(KEY, content) for content in (b"old", b"in time"))
            await relay.cut()
            assert await asked(heir.leases.wait, KEY, b"1") is LockStatus.DONE
            assert isinstance(await acquired(heir, KEY, variant=b"1"), Lease)
            await relay.mend()
            await eventually(lambda: dead.is_up)
            dead.put(other.entry)
            dead.put(first.entry)
            await asked(dead.flush)
            assert dead.refusals == {"late": 1}
            (entry,) = await asked(heir.lookup, KEY)
            assert entry.content.data == b"in time"

    asyncio.run(test())


def test_a_late_write_is_refused_even_before_its_heir_has_stored_anything(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            relay, dead, (heir,) = await one_behind_a_relay(stack, shared_redis, 1)
            assert isinstance(await acquired(dead, KEY), Lease)
            await relay.cut()
            assert await asked(heir.leases.wait, KEY, b"") is LockStatus.DONE
            assert isinstance(await acquired(heir, KEY), Lease)
            await relay.mend()
            await eventually(lambda: dead.is_up)
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
            lease = await acquired(store, KEY)
            client = shared_redis.client()
            client.delete(*client.scan_iter(match="*s:http://a.test/*", count=1000))
            await eventually(lambda: lease.is_lost)

    asyncio.run(test())


def test_a_lease_that_is_never_released_ends(shared_redis: RedisServer) -> None:
    async def test() -> None:
        forgetful = RedisLimits(link=PATIENT, leases=RedisLeaseLimits(lease=0.2, longest=0.5, look=0.02))
        async with AsyncExitStack() as stack:
            one, two = await nodes(stack, shared_redis, 2, forgetful)
            lease = await acquired(one, KEY)
            assert await asked(two.leases.wait, KEY, b"") is LockStatus.DONE
            assert lease.is_lost
            assert one.leases.of(make_entry(KEY)) is None
            assert isinstance(await acquired(two, KEY), Lease)

    asyncio.run(test())


def test_without_redis_everybody_fetches(redis_server: RedisServer) -> None:
    async def test() -> None:
        async with node(redis_server, SHORT) as store:
            lease = await acquired(store, KEY)
            redis_server.kill()
            assert await acquired(store, b"http://a.test/2") is LockStatus.TRANSIENT_ERROR
            assert await asked(store.leases.wait, b"http://a.test/2", b"") is LockStatus.TRANSIENT_ERROR
            store.leases.release(lease)
            await asked(store.flush)
            assert store.leases.of(make_entry(KEY)) is None

    asyncio.run(test())
