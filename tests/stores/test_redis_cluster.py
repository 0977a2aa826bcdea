"""A cluster of three real nodes: nothing crosses slots, and what is on one node may fail alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.stores.backends import make_entry, nobody
from tests.stores.redis_backend import PATIENT, acquired, asked, content_of, eventually, node, unique
from tests.support.redis_server import RedisCluster, keys_without_expiry

from springhouse.rules.purging import Everything, Keys, Prefix, Purge, Tags
from springhouse.stores.leases import Lease, LockStatus
from springhouse.stores.redis.limits import RedisLimits
from springhouse.stores.redis.link import LinkLimits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    running = RedisCluster(tmp_path_factory.mktemp("cluster"))
    yield running
    running.close()


def key(n: int) -> bytes:
    return b"http://a.test/{%d}" % n


def test_entries_lie_on_all_nodes_and_are_purged_from_all(cluster: RedisCluster) -> None:
    async def test() -> None:
        prefix = unique()
        async with node(cluster, prefix=prefix) as one, node(cluster, prefix=prefix) as two:
            for n in range(60):
                one.put(
                    make_entry(key(n), b"%d" % n * (100_000 if n % 10 == 0 else 10), tags=(b"all", b"%d" % (n % 2)))
                )
            await asked(one.flush)
            for server in cluster.servers:
                assert server.client().dbsize() > 20
                assert keys_without_expiry(server) == []
            for n in range(60):
                (entry,) = await asked(two.lookup, key(n))
                assert await content_of(entry) == b"%d" % n * (100_000 if n % 10 == 0 else 10)
            for what, count in (
                (Keys((key(1), key(3), key(5))), 3),
                (Prefix(b"http://a.test/{1"), 10),  # 10 to 19, and not 1, which has gone
                (Tags((b"0",)), 25),
                (Everything(), 22),
            ):
                receipt = await asked(two.purge, Purge(what))
                assert (receipt.keys, receipt.processes, receipt.failure) == (count, 2, ""), what
                assert len(await asked(one.catch_up)) == 1
            assert {len(await asked(one.lookup, key(n))) for n in range(60)} == {0}

    asyncio.run(test())


def test_a_stream_and_a_lease_in_a_cluster(cluster: RedisCluster) -> None:
    async def test() -> None:
        prefix = unique()
        async with node(cluster, prefix=prefix) as one, node(cluster, prefix=prefix) as two:
            for n in range(6):
                lease = await acquired(one, key(n))
                assert isinstance(lease, Lease)
                assert await acquired(two, key(n)) is LockStatus.WAITING
                arriving = one.arrive(key(n), nobody)
                arriving.write(b"x" * 2_000_000)
                arriving.commit(make_entry(key(n), b""))
                one.leases.release(lease)
                assert await asked(two.leases.wait, key(n), b"") is LockStatus.DONE
                (entry,) = await asked(two.lookup, key(n))
                assert await content_of(entry) == b"x" * 2_000_000
            assert one.refusals == {}

    asyncio.run(test())


def test_slots_that_move_are_followed(cluster: RedisCluster) -> None:
    async def test() -> None:
        async with node(cluster, prefix=unique()) as store:
            store.put(make_entry(key(1)))
            await asked(store.flush)
            name = store.layout.base(key(1)) + b"e:" + key(1)
            clients = [server.client() for server in cluster.servers]
            slot = clients[0].execute_command("CLUSTER KEYSLOT", name)
            ids = [client.execute_command("CLUSTER MYID") for client in clients]
            (source,) = [
                n for n, client in enumerate(clients) if client.execute_command("CLUSTER COUNTKEYSINSLOT", slot)
            ]
            target = (source + 1) % 3
            clients[target].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source])
            clients[source].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target])
            names = clients[source].execute_command("CLUSTER GETKEYSINSLOT", slot, 1000)
            port = cluster.servers[target].port
            clients[source].execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *names)
            for client in clients:
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[target])
            assert len(await asked(store.lookup, key(1))) == 1
            store.put(make_entry(key(1), b"moved"))
            (entry,) = await asked(store.lookup, key(1))
            assert entry.content.data == b"moved"

    asyncio.run(test())


def test_a_dead_node_takes_only_its_share(tmp_path: Path) -> None:
    own = RedisCluster(tmp_path)

    async def test() -> None:
        for server in own.servers:
            server.client().config_set("cluster-require-full-coverage", "no")
        limits = RedisLimits(link=LinkLimits(patience=1.0, limit=3.0, failures=1000))
        async with node(own, limits) as store:
            for n in range(30):
                store.put(make_entry(key(n)))
            await asked(store.flush)
            own.servers[1].kill()
            found = [len(await asked(store.lookup, key(n))) for n in range(30)]
            assert 5 < sum(found) < 30
            receipt = await asked(store.purge, Purge(Everything()))
            assert receipt.failure
            own.servers[1].start()
            await eventually(lambda: not store.purger.pending())
            assert {len(await asked(store.lookup, key(n))) for n in range(30)} == {0}

    try:
        asyncio.run(test())
    finally:
        own.close()


def test_a_cluster_that_hangs_delays_nobody(tmp_path: Path) -> None:
    own = RedisCluster(tmp_path)

    async def test() -> None:
        limits = RedisLimits(link=LinkLimits(patience=0.1, limit=0.5, rest=0.05))
        async with node(own, limits) as store:
            for server in own.servers:
                server.pause()
            waits = []
            loop = asyncio.get_running_loop()
            for n in range(20):
                began = loop.time()
                assert await asked(store.lookup, key(n)) == ()
                waits.append(loop.time() - began)
            assert max(waits) < 0.25
            assert not store.is_up
            for server in own.servers:
                server.resume()
            await eventually(lambda: store.is_up)
            store.put(make_entry(key(1)))
            assert len(await asked(store.lookup, key(1))) == 1

    try:
        asyncio.run(test())
    finally:
        own.close()


def test_patience_of_a_real_fleet(cluster: RedisCluster) -> None:
    """The first command to each node connects to it, and is not quicker for that."""

    async def test() -> None:
        async with node(cluster, RedisLimits(link=PATIENT), prefix=unique()) as store:
            found = await asyncio.gather(*(asked(store.lookup, key(n)) for n in range(200)))
            assert set(found) == {()}
            assert not store.errors.counts

    asyncio.run(test())
