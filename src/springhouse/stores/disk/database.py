"""The SQLite file of a disk store: its layout, its connections, and what is done when it is not as it should be.

WAL mode: readers and the one writer of the moment do not wait for each other, in any process. `synchronous=NORMAL`: a
commit is not flushed to the medium. A crash of the process then loses nothing that was committed, for the kernel has
it, and a power failure loses the latest commits but leaves the file whole; for a cache that is right, what is lost is
fetched again. Only purges must not be lost: they are committed under FULL (see `stores.writer`).

A file that is damaged, of a format unknown here, or from before the latest purge (an old copy was put back),
is renamed and a new one begun; nothing is ever deleted unasked, except an older file that was set aside before.
"""

import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, NamedTuple

from springhouse.stores.disk.shared import RETIRED, Identity, Shared, identity_of
from springhouse.stores.errors import StoreErrors, Unusable

DATABASE_NAME: Final = "entries.sqlite"
BUSY_S: Final = 5.0
"""How long to wait for another process's transaction."""

_SCHEMA: Final = """
CREATE TABLE entries(
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of arrival, which eviction follows; never used again
    key BLOB NOT NULL,
    variant BLOB NOT NULL,                 -- digest of Vary and the values it selects by
    size INTEGER NOT NULL,                 -- bytes counted against the budget
    visited INTEGER NOT NULL,
    file TEXT,                             -- name of the body's file, NULL when the body is in `contents`
    record BLOB NOT NULL
);
CREATE UNIQUE INDEX entries_by_key ON entries(key, variant);
CREATE INDEX entries_by_file ON entries(file) WHERE file IS NOT NULL;
CREATE TABLE contents(id INTEGER PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE labels(label BLOB, id INTEGER, PRIMARY KEY(label, id)) WITHOUT ROWID;
CREATE INDEX labels_by_id ON labels(id);
CREATE TABLE marks(id INTEGER PRIMARY KEY, since REAL NOT NULL);  -- what soft purges made stale, and since when
CREATE TABLE totals(entries INTEGER NOT NULL, size INTEGER NOT NULL);
INSERT INTO totals VALUES(0, 0);
CREATE TABLE purges(number INTEGER PRIMARY KEY AUTOINCREMENT, process TEXT NOT NULL, purge BLOB NOT NULL);
"""

LATEST_PURGE: Final = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'purges'"

MIGRATIONS: Final[dict[int, str]] = {1: "CREATE TABLE marks(id INTEGER PRIMARY KEY, since REAL NOT NULL);"}
"""For a format that this release knows but does not use any more: the statements that make the next one of it."""
FORMAT: Final = max(MIGRATIONS) + 1
"""What `_SCHEMA` makes."""

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class _Foreign(Exception):
    """A database that is not ours to read; the text says why."""


class _Fault(NamedTuple):
    """What is wrong with a file: it is damaged, foreign, or lacks purges and may still have what they removed."""

    kind: str
    why: str


def is_corrupt(error: BaseException) -> bool:
    """Return whether an error of SQLite means that the file itself is damaged."""
    return getattr(error, "sqlite_errorcode", -1) & 0xFF in _CORRUPT


