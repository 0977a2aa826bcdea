"""The rows of a disk store, inside one transaction of its writer: entries, contents, labels, marks, totals.

The totals are kept beside the entries, so that neither opening nor evicting needs a scan; all changes to entries go
through here, and a test compares them with a scan. `size` of an entry is what it takes on the disk: rows with their
share of indexes and page ends, and its file in whole blocks.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from springhouse.rules.purging import Everything, Groups, Held, Keys, Prefix, Receipt, Selection, Tags, labels_named
from springhouse.stores.disk.database import LATEST_PURGE
from springhouse.stores.disk.files import blocks
from springhouse.stores.disk.shared import RETIRED, Shared
from springhouse.stores.tier import is_never_hot

PAGE = 8192
_ROW_BYTES = 140
_LABEL_BYTES = 48
_EVICTED_AT_ONCE = 256
_IMPOSSIBLE = 2**53
_TABLES = ("entries", "contents", "labels", "marks")
"""What has rows that belong to an entry."""

_KEYS_HELD = "SELECT count(DISTINCT key) FROM held WHERE NOT EXISTS (SELECT 1 FROM entries e WHERE e.key = held.key"
_HELD = (
    "SELECT count(*), coalesce(sum(size), 0) FROM held WHERE NOT EXISTS "
    "(SELECT 1 FROM entries e WHERE e.key = held.key AND e.variant = held.variant"
)
"""Of what memories held, what is not here. What was picked, and a parenthesis, follow."""


class Row(NamedTuple):
    """An entry's row, without record and content."""

    id: int
    variant: bytes
    size: int
    file: str | None


class NewRow(NamedTuple):
    """An entry as it goes into its row. Content of `length` bytes is in `file`, or in its own table."""

    key: bytes
    variant: bytes
    record: bytes
    labels: frozenset[bytes]
    length: int
    file: str | None = None

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        rows = _ROW_BYTES + 2 * len(self.key) + len(self.record)
        rows += sum(_LABEL_BYTES + 2 * len(label) for label in self.labels)
        if self.file is not None:
            return rows + blocks(self.length)
        return rows + _content_bytes(self.length)


def _content_bytes(length: int) -> int:
    """Return what content takes in its table: full pages of its own, and its share of one with others' rests."""
    pages, rest = divmod(length, PAGE - 4)
    share = PAGE // max(1, (PAGE - 8) // (rest + 12))
    return pages * PAGE + share if length else 0


def row_of(values: Sequence[Any]) -> Row:
    """Return a row as read. Raises TypeError when a column holds what it cannot: another program wrote it."""
    row = Row(*values)
    if type(row.size) is not int or not isinstance(row.variant, bytes) or not isinstance(row.file, str | None):
        raise TypeError(f"row {row.id} holds what it cannot")
    return row


