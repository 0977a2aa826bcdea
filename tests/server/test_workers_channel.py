"""The parts of `--workers` that need no processes: frames, the peers, broadcasts, back-off, settings on their way."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.loops import PATIENCE_S

from springhouse.endpoint import Endpoint
from springhouse.rules.purging import Everything, Groups, Held, Keys, Prefix, Purge, Receipt, Tags
from springhouse.server.channel import (
    FRAME_MAX,
    Accept,
    Answered,
    Applied,
    Apply,
    Ask,
    Broken,
    Channel,
    Drain,
    Frames,
    Listening,
    Message,
    Start,
    Unable,
    framed,
)
from springhouse.server.peers import WorkerPeers, combined
from springhouse.server.purge_relay import PurgeRelay
from springhouse.server.supervisor import Backoff
from springhouse.settings import BadSettings, Settings, load_settings, settings_from_json, settings_to_json

if TYPE_CHECKING:
    from collections.abc import Callable

RECEIPT = Receipt(keys=1, entries=2, size=3, failure="no")
MESSAGES: list[Message] = [
    Start(b'{"port": 1}', (3, 4), True, "springhouse-x"),
    Listening(),
    Unable("no room"),
    Accept(),
    Drain(),
    Ask(1, Purge(Keys((b"http://o/\xff", b"b"))), False),
    Apply(2, Purge(Prefix(b"http://o/"), 12.5), True),
    Apply(3, Purge(Tags((b"t",))), False),
    Apply(4, Purge(Groups(b"http://o", (b"g", b"h"))), False),
    Apply(5, Purge(Everything()), False),
    Applied(2, RECEIPT),
    Answered(1, RECEIPT, 7),
]


# Frames.


@pytest.mark.parametrize("size", [1, 3, 7, 1 << 20])
def test_messages_arrive_however_their_bytes_are_cut(size: int) -> None:
    data = b"".join(framed(message) for message in MESSAGES)
    frames = Frames()
    found = [message for at in range(0, len(data), size) for message in frames.feed(data[at : at + size])]
    assert found == MESSAGES


@pytest.mark.parametrize(
    "data",
    [
        (FRAME_MAX + 1).to_bytes(4),
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x01\xc1",
        b"\x00\x00\x00\x01\x01",
        b"\x00\x00\x00\x06\x91\xa4what",
        framed(Accept())[:-1] + b"\x00",
        framed(Applied(1, RECEIPT)).replace(b"\x01", b"\xc0", 1),
    ],
)
def test_bytes_that_are_no_message_are_broken(data: bytes) -> None:
    with pytest.raises(Broken):
        Frames().feed(data)


def test_a_broken_channel_ends() -> None:
    async def scenario() -> bytes:
        ours, theirs = socket.socketpair()
        ended = asyncio.Event()
        channel = await Channel.over(ours, lambda _: None, ended.set)
        theirs.send(b"\xff" * 4)
        await asyncio.wait_for(ended.wait(), PATIENCE_S)
        channel.send(Drain())
        with theirs:
            return theirs.recv(1)

    assert asyncio.run(scenario()) == b"", "what is sent afterwards goes nowhere"


# The peers.


class Wire:
    """Remembers what is sent."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.killed = ""

    def send(self, message: Message) -> None:
        """Remember a message."""
        self.sent.append(message)

    def kill(self, why: str) -> None:
        """Remember why."""
        self.killed = why


PURGE = Purge(Everything())


def in_loop(scenario: Callable[[], None]) -> None:
    """Run a scenario within an event loop, and what it has called for soon."""

    async def run() -> None:
        scenario()
        await asyncio.sleep(0.05)

    asyncio.run(run())


def test_answers_find_who_asked() -> None:
    wire, answers = Wire(), []

    def scenario() -> None:
        peers = WorkerPeers(wire.send)
        peers.purge(PURGE, lambda receipt, workers: answers.append(("first", receipt, workers)))
        peers.purge(PURGE, lambda receipt, workers: answers.append(("second", receipt, workers)), dry_run=True)
        assert wire.sent == [Ask(1, PURGE, False), Ask(2, PURGE, True)]
        peers.received(Answered(2, RECEIPT, 3))
        peers.received(Answered(2, RECEIPT, 3))
        peers.received(Answered(1, Receipt(), 0))

    in_loop(scenario)
    assert answers == [("second", RECEIPT, 3), ("first", Receipt(), 0)]


def test_without_its_supervisor_a_fleet_says_that_it_is_uncertain() -> None:
    wire, failures = Wire(), []

    def scenario() -> None:
        peers = WorkerPeers(wire.send)
        peers.purge(PURGE, lambda receipt, _: failures.append(receipt.failure))
        peers.ended()
        peers.purge(PURGE, lambda receipt, _: failures.append(receipt.failure))
        assert len(failures) == 1  # the other comes later, never before `purge` has returned

    in_loop(scenario)
    assert failures == ["the process that reaches the other workers has ended"] * 2


