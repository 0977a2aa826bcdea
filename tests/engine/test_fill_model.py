"""Whatever the order of things: everybody gets what the origin sent, and the store has all of it or nothing.

Readers join at any moment, ask for any part and take it at any pace; the disk, a real one, is as fast as it happens to
be.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.clients import Client
from tests.engine.fills import Filling, Stores
from tests.stores.backends import content_of
from tests.support.examples import examples

from springhouse.rules.purging import Everything, Purge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from springhouse.engine.recordings import Reader

NUMBERS = count()
STEPS = st.one_of(
    st.tuples(st.just("feed"), st.integers(1, 3000)),
    st.tuples(st.just("feed"), st.integers(1, 3000)),
    st.tuples(st.just("join"), st.integers(0, 2000)),
    st.tuples(st.just("part"), st.integers(0, 12_000)),
    st.tuples(st.just("take"), st.integers(0, 9)),
    st.tuples(st.just("leave"), st.integers(0, 9)),
    st.tuples(st.just("turn"), st.integers(1, 3)),
    st.tuples(st.just("write"), st.just(0)),
)
ENDS = st.sampled_from(["whole", "whole", "broken", "purged"])
LIMITS = st.sampled_from([None, None, 8_000, 20_000])


@dataclass
class Reading:
    """One client and what it asked for."""

    client: Client
    reader: Reader
    start: int
    stop: int | None

    @property
    def is_over(self) -> bool:
        return bool(self.client.ends or self.client.aborts)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """Open one store for all examples: each has a key of its own."""
    opened = Stores(tmp_path_factory.mktemp("stores"))
    yield opened
    opened.disk.close()


@settings(
    max_examples=examples(300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(STEPS, max_size=40), ENDS, LIMITS, st.booleans())
def test_everybody_gets_what_the_origin_sent(
    stores: Stores, steps: list[tuple[str, int]], end: str, limit: int | None, announced: bool
) -> None:
    pattern = bytes(range(251))
    whole = b"".join(
        (pattern[n % 251 :] + pattern * (size // 251 + 1))[:size]
        for n, (what, size) in enumerate(steps)
        if what == "feed"
    )
    fill = Filling(stores, b"http://a.test/%d" % next(NUMBERS), length=len(whole) if announced else None, limit=limit)
    readings: list[Reading] = []
    left: list[Client] = []
    for step in steps:
        take_a_step(fill, step, whole, readings, left)
        assert not fill.is_kept or stores.reserved == fill.held or fill.recording.arriving is not None
        assert fill.is_kept or stores.reserved <= fill.held
        for each in readings:
            assert fill.sent[each.start : each.stop].startswith(each.client.got)
    if end == "broken":
        fill.fail()
    else:
        fill.finish(is_current=end == "whole")
    assert stores.reserved <= fill.held, "what it holds for those who still read"
    let_them_read(stores, readings)
    assert stores.reserved == 0
    for each in readings:
        asked = fill.sent[each.start : each.stop]
        if end == "broken":
            assert asked.startswith(each.client.got)
        else:
            assert each.client.state == (asked, 1, 0)
        assert each.client.ends + each.client.aborts == 1
    assert all(client.ends + client.aborts <= 1 for client in left)
    found = stores.find(fill.entry.key)
    assert [content_of(entry, stores.loop) for entry in found] == ([whole] if fill.is_kept and end == "whole" else [])
    del found
    stores.store.purge(Purge(Everything()))
    stores.flush()
    assert stores.files() == []
    assert stores.memory.used == 0


def take_a_step(
    fill: Filling, step: tuple[str, int], whole: bytes, readings: list[Reading], left: list[Client]
) -> None:
    """Let one thing happen."""
    what, number = step
    match what:
        case "feed":
            at = len(fill.sent)
            fill.feed(whole[at : at + number])
        case "join" | "part" if fill.is_kept:
            start, stop = (number, number + 1500) if what == "part" else (0, None)
            client = Client(room=number or None)
            readings.append(Reading(client, fill.recording.join(client, start, stop), start, stop))
        case "take" if readings:
            readings[number % len(readings)].client.take()
        case "leave" if readings:
            gone = readings.pop(number % len(readings))
            gone.reader.leave()
            left.append(gone.client)
        case "turn":
            for _ in range(number):
                fill.stores.loop.once(0.0005)
        case "write":
            fill.stores.flush()


def let_them_read(stores: Stores, readings: list[Reading]) -> None:
    """Let all clients take what there is, until each has been told the end."""
    for each in readings:
        while not each.is_over:
            each.client.take()
            if not each.client.paused and not each.is_over:
                stores.loop.once(0.01)
