"""Law 13: the hit guard remembers, and gives after any sequence of requests what it would have given without memory.

The guard of a record is asked again and again, by clients of all kinds, while the variants change under it. Each of its
answers is compared with that of a guard that was never asked before, and with what the flow writes.
"""

from __future__ import annotations

import tracemalloc
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.exchange.test_hit import OPTIONS, request_of, written_slowly
from tests.support.heads import BARE, KEY, NOW, fields, get, ok, stored

from springhouse.exchange.hit import PreparedVariants, prepare
from springhouse.http.content import MemoryContent
from springhouse.http.fields import HOST, Field
from springhouse.http.messages import Request
from springhouse.rules.answer import Answer
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.rules.storing import keep
from springhouse.rules.validation import spoiled
from springhouse.rules.variants import matching
from springhouse.stores.memory.records import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER_KEY = KEY + b"other"
VALUES = {
    "A": ["1", "2", ""], "Cookie": ["a=1, b", "a=1,b"], "Origin": ["http://one.test"], "X-Real-IP": ["1.1.1.1"],
    "Accept-Encoding": ["gzip, br", "BR,gzip", "gzip,,br"], "TE": ["trailers"],
}  # fmt: skip
OTHERS = fields(
    "X-Forwarded-For: 1.1.1.1", "Range: bytes=0-1", "If-None-Match: *", "Cache-Control: max-age=0", "User-Agent: x",
    "Authorization: x", "Connection: keep-alive", "Connection: KEEP-alive",
)  # fmt: skip
CONNECTIONS = ["keep-alive, {}", "{}", "close,{} , x", "keep-ALIVE, X, {}"]
INSTANTS = st.sampled_from([0.0, 0.25, 0.9, 3.0, 59.0, 61.0])
keys = st.sampled_from([KEY, KEY, KEY, OTHER_KEY])
names = st.sampled_from([*VALUES])


@st.composite
def clients(draw: st.DrawFn, varied: list[str]) -> Request:
    """Return a request with some of the fields that answers vary by; it may have Connection name one of them."""
    said = [
        (draw(st.sampled_from([name, name.swapcase()])).encode(), value.encode())
        for name in draw(st.permutations(varied))
        for value in draw(st.lists(st.sampled_from(VALUES[name]), max_size=2))
    ]
    if draw(st.booleans()):
        named = draw(st.sampled_from(CONNECTIONS)).format(draw(st.sampled_from([*varied, varied[0].lower()])))
        said.insert(draw(st.integers(0, len(said))), (b"Connection", named.encode()))
    return request_of(said + draw(st.lists(st.sampled_from(OTHERS), max_size=1)))


