"""Entries in this process's memory, under one budget of bytes.

The budget counts what an entry really costs: content, fields, key, the objects around them, and content that is
still arriving (`reserve`). Victims are chosen by SIEVE. `records` may be read directly: the hit guard does.
"""

from collections.abc import Callable, Iterable, Sequence

from springhouse.exchange.hit import PreparedReply, PreparedVariants, prepare
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.rules.purging import (
    Everything,
    Groups,
    Held,
    Keys,
    Prefix,
    Purge,
    Receipt,
    Selection,
    Tags,
    counted,
    labels_named,
    labels_of,
    origin_of,
    remaining,
    selects,
    variant_of,
)
from springhouse.rules.variants import with_entry, with_replaced
from springhouse.stores.memory.eviction import Node, Sieve
from springhouse.stores.memory.labels import Labels
from springhouse.stores.tier import LookedUp, OnProgress, Purged

_RECORD_BYTES = 620
_ENTRY_BYTES = 1150
_LABEL_BYTES = 480
_VARY_BYTES = 130


class Record(Node):
    """What is stored under one key: its variants, the latest first, and the guard that answers plain hits."""

    __slots__ = ("cost", "key", "labels", "prepared", "variants")

    def __init__(self, key: bytes) -> None:
        Node.__init__(self)  # super() is slow
        self.key = key
        self.variants: tuple[Entry, ...] = ()
        self.prepared: PreparedReply | PreparedVariants | None = None
        self.labels: frozenset[bytes] = frozenset()
        self.cost = 0


