"""Of all processes that miss a key one fetches it: what holds of leases in a folder and in Redis alike."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Protocol

import pytest
from tests.stores.backends import make_entry
from tests.stores.redis_backend import PATIENT, acquired, asked, eventually, node, unique
from tests.support.redis_server import keys_without_expiry

from springhouse.stores.disk import leases as disk_leases
from springhouse.stores.disk.parts import DiskLimits
from springhouse.stores.disk.tier import DiskTier
from springhouse.stores.errors import StoreErrors
from springhouse.stores.leases import Lease, LockStatus
from springhouse.stores.redis import leases as redis_leases
from springhouse.stores.redis.limits import RedisLimits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path

    from tests.support.redis_server import RedisServer

    from springhouse.stores.tier import Tier

KEY, OTHER = b"http://a.test/", b"http://a.test/other"


class Fleet(Protocol):
    """Opens stores that share."""

    def __call__(
        self, stack: AsyncExitStack, count: int, *, patience: float = 5.0
    ) -> Coroutine[None, None, list[Tier]]: ...


@pytest.fixture(params=["disk", "redis"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Fleet:
    if request.param == "disk":
        return on_disk(tmp_path / "store")
    return on_redis(request.getfixturevalue("shared_redis"))


def on_disk(folder: Path) -> Fleet:
    async def opened(stack: AsyncExitStack, count: int, *, patience: float = 5.0) -> list[Tier]:
        limits = DiskLimits(leases=disk_leases.DiskLeaseLimits(patience=patience))
        return [await stack.enter_async_context(disk_node(folder, limits)) for _ in range(count)]

    return opened


@asynccontextmanager
async def disk_node(folder: Path, limits: DiskLimits) -> AsyncIterator[DiskTier]:
    loop = asyncio.get_running_loop()
    said: list[str] = []
    store = DiskTier(folder, limits, loop=loop, errors=StoreErrors(said.append))
    try:
        yield store
    finally:
        await store.aclose()
    assert said == []


def on_redis(server: RedisServer) -> Fleet:
    prefix = unique()

    async def opened(stack: AsyncExitStack, count: int, *, patience: float = 5.0) -> list[Tier]:
        leases = redis_leases.RedisLeaseLimits(lease=0.3, patience=patience, look=0.02)
        limits = RedisLimits(link=PATIENT, leases=leases)
        stack.callback(lambda: assert_all_expires(server))
        return [await stack.enter_async_context(node(server, limits, prefix=prefix)) for _ in range(count)]

    return opened


def assert_all_expires(server: RedisServer) -> None:
    assert keys_without_expiry(server) == []


def test_exactly_one_of_many_gets_it(fleet: Fleet) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            stores = await fleet(stack, 8)
            for n in range(20):
                key = b"http://a.test/%d" % n
                answers = await asyncio.gather(*(acquired(store, key) for store in stores))
                assert sum(isinstance(answer, Lease) for answer in answers) == 1
                assert answers.count(LockStatus.WAITING) == 7

    asyncio.run(test())


def test_who_has_it_gets_no_other(fleet: Fleet) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two = await fleet(stack, 2)
            lease = await acquired(one, KEY)
            assert await acquired(one, KEY) is LockStatus.TRANSIENT_ERROR
            assert isinstance(await acquired(two, OTHER), Lease)
            assert await acquired(two, KEY) is LockStatus.WAITING
            one.leases.release(lease)
            await asked(one.flush)
            assert await asked(two.leases.wait, KEY, b"") is LockStatus.DONE
            heir = await acquired(two, KEY)
            assert isinstance(heir, Lease)
            one.leases.release(lease)  # again: it is another's by now
            await asked(one.flush)
            assert await acquired(one, KEY) is LockStatus.WAITING

    asyncio.run(test())


def test_variants_of_a_key_are_fetched_side_by_side(fleet: Fleet) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two = await fleet(stack, 2)
            lease = await acquired(one, KEY, variant=b"1")
            assert isinstance(lease, Lease)
            assert isinstance(await acquired(one, KEY, variant=b"2"), Lease)
            assert isinstance(await acquired(two, KEY, variant=b"3"), Lease)
            assert isinstance(await acquired(two, KEY), Lease)
            assert await acquired(two, KEY, variant=b"1") is LockStatus.WAITING
            lease.entry = make_entry(KEY)
            one.put(lease.entry)
            one.leases.release(lease)
            assert await asked(two.leases.wait, KEY, b"1") is LockStatus.DONE
            assert await asked(two.lookup, KEY)
            assert await acquired(two, KEY, variant=b"2") is LockStatus.WAITING

    asyncio.run(test())


@pytest.mark.parametrize("told", [LockStatus.DONE, LockStatus.TRANSIENT_ERROR])
def test_nobody_waits_for_who_has_it_next(fleet: Fleet, told: LockStatus) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two, three = await fleet(stack, 3, patience=15)
            lease = await acquired(one, KEY)
            waiting = asyncio.create_task(asked(two.leases.wait, KEY, b""))
            await asyncio.sleep(0.05)
            one.leases.release(lease, told)
            while not isinstance(await acquired(three, KEY), Lease):
                await asyncio.sleep(0)
            assert await waiting in (told, LockStatus.DONE)  # who looks late hears less
            assert await acquired(two, KEY) is LockStatus.WAITING

    asyncio.run(test())


@pytest.mark.parametrize("is_held", [False, True])
def test_who_looked_it_up_before_it_was_stored_looks_again(fleet: Fleet, is_held: bool) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two = await fleet(stack, 2)
            since = monotonic()
            if not is_held:
                assert await asked(two.lookup, KEY) == ()
            lease = await acquired(one, KEY)
            if is_held:
                assert await asked(two.lookup, KEY) == ()
            one.put(make_entry(KEY))
            one.leases.release(lease)
            await asked(one.flush)
            assert await acquired(two, KEY, since) is LockStatus.DONE
            since = monotonic()
            assert await asked(two.lookup, KEY)
            assert isinstance(await acquired(two, KEY, since), Lease), "it has seen that, and wants something else"

    asyncio.run(test())


async def fetch(store: Tier, origin: list[bytes], key: bytes, seconds: float) -> bytes:
    """Do what an engine does with a key that it misses."""
    while True:
        since = monotonic()
        found = await asked(store.lookup, key)
        if found:
            return bytes(found[0].content.data)
        answer = await acquired(store, key, since)
        if answer is LockStatus.WAITING:
            answer = await asked(store.leases.wait, key, b"")
        if answer is LockStatus.DONE:
            continue
        origin.append(key)
        await asyncio.sleep(seconds)
        store.put(make_entry(key, b"fetched"))
        if isinstance(answer, Lease):
            store.leases.release(answer)
        return b"fetched"


def test_a_fleet_asks_the_origin_once(fleet: Fleet) -> None:
    async def test() -> None:
        origin: list[bytes] = []
        async with AsyncExitStack() as stack:
            stores = await fleet(stack, 6)
            # In Redis the fetch takes longer than a lease lasts: it is extended.
            answers = await asyncio.gather(*(fetch(store, origin, KEY, 1.0) for store in stores))
        assert answers == [b"fetched"] * 6
        assert origin == [KEY]

    asyncio.run(test())


def test_a_fetch_that_takes_no_time_is_not_repeated_by_who_missed_it_just_before(tmp_path: Path) -> None:
    async def test() -> None:
        origin: list[bytes] = []
        keys = [b"http://a.test/%d" % n for n in range(300)]
        async with AsyncExitStack() as stack:
            stores = await on_disk(tmp_path)(stack, 4)
            answers = await asyncio.gather(*(fetch(store, origin, key, 0.0) for key in keys for store in stores))
        assert answers == [b"fetched"] * 1200
        assert sorted(origin) == sorted(keys)

    asyncio.run(test())


def test_nobody_waits_for_a_key_that_is_not_shareable(fleet: Fleet) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two = await fleet(stack, 2)
            lease = await acquired(one, KEY)
            waiting = asyncio.create_task(asked(two.leases.wait, KEY, b""))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            one.leases.release(lease, LockStatus.GIVE_UP)
            assert await waiting is LockStatus.GIVE_UP
            assert await acquired(two, KEY) is LockStatus.GIVE_UP
            assert isinstance(await acquired(two, OTHER), Lease)

    asyncio.run(test())


def test_who_waits_for_one_that_fails_tries_at_once_and_the_next_may_wait_again(fleet: Fleet) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two, three = await fleet(stack, 3)
            lease = await acquired(one, KEY)
            waiting = [asyncio.create_task(asked(store.leases.wait, KEY, b"")) for store in (two, three)]
            await asyncio.sleep(0.05)
            one.leases.release(lease, LockStatus.TRANSIENT_ERROR)
            assert await asyncio.gather(*waiting) == [LockStatus.TRANSIENT_ERROR] * 2
            lease = await acquired(two, KEY)
            assert isinstance(lease, Lease)
            later = asyncio.create_task(asked(three.leases.wait, KEY, b""))
            await asyncio.sleep(0.05)
            two.put(make_entry(KEY))
            two.leases.release(lease)
            assert await later is LockStatus.DONE
            assert await asked(three.lookup, KEY)

    asyncio.run(test())


def test_who_has_waited_long_enough_goes_on_without(fleet: Fleet) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two = await fleet(stack, 2, patience=0.1)
            assert isinstance(await acquired(one, KEY), Lease)
            assert await asked(two.leases.wait, KEY, b"") is LockStatus.TRANSIENT_ERROR

    asyncio.run(test())


def test_waiting_can_be_given_up(fleet: Fleet) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two = await fleet(stack, 2)
            lease = await acquired(one, KEY)
            told: list[LockStatus] = []
            stop = two.leases.wait(KEY, b"", told.append)
            second: list[LockStatus] = []
            two.leases.wait(KEY, b"", second.append)
            await asyncio.sleep(0.02)
            stop()
            one.leases.release(lease)
            await eventually(lambda: second)
            assert told == []

    asyncio.run(test())


def test_who_leaves_gives_its_leases_up(fleet: Fleet) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            (two,) = await fleet(stack, 1)
            async with AsyncExitStack() as until_it_leaves:
                (one,) = await fleet(until_it_leaves, 1)
                assert isinstance(await acquired(one, KEY), Lease)
                waiting = asyncio.create_task(asked(two.leases.wait, KEY, b""))
            assert await waiting is LockStatus.DONE
            assert isinstance(await acquired(two, KEY), Lease)

    asyncio.run(test())
