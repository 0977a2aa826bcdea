"""Memory over a tier that answers when the test says so: what happens in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.stores.backends import NOW, make_entry

from springhouse.rules.options import Options
from springhouse.rules.purging import Everything, Keys, Prefix, Purge, Tags
from springhouse.stores.errors import StoreErrors
from springhouse.stores.lookups import REST
from springhouse.stores.memory.records import Memory
from springhouse.stores.store import Store
from springhouse.stores.tier import Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from springhouse.rules.entry import Entry
    from springhouse.rules.purging import Held
    from springhouse.stores.tier import CaughtUp, LookedUp, OnProgress, Purged

KEY, OTHER = b"http://a.test/1", b"http://a.test/2"
WHOLE_MAX = 1_000
PATIENCE = 1.0


class Arrived:
    """Content that has arrived in the tier, and is still to be committed."""

    data = None

    def __init__(self) -> None:
        self.committed: list[Entry] = []

    def __len__(self) -> int:
        return 1

    def commit(self, entry: Entry) -> None:
        self.committed.append(entry)


class SlowTier:
    """A tier that keeps what it is asked, and is made to answer by hand."""

    def __init__(self) -> None:
        self.errors = StoreErrors(lambda text: None)
        self.lookups: list[tuple[bytes, LookedUp]] = []
        self.puts: list[Entry] = []
        self.replaced: list[tuple[Entry, Entry]] = []
        self.purges: list[Purge] = []
        self.held: list[Sequence[Held]] = []
        self.news: Sequence[Purge] = ()
        self.told: list[CaughtUp] = []
        self.leases = None
        self.patience = PATIENCE

    def lookup(self, key: bytes, done: LookedUp) -> None:
        self.lookups.append((key, done))

    def answer(self, *variants: Entry) -> None:
        """Answer the oldest lookup."""
        _, done = self.lookups.pop(0)
        done(variants)

    def put(self, entry: Entry) -> None:
        self.puts.append(entry)

    def replace(self, old: Entry, new: Entry) -> None:
        self.replaced.append((old, new))

    def arrive(self, key: bytes, told: OnProgress, /) -> None:
        return None

    def purge(
        self, purge: Purge, done: Purged | None = None, *, held: Sequence[Held] = (), dry_run: bool = False
    ) -> None:
        self.purges.append(purge)
        self.held.append(held)

    def has_foreign_purges(self) -> bool:
        return bool(self.news)

    def catch_up(self, done: CaughtUp) -> None:
        self.told.append(done)

    def tell(self) -> None:
        """Answer the oldest catch_up."""
        news, self.news = self.news, ()
        self.told.pop(0)(news)

    def flush(self, done: Callable[[], None]) -> None:
        done()

    def close(self) -> None:
        pass


class Time:
    """A clock and its timers, which go when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def call_later(self, delay: float, call: Callable[[], object], /) -> None:
        self.timers.append((self.now + delay, call))

    def go(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, call in due:
            call()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def tier() -> SlowTier:
    return SlowTier()


@pytest.fixture
def store(tier: SlowTier, time: Time) -> Store:
    memory = Memory(1_000_000, Options(max_variants=4))
    timing = Timing(call_later=time.call_later, monotonic=lambda: time.now, wall=lambda: NOW + 1000.0)
    store = Store(memory, lambda: tier, whole_max=WHOLE_MAX, timing=timing)
    store.open()
    return store


class Asked(list):
    """Answers to a lookup: what was called back, or returned at once."""

    def __init__(self, store: Store, key: bytes = KEY) -> None:
        super().__init__()
        at_once = store.find(key, self.append)
        self.was_at_once = at_once is not None
        if at_once is not None:
            self.append(at_once)


class Streamed:
    """Content that is not in memory."""

    data = None
    length = WHOLE_MAX + 1


def large(key: bytes = KEY, **options) -> Entry:
    entry = make_entry(key, b"x" * (WHOLE_MAX + 1), **options)
    entry.content = Streamed()
    return entry


def test_what_the_tier_has_is_found_once_and_is_in_memory_then(store: Store, tier: SlowTier) -> None:
    asked = [Asked(store) for _ in range(3)]
    assert [key for key, _ in tier.lookups] == [KEY]
    assert not any(asked)
    entry = make_entry(KEY)
    tier.answer(entry)
    assert all(one == [(entry,)] for one in asked)
    again = Asked(store)
    assert again == [(entry,)]
    assert again.was_at_once
    assert store.records[KEY].prepared is not None, "the next plain hit needs no thought"


def test_what_comes_from_after_now_is_to_be_validated_here_and_in_the_tier(store: Store, tier: SlowTier) -> None:
    asked: list[tuple[Entry, ...]] = []
    store.find(KEY, asked.append)
    tier.answer(make_entry(KEY, at=NOW + 1009.0))
    store.find(OTHER, asked.append)
    tier.answer(make_entry(OTHER, at=NOW + 1011.0))
    (believed,), (doubted,) = asked
    assert believed.is_fresh_at(NOW + 1000)
    assert not doubted.is_fresh_at(NOW + 1000)
    assert doubted.stale_while_revalidate_until < NOW
    assert tier.purges == [Purge(Keys((OTHER,)), 0.0)]
    assert store.lookup(OTHER) == (doubted,)


def test_what_the_tier_does_not_have_goes_to_memory_when_it_is_put(store: Store, tier: SlowTier) -> None:
    asked = Asked(store)
    tier.answer()
    assert asked == [()]
    entry = make_entry(KEY)
    store.put(entry)
    assert Asked(store).was_at_once
    assert tier.puts == [entry]


def test_memory_never_holds_a_part_of_the_variants(store: Store, tier: SlowTier) -> None:
    english, german = make_entry(KEY, language=b"en"), make_entry(KEY, language=b"de")
    store.put(german)  # nobody knows what else the tier has
    assert KEY not in store.records
    asked = Asked(store)
    tier.answer(german, english)
    assert asked == [(german, english)]
    french = make_entry(KEY, language=b"fr")
    store.put(french)
    assert Asked(store) == [(french, german, english)]


def test_a_large_body_stays_in_the_tier_and_its_key_with_it(store: Store, tier: SlowTier) -> None:
    small, one = make_entry(KEY, language=b"en"), large(language=b"de")
    for _ in range(2):
        asked = Asked(store)
        assert not asked.was_at_once
        tier.answer(one, small)
        assert asked == [(one, small)]
    Asked(store, OTHER)
    tier.answer()
    store.put(make_entry(OTHER))
    store.put(make_entry(OTHER, b"x" * (WHOLE_MAX + 1)))
    assert OTHER not in store.records


PURGES = [Keys((KEY,)), Prefix(b"http://a"), Tags((b"t",)), Everything()]


@pytest.mark.parametrize("what", PURGES)
def test_a_purge_reaches_what_is_being_looked_up(store: Store, tier: SlowTier, what) -> None:
    asked = Asked(store)
    store.purge(Purge(what))
    tier.answer(make_entry(KEY, tags=(b"t",)))
    assert asked == [()]
    assert KEY not in store.records


@pytest.mark.parametrize("what", PURGES)
def test_a_soft_purge_reaches_what_is_being_looked_up(store: Store, tier: SlowTier, what) -> None:
    asked = Asked(store)
    store.purge(Purge(what, NOW + 5))
    tier.answer(make_entry(KEY, tags=(b"t",)))
    ((entry,),) = asked
    assert not entry.is_fresh_at(NOW + 5)
    assert store.records[KEY].variants == (entry,)


def test_a_purge_of_something_else_does_not(store: Store, tier: SlowTier) -> None:
    asked = Asked(store)
    store.purge(Purge(Keys((OTHER,))))
    store.purge(Purge(Tags((b"t",))))
    entry = make_entry(KEY)
    tier.answer(entry)
    assert asked == [(entry,)]


@pytest.mark.parametrize("change", ["put", "replace", "commit"])
def test_a_lookup_is_made_again_when_its_key_has_changed(store: Store, tier: SlowTier, change: str) -> None:
    asked = Asked(store)
    old, new = make_entry(KEY), make_entry(KEY, b"new")
    match change:
        case "put":
            store.put(new)
        case "replace":
            store.replace(old, new)
        case "commit":
            arrived = make_entry(KEY)
            arrived.content = Arrived()
            store.put(arrived)
    tier.answer(old)
    assert asked == []
    tier.answer(new)
    assert asked == [(new,)]
    assert Asked(store) == [(new,)]


def test_what_has_arrived_in_the_tier_is_committed_there_and_not_held_in_memory(store: Store, tier: SlowTier) -> None:
    Asked(store)
    tier.answer()
    store.put(make_entry(KEY))
    entry = make_entry(KEY)
    entry.content = Arrived()
    store.put(entry)
    assert entry.content.committed == [entry]
    assert [put.content.data for put in tier.puts] == [b"hello"]
    assert store.records == {}


def test_a_freshened_entry_replaces_in_memory_and_tier(store: Store, tier: SlowTier) -> None:
    Asked(store)
    old, new = make_entry(KEY), make_entry(KEY, at=NOW + 5)
    tier.answer(old)
    store.replace(old, new)
    assert store.records[KEY].variants == (new,)
    assert tier.replaced == [(old, new)]


def test_an_entry_freshened_after_it_left_memory_is_found_in_the_tier(store: Store, tier: SlowTier) -> None:
    Asked(store)
    old, same_again, new = make_entry(KEY), make_entry(KEY), make_entry(KEY, at=NOW + 5)
    tier.answer(old)
    store.memory.drop(KEY)
    Asked(store)
    tier.answer(same_again)
    store.replace(old, new)
    asked = Asked(store)
    tier.answer(new)
    assert asked == [(new,)]


# Other processes.


def test_nothing_is_served_that_others_may_have_purged(store: Store, tier: SlowTier) -> None:
    seen: list[Purge] = []
    store.on_foreign_purge = seen.append
    kept = make_entry(OTHER)
    for entry in (make_entry(KEY), kept):
        Asked(store, entry.key)
        tier.answer(entry)
    tier.news = [Purge(Keys((KEY,)))]
    assert store.is_behind()
    assert store.lookup(OTHER) == ()
    one, other = Asked(store, KEY), Asked(store, OTHER)
    assert len(tier.told) == 1
    assert not one
    assert not other
    tier.tell()
    assert seen == [Purge(Keys((KEY,)))]
    assert other == [(kept,)]
    assert one == []  # it is looked up in the tier now
    tier.answer()
    assert one == [()]
    assert not store.is_behind()


def test_news_reaches_what_is_being_looked_up(store: Store, tier: SlowTier) -> None:
    first = Asked(store)
    tier.news = [Purge(Everything())]
    second = Asked(store)
    tier.tell()
    tier.answer(make_entry(KEY))
    assert first == second == [()]


def test_news_that_does_not_come_lets_requests_go_to_the_origin(store: Store, tier: SlowTier, time: Time) -> None:
    Asked(store)
    tier.answer(make_entry(KEY))
    tier.news = [Purge(Everything())]
    waited = Asked(store)
    time.go(PATIENCE)
    assert waited == [()]
    late = Asked(store)
    assert late == [()]  # nobody else waits as long
    assert late.was_at_once
    tier.tell()
    assert not Asked(store).was_at_once
    assert tier.errors.counts == {"slow": 1}


# A tier that does not answer.


def test_a_lookup_that_takes_too_long_is_a_miss(store: Store, tier: SlowTier, time: Time) -> None:
    early = Asked(store)
    time.go(PATIENCE / 2)
    late = Asked(store, OTHER)
    time.go(PATIENCE / 2)
    assert early == [()]
    assert late == []
    time.go(PATIENCE / 2)
    assert late == [()]
    entry = make_entry(OTHER)
    tier.answer(make_entry(KEY))  # nobody waits for it any more
    tier.answer(entry)
    assert early == late == [()]
    assert not store.records


def test_a_tier_that_does_not_answer_is_left_alone_for_a_while(store: Store, tier: SlowTier, time: Time) -> None:
    Asked(store)
    time.go(PATIENCE)
    asked = Asked(store, OTHER)
    assert asked == [()]
    assert asked.was_at_once
    assert len(tier.lookups) == 1
    for key in (KEY, OTHER):
        store.put(make_entry(key))
        assert Asked(store, key).was_at_once  # the cache goes on without it
    time.go(REST * PATIENCE)
    Asked(store, b"http://a.test/3")
    assert len(tier.lookups) == 2


def test_lookups_that_are_answered_leave_no_timer_behind(store: Store, tier: SlowTier, time: Time) -> None:
    for number in range(100):
        Asked(store, b"http://a.test/%d" % number)
        tier.answer()
    assert len(time.timers) == 1
    time.go(PATIENCE)
    assert time.timers == []
    assert tier.errors.counts == {}


def test_what_memory_may_use_is_memorys(store: Store) -> None:
    assert store.reserve(1000)
    assert store.memory.used == 1000
    store.release(1000)
    assert store.memory.used == 0
    assert not store.reserve(600_000)


def test_purging_counts_what_memory_had_and_tells_the_tier(store: Store, tier: SlowTier) -> None:
    Asked(store)
    tier.answer(make_entry(KEY))
    store.purge(Purge(Keys((KEY, OTHER))))
    store.purge(Purge(Everything()))
    assert [len(held) for held in tier.held] == [1, 0]
    assert tier.purges == [Purge(Keys((KEY, OTHER))), Purge(Everything())]


def test_a_dry_run_changes_nothing(store: Store, tier: SlowTier) -> None:
    Asked(store)
    tier.answer(make_entry(KEY))
    store.purge(Purge(Everything()), dry_run=True)
    assert [len(held) for held in tier.held] == [1]
    assert Asked(store).was_at_once
