"""Lookups in the tier behind memory: one for each key at a time, for all requests that ask for it meanwhile.

What must stay true:

- What is found becomes a key of memory with *all* its variants, or stays in the tier: memory never holds a part.
- A lookup during which something changed does not bring back what was there before. Purges are applied to what it
  finds; after a put or a replacement it is made again.
- What the tier has received later than now came by a clock that was ahead, here or elsewhere: it is validated first.
- The tier may be slow or hang. A lookup that takes longer than its patience is a miss, and for some time after that
  no lookup goes there. What a hanging tier holds of lookups is bounded (`WAITING`); beyond that they are misses, too.
"""

from typing import Final

from springhouse.http.memo import KIB, MIB, Bound, Recent, bound, length_of_key, register
from springhouse.http.messages import Request
from springhouse.rules.entry import Entry
from springhouse.rules.purging import NEVER_FRESH, Keys, Purge, remaining
from springhouse.stores.memory.records import Memory
from springhouse.stores.tier import CLOCKS_APART_S, LookedUp, Tier, Timing

_ABSENT: Final = bound(
    "absent keys", 4 * MIB, "keys that the disk or Redis had nothing under, so that they may go to memory"
)
WAITING: Final = bound(
    "lookups", 16 * MIB, "requests that wait for the disk or Redis to be looked into, and what those have yet to answer"
)
_LOOKUP_BYTES: Final = KIB
"""What a lookup takes while the tier has it, besides its key, which the tier may copy."""
_WAITER_BYTES: Final = 2 * KIB
"""What a request takes that waits, besides its head."""
REST: Final = 5.0
"""How many times its patience a tier is left alone that did not answer."""


def size_of_waiter(request: Request | None) -> int:
    """Return what a request takes that waits: its client may have left, and then nothing else counts it."""
    if request is None:
        return _WAITER_BYTES
    return _WAITER_BYTES + len(request.target) + sum([len(name) + len(value) for name, value in request.fields])


class WaitingBytes:
    """Counts what lookups hold, up to a bound."""

    def __init__(self, bound: Bound = WAITING) -> None:
        self.bound = bound
        self.size = 0
        register(self)

    def has_room_for(self, size: int) -> bool:
        """Count as many bytes more; False, and nothing is counted, where that is too much."""
        if self.size + size > self.bound.limit:
            return False
        self.size += size
        return True

    def release(self, size: int) -> None:
        """Count as many bytes less."""
        self.size -= size


class TierLookup:
    """A lookup of one key that the tier has not answered yet."""

    __slots__ = ("deadline", "key", "must_repeat", "purges", "waiters_size", "waiting")

    def __init__(self, key: bytes, deadline: float) -> None:
        self.key = key
        self.deadline = deadline
        self.waiting: list[LookedUp] = []
        self.waiters_size = 0
        """Bytes that those take."""
        self.purges: list[Purge] = []
        """What was purged since it began."""
        self.must_repeat = False

    @property
    def size(self) -> int:
        """Bytes that it holds, apart from the requests that wait for it."""
        return _LOOKUP_BYTES + 2 * len(self.key)


