"""The one thread of this process that writes to a disk store's database.

What it is asked for waits in a queue and is done in order, many operations in one transaction: the first waits some
milliseconds for company, unless something waits for it. All processes on the folder take turns, a transaction each.

A transaction that fails is rolled back, and its puts are dropped: a full disk costs hits, not answers. Purges are
tried again without them. One that cannot be written down at all leaves no choice but to remove the database, which
needs no space: what was purged must never be found again. If even that fails, the receipt says so, and nothing
is found until it has been made up for.

Once a second, and before and after each purge, the writer looks whether the folder is still the one it works with, and
makes anew what has been removed. Whatever fails, every operation is settled, once.
"""

import sqlite3
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Final

from springhouse.http.memo import MIB, PLACE_BYTES, bound
from springhouse.rules.purging import Everything, Purge, weight_of
from springhouse.stores.disk.database import Database, DatabaseConnection, is_corrupt
from springhouse.stores.disk.operations import Operation, Purging
from springhouse.stores.disk.parts import DiskParts
from springhouse.stores.disk.rows import Rows
from springhouse.stores.errors import Unusable

_GATHER_S = 0.004
TICK_S = 1.0
TOGETHER = 512
BYTES_TOGETHER = 16 * 2**20
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_BUSY_ATTEMPTS = 12
"""A purge waits that often for another process's transaction, `BUSY_S` each time."""
_VISITS_MAX: Final = 32_768
_VISITS: Final = bound(
    "visits", 128 * _VISITS_MAX, "which entries on the disk were asked for, until that is written down"
)
_FREE_PAGES = 2048
_OWED: Final = bound("purges owed to the disk", MIB, "purges that could not be written down, until they are")

_FAILURES = (sqlite3.Error, Unusable, OSError)


