"""Clients that ask for much and read nothing: what they cost in memory, and what others notice of them."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer
from tests.support.client import Client
from tests.support.command import Command
from tests.support.memory import resident
from tests.support.messages import request
from tests.support.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
SIZE = 50 * MIB
COUNT = 60
PER_CLIENT = MIB
"""Bytes that a client which does not read may cost at most, with all that belongs to its connection."""


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        body = bytes(range(256)) * (SIZE // 256)
        origin.on("/large", answer(body, cache_control="max-age=600", etag='"1"'))
        origin.on("/chunked", answer(body, framing="chunked", cache_control="max-age=600", etag='"1"'))
        origin.on("/small", answer(b"small", cache_control="max-age=600"))
        yield origin


def worker_of(command: Command) -> int:
    """Return the process that answers: the command, or the one that it has forked for that."""
    pid = command.process.pid
    forked = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(forked[0]) if forked else pid


def slowest_of(port: int, count: int = 40) -> float:
    """Return how many seconds the slowest of some hits took that came one after the other."""
    slowest = 0.0
    with Client(("127.0.0.1", port)) as client:
        for _ in range(count):
            began = time.perf_counter()
            assert client.get("/small").body == b"small"
            slowest = max(slowest, time.perf_counter() - began)
    return slowest


ASKED = {
    "from the second byte on": {"range": "bytes=1-"},
    "the last half": {"range": f"bytes=-{SIZE // 2}"},
    "if it is the same": {"range": "bytes=1-", "if_range": '"1"'},
    "all": {},
}


@pytest.mark.parametrize("frontend", ["native", "fastapi", "flask"])
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("target", ["/large", "/chunked"])
def test_clients_that_do_not_read(origin: Origin, frontend: str, asked: str, target: str) -> None:
    check(origin, ASKED[asked], target, "--frontend", frontend)


@pytest.mark.parametrize("frontend", ["native", "fastapi"])
def test_clients_that_do_not_read_from_disk(origin: Origin, frontend: str, tmp_path: Path) -> None:
    check(origin, ASKED["from the second byte on"], "/large", "--frontend", frontend, "--store", f"disk:{tmp_path}")


def test_clients_that_do_not_read_and_speak_http_1_0(origin: Origin) -> None:
    check(origin, {"version": "1.0"}, "/large")


def check(origin: Origin, asked: dict[str, str], target: str, *options: str) -> None:
    """Let many clients ask and not read; see what that costs the proxy, and another client."""
    with Command("springhouse", "serve", "--origin", origin.url, "--port", "0", *options) as command:
        port = int(command.await_line(r"http://127\.0\.0\.1:(\d+)")[1])
        with Client(("127.0.0.1", port), timeout=60) as client:
            for _ in range(3):
                assert len(client.get(target).body) == SIZE
                client.get("/small")
        pid = worker_of(command)
        before = resident(pid)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Client(("127.0.0.1", port), receive_buffer=32 * 1024)) for _ in range(COUNT)]
            for client in clients:
                client.send(request("GET", target, **asked))
            slowest = slowest_of(port)
            for client in clients:
                client.read(1)
            grown = resident(pid) - before
            print(f"{grown / MIB:.0f} MiB for {COUNT} clients; another's slowest hit took {1000 * slowest:.0f} ms")
            assert grown < COUNT * PER_CLIENT
            assert slowest < 1.0


@pytest.mark.parametrize("frontend", ["native", "fastapi", "flask"])
def test_clients_that_do_not_read_envelopes(origin: Origin, frontend: str) -> None:
    """Of documents of 30 MiB, while they are fetched and when they are stored."""
    document = b"[" + b",".join(b'{"id":%d,"name":"abc","is":true}' % i for i in range(900_000)) + b"]"
    origin.on("/document", answer(document, content_type="application/json"))
    target = "/proxy?url=document"
    with Command(
        "springhouse", "serve", "--origin", origin.url, "--port", "0", "--classic", "--frontend", frontend
    ) as command:
        port = int(command.await_line(r"http://127\.0\.0\.1:(\d+)")[1])
        pid = worker_of(command)
        slowest_of(port, 3)
        before = resident(pid)
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                clients = [
                    stack.enter_context(Client(("127.0.0.1", port), receive_buffer=32 * 1024)) for _ in range(20)
                ]
                for client in clients:
                    client.send(request("GET", target))
                slowest = slowest_of(port)
                for client in clients:
                    client.read(1)
                grown = resident(pid) - before
                print(f"{grown / MIB:.0f} MiB; another's slowest hit took {1000 * slowest:.0f} ms")
                assert grown < 5 * len(document) + 40 * PER_CLIENT
                assert slowest < 1.0
