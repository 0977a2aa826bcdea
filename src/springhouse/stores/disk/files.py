"""Bodies too large for the database: one plain file each.

A body is written to `….part`, and renamed when it is whole; the row that refers to it is committed after that, so that
there is never a row for half a body. The file is not flushed to the medium: waiting for the disk would hold up all
other writing, and what it would save is one fetch after a power failure. A body whose blocks were lost then does not
match the digests in its record, and is a miss.

Files that no row refers to (their process died in between, or a purge came first) are removed by `sweep`. The name of
a file begins with that of the process that wrote it; those of living processes are left to them.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock

from springhouse.stores import digests
from springhouse.stores.content import Read, StoredContent

Run = Callable[[Callable[[], None]], None]
"""Runs a function on a thread that may wait for the disk."""
Deliver = Callable[..., object]
"""Calls a function with arguments on the loop's thread: `loop.call_soon_threadsafe`."""

PART = ".part"
_BLOCK = 4096
_NAME = re.compile(r"[0-9a-f]{12}-[0-9a-f]{1,16}(\.part)?")


class PartFile:
    """A body being written. Used by one thread at a time, but for `read`. It is open until it is let go of."""

    __slots__ = ("_digester", "_fd", "_lock", "name", "path")

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.path = path
        self._fd = -1
        self._lock = Lock()
        self._digester = digests.Digester()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._fd = os.open(path, flags, 0o600)

    def write(self, data: bytes) -> None:
        """Append. Raises OSError."""
        view = memoryview(data)
        with self._lock:
            while view:
                view = view[os.write(self._fd, view) :]
        self._digester.update(data)

    def __del__(self) -> None:
        self.close()

    def read(self, start: int, size: int) -> bytes:
        """Read what was written. Raises OSError."""
        with self._lock:
            return _read_at(self._fd, start, size)

    def rename(self, path: Path) -> None:
        """Give the file its name. Nothing more can be written. Raises OSError."""
        with self._lock:
            self.close()  # not everywhere may an open file be renamed
            os.replace(self.path, path)
            self.path = path
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def digests(self) -> bytes:
        """Return the digests of what was written."""
        return self._digester.digests()

    def close(self) -> None:
        """Let go of the file, wherever it is."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Bodies:
    """The folder of bodies, as one process writes to it."""

    def __init__(self, folder: Path, process: str) -> None:
        self._folder = folder
        self._process = process
        self._count = 0
        self._unfinished: set[str] = set()
        """Names of files of this process that may yet get their row."""
        self._lock = Lock()

    def create(self) -> PartFile:
        """Begin a body. Raises OSError."""
        with self._lock:
            self._count += 1
            name = f"{self._process}-{self._count:x}"
            self._unfinished.add(name)
        path = self.path(name + PART)
        path.parent.mkdir(parents=True, exist_ok=True)
        return PartFile(path, name)

    def finish(self, part: PartFile) -> None:
        """Give a body that is whole its name. Its row must follow, then `settled`. Raises OSError."""
        part.rename(self.path(part.name))

    def settled(self, name: str) -> None:
        """Record that a body has its row, or will never have one."""
        self._unfinished.discard(name)

    def discard(self, part: PartFile) -> None:
        """Remove a body that will not be stored. Reading it goes on where open files may be removed."""
        if sys.platform == "win32":
            part.close()
        with suppress(OSError):
            part.path.unlink(missing_ok=True)
        self.settled(part.name)

    def remove(self, name: str) -> None:
        """Remove a body whose row has gone; should that fail, it is swept later."""
        with suppress(OSError):
            self.path(name).unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """Return where a body is: one of 256 folders, so that none gets too long to search. Raises OSError."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):  # a database that others wrote to may say anything
            raise OSError(f"{name!r} is no name of a body")
        number = name.removesuffix(PART).rpartition("-")[2]
        return self._folder / number[-2:].zfill(2) / name

    def open(self, name: str, length: int) -> int:
        """Return a file descriptor of a body. Raises OSError when it is not there or not of that length."""
        fd = os.open(self.path(name), os.O_RDONLY | getattr(os, "O_BINARY", 0))
        size = os.fstat(fd).st_size
        if size == length:
            return fd
        os.close(fd)
        raise OSError(f"The body {name} has {size} bytes instead of {length}")

    def abandoned(self, others: Callable[[], set[str]]) -> Iterator[Path]:
        """Go through the files that may lack a row: all but those of other living processes, or still being written.

        `others` is asked for the living after each look into a folder, never before: one may have just begun.
        """
        for folder in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            files = _files_in(folder)
            alive = others()
            for path in files:
                process = path.name.partition("-")[0]
                is_ours = _NAME.fullmatch(path.name) is not None
                if is_ours and process not in alive and path.name.removesuffix(PART) not in self._unfinished:
                    yield path


def _files_in(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def blocks(length: int) -> int:
    """Return the bytes that a file of that length takes on the disk."""
    return -(-length // _BLOCK) * _BLOCK


class FileContent(StoredContent):
    """Content in a file, open since it was found: it stays readable when the file is removed.

    `broken` is called, on the loop's thread, when what is read does not match its digests.
    """

    __slots__ = ("_broken", "_deliver", "_fd", "_run", "digests", "length")

    def __init__(
        self, fd: int, length: int, content_digests: bytes, *, run: Run, deliver: Deliver, broken: Callable[[], None]
    ) -> None:
        self._fd = fd
        self.length = length
        self.digests = content_digests
        self._run = run
        self._deliver = deliver
        self._broken = broken

    def __del__(self) -> None:
        os.close(self._fd)

    def read(self, start: int, size: int, done: Read) -> None:
        """Read from `start` up to the end of its chunk, `size` bytes at the most; see StoredContent."""

        def work() -> None:
            data = self._proved(start // digests.CHUNK)
            if data is None:
                self._deliver(self._broken)
                self._deliver(done, None)
            else:
                at = start % digests.CHUNK
                self._deliver(done, data if at == 0 and size >= len(data) else data[at : at + size])

        self._run(work)

    def whole(self) -> bytes | None:
        """Read all of it, on this thread; None when it does not match its digests."""
        parts = [self._proved(number) for number in range(digests.count(self.length))]
        return None if None in parts else b"".join(part for part in parts if part is not None)

    def _proved(self, number: int) -> bytes | None:
        try:
            data = _read_at(self._fd, number * digests.CHUNK, digests.CHUNK)
        except OSError:
            return None
        return data if digests.holds(self.digests, number, data) else None


if sys.platform == "win32":
    _position = Lock()

    def _read_at(fd: int, start: int, size: int) -> bytes:
        with _position:
            os.lseek(fd, start, os.SEEK_SET)
            return os.read(fd, size)
else:

    def _read_at(fd: int, start: int, size: int) -> bytes:
        return os.pread(fd, size, start)
