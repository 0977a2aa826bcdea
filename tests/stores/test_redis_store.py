"""What is particular to Redis: chunks, expiry, records that lie, who may connect."""

from __future__ import annotations

import asyncio

import pytest
from tests.stores.backends import NOW, make_entry, nobody
from tests.stores.redis_backend import PATIENT, asked, content_of, eventually, node, unique
from tests.support.redis_server import RedisServer, keys_without_expiry

from springhouse.rules.purging import Everything, Purge, Tags
from springhouse.stores.digests import CHUNK
from springhouse.stores.errors import StoreErrors
from springhouse.stores.redis.layout import KeyLayout, Lifetimes, variant_name
from springhouse.stores.redis.limits import RedisLimits
from springhouse.stores.redis.tier import RedisTier

KEY = b"http://a.test/"
LARGE = bytes(range(256)) * 4096 * 3
"""3 MiB: more than is found as bytes."""


def names(server: RedisServer, prefix: str) -> dict[bytes, list[bytes]]:
    """Return the names of all keys with a prefix, by what they are."""
    found: dict[bytes, list[bytes]] = {}
    for name in server.client().scan_iter(match=prefix + "*", count=1000):
        found.setdefault(name.partition(b"}")[2].partition(b":")[0], []).append(name)
    return found


def stored_under(prefix: str, key: bytes) -> bytes:
    return KeyLayout(prefix).base(key) + b"e:" + key


@pytest.mark.parametrize("length", [0, 1, 65_536, 65_537, CHUNK, CHUNK + 1, len(LARGE)])
def test_content_of_any_length_comes_back(shared_redis: RedisServer, length: int) -> None:
    async def test() -> None:
        async with node(shared_redis, prefix=unique()) as store:
            store.put(make_entry(KEY, LARGE[:length]))
            (entry,) = await asked(store.lookup, KEY)
            assert (entry.content.data is not None) == (length <= 2**20)
            assert await content_of(entry) == LARGE[:length]
            assert entry.length == length

    asyncio.run(test())
    assert keys_without_expiry(shared_redis) == []


def test_arriving_content_is_found_only_once_it_is_whole(shared_redis: RedisServer) -> None:
    prefix = unique()

    async def test() -> None:
        async with node(shared_redis, prefix=prefix) as store:
            arriving = store.arrive(KEY, nobody)
            assert arriving is not None
            for start in range(0, len(LARGE), 100_000):
                arriving.write(LARGE[start : start + 100_000])
            await eventually(lambda: len(arriving) - arriving.reached < CHUNK)
            assert arriving.length == len(LARGE)
            assert await asked(arriving.read, CHUNK + 10, 100) == LARGE[CHUNK + 10 : CHUNK + 110]
            assert await asked(store.lookup, KEY) == ()
            assert names(shared_redis, prefix).keys() == {b"c", b"last", b"nodes", b"read"}
            assert keys_without_expiry(shared_redis) == []
            arriving.commit(make_entry(KEY, b""))
            (entry,) = await asked(store.lookup, KEY)
            assert await content_of(entry) == LARGE

    asyncio.run(test())


@pytest.mark.parametrize("length", [0, 10, 100_000, CHUNK, 2 * CHUNK + 1])
def test_arriving_content_of_any_length_is_stored(shared_redis: RedisServer, length: int) -> None:
    async def test() -> None:
        async with node(shared_redis, prefix=unique()) as store:
            arriving = store.arrive(KEY, nobody)
            assert arriving is not None
            arriving.write(LARGE[:length])
            arriving.commit(make_entry(KEY, b""))
            (entry,) = await asked(store.lookup, KEY)
            assert await content_of(entry) == LARGE[:length]
            assert store.waiting == 0

    asyncio.run(test())


