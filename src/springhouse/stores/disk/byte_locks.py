"""Locks on single bytes of a few files, by which the processes of this machine exclude one another.

A lock costs one system call, which never waits, and the kernel gives it up however its process ends. It looks through
the locks of a file one by one, so they are spread over several. The files have no content.
"""

import os
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from struct import Struct
from typing import Final

_FILES: Final = 16
OFFSET_BITS: Final = 62
"""Offsets of bytes are less than 2 to the power of this."""


class ByteLocks(ABC):
    """The locks of one process. All methods raise OSError where they do not work."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._fds: list[int] = []
        try:
            for number in range(_FILES):
                self._fds.append(os.open(folder / f"{number:x}", os.O_RDWR | os.O_CREAT, 0o600))
        except OSError:
            self.close()
            raise

    def _file_of(self, at: int) -> int:
        return self._fds[at % _FILES]

    @abstractmethod
    def take(self, at: int) -> bool:
        """Lock a byte that this process has not locked; False when another process has."""

    @abstractmethod
    def is_taken(self, at: int) -> bool:
        """Return whether another process has locked a byte; not to be asked about one's own."""

    @abstractmethod
    def give_up(self, at: int) -> None:
        """Unlock a byte."""

    def close(self) -> None:
        """Unlock everything."""
        fds, self._fds = self._fds, []
        for fd in fds:
            os.close(fd)


if sys.platform != "win32":
    import fcntl

    class ProcessLocks(ByteLocks):
        """Locks as POSIX has them: they exclude other processes, but not this one."""

        def take(self, at: int) -> bool:
            return self._try(fcntl.LOCK_EX, at)

        def is_taken(self, at: int) -> bool:
            if not self._try(fcntl.LOCK_SH, at):
                return True
            self.give_up(at)
            return False

        def give_up(self, at: int) -> None:
            fcntl.lockf(self._file_of(at), fcntl.LOCK_UN, 1, at)

        def _try(self, kind: int, at: int) -> bool:
            try:
                fcntl.lockf(self._file_of(at), kind | fcntl.LOCK_NB, 1, at)
            except (BlockingIOError, PermissionError):  # POSIX leaves open which
                return False
            return True


if sys.platform == "linux":
    _FLOCK: Final = Struct("hhqqi0q")

    class OpenFileLocks(ByteLocks):
        """Locks that belong to the open file: they exclude another user of the folder in this process as well."""

        def take(self, at: int) -> bool:
            try:
                self._do(fcntl.F_OFD_SETLK, fcntl.F_WRLCK, at)
            except (BlockingIOError, PermissionError):
                return False
            return True

        def is_taken(self, at: int) -> bool:
            return self._do(fcntl.F_OFD_GETLK, fcntl.F_WRLCK, at) != fcntl.F_UNLCK

        def give_up(self, at: int) -> None:
            self._do(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, at)

        def _do(self, command: int, kind: int, at: int) -> int:
            found = fcntl.fcntl(self._file_of(at), command, _FLOCK.pack(kind, os.SEEK_SET, at, 1, 0))
            answer: int = _FLOCK.unpack(found)[0]
            return answer

    def byte_locks(folder: Path) -> ByteLocks:
        """Return the locks of this system, in files of a folder. Raises OSError where there are none."""
        return OpenFileLocks(folder)
elif sys.platform != "win32":

    def byte_locks(folder: Path) -> ByteLocks:
        return ProcessLocks(folder)
else:

    def byte_locks(folder: Path) -> ByteLocks:
        raise OSError(f"no locks on bytes on this system, in {folder}")
