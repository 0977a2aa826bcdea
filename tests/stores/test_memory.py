"""The memory store against a plain dictionary: exact while nothing is evicted, never over budget when it is (law 7)."""

from __future__ import annotations

import gc
import tracemalloc
from copy import copy
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.support.heads import get, stored

from springhouse.exchange.hit import PreparedReply, PreparedVariants
from springhouse.http.content import MemoryContent
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.rules.purging import Everything, Keys, Purge, Tags, receipt_of
from springhouse.stores.memory.records import Memory, MemoryRecord, cost_of

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIONS = Options(max_variants=3)
KEYS = [b"http://origin.test/%d" % i for i in range(6)]
TAGS = ["", "a", "b", "a b"]
keys = st.sampled_from(KEYS)


def entry_for(key: bytes, variant: int = 0, size: int = 10, tags: str = "") -> Entry:
    """Return an entry; variant 0 is the one without Vary."""
    lines = ["Cache-Control: max-age=60", *(["Vary: A"] if variant else []), *([f"xkey: {tags}"] if tags else [])]
    return stored(*lines, request=get(f"A: {variant}"), content=bytes([65 + variant]) * size, key=key)


class Against(RuleBasedStateMachine):
    """What is done to a store, and to a dictionary from key to entries, the latest first."""

    budget: ClassVar[int] = 10**9

    def __init__(self) -> None:
        super().__init__()
        self.store = Memory(self.budget, OPTIONS)
        self.model: dict[bytes, list[Entry]] = {}
        self.arriving: list[int] = []

    @rule(key=keys, variant=st.integers(0, 5), size=st.sampled_from([0, 10, 900, 3000]), tags=st.sampled_from(TAGS))
    def put(self, key: bytes, variant: int, size: int, tags: str) -> None:
        entry = entry_for(key, variant, size, tags)
        before = [e for e in self.model.get(key, []) if (e.vary, e.selector) != (entry.vary, entry.selector)]
        self.store.put(entry)
        self.model[key] = [entry, *before][:3]
        self.forget_evicted()

    @rule(key=keys, place=st.integers(0, 2), is_gone=st.booleans())
    def replace(self, key: bytes, place: int, is_gone: bool) -> None:
        entries = self.model.get(key, [])
        old = entries[place] if place < len(entries) else entry_for(key)
        new = copy(old)
        new.fields = [*old.fields, (b"X", b"y" * 1000)]
        self.store.replace(copy(old) if is_gone else old, new)
        if not is_gone:
            self.model[key] = [new if entry is old else entry for entry in entries]
        self.forget_evicted()

    @rule(key=keys)
    def lookup(self, key: bytes) -> None:
        assert list(self.store.lookup(key)) == self.model.get(key, [])

    @rule(chosen=st.lists(keys, max_size=4))
    def forget(self, chosen: list[bytes]) -> None:
        there = {key for key in chosen if self.model.get(key)}
        assert receipt_of(self.store.purge(Purge(Keys(tuple(chosen))))).keys == len(there)
        for key in there:
            del self.model[key]

    @rule(tag=st.sampled_from([b"a", b"b"]))
    def purge_by_tag(self, tag: bytes) -> None:
        touched = {key for key, entries in self.model.items() if any(tag in entry.tags for entry in entries)}
        assert receipt_of(self.store.purge(Purge(Tags((tag,))), dry_run=True)).keys == len(touched)
        assert receipt_of(self.store.purge(Purge(Tags((tag,))))).keys == len(touched)
        self.model = {key: [e for e in entries if tag not in e.tags] for key, entries in self.model.items()}

    @rule(key=keys)
    def purge_key(self, key: bytes) -> None:
        assert receipt_of(self.store.purge(Purge(Keys((key, key))))).entries == len(self.model.pop(key, []))

    @rule()
    def clear(self) -> None:
        assert receipt_of(self.store.purge(Purge(Everything()))).keys == sum(
            bool(entries) for entries in self.model.values()
        )
        self.model.clear()

    @rule(size=st.sampled_from([1, 500, 5000]))
    def reserve(self, size: int) -> None:
        fits = sum(self.arriving) + size <= self.budget // 2
        assert self.store.reserve(size) is fits
        if fits:
            self.arriving.append(size)
        self.forget_evicted()

    @rule()
    def release(self) -> None:
        if self.arriving:
            self.store.release(self.arriving.pop())

    def forget_evicted(self) -> None:
        """Nothing is evicted: the store has all there is."""

    @invariant()
    def every_byte_is_counted(self) -> None:
        records = self.store.records
        assert self.store.used == sum(record.cost for record in records.values()) + sum(self.arriving)
        assert self.store.used <= self.budget
        for key, record in records.items():
            assert record.key == key
            assert record.cost >= sum(map(cost_of, record.variants)) + 2 * len(key)
            assert record.variants

    @invariant()
    def the_same_is_there(self) -> None:
        there = {key: list(record.variants) for key, record in self.store.records.items()}
        assert there == {key: entries for key, entries in self.model.items() if entries}


class AgainstWithEviction(Against):
    """The same in less room than it all needs: what is there is right, though not all of it is there."""

    budget = 12_000

    def forget_evicted(self) -> None:
        for key in [key for key in self.model if key not in self.store.records]:
            del self.model[key]


