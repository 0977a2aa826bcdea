"""Entries in Redis or Valkey: a tier that many machines share (decision 0012).

    address   where it is                          layout    names of keys, buckets, lifetimes
    link      how it is reached, and how it fails  scripts   what happens inside it, in `lua/`
    breaker   when to leave it alone               tasks     what is done about a key, in order
    reader    what it has becomes entries          contents  large content, in chunks
    writer    entries become what it has           purging   purges: carried out, or made up for
    leases    which node fetches a cold key        log       purges by other nodes

Everything runs on the loop's thread, in tasks: a lookup over the network costs more than a task. Lookups wait only for
what was put under their key. A lookup that takes longer than `patience` is a miss. Redis forgets by itself: every key
expires.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from copy import copy
from time import time

from springhouse.http.content import NO_CONTENT
from springhouse.rules.entry import Entry
from springhouse.rules.purging import Held, Keys, Purge, Receipt, remaining
from springhouse.stores import digests
from springhouse.stores.codec import Codec
from springhouse.stores.errors import StoreErrors
from springhouse.stores.memory.records import cost_of
from springhouse.stores.redis.address import Address
from springhouse.stores.redis.contents import ArrivingEnds, ChunkedBody, RedisArriving
from springhouse.stores.redis.layout import KeyLayout, variant_name
from springhouse.stores.redis.leases import RedisLeases
from springhouse.stores.redis.limits import RedisLimits
from springhouse.stores.redis.link import Link, RedisFailure, ReplyTimer
from springhouse.stores.redis.log import PurgeLog
from springhouse.stores.redis.purging import Purger
from springhouse.stores.redis.reader import EntryReader, LookupReply, read_whole
from springhouse.stores.redis.tasks import KeyedTasks
from springhouse.stores.redis.writer import EntryWriter, Moment
from springhouse.stores.tier import BACKLOG_MAX, Arriving, CaughtUp, LookedUp, OnProgress, Purged

_CLOSING_S = 2.0


class RedisTier:
    """A Tier. Made and used on the thread of a running event loop; `clock`: the engine's."""

    def __init__(
        self,
        url: str,
        limits: RedisLimits | None = None,
        *,
        prefix: str = "springhouse:",
        secret: bytes = b"",
        clock: Callable[[], float] = time,
        errors: StoreErrors | None = None,
    ) -> None:
        """Begin to connect. Raises BadAddress, and ValueError for a prefix with braces."""
        self.limits = limits = limits or RedisLimits()
        self.errors = errors = errors or StoreErrors()
        self.waiting = 0
        """Bytes that wait to be written."""
        address, self.layout, codec = Address.parse(url), KeyLayout(prefix), Codec(secret)
        self._loop = asyncio.get_running_loop()
        self._tasks = tasks = KeyedTasks(errors)
        self._link = Link(address, limits.link, errors, probe=self.layout.log + b"last")
        self._log_link = Link(address, limits.link, errors, probe=self.layout.log + b"last")
        self.log = PurgeLog(self._log_link, self.layout, limits.log)
        self.purger = Purger(self._link, self.log, self.layout, spawn=tasks.spawn_apart)
        self.leases = RedisLeases(self._link, self.layout, limits.leases, in_order=tasks.in_order)
        self._reader = EntryReader(
            self._link, self.layout, codec, spawn=tasks.spawn, on_damage=self._damaged, on_lookup=self.leases.looked_up
        )
        self._writer = EntryWriter(self._link, self.layout, codec, limits, log=self.log, clock=clock)
        self._closing: asyncio.Task[None] | None = None

    @property
    def patience(self) -> float:
        """See Tier; the link gives up before that, and says so."""
        return self.limits.link.limit

    @property
    def is_up(self) -> bool:
        """Whether Redis answers."""
        return self._link.is_up

    @property
    def is_following(self) -> bool:
        """Whether this node reads the purges of others."""
        return self.log.is_connected

    @property
    def refusals(self) -> Counter[str]:
        """Why entries were not stored that could have been: purged, late, gone, old."""
        return self._writer.refusals

    # Lookups.

    def lookup(self, key: bytes, done: LookedUp) -> None:
        """Find the variants under the key; see Tier."""
        if self._link.is_up:
            self._tasks.spawn(self._lookup(key, done))
        else:
            self.errors.counts["away"] += 1
            self._loop.call_soon(done, ())

    async def _lookup(self, key: bytes, done: LookedUp) -> None:
        reply = LookupReply(done)
        before = self._tasks.last_about(key)

        def give_up() -> None:
            if reply.variants is None and (before is None or before.done()):
                self._link.was_slow()
            reply.give()

        timer = ReplyTimer(self.limits.link.patience, give_up)
        try:
            if before is not None:
                await asyncio.wait({before})
            read, purges = self.log.read, self.purger.pending() + self.log.open()
            found = await self._reader.find(key)
            reply.variants = self._unpurged(found, purges, read)
            if reply.is_awaited:
                await read_whole(found, self.limits.whole_max)
                reply.variants = self._unpurged(found, purges, read)
        except RedisFailure:
            pass  # counted where it happened
        finally:
            timer.cancel()
            self._loop.call_soon(reply.give)

    def _unpurged(self, found: list[Entry], purges: list[Purge], read: int) -> tuple[Entry, ...]:
        """Return what is left by the purges that were pending when a lookup began, and by those read since then."""
        variants = tuple(found)
        for purge in purges + self.log.since(read):
            variants = remaining(variants, purge)
        return variants

    def _damaged(self, key: bytes, variant: bytes, body: bytes) -> None:
        self.errors.report("damaged", "content stored in Redis is missing or damaged; its entry is forgotten")
        self._tasks.in_order(key, self._writer.forget_damaged(key, variant, body))

    # What changes the store.

    def put(self, entry: Entry) -> None:
        """Store an entry; see Tier."""
        size = cost_of(entry)
        if not self._link.is_up:
            self.errors.counts["away"] += 1
        elif self.waiting + size > self.limits.waiting_max:
            self.errors.report("crowded", "Redis is slower than the origin: a response was not stored")
            self._tasks.in_order(entry.key, self._writer.forget(entry.key, variant_name(entry)))
        else:
            self.waiting += size
            content = entry.content.data or b""
            self._tasks.in_order(entry.key, self._put(entry, content, size, self._now(entry)))

    def _now(self, entry: Entry) -> Moment:
        return Moment(self.log.seen, self.leases.of(entry), self.purger.covering(entry))

    async def _put(self, entry: Entry, content: bytes, size: int, moment: Moment) -> None:
        try:
            await self._writer.put(entry, content, moment)
        finally:
            self.waiting -= size

    def replace(self, old: Entry, new: Entry) -> None:
        """Put a freshened entry in the old one's place; see Tier."""
        if self._link.is_up:
            self._tasks.in_order(old.key, self._writer.replace(old, new, old.content, self._now(new)))

    def arrive(self, key: bytes, on_progress: OnProgress, /) -> Arriving | None:
        """Begin to store content that is arriving; see Tier."""
        if not self._link.is_up or self.waiting > self.limits.waiting_max // 2:
            return None
        ends = ArrivingEnds(
            on_progress=on_progress,
            on_commit=self._commit,
            on_waiting=self._more_waits,
            backlog_max=max(digests.CHUNK, min(BACKLOG_MAX, self.limits.waiting_max // 4)),
        )
        return RedisArriving(ChunkedBody(self.layout.base(key)), ends, link=self._link, spawn=self._tasks.spawn)

    def _more_waits(self, size: int) -> None:
        self.waiting += size

    def _commit(self, arriving: RedisArriving, entry: Entry) -> None:
        stored = copy(entry)  # clients that are being served from the entry still need the content it has
        stored.content, stored.length = NO_CONTENT, arriving.length
        self._tasks.in_order(entry.key, self._put_arrived(arriving, stored, self._now(entry)))

    async def _put_arrived(self, arriving: RedisArriving, entry: Entry, moment: Moment) -> None:
        try:
            if await arriving.is_written():
                await self._writer.put_arrived(entry, arriving.body, moment)
        except RedisFailure:
            pass  # counted where it happened; what was written expires
        finally:
            arriving.end()

    # Purges.

    def purge(
        self, purge: Purge, done: Purged | None = None, *, held: Sequence[Held] = (), dry_run: bool = False
    ) -> None:
        """Remove or mark what a purge selects, or only count it; see Tier."""
        carry_out = self.purger.count if dry_run else self.purger.purge
        keys = purge.what.keys if isinstance(purge.what, Keys) else None
        carry_out(purge, done or _ignore, held, self._tasks.about(keys))

    def has_foreign_purges(self) -> bool:
        """Return whether other nodes have purged since the last `catch_up`."""
        return self.log.has_foreign_purges

    def catch_up(self, done: CaughtUp) -> None:
        """Hand over the purges of other nodes; see Tier."""
        self._loop.call_soon(lambda: done(self.log.take()))

    # The end.

    def flush(self, done: Callable[[], None]) -> None:
        """Call back when all that was asked for before has been written; see Tier."""
        before = self._tasks.writes()

        async def wait() -> None:
            await asyncio.gather(*before, return_exceptions=True)
            done()

        self._tasks.spawn_apart(wait())

    def close(self) -> None:
        """Release everything; in the background while the loop runs, see `aclose`."""
        if self._closing is None:
            if self._loop.is_running():
                self._closing = self._loop.create_task(self.aclose())
            elif not self._loop.is_closed():
                self._loop.run_until_complete(self.aclose())

    async def aclose(self) -> None:
        """Write what waits to be written, for some seconds at most, and release everything."""
        await self._tasks.finish(_CLOSING_S if self._link.is_up else 0)
        await self.purger.close()
        await self.leases.close()
        await self.log.close()
        await self._log_link.close()
        await self._link.close()


def _ignore(_: Receipt) -> None:
    pass
