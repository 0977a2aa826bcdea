"""The SQLite file of a disk store: its layout, its connections, and what is done when it is not as it should be.

WAL mode: readers and the one writer of the moment do not wait for each other, in any process. `synchronous=NORMAL`: a
commit is not flushed to the medium. A crash of the process then loses nothing that was committed, for the kernel has
it, and a power failure loses the latest commits but leaves the file whole; for a cache that is right, what is lost is
fetched again. Only purges must not be lost: they are committed under FULL (see `stores.writer`).

A file that is damaged, or of a format unknown here, is renamed and a new one begun; nothing is ever deleted unasked,
except an older file that was set aside before.
"""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from springhouse.stores.shared import Shared
from springhouse.stores.troubles import Troubles

FORMAT: Final = 2
NAME: Final = "entries.sqlite"
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

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Unusable(Exception):
    """A folder that cannot be used as a store at all; the text says why."""


class _Foreign(Exception):
    """A database that is not ours to read; the text says why."""


def is_corrupt(error: BaseException) -> bool:
    """Say whether an error of SQLite means that the file itself is damaged."""
    return getattr(error, "sqlite_errorcode", -1) & 0xFF in _CORRUPT


class Database:
    """The file, in whatever generation it is."""

    def __init__(self, folder: Path, shared: Shared, troubles: Troubles) -> None:
        self.path = folder / NAME
        self.shared = shared
        self._troubles = troubles

    def prepare(self) -> None:
        """Make sure that there is a usable file. Raises Unusable."""
        others = self.shared.others()
        with self.shared.locked():
            self._prepare(may_set_aside=not others)

    def renew(self, generation: int, why: str) -> None:
        """Set the file aside that a connection of that generation found to be unusable, and begin a new one."""
        with self.shared.locked():
            if self.shared.generation == generation:
                self._set_aside("corrupt", why)
            self._prepare(may_set_aside=True)

    def discard(self, generation: int, why: str) -> None:
        """Remove the file: what it holds must not be found any more, and that cannot be written into it.

        A new one is left to `prepare`, for there may be no room for it yet.
        """
        with self.shared.locked():
            if self.shared.generation == generation:
                for suffix in ("", "-wal", "-shm"):
                    self.path.with_name(NAME + suffix).unlink(missing_ok=True)
                self.shared.replaced()
                self._troubles.note(f"the store {self.path} was emptied, for a purge could not be written down: {why}")

    def connect(self) -> sqlite3.Connection:
        """Open a connection for the use of one thread."""
        db = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
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
        for _ in range(2):
            try:
                # What SQLite adds has the same mode: what is cached is nobody else's to read.
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
                with closing(self.connect()) as db:
                    self._check(db)
                    # A process that died may have written a purge down and not said so.
                    (latest,) = db.execute(LATEST_PURGE).fetchone()
                    self.shared.raise_to(latest)
                return
            except _Foreign as error:
                kind, why = "foreign", str(error)
            except OSError as error:
                raise Unusable(f"The store {self.path} cannot be opened: {error.strerror}") from None
            except sqlite3.DatabaseError as error:
                if not is_corrupt(error):
                    raise Unusable(f"The store {self.path} cannot be opened: {error}") from None
                kind, why = "corrupt", str(error)
            if not may_set_aside:
                raise Unusable(f"The store {self.path} is in use by another process and cannot be read: {why}")
            self._set_aside(kind, why)
        raise Unusable(f"The store {self.path} cannot be created")

    def _check(self, db: sqlite3.Connection) -> None:
        """Bring the file to today's format; reading one row of each kind shows most damage at once."""
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if version == 0 and not tables:
            # Purges are numbered on from the last file's, so that no process takes a new one for one it knows.
            numbered = f"INSERT INTO sqlite_sequence VALUES('purges', {self.shared.purges:d});"
            self._run(db, f"{_SCHEMA} {numbered} PRAGMA user_version={FORMAT};")
            return
        while version in MIGRATIONS:
            self._run(db, MIGRATIONS[version] + f"PRAGMA user_version={version + 1};")
            self._troubles.note(f"the store {self.path} was brought from format {version} to {version + 1}")
            version += 1
        if version != FORMAT:
            raise _Foreign(f"its format is {version}, this release knows {FORMAT}")
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
        for old in self.path.parent.glob(f"{NAME}*.{kind}-*"):
            old.unlink(missing_ok=True)
        aside = f"{kind}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        for suffix in ("", "-wal", "-shm"):
            path = self.path.with_name(NAME + suffix)
            if path.exists():
                os.replace(path, path.with_name(f"{path.name}.{aside}"))
        self.shared.replaced()
        self._troubles.note(
            f"the store {self.path} could not be used ({why}): it was renamed to {NAME}.{aside}, and begins empty"
        )


class Connection:
    """A connection of one thread, opened when needed and again after the file was replaced."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._db: sqlite3.Connection | None = None
        self.generation = -1

    def get(self) -> sqlite3.Connection:
        """Return the connection. Raises sqlite3.Error."""
        generation = self._database.shared.generation
        if self._db is None or generation != self.generation:
            self.close()
            self._db = self._database.connect()
            self.generation = generation
        return self._db

    def renew(self, why: str) -> None:
        """Have the file replaced that this connection found to be damaged. Raises Unusable or OSError."""
        self.close()
        self._database.renew(self.generation, why)

    def discard(self, why: str) -> None:
        """Have the file removed. Raises OSError."""
        self.close()
        self._database.discard(self.generation, why)

    def prepare(self) -> None:
        """Make sure that there is a usable file. Raises Unusable or OSError."""
        self.close()
        self._database.prepare()

    def close(self) -> None:
        """Close it, if it is open."""
        db, self._db = self._db, None
        if db is not None:
            db.close()
