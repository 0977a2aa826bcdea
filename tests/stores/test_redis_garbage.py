"""What a neighbour, a bug or an operator may leave in Redis under our names: always a miss, and purges hold."""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.stores.backends import NOW, make_entry
from tests.stores.redis_backend import PATIENT, acquired, asked, content_of, eventually, node, unique

from springhouse.rules.purging import Everything, Keys, Prefix, Purge, Tags
from springhouse.stores.errors import StoreErrors
from springhouse.stores.leases import Lease, LockStatus
from springhouse.stores.redis.limits import RedisLimits
from springhouse.stores.redis.link import LinkLimits
from springhouse.stores.redis.log import LogLimits
from springhouse.stores.redis.tier import RedisTier

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis
    from tests.support.redis_server import RedisServer

    from springhouse.rules.entry import Entry

SMALL, LARGE, OTHER = b"http://a.test/small", b"http://a.test/large", b"http://b.test/other"
LIMITS = RedisLimits(inline_max=2_000, whole_max=700_000, link=PATIENT)
PURGES = [Keys((SMALL, LARGE)), Prefix(b"http://a.test/"), Tags((b"red",)), Everything()]


def as_string(client: Redis, key: bytes) -> None:
    client.set(key, os.urandom(50))


def as_list(client: Redis, key: bytes) -> None:
    client.delete(key)
    client.rpush(key, b"a", b"b")


def as_set(client: Redis, key: bytes) -> None:
    client.delete(key)
    client.sadd(key, b"a", os.urandom(40))


def as_sorted_set(client: Redis, key: bytes) -> None:
    client.delete(key)
    client.zadd(key, {b"": 0, b"a": 5, os.urandom(40): float("inf"), b"b": -3})


def as_hash(client: Redis, key: bytes) -> None:
    client.delete(key)
    client.hset(key, mapping={b"a": b"b", b":m": b"", b"x:m": b"1 2 3 4 5 6 7", os.urandom(9): os.urandom(9)})


def as_stream(client: Redis, key: bytes) -> None:
    client.delete(key)
    client.xadd(key, {b"what": b"end", b"purge": b"x"}, id="18446744073709551615-1")


