"""Entries on this machine's disk: a tier that outlives the process (decision 0011).

    folder/entries.sqlite   entries, small bodies, labels, totals, the log of purges     database, rows
           bodies/xx/…      a file for each large body                                   files
           processes/…      a file for each living process, locked                       shared
           numbers, lock    what the processes tell one another                          shared
           leases/…         which of them fetches a cold key                             disk_leases

Nothing waits for the disk on the loop's thread. Lookups go to a few reader threads, everything that writes goes to one
writer thread, in order. A lookup of a key that has writing to wait for takes its turn behind it, and so sees it; what
it finds is filtered by purges of many keys that are still to be carried out.

Any number of processes may share a folder. SQLite keeps their transactions apart; a purge gets a number, which all of
them see change before the purge is answered, and is read by them from the log. What one process puts or evicts the
others find at their next lookup.
"""

import sqlite3
import sys
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, time
from typing import Final

from msgspec import MsgspecError

from springhouse.http.memo import MIB, Recent, bound
from springhouse.rules.entry import Entry
from springhouse.rules.purging import NEVER_FRESH, Everything, Held, Keys, Purge, Receipt, remaining, weight_of
from springhouse.stores.codec import Codec
from springhouse.stores.disk.database import Database, DatabaseConnection
from springhouse.stores.disk.files import Bodies
from springhouse.stores.disk.finder import DiskFinder, Readers
from springhouse.stores.disk.incoming import APPEND_BYTES, Incoming
from springhouse.stores.disk.leases import DiskLeases, Settled
from springhouse.stores.disk.operations import (
    Afterwards,
    Counting,
    Dropped,
    Flush,
    Operation,
    Purging,
    Put,
    RemoveDamaged,
    ReplaceEntry,
    Then,
    purge_decoder,
)
from springhouse.stores.disk.parts import DiskLimits, DiskParts
from springhouse.stores.disk.shared import RETIRED, Shared
from springhouse.stores.disk.writer import Writer
from springhouse.stores.errors import StoreErrors, Unusable
from springhouse.stores.memory.records import cost_of
from springhouse.stores.tier import (
    BACKLOG_MAX,
    CLOCKS_APART_S,
    Arriving,
    CaughtUp,
    EventLoop,
    LookedUp,
    OnProgress,
    Purged,
    is_never_hot,
)

SWEEP_EVERY_S = 600.0
_ONE_BY_ONE_MAX = 8192
"""A purge of more keys is remembered as a whole until it is carried out."""
_PLACES: Final = 16_384
_LAST: Final = bound(
    "last writes", 8 * _PLACES, "when a key was last to be written on the disk, for many keys in one place"
)
_UNDER_WAY: Final = bound("purges of the disk", MIB, "purges of many keys that are still to be carried out on the disk")
_DROPPED: Final = bound(
    "not stored", 4 * MIB, "keys whose older response the disk is to drop, as it is too slow for the newer"
)
_ALL: Final = (Purge(Everything()),)
"""What may have been purged when that is not known."""