class Database:
    """The file, in whatever generation it is."""

    def __init__(
        self, folder: Path, shared: Shared, errors: StoreErrors, *, migrations: Mapping[int, str] = MIGRATIONS
    ) -> None:
        """`migrations`: all that make a file of an older format one of the newest."""
        self.path = folder / DATABASE_NAME
        self._migrations = migrations
        self._format = max(migrations) + 1
        self.shared = shared
        self.written_at = max((_written_at(path) for path in self.files), default=0.0)
        """When a process last wrote to it before this one came, by the wall clock then."""
        self.is_barred = False
        """A purge has yet to be written into it: until then nothing is found."""
        self._was_usable = False
        self._errors = errors

    def prepare(self) -> None:
        """Make sure that there is a usable file. Raises Unusable.

        A process that comes to a folder which others use leaves alone what it cannot read: they know whether it was
        theirs.
        """
        try:
            may_set_aside = self._was_usable or not self.shared.others()
        except OSError as error:
            raise Unusable(f"The folder of {self.path} cannot be used: {error.strerror}") from None
        with self.shared.locked():
            self._prepare(may_set_aside=may_set_aside)
        self._was_usable = True

    def renew(self, generation: int, why: str, kind: str = "corrupt") -> None:
        """Set the file aside that a connection of that generation found to be unusable, and begin a new one."""
        with self.shared.locked():
            if self.shared.generation == generation:
                self._set_aside(kind, why)
            self._prepare(may_set_aside=True)

    def discard(self, why: str) -> None:
        """Remove the file: what it holds must not be found any more, and that cannot be written into it.

        A new one is left to `prepare`, for there may be no room for it yet.
        """
        with self.shared.locked():
            for path in self.files:
                with suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()
            self.shared.replaced()
            self._errors.note(f"the store {self.path} was emptied, for a purge could not be written down: {why}")

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """The file, and what SQLite adds to it while it is open."""
        return self.path, self.path.with_name(DATABASE_NAME + "-wal"), self.path.with_name(DATABASE_NAME + "-shm")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left in the file."""
        try:
            return os.stat(self.path).st_size == 0
        except OSError:
            return True

    def connect(self) -> sqlite3.Connection:
        """Open a connection for the use of one thread. It makes no file: that would be for others to read, too."""
        uri = f"{self.path.absolute().as_uri()}?mode=rw"
        db = sqlite3.connect(uri, timeout=BUSY_S, isolation_level=None, check_same_thread=False, uri=True)
        try:
            db.executescript(
                "PRAGMA page_size=8192; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;"
                "PRAGMA synchronous=NORMAL; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;"
                "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8000; PRAGMA journal_size_limit=16777216;"
            )
        except UnicodeDecodeError:  # what SQLite says of a damaged schema need not be text
            db.close()
            damaged = sqlite3.DatabaseError("its schema is damaged")
            damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damaged from None
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, *, may_set_aside: bool) -> None:
        if self.shared.purges >= RETIRED:
            raise Unusable(f"The folder of {self.path} was removed just now")
        for _ in range(2):
            fault = self._fault()
            if fault is None:
                return
            if fault.kind != "outdated" and not may_set_aside:
                raise Unusable(f"The store {self.path} is in use by another process and cannot be read: {fault.why}")
            self._set_aside(fault.kind, fault.why)
        raise Unusable(f"The store {self.path} cannot be created")

    def _fault(self) -> "_Fault | None":
        """Return why the file cannot be used and is to be set aside, None when it can. Raises Unusable."""
        try:
            self._create()
            with closing(self.connect()) as db:
                self._check(db)
                # A process that died may have written a purge down and not published it.
                (latest,) = db.execute(LATEST_PURGE).fetchone()
        except _Foreign as error:
            return _Fault("foreign", str(error))
        except OSError as error:
            raise Unusable(f"The store {self.path} cannot be opened: {error.strerror}") from None
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise Unusable(f"The store {self.path} cannot be opened: {error}") from None
            return _Fault("corrupt", str(error))
        if latest < self.shared.purges:  # the others see that it is replaced, and go on with the new one
            return _Fault("outdated", "it lacks purges that were answered")
        self.shared.raise_to(latest)
        return None

    def _create(self) -> None:
        """Make an empty file if there is none; to open one that is there would cost SQLite its locks on it.

        What SQLite adds has the same mode: no other user may read what is cached.
        """
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    def _check(self, db: sqlite3.Connection) -> None:
        """Bring the file to today's format; reading one row of each kind shows most damage at once."""
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if version == 0 and not tables:
            # Purges are numbered on from the last file's, so that no process takes a new one for one it knows.
            numbered = f"INSERT INTO sqlite_sequence VALUES('purges', {self.shared.purges:d});"
            self._run(db, f"{_SCHEMA} {numbered} PRAGMA user_version={FORMAT};")
            return
        while version in self._migrations:
            self._run(db, self._migrations[version] + f"PRAGMA user_version={version + 1};")
            self._errors.note(f"the store {self.path} was brought from format {version} to {version + 1}")
            version += 1
        if version != self._format:
            raise _Foreign(f"its format is {version}, this release knows {self._format}")
        if db.execute("SELECT 1 FROM sqlite_master WHERE type IN ('trigger', 'view')").fetchone():
            raise _Foreign("it contains programs")
        try:
            counted = db.execute("SELECT entries, size FROM totals").fetchone()
            db.execute("SELECT id, key, variant, size, visited, file, record FROM entries LIMIT 1").fetchone()
            db.execute("SELECT number, process, purge FROM purges LIMIT 1").fetchone()
        except sqlite3.OperationalError as error:
            raise _Foreign(str(error)) from None
        if counted is None:
            raise _Foreign("its totals are missing")

    def _run(self, db: sqlite3.Connection, statements: str) -> None:
        db.executescript(f"BEGIN IMMEDIATE; {statements} COMMIT;")

    def _set_aside(self, kind: str, why: str) -> None:
        """Rename the file with what belongs to it; of those set aside for that reason only the latest is kept."""
        for old in self.path.parent.glob(f"{DATABASE_NAME}*.{kind}-*"):
            old.unlink(missing_ok=True)
        aside = f"{kind}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        was_there = self.path.exists()
        for path in self.files:
            with suppress(FileNotFoundError, NotADirectoryError):
                os.replace(path, path.with_name(f"{path.name}.{aside}"))
        self.shared.replaced()
        renamed = f"it was renamed to {DATABASE_NAME}.{aside}, and begins empty" if was_there else "it begins empty"
        self._errors.note(f"the store {self.path} could not be used ({why}): {renamed}")


