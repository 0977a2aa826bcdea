"""A small answer may wait a moment for its content, and then needs no recording: nobody can tell from the outcome."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.engine.clients import Client
from tests.support.examples import examples
from tests.support.heads import NOW, get, ok

from springhouse.engine.cache import Cache
from springhouse.engine.engine import Engine
from springhouse.exchange.steps import Failure
from springhouse.rules.options import Options
from springhouse.rules.purging import Keys, Purge
from springhouse.stores.memory.records import Memory
from springhouse.stores.store import Store
from springhouse.upstream.routing import Forwarding, Origin

if TYPE_CHECKING:
    from springhouse.exchange.reply import Reply
    from springhouse.http.fields import Field
    from springhouse.http.messages import Request
    from springhouse.transport.content import RequestContent
    from springhouse.upstream.call import Receiver

KEY = b"http://origin.test/"
BODY = bytes(range(200))
BROKEN = Failure("http_response_incomplete", "The origin's answer broke off", 502, NOW)


class Reader(Client):
    """A client that notes the head of its reply."""

    reply: Reply | None = None

    def start(self, reply: Reply) -> None:
        assert self.reply is None
        self.reply = reply


class Call:
    """One request that has come to the origin, which answers it as the test says."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.requested_at = NOW
        self.is_cancelled = False

    def answer(self, length: int | None, status: int = 200) -> None:
        self.receiver.answered(ok("Cache-Control: max-age=60", status=status), length)

    def pause(self) -> None:
        """Nothing to hold back: the test does not go on by itself."""

    def resume(self) -> None:
        """Go on when the test says so."""

    def cancel(self) -> None:
        self.is_cancelled = True

    def unattended(self) -> None:
        """Nothing ends here because nobody waits for it."""

    def attended(self) -> None:
        """See `unattended`."""

    def carry(self, content: RequestContent) -> None:
        raise AssertionError


class Upstream:
    """An origin that keeps all requests."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.forwarding = Forwarding(b"test")

    def send(
        self, _request: Request, _fields: list[Field], _content: RequestContent | None, receiver: Receiver
    ) -> Call:
        self.calls.append(Call(receiver))
        return self.calls[-1]

    def close(self) -> None:
        """Nothing to release."""


class Case:
    """A proxy that has asked its origin for one client."""

    def __init__(self, *, budget: int = 2**20, alone: bool = False) -> None:
        options = Options()
        self.store = Store(Memory(budget, options))
        self.upstream = Upstream()
        cache = Cache(store=self.store, clock=lambda: NOW)
        self.engine = Engine(cache, self.upstream, Origin.parse("http://origin.test"), options)
        if alone:
            self.engine.flights.remember(KEY, NOW)
        self.readers: list[Reader] = []
        self.leader = self.ask()
        self.call = self.upstream.calls[0]

    def ask(self) -> Reader:
        reader = Reader()
        self.readers.append(reader)
        self.exchange = self.engine.handle(get(), None, reader)
        return reader

    def purge(self) -> None:
        self.engine.cache.purge(Purge(Keys((KEY,))), lambda _: None)

    @property
    def stored(self) -> bytes | None:
        record = self.store.records.get(KEY)
        return record.variants[0].content.data if record is not None else None


pieces = st.lists(st.integers(1, 199), max_size=3).map(lambda cuts: [0, *sorted({*cuts}), 200])
doings = st.lists(st.sampled_from(["settle", "join", "leave", "purge"]), max_size=2)


@settings(max_examples=examples(600), deadline=None)
@given(st.data(), pieces, st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_the_outcome_is_the_same_however_the_content_comes(
    data: st.DataObject, cuts: list[int], announced: bool, breaks: bool, alone: bool, fits: bool
) -> None:
    case = Case(alone=alone, budget=2**20 if fits else 300)
    exchange, receiver = case.exchange, case.call.receiver
    has_left = is_purged = is_settled = False

    def interfere() -> None:
        nonlocal has_left, is_purged, is_settled
        for doing in data.draw(doings):
            event(doing)
            if doing == "settle":
                is_settled = True
                receiver.settled()
            elif doing == "join" and not is_purged:
                case.ask()
            elif doing == "leave" and not has_left:
                has_left = True
                exchange.cancel()
            elif doing == "purge":
                is_purged = True
                case.purge()

    case.call.answer(200 if announced else None)
    interfere()
    pairs = list(pairwise(cuts))
    for start, stop in pairs[:-1] if breaks else pairs:
        if not case.call.is_cancelled:
            receiver.content(BODY[start:stop])
            interfere()
        assert not is_settled or has_left or case.leader.reply is not None, "the head does not wait any longer"
    if not case.call.is_cancelled:
        if breaks:
            receiver.failed(BROKEN)
        else:
            receiver.content_end()
    for call in case.upstream.calls[1:]:  # who could not share asks again
        call.answer(None)
        call.receiver.content(BODY)
        call.receiver.content_end()

    asked_again = len(case.upstream.calls) > 1
    for reader in case.readers:
        if reader is case.leader and has_left:
            continue
        assert reader.reply is not None
        if breaks and (reader is case.leader or not asked_again):
            assert (reader.ends, reader.aborts) == (0, 1)
            assert BODY.startswith(reader.got)
        elif not (breaks and reader.aborts):
            assert reader.state == (BODY, 1, 0)
    if not asked_again:
        is_kept = not breaks and not is_purged and fits
        assert case.stored == (BODY if is_kept else None)
    assert case.engine.flights.by_key == {}
    assert case.store.memory.used == sum(record.cost for record in case.store.records.values()), (
        "nothing stays reserved"
    )


def test_what_comes_at_once_is_stored_and_answered_when_it_is_whole() -> None:
    case = Case()
    case.call.answer(200)
    case.call.receiver.content(BODY)
    assert case.leader.reply is None
    assert case.stored is None
    case.call.receiver.content_end()
    assert case.leader.state == (BODY, 1, 0)
    assert case.stored == BODY


def test_a_head_goes_out_when_no_content_is_at_hand() -> None:
    case = Case()
    case.call.answer(200)
    assert case.leader.reply is None
    case.call.receiver.settled()
    assert case.leader.reply is not None


def test_what_is_empty_is_stored() -> None:
    case = Case()
    case.call.answer(0)
    case.call.receiver.content_end()
    assert case.stored == b""
    assert case.leader.state == (b"", 1, 0)


def test_what_has_no_content_despite_its_length_is_stored_without() -> None:
    case = Case()
    case.call.answer(5, status=204)
    case.call.receiver.content_end()
    assert case.stored == b""
    assert case.store.lookup(KEY)[0].length == 0
    assert case.leader.state == (b"", 1, 0)


def test_who_waits_is_answered_from_what_came_at_once() -> None:
    case = Case()
    followers = [case.ask(), case.ask()]
    case.call.answer(200)
    case.call.receiver.content(BODY)
    case.call.receiver.content_end()
    assert [reader.state for reader in followers] == [(BODY, 1, 0)] * 2
    assert len(case.upstream.calls) == 1


def test_what_is_large_is_not_waited_for() -> None:
    case = Case()
    case.call.answer(1_000_000)
    assert case.leader.reply is not None
