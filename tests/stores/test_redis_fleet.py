"""Several nodes on one Redis: what one purges no other serves, or brings back."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.stores.backends import NOW, make_entry, nobody
from tests.stores.redis_backend import PATIENT, asked, eventually, node, unique
from tests.support.redis_server import keys_without_expiry
from tests.support.relay import Relay

from springhouse.http.memo import BOUNDS, held
from springhouse.rules.purging import Everything, Groups, Keys, Prefix, Purge, Tags
from springhouse.stores.redis.limits import RedisLimits
from springhouse.stores.redis.log import PURGE_ALL, LogLimits
from springhouse.stores.redis.scripts import NODE_ALIVE
from springhouse.stores.redis.tier import RedisTier

if TYPE_CHECKING:
    from tests.support.redis_server import RedisServer


KEY, OTHER = b"http://a.test/", b"http://a.test/other"
LIMITS = RedisLimits(link=PATIENT, log=LogLimits(alive=1.0, every=0.2))
COVERING = [Keys((KEY,)), Prefix(b"http://a.test/"), Tags((b"t",)), Groups(b"http://a.test", (b"g",)), Everything()]
BESIDE = [Keys((OTHER,)), Prefix(b"http://a.test/o"), Tags((b"u",)), Groups(b"http://b.test", (b"g",))]


async def fleet(
    stack: AsyncExitStack, server: RedisServer, count: int, limits: RedisLimits = LIMITS
) -> list[RedisTier]:
    prefix = unique()
    return [await stack.enter_async_context(node(server, limits, prefix=prefix)) for _ in range(count)]


async def relayed(
    stack: AsyncExitStack, server: RedisServer, count: int, limits: RedisLimits = LIMITS
) -> list[tuple[RedisTier, Relay]]:
    """Return nodes whose connections may be cut."""
    prefix = unique()
    relays = [await stack.enter_async_context(Relay(server.port)) for _ in range(count)]
    return [(await stack.enter_async_context(node(relay.url, limits, prefix=prefix)), relay) for relay in relays]


def tagged(content: bytes = b"hello") -> Any:
    return make_entry(KEY, content, tags=(b"t",), groups=(b"g",))


@pytest.mark.parametrize("what", COVERING)
@pytest.mark.parametrize("since", [None, NOW + 10])
def test_all_nodes_know_of_a_purge_when_it_is_answered(shared_redis: RedisServer, what, since: float | None) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            stores = await fleet(stack, shared_redis, 3)
            stores[0].put(tagged())
            await asked(stores[0].flush)
            receipt = await asked(stores[1].purge, Purge(what, since))
            assert (receipt.keys, receipt.entries, receipt.processes, receipt.failure) == (1, 1, 3, "")
            assert [store.has_foreign_purges() for store in stores] == [True, False, True]
            for store in stores:
                found = await asked(store.lookup, KEY)
                assert [entry.fresh_until for entry in found] == ([] if since is None else [since])
            assert await asked(stores[0].catch_up) == [Purge(what, since)]
            assert not stores[0].has_foreign_purges()
            assert await asked(stores[0].catch_up) == []

    asyncio.run(test())
    assert keys_without_expiry(shared_redis) == []


@pytest.mark.parametrize("what", COVERING)
def test_what_was_fetched_before_a_purge_by_another_does_not_come_back(shared_redis: RedisServer, what) -> None:
    """The node that fetched it has not been told: it still believes that it may put it."""

    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two = await fleet(stack, shared_redis, 2)
            large = one.arrive(KEY, nobody)
            large.write(b"x" * 2**20)
            await asked(two.purge, Purge(what))
            one.put(tagged())
            large.commit(tagged(b""))
            await asked(one.flush)
            assert one.refusals == {"purged": 2}
            assert await asked(two.lookup, KEY) == ()
            # Once it has been told it fetches again, and may put that.
            await asked(one.catch_up)
            one.put(tagged())
            await asked(one.flush)
            assert one.refusals == {"purged": 2}
            assert len(await asked(two.lookup, KEY)) == 1

    asyncio.run(test())


@pytest.mark.parametrize("what", BESIDE)
def test_what_a_purge_does_not_cover_may_be_put(shared_redis: RedisServer, what) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two = await fleet(stack, shared_redis, 2)
            await asked(two.purge, Purge(what))
            one.put(tagged())
            await asked(one.flush)
            assert len(await asked(two.lookup, KEY)) == 1

    asyncio.run(test())


def test_what_was_fetched_long_ago_is_not_stored(shared_redis: RedisServer) -> None:
    """Purges are not remembered for so long."""

    async def test() -> None:
        async with node(shared_redis, LIMITS, prefix=unique(), clock=lambda: NOW + 4000) as store:
            entry = tagged()
            entry.fresh_until = NOW + 10_000
            store.put(entry)
            await asked(store.flush)
            assert store.refusals == {"old": 1}

    asyncio.run(test())


def test_a_freshened_entry_does_not_come_back(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two = await fleet(stack, shared_redis, 2)
            one.put(tagged())
            (old,) = await asked(one.lookup, KEY)
            await asked(two.purge, Purge(Keys((KEY,)), NOW))
            one.replace(old, make_entry(KEY, at=NOW + 20))
            (found,) = await asked(one.lookup, KEY)
            assert found.fresh_until == NOW
            assert one.refusals == {"purged": 1}
            await asked(one.catch_up)
            one.replace(old, make_entry(KEY, at=NOW + 20))
            await asked(one.flush)
            assert one.refusals == {"purged": 1, "gone": 1}, "It was freshened before the purge made it another"
            one.replace(found, make_entry(KEY, at=NOW + 20))
            (found,) = await asked(one.lookup, KEY)
            assert found.fresh_until > NOW + 20

    asyncio.run(test())


def test_purges_by_all_at_once_and_fills_between(shared_redis: RedisServer) -> None:
    """Law 5: whatever is found after a purge was answered was fetched after the purge was asked for."""

    async def test() -> None:
        async with AsyncExitStack() as stack:
            stores = await fleet(stack, shared_redis, 3)
            version = 0
            asked_for: dict[RedisTier, int] = dict.fromkeys(stores, 0)

            async def filling(store: RedisTier) -> None:
                while version < 30:
                    mine, epoch = version, asked_for[store]
                    await asyncio.sleep(0.003)  # the fetch
                    if epoch != asked_for[store]:
                        continue  # the engine's own fence
                    store.put(tagged(b"%d" % mine))
                    if store.has_foreign_purges():
                        await asked(store.catch_up)

            fills = [asyncio.create_task(filling(store)) for store in stores]
            for n in range(1, 31):
                version = n  # the origin has changed
                asked_for[stores[n % 3]] += 1
                receipt = await asked(stores[n % 3].purge, Purge(COVERING[n % 5]))
                assert receipt.failure == ""
                for store in stores:
                    for _ in range(3):
                        for entry in await asked(store.lookup, KEY):
                            assert int(entry.content.data) >= n
            await asyncio.gather(*fills)

    asyncio.run(test())


def test_a_node_that_lost_its_connection_hears_what_it_missed(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            (one, relay), (two, _) = await relayed(stack, shared_redis, 2)
            await asked(two.purge, Purge(Keys((b"http://a.test/0",))))
            await asked(one.catch_up)
            await relay.cut()
            await uncounted(shared_redis, two, 1)
            purges = [Purge(Keys((b"http://a.test/%d" % n,))) for n in range(1, 8)]
            for purge in purges:
                receipt = await asked(two.purge, purge)
            assert receipt.processes == 1
            await relay.mend()
            await eventually(one.has_foreign_purges)
            await eventually(lambda: one.log.read == two.log.read)
            assert await asked(one.catch_up) == purges

    asyncio.run(test())


async def uncounted(server: RedisServer, store: RedisTier, nodes: int = 0) -> None:
    """Wait until no more nodes than these count as alive."""
    name = store.layout.log + b"nodes"
    with closing(server.client()) as client:
        await eventually(lambda: client.zcount(name, int(1000 * time.time()), "+inf") <= nodes)


def test_a_node_that_missed_more_than_the_log_has_takes_all_for_purged(shared_redis: RedisServer) -> None:
    async def test() -> None:
        short = RedisLimits(link=PATIENT, log=LogLimits(alive=1.0, every=0.2, entries=4))
        async with AsyncExitStack() as stack:
            (one, relay), (two, _) = await relayed(stack, shared_redis, 2, short)
            await relay.cut()
            await uncounted(shared_redis, two, 1)
            for n in range(10):
                await asked(two.purge, Purge(Keys((b"http://a.test/%d" % n,))))
            await relay.mend()
            await eventually(lambda: one.log.read == two.log.read)
            assert PURGE_ALL in await asked(one.catch_up)

    asyncio.run(test())


@pytest.mark.parametrize("lost", [b"last", b"purges", b"both"])
def test_a_log_that_was_lost_is_taken_for_a_purge_of_all(shared_redis: RedisServer, lost: bytes) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            (one, relay), (two, other) = await relayed(stack, shared_redis, 2)
            await asked(two.purge, Purge(Keys((OTHER,))))
            await asked(one.catch_up)
            await relay.cut()
            await other.cut()
            await uncounted(shared_redis, two)
            before = one.log.read
            log = two.layout.log
            shared_redis.client().delete(*{b"both": [log + b"last", log + b"purges"]}.get(lost, [log + lost]))
            await relay.mend()
            await other.mend()
            if lost == b"purges":  # the last number is still that which both have read
                await eventually(lambda: one.is_following)
                await asked(two.purge, Purge(Keys((OTHER,))))
                assert await asked(one.catch_up) == [Purge(Keys((OTHER,)))]
                return
            await eventually(one.has_foreign_purges)
            assert await asked(one.catch_up) == [PURGE_ALL]
            assert one.log.read > before
            receipt = await asked(two.purge, Purge(Keys((OTHER,))))
            assert receipt.failure == ""
            assert Purge(Keys((OTHER,))) in await asked(one.catch_up)

    asyncio.run(test())


def test_redis_that_was_killed_and_lost_all_clears_memories(redis_server: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two = await fleet(stack, redis_server, 2)
            await asked(two.purge, Purge(Keys((KEY,))))
            await asked(one.catch_up)
            redis_server.kill()
            redis_server.start()
            await eventually(one.has_foreign_purges)
            assert await asked(one.catch_up) == [PURGE_ALL]
            await eventually(lambda: two.is_up and two.is_following)
            assert (await asked(two.purge, Purge(Keys((KEY,))))).processes == 2

    asyncio.run(test())


def test_a_node_that_died_is_waited_for_until_it_counts_no_longer(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            (one, _), _, (_, relay) = await relayed(stack, shared_redis, 3)
            await relay.cut()
            receipt = await asked(one.purge, Purge(Everything()))
            assert (receipt.processes, receipt.failure) == (2, "")

    asyncio.run(test())


def test_a_node_that_is_alive_but_does_not_read_is_told(shared_redis: RedisServer) -> None:
    async def test() -> None:
        patient = RedisLimits(link=PATIENT, log=LogLimits(alive=3.0, every=0.2))
        hasty = RedisLimits(link=PATIENT, log=LogLimits(alive=0.2, every=0.1))
        prefix = unique()
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(node(shared_redis, hasty, prefix=prefix))
            relay = await stack.enter_async_context(Relay(shared_redis.port))
            await stack.enter_async_context(node(relay.url, patient, prefix=prefix))
            relay.hold()
            receipt = await asked(one.purge, Purge(Everything()))
            relay.release()
            assert (receipt.processes, receipt.failure) == (1, "Only 1 of 2 nodes have confirmed it")

    asyncio.run(test())


def test_a_node_that_left_is_not_waited_for(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two = await fleet(stack, shared_redis, 2)
            await two.aclose()
            async with asyncio.timeout(0.5):
                assert (await asked(one.purge, Purge(Everything()))).processes == 1

    asyncio.run(test())


def test_a_node_that_leaves_before_it_knows_that_it_counts_is_not_waited_for(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            (one,) = await fleet(stack, shared_redis, 1)
            relay = await stack.enter_async_context(Relay(shared_redis.port))
            relay.swallowed.add(NODE_ALIVE.digest.encode())
            prefix = one.layout.log.removesuffix(b"{log}").decode()
            short_lived = RedisTier(relay.url, LIMITS, prefix=prefix)
            with closing(shared_redis.client()) as client:
                await eventually(lambda: client.zcard(one.layout.log + b"nodes") == 2)
                assert not short_lived.is_following
                await short_lived.aclose()
                assert client.zcard(one.layout.log + b"nodes") == 1

    asyncio.run(test())


def test_what_redis_still_has_during_a_purge_by_another_is_not_found(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two = await fleet(stack, shared_redis, 2)
            one.put(tagged())
            await asked(one.flush)
            number = await two.log.begin(Purge(Tags((b"t",))))
            await eventually(lambda: one.log.read >= number)
            await asked(one.catch_up)
            assert await asked(one.lookup, KEY) == ()
            await two.log.end(number)
            await eventually(lambda: not one.log.open())
            assert len(await asked(one.lookup, KEY)) == 1, "Nobody has carried it out"

    asyncio.run(test())


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x92\xc0\xc0", b"\x91" * 5000])
def test_a_hostile_entry_of_the_log_is_taken_for_a_purge_of_all(shared_redis: RedisServer, payload: bytes) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            (one,) = await fleet(stack, shared_redis, 1)
            log, number = one.layout.log, one.log.read + 5
            fields = {"what": "begin", "node": "evil", "purge": payload, "before": "0"}
            shared_redis.client().xadd(log + b"purges", fields, id=f"{number}-0")
            shared_redis.client().xadd(log + b"purges", {"a": "b"}, id=f"{number + 1}-0")
            shared_redis.client().set(log + b"last", number + 1, px=60_000)
            await eventually(lambda: one.log.read == number + 1)
            assert set(await asked(one.catch_up)) == {PURGE_ALL}
            assert (await asked(one.purge, Purge(Everything()))).failure == ""

    asyncio.run(test())


@pytest.mark.parametrize(("count", "size"), [(3000, 10), (40, 100_000), (1, 3_000_000)])
def test_a_node_remembers_only_so_much_of_what_others_purge(shared_redis: RedisServer, count: int, size: int) -> None:
    """What does not fit is taken for a purge of all: by who looks up, by who is told, until it has ended."""

    async def test() -> None:
        async with AsyncExitStack() as stack:
            one, two = await fleet(stack, shared_redis, 2)
            began = one.log.read
            for n in range(count):
                number = await two.log.begin(Purge(Tags((b"%d" % n + size * b"x",))))
            await eventually(lambda: one.log.read >= number)
            assert held()["foreign purges to apply"] <= 2 * BOUNDS["foreign purges to apply"].limit
            assert held()["purges elsewhere"] <= 2 * BOUNDS["purges elsewhere"].limit
            assert held()["purges in progress elsewhere"] <= 2 * BOUNDS["purges in progress elsewhere"].limit
            assert one.log.since(began) == one.log.open() == [PURGE_ALL]
            assert PURGE_ALL in await asked(one.catch_up)

    asyncio.run(test())