def values_as_garbage(client: Redis, key: bytes) -> None:
    """Keep the type, and spoil what is in it."""
    match client.type(key):
        case b"hash":
            for field, value in client.hgetall(key).items():
                client.hset(key, field, value[: len(value) // 2] + os.urandom(3))
        case b"zset":
            for member in client.zrange(key, 0, -1):
                client.zadd(key, {member: 9e18})
        case b"stream":
            client.xadd(key, {b"garbage": os.urandom(20)})
            client.xadd(key, {b"what": b"end", b"purge": b"x", b"before": b"y"})
        case _:
            client.set(key, b"inf")


def values_as_numbers_too_large(client: Redis, key: bytes) -> None:
    match client.type(key):
        case b"hash":
            for field in client.hkeys(key):
                number = b"9" * 400
                is_data = field.endswith(b":m")
                client.hset(
                    key, field, b" ".join([number] * 3 + [b"ab", b"-", b"nan", b"1e999"]) if is_data else number
                )
        case b"zset":
            client.zadd(key, {b"z": float("inf"), b"y": float("-inf")})
        case b"stream":
            client.xadd(key, {b"before": b"9" * 400}, id="18446744073709551615-18446744073709551615")
        case _:
            client.set(key, b"9" * 400)


def half_gone(client: Redis, key: bytes) -> None:
    match client.type(key):
        case b"hash":
            fields = sorted(client.hkeys(key))
            client.hdel(key, *fields[::2])
        case b"zset":
            client.zpopmin(key)
        case b"stream":
            client.xtrim(key, maxlen=0)
        case _:
            client.set(key, b"")


HOW = [
    as_string, as_list, as_set, as_sorted_set, as_hash, as_stream, values_as_garbage, values_as_numbers_too_large,
    half_gone,
]  # fmt: skip


async def stock(store: RedisTier) -> None:
    """Store of everything something, so that there is every kind of key."""
    await asked(store.purge, Purge(Keys((SMALL,))))
    await asked(store.purge, Purge(Prefix(b"http://a.test/")))
    await put_all(store, b"1")
    for told in (None, LockStatus.GIVE_UP, LockStatus.TRANSIENT_ERROR):
        lease = await acquired(store, b"http://a.test/" + os.urandom(4).hex().encode())
        assert isinstance(lease, Lease)
        if told is not None:
            store.leases.release(lease, told)
    await asked(store.flush)


async def put_all(store: RedisTier, with_: bytes) -> None:
    store.put(make_entry(SMALL, with_ * 500, tags=(b"red", b"blue")))
    store.put(make_entry(SMALL, with_ * 500, language=b"de"))
    store.put(make_entry(LARGE, with_ * 600_000, tags=(b"red",)))
    store.put(make_entry(OTHER, with_ * 500))
    await asked(store.flush)


async def contents(store: RedisTier, key: bytes) -> set[bytes]:
    """Return the first bytes of what is found whole."""
    found = await asked(store.lookup, key)
    assert all(entry.content.data is not None for entry in found)
    return {bytes(await content_of(entry))[:1] for entry in found}


async def becomes_stored(store: RedisTier, entry: Entry) -> bool:
    """Put an entry, again if that was refused because the log was in disorder; say whether it is found."""
    for _ in range(20):
        await asked(store.catch_up)
        store.put(entry)
        await asked(store.flush)
        if bytes(entry.content.data[:1]) in await contents(store, entry.key):
            return True
        await asyncio.sleep(0.1)
    return False


async def survives(server: RedisServer, how: Callable[[Any, bytes], None], which: bytes, *purges: Any) -> None:
    """Spoil all keys with a part of a name; what is asked for then is answered, as if nothing were stored."""
    prefix = unique()
    with server.client() as client:
        async with node(server, LIMITS, prefix=prefix) as store:
            for what in purges or PURGES:
                await stock(store)
                for key in list(client.scan_iter(prefix + "*", count=1000)):
                    if which in key:
                        how(client, key)
                for key in (SMALL, LARGE, OTHER):
                    assert await contents(store, key) <= {b"1"}
                leased = [key.partition(b"}s:")[2] for key in client.scan_iter(prefix + "*s:http*", count=1000)]
                for key in (SMALL, b"http://a.test/new", *leased):
                    lease = await asyncio.wait_for(acquired(store, key), 1)
                    if isinstance(lease, Lease):
                        store.leases.release(lease)
                receipt = await asyncio.wait_for(asked(store.purge, Purge(what)), 3)
                assert receipt.failure == ""
                assert await contents(store, LARGE) == set()
                assert {entry.vary for entry in await asked(store.lookup, SMALL)} <= (
                    {(b"accept-language",)} if isinstance(what, Tags) else set()
                )
                assert await becomes_stored(store, make_entry(SMALL, b"2" * 500, at=NOW + 1)), (
                    store.refusals,
                    store.errors.counts,
                )
                receipt = await asyncio.wait_for(asked(store.purge, Purge(Everything())), 3)
                assert receipt.failure == ""
                assert await contents(store, SMALL) == set()
            await eventually(lambda: store.is_following)
            assert store.errors.counts["bug"] == 0
        client.unlink(*client.scan_iter(prefix + "*", count=1000))


@pytest.mark.parametrize(("how", "what"), list(zip(HOW, PURGES * 3, strict=False)))
def test_whatever_all_keys_hold_is_a_miss_and_purges_hold(
    shared_redis: RedisServer, how: Callable[[Any, bytes], None], what: Any
) -> None:
    asyncio.run(survives(shared_redis, how, b"", what))


@pytest.mark.parametrize("which", [b"}e:", b"}names", b"}l:", b"}purges"])
def test_one_kind_of_key_spoilt_does_not_spoil_the_rest(shared_redis: RedisServer, which: bytes) -> None:
    asyncio.run(survives(shared_redis, values_as_garbage, which, Tags((b"red",))))


REPLIES = [
    b"+OK\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b":1\r\n", b":-7\r\n", b"$0\r\n\r\n", b"$5\r\nstale\r\n",
    b"*1\r\n*1\r\n*0\r\n", b"*2\r\n$1\r\n0\r\n*7\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n:7\r\n",
    b"*2\r\n$4\r\nheld\r\n:5\r\n", b"*1\r\n*2\r\n$1\r\nx\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*-1\r\n", b"-ERR what\r\n",
    b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", b"-LOADING Redis is loading\r\n",
    b"-READONLY You can't write against a read only replica.\r\n", b"-MOVED 1 127.0.0.1:1\r\n",
    b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", b"-NOSCRIPT No matching script.\r\n",
    b"-NOAUTH Authentication required.\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff\r\n",
]  # fmt: skip


@pytest.mark.parametrize("reply", REPLIES)
def test_whatever_is_replied_everything_is_answered(reply: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                commands = max(1, len(re.findall(rb"^\*\d+\r$", data, re.MULTILINE)))
                writer.write(reply * commands)
                await writer.drain()
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        link = LinkLimits(patience=0.2, limit=0.3, rest=0.05)
        log = LogLimits(alive=0.1, every=0.1)
        store = RedisTier(url, RedisLimits(link=link, log=log, inline_max=2_000), errors=StoreErrors(lambda _: None))
        for _ in range(3):
            store.put(make_entry(SMALL, b"x" * 500, tags=(b"red",)))
            store.put(make_entry(LARGE, b"x" * 5_000))
            assert await asked(store.lookup, SMALL) == ()
            lease = await acquired(store, SMALL)
            if isinstance(lease, Lease):
                store.leases.release(lease)
            for dry_run in (True, False):
                assert (await asked(store.purge, Purge(Tags((b"red",))), dry_run=dry_run)).failure != ""
            await asked(store.catch_up)
            await asked(store.flush)
        assert store.errors.counts["bug"] == 0
        await asyncio.wait_for(store.aclose(), 5)
        server.close()

    asyncio.run(test())
