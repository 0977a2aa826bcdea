"""Where entries live: in memory and, while it is open, in a tier behind it.

Applications are often made before their event loop runs, and outlive it. So the tier is opened when there is a loop,
and closed with it; before and after that, and where none is configured, this is memory alone.

What must stay true:

- Memory holds a key with *all* its variants or not at all: what is found there is never a part of the answer. So an
  entry goes to memory when its key is there, or when the tier had nothing under it when it was last asked; else to the
  tier only, and into memory with its siblings at the next lookup. A key with a body larger than `whole_max` stays in
  the tier.
- Nothing is served from memory while other processes have purged and this one has not applied it (`is_behind`). The hit
  guard reads `records` directly and so must ask `is_behind` itself.
- While a tier is slow, and when another process stores a variant of a key that is in memory here, memory may lack
  variants that the tier has: they are fetched again. What it has is never wrong.

A tier costs nothing where there is none: what every request calls is memory's own function then.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple

from springhouse.http.messages import Request
from springhouse.rules.entry import Entry
from springhouse.rules.purging import Held, Purge, Receipt, receipt_of
from springhouse.stores.foreign_purges import ForeignPurges
from springhouse.stores.leases import Leasing
from springhouse.stores.lookups import TierLookups, WaitingBytes, size_of_waiter
from springhouse.stores.memory.records import Memory
from springhouse.stores.tier import Arriving, LookedUp, OnProgress, Purged, Tier, Timing


class Scope(Enum):
    """How far a purge of a store reaches."""

    HERE = "here"
    """This process's memory: another process has the tier purged."""
    EVERYWHERE = "everywhere"
    """Memory, and the tier for all processes that share it."""


class _Opened(NamedTuple):
    """What there is only while the tier is open."""

    tier: Tier
    lookups: TierLookups
    foreign: ForeignPurges
    waiting: WaitingBytes


