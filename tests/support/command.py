"""The installed commands, run as a user runs them: `springhouse` and `caching-proxy`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sysconfig
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.client import Address, Client

if TYPE_CHECKING:
    from types import TracebackType

    from tests.support.messages import Answer

PATIENCE_S = 20.0
SCRIPTS = Path(sysconfig.get_path("scripts"))


def tool(*names: str) -> str:
    """Return the path of a program that this machine may not have; without it the test is skipped, or fails in CI."""
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        missing = f"{' or '.join(names)} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return found


class Ran:
    """What a command that has ended said. `errors` is standard error without the colours and lines of its frame."""

    def __init__(self, status: int, output: str, errors: str) -> None:
        self.status = status
        self.output = output
        self.errors = errors


class Command:
    """A command that runs. `lines` are those of its standard output so far, `errors` those of standard error."""

    def __init__(self, *arguments: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
        name, *rest = map(str, arguments)
        self.process = subprocess.Popen(
            [SCRIPTS / name, *rest],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **(env or {})},
            start_new_session=True,
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=into.extend, args=(stream,), daemon=True)
            for stream, into in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Command:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def await_line(self, pattern: str) -> re.Match[str]:
        """Wait for a line of standard output that the pattern is found in; return what was found."""
        end = time.monotonic() + PATIENCE_S
        while True:
            found = next((found for line in self.lines if (found := re.search(pattern, line))), None)
            if found:
                return found
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(f"no line with {pattern!r}: {self.lines} {self.errors}")
            time.sleep(0.01)

    @property
    def address(self) -> Address:
        """Wait until it says where it listens, and return that."""
        found = self.await_line(r"listens on (?:http://\[?([^/\]]+)\]?:(\d+)|(/\S+))")
        return found[3] or (found[1], int(found[2]))

    def connect(self) -> Client:
        """Return a new connection to where it listens."""
        return Client(self.address)

    def get(self, target: str, **fields: object) -> Answer:
        """GET on a connection of its own."""
        with self.connect() as client:
            return client.get(target, **fields)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ended(self) -> Ran:
        """Wait until it ends, and return what it said."""
        status = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        return Ran(status, "".join(self.lines), "".join(self.errors))

    def close(self) -> None:
        """End it at once."""
        self.process.kill()
        self.ended()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()


def run(*arguments: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> Ran:
    """Run a command to its end."""
    with Command(*arguments, env=env, cwd=cwd) as command:
        return command.ended()