class DiskTier:
    """A Tier. `is_hot`: called on any thread with a key, whether it is in use in memory; such keys stay on the disk."""

    def __init__(
        self,
        folder: Path,
        limits: DiskLimits,
        *,
        loop: EventLoop,
        secret: bytes = b"",
        errors: StoreErrors | None = None,
        is_hot: Callable[[bytes], bool] = is_never_hot,
    ) -> None:
        """Open the folder, or make it. Raises Unusable."""
        self.errors = errors or StoreErrors()
        self.limits = limits
        self.patience = limits.patience
        self._loop = loop
        try:
            self._shared = Shared(folder)
        except OSError as error:
            raise Unusable(f"The folder {folder} cannot be used: {error.strerror}") from None
        self._database = Database(folder, self._shared, self.errors)
        try:
            self._database.prepare()
        except BaseException:
            self._shared.close()
            raise
        self._bodies = Bodies(folder / "bodies", self._shared.name)
        self._seen = self._shared.purges
        self._sweep_at = 0.0
        self._is_closing = False
        self._swept = -1
        """The generation of the database when bodies were last swept."""
        self._last = array("Q", bytes(_LAST.limit))
        """The number of the last operation about any key with the same place: one more look-up may wait than must."""
        self._purges: Recent[int, Purge] = Recent(_UNDER_WAY, lambda _, purge: weight_of(purge.what))
        """Purges of what may be any key, with their numbers, until they are carried out."""
        self.leases = self._leases(folder / "leases")
        self._start(Codec(secret), is_hot)
        if self._database.written_at - time() > CLOCKS_APART_S:
            self.errors.note(f"the clock was put back since {folder} was used: all there is validated before use")
            self.purge(Purge(Everything(), NEVER_FRESH))

    def _leases(self, folder: Path) -> DiskLeases | None:
        if sys.platform == "win32":
            return None  # one process has the folder
        try:
            return DiskLeases(
                folder, self.limits.leases, later=self._loop.call_later, after_writing=self._after_writing
            )
        except OSError as error:
            self.errors.note(f"every process fetches for itself, for lack of locks in {folder}: {error}")
            return None

    def _start(self, codec: Codec, is_hot: Callable[[bytes], bool]) -> None:
        limits = self.limits
        parts = self._parts = DiskParts(
            codec=codec,
            bodies=self._bodies,
            shared=self._shared,
            errors=self.errors,
            deliver=self._deliver,
            limits=limits,
            is_hot=is_hot,
        )
        self._writer = Writer(self._database, parts, tick=self._keep_house)
        self._readers = Readers(self._database, self.errors, limits.readers)
        self._finder = DiskFinder(
            parts,
            self._readers,
            forget=lambda row_id: self._deliver(self._submit, RemoveDamaged((row_id,))),
            visited=self._writer.visit,
        )
        self._writer.start()

    @property
    def evictions(self) -> int:
        """How many entries this process has evicted."""
        return self._writer.evictions

    # Lookups.

    def lookup(self, key: bytes, done: LookedUp) -> None:
        """Find the variants under the key; see Tier."""
        purges = self._under_way()
        if self._is_closing:
            self._deliver(done, ())
        elif self._is_to_be_written(key):
            self._submit(Then(lambda: self._find(self._writer.connection, key, done)))
        else:
            self._readers.submit(lambda connection: self._find(connection, key, done, purges))

    def _is_to_be_written(self, key: bytes) -> bool:
        return self._last[hash(key) % _PLACES] > self._writer.done

    def _find(self, connection: DatabaseConnection, key: bytes, done: LookedUp, purges: Sequence[Purge] = ()) -> None:
        left: tuple[Entry, ...] = ()
        try:
            found = self._finder.find(connection, key)
            for purge in purges:
                found = remaining(found, purge)
            left = found
        finally:
            self._deliver(done, left)

    def _under_way(self) -> tuple[Purge, ...]:
        """Return the purges that have yet to be carried out: a large one takes long, and no lookup waits for it."""
        while self._purges and (first := next(iter(self._purges))) <= self._writer.done:
            self._purges.drop(first)
        return tuple(self._purges.values())

    # What changes the store.

    def put(self, entry: Entry) -> None:
        """Store an entry; see Tier."""
        waiting, most = self._writer.waiting, self.limits.waiting_max
        if waiting + cost_of(entry) <= most:
            self._submit(Put(entry, self._seen), entry.key)
            return
        self.errors.report("slow", "the disk is slower than the origin: a response was not stored")
        if waiting <= most + _DROPPED.limit:  # else what it supersedes stays on the disk
            self._submit(Dropped(entry), entry.key)

    def replace(self, old: Entry, new: Entry) -> None:
        """Put a freshened entry in the old one's place; see Tier."""
        if self._writer.waiting <= self.limits.waiting_max:  # else it will be freshened once more
            self._submit(ReplaceEntry(old, new, self._seen), old.key)

    def arrive(self, _key: bytes, on_progress: OnProgress, /) -> Arriving | None:
        """Begin to store content that is arriving; see Tier."""
        if self._writer.waiting > self.limits.waiting_max // 2:
            self.errors.report("slow", "the disk is slower than the origin: a large response has to wait in memory")
            return None
        return Incoming(
            self._parts,
            on_progress,
            submit=self._submit,
            run=self._readers.run,
            since=lambda: self._seen,
            backlog_max=self._backlog_max,
        )

    def _backlog_max(self) -> int:
        """Return how much of one arriving content may wait to be written: less when there is much in all."""
        is_crowded = self._writer.waiting > self.limits.waiting_max // 2
        return min(APPEND_BYTES if is_crowded else BACKLOG_MAX, self.limits.waiting_max // 4)

    def purge(
        self, purge: Purge, done: Purged | None = None, *, held: Sequence[Held] = (), dry_run: bool = False
    ) -> None:
        """Remove or mark what a purge selects, or only count it; see Tier."""
        if dry_run:
            if done is not None:
                self._submit(Counting(purge, done, held))
            return
        operation = Purging(purge, done, held, counted=self._counted)
        if isinstance(purge.what, Keys) and len(purge.what.keys) < _ONE_BY_ONE_MAX:
            self._submit(operation, *purge.what.keys)
        else:
            number = self._submit(operation)
            if self._purges.note(number, purge):  # too much to be remembered one by one
                self._purges.clear()
                self._purges.note(number, Purge(Everything()))

    def _submit(self, operation: Operation, *keys: bytes) -> int:
        number = self._writer.submit(operation)
        for key in keys:
            self._last[hash(key) % _PLACES] = number
        return number

    def _after_writing(self, key: bytes, call: Settled) -> None:
        if self._is_to_be_written(key):
            self._submit(Afterwards(call))
        else:
            call(True)

    # Other processes.

    def has_foreign_purges(self) -> bool:
        """Return whether others have purged since the last `catch_up`."""
        return self._shared.purges > self._seen

    def catch_up(self, done: CaughtUp) -> None:
        """Fetch the purges of other processes; see Tier."""
        if self._is_closing:
            self._deliver(done, _ALL)
        else:
            self._readers.submit(lambda connection: self._catch_up(connection, self._seen, done))

    def _counted(self, number: int) -> None:
        """Record that a purge of our own got a number: it is not foreign if it is the next."""
        if number == self._seen + 1:
            self._seen = number

    def _catch_up(self, connection: DatabaseConnection, seen: int, done: CaughtUp) -> None:
        last: int = seen
        purges: Sequence[Purge] = _ALL
        try:
            self._shared.rejoin()
            last, purges = self._read_log(connection, seen)
        except OSError as error:
            self.errors.report("read", f"the folder of the store cannot be used: {error}")
        finally:
            self._deliver(self._caught_up, last, purges, done)

    def _read_log(self, connection: DatabaseConnection, seen: int) -> tuple[int, Sequence[Purge]]:
        """Return up to which number it is known what others have purged after a number, and what."""
        expected = self._shared.purges
        try:
            found = (
                connection.get()
                .execute("SELECT number, process, purge FROM purges WHERE number > ? ORDER BY number", (seen,))
                .fetchall()
            )
            last = max(expected, found[-1][0] if found else 0)
            # A gap: the database was replaced, or the log was cut before this process had read it.
            if len(found) == last - seen:
                return last, [
                    purge_decoder.decode(purge) for _, process, purge in found if process != self._shared.name
                ]
        except (sqlite3.Error, MsgspecError, TypeError) as error:
            if isinstance(error, sqlite3.Error):
                self._finder.failed(connection, error)
        return max(expected, self._shared.purges), _ALL

    def _caught_up(self, last: int, purges: Sequence[Purge], done: CaughtUp) -> None:
        if last < RETIRED:
            self._seen = max(self._seen, last)
        done(purges)

    # Housekeeping and the end.

    def totals(self, done: Purged) -> None:
        """Count what is stored: keys are not counted, which would need a scan."""

        def work(connection: DatabaseConnection) -> None:
            receipt = Receipt(failure="the store could not be read")
            try:
                entries, size = connection.get().execute("SELECT entries, size FROM totals").fetchone()
                receipt = Receipt(entries=entries, size=size)
            except sqlite3.Error as error:
                self._finder.failed(connection, error)
            finally:
                self._deliver(done, receipt)

        self._readers.submit(work)

    def flush(self, done: Callable[[], None]) -> None:
        """Call back when all that was asked for before has been written."""
        self._submit(Flush(lambda: self._deliver(done)))

    def close(self) -> None:
        """Write what is waiting to be written, and let go of everything; see Tier."""
        self._is_closing = True
        self._writer.close()
        self._readers.close()
        if self.leases is not None:
            self.leases.close()
        self._shared.close()

    async def aclose(self) -> None:
        """Do as `close`; see Tier."""
        self.close()

    def _deliver(self, call: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has gone, and with it all that waited
            self._loop.call_soon_threadsafe(call, *arguments)

    def _keep_house(self, _connection: DatabaseConnection) -> None:
        """Sweep bodies that no row refers to, now and then and when the database was replaced; the writer calls."""
        if self.leases is not None:
            self.leases.rejoin()
        generation = self._shared.generation
        if monotonic() >= self._sweep_at or generation != self._swept:
            self._swept = generation
            self._sweep_at = monotonic() + SWEEP_EVERY_S
            self._readers.submit(self._sweep)

    def _sweep(self, connection: DatabaseConnection) -> None:
        swept = 0
        with suppress(sqlite3.Error, OSError):
            for path in self._bodies.abandoned(self._shared.others):
                if self._is_closing:
                    return
                found = connection.get().execute("SELECT 1 FROM entries WHERE file = ?", (path.name,)).fetchone()
                if found is None:
                    path.unlink(missing_ok=True)
                    swept += 1
        if swept:
            self.errors.note(f"{swept} bodies that were never finished were removed from the store")