class Rows:
    """One transaction. `close` writes the totals; `gone`: names of files to remove once it is committed."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.gone: list[str] = []
        before = entries, size = db.execute("SELECT entries, size FROM totals").fetchone()
        if not all(isinstance(number, int) and 0 <= number < _IMPOSSIBLE for number in (entries, size)):
            entries, size = db.execute("SELECT count(*), coalesce(sum(size), 0) FROM entries").fetchone()
        self.entries: int = entries
        self.size: int = size
        self._before = before
        self._which = ""
        # Only other processes' purges matter, and these wait for the end of the transaction.
        (self.latest_purge,) = db.execute(LATEST_PURGE).fetchone()

    def close(self) -> None:
        """Write the totals."""
        if (self.entries, self.size) != self._before:
            self.db.execute("UPDATE totals SET entries = ?, size = ?", (self.entries, self.size))

    def of_key(self, key: bytes) -> list[Row]:
        """Return the rows of a key, the latest first."""
        found = self.db.execute("SELECT id, variant, size, file FROM entries WHERE key = ? ORDER BY id DESC", (key,))
        return [row_of(row) for row in found]

    def insert(self, new: NewRow, content: bytes, *, variants_max: int) -> None:
        """Insert an entry in place of the one it supersedes; of the others of its key the latest stay.

        `content` is b"" when it is in a file.
        """
        others = self.of_key(new.key)
        superseded = [row for row in others if row.variant == new.variant]
        self.remove(superseded + [row for row in others if row.variant != new.variant][variants_max - 1 :])
        cursor = self.db.execute(
            "INSERT INTO entries(key, variant, size, visited, file, record) VALUES(?, ?, ?, 0, ?, ?)",
            (new.key, new.variant, new.size, new.file, new.record),
        )
        row_id = cursor.lastrowid
        if content:
            self.db.execute("INSERT INTO contents VALUES(?, ?)", (row_id, content))
        self._label(row_id, new.labels)
        self.entries += 1
        self.size += new.size

    def update(self, row: Row, new: NewRow) -> None:
        """Give a row another record, variant and labels, and take its mark off; its content stays.

        Another row of the new variant is superseded.
        """
        if new.variant != row.variant:
            self.remove([other for other in self.of_key(new.key) if other.variant == new.variant])
        self.db.execute(
            "UPDATE entries SET record = ?, variant = ?, size = ?, visited = 1 WHERE id = ?",
            (new.record, new.variant, new.size, row.id),
        )
        for table in ("labels", "marks"):
            self.db.execute(f"DELETE FROM {table} WHERE id = ?", (row.id,))  # noqa: S608 - our own names
        self._label(row.id, new.labels)
        self.size += new.size - row.size

    def _label(self, row_id: int | None, labels: Iterable[bytes]) -> None:
        self.db.executemany("INSERT INTO labels VALUES(?, ?)", [(label, row_id) for label in labels])

    def remove(self, rows: Sequence[Row]) -> None:
        """Remove entries with all that belongs to them."""
        ids = [(row.id,) for row in rows]
        if not ids:
            return
        for table in _TABLES:
            self.db.executemany(f"DELETE FROM {table} WHERE id = ?", ids)  # noqa: S608 - our own names
        self.entries -= len(rows)
        self.size -= sum(row.size for row in rows)
        self.gone += [row.file for row in rows if row.file is not None]

    def visit(self, ids: Iterable[int]) -> None:
        """Record that entries were asked for."""
        self.db.executemany("UPDATE entries SET visited = 1 WHERE id = ? AND visited = 0", [(n,) for n in ids])

    # Eviction.

    def evict(self, budget: int, hand: int, is_hot: Callable[[bytes], bool]) -> tuple[int, int]:
        """Remove entries until the rest fits the budget, going on where the last eviction stopped.

        SIEVE (see `stores.eviction`) over ids: an entry that was visited, or is hot in memory, gets another round;
        after two rounds everything may go. Return the new hand, and how many went.
        """
        evicted = rounds = 0
        while self.size > budget:
            found = self.db.execute(
                "SELECT id, variant, size, file, key, visited FROM entries WHERE id > ? ORDER BY id LIMIT ?",
                (hand, _EVICTED_AT_ONCE),
            ).fetchall()
            if not found:
                if rounds == 2:
                    break
                hand, rounds = 0, rounds + 1
                continue
            victims, spared, hand = self._choose(found, budget, is_hot if rounds < 2 else is_never_hot)
            self.db.executemany("UPDATE entries SET visited = 0 WHERE id = ?", [(n,) for n in spared])
            self.remove(victims)
            evicted += len(victims)
        return hand, evicted

    def _choose(
        self, found: list[tuple[int, bytes, int, str | None, bytes, int]], budget: int, is_hot: Callable[[bytes], bool]
    ) -> tuple[list[Row], list[int], int]:
        over = self.size - budget
        victims: list[Row] = []
        spared: list[int] = []
        hand = found[0][0] - 1
        for row_id, variant, size, file, key, visited in found:
            if over <= 0:
                break
            hand = row_id
            if visited:
                spared.append(row_id)
            elif not is_hot(key):
                victims.append(row_of((row_id, variant, size, file)))
                over -= size
        return victims, spared, hand

    # Purges: what is selected is put into a table first, whatever it was selected by, unless it is everything.

    def pick(self, what: Selection) -> Receipt:
        """Select entries; `remove_picked`, `mark_picked` and `with_held` are about them. Return how many they are."""
        if isinstance(what, Everything):
            self._which = ""
            (keys,) = self.db.execute("SELECT count(*) FROM (SELECT DISTINCT key FROM entries)").fetchone()
            return Receipt(keys, self.entries, self.size)
        self._which = " WHERE id IN picked"
        self.db.execute("CREATE TEMP TABLE IF NOT EXISTS picked(id INTEGER PRIMARY KEY)")
        self.db.execute("DELETE FROM picked")
        into = "INSERT OR IGNORE INTO picked SELECT id FROM "
        match what:
            case Keys(keys):
                self.db.executemany(into + "entries WHERE key = ?", [(key,) for key in keys])
            case Prefix(prefix):
                after = _after(prefix)
                ends = "" if after is None else " AND key < ?"
                self.db.execute(into + "entries WHERE key >= ?" + ends, (prefix,) if after is None else (prefix, after))
            case Tags() | Groups():
                labels = [(label,) for label in labels_named(what)]
                self.db.executemany(into + "labels WHERE label = ?", labels)
        counted = self._about_picked("SELECT count(DISTINCT key), count(*), coalesce(sum(size), 0) FROM entries")
        return Receipt(*counted.fetchone())

    def _about_picked(self, statement: str) -> sqlite3.Cursor:
        return self.db.execute(statement + self._which)

    @property
    def _and_picked(self) -> str:
        return self._which.replace("WHERE", "AND")

    def with_held(self, receipt: Receipt, held: Sequence[Held]) -> Receipt:
        """Add to the count of what was picked what memories held of it and is not among it."""
        if not held:
            return receipt
        db, also = self.db, self._and_picked
        db.execute("CREATE TEMP TABLE IF NOT EXISTS held(key, variant, size, PRIMARY KEY(key, variant)) WITHOUT ROWID")
        values = [(item.key, item.variant, item.size) for item in held]
        db.executemany("INSERT OR IGNORE INTO held VALUES(?, ?, ?)", values)
        (keys,) = db.execute(_KEYS_HELD + f"{also})").fetchone()
        entries, size = db.execute(_HELD + f"{also})").fetchone()
        db.execute("DELETE FROM held")
        return Receipt(receipt.keys + keys, receipt.entries + entries, receipt.size + size)

    def mark_picked(self, since: float) -> None:
        """Record of what was picked that it is stale since an instant; the earliest counts."""
        self.db.execute(
            f"INSERT INTO marks SELECT id, ? FROM entries WHERE true{self._and_picked} "  # noqa: S608 - our own words
            "ON CONFLICT(id) DO UPDATE SET since = min(since, excluded.since)",
            (since,),
        )

    def mark_of(self, row: Row) -> float | None:
        """Return since when a soft purge says that an entry is stale."""
        found = self.db.execute("SELECT since FROM marks WHERE id = ?", (row.id,)).fetchone()
        return None if found is None else float(found[0])

    def log(self, shared: Shared, purge: bytes) -> int:
        """Write a purge into the log for the other processes; return its number, greater than all published ones."""
        if shared.purges >= RETIRED:
            raise FileNotFoundError("The folder was removed")
        cursor = self.db.execute(
            "INSERT INTO purges(number, process, purge) SELECT max(coalesce(max(seq), 0), ?) + 1, ?, ? "
            "FROM sqlite_sequence WHERE name = 'purges'",
            (shared.purges, shared.name, purge),
        )
        return cursor.lastrowid or 0

    def remove_picked(self, receipt: Receipt) -> None:
        """Remove what was picked, which `receipt` counted."""
        also = self._and_picked
        files = self.db.execute(f"SELECT file FROM entries WHERE file IS NOT NULL{also}")  # noqa: S608 - our own words
        self.gone += [file for (file,) in files]
        for table in _TABLES:  # without a condition, whole tables are given back at once
            self._about_picked(f"DELETE FROM {table}")  # noqa: S608 - our own names
        self.entries -= receipt.entries
        self.size -= receipt.size


def _after(prefix: bytes) -> bytes | None:
    """Return the least bytes that are greater than all that begin with the prefix, None when there are none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None
