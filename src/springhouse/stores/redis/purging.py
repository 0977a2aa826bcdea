"""Purging what is in Redis, and making the other nodes purge (decision 0012).

A purge begins in the log, is carried out in every bucket that it concerns, ends in the log, and is answered when all
nodes have read it. Until it has ended, lookups by this node filter what they find by it, and what it covers is put only
afterwards. A purge that fails because Redis is unavailable stays pending: nothing that it covers is found or put by
this node until it has been carried out after all.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from springhouse.http.memo import MIB, PLACE_BYTES, bound
from springhouse.rules.entry import Entry
from springhouse.rules.purging import Held, Purge, Receipt, receipt_of, selects, weight_of
from springhouse.stores.redis.layout import KeyLayout, Named
from springhouse.stores.redis.link import Argument, Link, RedisFailure, RedisRefused
from springhouse.stores.redis.log import PURGE_ALL, PurgeLog
from springhouse.stores.redis.scripts import (
    COUNT_KEYS,
    COUNT_LABELS,
    COUNT_PREFIX,
    PURGE_KEYS,
    PURGE_LABELS,
    PURGE_PREFIX,
    Script,
)
from springhouse.stores.redis.tasks import Spawn
from springhouse.stores.tier import Purged

_KEYS_AT_ONCE: Final = 500
_OWED: Final = bound("purges owed", MIB, "purges that Redis was away for, until they have been made up for")
_OWED_EVERY_S: Final = 0.25
_PURGE: Final[dict[Named, Script]] = {"keys": PURGE_KEYS, "labels": PURGE_LABELS, "prefix": PURGE_PREFIX}
_COUNT: Final[dict[Named, Script]] = {"keys": COUNT_KEYS, "labels": COUNT_LABELS, "prefix": COUNT_PREFIX}

Writes = list["asyncio.Task[None]"]


class PendingPurge:
    """A purge that has been asked for and has not ended."""

    __slots__ = ("has_failed", "is_settled", "purge")

    def __init__(self, purge: Purge) -> None:
        self.purge = purge
        self.is_settled = asyncio.Event()
        """Set when it has ended, or has failed for the first time."""
        self.has_failed = False


class Purger:
    """Carries purges out, and makes up for those that failed."""

    def __init__(self, link: Link, log: PurgeLog, layout: KeyLayout, *, spawn: Spawn) -> None:
        self._link = link
        self._log = log
        self._layout = layout
        self._spawn = spawn
        self._pending: list[PendingPurge] = []
        self._payer: asyncio.Task[None] | None = None

    def purge(self, purge: Purge, done: Purged, held: Sequence[Held], after: Writes) -> None:
        """Purge once some tasks have written; `done` is called with the receipt, which counts what memories held."""
        pending = PendingPurge(purge)
        self._pending.append(pending)
        self._spawn(self._run(pending, done, held, after))

    def count(self, purge: Purge, done: Purged, held: Sequence[Held], after: Writes) -> None:
        """Only count what a purge would select."""
        self._spawn(self._count(purge, done, held, after))

    def covering(self, entry: Entry) -> list[PendingPurge]:
        """Return the pending purges that cover an entry."""
        return [pending for pending in self._pending if selects(pending.purge.what, entry)]

    def pending(self) -> list[Purge]:
        """Return the purges that have been asked for and have not ended."""
        return [pending.purge for pending in self._pending]

    async def _run(self, pending: PendingPurge, done: Purged, held: Sequence[Held], after: Writes) -> None:
        await self._written(after)
        try:
            number, receipt = await self._carry_out(pending.purge, held)
        except RedisFailure as error:
            pending.has_failed = True
            pending.is_settled.set()
            self._owe()
            failure = f"It will be made up for when Redis is back: {error}"
            done(replace(receipt_of(held), processes=0, failure=failure))
            return
        self._pending.remove(pending)
        await self._log.reached(number)
        pending.is_settled.set()
        done(await self._confirmed(number, receipt))

    async def _carry_out(self, purge: Purge, held: Sequence[Held] = ()) -> tuple[int, Receipt]:
        number = await self._log.begin(purge)
        stale_from = "-" if purge.stale_from is None else repr(float(purge.stale_from))
        keys, entries, size = await self._everywhere(purge, _PURGE, (number, stale_from), held)
        await self._log.end(number)
        return number, Receipt(keys=keys, entries=entries, size=size)

    async def _confirmed(self, number: int, receipt: Receipt) -> Receipt:
        try:
            have, of = await self._log.confirmed(number)
        except RedisFailure as error:
            return replace(receipt, failure=f"It is not known whether other nodes have confirmed it: {error}")
        failure = "" if have == of else f"Only {have} of {of} nodes have confirmed it"
        return replace(receipt, failure=failure, processes=have)

    async def _written(self, before: Writes) -> None:
        """Wait for what is being written. What takes longer will be refused, since it is older than the purge."""
        if before:
            await asyncio.wait(before, timeout=self._link.limits.limit)

    async def _count(self, purge: Purge, done: Purged, held: Sequence[Held], after: Writes) -> None:
        await self._written(after)
        try:
            keys, entries, size = await self._everywhere(purge, _COUNT, (), held)
        except RedisFailure as error:
            done(replace(receipt_of(held), failure=str(error)))
        else:
            done(Receipt(keys=keys, entries=entries, size=size))

    async def _everywhere(
        self, purge: Purge, scripts: dict[Named, Script], how: tuple[Argument, ...], held: Sequence[Held]
    ) -> tuple[int, int, int]:
        """Run a script in each bucket that a purge concerns; return how many keys, entries and bytes it came to."""
        shares = self._layout.by_base(held)
        work = []
        for base, named, names in self._layout.shares(purge.what):
            in_bucket = self._in_range if named == "prefix" else self._by_name
            work.append(in_bucket(scripts[named], base, how, names, shares.get(base, [])))
        counts = await asyncio.gather(*work, return_exceptions=True)
        for count in counts:
            if isinstance(count, BaseException):
                raise count
        keys, entries, size = zip((0, 0, 0), *(count for count in counts if isinstance(count, tuple)), strict=True)
        return sum(keys), sum(entries), sum(size)

    async def _by_name(
        self, script: Script, base: bytes, how: tuple[Argument, ...], names: list[bytes], held: list[bytes | int]
    ) -> tuple[int, int, int]:
        reply = await self._link.script(script, base, *how, len(names), *names, *held)
        return _counts(reply)[:3]

    async def _in_range(
        self, script: Script, base: bytes, how: tuple[Argument, ...], ends: list[bytes], held: list[bytes | int]
    ) -> tuple[int, int, int]:
        cursor = b""
        keys = entries = size = 0
        while True:
            reply = await self._link.script(script, base, *how, cursor, _KEYS_AT_ONCE, *ends, *held)
            held = []  # they were compared before anything was removed
            more_keys, more_entries, more_size, following = _counts(reply)
            keys, entries, size = keys + more_keys, entries + more_entries, size + more_size
            if not following:
                return keys, entries, size
            if following <= cursor:
                raise RedisRefused("a script returned a cursor that it had returned before")
            cursor = following

    # What is owed.

    def _owe(self) -> None:
        owed = [pending for pending in self._pending if pending.has_failed]
        if sum(PLACE_BYTES + weight_of(pending.purge.what) for pending in owed) > _OWED.limit:
            all_of_it = PendingPurge(PURGE_ALL)
            all_of_it.has_failed = True
            all_of_it.is_settled.set()
            self._pending = [pending for pending in self._pending if not pending.has_failed] + [all_of_it]
        if self._payer is None:
            self._payer = asyncio.get_running_loop().create_task(self._pay())

    async def _pay(self) -> None:
        """Carry out what could not be purged, until nothing is owed."""
        while owed := next((pending for pending in self._pending if pending.has_failed), None):
            try:
                await self._carry_out(owed.purge)
            except RedisFailure:
                await asyncio.sleep(_OWED_EVERY_S)
            else:
                if owed in self._pending:
                    self._pending.remove(owed)
        self._payer = None

    async def close(self) -> None:
        """Stop making up for purges."""
        if self._payer is not None:
            self._payer.cancel()
            await asyncio.gather(self._payer, return_exceptions=True)


def _counts(reply: Any) -> tuple[int, int, int, bytes]:
    """Read what the scripts return that purge and count: keys, entries, bytes, cursor. Raises RedisRefused."""
    match reply:
        case [int(keys), int(entries), bytes(size), bytes(cursor)] if size.isdigit():
            return keys, entries, int(size), cursor
    raise RedisRefused("a script returned what it cannot return")