TestExact = Against.TestCase
TestEvicting = AgainstWithEviction.TestCase
TestExact.settings = TestEvicting.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_forgotten_key_may_be_named_twice() -> None:
    store = Memory(10**6, OPTIONS)
    store.put(entry_for(KEYS[0]))
    assert receipt_of(store.purge(Purge(Keys((KEYS[0], KEYS[0], KEYS[1]))))).keys == 1
    assert store.used == 0


def test_the_budget_counts_what_python_needs() -> None:
    """An entry without content still costs its objects; estimates are checked against sys.getsizeof elsewhere."""
    small, large = entry_for(KEYS[0], size=0), entry_for(KEYS[0], size=5000)
    assert cost_of(small) > 1000
    assert cost_of(large) == cost_of(small) + 5000
    more = copy(small)
    more.fields = [*small.fields, (b"X", b"y" * 100)]
    assert cost_of(more) >= cost_of(small) + 300, "the head is also kept encoded"


def many(number: int, form: str = "{:x}", separator: str = ", ") -> str:
    """Return a thousand words that no other number has."""
    return separator.join(form.format(1000 * number + each) for each in range(1000))


COSTLY: dict[str, Callable[[int], Entry]] = {
    "nothing special": lambda n: stored("Cache-Control: max-age=60", key=b"http://a.test/%d" % n),
    "a long key": lambda n: stored("Cache-Control: max-age=60", key=b"http://a.test/%d" % n + 8000 * b"x"),
    "tags": lambda n: stored("Cache-Control: max-age=60", f"xkey: {many(n, separator=' ')}"),
    "groups": lambda n: stored("Cache-Control: max-age=60", f"Cache-Groups: {many(n, chr(34) + '{:x}' + chr(34))}"),
    "names in Vary": lambda n: stored("Cache-Control: max-age=60", f"Vary: {many(n, 'x-{:x}')}"),
    "values of Vary": lambda n: stored(
        "Cache-Control: max-age=60", "Vary: a", request=get(f"A: {n}{30_000 * 'y'}"), key=b"http://a.test/"
    ),
}


@pytest.mark.parametrize("what", COSTLY)
def test_the_budget_is_not_exceeded_whatever_entries_are_made_of(what: str) -> None:
    store = Memory(2 << 20, Options())
    gc.collect()
    tracemalloc.start()
    try:
        has_many = what in ("tags", "groups", "names in Vary")
        for number in range(10 if has_many else 60):
            entry = COSTLY[what](number)
            if has_many:
                entry.key = b"http://a.test/%d" % number
            entry.content, entry.length = MemoryContent(b""), 0
            store.put(entry)
            store.lookup(entry.key)
        del entry
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] <= store.used <= store.budget
    finally:
        tracemalloc.stop()


def test_arriving_content_pushes_out_what_is_stored_but_only_up_to_half() -> None:
    store = Memory(10_000, OPTIONS)
    for key in KEYS[:3]:
        store.put(entry_for(key))
    assert not store.reserve(5001)
    assert store.evictions == 0
    assert store.reserve(5000)
    assert store.evictions > 0
    assert store.records
    assert not store.reserve(1)
    store.release(5000)
    assert store.reserve(1)


def test_an_entry_that_grows_when_freshened_makes_room() -> None:
    entries = [entry_for(key) for key in KEYS[:2]]
    store = Memory(2 * (cost_of(entries[0]) + 1000), OPTIONS)
    for entry in entries:
        store.put(entry)
    grown = copy(entries[1])
    grown.fields = [*grown.fields, (b"X", b"y" * 500)]
    store.replace(entries[1], grown)
    assert store.used <= store.budget
    assert list(store.records) == [KEYS[1]]


def test_what_is_hot_survives_a_flood() -> None:
    store = Memory(40 * (cost_of(entry_for(KEYS[0])) + 1000), OPTIONS)
    hot = [b"http://origin.test/hot/%d" % i for i in range(10)]
    for key in hot:
        store.put(entry_for(key))
    for i in range(500):
        store.lookup(hot[i % 10])
        store.put(entry_for(b"http://origin.test/once/%d" % i))
    assert store.evictions > 400
    assert all(store.lookup(key) for key in hot)


@pytest.mark.parametrize(
    ("variants", "guard"), [([0], PreparedReply), ([1], PreparedVariants), ([0, 1], PreparedVariants)]
)
def test_the_guard_is_made_at_the_first_lookup_and_anew_after_every_change(
    variants: list[int], guard: type[object]
) -> None:
    store = Memory(10**6, OPTIONS)
    for variant in variants:
        store.put(entry_for(KEYS[0], variant))
    record = store.records[KEYS[0]]
    assert isinstance(record, MemoryRecord)
    assert record.prepared is None
    old = store.lookup(KEYS[0])[0]
    made = record.prepared
    assert isinstance(made, guard)
    store.lookup(KEYS[0])
    assert record.prepared is made, "kept"
    store.replace(old, copy(old))
    assert record.prepared is None, "it would answer with the old one"


def test_purging_everything() -> None:
    store = Memory(10**6, OPTIONS)
    for key in KEYS:
        store.put(entry_for(key, tags="a"))
    receipt = receipt_of(store.purge(Purge(Everything())))
    assert (receipt.keys, receipt.entries) == (6, 6)
    assert (store.used, store.records) == (0, {})
    assert receipt_of(store.purge(Purge(Tags((b"a",))))).keys == 0