def test_content_that_broke_off_leaves_nothing(shared_redis: RedisServer) -> None:
    prefix = unique()

    async def test() -> None:
        async with node(shared_redis, prefix=prefix) as store:
            arriving = store.arrive(KEY, nobody)
            assert arriving is not None
            arriving.write(LARGE)
            await eventually(lambda: arriving.reached)
            arriving.abandon()
            await asked(store.flush)
            assert b"c" not in names(shared_redis, prefix)
            assert store.waiting == 0

    asyncio.run(test())


def test_memory_for_what_waits_to_be_written_is_bounded(shared_redis: RedisServer) -> None:
    async def test() -> None:
        limits = RedisLimits(waiting_max=4 * 2**20 + 10_000, link=PATIENT)
        async with node(shared_redis, limits, prefix=unique()) as store:
            for n in range(20):
                store.put(make_entry(b"http://a.test/%d" % n, LARGE[: 2**20]))
            assert store.waiting <= limits.waiting_max
            assert store.errors.counts["crowded"] == 16, "heads and keys count, too"
            assert store.arrive(KEY, nobody) is None
            await asked(store.flush)
            assert store.waiting == 0
            assert store.arrive(KEY, nobody) is not None

    asyncio.run(test())


def test_what_is_superseded_or_purged_leaves_nothing(shared_redis: RedisServer) -> None:
    prefix = unique()

    async def test() -> None:
        async with node(shared_redis, prefix=prefix) as store:
            store.put(make_entry(KEY, LARGE, tags=(b"a",)))
            store.put(make_entry(KEY, LARGE[::-1], tags=(b"b",)))
            await asked(store.flush)
            found = names(shared_redis, prefix)
            assert len(found[b"c"]) == 1
            assert [name.rpartition(b":")[2] for name in found[b"l"]] == [b"tag b"]
            await asked(store.purge, Purge(Everything()))
            assert names(shared_redis, prefix).keys() <= {b"last", b"nodes", b"read", b"purges", b"fences", b"prefixes"}

    asyncio.run(test())


def test_redis_forgets_by_itself(shared_redis: RedisServer) -> None:
    prefix = unique()

    async def test() -> None:
        limits = RedisLimits(link=PATIENT, lifetimes=Lifetimes(longest=0.3))
        async with node(shared_redis, limits, prefix=prefix) as store:
            store.put(make_entry(KEY, b"short", tags=(b"t",)))
            assert len(await asked(store.lookup, KEY)) == 1
            await eventually(lambda: b"e" not in names(shared_redis, prefix))
            assert await asked(store.lookup, KEY) == ()
            assert names(shared_redis, prefix).keys().isdisjoint({b"e", b"l", b"names", b"ends"})

    asyncio.run(test())


def test_what_is_of_no_use_is_not_stored_and_removes_what_it_supersedes(shared_redis: RedisServer) -> None:
    async def test() -> None:
        async with node(shared_redis, prefix=unique()) as store:
            store.put(make_entry(KEY))
            stale = make_entry(KEY, at=NOW - 1000)
            stale.fields = []
            store.put(stale)
            assert await asked(store.lookup, KEY) == ()

    asyncio.run(test())


# What Redis has may be damaged, or somebody else's.


def spoil(server: RedisServer, prefix: str, suffix: bytes, value: bytes) -> None:
    name, variant = stored_under(prefix, KEY), variant_name(make_entry(KEY))
    assert server.client().hset(name, variant + suffix, value) == 0


HOSTILE = [b"", b"\x01", b"\x01\x91\xc0", b"\xff" * 50, b"cos\nsystem\n(S'true'\ntR.", b"\x01" + b"\x9b" * 100_000]


async def is_missed(store: RedisTier) -> None:
    assert await asked(store.lookup, KEY) == ()
    store.put(make_entry(KEY, b"good"))
    (entry,) = await asked(store.lookup, KEY)
    assert entry.content.data == b"good"


