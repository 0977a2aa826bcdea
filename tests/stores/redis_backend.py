"""Redis behind the face that the contract suite waits at: the store runs in a loop of its own, as in a proxy."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from hashlib import sha1
from secrets import token_hex
from time import monotonic
from typing import TYPE_CHECKING, Any

from tests.stores.backends import LIMITS, NOW, PATIENCE_S, VARIANTS_MAX, Layered, Loop, Tiered, memory_of
from tests.support.loops import LoopThread, uvloop_or_asyncio

from springhouse.stores.content import StoredContent
from springhouse.stores.errors import StoreErrors
from springhouse.stores.leases import Lease, LockStatus
from springhouse.stores.redis.contents import RedisContent
from springhouse.stores.redis.limits import RedisLimits
from springhouse.stores.redis.link import LinkLimits
from springhouse.stores.redis.tier import RedisTier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.redis_server import RedisCluster, RedisServer

    from springhouse.rules.entry import Entry
    from springhouse.rules.purging import Purge
    from springhouse.stores.tier import Tier

PATIENT = LinkLimits(patience=5.0, limit=10.0, rest=0.05)
"""For tests that are not about time, on a machine that may be busy."""


class Ferried:
    """A RedisTier whose callbacks cross from its loop's thread to the test's."""

    def __init__(self, url: str, loop: Loop, limits: RedisLimits, **more: Any) -> None:
        self._ferry = loop
        self.thread = LoopThread(uvloop_or_asyncio)
        self.said: list[str] = []
        self.errors = StoreErrors(self.said.append)
        self.patience = PATIENCE_S
        self.leases = None

        async def make() -> RedisTier:
            return RedisTier(url, limits, errors=self.errors, **more)

        self.store = self.thread.run(make())
        loop.until(lambda: self.store.is_up and self.store.is_following)

    def lookup(self, key: bytes, done: Callable[[Any], None]) -> None:
        self._tell(self.store.lookup, key, lambda found: self._ferry.deliver(done, tuple(map(self._wrapped, found))))

    def put(self, entry: Entry) -> None:
        self._tell(self.store.put, entry)

    def replace(self, old: Entry, new: Entry) -> None:
        self._tell(self.store.replace, old, new)

    def arrive(self, key: bytes, told: Callable[[], None]) -> Any:
        return self.thread.call(self.store.arrive, key, lambda: self._ferry.deliver(told))

    def purge(self, purge: Purge, done: Any = None, *, held: Any = (), dry_run: bool = False) -> None:
        back = None if done is None else lambda receipt: self._ferry.deliver(done, receipt)
        self._tell(lambda: self.store.purge(purge, back, held=held, dry_run=dry_run))

    def has_foreign_purges(self) -> bool:
        return self.store.has_foreign_purges()

    def catch_up(self, done: Any) -> None:
        self._tell(self.store.catch_up, lambda news: self._ferry.deliver(done, news))

    def flush(self, done: Any) -> None:
        self._tell(self.store.flush, lambda: self._ferry.deliver(done))

    def close(self) -> None:
        self.thread.run(self.store.aclose())
        self.thread.close()
        assert self.thread.errors == []

    def _tell(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.thread.loop.call_soon_threadsafe(call, *arguments)

    def _wrapped(self, entry: Entry) -> Entry:
        if isinstance(entry.content, RedisContent):
            entry.content = FerriedContent(entry.content, self, self._ferry)
        return entry


class FerriedContent(StoredContent):
    """Content that is read in the store's thread."""

    def __init__(self, content: RedisContent, tier: Ferried, loop: Loop) -> None:
        self.length, self.digests = content.length, content.digests
        self._content, self._tier, self._loop = content, tier, loop

    def read(self, start: int, size: int, done: Any) -> None:
        assert threading.current_thread() is threading.main_thread()
        self._tier._tell(self._content.read, start, size, lambda data: self._loop.deliver(done, data))


def redis_tier(server: RedisServer | RedisCluster, folder: Path, loop: Loop, **more: Any) -> Ferried:
    """Return a store whose sizes are those of the suite; what it holds belongs to the folder's name."""
    limits = RedisLimits(
        inline_max=LIMITS.inline_max, whole_max=LIMITS.whole_max, variants_max=VARIANTS_MAX, link=PATIENT
    )
    prefix = sha1(str(folder).encode()).hexdigest()[:8] + ":"
    return Ferried(server.url, loop, limits, prefix=prefix, clock=lambda: NOW, **more)


ON_REDIS: dict[str, Callable[[RedisServer | RedisCluster, Path, Loop], Tiered | Layered]] = {
    "redis": lambda server, folder, loop: Tiered(redis_tier(server, folder, loop), loop),
    "redis under memory": lambda server, folder, loop: Layered(
        redis_tier(server, folder, loop), loop, memory=memory_of(50_000_000)
    ),
    "redis under little memory": lambda server, folder, loop: Layered(
        redis_tier(server, folder, loop), loop, memory=memory_of(8_000)
    ),
}


@asynccontextmanager
async def node(
    server: RedisServer | RedisCluster | str, limits: RedisLimits | None = None, **more: Any
) -> AsyncIterator[RedisTier]:
    """Open a store in the running loop, and wait until it is connected."""
    said: list[str] = []
    url = server if isinstance(server, str) else server.url
    more = {"clock": lambda: NOW, "errors": StoreErrors(said.append)} | more
    store = RedisTier(url, limits or RedisLimits(link=PATIENT), **more)
    try:
        await eventually(lambda: store.is_up and store.is_following, said)
        yield store
    finally:
        await store.aclose()


async def eventually(is_so: Callable[[], Any], why: object = "Nothing happened") -> None:
    """Wait until something is so."""
    async with asyncio.timeout(15):
        while not is_so():
            await asyncio.sleep(0.005)
    assert is_so(), why


async def asked(ask: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """Ask something that calls back, and return what it is called back with."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def back(*given: Any) -> None:
        assert not answer.done() or answer.cancelled(), "Called back twice"
        if not answer.done():
            answer.set_result(given[0] if given else None)

    at_once = ask(*arguments, back, **more)
    if isinstance(at_once, Lease | LockStatus):
        return at_once
    async with asyncio.timeout(20):
        return await answer


async def acquired(store: Tier, key: bytes, since: float | None = None, *, variant: bytes = b"") -> Any:
    """Ask for a lease, having looked up its key just now or at a certain time."""
    return await asked(store.leases.acquire, key, variant, since=monotonic() if since is None else since)


async def content_of(entry: Entry) -> bytes:
    """Return all of an entry's content, wherever it is."""
    content, parts = entry.content, b""
    if content.data is not None:
        return content.data
    while len(parts) < content.length:
        part = await asked(content.read, len(parts), 2**20)
        assert part, "Content that cannot be read"
        parts += part
    return parts


def unique() -> str:
    """Return a prefix that no other test has."""
    return f"{token_hex(4)}:"