class TierLookups:
    """All lookups in one tier. What is found is adopted by `memory`."""

    def __init__(self, memory: Memory, tier: Tier, timing: Timing, waiting: WaitingBytes) -> None:
        self._memory = memory
        self._tier = tier
        self._timing = timing
        self._waiting = waiting
        self._by_key: dict[bytes, TierLookup] = {}
        """Those that requests wait for, in the order of their deadlines."""
        self._has_deadline = False
        self._absent: Recent[bytes, None] = Recent(_ABSENT, length_of_key)
        """Keys that the tier had nothing under when it was asked, the latest last."""
        self._rests_until = 0.0
        self._is_closed = False

    def find(self, key: bytes, done: LookedUp, request: Request | None = None) -> tuple[Entry, ...] | None:
        """Call `done` later with the variants that the tier has; or return () at once while it cannot be asked."""
        if self._rests_until and self._rests(key):
            return ()
        size = size_of_waiter(request)
        if not self._waiting.has_room_for(size):
            return self._miss(key)
        lookup = self._by_key.get(key) or self._begin(key)
        if lookup is None:
            self._waiting.release(size)
            return self._miss(key)
        lookup.waiting.append(done)
        lookup.waiters_size += size
        return None

    def _rests(self, key: bytes) -> bool:
        if self._timing.monotonic() < self._rests_until:
            self._note_absent(key)
            return True
        self._rests_until = 0.0
        return False

    def _miss(self, key: bytes) -> tuple[Entry, ...]:
        """Return that nothing was found, for lack of room to wait: what the origin answers may go to memory."""
        self.report_slowness()
        self._note_absent(key)
        return ()

    def _note_absent(self, key: bytes) -> None:
        self._absent.note(key, None)

    def _begin(self, key: bytes) -> TierLookup | None:
        patience = self._tier.patience
        lookup = TierLookup(key, self._timing.monotonic() + patience)
        if not self._waiting.has_room_for(lookup.size):
            return None
        self._by_key[key] = lookup
        if not self._has_deadline:
            self._has_deadline = True
            self._timing.call_later(patience, self._give_up)
        self._ask(lookup)
        return lookup

    def _ask(self, lookup: TierLookup) -> None:
        lookup.must_repeat = False
        lookup.purges.clear()
        self._tier.lookup(lookup.key, lambda variants: self._found(lookup, variants))

    def _found(self, lookup: TierLookup, variants: tuple[Entry, ...]) -> None:
        key = lookup.key
        if self._by_key.get(key) is not lookup:  # it was given up
            self._waiting.release(lookup.size)
            return
        if lookup.must_repeat:
            self._ask(lookup)
            return
        for purge in lookup.purges:
            variants = remaining(variants, purge)
        variants = self._adopted(key, self._believed(key, variants))
        self._waiting.release(lookup.size)
        self._answer(lookup, variants)

    def _adopted(self, key: bytes, variants: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """Put what was found into memory, if it may be held there; return what is under the key now."""
        in_memory = self._memory.lookup(key)
        if in_memory:
            return in_memory
        if not variants:
            self._note_absent(key)
            return variants
        self._memory.lingering.watch(variants)
        if not self._is_closed and all(entry.content.data is not None for entry in variants):
            self._memory.adopt(key, variants)
            self._memory.lookup(key)  # prepares the hit guard
        return variants

    def _believed(self, key: bytes, variants: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """Return what the tier has; what came by a clock that was ahead of ours is to be validated, in the tier as
        well."""
        now = self._timing.wall()
        if all(entry.received_at - now <= CLOCKS_APART_S for entry in variants):
            return variants
        self._tier.errors.report("clock", "the store has responses from after now: a clock is or was wrong")
        purge = Purge(Keys((key,)), NEVER_FRESH)
        self._tier.purge(purge)
        return remaining(variants, purge)

    def _answer(self, lookup: TierLookup, variants: tuple[Entry, ...]) -> None:
        del self._by_key[lookup.key]
        waiting, lookup.waiting = lookup.waiting, []  # the tier may keep the lookup for long
        self._waiting.release(lookup.waiters_size)
        for done in waiting:
            done(variants)

    def _give_up(self) -> None:
        """Answer lookups that take too long with a miss."""
        now = self._timing.monotonic()
        while (lookup := next(iter(self._by_key.values()), None)) is not None:
            if lookup.deadline > now:
                self._timing.call_later(lookup.deadline - now, self._give_up)
                return
            self.report_slowness()
            self._rests_until = now + REST * self._tier.patience
            self._note_absent(lookup.key)
            self._answer(lookup, ())
        self._has_deadline = False

    def report_slowness(self) -> None:
        """Report that the tier did not answer in time."""
        self._tier.errors.report("slow", "the store takes too long to answer; requests go to the origin")

    # What changes meanwhile.

    def repeat(self, key: bytes) -> None:
        """Make the lookup of a key again, if there is one: what is under the key has changed."""
        lookup = self._by_key.get(key)
        if lookup is not None:
            lookup.must_repeat = True

    def is_absent(self, key: bytes) -> bool:
        """Return whether the tier had nothing under a key that is stored now, and forget it."""
        was_absent = key in self._absent
        self._absent.drop(key)
        return was_absent

    def apply(self, purge: Purge) -> None:
        """Apply a purge to what lookups will find."""
        for lookup in self._by_key.values():
            lookup.purges.append(purge)

    def close(self) -> None:
        """Let nothing into memory any more: purges of other processes are not heard of from now on."""
        self._is_closed = True