class Writer:
    """The queue and its thread, on which `tick` is called once a second."""

    def __init__(self, database: Database, parts: DiskParts, *, tick: Callable[[DatabaseConnection], None]) -> None:
        self._parts = parts
        self._database = database
        self._tick = tick
        self._operations: SimpleQueue[Operation | None] = SimpleQueue()
        self._is_wanted = Event()
        self._thread = Thread(target=self._work, name="store-writer", daemon=True)
        self._hand = 0
        self._is_sound = True
        self._is_busy = False
        self._ticked_at = 0.0
        self._is_closed = False
        self._owed: list[Purging] = []
        self._bytes_in = self._bytes_out = 0
        self._visits: set[int] = set()
        self.submitted = 0
        self.done = 0
        """How many operations were submitted, and how many of these are settled; they are done in order."""
        self.evictions = 0
        self.connection = DatabaseConnection(database)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Bytes that wait to be written."""
        return self._bytes_in - self._bytes_out

    def submit(self, operation: Operation) -> int:
        """Have an operation done; return its number, for comparing with `done`. On the loop's thread only."""
        self._bytes_in += operation.size
        self.submitted += 1
        if self._is_closed:
            self._tried(operation.settle, self._parts, done=False)
            return self.submitted
        self._operations.put(operation)
        if operation.is_urgent:
            self._is_wanted.set()
        return self.submitted

    def visit(self, row_id: int) -> None:
        """Have it written down, with what else there is to write, that an entry was asked for. On any thread."""
        if len(self._visits) < _VISITS_MAX:  # else others will do as evidence
            self._visits.add(row_id)

    def close(self) -> None:
        """Do what is waiting, and end."""
        self._is_closed = True
        self._operations.put(None)
        self._is_wanted.set()
        self._thread.join(30.0)

    def _work(self) -> None:
        is_open = True
        while is_open:
            batch, is_open = self._gather()
            if batch or self._visits:
                self._do(batch)
            now = monotonic()
            if now - self._ticked_at >= TICK_S:
                self._ticked_at = now
                self._tried(self._keep_house)
                self._tried(self._tick, self.connection)
            count, size = len(batch), sum(operation.size for operation in batch)
            del batch  # nothing needs what it holds while this thread waits
            self._bytes_out += size
            self.done += count
        self.connection.close()

    def _tried(self, step: Callable[..., object], *arguments: object, **more: object) -> bool:
        """Take one step of the work; return whether it did not fail as nothing here should."""
        try:
            step(*arguments, **more)
        except Exception as error:
            self._parts.errors.report("bug", f"the writer of the store failed: {error!r}")
            return False
        return True

    def _gather(self) -> tuple[list[Operation], bool]:
        try:
            first = self._operations.get(timeout=TICK_S)
        except Empty:
            return [], True
        if first is None:
            return [], False
        if not first.is_urgent:
            self._is_wanted.wait(_GATHER_S)
        self._is_wanted.clear()
        batch, size = [first], first.size
        while len(batch) < TOGETHER and size < BYTES_TOGETHER:
            try:
                operation = self._operations.get_nowait()
            except Empty:
                break
            if operation is None:
                return batch, False
            batch.append(operation)
            size += operation.size
        return batch, True

    def _do(self, batch: list[Operation]) -> None:
        parts = self._parts
        broken = {operation for operation in batch if not self._tried(operation.prepare, parts)}
        ready = [operation for operation in batch if operation not in broken] if broken else batch
        is_done = self._committed(ready)
        vital = [operation for operation in ready if operation.is_vital]
        is_vital_done = is_done or (bool(vital) and self._insist(vital))
        if vital and not is_vital_done:
            self._owe(vital)
        for operation in batch:
            is_well = is_vital_done if operation.is_vital else is_done
            self._tried(operation.settle, parts, done=is_well and operation not in broken)

    def _insist(self, vital: list[Operation]) -> bool:
        """Do purges whatever it takes; return whether that went well."""
        for attempt in range(_BUSY_ATTEMPTS):
            if self._committed(vital):
                return True
            if attempt >= 1 and not self._is_busy:
                break
        self._is_sound = False
        try:
            self.connection.discard("the disk may be full")
        except _FAILURES as error:
            self._parts.errors.report("write", f"the store cannot even be removed: {error}")
            return False
        return True

    def _owe(self, purges: list[Operation]) -> None:
        """Let nothing be found until purges that failed have been made up for."""
        self._database.is_barred = True
        self._owed += [purge.again() for purge in purges if isinstance(purge, Purging)]
        if sum(PLACE_BYTES + weight_of(owed.purge.what) for owed in self._owed) > _OWED.limit:
            self._owed = [Purging(Purge(Everything()), None, (), counted=self._owed[0].counted)]

    def _make_up(self) -> None:
        """Do the purges that are owed."""
        owed, self._owed = self._owed, []
        self._do(list[Operation](owed))
        self._database.is_barred = bool(self._owed)

    def _committed(self, batch: list[Operation]) -> bool:
        """Do operations in one transaction; return whether that went well."""
        has_rows = bool(self._visits) or any(operation.has_rows for operation in batch)
        is_certain = any(operation.is_certain for operation in batch)
        if not has_rows and not is_certain:
            return True
        try:
            if is_certain or not self._is_sound:
                self._look_after_folder()
            gone = self._written(batch) if has_rows else []
            if is_certain and not self._is_whole:
                raise FileNotFoundError("the folder was removed or replaced meanwhile")
            for name in gone:
                self._parts.bodies.remove(name)
        except Exception as error:
            self._failed(error)
            return False
        return True

    def _written(self, batch: list[Operation]) -> list[str]:
        """Return the names of files that nothing refers to any more."""
        db = self.connection.get()
        if not any(operation.is_lasting for operation in batch):
            return self._transact(db, batch)
        db.execute("PRAGMA synchronous=FULL")
        try:
            return self._transact(db, batch)
        finally:
            db.execute("PRAGMA synchronous=NORMAL")

    @property
    def _is_whole(self) -> bool:
        return self._parts.shared.is_whole and not self.connection.is_moved

    def _look_after_folder(self) -> None:
        """Make anew what of the folder was removed or replaced, and have a database that failed looked at.

        Raises Unusable, OSError or sqlite3.Error.
        """
        is_sound, self._is_sound = self._is_sound, False  # until this has gone well
        if self._parts.shared.rejoin():
            self._parts.errors.note(f"the folder of {self._database.path} was removed or replaced: it is made anew")
        if self.connection.is_moved:
            self.connection.renew("it was removed or replaced while it was in use", "lost")
        elif not is_sound:
            self.connection.prepare()
        self._is_sound = True

    def _transact(self, db: sqlite3.Connection, batch: list[Operation]) -> list[str]:
        visits, self._visits = self._visits, set()
        db.execute("BEGIN IMMEDIATE")
        try:
            rows = Rows(db)
            rows.visit(tuple(visits))  # a reader may be adding to it still
            for operation in batch:
                operation.apply(rows, self._parts)
            if rows.size > self._parts.limits.budget:
                self._hand, evicted = rows.evict(self._parts.limits.budget, self._hand, self._parts.is_hot)
                self.evictions += evicted
            rows.close()
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return rows.gone

    def _failed(self, error: BaseException) -> None:
        self._parts.errors.report("write", f"the store cannot be written: {error}")
        self._is_busy = getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY
        if self._is_busy:
            return
        try:
            if is_corrupt(error) or isinstance(error, TypeError):  # a column that holds what it cannot
                self.connection.renew(str(error))
            else:
                self._is_sound = False  # looked at again before the next transaction
        except Exception as worse:
            self._is_sound = False
            self._parts.errors.report("replace", f"a damaged store could not be replaced: {worse}")

    def _keep_house(self) -> None:
        """Look after the folder, make up for purges, give free pages back little by little, and see to the log."""
        if self._owed:
            self._make_up()
        try:
            self._look_after_folder()
            db = self.connection.get()
            (free,) = db.execute("PRAGMA freelist_count").fetchone()
            if free > _FREE_PAGES:
                db.execute(f"PRAGMA incremental_vacuum({_FREE_PAGES})").fetchall()
            first, latest = db.execute(
                "SELECT coalesce(min(number), 0), coalesce(max(number), 0) FROM purges"
            ).fetchone()
            if latest > self._parts.shared.purges:
                self._parts.shared.publish(latest)  # the process that wrote it died before it could
            kept = self._parts.limits.purges_kept
            if latest - first > kept + kept // 10:
                db.execute("DELETE FROM purges WHERE number <= ?", (latest - kept,))
        except _FAILURES as error:
            self._failed(error)
