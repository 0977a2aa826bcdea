"""What was fetched before a purge is not stored after it (law 5), however many purges there were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.heads import stored

from springhouse.engine.fence import KEYS, OTHERS, Fence
from springhouse.http.memo import PLACE_BYTES, Bound
from springhouse.rules.purging import Everything, Groups, Keys, Prefix, Selection, Tags, selects

F = "Cache-Control: max-age=60"
ENTRIES = [
    stored(F, key=b"http://a.test/x"),
    stored(F, "xkey: t", key=b"http://a.test/x/y"),
    stored(F, "xkey: t u", 'Cache-Groups: "g"', key=b"http://b.test/x"),
]
PURGES: list[Selection] = [
    Keys((b"http://a.test/x",)),
    Keys((b"http://b.test/x", b"http://a.test/x/y")),
    Prefix(b"http://a.test/x"),
    Prefix(b"http://b.test/"),
    Tags((b"t",)),
    Tags((b"u", b"v")),
    Groups(b"http://b.test", (b"g",)),
    Groups(b"http://a.test", (b"g",)),
    Everything(),
]


def room(count: int) -> Bound:
    """Return a bound that leaves room for so many purges of one short name, or for some fewer of several."""
    return Bound("of a test", count * (PLACE_BYTES + 90))


@pytest.mark.parametrize("what", PURGES, ids=repr)
def test_a_purge_stops_what_began_before_it_and_nothing_else(what: Selection) -> None:
    fence = Fence()
    before = fence.epoch
    fence.raise_for(what)
    for entry in ENTRIES:
        assert fence.lets_through(entry, before) is not selects(what, entry)
        assert fence.lets_through(entry, fence.epoch)


purges = st.lists(st.sampled_from(PURGES), max_size=12)


@given(purges, st.integers(0, 12))
def test_it_lets_through_what_no_purge_since_selects(happened: list[Selection], begun_after: int) -> None:
    fence, epoch = Fence(), 0
    for number, what in enumerate(happened):
        if number == begun_after:
            epoch = fence.epoch
        fence.raise_for(what)
    if begun_after >= len(happened):
        epoch = fence.epoch
    for entry in ENTRIES:
        allowed = not any(selects(what, entry) for what in happened[begun_after:])
        assert fence.lets_through(entry, epoch) is allowed


@given(purges, st.integers(0, 12), st.integers(1, 3), st.integers(1, 3))
def test_what_it_forgets_stops_more_never_less(
    happened: list[Selection], begun_after: int, keys_max: int, others_max: int
) -> None:
    fence, epoch = Fence(keys=room(keys_max), others=room(others_max)), 0
    for number, what in enumerate(happened):
        if number == begun_after:
            epoch = fence.epoch
        fence.raise_for(what)
    if begun_after >= len(happened):
        epoch = fence.epoch
    for entry in ENTRIES:
        if any(selects(what, entry) for what in happened[begun_after:]):
            assert not fence.lets_through(entry, epoch)
        assert fence.lets_through(entry, fence.epoch), "what begins now is never stopped"


def test_its_memory_is_bounded() -> None:
    fence = Fence(keys=room(3), others=room(2))
    untouched = stored(F, key=b"http://c.test/")
    begun = fence.epoch
    for i in range(3):
        fence.raise_for(Keys((b"http://a.test/%d" % i,)))
    assert fence.lets_through(untouched, begun), "everything is remembered yet"
    fence.raise_for(Keys((b"http://a.test/3",)))
    assert not fence.lets_through(untouched, begun), "what the forgotten purge selected is not known any more"
    begun = fence.epoch
    for i in range(2):
        fence.raise_for(Prefix(b"http://a.test/%d" % i))
    assert fence.lets_through(untouched, begun)
    fence.raise_for(Prefix(b"http://a.test/2"))
    assert not fence.lets_through(untouched, begun)


def test_a_key_purged_again_is_remembered_anew() -> None:
    fence = Fence(keys=room(2))
    first, second, third = (stored(F, key=b"http://a.test/%d" % i) for i in range(3))
    fence.raise_for(Keys((first.key,)))
    fence.raise_for(Keys((second.key,)))
    fence.raise_for(Keys((first.key,)))
    begun = fence.epoch
    fence.raise_for(Keys((third.key,)))
    assert fence.lets_through(first, begun)
    assert not fence.lets_through(first, begun - 1)
    assert fence.lets_through(stored(F, key=b"http://c.test/"), begun - 1), "only what came before is forgotten"


C, D = Keys((b"http://c.test/",)), Keys((b"http://d.test/",))
A, B = Prefix(b"http://a.test/"), Prefix(b"http://b.test/")


@pytest.mark.parametrize("then", [[A, B, D], [Keys((ENTRIES[0].key,)), D, Prefix(b"http://c.test/")]])
def test_forgetting_an_early_purge_does_not_undo_having_forgotten_a_later_one(then: list[Selection]) -> None:
    fence = Fence(keys=room(1), others=room(1))
    fence.raise_for(C if then[0] is A else B)
    begun = fence.epoch
    for what in then:
        fence.raise_for(what)
    assert not fence.lets_through(ENTRIES[0], begun)


def numbered(count: int, size: int) -> tuple[bytes, ...]:
    return tuple(b"%d" % number + size * b"x" for number in range(count))


@pytest.mark.parametrize("size", [1, 1000, 8000])
def test_long_names_take_no_more_room_than_short_ones(size: int) -> None:
    fence = Fence()
    untouched = stored(F, key=b"http://c.test/")
    for name in numbered(20_000, size)[: 160_000_000 // (40 * size + 4000)]:
        fence.raise_for(Keys((name,)))
        assert fence.size <= KEYS.limit + OTHERS.limit
    for number in range(300):
        begun = fence.epoch
        fence.raise_for((Tags, lambda names: Groups(b"http://a.test", names))[number % 2](numbered(60, size)))
        assert fence.size <= KEYS.limit + OTHERS.limit
    assert not fence.lets_through(untouched, 0), "what has been forgotten may have selected it"
    assert fence.lets_through(untouched, begun)


def test_a_purge_that_is_too_large_to_be_remembered_stops_all_that_began_before() -> None:
    fence = Fence()
    begun = fence.epoch
    fence.raise_for(Tags(numbered(30_000, 10)))
    assert not fence.lets_through(ENTRIES[0], begun)
    assert fence.lets_through(ENTRIES[0], fence.epoch)