def _written_at(path: Path) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


class DatabaseConnection:
    """A connection of one thread, opened when needed and again after the file was replaced."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._db: sqlite3.Connection | None = None
        self._files: dict[Path, Identity | None] = {}
        self.generation = -1

    def get(self) -> sqlite3.Connection:
        """Return the connection. Raises sqlite3.Error."""
        generation = self._database.shared.generation
        if self._db is None or generation != self.generation:
            self.close()
            db = self._database.connect()
            db.execute("PRAGMA user_version").fetchone()  # now the files are there that SQLite adds
            self._db = db
            self._files = {path: identity_of(path) for path in self._database.files}
            self.generation = generation
        return self._db

    @property
    def is_barred(self) -> bool:
        """Whether nothing may be found."""
        return self._database.is_barred

    @property
    def is_moved(self) -> bool:
        """Whether the file it was opened on, or what SQLite adds to it, was removed, emptied or replaced by another."""
        known = self._files
        return any(identity_of(path) != known[path] for path in known) or (bool(known) and self._database.is_empty)

    def renew(self, why: str, kind: str = "corrupt") -> None:
        """Have the file replaced that this connection found to be unusable. Raises Unusable or OSError."""
        self.close()
        self._database.renew(self.generation, why, kind)
        self._files.clear()

    def discard(self, why: str) -> None:
        """Have the file removed. Raises OSError."""
        self.close()
        self._database.discard(why)
        self._files.clear()

    def prepare(self) -> None:
        """Make sure that there is a usable file. Raises Unusable or OSError."""
        self.close()
        self._database.prepare()

    def close(self) -> None:
        """Close it, if it is open."""
        db, self._db = self._db, None
        if db is not None:
            # The last that closes removes what SQLite has added.
            self._files = {path: known for path, known in self._files.items() if path == self._database.path}
            db.close()
