"""Reading entries from a disk store: the rows of a key become entries, or are reported as damaged.

Nothing that is read is trusted: the record is checked by the codec, a body in the database against its digests, a file
by its length now and by its digests as it is read. What fails is a miss, and is removed from the store.
"""

import errno
import sqlite3
from collections.abc import Callable
from math import isfinite
from queue import SimpleQueue
from threading import Thread

from springhouse.http.content import MemoryContent
from springhouse.rules import purging
from springhouse.rules.entry import Entry
from springhouse.rules.labels import labels_of
from springhouse.stores import digests
from springhouse.stores.codec import CodecError
from springhouse.stores.disk.database import Database, DatabaseConnection, is_corrupt
from springhouse.stores.disk.files import FileContent
from springhouse.stores.disk.parts import DiskParts
from springhouse.stores.errors import StoreErrors, Unusable

Task = Callable[[DatabaseConnection], None]

_OF_KEY = (
    "SELECT e.id, e.variant, m.since, e.record, e.file, c.content, "
    "(SELECT group_concat(hex(label)) FROM labels WHERE id = e.id) FROM entries e "
    "LEFT JOIN contents c ON c.id = e.id LEFT JOIN marks m ON m.id = e.id WHERE e.key = ? ORDER BY e.id DESC"
)


class Readers:
    """Threads that wait for the disk, each with a connection of its own."""

    def __init__(self, database: Database, errors: StoreErrors, count: int) -> None:
        self._database = database
        self._errors = errors
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads = [Thread(target=self._work, name=f"store-reader-{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> None:
        """Run a task on one of the threads. It must call back itself, even when it fails."""
        self._tasks.put(task)

    def run(self, work: Callable[[], None]) -> None:
        """Run what needs no connection."""
        self._tasks.put(lambda _: work())

    def close(self) -> None:
        """Finish what was submitted, and end."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(5.0)

    def _work(self) -> None:
        connection = DatabaseConnection(self._database)
        while (task := self._tasks.get()) is not None:
            try:
                task(connection)
            except Exception as error:
                self._errors.report("bug", f"a reader of the store failed: {error!r}")
            del task  # it may hold the last reference to an open file
        connection.close()


class DiskFinder:
    """Turns rows into entries.

    `forget` is called, on any thread, with the id of a row that cannot be used, `visited` with that of one that was.
    """

    def __init__(
        self,
        parts: DiskParts,
        readers: Readers,
        *,
        forget: Callable[[int], None],
        visited: Callable[[int], None],
    ) -> None:
        self._parts = parts
        self._readers = readers
        self._forget = forget
        self._visited = visited

    def find(self, connection: DatabaseConnection, key: bytes) -> tuple[Entry, ...]:
        """Return the variants of a key, the latest first; () when the database fails."""
        if connection.is_barred:
            return ()
        try:
            rows = connection.get().execute(_OF_KEY, (key,)).fetchall()
        except sqlite3.Error as error:
            self.failed(connection, error)
            return ()
        found = []
        for row_id, variant, since, record, file, content, labels in rows:
            try:
                entry = self._entry(row_id, key, record, file, content)
                if purging.variant_of(entry) != variant or labels_of(entry) != _unpacked(labels):
                    raise CodecError("no purge would find it where it stands")
                found.append(entry if since is None else _marked(entry, since))
                self._visited(row_id)
            except (CodecError, TypeError) as error:
                self._parts.errors.report("damaged", f"a stored response was damaged and is forgotten: {error}")
                self._forget(row_id)
            except FileNotFoundError:  # evicted just now, or lost when the power failed
                self._forget(row_id)
            except OSError as error:
                self._parts.errors.report("damaged", f"a stored body cannot be read: {error}")
                if not is_passing(error):
                    self._forget(row_id)
        return tuple(found)

    def failed(self, connection: DatabaseConnection, error: sqlite3.Error) -> None:
        """Report that reading failed; a damaged file is replaced at once."""
        self._parts.errors.report("read", f"the store cannot be read: {error}")
        if is_corrupt(error):
            try:
                connection.renew(str(error))
            except (Unusable, OSError, sqlite3.Error) as worse:
                self._parts.errors.report("replace", f"a damaged store could not be replaced: {worse}")

    def _entry(self, row_id: int, key: bytes, record: bytes, file: str | None, content: bytes | None) -> Entry:
        entry, proof = self._parts.codec.decode(record, key)
        length = entry.length or 0
        if file is None:
            content = content or b""
            if len(content) != length or digests.digests_of(content) != proof:
                raise CodecError("its content is not what was stored")
            entry.content = MemoryContent(content)
            return entry
        stored = FileContent(
            self._parts.bodies.open(file, length),
            length,
            proof,
            run=self._readers.run,
            deliver=self._parts.deliver,
            broken=lambda: self._broken(row_id),
        )
        entry.content = stored
        if length <= self._parts.limits.whole_max:
            whole = stored.whole()
            if whole is None:
                raise CodecError("its content is not what was stored")
            entry.content = MemoryContent(whole)
        return entry

    def _broken(self, row_id: int) -> None:
        self._parts.errors.report("damaged", "a stored body was damaged; its reply was broken off, it is forgotten")
        self._forget(row_id)


def _unpacked(labels: str | None) -> frozenset[bytes]:
    return frozenset(map(bytes.fromhex, labels.split(","))) if labels else frozenset()


def _marked(entry: Entry, since: object) -> Entry:
    if not isinstance(since, float) or not isfinite(since):
        raise CodecError("its mark is impossible")
    return purging.made_stale(entry, since)


def is_passing(error: OSError) -> bool:
    """Return whether an error lies in the moment, not in the file: too many files open, no memory."""
    return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
