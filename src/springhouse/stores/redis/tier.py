"""Entries in Redis or Valkey: a tier that many machines share (decision 0012).

    redis_address   where it is                       redis_layout     names of keys, buckets, lifetimes
    redis_link      how it is talked to, and fails    redis_scripts    what happens inside it
    redis_finding   what it has becomes entries       redis_contents   large content, in chunks
    redis_purging   purges, carried out, made up for  redis_log        purges of other nodes
    redis_leases    who fetches a cold key            redis_breaker    when to leave it alone

All runs on the loop's thread, in tasks: a slow tier may cost a few. What is done about one key is done in the order in
which it was asked for; lookups wait only for what was put under their key. A lookup that takes longer than `patience`
is a miss. Redis forgets by itself: every key expires.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from time import time
from typing import Any

from springhouse.http.content import NO_CONTENT
from springhouse.rules import purging
from springhouse.rules.entry import Entry
from springhouse.rules.purging import Held, Keys, Purge, Receipt, remaining
from springhouse.stores import digests
from springhouse.stores.codec import Codec, CodecError
from springhouse.stores.errors import StoreErrors
from springhouse.stores.leases import Lease
from springhouse.stores.memory.records import cost_of
from springhouse.stores.redis.address import Address
from springhouse.stores.redis.contents import ArrivingEnds, Body, RedisArriving, proof_of
from springhouse.stores.redis.finder import Answer, Finder, read_whole
from springhouse.stores.redis.layout import Layout, Lifetimes, packed_labels, stamp_of, variant_of
from springhouse.stores.redis.leases import LeaseLimits, Leases, name_of
from springhouse.stores.redis.link import Away, Link, LinkLimits, RedisTimeouts, Refused
from springhouse.stores.redis.log import LogLimits, PurgeLog
from springhouse.stores.redis.purging import Pending, Purger
from springhouse.stores.redis.scripts import DROP, PUT
from springhouse.stores.tier import BACKLOG_MAX, Arriving, CaughtUp, LookedUp, OnProgress, Purged

_CLOSING_S = 2.0
_ASK_TIMES = 5
"""How many times as long as a lookup asking for a lease may take, if that is a moment still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisLimits:
    """Sizes in bytes. Content up to `inline_max` stands beside its record, larger in chunks; up to `whole_max` in all,
    what a lookup finds is found as bytes if there is time, the rest as StoredContent. `waiting_max`: what may wait to
    be written."""

    inline_max: int = 64 * 1024
    whole_max: int = 2**20
    waiting_max: int = 32 * 2**20
    variants_max: int = 64
    link: LinkLimits = field(default_factory=LinkLimits)
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    leases: LeaseLimits = field(default_factory=LeaseLimits)
    log: LogLimits = field(default_factory=LogLimits)

    def with_patience(self, seconds: float) -> "RedisLimits":
        """Return limits with which a lookup may take so long. What else a request waits for follows from that."""
        link = replace(self.link, patience=seconds, limit=max(self.link.limit, 2 * seconds))
        ask = max(seconds, min(self.leases.ask, _ASK_TIMES * seconds))
        return replace(self, link=link, leases=replace(self.leases, ask=ask))


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
        self.errors = errors or StoreErrors()
        self.refusals: Counter[str] = Counter()
        """Why entries were not stored that could have been: purged, late, gone, old."""
        address, self._layout = Address.parse(url), Layout(prefix)
        self._clock = clock
        self._codec = Codec(secret)
        self._loop = asyncio.get_running_loop()
        self._link = Link(address, limits.link, self.errors, probe=self._layout.log + b"last")
        self._log_link = Link(address, limits.link, self.errors, probe=self._layout.log + b"last")
        self._log = PurgeLog(self._log_link, self._layout, limits.log)
        self._purger = Purger(self._link, self._log, self._layout, spawn=self._spawn_apart)
        self.leases = Leases(self._link, self._layout, limits.leases, in_order=self._in_order)
        self._finder = Finder(
            self._link,
            self._layout,
            self._codec,
            errors=self.errors,
            spawn=self._spawn,
            broken=self._broken,
            saw=self.leases.saw,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._apart: set[asyncio.Task[None]] = set()
        """Those of them that write nothing others wait for."""
        self._last: dict[bytes, asyncio.Task[None]] = {}
        """The last thing to do about a key."""
        self._waiting = 0
        self._closing: asyncio.Task[None] | None = None

    @property
    def patience(self) -> float:
        """See Tier; the link gives up before that, and says so."""
        return self.limits.link.limit

    @property
    def is_up(self) -> bool:
        """Say whether Redis answers."""
        return self._link.is_up

    @property
    def is_following(self) -> bool:
        """Say whether this node hears of purges by others."""
        return self._log.is_connected

    # Lookups.

    def lookup(self, key: bytes, done: LookedUp) -> None:
        """Find the variants under the key; see Tier."""
        if self._link.is_up:
            self._spawn(self._lookup(key, done))
        else:
            self.errors.counts["away"] += 1
            self._loop.call_soon(done, ())

    async def _lookup(self, key: bytes, done: LookedUp) -> None:
        answer = Answer(done)
        before = self._last.get(key)

        def lose_patience() -> None:
            if answer.variants is None and (before is None or before.done()):
                self._link.was_slow()
            answer.give()

        timer = RedisTimeouts(self.limits.link.patience, lose_patience)
        try:
            if before is not None:
                await asyncio.wait({before})
            read, purges = self._log.read, self._purger.under_way() + self._log.open()
            found = await self._finder.find(key)
            answer.variants = self._left(found, purges, read)
            if answer.is_awaited:
                await read_whole(found, self.limits.whole_max)
                answer.variants = self._left(found, purges, read)
        except (Away, Refused):
            pass  # counted where it happened
        finally:
            timer.cancel()
            self._loop.call_soon(answer.give)

    def _left(self, found: list[Entry], purges: list[Purge], read: int) -> tuple[Entry, ...]:
        """Return what purges leave that were under way when a lookup began, or have come since then."""
        variants = tuple(found)
        for purge in purges + self._log.since(read):
            variants = remaining(variants, purge)
        return variants

    def _broken(self, key: bytes, variant: bytes, body: bytes) -> None:
        self.errors.report("damaged", "content stored in Redis has gone or was damaged; its entry is forgotten")
        self._in_order(key, self._drop(key, variant, body))

    # What changes the store.

    def put(self, entry: Entry) -> None:
        """Store an entry; see Tier."""
        size = cost_of(entry)
        if not self._link.is_up:
            self.errors.counts["away"] += 1
        elif self._waiting + size > self.limits.waiting_max:
            self.errors.report("crowded", "Redis is slower than the origin: a response was not stored")
            self._in_order(entry.key, self._drop(entry.key, variant_of(entry)))
        else:
            self._waiting += size
            self._in_order(entry.key, self._put(entry, entry.content.data or b"", size, self._now(entry)))

    def _now(self, entry: Entry) -> "_Moment":
        return _Moment(self._log.seen, self.leases.of(entry), self._purger.covering(entry))

    async def _put(self, entry: Entry, content: bytes, size: int, moment: "_Moment") -> None:
        try:
            body = None
            if len(content) > self.limits.inline_max:
                body = Body(self._layout.base(entry.key))
                for chunk in digests.chunks(content):
                    await body.add(self._link, bytes(chunk))
            proof = body.digests() if body is not None else digests.digests_of(content)
            await self._write(entry, proof, moment, _of_put(content, body))
        except (Away, Refused):
            pass  # counted where it happened; what was written expires
        finally:
            self._waiting -= size

    def replace(self, old: Entry, new: Entry) -> None:
        """Put a freshened entry in the old one's place; see Tier."""
        if self._link.is_up:
            self._in_order(old.key, self._replace(old, new, old.content, self._now(new)))

    async def _replace(self, old: Entry, new: Entry, content: Any, moment: "_Moment") -> None:
        try:
            proof = await proof_of(content)
            await self._write(new, proof, moment, ("replace", variant_of(old), stamp_of(old), repr(old.fresh_until)))
        except (Away, Refused):
            return

    async def _write(self, entry: Entry, proof: bytes, moment: "_Moment", how: tuple[Any, ...]) -> None:
        key, now = entry.key, self._clock()
        ttl = self.limits.lifetimes.ttl(entry, now)
        epoch = await self._epoch(entry, moment)
        if epoch is None:
            self.refusals["purged"] += 1
            return
        variant = variant_of(entry)
        try:
            record = self._codec.encode(entry, proof)
        except CodecError as error:
            self.errors.report("refused", f"a response was not stored: {error}")
            ttl = 0
        mode, *rest = how
        if ttl == 0:
            await self._drop(key, rest[0] if mode == "replace" else variant)
            return
        size = len(record) + (entry.length or 0)
        base, age = self._layout.base(key), max(0, int(1000 * (now - entry.requested_at)))
        reply = await self._link.script(
            PUT, base, base, key, mode, variant, record, size, stamp_of(entry), ttl, packed_labels(entry), epoch, age,
            *moment.token, self.limits.variants_max, repr(entry.fresh_until), *rest,
        )  # fmt: skip
        if reply != b"stored":
            self.refusals[str(reply, "ascii", "replace") if isinstance(reply, bytes) else "?"] += 1

    async def _epoch(self, entry: Entry, moment: "_Moment") -> int | None:
        """Return the number of the last purge that is known not to cover an entry; None when one does that is owed.

        Purges of this node that were asked for before the entry came are no question: it is put after them. Those of
        others are, when they have come meanwhile.
        """
        for pending in moment.after:
            await pending.is_settled.wait()
            if pending.has_failed:
                return None
        if not moment.after:
            return moment.seen
        if any(purging.selects(purge.what, entry) for purge in self._log.since(moment.seen)):
            return None
        return self._log.read

    async def _drop(self, key: bytes, variant: bytes, body: bytes = b"*") -> None:
        base = self._layout.base(key)
        try:
            await self._link.script(DROP, base, base, key, variant, body)
        except (Away, Refused):
            return

    def arrive(self, key: bytes, told: OnProgress, /) -> Arriving | None:
        """Begin to store content that is arriving; see Tier."""
        if not self._link.is_up or self._waiting > self.limits.waiting_max // 2:
            return None
        ends = ArrivingEnds(
            told=told,
            commit=self._commit,
            settled=self._settled,
            backlog_max=max(digests.CHUNK, min(BACKLOG_MAX, self.limits.waiting_max // 4)),
        )
        return RedisArriving(Body(self._layout.base(key)), ends, link=self._link, spawn=self._spawn)

    def _settled(self, size: int) -> None:
        self._waiting -= size

    def _commit(self, arriving: RedisArriving, entry: Entry) -> None:
        stored = copy(entry)  # who is being served from it still needs the content it has
        stored.content, stored.length = NO_CONTENT, arriving.length
        self._in_order(entry.key, self._finish(arriving, stored, self._now(entry)))

    async def _finish(self, arriving: RedisArriving, entry: Entry, moment: "_Moment") -> None:
        try:
            if await arriving.is_written():
                body = arriving.body if arriving.length else None
                await self._write(entry, arriving.digests, moment, _of_put(b"", body))
        except (Away, Refused):
            pass  # counted where it happened; what was written expires
        finally:
            arriving.end()

    # Purges.

    def purge(
        self, purge: Purge, done: Purged | None = None, *, held: Sequence[Held] = (), dry_run: bool = False
    ) -> None:
        """Remove or mark what a purge selects, or only count it; see Tier."""
        carry_out = self._purger.count if dry_run else self._purger.purge
        if isinstance(purge.what, Keys):
            before = [self._last[key] for key in set(purge.what.keys) if key in self._last]
        else:
            before = list(self._last.values())
        carry_out(purge, done or _ignore, held, before)

    def has_foreign_purges(self) -> bool:
        """Say whether other nodes have purged since the last `catch_up`."""
        return self._log.has_foreign_purges

    def catch_up(self, done: CaughtUp) -> None:
        """Hand over the purges of other nodes; see Tier."""
        self._loop.call_soon(lambda: done(self._log.take()))

    # Order, and the end.

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.errors.report("bug", f"the store in Redis failed: {task.exception()!r}")

    def _spawn_apart(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self._spawn(work)
        self._apart.add(task)
        task.add_done_callback(self._apart.discard)
        return task

    def _in_order(self, key: bytes, work: Coroutine[Any, Any, None]) -> None:
        """Do something about a key after all that was asked for it before."""
        task = self._spawn(_after(self._last.get(key), work))
        self._last[key] = task

        def forget(_: object) -> None:
            if self._last.get(key) is task:
                del self._last[key]

        task.add_done_callback(forget)

    def flush(self, done: Callable[[], None]) -> None:
        """Call back when all that was asked for before has been written; see Tier."""
        before = tuple(self._tasks - self._apart)

        async def wait() -> None:
            await asyncio.gather(*before, return_exceptions=True)
            done()

        self._spawn_apart(wait())

    def close(self) -> None:
        """Let go of everything; in the background while the loop runs, see `aclose`."""
        if self._closing is None:
            if self._loop.is_running():
                self._closing = self._loop.create_task(self.aclose())
            elif not self._loop.is_closed():
                self._loop.run_until_complete(self.aclose())

    async def aclose(self) -> None:
        """Write what is waiting to be written, for some seconds at most, and let go of everything."""
        if self._tasks:
            _, late = await asyncio.wait(tuple(self._tasks), timeout=_CLOSING_S if self._link.is_up else 0)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._purger.close()
        await self.leases.close()
        await self._log.close()
        await self._log_link.close()
        await self._link.close()


@dataclass(frozen=True, slots=True)
class _Moment:
    """How things stood when an entry came: the last purge known, its lease, purges to put it after."""

    seen: int
    lease: Lease | None
    after: list[Pending]

    @property
    def token(self) -> tuple[int, bytes]:
        """The token of the lease and its name in Redis; 0 without a lease."""
        return (0, b"") if self.lease is None else (self.lease.token, name_of(self.lease.key, self.lease.variant))


def _of_put(content: bytes, body: Body | None) -> tuple[Any, ...]:
    return ("put", content, b"-", 0) if body is None else ("put", b"", body.name, body.chunks)


async def _after(before: "asyncio.Task[None] | None", work: Coroutine[Any, Any, None]) -> None:
    try:
        if before is not None:
            await asyncio.wait({before})
        await work
    finally:
        work.close()


def _ignore(_: Receipt) -> None:
    pass
