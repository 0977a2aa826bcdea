"""Every store against a plain dict, whatever is done to it in whatever order."""

from __future__ import annotations

import shutil
from copy import copy
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from tests.stores.audit import audit
from tests.stores.backends import BACKENDS, IN_FILE, INLINE, NOW, STREAMED, VARIANTS_MAX, Loop, image, make_entry
from tests.support.examples import examples

from springhouse.rules.labels import labels_of
from springhouse.rules.purging import Everything, Groups, Keys, Prefix, Purge, Tags, made_stale, selects
from springhouse.stores.memory.records import _RECORD_BYTES, Memory, cost_of

if TYPE_CHECKING:
    from springhouse.rules.entry import Entry

KEYS = [b"http://a.test/", b"http://a.test/x", b"http://a.test/x/y", b"http://b.test/x"]
LABELS = [b"red", b"blue", b"green"]
keys = st.sampled_from(KEYS)
several = st.lists(st.sampled_from(LABELS), max_size=2, unique=True).map(tuple)
purges = st.one_of(
    st.lists(keys, max_size=3).map(lambda found: Keys(tuple(found))),
    st.sampled_from([b"http://a.test/x", b"http://a", b"x"]).map(Prefix),
    several.map(Tags),
    several.map(lambda found: Groups(b"http://a.test", found)),
    st.just(Everything()),
)


class Model(RuleBasedStateMachine):
    """A dict of lists of entries, the latest first."""

    backend = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp())
        self.loop = Loop()
        self.expected: dict[bytes, list[Entry]] = {}
        self.held: list[tuple[Entry, Entry]] = []
        """Entries as the store gave them at some time, each with that of the model."""
        self.now = NOW

    @initialize()
    def open(self) -> None:
        self.store = BACKENDS[self.backend](self.folder, self.loop)

    @precondition(lambda self: self.backend != "memory")
    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.open()

    @rule(
        key=keys,
        length=st.sampled_from([0, INLINE, IN_FILE, STREAMED]),
        language=st.sampled_from([None, b"de", b"en", b"fr"]),
        tags=several,
        groups=several,
    )
    def put(self, key: bytes, length: int, language: bytes | None, tags, groups) -> None:
        self.now += 1
        content = (b"%d," % self.now * length)[:length]
        entry = make_entry(key, content, language=language, tags=tags, groups=groups, at=self.now)
        self.store.put(copy(entry))
        chosen_by = entry.vary, entry.selector
        others = [other for other in self.expected.get(key, []) if (other.vary, other.selector) != chosen_by]
        self.expected[key] = [entry, *others][:VARIANTS_MAX]

    @rule(key=keys)
    def lookup(self, key: bytes) -> None:
        found = self.store.lookup(key)
        expected = self.expected.get(key, [])
        assert [image(entry, self.loop) for entry in found] == [image(entry, self.loop) for entry in expected]
        self.held += zip(found, expected, strict=True)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), tags=several, selector=st.sampled_from([None, (), (b"de",), (b"en",), (None,)]))
    def replace(self, data: st.DataObject, tags, selector: tuple[bytes | None, ...] | None) -> None:
        self.now += 1
        old, expected_old = data.draw(st.sampled_from(self.held))
        fresh = copy(expected_old)
        fresh.requested_at = fresh.received_at = fresh.born_at = self.now
        fresh.fresh_until, fresh.tags = self.now + 60.0, tags
        if selector is not None:  # Vary has changed
            fresh.vary, fresh.selector = (b"accept-language",)[: len(selector)], selector
        new = copy(fresh)
        new.content = old.content
        self.store.replace(old, new)
        variants = self.expected.get(old.key, [])
        if any(entry is expected_old for entry in variants):
            others = [e for e in variants if e is expected_old or (e.vary, e.selector) != (fresh.vary, fresh.selector)]
            self.expected[old.key] = [fresh if entry is expected_old else entry for entry in others]

    @rule(what=purges, is_soft=st.booleans(), dry_run=st.booleans())
    def purge(self, what, is_soft: bool, dry_run: bool) -> None:
        self.now += 1
        receipt = self.store.purge(Purge(what, self.now if is_soft else None), dry_run=dry_run)
        touched = [entry for variants in self.expected.values() for entry in variants if selects(what, entry)]
        assert (receipt.keys, receipt.entries) == (len({entry.key for entry in touched}), len(touched))
        assert receipt.failure == ""
        for key, variants in self.expected.items() if not dry_run else ():
            if is_soft:
                self.expected[key] = [made_stale(e, self.now) if selects(what, e) else e for e in variants]
            else:
                self.expected[key] = [entry for entry in variants if not selects(what, entry)]

    def teardown(self) -> None:
        try:
            for key in KEYS:
                self.lookup(key)
            for memory in [
                m for m in (getattr(self.store, "store", None), getattr(self.store, "memory", None)) if m is not None
            ]:
                if isinstance(memory, Memory):
                    assert faults_of(memory) == []
            self.held.clear()
            self.store.close()
            if self.backend != "memory":
                assert audit(self.folder) == []
        finally:
            shutil.rmtree(self.folder)


def faults_of(memory: Memory) -> list[str]:
    """Compare a memory store's indexes with a scan."""
    used, keys_of = 0, dict[bytes, set[bytes]]()
    for key, record in memory.records.items():
        used += _RECORD_BYTES + 2 * len(key) + sum(map(cost_of, record.variants))
        for label in frozenset().union(*map(labels_of, record.variants)):
            keys_of.setdefault(label, set()).add(key)
    faults = [f"{label!r}" for label, found in keys_of.items() if memory._labels.keys([label]) != found]
    if len(memory._labels) != len(keys_of):
        faults.append("labels of nobody")
    return faults if memory.used == used else [*faults, f"used is {memory.used}, not {used}"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_store_is_a_dict(backend: str) -> None:
    machine = type("Model", (Model,), {"backend": backend})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples(40), stateful_step_count=25, deadline=None)
    )
