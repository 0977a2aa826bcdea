"""How a running proxy ends: what is under way is finished, nothing new is taken, and not for ever."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, gated, in_parts
from tests.support.client import Broken, Client
from tests.support.command import Command
from tests.support.messages import request

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.origin import Origin

    Start = Callable[..., Command]


@pytest.fixture
def start(origin: Origin) -> Iterator[Start]:
    """Return a function that starts a proxy in front of the origin, with these options, and waits for it."""
    started: list[Command] = []

    def begin(*options: object) -> Command:
        command = Command("springhouse", "serve", "--origin", origin.url, "--port", 0, *options)
        started.append(command)
        assert command.address
        return command

    yield begin
    for command in started:
        command.close()


def await_refusal(command: Command) -> None:
    """Wait until no new connection is taken."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            command.connect().close()
        except ConnectionError:
            return
        time.sleep(0.01)
    raise AssertionError("it still takes connections")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_under_way_is_finished_and_nothing_new_is_taken(
    origin: Origin, start: Start, number: signal.Signals
) -> None:
    before, within = origin.gate(), origin.gate()
    origin.on("/before", gated(before, answer(b"x" * 100_000, cache_control="no-store")))
    origin.on("/within", in_parts(b"first ", within, b"rest", cache_control="max-age=60"))
    command = start()
    with command.connect() as idle, command.connect() as one, command.connect() as two:
        one.send(request("GET", "/before"))
        two.send(request("GET", "/within"))
        assert two.head()["Content-Length"] == "10"
        origin.await_requests(2)
        command.signal(number)
        assert idle.is_ended()
        await_refusal(command)
        before.open()
        got = one.answer()
        assert (len(got.body), got["Connection"]) == (100_000, "close")
        assert one.is_ended()
        within.open()
        assert two.read(10) == b"first rest"
        assert two.is_ended()
        ended = command.ended()
    assert (ended.status, ended.errors) == (0, "")


def test_with_nothing_under_way_it_ends_at_once(start: Start) -> None:
    command = start()
    with command.connect(), command.connect():
        began = time.monotonic()
        command.signal(signal.SIGTERM)
        assert command.ended().status == 0
        assert time.monotonic() - began < 2


def test_what_takes_too_long_is_broken_off(origin: Origin, start: Start) -> None:
    gate = origin.gate()
    origin.on("/a", in_parts(b"first ", gate, b"rest"))
    command = start("--drain-timeout", "0.3")
    with command.connect() as client:
        client.send(request("GET", "/a"))
        client.head()
        command.signal(signal.SIGTERM)
        with pytest.raises(Broken):
            client.read(10)
        ended = command.ended()
    gate.open()
    assert (ended.status, ended.errors) == (0, "springhouse: 1 connections were broken off after 0.3 s\n")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_wait(origin: Origin, start: Start, second: signal.Signals) -> None:
    gate = origin.gate()
    origin.on("/a", gated(gate, answer(b"x")))
    command = start()
    with command.connect() as client:
        client.send(request("GET", "/a"))
        origin.await_requests(1)
        command.signal(signal.SIGTERM)
        await_refusal(command)
        command.signal(second)
        began = time.monotonic()
        assert command.ended().status != 0
        assert time.monotonic() - began < 2
    gate.open()


def test_the_socket_goes_with_the_process(origin: Origin, tmp_path: Path) -> None:
    where = tmp_path / "proxy.socket"
    with Command("springhouse", "serve", "--origin", origin.url, "--unix-socket", where) as command:
        assert command.address == str(where)
        command.signal(signal.SIGTERM)
        assert command.ended().status == 0
    assert not where.exists()


def test_the_access_log_is_complete(origin: Origin, start: Start, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    origin.on("/a", answer(b"x", cache_control="max-age=60"))
    command = start("--access-log", log)
    with Client(command.address) as client:
        for _ in range(50):
            client.get("/a")
    command.signal(signal.SIGTERM)
    command.ended()
    assert len(log.read_text().splitlines()) == 50
