"""Another process on a folder: does what it is told line by line, and says what came of it.

`put KEY TEXT`, `get KEY`, `purge KEY`, `told` (how many purges it was told of), `flush`; `acquire KEY`, `wait KEY`,
`release KEY VERDICT`, of leases.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import monotonic

from tests.stores.backends import Loop, content_of, layered_disk, make_entry

from springhouse.rules.purging import Keys, Purge
from springhouse.stores.disk import byte_locks
from springhouse.stores.disk import leases as disk_leases
from springhouse.stores.leases import Lease, LockStatus

ROOT = Path(__file__).resolve().parents[2]
LOCKS = {"own": byte_locks.byte_locks, "process": byte_locks.ProcessLocks}


def main(folder: Path, locks: str = "own") -> None:
    loop = Loop()
    disk_leases.byte_locks = LOCKS[locks]
    held: dict[bytes, Lease] = {}
    subject = layered_disk(folder, loop, 50_000_000)
    told: list[object] = []
    subject.store.on_foreign_purge = told.append
    print("ready", flush=True)
    for line in sys.stdin:
        what, *words = line.encode().split()
        answer = ""
        if what == b"put":
            subject.put(make_entry(words[0], words[1]))
        elif what == b"get":
            found = subject.lookup(words[0])
            answer = content_of(found[0], loop).decode() if found else "-"
        elif what == b"purge":
            answer = str(subject.purge(Purge(Keys((words[0],)))).keys)
        elif what == b"told":
            answer = str(len(told))
        elif what == b"acquire":
            acquired = subject.tier.leases.acquire(words[0], b"", print, since=monotonic())
            answer = "lease" if isinstance(acquired, Lease) else acquired.value
            if isinstance(acquired, Lease):
                held[words[0]] = acquired
        elif what == b"wait":
            outcome: list[LockStatus] = []
            subject.tier.leases.wait(words[0], b"", outcome.append)
            print("waiting", flush=True)
            loop.until(lambda outcome=outcome: outcome)
            answer = outcome[0].value
        elif what == b"release":
            subject.tier.leases.release(held.pop(words[0]), LockStatus(words[1].decode()))
        elif what == b"flush":
            loop.result(lambda done: subject.tier.flush(lambda: done(None)))
        print(answer, flush=True)
    subject.close()


class Neighbour:
    """That process, seen from the test."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.stores.neighbour", *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def __call__(self, command: str) -> str:
        self.tell(command)
        return self.answer()

    def tell(self, command: str) -> None:
        """Have it begin something."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        """Return what came of it."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.communicate(timeout=20)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.communicate(timeout=20)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
