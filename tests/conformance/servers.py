"""Owns the servers of a conformance run: a port for each, a start that waits for answers, an end that is certain."""

from __future__ import annotations

import http.client
import os
import shlex
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_SECONDS, STOP_SECONDS = 20, 5


class NoRunError(Exception):
    """The suite could not be run to its end; says why, for people."""


def free_ports(count: int) -> list[int]:
    """Return different loopback ports that nothing listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def serving(command: list[str], port: int, folder: Path, env: dict[str, str]) -> Iterator[None]:
    """Run a server in a process group of its own until the block ends; enter once it answers HTTP on `port`."""
    log = folder / f"{port}.log"
    with log.open("wb") as out:
        try:
            process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env=env, start_new_session=True)
        except OSError as error:
            raise NoRunError(f"cannot start {command[0]}: {error}") from error
    try:
        await_answer(process, port, command, log)
        yield
    finally:
        stop(process)


def await_answer(process: subprocess.Popen[bytes], port: int, command: list[str], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/is-it-up")
            connection.getresponse().read()
            return
        connection.close()
        time.sleep(0.1)
    state = "is silent" if process.poll() is None else f"ended with status {process.returncode}"
    raise NoRunError(f"{shlex.join(command)} {state}:\n{log.read_text(errors='replace')[-3000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group: politely, then for certain."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
