"""Purging what is in Redis, and telling the other nodes (decision 0012).

A purge begins in the log, is carried out in every bucket that it concerns, ends in the log, and is answered when all
nodes have read it. Until it has ended here, what is found in Redis is filtered by it, and what it covers is put only
after it. A purge that fails because Redis is away stays owed: nothing that it covers is found or put until it has been
made up for.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from msgspec.structs import replace

from springhouse.http.memo import MIB, PLACE_BYTES, bound
from springhouse.rules.entry import Entry
from springhouse.rules.purging import Held, Purge, Receipt, receipt_of, selects, weight_of
from springhouse.stores.redis.layout import Layout
from springhouse.stores.redis.link import Away, Link, Refused
from springhouse.stores.redis.log import ALL, PurgeLog
from springhouse.stores.redis.scripts import PURGE
from springhouse.stores.tier import Purged

_KEYS_AT_ONCE: Final = 500
_OWED: Final = bound("purges owed", MIB, "purges that Redis was away for, until they have been made up for")
_OWED_EVERY_S: Final = 0.25

Writes = list["asyncio.Task[None]"]


class Pending:
    """A purge that has been asked for and has not ended."""

    __slots__ = ("has_failed", "is_settled", "purge")

    def __init__(self, purge: Purge) -> None:
        self.purge = purge
        self.is_settled = asyncio.Event()
        """It has ended, or failed at first."""
        self.has_failed = False


class Purger:
    """Carries purges out. `spawn` runs a coroutine as a task that is not forgotten."""

    def __init__(
        self, link: Link, log: PurgeLog, layout: Layout, *, spawn: Callable[[Coroutine[Any, Any, None]], object]
    ) -> None:
        self._link = link
        self._log = log
        self._layout = layout
        self._spawn = spawn
        self._pending: list[Pending] = []
        self._payer: asyncio.Task[None] | None = None

    def purge(self, purge: Purge, done: Purged, held: Sequence[Held], after: Writes) -> None:
        """Purge after some writing; `done` is given what it came to, with what memories held."""
        pending = Pending(purge)
        self._pending.append(pending)
        self._spawn(self._run(pending, done, held, after))

    def count(self, purge: Purge, done: Purged, held: Sequence[Held], after: Writes) -> None:
        """Only count what a purge would select."""
        self._spawn(self._count(purge, done, held, after))

    def covering(self, entry: Entry) -> list[Pending]:
        """Return the purges under way that cover an entry."""
        return [pending for pending in self._pending if selects(pending.purge.what, entry)]

    def under_way(self) -> list[Purge]:
        """Return the purges that have been asked for and have not ended."""
        return [pending.purge for pending in self._pending]

    async def _run(self, pending: Pending, done: Purged, held: Sequence[Held], after: Writes) -> None:
        await self._written(after)
        try:
            number, receipt = await self._carry_out(pending.purge, held)
        except (Away, Refused) as error:
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
        mode = "hard" if purge.stale_from is None else "soft"
        keys, entries, size = await self._everywhere(purge, number, mode, held)
        await self._log.end(number)
        return number, Receipt(keys=keys, entries=entries, size=size)

    async def _confirmed(self, number: int, receipt: Receipt) -> Receipt:
        try:
            have, of = await self._log.confirmed(number)
        except (Away, Refused) as error:
            return replace(receipt, failure=f"It is not known whether other nodes have confirmed it: {error}")
        failure = "" if have == of else f"Only {have} of {of} nodes have confirmed it"
        return replace(receipt, failure=failure, processes=have)

    async def _written(self, before: Writes) -> None:
        """Wait for what is being written; what takes too long is refused, for it is older than the purge."""
        if before:
            await asyncio.wait(before, timeout=self._link.limits.limit)

    async def _count(self, purge: Purge, done: Purged, held: Sequence[Held], after: Writes) -> None:
        await self._written(after)
        try:
            keys, entries, size = await self._everywhere(purge, 0, "dry", held)
        except (Away, Refused) as error:
            done(replace(receipt_of(held), failure=str(error)))
        else:
            done(Receipt(keys=keys, entries=entries, size=size))

    async def _everywhere(self, purge: Purge, number: int, mode: str, held: Sequence[Held]) -> tuple[int, int, int]:
        since = "-" if purge.stale_from is None else repr(float(purge.stale_from))
        shares = self._layout.by_base(held)
        work = [
            self._in_bucket(base, (mode, number, since, kind), names, shares.get(base, []))
            for base, kind, names in self._layout.shares(purge.what)
        ]
        counts = await asyncio.gather(*work, return_exceptions=True)
        for count in counts:
            if isinstance(count, BaseException):
                raise count
        keys, entries, size = zip((0, 0, 0), *(count for count in counts if isinstance(count, tuple)), strict=True)
        return sum(keys), sum(entries), sum(size)

    async def _in_bucket(
        self, base: bytes, how: tuple[str, int, str, str], names: list[bytes], held: list[bytes | int]
    ) -> tuple[int, int, int]:
        cursor = b""
        keys = entries = size = 0
        while True:
            reply = await self._link.script(PURGE, base, base, *how, cursor, _KEYS_AT_ONCE, len(names), *names, *held)
            held = []  # they were compared before anything was removed
            match reply:
                case [int(more_keys), int(more_entries), bytes(more_size), bytes(next_)] if more_size.isdigit():
                    keys, entries, size = keys + more_keys, entries + more_entries, size + int(more_size)
                case _:
                    raise Refused("a script returned what it cannot return")
            if not next_:
                return keys, entries, size
            if next_ <= cursor:
                raise Refused("a script goes on where it has been")
            cursor = next_

    # What is owed.

    def _owe(self) -> None:
        owed = [pending for pending in self._pending if pending.has_failed]
        if sum(PLACE_BYTES + weight_of(pending.purge.what) for pending in owed) > _OWED.limit:
            all_of_it = Pending(ALL)
            all_of_it.has_failed = True
            all_of_it.is_settled.set()
            self._pending = [pending for pending in self._pending if not pending.has_failed] + [all_of_it]
        if self._payer is None:
            self._payer = asyncio.get_running_loop().create_task(self._pay())

    async def _pay(self) -> None:
        """Make up for what could not be purged."""
        while owed := next((pending for pending in self._pending if pending.has_failed), None):
            try:
                await self._carry_out(owed.purge)
            except (Away, Refused):
                await asyncio.sleep(_OWED_EVERY_S)
            else:
                if owed in self._pending:
                    self._pending.remove(owed)
        self._payer = None

    async def close(self) -> None:
        """Owe nothing any more."""
        if self._payer is not None:
            self._payer.cancel()
            await asyncio.gather(self._payer, return_exceptions=True)
