"""Draining under load: no request that was sent goes unanswered, and clients are told that their connection closes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, in_parts
from tests.support.client import Broken, Client
from tests.support.messages import request
from tests.support.processes import Running, await_that

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.origin import Origin

    Start = Callable[..., Running]


@pytest.fixture
def start(origin: Origin) -> Iterator[Start]:
    """Return a function that starts a proxy with these options and waits until it listens."""
    started: list[Running] = []

    def begin(**options: object) -> Running:
        started.append(Running(origin=origin.url, **options))
        started[-1].started()
        return started[-1]

    yield begin
    for running in started:
        running.close()


def is_refused(running: Running) -> bool:
    try:
        Client(running.address).close()
    except ConnectionError:
        return True
    return False


def ask_until_closed(running: Running, unanswered: list[str], answered: list[bool]) -> None:
    """Ask for a hit again and again; note whether the last answer announced the end, and what was not answered."""
    with Client(running.address) as client:
        while True:
            try:
                client.send(request("GET", "/hit"))
            except ConnectionError:
                unanswered.append("closed without being announced")
                return
            try:
                got = client.answer()
            except Broken as error:
                unanswered.append(str(error))
                return
            answered.append(got.status == 200)
            if got.get("Connection") == "close":
                return


@pytest.mark.parametrize("workers", [1, 2])
def test_every_request_that_was_sent_is_answered(origin: Origin, start: Start, workers: int) -> None:
    origin.on("/hit", answer(b"x" * 100, cache_control="max-age=60"))
    running = start(workers=workers)
    unanswered: list[str] = []
    answered: list[bool] = []
    clients = [threading.Thread(target=ask_until_closed, args=(running, unanswered, answered)) for _ in range(24)]
    for client in clients:
        client.start()
    await_that(lambda: len(answered) > 1000, "there is load")
    running.signal(signal.SIGTERM)
    for client in clients:
        client.join(20)
    assert unanswered == []
    assert all(answered)
    assert running.ended() == 0


def test_an_idle_connection_is_answered_once_more_and_told(origin: Origin, start: Start) -> None:
    origin.on("/hit", answer(b"stored", cache_control="max-age=60"))
    origin.on("/pass", answer(b"passed", cache_control="no-store"))
    running = start()
    one, two, three = (running.connect() for _ in range(3))
    for client in (one, two, three):
        assert client.get("/hit").get("Connection") is None
    running.signal(signal.SIGTERM)
    await_that(lambda: is_refused(running), "no connection is taken")
    for client, target in ((one, "/hit"), (two, "/pass")):
        got = client.get(target)
        assert (got.status, got["Connection"]) == (200, "close")
        assert client.is_ended()
    assert three.is_ended()  # it asked for nothing more
    assert running.ended() == 0


def test_pipelined_requests_are_all_answered_and_the_last_one_announces_the_end(origin: Origin, start: Start) -> None:
    within = origin.gate()
    origin.on("/slow", in_parts(b"first ", within, b"rest", cache_control="no-store"))
    origin.on("/hit", answer(b"stored", cache_control="max-age=60"))
    running = start()
    client = running.connect()
    client.send(request("GET", "/slow") + request("GET", "/hit") + request("GET", "/hit"))
    origin.await_requests(1)
    running.signal(signal.SIGTERM)
    await_that(lambda: is_refused(running), "no connection is taken")
    within.open()
    got = [client.answer() for _ in range(3)]
    assert [one.status for one in got] == [200, 200, 200]
    assert [one.get("Connection") for one in got] == [None, None, "close"]
    assert client.is_ended()


def test_a_reply_that_had_announced_nothing_is_followed_by_another(origin: Origin, start: Start) -> None:
    within = origin.gate()
    origin.on("/long", in_parts(b"first ", within, b"rest", cache_control="no-store"))
    origin.on("/hit", answer(b"stored", cache_control="max-age=60"))
    running = start()
    client = running.connect()
    client.send(request("GET", "/long"))
    head = client.head()
    assert head.get("Connection") is None
    assert client.read(6) == b"first "
    running.signal(signal.SIGTERM)
    await_that(lambda: is_refused(running), "no connection is taken")
    within.open()
    assert client.read(4) == b"rest"
    got = client.get("/hit")
    assert (got.status, got["Connection"]) == (200, "close")
    assert client.is_ended()


@pytest.mark.parametrize("workers", [1, 2])
def test_connections_that_wait_to_be_taken_are_answered(origin: Origin, start: Start, workers: int) -> None:
    origin.on("/hit", answer(b"stored", cache_control="max-age=60"))
    running = start(workers=workers)
    assert running.connect().get("/hit").status == 200
    for pid in running.workers or [running.process.pid]:
        os.kill(pid, signal.SIGSTOP)
    waiting = [running.connect() for _ in range(20)]
    for client in waiting:
        client.send(request("GET", "/hit"))
    running.signal(signal.SIGTERM)
    for pid in running.workers or [running.process.pid]:
        os.kill(pid, signal.SIGCONT)
    assert [client.answer().status for client in waiting] == [200] * 20


def test_idle_clients_keep_it_for_a_moment_only(origin: Origin, start: Start) -> None:
    origin.on("/hit", answer(b"stored", cache_control="max-age=60"))
    running = start(drain_timeout=60)
    client = running.connect()
    client.get("/hit")
    running.signal(signal.SIGTERM)
    client.socket.settimeout(5)
    assert client.is_ended()
    assert running.ended() == 0
