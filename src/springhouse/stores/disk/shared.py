"""What the processes on one folder share besides the database: two numbers in memory, one lock, which are alive.

Numbers: `purges`, the highest number in the log of purges, and `generation`, how often the database was replaced. They
stand in a small file that every process maps, so that to look whether anything was purged elsewhere costs no system
call. They only grow, and are only written under the folder's lock.

The folder may be removed, or replaced by another, while processes use it. The first that notices joins the
one that has the name now, numbers on from the old one, and retires the numbers there: the others see that at once.

Alive: each process holds a lock on a file with its name, which the kernel gives up however the process ends. So files
of bodies, which begin with the name of their process, are known to be abandoned without guessing by their age.
"""

import errno
import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Final

if sys.platform == "win32":  # no flock there: one process at a time has the folder
    import msvcrt

    def _lock(fd: int, *, wait: bool) -> bool:
        try:
            msvcrt.locking(fd, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(fd: int, *, wait: bool) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


_SIZE = 16
RETIRED: Final = 2**62
"""Stands in place of the highest number where a folder was removed: a process that looks there is behind, and
rejoins."""

Identity = tuple[int, int]


def identity_of(path: Path) -> Identity | None:
    """Return what tells a file from another that takes its name, None when there is none."""
    try:
        return _identity(os.stat(path))
    except OSError:
        return None


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


class _Files:
    """A folder's files as one process holds them open; what is still the same as `before` is taken over from there."""

    def __init__(self, folder: Path, name: str, before: "_Files | None" = None) -> None:
        self.instances = folder / "processes"
        self._lock, self._counts, self._alive = folder / "lock", folder / "numbers", self.instances / name
        self._fds: dict[Path, int] = {}
        self._known: dict[Path, Identity] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.instances.mkdir(exist_ok=True)
            self._open(self._lock, before)
            with self.locked():
                self._join(before)
        except BaseException:
            self.close()
            raise

    def _join(self, before: "_Files | None") -> None:
        """Map the numbers and be alive. Under `locked`."""
        if self._open(self._counts, before):
            self.numbers = memoryview(_map(self._fds[self._counts], _SIZE)).cast("Q")
            if self.numbers[0] >= RETIRED:
                self.numbers[0] = 0
        elif before is not None:
            self.numbers = before.numbers
        if self._open(self._alive, before):
            _lock(self._fds[self._alive], wait=True)

    def _open(self, path: Path, before: "_Files | None") -> bool:
        """Open a file; return whether it is another one than before."""
        if before is not None and identity_of(path) == before._known[path]:
            self._fds[path] = os.dup(before._fds[path])  # opened again, it would wait for a lock of our own
        else:
            self._fds[path] = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._known[path] = _identity(os.fstat(self._fds[path]))
        return before is None or self._known[path] != before._known[path]

    @property
    def is_whole(self) -> bool:
        """Whether all of these files are still those that have their names."""
        return all(identity_of(path) == known for path, known in self._known.items())

    def has_lock_of(self, other: "_Files") -> bool:
        """Return whether both have the same lock."""
        return self._known[self._lock] == other._known[other._lock]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all other processes out that have this lock."""
        _lock(self._fds[self._lock], wait=True)
        try:
            yield
        finally:
            _unlock(self._fds[self._lock])

    def leave(self) -> None:
        """Be alive no more."""
        with suppress(OSError):
            self._alive.unlink()

    def close(self) -> None:
        """Let go of them. The numbers go when nothing refers to them any more."""
        fds, self._fds = self._fds, {}
        for fd in fds.values():
            os.close(fd)


class Shared:
    """One process's part in a folder. Raises OSError when the folder cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.name = token_hex(6)
        """This process's name; no other ever has it."""
        self._folder = folder
        self._threads = Lock()  # a lock on a file does not keep threads of one process apart
        self._files = _Files(folder, self.name)
        self._numbers = self._files.numbers

    @property
    def purges(self) -> int:
        """The highest number of a purge that any process has written down."""
        return self._numbers[0]

    @property
    def generation(self) -> int:
        """How often the database was replaced by a new one."""
        return self._numbers[1]

    @property
    def is_whole(self) -> bool:
        """Whether the folder is still the one that this process has joined, with all of its files."""
        return self._files.is_whole

    def rejoin(self) -> bool:
        """Join the folder that has the name now, or make it anew; return whether that was needed. Raises OSError.

        Processes that still look at the files of the old one will do the same.
        """
        with self._threads:
            old = self._files
            if old.is_whole:
                return False
            new = _Files(self._folder, self.name, old)
            with new.locked(), nullcontext() if new.has_lock_of(old) else old.locked():
                if new.numbers is not old.numbers:
                    self._hand_over(old.numbers, new.numbers)
            self._files, self._numbers = new, new.numbers
            old.close()
            return True

    def _hand_over(self, old: "memoryview[int]", new: "memoryview[int]") -> None:
        """Number on from where the old folder was, if no other process has done so already."""
        if old[0] < RETIRED:
            new[0], new[1] = max(new[0], old[0]), max(new[1], old[1])
        old[0] = RETIRED

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all other processes out; for moments only. Not to be entered twice by one thread."""
        with self._threads, self._files.locked():
            yield

    def publish(self, purges: int) -> None:
        """Let all processes know that the log has got that far."""
        with self.locked():
            self.raise_to(purges)

    def raise_to(self, purges: int) -> None:
        """Do as `publish`. Under `locked`."""
        self._numbers[0] = max(self._numbers[0], purges)

    def replaced(self) -> None:
        """Let all processes know that the database is another one now, with nothing in it. Under `locked`."""
        self._numbers[1] += 1
        self._numbers[0] += 1

    def others(self) -> set[str]:
        """Return the names of the other processes that are alive, and forget those that are not. Raises OSError."""
        alive = set()
        with self.locked():
            for path in self._files.instances.iterdir():
                if path.name != self.name and _is_alive(path):
                    alive.add(path.name)
        return alive

    def close(self) -> None:
        """Leave the folder."""
        self._files.leave()
        self._files.close()


def _is_alive(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:  # it has ended just now
        return False
    try:
        if not _lock(fd, wait=False):
            return True
        path.unlink(missing_ok=True)
    except PermissionError:  # Windows does not remove what is open
        pass
    finally:
        os.close(fd)
    return False


def mapped(path: Path, size: int) -> mmap.mmap:
    """Map a file of so many bytes, zeros where it is new. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        return _map(fd, size)
    finally:
        os.close(fd)


def _map(fd: int, size: int) -> mmap.mmap:
    # Written, not only made longer: what is in no block yet cannot be written to when the disk is full.
    if os.fstat(fd).st_size < size and os.write(fd, bytes(size)) < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return mmap.mmap(fd, size)
