"""`--workers`: real processes that share a port, what ends them, and what happens when one dies."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, gated
from tests.support.client import Client
from tests.support.processes import Running, await_that, is_alive, owner_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.origin import Origin

    Start = Callable[..., Running]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes by /proc")


@pytest.fixture
def start(origin: Origin) -> Iterator[Start]:
    """Return a function that starts a proxy of two workers, unless an option says otherwise."""
    started: list[Running] = []

    def run(first: str = "", **options: object) -> Running:
        running = Running(first, **{"origin": origin.url, "workers": 2, **options})
        started.append(running)
        running.started()
        return running

    yield run
    for running in started:
        running.close()


def is_refused(running: Running) -> bool:
    """Say whether new connections are refused."""
    try:
        Client(running.address).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except ConnectionError:
        pass  # it was taken by a socket that is just being closed
    return False


def status_of_one(running: Running) -> int:
    """Ask once on a connection of its own, and return the status."""
    with Client(running.address) as client:
        return client.get("/").status


def test_all_workers_take_connections_of_one_port(origin: Origin, start: Start) -> None:
    origin.on("/", answer(b"x"))
    running = start(workers=3)
    each = running.connect_to_each()
    assert len(each) == 3
    assert [client.get("/").body for client in each.values()] == [b"x"] * 3
    assert running.errors == ""


def test_one_worker_is_a_single_process(origin: Origin, start: Start) -> None:
    origin.on("/", answer(b"x"))
    running = start(workers=1)
    assert running.workers == []
    assert running.connect().get("/").body == b"x"


def test_the_memory_is_divided(origin: Origin, start: Start) -> None:
    """An object takes half of a store at most: a quarter of the memory when there are two."""
    origin.on("/quarter", answer(bytes((1 << 20) - 8192), Cache_Control="max-age=60"))
    origin.on("/more", answer(bytes((1 << 20) + 8192), Cache_Control="max-age=60"))
    client = start(memory="4MiB").connect()
    assert [client.get("/quarter").x_cache for _ in range(2)] == ["MISS", "HIT"]
    assert [client.get("/more").x_cache for _ in range(2)] == ["MISS", "MISS"]


def test_a_killed_worker_is_replaced_while_the_port_is_served(origin: Origin, start: Start) -> None:
    origin.on("/", answer(b"x", Cache_Control="max-age=60"))
    running = start()
    before = running.workers
    os.kill(before[0], signal.SIGKILL)
    await_that(lambda: not is_alive(before[0]), "the killed one is gone")
    while len(now := running.workers) < 2:
        assert status_of_one(running) == 200
    assert before[1] in now
    assert before[0] not in now
    running.connect_to_each()
    assert re.fullmatch(
        rf"springhouse: worker [12] \(process {before[0]}\) was ended by SIGKILL; another one is started in 0.5 s\n",
        running.errors,
    )


def test_a_worker_that_gets_sigterm_drains_and_is_replaced(origin: Origin, start: Start) -> None:
    gate = origin.gate()
    origin.on("/", gated(gate, answer(b"x")))
    running = start()
    victim, client = next(iter(running.connect_to_each().items()))
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    origin.await_requests(1)
    os.kill(victim, signal.SIGTERM)
    gate.open()
    assert client.answer().body == b"x"
    await_that(lambda: len(running.workers) == 2 and victim not in running.workers, "it is replaced")
    assert "ended; another one is started in 0.5 s" in running.errors


def filled(running: Running) -> list[Client]:
    """Return a connection to each worker, all of which have / stored."""
    clients = list(running.connect_to_each().values())
    for client in clients:
        client.get("/")
        assert client.get("/").x_cache == "HIT"
    return clients


@pytest.mark.parametrize("store", ["memory", "disk"])
def test_a_purge_holds_in_all_workers_once_it_is_answered(
    origin: Origin, start: Start, store: str, tmp_path: Path
) -> None:
    origin.on("/", answer(b"x", Cache_Control="max-age=60"))
    first, *others = filled(start(workers=3, token="t", store=f"disk:{tmp_path}" if store == "disk" else store))
    receipt = json.loads(first.ask("POST", "/.springhouse/purge", b'{"url": "/"}', authorization="Bearer t").body)
    assert (receipt["entries"], receipt["processes"]) == (3 if store == "memory" else 1, 3)
    origin.on("/", answer(b"new", Cache_Control="max-age=60"))
    assert [client.get("/").body for client in (*others, first)] == [b"new"] * 3


@pytest.mark.parametrize("classic", [False, True])
def test_an_unsafe_request_invalidates_in_all_workers(origin: Origin, start: Start, classic: bool) -> None:
    origin.on("/", answer(b"x", Cache_Control="max-age=60"))
    first, second = filled(start("import os; os.environ['SPRINGHOUSE_CLASSIC'] = '1'" if classic else ""))
    first.ask("PUT", "/", b"y")
    assert [client.get("/").x_cache for client in (second, first)] == ["MISS"] * 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_all_workers(origin: Origin, start: Start, number: signal.Signals) -> None:
    gate = origin.gate()
    origin.otherwise = gated(gate, answer(b"x"))
    running = start()
    clients = list(running.connect_to_each().values())
    for at, client in enumerate(clients):
        client.send(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % at)
    origin.await_requests(len(clients))
    running.signal(number)
    await_that(lambda: is_refused(running), "no connection is taken any more")
    gate.open()
    assert [client.answer().body for client in clients] == [b"x"] * len(clients)
    assert running.ended() == 0
    assert running.errors == ""


def test_a_terminal_interrupts_all_processes_and_they_drain(origin: Origin, start: Start) -> None:
    gate = origin.gate()
    origin.on("/", gated(gate, answer(b"x")))
    running = start()
    client = running.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    origin.await_requests(1)
    os.killpg(running.process.pid, signal.SIGINT)
    await_that(lambda: is_refused(running), "no connection is taken any more")
    gate.open()
    assert client.answer().body == b"x"
    assert running.ended() == 0
    assert running.errors == ""


def test_what_takes_longer_than_the_drain_timeout_is_broken_off(origin: Origin, start: Start) -> None:
    origin.on("/", gated(origin.gate(), answer(b"x")))
    running = start(drain_timeout=0.2)
    running.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    origin.await_requests(1)
    running.signal(signal.SIGTERM)
    assert running.ended() == 0
    assert running.errors == "springhouse: 1 connections were broken off after 0.2 s\n"


def test_a_worker_that_does_not_end_is_killed(start: Start) -> None:
    running = start("from springhouse.server import supervisor; supervisor.LATE_S = 0.5", drain_timeout=0)
    stopped = running.workers[0]
    os.kill(stopped, signal.SIGSTOP)
    running.signal(signal.SIGTERM)
    assert running.ended() == 0
    assert f"(process {stopped}) did not end in time and was killed" in running.errors


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_all_at_once(origin: Origin, start: Start, second: signal.Signals, tmp_path: Path) -> None:
    origin.on("/", gated(origin.gate(), answer(b"x")))
    running = start(unix_socket=tmp_path / "socket")
    running.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    origin.await_requests(1)
    running.signal(signal.SIGTERM)
    await_that(lambda: is_refused(running), "it drains")
    running.signal(second)
    assert running.ended() == -second
    assert not (tmp_path / "socket").exists()


def test_workers_drain_when_their_supervisor_is_killed(origin: Origin, start: Start) -> None:
    gate = origin.gate()
    origin.on("/", gated(gate, answer(b"x")))
    running = start()
    client = running.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    origin.await_requests(1)
    running.signal(signal.SIGKILL)
    await_that(lambda: is_refused(running), "no connection is taken any more")
    gate.open()
    assert client.answer().body == b"x"
    assert running.ended() == -signal.SIGKILL


def test_workers_may_share_one_listening_socket(origin: Origin, start: Start) -> None:
    """As they do where the kernel deals nothing out. Who is quickest takes a connection."""
    origin.on("/", answer(b"x", Cache_Control="max-age=60"))
    running = start("from springhouse import endpoint; endpoint.deals_connections_out = lambda: False")
    stopped, left = running.workers
    os.kill(stopped, signal.SIGSTOP)
    client = running.connect()
    assert client.get("/").body == b"x"
    assert owner_of(client, [left]) == left
    os.kill(left, signal.SIGKILL)
    os.kill(stopped, signal.SIGCONT)
    assert status_of_one(running) == 200
    await_that(lambda: len(running.workers) == 2, "it is replaced")
    running.signal(signal.SIGTERM)
    assert running.ended() == 0
    assert is_refused(running)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_taken_port_is_found_out(origin: Origin, start: Start, workers: int) -> None:
    port = start(workers=workers).address[1]
    for rivals in (1, 2):
        with Running(origin=origin.url, workers=rivals, port=port) as rival:
            assert rival.ended() == 2
            assert rival.errors == (
                f"springhouse: Port {port} is taken: something already listens on 127.0.0.1:{port}. "
                "Choose another with --port, or stop it.\n"
            )


def test_the_port_stays_taken_while_all_workers_are_dead(start: Start) -> None:
    running = start()
    for pid in running.workers:
        os.kill(pid, signal.SIGKILL)
    await_that(lambda: not running.workers, "all are dead")
    with socket.socket() as rival:
        rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="already in use"):
            rival.bind(running.address)


def test_a_port_may_be_listened_on_again_at_once(origin: Origin, start: Start) -> None:
    origin.on("/", answer(b"x"))
    port: object = 0
    for workers in (1, 2, 1):
        running = start(workers=workers, port=port)
        port = running.address[1]
        assert status_of_one(running) == 200
        running.signal(signal.SIGTERM)
        assert running.ended() == 0


def test_workers_that_cannot_start_are_an_error(origin: Origin, tmp_path: Path) -> None:
    log = tmp_path / "none" / "log"
    with Running(origin=origin.url, workers=2, access_log=log) as running:
        assert running.ended() == 2
        assert running.errors == f"springhouse: Cannot write the access log {log}: No such file or directory\n"


def test_workers_share_a_unix_socket(origin: Origin, start: Start, tmp_path: Path) -> None:
    origin.on("/", answer(b"x", Cache_Control="max-age=60"))
    path = tmp_path / "socket"
    running = start(unix_socket=path)
    assert running.address == str(path)
    victim = running.workers[0]
    os.kill(victim, signal.SIGTERM)
    await_that(lambda: not is_alive(victim), "one has drained")
    assert status_of_one(running) == 200
    await_that(lambda: len(running.workers) == 2, "it is replaced")
    running.signal(signal.SIGTERM)
    assert running.ended() == 0
    assert not path.exists()


def test_workers_append_whole_lines_to_one_access_log(origin: Origin, start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    origin.otherwise = answer(b"x", Cache_Control="max-age=60")
    running = start(access_log=log)
    clients = running.connect_to_each().values()
    for _ in range(500):
        for client in clients:
            client.get("/" + "long" * 100)
    running.signal(signal.SIGTERM)
    assert running.ended() == 0
    lines = log.read_text().splitlines()
    assert len(lines) == 500 * len(clients)
    assert {(line.count("HTTP/1.1"), line.split('"')[1]) for line in lines} == {(1, f"GET /{'long' * 100} HTTP/1.1")}


def test_flags_are_passed_on(origin: Origin, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker is told wins over its environment, which is the supervisor's."""
    monkeypatch.setenv("CACHE_TTL", "7")
    origin.on("/", answer(b"x"))
    client = start(ttl=60).connect()
    client.get("/")
    assert "ttl=60" in (client.get("/").get("Cache-Status") or "")