@pytest.mark.parametrize("record", HOSTILE)
def test_a_hostile_record_is_a_miss_and_is_superseded(shared_redis: RedisServer, record: bytes) -> None:
    prefix = unique()

    async def test() -> None:
        async with node(shared_redis, prefix=prefix) as store:
            store.put(make_entry(KEY))
            await asked(store.flush)
            spoil(shared_redis, prefix, b":r", record)
            await is_missed(store)
            assert store.errors.counts["damaged"] == 1

    asyncio.run(test())


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"1 2 3 4 5 6 7", b"-1 0 0 0 - 0 -", b"9" * 400 + b" 0 0 0 ../x 0 nan"]
)
def test_hostile_data_of_a_variant_is_a_miss(shared_redis: RedisServer, data: bytes) -> None:
    prefix = unique()

    async def test() -> None:
        async with node(shared_redis, prefix=prefix) as store:
            store.put(make_entry(KEY, tags=(b"t",)))
            await asked(store.flush)
            spoil(shared_redis, prefix, b":m", data)
            await is_missed(store)
            assert (await asked(store.purge, Purge(Tags((b"t",))))).failure == ""

    asyncio.run(test())


@pytest.mark.parametrize("mark", [b"nan", b"inf", b"x"])
def test_a_hostile_mark_is_a_miss(shared_redis: RedisServer, mark: bytes) -> None:
    prefix = unique()

    async def test() -> None:
        async with node(shared_redis, prefix=prefix) as store:
            store.put(make_entry(KEY))
            await asked(store.flush)
            name, variant = stored_under(prefix, KEY), variant_name(make_entry(KEY))
            data = shared_redis.client().hget(name, variant + b":m")
            spoil(shared_redis, prefix, b":m", data.rpartition(b" ")[0] + b" " + mark)
            await is_missed(store)

    asyncio.run(test())


def test_hostile_content_is_a_miss(shared_redis: RedisServer) -> None:
    prefix = unique()

    async def test() -> None:
        async with node(shared_redis, prefix=prefix) as store:
            for content, suffix in ((b"other", b":b"), (b"longer than it was", b":b")):
                store.put(make_entry(KEY, b"small"))
                await asked(store.flush)
                spoil(shared_redis, prefix, suffix, content)
                await is_missed(store)

    asyncio.run(test())


@pytest.mark.parametrize("what", ["spoilt", "missing", "gone"])
@pytest.mark.parametrize("length", [2 * CHUNK, len(LARGE)])
def test_a_hostile_chunk_is_not_served_and_its_entry_forgotten(
    shared_redis: RedisServer, what: str, length: int
) -> None:
    prefix = unique()

    async def test() -> None:
        async with node(shared_redis, prefix=prefix) as store:
            store.put(make_entry(KEY, LARGE[:length]))
            await asked(store.flush)
            (body,) = names(shared_redis, prefix)[b"c"]
            client = shared_redis.client()
            match what:
                case "spoilt":
                    client.hset(body, "1", b"x" * CHUNK)
                case "missing":
                    client.hdel(body, "1")
                case "gone":
                    client.unlink(body)
            found = await asked(store.lookup, KEY)
            if length == len(LARGE):
                assert await asked(found[0].content.read, CHUNK, 10) is None
            else:
                assert found == ()
            await asked(store.flush)
            assert b"e" not in names(shared_redis, prefix)

    asyncio.run(test())


def test_a_key_of_another_kind_is_a_miss_and_is_replaced(shared_redis: RedisServer) -> None:
    prefix = unique()

    async def test() -> None:
        async with node(shared_redis, prefix=prefix) as store:
            shared_redis.client().set(stored_under(prefix, KEY), "not a hash", px=60_000)
            await is_missed(store)

    asyncio.run(test())