class MemoryStore:
    """A store of at most `budget` bytes."""

    def __init__(self, budget: int, options: Options) -> None:
        self.budget = budget
        self.options = options
        self.records: dict[bytes, Record] = {}
        self.used = 0
        """Bytes of all records and of content that is arriving."""
        self.evictions = 0
        self.on_foreign_purge: Callable[[Purge], None] = _ignore
        """Never called: no other process sees this memory."""
        self._arriving = 0
        self._queue = Sieve()
        self._labels = Labels()

    def lookup(self, key: bytes) -> tuple[Entry, ...]:
        """Return the variants under the key, () when there are none."""
        record = self.records.get(key)
        if record is None:
            return ()
        record.visited = True
        if record.prepared is None:
            record.prepared = prepare(record.variants, self.options)
        return record.variants

    def lacks(self, key: bytes) -> bool:
        """Say whether nothing is stored under the key."""
        return key not in self.records

    @property
    def is_shared(self) -> bool:
        """Whether other processes see what is stored here."""
        return False

    @property
    def is_behind(self) -> None:
        """No other process can have purged what is here."""

    @property
    def leases(self) -> None:
        """Nobody else could fetch for this store."""

    def purge_here(self, purge: Purge, done: Purged, *, held: Sequence[Held] = (), dry_run: bool = False) -> None:
        """Purge; count what else was `held`, too."""
        done(counted([*self.take(purge, dry_run=dry_run), *held]))

    def reread(self, key: bytes) -> None:
        """Nothing is behind memory."""

    def purge_everywhere(self, purge: Purge, done: Purged, *, held: Sequence[Held] = (), dry_run: bool = False) -> None:
        """Purge; memory is everywhere this store is."""
        self.purge_here(purge, done, held=held, dry_run=dry_run)

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to let go of."""

    async def aclose(self) -> None:
        """Nothing to let go of."""

    def find(self, key: bytes, done: LookedUp) -> tuple[Entry, ...] | None:
        """Return the variants under the key. A store with a slower tier behind it returns None and calls `done`."""
        return self.lookup(key)

    def put(self, entry: Entry) -> None:
        """Store an entry whose content is complete, in place of those it supersedes."""
        record = self.records.get(entry.key)
        if record is None:
            self._set(self._add(entry.key), (entry,))
        else:
            self._set(record, with_entry(record.variants, entry, self.options.max_variants))
        if self.used > self.budget:
            self._shrink()

    def adopt(self, key: bytes, variants: tuple[Entry, ...]) -> None:
        """Hold what a slower tier has under the key."""
        self._set(self.records.get(key) or self._add(key), variants)
        self._shrink()

    def _add(self, key: bytes) -> Record:
        record = self.records[key] = Record(key)
        self._queue.add(record)
        return record

    def replace(self, old: Entry, new: Entry) -> None:
        """Put a freshened entry in the old one's place, and of those it supersedes; nothing when the old has gone."""
        record = self.records.get(old.key)
        if record is not None and any(entry is old for entry in record.variants):
            self._set(record, with_replaced(record.variants, old, new))
            self._shrink()

    def forget(self, keys: Iterable[bytes]) -> int:
        """Remove the keys with all their variants; return how many there were."""
        found = [record for record in map(self.records.get, dict.fromkeys(keys)) if record is not None]
        for record in found:
            self._drop(record)
        return len(found)

    def clear(self) -> int:
        """Remove everything; return how many keys there were."""
        return self.forget(list(self.records))

    def purge(self, purge: Purge, *, dry_run: bool = False) -> Receipt:
        """Remove or mark what a purge selects, or only count it."""
        return counted(self.take(purge, dry_run=dry_run))

    def take(self, purge: Purge, *, dry_run: bool = False) -> list[Held]:
        """Remove or mark what a purge selects, or only look; return what that is."""
        taken: list[Held] = []
        for record in self._selected(purge.what):
            touched = [entry for entry in record.variants if selects(purge.what, entry)]
            if not touched:
                continue
            taken += [Held(record.key, variant_of(entry), cost_of(entry)) for entry in touched]
            if dry_run:
                continue
            left = remaining(record.variants, purge)
            if left:
                self._set(record, left)
            else:
                self._drop(record)
        return taken

    def _selected(self, what: Selection) -> list[Record]:
        """Return the records in which the selection may select something."""
        match what:
            case Keys(keys):
                return [self.records[key] for key in dict.fromkeys(keys) if key in self.records]
            case Tags() | Groups():
                return [self.records[key] for key in self._labels.keys(labels_named(what))]
            case Prefix() | Everything():
                return list(self.records.values())

    @property
    def whole_max(self) -> int:
        """All that finds room is held whole."""
        return self.budget

    def arrive(self, _key: bytes, _told: OnProgress) -> None:
        """Nothing stands behind memory to which content could go while it arrives."""

    def reserve(self, size: int) -> bool:
        """Count content that is arriving and make room for it; False when arriving content alone is too much."""
        if self._arriving + size > self.budget // 2:
            return False
        self._arriving += size
        self.used += size
        if self.used > self.budget:
            self._shrink()
        return True

    def release(self, size: int) -> None:
        """Count bytes no longer that `reserve` counted."""
        self._arriving -= size
        self.used -= size

    def _set(self, record: Record, variants: tuple[Entry, ...]) -> None:
        record.variants = variants
        record.prepared = None  # made at the first hit: most of what is stored is never asked for again
        has_labels = bool(record.labels)
        cost = _RECORD_BYTES + 2 * len(record.key)
        for entry in variants:
            cost += cost_of(entry)
            if entry.tags or entry.groups:
                has_labels = True
        if has_labels:
            labels = frozenset[bytes]().union(*map(labels_of, variants))
            self._labels.change(record.key, record.labels, labels)
            record.labels = labels
        self.used += cost - record.cost
        record.cost = cost

    def _drop(self, record: Record) -> None:
        del self.records[record.key]
        self._queue.remove(record)
        if record.labels:
            self._labels.change(record.key, record.labels, frozenset())
        self.used -= record.cost

    def _shrink(self) -> None:
        while self.used > self.budget:
            victim = self._queue.victim()
            if not isinstance(victim, Record):
                return
            self._drop(victim)
            self.evictions += 1


def _ignore(_purge: Purge) -> None:
    pass


def cost_of(entry: Entry) -> int:
    """Return the bytes an entry occupies, content included; its head three times, as the guard has it, too."""
    size = _ENTRY_BYTES + 3 * len(entry.lines) + len(entry.content)
    if entry.vary:
        size += sum([_VARY_BYTES + len(name) for name in entry.vary]) + sum(
            [len(value or b"") for value in entry.selector]
        )
    if entry.tags or entry.groups:
        size += sum([_LABEL_BYTES + 2 * len(label) for label in entry.tags + entry.groups])
        size += len(origin_of(entry.key)) * len(entry.groups)
    return size