class Sequences(RuleBasedStateMachine):
    """What is done to a store, and asked of its guards."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    @initialize(options=st.sampled_from(OPTIONS), varied=st.lists(names, min_size=1, max_size=2, unique=True))
    def begin(self, options: Options, varied: list[str]) -> None:
        self.varied = varied
        self.options = replace(options, max_variants=4)
        self.store = Memory(10**9, self.options)

    @rule(key=keys, data=st.data(), directive=st.sampled_from(["", "public", "no-cache"]), at=INSTANTS)
    def put(self, key: bytes, data: st.DataObject, directive: str, at: float) -> None:
        self.count += 1
        client, vary = data.draw(clients(self.varied)), data.draw(st.sampled_from([self.varied[:1], self.varied]))
        lines = [f"Vary: {', '.join(vary)}", f"Cache-Control: {directive}"]
        answer = Answer(ok("Cache-Control: max-age=60", *lines), NOW + at, NOW + at)
        entry = keep(client, key, answer, self.options)
        if isinstance(entry, Entry):
            entry.content = MemoryContent(b"content of %d" % self.count)
            entry.length = len(entry.content)
            self.store.put(entry)

    @precondition(lambda self: self.store.records)
    @rule(key=keys, place=st.integers(0, 3), how=st.sampled_from(["freshened", "spoiled", "chosen by nothing"]))
    def replace(self, key: bytes, place: int, how: str) -> None:
        variants = self.store.lookup(key)
        if place >= len(variants):
            return
        old = variants[place]
        new = spoiled(old) if how == "spoiled" else copy(old)
        if how == "freshened":
            new.fresh_until += 100
            new.lifetime += 100
        elif how == "chosen by nothing":
            new.vary = new.selector = ()
        self.store.replace(old, new)

    @precondition(lambda self: self.store.records)
    @rule(key=keys)
    def forget(self, key: bytes) -> None:
        self.store.drop(key)

    @precondition(lambda self: self.store.records)
    @rule(key=keys, data=st.data(), elapsed=INSTANTS)
    def ask(self, key: bytes, data: st.DataObject, elapsed: float) -> None:
        variants = self.store.lookup(key)
        for client in data.draw(st.lists(clients(self.varied), min_size=1, max_size=6)):
            guard = self.store.records[key].prepared if variants else None
            if guard is None:
                return
            now = NOW + elapsed
            got = guard.answer(client.fields, client.bits, now)
            unasked = prepare(variants, self.options)
            assert unasked is not None
            fresh = unasked.answer(client.fields, client.bits, now)
            assert (got is None) is (fresh is None)
            if got is not None and fresh is not None:
                said = got.head + got.content
                assert said == fresh.head + fresh.content
                assert said == written_slowly(client, variants, now, self.options)


Sequences.TestCase.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
TestSequences = Sequences.TestCase
TestSequences.__module__ = __name__


def variants_by(vary: str, *lines: str) -> tuple[Entry, ...]:
    """Return a variant for each of these fields of a request."""
    return tuple(
        stored("Cache-Control: max-age=60", f"Vary: {vary}", request=get(line), content=line.encode()) for line in lines
    )


@pytest.mark.parametrize("vary", ["Cookie", "Origin", "Accept-Encoding", "X-Any"])
@pytest.mark.parametrize("connection", ["keep-alive, {}", "{}", "{}, close", "Keep-Alive,{},TE", "x, {} "])
def test_a_field_that_one_client_does_not_want_passed_on_is_there_for_all_others(vary: str, connection: str) -> None:
    """Connection nominates fields (RFC 9110 §7.6.1): they count as absent, in the request that has it alone."""
    variants = variants_by(vary, f"{vary}: 1", "Host: x")
    guard = prepare(variants, BARE)
    assert guard is not None
    odd = [(vary.encode(), b"1"), (b"Connection", connection.format(vary.lower()).encode())]
    for _ in range(3):
        for said in (odd, odd[::-1]):
            assert guard.answer(said, request_of(said).bits, NOW) is None, "it is for the rules"
        plain = guard.answer(odd[:1], HOST, NOW)
        assert plain is not None
        assert plain.content == b"%b: 1" % vary.encode()
        without = guard.answer([], HOST, NOW)
        assert without is not None
        assert without.content == b"Host: x"


def test_the_guard_chooses_alike_whatever_each_vary_is() -> None:
    """§4.1: the most recent of those that match, and one without Vary only when no other does."""
    one, other = variants_by("A", "A: 1", "A: 2"), variants_by("B", "B: 1")
    variants = (*one, *other, stored("Cache-Control: max-age=60", content=b"any"))
    guard = prepare(variants, BARE)
    assert isinstance(guard, PreparedVariants)
    for lines in (["A: 1"], ["A: 2"], ["A: 3"], [], ["B: 1"], ["A: 1", "B: 1"], ["B: 1", "A: 2"]) * 2:
        asked = request_of(fields(*lines))
        got = guard.answer(asked.fields, asked.bits, NOW)
        assert got is not None
        assert got.head + got.content == written_slowly(asked, variants, NOW, BARE)


def test_a_key_whose_answers_vary_by_ever_other_fields_has_no_guard() -> None:
    variants = tuple(variants_by(f"F{i}", f"F{i}: 1")[0] for i in range(5))
    assert prepare(variants, BARE) is None
    assert prepare(variants[:4], BARE) is not None


def test_what_the_guard_remembers_is_bounded_in_bytes() -> None:
    """Whatever clients say, and of however many keys."""
    guards = [prepare(variants_by("A", "A: 1", f"A: {i}"), BARE) for i in range(8)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for i in range(1200):
            for said in ([(b"A", b"%d" % i)], [(b"a", b" " * i + b"1")], [(b"A", b"1" + b" " * (4000 + i))]):
                guard = guards[i % 8]
                assert guard is not None
                guard.answer(said, HOST, NOW)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 2 << 20


class Looked(list[Field]):
    """Fields that count how often somebody goes through them."""

    times = 0

    def __iter__(self) -> Iterator[Field]:
        self.times += 1
        return super().__iter__()


@pytest.mark.parametrize("is_guard", [True, False])
def test_the_work_of_choosing_does_not_grow_with_the_number_of_variants(is_guard: bool) -> None:
    times = []
    for count in (2, 400):
        variants = variants_by("A, B", *(f"A: {i}" for i in range(count)))
        said = Looked(fields("A: 1", "Unheard: of", f"B: {count}"))
        if is_guard:
            guard = prepare(variants, BARE)
            assert guard is not None
            guard.answer(said, HOST, NOW)
        else:
            matching(Request(b"GET", b"/", said), variants)
        times.append(said.times)
    assert times[0] == times[1]