def test_a_record_of_another_key_is_a_miss(shared_redis: RedisServer) -> None:
    prefix = unique()

    async def test() -> None:
        async with node(shared_redis, prefix=prefix) as store:
            store.put(make_entry(KEY, b"mine"))
            store.put(make_entry(b"http://a.test/secret", b"not yours"))
            await asked(store.flush)
            variant = variant_name(make_entry(KEY))
            other = shared_redis.client().hgetall(stored_under(prefix, b"http://a.test/secret"))
            spoil(shared_redis, prefix, b":r", other[variant + b":r"])
            spoil(shared_redis, prefix, b":b", other[variant + b":b"])
            assert await asked(store.lookup, KEY) == ()

    asyncio.run(test())


def test_with_a_secret_only_what_was_signed_with_it_is_believed(shared_redis: RedisServer) -> None:
    prefix = unique()

    async def found(secret: bytes) -> int:
        async with node(shared_redis, prefix=prefix, secret=secret) as store:
            return len(await asked(store.lookup, KEY))

    async def put(secret: bytes) -> None:
        async with node(shared_redis, prefix=prefix, secret=secret) as store:
            store.put(make_entry(KEY))
            await asked(store.flush)

    asyncio.run(put(b"ours"))
    assert [asyncio.run(found(secret)) for secret in (b"ours", b"theirs", b"")] == [1, 0, 0]
    asyncio.run(put(b""))
    assert [asyncio.run(found(secret)) for secret in (b"ours", b"")] == [0, 1]


def test_an_entry_whose_index_was_evicted_is_not_found(shared_redis: RedisServer) -> None:
    """It could not be purged by its tag any more."""
    prefix = unique()

    async def test() -> None:
        async with node(shared_redis, prefix=prefix) as store:
            for index in (b"l", b"names"):
                store.put(make_entry(KEY, tags=(b"t",)))
                assert len(await asked(store.lookup, KEY)) == 1
                shared_redis.client().delete(*names(shared_redis, prefix)[index])
                assert await asked(store.lookup, KEY) == ()

    asyncio.run(test())


# Who may connect.


async def refused(url: str, limits: RedisLimits | None = None) -> list[str]:
    """Return what is said about a server that does not let us in."""
    said: list[str] = []
    store = RedisTier(url, limits or RedisLimits(link=PATIENT), errors=StoreErrors(said.append))
    await eventually(lambda: said)
    assert not store.is_up
    assert await asked(store.lookup, KEY) == ()
    await store.aclose()
    return said


def test_a_password_opens_and_a_wrong_one_is_said(tmp_path) -> None:
    server = RedisServer(tmp_path, "--requirepass", "open sesame", client={"password": "open sesame"})
    try:

        async def test() -> None:
            async with node(f"redis://:open%20sesame@127.0.0.1:{server.port}") as store:
                store.put(make_entry(KEY))
                assert len(await asked(store.lookup, KEY)) == 1
            for user in ("", ":wrong-secret@", "nobody:wrong-secret@"):
                said = await refused(f"redis://{user}127.0.0.1:{server.port}")
                assert "does not accept user name and password" in said[0]
                assert f"127.0.0.1:{server.port}" in said[0]
                assert "wrong-secret" not in said[0]

        asyncio.run(test())
    finally:
        server.close()


def test_a_socket_of_this_machine(tmp_path) -> None:
    path = f"{tmp_path}/r.sock"
    server = RedisServer(tmp_path, "--unixsocket", path)
    try:

        async def test() -> None:
            async with node(f"unix://{path}?db=2") as store:
                store.put(make_entry(KEY))
                assert len(await asked(store.lookup, KEY)) == 1

        asyncio.run(test())
    finally:
        server.close()


def test_a_store_can_be_used_before_it_is_connected(shared_redis: RedisServer) -> None:
    prefix = unique()

    async def test() -> None:
        async with node(shared_redis, prefix=prefix) as store:
            store.put(make_entry(KEY))
            await asked(store.flush)
        fresh = RedisTier(shared_redis.url, RedisLimits(link=PATIENT), prefix=prefix, clock=lambda: NOW)
        assert len(await asked(fresh.lookup, KEY)) == 1
        await fresh.aclose()

    asyncio.run(test())
