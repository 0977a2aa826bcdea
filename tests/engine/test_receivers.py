"""Which receiver takes the content of an answer, and which follows it: the table at the head of `engine.receivers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.engine.test_small_answers import BODY, BROKEN, KEY, Case, Reader
from tests.support.heads import NOW, ok, stored

from springhouse.engine.receivers import AWAITING_HEAD, ENDED, GATHERED_MAX, PASSING_ON, Deferred, Filling, Gathering
from springhouse.rules.purging import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from springhouse.engine.driver import Exchange
    from springhouse.rules.purging import Purge

LARGE = GATHERED_MAX + 1


def receiver_after(case: Case, *events: str, length: int | None = 200) -> object:
    """Return the receiver, or its class, once the origin has reported these events."""
    receiver = case.call.receiver
    for event in events:
        match event:
            case "head":
                case.call.answer(length)
            case "head, not to be stored":
                receiver.answered(ok("Cache-Control: no-store"), length)
            case "some":
                receiver.content(BODY[:10])
            case "all":
                receiver.content(BODY)
            case "settled":
                receiver.settled()
            case "end":
                receiver.content_end()
            case "broken":
                receiver.failed(BROKEN)
    found = case.exchange.receiver
    return found if found in (AWAITING_HEAD, PASSING_ON, ENDED) else type(found)


@pytest.mark.parametrize(
    ("events", "receiver"),
    [
        ("", AWAITING_HEAD),
        ("settled", AWAITING_HEAD),
        ("broken", AWAITING_HEAD),
        ("head", Gathering),
        ("head all", Gathering),
        ("head all end", ENDED),
        ("head some", Filling),
        ("head settled", Filling),
        ("head all settled", Filling),
        ("head end", ENDED),
        ("head broken", ENDED),
        ("head some broken", ENDED),
        ("head all settled end", ENDED),
    ],
)
def test_a_small_answer_that_may_be_stored(events: str, receiver: object) -> None:
    assert receiver_after(Case(), *events.split()) is receiver


@pytest.mark.parametrize(
    ("events", "receiver"),
    [("head", Filling), ("head some settled", Filling), ("head some end", ENDED), ("head broken", ENDED)],
)
@pytest.mark.parametrize("length", [LARGE, None])
def test_a_large_answer_that_may_be_stored(events: str, receiver: object, length: int | None) -> None:
    assert receiver_after(Case(), *events.split(), length=length) is receiver


@pytest.mark.parametrize(
    ("events", "receiver"),
    [((), PASSING_ON), (("some", "settled"), PASSING_ON), (("all", "end"), ENDED), (("some", "broken"), ENDED)],
)
def test_an_answer_that_may_not_be_stored(events: tuple[str, ...], receiver: object) -> None:
    case = Case()
    assert receiver_after(case, "head, not to be stored", *events) is receiver
    assert case.leader.got == {"all": BODY, "some": BODY[:10]}.get(events[0] if events else "", b"")


class SlowPeers:
    """Other processes, which apply a purge when the test says so."""

    def __init__(self, asked: list[Callable[[Receipt, int], None]]) -> None:
        self._asked = asked

    def purge(self, _purge: Purge, done: Callable[[Receipt, int], None], *, dry_run: bool = False) -> None:
        assert not dry_run
        self._asked.append(done)


class SlowCase(Case):
    """A proxy that revalidates an entry; purges take until the test lets them end."""

    def __init__(self) -> None:
        super().__init__()
        self.call.answer(0)
        self.call.receiver.content_end()
        entry = stored("Cache-Control: max-age=0", 'ETag: "1"', key=KEY, at=NOW - 10)
        self.store.put(entry)
        self.purged: list[Callable[[Receipt, int], None]] = []
        self.engine.cache.peers = SlowPeers(self.purged)
        self.client = self.ask()
        self.call = self.upstream.calls[1]

    def let_purges_end(self) -> None:
        for done in self.purged:
            done(Receipt(), 0)


def test_what_comes_while_the_flow_waits_is_reported_once_it_has_gone_on() -> None:
    """The answer disproves the stored entry, which other processes must forget before the client is answered."""
    case = SlowCase()
    receiver, exchange = case.call.receiver, case.exchange
    receiver.answered(ok("Cache-Control: no-store"), 200)
    assert isinstance(exchange.receiver, Deferred)
    receiver.content(BODY)
    receiver.content_end()
    receiver.settled()
    assert (case.client.got, case.client.ends) == (b"", 0)
    case.let_purges_end()
    assert exchange.receiver is ENDED
    assert (case.client.got, case.client.ends) == (BODY, 1)


def test_a_break_while_the_flow_waits_is_reported_once_it_has_gone_on() -> None:
    case = SlowCase()
    receiver = case.call.receiver
    receiver.answered(ok("Cache-Control: no-store"), 200)
    receiver.content(BODY[:10])
    receiver.failed(BROKEN)
    case.let_purges_end()
    assert (case.client.got, case.client.aborts) == (BODY[:10], 1)


def test_a_failure_is_answered_when_the_origin_had_to_be_asked_again() -> None:
    """A 304 about something else is no answer; the request goes out once more, without conditions, and fails."""
    case = SlowCase()
    exchange: Exchange = case.exchange
    case.call.receiver.answered(ok('ETag: "2"', status=304), None)
    assert len(case.upstream.calls) == 3
    assert exchange.receiver is AWAITING_HEAD
    case.upstream.calls[2].receiver.failed(BROKEN)
    client: Reader = case.client
    assert client.reply is not None
    assert (client.reply.status, client.ends) == (502, 1)
