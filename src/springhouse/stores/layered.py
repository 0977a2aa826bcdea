"""Memory in front of a slower tier: the face of MemoryStore, and lookups that may take a moment.

What must stay true:

- Memory holds a key with *all* its variants or not at all: what is found there is never a part of the answer. So an
  entry goes to memory when its key is there, or when the tier was asked lately and had nothing; else to the tier only,
  and into memory with its siblings at the next lookup. A key with a body larger than `whole_max` stays in the tier.
- A lookup that was under way when something changed does not bring back what was there before. Purges are applied to
  what it finds; after a put or replace it is made again.
- Nothing is served from memory while other processes have purged and this one has not been told what (`is_behind`).
  Lookups wait for the news. The hit guard reads `records` directly and so must ask `is_behind` itself.
- What the tier has from after now comes from a clock that was ahead, here or elsewhere: it is validated before use.
- The tier may be slow or broken; a lookup that takes longer than `patience` seconds is a miss, and for some time after
  that nothing is looked for there. Then, and when another process stores a variant of a key that is in memory here,
  memory may lack variants that the tier has: they are fetched again. What it has is never wrong.
"""

from collections.abc import Callable, Iterable, Sequence
from time import monotonic, time
from typing import Final

from springhouse.http.memo import MIB, Recent, bound, length_of_key
from springhouse.rules.entry import Entry
from springhouse.rules.purging import NEVER_FRESH, Everything, Held, Keys, Purge, Receipt, counted, remaining
from springhouse.stores.leases import Leasing
from springhouse.stores.memory.records import MemoryStore
from springhouse.stores.tier import CLOCKS_APART_S, Arriving, CallLater, LookedUp, OnProgress, Purged, Tier

_ABSENT: Final = bound(
    "absent keys", 4 * MIB, "keys that the disk or Redis had nothing under, so that they may go to memory"
)
REST = 5.0
"""How many times `patience` to leave a tier alone that did not answer."""
_WRITTEN_S = 1.0
"""How long another process's purge may wait for what is being written here."""


class Finding:
    """A lookup of one key that is under way in the tier, for all who ask for the key meanwhile."""

    __slots__ = ("deadline", "key", "must_repeat", "purges", "waiting")

    def __init__(self, key: bytes, deadline: float) -> None:
        self.key = key
        self.deadline = deadline
        self.waiting: list[LookedUp] = []
        self.purges: list[Purge] = []
        """What was purged since it began."""
        self.must_repeat = False


