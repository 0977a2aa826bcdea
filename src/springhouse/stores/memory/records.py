"""Entries in this process's memory, under one budget of bytes.

The budget counts what an entry really costs: content, fields, key, the objects around them; content that is still
arriving (`reserve`); and content that clients still read though its record has gone (`lingering`). Victims are chosen
by SIEVE. `records` may be read directly: the hit guard does.
"""

from springhouse.exchange.hit import PreparedReply, PreparedVariants, prepare
from springhouse.http.content import CONTENT_PIECE
from springhouse.rules.entry import Entry
from springhouse.rules.keys import origin_of
from springhouse.rules.labels import labels_of
from springhouse.rules.options import Options
from springhouse.rules.purging import (
    Everything,
    Groups,
    Held,
    Keys,
    Prefix,
    Purge,
    Selection,
    Tags,
    labels_named,
    remaining,
    selects,
    variant_of,
)
from springhouse.rules.variants import with_entry, with_replaced
from springhouse.stores.memory.eviction import Node, Sieve
from springhouse.stores.memory.labels import Labels
from springhouse.stores.memory.lingering import Lingering

_RECORD_BYTES = 620
_ENTRY_BYTES = 1200
_LABEL_BYTES = 480
_VARY_BYTES = 130


class MemoryRecord(Node):
    """What is stored under one key: its variants, the latest first, and the guard that answers plain hits."""

    __slots__ = ("cost", "key", "labels", "prepared", "variants")

    def __init__(self, key: bytes) -> None:
        Node.__init__(self)  # super() is slow
        self.key = key
        self.variants: tuple[Entry, ...] = ()
        self.prepared: PreparedReply | PreparedVariants | None = None
        self.labels: frozenset[bytes] = frozenset()
        self.cost = 0


class Memory:
    """Entries of at most `budget` bytes in all."""

    def __init__(self, budget: int, options: Options) -> None:
        self.budget = budget
        self.options = options
        self.records: dict[bytes, MemoryRecord] = {}
        self.used = 0
        """Bytes of all records, of content that is arriving, and of what is being read without a record."""
        self.evictions = 0
        self.lingering = Lingering(budget // 4, self._count)
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

    def is_hot(self, key: bytes) -> bool:
        """Return whether a key is in use here: hit since the hand of SIEVE last passed it. On any thread."""
        record = self.records.get(key)
        return record is not None and record.visited

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

    def _add(self, key: bytes) -> MemoryRecord:
        record = self.records[key] = MemoryRecord(key)
        self._queue.add(record)
        return record

    def replace(self, old: Entry, new: Entry) -> None:
        """Put a freshened entry in the old one's place, and of those it supersedes; nothing when the old has gone."""
        record = self.records.get(old.key)
        if record is not None and any(entry is old for entry in record.variants):
            self._set(record, with_replaced(record.variants, old, new))
            self._shrink()

    def drop(self, key: bytes) -> None:
        """Remove a key with all its variants."""
        record = self.records.get(key)
        if record is not None:
            self._remove(record)

    def clear(self) -> None:
        """Remove everything."""
        for record in list(self.records.values()):
            self._remove(record)

    def purge(self, purge: Purge, *, dry_run: bool = False) -> list[Held]:
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
                self._remove(record)
        return taken

    def _selected(self, what: Selection) -> list[MemoryRecord]:
        """Return the records in which the selection may select something."""
        match what:
            case Keys(keys):
                return [self.records[key] for key in dict.fromkeys(keys) if key in self.records]
            case Tags() | Groups():
                return [self.records[key] for key in self._labels.keys(labels_named(what))]
            case Prefix() | Everything():
                return list(self.records.values())

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

    def _set(self, record: MemoryRecord, variants: tuple[Entry, ...]) -> None:
        before, record.variants = record.variants, variants
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
        if cost > CONTENT_PIECE or record.cost > CONTENT_PIECE:
            self.lingering.exchange(before, variants)
        record.cost = cost

    def _remove(self, record: MemoryRecord) -> None:
        del self.records[record.key]
        self._queue.remove(record)
        if record.labels:
            self._labels.change(record.key, record.labels, frozenset())
        self.used -= record.cost
        if record.cost > CONTENT_PIECE:
            self.lingering.exchange(record.variants, ())

    def _count(self, size: int) -> None:
        self.used += size

    def _shrink(self) -> None:
        while self.used > self.budget:
            victim = self._queue.victim()
            if not isinstance(victim, MemoryRecord):
                return
            self._remove(victim)
            self.evictions += 1


def cost_of(entry: Entry) -> int:
    """Return the bytes an entry occupies, content included; its head three times, as the guard has it, too."""
    data = entry.content.data
    size = _ENTRY_BYTES + 3 * len(entry.lines) + (len(entry.content) if data is None else len(data))
    if entry.vary:
        size += sum([_VARY_BYTES + len(name) for name in entry.vary]) + sum(
            [len(value or b"") for value in entry.selector]
        )
    if entry.tags or entry.groups:
        size += sum([_LABEL_BYTES + 2 * len(label) for label in entry.tags + entry.groups])
        size += len(origin_of(entry.key)) * len(entry.groups)
    return size
