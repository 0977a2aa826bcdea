"""Clients that read slowly what is no longer stored: all of them together hold no more than the budget."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer
from tests.support.client import Client
from tests.support.command import Command
from tests.support.memory import resident
from tests.support.messages import request
from tests.support.origin import Origin
from tests.torture.test_large_replies import MIB, PER_CLIENT, slowest_of, worker_of

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 40
SIZE = 10 * MIB
BUDGET = 64 * MIB
DOCUMENT = b"[" + b",".join([b'"%s"' % (b"x" * 1000)] * (SIZE // 1003)) + b"]"


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        origin.on("/small", answer(b"small", cache_control="max-age=600"))
        for number in range(COUNT):
            origin.on(f"/{number}", answer(DOCUMENT, cache_control="max-age=600", content_type="application/json"))
        yield origin


@pytest.mark.parametrize("is_stored", [False, True], ids=["fetched by them", "stored before"])
@pytest.mark.parametrize("target", ["/%d", "/proxy?url=%d"])
@pytest.mark.parametrize("frontend", ["native", "fastapi", "flask"])
def test_clients_that_do_not_read_what_has_been_evicted(
    origin: Origin, frontend: str, target: str, is_stored: bool
) -> None:
    options = ["--memory", str(BUDGET), "--classic", "--frontend", frontend]
    with Command("springhouse", "serve", "--origin", origin.url, "--port", "0", *options) as command:
        port = int(command.await_line(r"http://127\.0\.0\.1:(\d+)")[1])
        with Client(("127.0.0.1", port), timeout=60) as client:
            assert len(client.get(target % 0).body) >= len(DOCUMENT)
            client.get("/small")
        pid = worker_of(command)
        before = resident(pid)
        with contextlib.ExitStack() as stack:
            for number in range(COUNT):
                if is_stored:
                    with Client(("127.0.0.1", port), timeout=60) as client:
                        client.get(target % number)
                slow = stack.enter_context(Client(("127.0.0.1", port), receive_buffer=32 * 1024, timeout=60))
                slow.send(request("GET", target % number))
                slow.read(1)
            slowest = slowest_of(port)
            grown = resident(pid) - before
            print(f"{grown / MIB:.0f} MiB for {COUNT} clients; another's slowest hit took {1000 * slowest:.0f} ms")
            assert grown < BUDGET + COUNT * PER_CLIENT + 3 * len(DOCUMENT)
            assert slowest < 1.0