class LayeredStore:
    """A MemoryStore and a Tier. `later`: `loop.call_later`; `patience`: seconds a lookup in the tier may take; `clock`:
    the engine's."""

    def __init__(
        self,
        memory: MemoryStore,
        tier: Tier,
        *,
        later: CallLater,
        whole_max: int | None = None,
        patience: float = 1.0,
        clock: Callable[[], float] = time,
    ) -> None:
        self.memory = memory
        self.tier = tier
        self.options = memory.options
        self.records = memory.records
        self.whole_max = memory.budget // 32 if whole_max is None else whole_max
        self.on_foreign_purge: Callable[[Purge], None] = _ignore
        """Is told what other processes have purged, before any lookup goes on: what is being fetched, too, is old."""
        self._clock = clock
        self._later = later
        self._patience = patience
        self._findings: dict[bytes, Finding] = {}
        """By key, in the order of their deadlines."""
        self._has_deadline = False
        self._absent: Recent[bytes, None] = Recent(_ABSENT, length_of_key)
        """Keys that the tier had nothing under when it was asked, the latest last."""
        self._rests_until = 0.0
        self._behind: list[Callable[[bool], object]] | None = None
        """What waits for news, and is told whether it has come; None when none is being fetched."""
        self._is_kept_waiting = False
        """The news takes too long: what is asked for meanwhile is a miss."""

    # The face of MemoryStore.

    @property
    def used(self) -> int:
        """Bytes in memory."""
        return self.memory.used

    @property
    def budget(self) -> int:
        """Bytes that memory may use."""
        return self.memory.budget

    @property
    def evictions(self) -> int:
        """How many keys had to leave memory."""
        return self.memory.evictions

    def reserve(self, size: int) -> bool:
        """Make room in memory for content that is arriving; see MemoryStore."""
        return self.memory.reserve(size)

    def release(self, size: int) -> None:
        """Give back what `reserve` took."""
        self.memory.release(size)

    def lookup(self, key: bytes) -> tuple[Entry, ...]:
        """Return what memory has under the key; () also says that only `find` knows."""
        return () if self.is_behind() else self.memory.lookup(key)

    def lacks(self, _key: bytes) -> bool:
        """Say that one has to `find` out."""
        return False

    @property
    def is_shared(self) -> bool:
        """Other processes see what is in the tier."""
        return True

    @property
    def leases(self) -> Leasing | None:
        """Who of several processes fetches a key, if the tier settles that."""
        return self.tier.leases

    def is_behind(self) -> bool:
        """Say whether memory may hold what another process has purged."""
        return self.tier.has_foreign_purges() or self._behind is not None

    # Lookups.

    def find(self, key: bytes, done: LookedUp) -> tuple[Entry, ...] | None:
        """Return the variants under the key if memory has them; else return None, and call `done` with them later."""
        if self.is_behind():
            if self._is_kept_waiting:
                return ()
            self._once_told(lambda is_told: self._find_again(key, done) if is_told else done(()))
            return None
        variants = self.memory.lookup(key)
        if variants:
            return variants
        if self._rests_until and self._rests(key):
            return ()
        finding = self._findings.get(key)
        if finding is None:
            finding = self._begin(key)
        finding.waiting.append(done)
        return None

    def _rests(self, key: bytes) -> bool:
        if monotonic() < self._rests_until:
            self._is_absent(key)
            return True
        self._rests_until = 0.0
        return False

    def _begin(self, key: bytes) -> Finding:
        finding = self._findings[key] = Finding(key, monotonic() + self._patience)
        if not self._has_deadline:
            self._has_deadline = True
            self._later(self._patience, self._give_up)
        self._ask(finding)
        return finding

    def _ask(self, finding: Finding) -> None:
        finding.must_repeat = False
        finding.purges.clear()
        self.tier.lookup(finding.key, lambda variants: self._found(finding, variants))

    def _found(self, finding: Finding, variants: tuple[Entry, ...]) -> None:
        key = finding.key
        if self._findings.get(key) is not finding:
            return  # nobody waited any longer
        if finding.must_repeat:
            self._ask(finding)
            return
        for purge in finding.purges:
            variants = remaining(variants, purge)
        variants = self._believed(key, variants)
        in_memory = self.memory.lookup(key)
        if in_memory:
            variants = in_memory
        elif not variants:
            self._is_absent(key)
        elif all(isinstance(entry.content, bytes) for entry in variants):
            self.memory.adopt(key, variants)
            self.memory.lookup(key)  # prepares the hit guard
        self._answer(finding, variants)

    def _believed(self, key: bytes, variants: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """Return what the tier has; what came by a clock that was ahead of ours is to be validated, there as well."""
        now = self._clock()
        if all(entry.received_at - now <= CLOCKS_APART_S for entry in variants):
            return variants
        self.tier.errors.report("clock", "the store has responses from after now: a clock is or was wrong")
        purge = Purge(Keys((key,)), NEVER_FRESH)
        self.tier.purge(purge)
        return remaining(variants, purge)

    def _answer(self, finding: Finding, variants: tuple[Entry, ...]) -> None:
        del self._findings[finding.key]
        for done in finding.waiting:
            done(variants)

    def _is_absent(self, key: bytes) -> None:
        self._absent.note(key, None)

    def _give_up(self) -> None:
        """Answer lookups that take too long with a miss."""
        now = monotonic()
        while (finding := next(iter(self._findings.values()), None)) is not None:
            if finding.deadline > now:
                self._later(finding.deadline - now, self._give_up)
                return
            self._report_slowness()
            self._rests_until = now + REST * self._patience
            self._is_absent(finding.key)
            self._answer(finding, ())
        self._has_deadline = False

    def _report_slowness(self) -> None:
        self.tier.errors.report("slow", "the store takes too long to answer; requests go to the origin")

    def reread(self, key: bytes) -> None:
        """Let the next lookup ask the tier, where another process has lately stored or freshened the key."""
        self._repeat(key)
        self.memory.forget((key,))

    # What other processes have purged.

    def _once_told(self, go_on: Callable[[bool], object]) -> None:
        """Go on when memory is what the purges of other processes have left of it, or when they take too long to read.

        `go_on` is told which.
        """
        if not self.is_behind() or self._is_kept_waiting:
            go_on(not self._is_kept_waiting)
            return
        if self._behind is None:
            self._behind = []
            self.tier.catch_up(self._told)
            self._later(self._patience, self._go_without_news)
        self._behind.append(go_on)

    def _find_again(self, key: bytes, done: LookedUp) -> None:
        variants = self.find(key, done)
        if variants is not None:
            done(variants)

    def _told(self, purges: Sequence[Purge]) -> None:
        for purge in purges:
            self._apply(purge)
            self.on_foreign_purge(purge)
        waiting, self._behind = self._behind, None
        self._is_kept_waiting = False
        for go_on in waiting or ():
            go_on(True)

    def _go_without_news(self) -> None:
        """Let those who wait for news go on without, if it has not come: what memory has may be purged."""
        if self._behind:
            waiting, self._behind = self._behind, []
            self._is_kept_waiting = True
            self._report_slowness()
            for go_on in waiting:
                go_on(False)

    # What changes the store.

    def put(self, entry: Entry) -> None:
        """Store an entry whose content is complete, in place of those it supersedes; it may be what had `arrive`d."""
        key, content = entry.key, entry.content
        is_whole = isinstance(content, bytes)
        was_absent = key in self._absent
        self._absent.drop(key)
        self._repeat(key)
        if not is_whole or len(content) > self.whole_max:
            self.memory.forget((key,))
        elif was_absent or key in self.memory.records:
            self.memory.put(entry)
        if is_whole:
            self.tier.put(entry)
        else:
            content.commit(entry)

    def replace(self, old: Entry, new: Entry) -> None:
        """Put a freshened entry in the old one's place; nothing happens when the old one has gone."""
        self._repeat(old.key)
        self.memory.replace(old, new)
        record = self.records.get(old.key)
        if record is not None and not any(entry is new for entry in record.variants):
            self.memory.forget((old.key,))  # it was evicted and found again meanwhile: other objects, the same entries
        self.tier.replace(old, new)

    def arrive(self, key: bytes, told: OnProgress) -> Arriving | None:
        """Begin to store content in the tier while it arrives; None while that cannot be. See Tier."""
        return self.tier.arrive(key, told)

    def forget(self, keys: Iterable[bytes]) -> int:
        """Remove the keys here and, in a moment, everywhere; return how many memory had."""
        return self.purge(Purge(Keys(tuple(keys)))).keys

    def clear(self) -> int:
        """Remove everything here and, in a moment, everywhere; return how many keys memory had."""
        return self.purge(Purge(Everything())).keys

    def purge(
        self, purge: Purge, done: Purged | None = None, *, held: Sequence[Held] = (), dry_run: bool = False
    ) -> Receipt:
        """Remove or mark what a purge selects, or only count it; return what it came to in memory.

        `done` is called with what it came to in the tier, in memory, and in what else was `held`, once no process finds
        it any more.
        """
        taken = self.memory.take(purge, dry_run=True) if dry_run else self._apply(purge)
        self.tier.purge(purge, done, held=[*taken, *held], dry_run=dry_run)
        return counted(taken)

    def purge_here(self, purge: Purge, done: Purged, *, held: Sequence[Held] = (), dry_run: bool = False) -> None:
        """Purge what memory has, so that another process can purge the tier; `done` is given what was held.

        By then all that waited to be written is written, unless that takes long: the tier can count it.
        """

        def take(_: bool) -> None:
            taken = self.memory.take(purge, dry_run=True) if dry_run else self._apply(purge)
            answers = [Receipt(held=(*taken, *held))]

            def answer() -> None:
                if answers:
                    done(answers.pop())

            self.tier.flush(answer)
            self._later(_WRITTEN_S, answer)

        self._once_told(take)

    def purge_everywhere(self, purge: Purge, done: Purged, *, held: Sequence[Held] = (), dry_run: bool = False) -> None:
        """Purge in memory and in the tier; see `purge`. What others have purged before is not counted again."""
        self._once_told(lambda _: self.purge(purge, done, held=held, dry_run=dry_run))

    def _apply(self, purge: Purge) -> list[Held]:
        for finding in self._findings.values():
            finding.purges.append(purge)
        return self.memory.take(purge)

    def _repeat(self, key: bytes) -> None:
        finding = self._findings.get(key)
        if finding is not None:
            finding.must_repeat = True

    def close(self) -> None:
        """Close the tier."""
        self.tier.close()

    async def aclose(self) -> None:
        """Close the tier, and return when that is done."""
        await self.tier.aclose()


def _ignore(_purge: Purge) -> None:
    pass


def is_hot_in(memory: MemoryStore) -> Callable[[bytes], bool]:
    """Return whether a key is in use in memory; may be asked on any thread."""
    records = memory.records

    def is_hot(key: bytes) -> bool:
        record = records.get(key)
        return record is not None and record.visited

    return is_hot
