"""The proxy as users run it, in processes of its own, and what the system says of processes and connections."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.client import Address, Client

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

PATIENCE_S = 20.0
"""How long anything may take that several processes have to do."""
_SERVE = "from springhouse.cli.main import main; main()"


class Running:
    """`springhouse serve` as a process. Keyword arguments are its options; the port is a free one.

    `first` is Python that is run in the process before anything else.
    """

    def __init__(self, first: str = "", **options: object) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._clients: list[Client] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{first}\n{_SERVE}", "serve", *as_flags({"port": 0, **options})],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        self._seen: set[int] = set()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # Starting.

    def started(self) -> str:
        """Wait for the start line, and return where it says that the proxy listens."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        assert ready, f"no start line: {self.errors}"
        line = self.process.stdout.readline().decode()
        assert " listens on " in line, f"{line!r}; {self.errors}"
        where = line.split(" listens on ")[1].split(" ")[0]
        self.address: Address = where
        if where.startswith("http://"):
            host, _, port = where.removeprefix("http://").rpartition(":")
            self.address = (host, int(port))
        self._seen.update(self.workers)
        return where

    def connect(self) -> Client:
        """Return a new connection; it is closed at the end at the latest."""
        client = Client(self.address)
        self._clients.append(client)
        return client

    def await_heard(self) -> None:
        """Wait until the proxy has taken all connections and read what came over them."""
        await_that(lambda: _is_all_read(int(self.address[1])), "all that was sent is read")

    def connect_to_each(self) -> dict[int, Client]:
        """Return a connection to each worker, by process id."""
        workers = self.workers
        found: dict[int, Client] = {}
        for _ in range(200):
            client = self.connect()
            found.setdefault(owner_of(client, workers), client)
            if len(found) == len(workers):
                return found
        raise AssertionError(f"connections came to {list(found)} of {workers} only")

    # Looking.

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers."""
        found = children_of(self.process.pid)
        self._seen.update(found)
        return found

    @property
    def errors(self) -> str:
        """What was written to standard error so far."""
        self._errors.seek(0)
        return self._errors.read().decode()

    # Ending.

    def signal(self, number: signal.Signals) -> None:
        """Send the process we started a signal, and none to its workers."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait until it has ended, and all of its workers; return its exit status."""
        status = self.process.wait(PATIENCE_S)
        await_that(lambda: not any(is_alive(pid) for pid in self._seen), "all workers have gone")
        return status

    def close(self) -> None:
        """End everything at once."""
        for client in self._clients:
            client.close()
        pids = {*self._seen, *self.workers}
        self.process.kill()
        for pid in pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._errors.close()


def as_flags(options: dict[str, object]) -> list[str]:
    """Return options as a command line has them."""
    flags: list[str] = []
    for name, value in options.items():
        flags += ["--" + name.replace("_", "-"), str(value)]
    return flags


def control_socket_of(address: Address) -> str:
    """Return the path of the control socket of a proxy that listens on an address."""
    found = [*Path(os.environ["XDG_RUNTIME_DIR"]).rglob("*.sock")]
    name = f":{address[1]}.sock" if isinstance(address, tuple) else ".sock"
    (path,) = [path for path in found if path.name.endswith(name)]
    return str(path)


def await_that(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"it never came to that: {what}"
        time.sleep(0.01)


def children_of(pid: int) -> list[int]:
    """Return the living children of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has ended just now
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def owner_of(client: Client, pids: list[int]) -> int:
    """Wait until one of the processes has taken a TCP connection, and return which."""
    ours, theirs = client.socket.getsockname()[1], client.socket.getpeername()[1]
    owners: list[int] = []

    def is_taken() -> bool:
        owners.extend(_holders(_inode(local=theirs, remote=ours), pids))
        return bool(owners)

    await_that(is_taken, "a worker takes the connection")
    return owners[0]


def _inode(*, local: int, remote: int) -> str:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[1].endswith(f":{local:04X}") and columns[2].endswith(f":{remote:04X}"):
            return columns[9]
    return "0"


def _is_all_read(port: int) -> bool:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, queues, *_, inode = line.split()[:10]
        if local.endswith(f":{port:04X}") and state == "01" and (inode == "0" or not queues.endswith(":00000000")):
            return False
    return True


def _holders(inode: str, pids: list[int]) -> list[int]:
    if inode == "0":
        return []
    return [pid for pid in pids if f"socket:[{inode}]" in _descriptors(pid)]


def _descriptors(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            found.append(os.readlink(link))
        except OSError:
            continue
    return found
