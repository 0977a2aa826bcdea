"""What the writer of a disk store does, one class for each thing it may be asked.

An operation goes through three stages. `prepare` works without the database's lock: it encodes, digests, writes files.
`apply` runs inside the transaction that it shares with others of its batch; it may run twice, when a transaction has to
be repeated. `settle` follows when the transaction is committed, or has failed for good: once, whatever happened before,
for others may wait for it.

An entry is not stored when another process has purged it since it was fetched: `since` is the number of the last
purge that this process had applied when the entry came. This process's own purges are no question, for what it
asks is done in order.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import MsgspecError, msgpack, structs

from springhouse.rules import purging
from springhouse.rules.entry import Entry
from springhouse.rules.labels import labels_of
from springhouse.rules.purging import Held, Purge, Receipt, variant_of
from springhouse.stores import digests
from springhouse.stores.codec import CodecError
from springhouse.stores.disk.files import PartFile
from springhouse.stores.disk.parts import DiskParts
from springhouse.stores.disk.rows import NewRow, Rows, row_of
from springhouse.stores.disk.shared import Shared
from springhouse.stores.memory.records import cost_of
from springhouse.stores.tier import Purged

purge_decoder = msgpack.Decoder(Purge)


class Operation:
    """Does nothing."""

    size = 0
    """Bytes it holds in memory while it waits."""
    is_urgent = False
    """Something waits for it."""
    is_vital = False
    """It must be done, even when nothing else can be."""
    is_lasting = False
    """It must survive a power failure once it is settled."""
    is_certain = False
    """It is only done if the folder has not been removed or replaced meanwhile."""
    has_rows = True
    """It reads or writes the database; what does not needs no transaction."""

    def prepare(self, parts: DiskParts) -> None:
        pass

    def apply(self, rows: Rows, parts: DiskParts) -> None:
        pass

    def settle(self, parts: DiskParts, *, done: bool) -> None:
        pass


class Put(Operation):
    """Stores an entry. One that cannot be stored still removes those it supersedes."""

    def __init__(self, entry: Entry, since: int) -> None:
        self.entry = entry
        self.since = since
        self.size = cost_of(entry)
        self.new: NewRow | None = None
        self.part: PartFile | None = None
        self.is_stored = False

    def prepare(self, parts: DiskParts) -> None:
        entry = self.entry
        try:
            proof = self._body(parts)
            if proof is None:
                return
            record = parts.codec.encode(entry, proof)
        except CodecError as error:
            parts.errors.report("refused", f"a response was not stored: {error}")
            return
        except OSError as error:
            parts.errors.report("write", f"a body cannot be written, it was not stored: {error}")
            return
        self.new = NewRow(
            entry.key,
            variant_of(entry),
            record,
            labels_of(entry),
            entry.length or 0,
            self.part.name if self.part else None,
        )

    def _body(self, parts: DiskParts) -> bytes | None:
        """Write the content to a file if it is large; return its digests, None when it cannot be stored."""
        content = self.entry.content.data
        assert content is not None
        if len(content) != self.entry.length:
            raise CodecError("its content is not of its length")
        if len(content) <= parts.limits.inline_max:
            return digests.digests_of(content)
        self.part = parts.bodies.create()
        self.part.write(content)
        parts.bodies.finish(self.part)
        self.part.close()
        return self.part.digests()

    def apply(self, rows: Rows, parts: DiskParts) -> None:
        self.is_stored = False
        new = self.new
        if new is None or new.size > parts.limits.budget // 2:
            variant = variant_of(self.entry)
            rows.remove([row for row in rows.of_key(self.entry.key) if row.variant == variant])
        elif not is_purged_since(rows, self.entry, self.since, parts.shared):
            content = b"" if self.part else self.entry.content.data or b""
            rows.insert(new, content, variants_max=parts.limits.variants_max)
            self.is_stored = True

    def settle(self, parts: DiskParts, *, done: bool) -> None:
        if self.part is not None:
            if done and self.is_stored:
                parts.bodies.settled(self.part.name)
            else:
                parts.bodies.discard(self.part)


class Dropped(Operation):
    """Stands for a put that there was no room for: only removes what the entry supersedes. Holds nothing of it."""

    def __init__(self, entry: Entry) -> None:
        self.key = entry.key
        self.variant = variant_of(entry)
        self.size = _DROPPED_BYTES + len(entry.key)

    def apply(self, rows: Rows, parts: DiskParts) -> None:
        rows.remove([row for row in rows.of_key(self.key) if row.variant == self.variant])


_DROPPED_BYTES = 500


class ReplaceEntry(Operation):
    """Gives a stored entry the head it was freshened to, if it is still the one that was asked about."""

    def __init__(self, old: Entry, new: Entry, since: int) -> None:
        self.old = old
        self.new = new
        self.since = since
        self.size = cost_of(new)

    def apply(self, rows: Rows, parts: DiskParts) -> None:
        old, new = self.old, self.new
        if is_purged_since(rows, new, self.since, parts.shared):
            return
        variant = variant_of(old)
        row = next((row for row in rows.of_key(old.key) if row.variant == variant), None)
        if row is None:
            return
        (stored,) = rows.db.execute("SELECT record FROM entries WHERE id = ?", (row.id,)).fetchone()
        try:
            entry, proof = parts.codec.decode(stored, old.key)
            since = rows.mark_of(row)
            if not _is_same(entry if since is None else purging.made_stale(entry, since), proof, old):
                return
            record = parts.codec.encode(new, proof)
            labels = labels_of(new)
            rows.update(row, NewRow(new.key, variant_of(new), record, labels, new.length or 0, row.file))
        except CodecError as error:
            parts.errors.report("refused", f"a response was not stored: {error}")
            rows.remove([row])


def _is_same(stored: Entry, proof: bytes, entry: Entry) -> bool:
    """Return whether a stored entry and one in memory came from the same response."""
    for name in ("requested_at", "received_at", "fresh_until", "etag"):  # the third changes when it is made stale
        if getattr(stored, name) != getattr(entry, name):
            return False
    content: Any = entry.content
    return bool(proof == (content.digests if content.data is None else digests.digests_of(content.data)))


class RemoveDamaged(Operation):
    """Removes rows that proved to be damaged."""

    def __init__(self, ids: Iterable[int]) -> None:
        self.ids = tuple(ids)

    def apply(self, rows: Rows, parts: DiskParts) -> None:
        for row_id in self.ids:
            found = rows.db.execute("SELECT id, variant, size, file FROM entries WHERE id = ?", (row_id,))
            rows.remove([row_of(row) for row in found.fetchall()])


class Purging(Operation):
    """Removes or marks what a purge selects, and writes it into the log for the other processes.

    A mark stands beside the entry: to write each anew would keep all others from writing for too long.
    """

    is_urgent = True
    is_vital = True
    is_certain = True

    def __init__(
        self, purge: Purge, done: Purged | None, held: Sequence[Held], *, counted: Callable[[int], None]
    ) -> None:
        self.purge = purge
        self.done = done
        self.held = held
        self.counted = counted
        self.is_lasting = done is not None
        self.number = 0
        self.receipt = purging.receipt_of(held)

    def again(self) -> "Purging":
        """Return what makes up for it, when it has failed and that has been reported."""
        return Purging(self.purge, None, (), counted=self.counted)

    def apply(self, rows: Rows, parts: DiskParts) -> None:
        picked = rows.pick(self.purge.what)
        self.receipt = rows.with_held(picked, self.held)
        if self.purge.stale_from is None:
            rows.remove_picked(picked)
        else:
            rows.mark_picked(self.purge.stale_from)
        self.number = rows.log(parts.shared, msgpack.encode(self.purge))

    def settle(self, parts: DiskParts, *, done: bool) -> None:
        if done and self.number:
            parts.shared.publish(self.number)
            parts.deliver(self.counted, self.number)
        if self.done is None:
            return
        if done:
            receipt = structs.replace(self.receipt, processes=1 + _others(parts.shared))
        else:
            receipt = structs.replace(purging.receipt_of(self.held), failure="the store could not be written")
        parts.deliver(self.done, receipt)


def _others(shared: Shared) -> int:
    """Return how many other processes use the folder, as far as that is to be known."""
    try:
        return len(shared.others())
    except OSError:
        return 0


class Counting(Operation):
    """Counts what a purge would select."""

    is_urgent = True

    def __init__(self, purge: Purge, done: Purged, held: Sequence[Held]) -> None:
        self.purge = purge
        self.done = done
        self.held = held
        self.receipt = Receipt()

    def apply(self, rows: Rows, parts: DiskParts) -> None:
        self.receipt = rows.with_held(rows.pick(self.purge.what), self.held)

    def settle(self, parts: DiskParts, *, done: bool) -> None:
        parts.deliver(self.done, self.receipt if done else Receipt(failure="the store could not be read"))


class Then(Operation):
    """Calls a function when all that was asked for before is done."""

    is_urgent = True

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def settle(self, parts: DiskParts, *, done: bool) -> None:
        self.call()


class Flush(Then):
    """Does so after a look at the folder: what is found from then on is in the one that has the name."""

    is_certain = True
    has_rows = False


class Afterwards(Operation):
    """Calls a function once all that was asked for before is done, and says whether the last of it went well."""

    def __init__(self, call: Callable[[bool], None]) -> None:
        self.call = call

    def settle(self, parts: DiskParts, *, done: bool) -> None:
        self.call(done)


def is_purged_since(rows: Rows, entry: Entry, since: int, shared: Shared) -> bool:
    """Return whether another process has purged the entry after purge number `since`, or may have: the log is short."""
    if rows.latest_purge <= since:
        return False
    news = rows.db.execute(
        "SELECT process, purge FROM purges WHERE number > ? AND number <= ?", (since, rows.latest_purge)
    ).fetchall()
    if len(news) != rows.latest_purge - since:
        return True
    return any(_selects(purge, entry) for process, purge in news if process != shared.name)


def _selects(packed: bytes, entry: Entry) -> bool:
    try:
        return purging.selects(purge_decoder.decode(packed).what, entry)
    except (MsgspecError, TypeError):
        return True
