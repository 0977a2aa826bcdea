"""A node: the proxy as users start it, in a process of its own, and questions to it that tests ask again and again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.client import Client
from tests.support.processes import PATIENCE_S, Running, control_socket_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.messages import Answer

ROOT = Path(__file__).resolve().parents[2]
SPRINGHOUSE = ("-c", "from springhouse.cli.main import main; main()", "serve")
CACHING_PROXY = ("-c", "from springhouse.cli.main import caching_proxy; caching_proxy()")


def flags_of(options: dict[str, object]) -> list[str]:
    """Return options as a command line has them; True stands for a flag without a value."""
    flags: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        flags += [flag] if value is True else [flag, str(value)]
    return flags


class Node(Running):
    """A running proxy. `command`: what Python runs; keyword arguments are its options; the port is a free one."""

    def __init__(self, *command: str, env: dict[str, str] | None = None, **options: object) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._clients = []
        self.process = subprocess.Popen(
            [sys.executable, *(command or SPRINGHOUSE), *flags_of({"port": 0, **options})],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
        )
        self._seen = set()

    # Asking.

    def ask(self, method: str, target: str, body: bytes | None = None, **fields: object) -> Answer:
        """Send one request on a connection of its own."""
        with Client(self.address) as client:
            return client.ask(method, target, body, **fields)

    def get(self, target: str, **fields: object) -> Answer:
        """GET on a connection of its own."""
        return self.ask("GET", target, **fields)

    def fill(self, target: str, **fields: object) -> Answer:
        """GET until it is a hit, and return that."""
        end = time.monotonic() + PATIENCE_S
        while (found := self.get(target, **fields)).x_cache != "HIT":
            assert time.monotonic() < end, f"{target} is never stored: {found}; {self.errors}"
            time.sleep(0.01)
        return found

    def control(self, method: str, target: str, body: bytes | None = None, **fields: object) -> Answer:
        """Send one request over the control socket."""
        with Client(control_socket_of(self.address)) as client:
            return client.ask(method, target, body, **{"host": "localhost", **fields})

    def purge(self, **order: object) -> dict[str, Any]:
        """Purge over the control socket, and return the receipt."""
        found = self.control("POST", "/.springhouse/purge", json.dumps(order).encode())
        assert found.status == 200, found.body
        receipt: dict[str, Any] = json.loads(found.body)
        return receipt

    # Ending.

    def kill(self) -> None:
        """kill -9, of the process that was started and of its workers."""
        for pid in [*self.workers, self.process.pid]:
            os.kill(pid, 9)
        self.process.wait(PATIENCE_S)

    @property
    def resident(self) -> int:
        """Bytes of memory that the process occupies."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return 1024 * int(line.split()[1])
        raise AssertionError("it has ended")


class Load:
    """Threads that do the same thing over and over, until the block ends; what they raise is raised there."""

    def __init__(self, work: Callable[[], object], *, threads: int = 4) -> None:
        self.done = 0
        self.wrong: list[BaseException] = []
        self._work = work
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *how: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        if how[0] is None:
            assert not self.wrong, self.wrong[:3]
            assert self.done, "there was no load"

    def _run(self) -> None:
        while not self._is_over.is_set() and not self.wrong:
            try:
                self._work()
            except BaseException as error:
                self.wrong.append(error)
            else:
                self.done += 1


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Do something in so many threads at once, and return what came of each."""
    results: list[Any] = [None] * count

    def run(at: int) -> None:
        try:
            results[at] = work(at)
        except BaseException as error:
            results[at] = error

    threads = [threading.Thread(target=run, args=(at,), daemon=True) for at in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    return results


def command(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end: `springhouse …` or `caching-proxy …`."""
    name, *rest = arguments
    code = {"springhouse": SPRINGHOUSE[1], "caching-proxy": CACHING_PROXY[1]}[name]
    return subprocess.run(
        [sys.executable, "-c", code, *rest],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", **(env or {})},
        check=False,
    )