class Store:
    """Memory, and a Tier behind it while open.

    `open_tier` returns the tier, on the loop's thread; `whole_max`: bytes of content that are held in memory at most
    where there is a tier.
    """

    def __init__(
        self,
        memory: Memory,
        open_tier: Callable[[], Tier] | None = None,
        *,
        whole_max: int | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.memory = memory
        self.records = memory.records
        """What is in memory; read directly by the hit guard."""
        self.is_shared = open_tier is not None
        """Whether other processes see what is stored here."""
        self.is_behind: Callable[[], bool] | None = self._is_behind if open_tier is not None else None
        """Returns whether `records` may hold what another process has purged; None where no other can."""
        self.on_foreign_purge: Callable[[Purge], None] = _ignore
        """Called with what other processes have purged, before any lookup goes on: what is being fetched may be it."""
        self.leases: Leasing | None = None
        """Settles which of several processes fetches a key; None where they do not share."""
        self.lookup: Callable[[bytes], tuple[Entry, ...]] = memory.lookup
        """Returns what memory has under the key; with a tier, () also means that only `find` knows."""
        self.put: Callable[[Entry], None] = memory.put
        """Stores an entry whose content is complete, in place of those it supersedes; it may be what had `arrive`d."""
        self.reserve: Callable[[int], bool] = memory.reserve
        """Counts content that is arriving and makes room for it in memory; False when it is too much."""
        self.release: Callable[[int], None] = memory.release
        """Counts it no longer."""
        self.whole_max = memory.budget
        """How large content may be, in bytes, that is put whole; what is larger should `arrive`."""
        self._tier_whole_max = memory.budget // 32 if whole_max is None else whole_max
        self._timing = timing or Timing()
        self._open_tier = open_tier
        self._opened: _Opened | None = None

    def open(self) -> None:
        """Open the tier, if there is to be one; raises what `open_tier` raises. Nothing when it is open already."""
        if self._open_tier is None or self._opened is not None:
            return
        tier = self._open_tier()
        waiting = WaitingBytes()
        lookups = TierLookups(self.memory, tier, self._timing, waiting)
        foreign = ForeignPurges(
            tier, self._timing, apply=self._apply_foreign, report_slowness=lookups.report_slowness
        )  # fmt: skip
        self._opened = _Opened(tier, lookups, foreign, waiting)
        self.leases = tier.leases
        self.lookup, self.put = self._lookup_unless_behind, self._put_in_both
        self.whole_max = self._tier_whole_max

    def close(self) -> None:
        """Write what waits to be written, and close the tier; perhaps in the background."""
        opened = self._detached()
        if opened is not None:
            opened.tier.close()
            self.memory.clear()

    async def aclose(self) -> None:
        """Do as `close`, and return when it is done."""
        opened = self._detached()
        if opened is not None:
            await opened.tier.aclose()
            self.memory.clear()

    def _detached(self) -> _Opened | None:
        """Go on with memory alone, which is to be emptied: it would miss what other processes purge."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.lookups.close()
            self.leases = None
            self.lookup, self.put = self.memory.lookup, self._put_unless_arrived
            self.whole_max = self.memory.budget
        return opened

    @property
    def tier(self) -> Tier | None:
        """The tier, while it is open."""
        return None if self._opened is None else self._opened.tier

    # Lookups.

    def _is_behind(self) -> bool:
        return self._opened is not None and self._opened.foreign.is_behind()

    def lacks(self, key: bytes) -> bool:
        """Return whether nothing is stored under the key, as far as that is known without asking the tier."""
        return self._opened is None and key not in self.records

    def _lookup_unless_behind(self, key: bytes) -> tuple[Entry, ...]:
        return () if self._is_behind() else self.memory.lookup(key)

    def find(self, key: bytes, done: LookedUp, request: Request | None = None) -> tuple[Entry, ...] | None:
        """Return the variants under the key at once, or None and call `done` with them later.

        `request`: what waits then, and is counted.
        """
        opened = self._opened
        if opened is None:
            return self.memory.lookup(key)
        if opened.foreign.is_behind():
            size = size_of_waiter(request)
            if opened.foreign.is_overdue or not opened.waiting.has_room_for(size):
                return ()

            def caught_up(is_certain: bool) -> None:
                """Go on; a miss where it is still not certain what others have purged."""
                opened.waiting.release(size)
                variants = self.find(key, done, request) if is_certain else ()
                if variants is not None:
                    done(variants)

            opened.foreign.catch_up(caught_up)
            return None
        return self.memory.lookup(key) or opened.lookups.find(key, done, request)

    def reread(self, key: bytes) -> None:
        """Let the next lookup ask the tier, where another process has just stored or freshened the key."""
        if self._opened is not None:
            self._opened.lookups.repeat(key)
            self.memory.drop(key)

    # What changes the store.

    def _put_in_both(self, entry: Entry) -> None:
        opened = self._opened
        assert opened is not None
        key: bytes = entry.key
        content: Any = entry.content
        is_whole = content.data is not None
        was_absent = opened.lookups.is_absent(key)
        opened.lookups.repeat(key)
        if not is_whole or len(content) > self.whole_max:
            self.memory.drop(key)
        elif was_absent or key in self.records:
            self.memory.put(entry)
        if is_whole:
            opened.tier.put(entry)
        else:
            content.commit(entry)

    def _put_unless_arrived(self, entry: Entry) -> None:
        if entry.content.data is not None:  # else it was arriving in a tier that has been closed
            self.memory.put(entry)

    def replace(self, old: Entry, new: Entry) -> None:
        """Put a freshened entry in the old one's place; nothing happens when the old one has gone."""
        opened = self._opened
        self.memory.replace(old, new)
        if opened is None:
            return
        opened.lookups.repeat(old.key)
        record = self.records.get(old.key)
        if record is not None and not any(entry is new for entry in record.variants):
            self.memory.drop(old.key)  # it was evicted and found again meanwhile: other objects, the same entries
        opened.tier.replace(old, new)

    def arrive(self, key: bytes, on_progress: OnProgress) -> Arriving | None:
        """Begin to store content in the tier while it arrives; None while that cannot be. See `Tier.arrive`."""
        return None if self._opened is None else self._opened.tier.arrive(key, on_progress)

    # Purging.

    def purge(
        self,
        purge: Purge,
        done: Purged | None = None,
        *,
        scope: Scope = Scope.EVERYWHERE,
        held: Sequence[Held] = (),
        dry_run: bool = False,
    ) -> None:
        """Remove or mark what a purge selects, or only count it.

        `done` is called, perhaps at once, when no process in the scope finds it any more. EVERYWHERE: with what it came
        to in the tier, in memory and in what else was `held`. HERE: with what was held here, where there is a tier for
        another process to purge and count; all that waited to be written is in there then, unless that takes long.
        """
        opened = self._opened
        done = done or _ignore_receipt
        if opened is None:
            done(receipt_of([*self._purged_here(purge, dry_run=dry_run), *held]))
        elif scope is Scope.HERE:
            opened.foreign.catch_up(lambda _: self._purge_here(opened, purge, done, held, dry_run=dry_run))
        else:  # what others have purged before is not counted again
            opened.foreign.catch_up(lambda _: self._purge_both(opened, purge, done, held, dry_run=dry_run))

    def _purge_both(
        self, opened: _Opened, purge: Purge, done: Purged, held: Sequence[Held], *, dry_run: bool
    ) -> None:  # fmt: skip
        taken = self._purged_here(purge, dry_run=dry_run)
        opened.tier.purge(purge, done, held=[*taken, *held], dry_run=dry_run)

    def _purge_here(
        self, opened: _Opened, purge: Purge, done: Purged, held: Sequence[Held], *, dry_run: bool
    ) -> None:  # fmt: skip
        taken = self._purged_here(purge, dry_run=dry_run)
        receipts = [Receipt(held=(*taken, *held))]

        def answer_once() -> None:
            if receipts:
                done(receipts.pop())

        opened.tier.flush(answer_once)
        self._timing.call_later(self._timing.written, answer_once)

    def _purged_here(self, purge: Purge, *, dry_run: bool) -> list[Held]:
        """Purge memory, and what lookups will find; return what memory held."""
        if not dry_run and self._opened is not None:
            self._opened.lookups.apply(purge)
        return self.memory.purge(purge, dry_run=dry_run)

    def _apply_foreign(self, purge: Purge) -> None:
        self._purged_here(purge, dry_run=False)
        self.on_foreign_purge(purge)


def _ignore(_purge: Purge) -> None:
    pass


def _ignore_receipt(_receipt: Receipt) -> None:
    pass
