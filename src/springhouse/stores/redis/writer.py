"""Writing entries to Redis, and what keeps one from being stored that a purge has covered meanwhile (decision 0012).

An entry is put as of the moment when it came: with the number of the last purge that its engine had applied, and the
token of its lease. Redis refuses what a later purge covers, or what was fetched by a lease that has lapsed since.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from springhouse.http.content import Content
from springhouse.rules import purging
from springhouse.rules.entry import Entry
from springhouse.stores import digests
from springhouse.stores.codec import Codec, CodecError
from springhouse.stores.leases import Lease
from springhouse.stores.redis.contents import ChunkedBody, content_digests
from springhouse.stores.redis.layout import KeyLayout, packed_labels, stamp_of, variant_name
from springhouse.stores.redis.leases import lease_name
from springhouse.stores.redis.limits import RedisLimits
from springhouse.stores.redis.link import Argument, Link, RedisFailure
from springhouse.stores.redis.log import PurgeLog
from springhouse.stores.redis.purging import PendingPurge
from springhouse.stores.redis.scripts import FORGET, FORGET_DAMAGED, PUT, REPLACE, Script


@dataclass(frozen=True, slots=True)
class Moment:
    """How things stood when an entry came: the last purge known, its lease, purges to put it after."""

    seen: int
    lease: Lease | None
    after: list[PendingPurge]

    @property
    def token(self) -> tuple[int, bytes]:
        """The token of the lease and its name in Redis; 0 without a lease."""
        return (0, b"") if self.lease is None else (self.lease.token, lease_name(self.lease.key, self.lease.variant))


class EntryWriter:
    """Writes entries; failures are counted where they happen, and what was written of a failed entry expires."""

    def __init__(
        self,
        link: Link,
        layout: KeyLayout,
        codec: Codec,
        limits: RedisLimits,
        *,
        log: PurgeLog,
        clock: Callable[[], float],
    ) -> None:
        self.refusals: Counter[str] = Counter()
        """Why entries were not stored that could have been: purged, late, gone, old."""
        self._link = link
        self._layout = layout
        self._codec = codec
        self._limits = limits
        self._log = log
        self._clock = clock

    async def put(self, entry: Entry, content: bytes, moment: Moment) -> None:
        """Store an entry and its content."""
        try:
            if len(content) <= self._limits.inline_max:
                await self._put(entry, digests.digests_of(content), moment, (content, b"-", 0))
                return
            body = ChunkedBody(self._layout.base(entry.key))
            for chunk in digests.chunks(content):
                await body.add(self._link, bytes(chunk))
            await self._put(entry, body.digests(), moment, (b"", body.name, body.chunks))
        except RedisFailure:
            return

    async def put_arrived(self, entry: Entry, body: ChunkedBody, moment: Moment) -> None:
        """Store an entry whose content has been written. Raises RedisFailure."""
        content = (b"", body.name, body.chunks) if body.chunks else (b"", b"-", 0)
        await self._put(entry, body.digests(), moment, content)

    async def replace(self, old: Entry, new: Entry, content: Content, moment: Moment) -> None:
        """Put a freshened entry in the old one's place. `content`: what the old one had when that was asked for."""
        try:
            proof = await content_digests(content)
            replaced = (variant_name(old), stamp_of(old), repr(old.fresh_until))
            if not await self._write(REPLACE, new, proof, moment, replaced):
                await self.forget(new.key, variant_name(old))
        except RedisFailure:
            return

    async def forget(self, key: bytes, variant: bytes) -> None:
        """Remove a variant that is superseded by what was not stored."""
        await self._forget(FORGET, key, variant)

    async def forget_damaged(self, key: bytes, variant: bytes, body: bytes) -> None:
        """Remove a variant that has a damaged body."""
        await self._forget(FORGET_DAMAGED, key, variant, body)

    async def _forget(self, script: Script, key: bytes, *more: bytes) -> None:
        try:
            await self._link.script(script, self._layout.base(key), key, *more)
        except RedisFailure:
            return

    async def _put(self, entry: Entry, proof: bytes, moment: Moment, content: tuple[Argument, ...]) -> None:
        if not await self._write(PUT, entry, proof, moment, content):
            await self.forget(entry.key, variant_name(entry))

    async def _write(
        self, script: Script, entry: Entry, proof: bytes, moment: Moment, rest: tuple[Argument, ...]
    ) -> bool:
        """Run PUT or REPLACE, whose last arguments are `rest`; return False for an entry that is of no use."""
        now = self._clock()
        ttl = self._limits.lifetimes.ttl(entry, now)
        epoch = await self._epoch(entry, moment)
        if epoch is None:
            self.refusals["purged"] += 1
            return True
        record = self._encoded(entry, proof)
        if record is None or ttl == 0:
            return False
        size, age = len(record) + (entry.length or 0), max(0, int(1000 * (now - entry.requested_at)))
        reply = await self._link.script(
            script, self._layout.base(entry.key), entry.key, variant_name(entry), record, size, stamp_of(entry), ttl,
            packed_labels(entry), epoch, age, *moment.token, self._limits.variants_max, repr(entry.fresh_until), *rest,
        )  # fmt: skip
        if reply != b"stored":
            self.refusals[str(reply, "ascii", "replace") if isinstance(reply, bytes) else "?"] += 1
        return True

    def _encoded(self, entry: Entry, proof: bytes) -> bytes | None:
        try:
            return self._codec.encode(entry, proof)
        except CodecError as error:
            self._link.errors.report("refused", f"a response was not stored: {error}")
            return None

    async def _epoch(self, entry: Entry, moment: Moment) -> int | None:
        """Return the number of the last purge that is known not to cover an entry; None when one does that is owed.

        Purges of this node that were asked for before the entry came do not matter: it is put after them. Those of
        others do, when they have come meanwhile.
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