def test_a_supervisor_that_is_silent_is_not_waited_for() -> None:
    failures: list[str] = []

    def scenario() -> None:
        peers = WorkerPeers(Wire().send, answer_s=0.01)
        peers.purge(PURGE, lambda receipt, _: failures.append(receipt.failure))

    in_loop(scenario)
    assert failures == ["the other workers were not reached in time"]


def test_a_fleet_without_anything_to_purge_answers_at_once() -> None:
    wire = Wire()
    WorkerPeers(wire.send).received(Apply(4, PURGE, False))
    assert wire.sent == [Applied(4, Receipt())]


def test_receipts_are_added_up() -> None:
    assert combined([]) == Receipt(processes=0)
    assert combined([RECEIPT, RECEIPT, Receipt(1, 1, 1, "late")]) == Receipt(3, 5, 7, "no; late", processes=3)


def test_what_workers_held_is_told_as_far_as_it_fits_a_frame() -> None:
    held = tuple(Held(b"http://a.test/%d" % n + b"x" * 8000, b"v" * 16, n) for n in range(200))
    wires = [Wire() for _ in range(40)]
    for wire in wires:
        peers = WorkerPeers(wire.send)
        peers.on_purge = lambda purge, dry_run, answered: answered(Receipt(held=held[:3]))
        peers.received(Apply(1, PURGE, False))
        assert wire.sent == [Applied(1, Receipt(held=held[:3]))]
        peers.on_purge = lambda purge, dry_run, answered: answered(Receipt(held=held))
        peers.received(Apply(2, PURGE, False))
    told = [wire.sent[1].receipt for wire in wires]
    assert {receipt.held for receipt in told} == {held[: len(told[0].held)]}
    assert 100 < len(told[0].held) < 200
    assert len(framed(Answered(1, combined(told), 40))) < FRAME_MAX // 2


# PurgeRelay.


def test_a_worker_that_joins_later_is_not_asked() -> None:
    asker, early, late = Wire(), Wire(), Wire()

    def scenario() -> None:
        broadcasts = PurgeRelay()
        broadcasts.joined(asker)
        broadcasts.joined(early)
        broadcasts.asked(asker, Ask(9, PURGE, False))
        broadcasts.joined(late)
        broadcasts.applied(late, Applied(1, RECEIPT))  # it was not asked: this is no answer
        assert asker.sent == []
        broadcasts.applied(early, Applied(1, RECEIPT))
        broadcasts.applied(early, Applied(1, RECEIPT))

    in_loop(scenario)
    assert asker.sent == [Answered(9, RECEIPT, 1)]
    assert late.sent == []


def test_only_those_that_owe_an_answer_are_killed() -> None:
    asker, good, bad = Wire(), Wire(), Wire()

    def scenario() -> None:
        broadcasts = PurgeRelay(seconds=0.01)
        for each in (asker, good, bad):
            broadcasts.joined(each)
        broadcasts.asked(asker, Ask(1, PURGE, False))
        broadcasts.applied(good, Applied(1, RECEIPT))

    in_loop(scenario)
    assert bad.killed == "did not apply a purge within 0.01 s and was killed"
    assert not good.killed
    assert asker.sent == []  # not before it is dead


# Back-off, sockets, settings.


def test_who_dies_young_waits_longer() -> None:
    backoff = Backoff()
    assert [backoff.after(lived) for lived in (0, 29, 0, 0, 0, 0, 0)] == [0.5, 1, 2, 4, 8, 10, 10]
    assert [backoff.after(lived) for lived in (30, 0, 0, 100, 100)] == [0.5, 1, 2, 0.5, 0.5]


def test_listening_on_all_addresses_takes_one_port() -> None:
    endpoint = Endpoint.open("localhost", 0)
    try:
        assert {each.getsockname()[1] for each in endpoint.sockets} == {endpoint.port}
        assert endpoint.port != 0
    finally:
        endpoint.close()


@pytest.mark.skipif(sys.platform != "linux", reason="SO_REUSEPORT as Linux has it")
def test_nobody_is_kept_waiting_at_a_guard() -> None:
    (guard,) = Endpoint.hold("127.0.0.1", 0).sockets
    with guard, socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(guard.getsockname())


def test_settings_arrive_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Settings(
        origin="http://o:1", ttl=5, token="secret", unix_socket=Path("/x"), trusted_proxy=("10.0.0.0/8",), memory="1MiB"
    )  # type: ignore[call-arg]
    monkeypatch.setenv("SPRINGHOUSE_TTL", "7")
    monkeypatch.setenv("SPRINGHOUSE_HOST", "::")
    arrived = settings_from_json(settings_to_json(sent))
    assert arrived.model_dump() == sent.model_dump()
    assert arrived.token.get_secret_value() == "secret"


def test_windows_has_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(BadSettings, match="--workers: several processes cannot share a port on Windows"):
        load_settings({"workers": 2})
    assert load_settings({"workers": 1}).workers == 1


def test_other_front_ends_bring_their_own_workers() -> None:
    with pytest.raises(BadSettings, match="--workers: only --frontend native has several"):
        load_settings({"workers": 2, "frontend": "fastapi"})
