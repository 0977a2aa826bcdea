"""What the processes on one folder share besides the database: two numbers in memory, one lock, who is alive.

Numbers: `purges`, the highest number in the log of purges, and `generation`, how often the database was replaced. They
stand in a small file that every process maps, so that to look whether anything was purged elsewhere costs no system
call. They only grow, and are only written under the folder's lock.

Alive: each process holds a lock on a file with its name, which the kernel gives up however the process ends. So files
of bodies, which begin with the name of their process, are known to be abandoned without guessing by their age.
"""

import errno
import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from threading import Lock

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


class Shared:
    """One process's part in a folder. Raises OSError when the folder cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.name = token_hex(6)
        """This process's name; no other ever has it."""
        self._threads = Lock()  # a lock on a file does not keep threads of one process apart
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._instances = folder / "processes"
        self._instances.mkdir(exist_ok=True)
        self._lock_fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        self._alive_fd = -1
        with self.locked():
            self._map = mapped(folder / "numbers", _SIZE)
            self._numbers = memoryview(self._map).cast("Q")
            self._alive_fd = os.open(self._instances / self.name, os.O_RDWR | os.O_CREAT, 0o600)
            _lock(self._alive_fd, wait=True)

    @property
    def purges(self) -> int:
        """The highest number of a purge that any process has written down."""
        return self._numbers[0]

    @property
    def generation(self) -> int:
        """How often the database was replaced by a new one."""
        return self._numbers[1]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all other processes out; for moments only. Not to be entered twice by one thread."""
        with self._threads:
            _lock(self._lock_fd, wait=True)
            try:
                yield
            finally:
                _unlock(self._lock_fd)

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
        """Return the names of the other processes that are alive, and forget those that are not."""
        alive = set()
        with self.locked():
            for path in self._instances.iterdir():
                if path.name != self.name and self._is_alive(path):
                    alive.add(path.name)
        return alive

    def _is_alive(self, path: Path) -> bool:
        fd = os.open(path, os.O_RDWR)
        try:
            if not _lock(fd, wait=False):
                return True
            path.unlink()
        except PermissionError:  # Windows does not remove what is open
            pass
        finally:
            os.close(fd)
        return False

    def close(self) -> None:
        """Leave the folder."""
        self._numbers.release()
        self._map.close()
        (self._instances / self.name).unlink(missing_ok=True)
        os.close(self._alive_fd)
        os.close(self._lock_fd)


def mapped(path: Path, size: int) -> mmap.mmap:
    """Map a file of so many bytes, zeros where it is new. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # Written, not only made longer: what is in no block yet cannot be written to when the disk is full.
        if os.fstat(fd).st_size < size and os.write(fd, bytes(size)) < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return mmap.mmap(fd, size)
    finally:
        os.close(fd)
