"""What every store promises, whatever it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.stores.backends import BACKENDS, IN_FILE, INLINE, NOW, STREAMED, VARIANTS_MAX, Loop, image, make_entry

from springhouse.rules.purging import NEVER_FRESH, Everything, Groups, Keys, Prefix, Purge, Tags

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.stores.backends import Subject

    from springhouse.rules.entry import Entry

KEY, OTHER = b"http://a.test/", b"http://a.test/other"


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, loop: Loop) -> Iterator[Subject]:
    subject = BACKENDS[request.param](tmp_path / "store", loop)
    yield subject
    subject.close()


def same(found: tuple[Entry, ...], expected: list[Entry], loop: Loop) -> bool:
    return [image(entry, loop) for entry in found] == [image(entry, loop) for entry in expected]


def test_nothing_is_found_where_nothing_was_put(store: Subject) -> None:
    assert store.lookup(KEY) == ()


@pytest.mark.parametrize("length", [0, 1, INLINE, 2_000, 2_001, IN_FILE, STREAMED, 600_000])
def test_what_is_found_is_what_was_put(store: Subject, loop: Loop, length: int) -> None:
    entry = make_entry(KEY, bytes(n * 7 % 251 for n in range(length)), tags=(b"t",), groups=(b"g",))
    store.put(entry)
    store.put(make_entry(OTHER))
    assert same(store.lookup(KEY), [entry], loop)
    assert same(store.lookup(KEY), [entry], loop)


@pytest.mark.parametrize("length", [INLINE, STREAMED])
def test_the_latest_of_a_variant_is_found(store: Subject, loop: Loop, length: int) -> None:
    first, second = make_entry(KEY, b"1" * length), make_entry(KEY, b"2" * length, at=NOW + 1)
    store.put(first)
    assert same(store.lookup(KEY), [first], loop)
    store.put(second)
    assert same(store.lookup(KEY), [second], loop)


def test_a_small_body_takes_the_place_of_a_large_one_and_back(store: Subject, loop: Loop) -> None:
    for length in (STREAMED, INLINE, IN_FILE, STREAMED):
        entry = make_entry(KEY, b"x" * length)
        store.put(entry)
        assert same(store.lookup(KEY), [entry], loop)


def test_variants_stand_side_by_side_the_latest_first(store: Subject, loop: Loop) -> None:
    variants = [make_entry(KEY, lang, language=lang) for lang in (b"de", b"en")]
    variants.append(make_entry(KEY, b"x" * STREAMED, language=None))
    for entry in variants:
        store.put(entry)
    assert same(store.lookup(KEY), variants[::-1], loop)


def test_only_so_many_variants_are_kept(store: Subject, loop: Loop) -> None:
    variants = [make_entry(KEY, b"%d" % n, language=b"%d" % n) for n in range(VARIANTS_MAX + 2)]
    for entry in variants:
        store.put(entry)
    assert same(store.lookup(KEY), variants[: -VARIANTS_MAX - 1 : -1], loop)


@pytest.mark.parametrize("length", [0, INLINE, IN_FILE, STREAMED])
def test_a_freshened_entry_takes_the_old_ones_place(store: Subject, loop: Loop, length: int) -> None:
    store.put(make_entry(KEY, b"x" * length, language=b"de", tags=(b"old",)))
    other = make_entry(KEY, b"other", language=b"en")
    store.put(other)
    (old,) = (entry for entry in store.lookup(KEY) if entry.selector == (b"de",))
    new = make_entry(KEY, b"x" * length, language=b"de", tags=(b"new",), at=NOW + 30)
    new.content = old.content
    store.replace(old, new)
    assert same(store.lookup(KEY), [other, new], loop)
    assert store.purge(Purge(Tags((b"old",)))).keys == 0
    assert store.purge(Purge(Tags((b"new",)))).keys == 1


@pytest.mark.parametrize("length", [INLINE, IN_FILE, STREAMED])
@pytest.mark.parametrize(("before", "after"), [(None, b"de"), (b"de", None), (b"de", b"en"), (b"de", b"fr")])
def test_what_is_freshened_with_another_vary_is_another_variant(
    store: Subject, loop: Loop, length: int, before: bytes | None, after: bytes | None
) -> None:
    bystander = make_entry(KEY, b"bystander", language=b"it")
    store.put(bystander)
    store.put(make_entry(KEY, b"y" * length, language=b"en"))
    store.put(make_entry(KEY, b"x" * length, language=before, tags=(b"old",)))
    (old,) = (entry for entry in store.lookup(KEY) if entry.selector == (() if before is None else (before,)))
    new = make_entry(KEY, b"x" * length, language=after, tags=(b"new",), at=NOW + 30)
    new.content = old.content
    store.replace(old, new)
    left = [] if after == b"en" else [(b"en",)]
    for _ in range(2):
        found = store.lookup(KEY)
        assert [entry.selector for entry in found] == [new.selector, *left, (b"it",)]
        assert same((found[0], found[-1]), [new, bystander], loop)
    assert store.purge(Purge(Tags((b"old",))), dry_run=True).entries == 0
    receipt = store.purge(Purge(Keys((KEY,))))
    assert (receipt.keys, receipt.entries) == (1, 2 + len(left))
    assert store.lookup(KEY) == ()


def test_nothing_is_freshened_that_has_gone(store: Subject) -> None:
    store.put(make_entry(KEY))
    (old,) = store.lookup(KEY)
    store.purge(Purge(Keys((KEY,))))
    store.replace(old, make_entry(KEY, at=NOW + 30))
    assert store.lookup(KEY) == ()


def test_nothing_is_freshened_that_was_superseded(store: Subject, loop: Loop) -> None:
    store.put(make_entry(KEY))
    (old,) = store.lookup(KEY)
    newer = make_entry(KEY, b"newer", at=NOW + 10)
    store.put(newer)
    store.replace(old, make_entry(KEY, at=NOW + 30))
    assert same(store.lookup(KEY), [newer], loop)


def stocked(store: Subject) -> None:
    store.put(make_entry(b"http://a.test/x", tags=(b"red", b"blue"), groups=(b"g",)))
    store.put(make_entry(b"http://a.test/x/1", b"x" * STREAMED, tags=(b"red",)))
    store.put(make_entry(b"http://a.test/y", language=b"de", tags=(b"blue",)))
    store.put(make_entry(b"http://a.test/y", language=b"en", tags=(b"green",)))
    store.put(make_entry(b"http://b.test/x", tags=(b"redder",), groups=(b"g",)))
    store.put(make_entry(b"http://b.test/\xff\xff", tags=(b"tag red",)))


PURGES = [
    (Keys((b"http://a.test/x", b"http://a.test/none", b"http://a.test/x")), {b"http://a.test/x"}),
    (Keys(()), set()),
    (Prefix(b"http://a.test/x"), {b"http://a.test/x", b"http://a.test/x/1"}),
    (Prefix(b"http://b.test/\xff"), {b"http://b.test/\xff\xff"}),
    (Prefix(b"nothing"), set()),
    (Tags((b"red",)), {b"http://a.test/x", b"http://a.test/x/1"}),
    (Tags((b"green", b"redder")), {b"http://a.test/y", b"http://b.test/x"}),
    (Tags((b"g",)), set()),
    (Groups(b"http://a.test", (b"g",)), {b"http://a.test/x"}),
    (Groups(b"http://b.test", (b"g", b"h")), {b"http://b.test/x"}),
    (
        Everything(),
        {b"http://a.test/x", b"http://a.test/x/1", b"http://a.test/y", b"http://b.test/x", b"http://b.test/\xff\xff"},
    ),
]
KEYS = PURGES[-1][1]


@pytest.mark.parametrize(("what", "keys"), PURGES)
def test_a_purge_removes_what_it_names_and_nothing_else(store: Subject, what, keys: set[bytes]) -> None:
    stocked(store)
    before = {key: len(store.lookup(key)) for key in KEYS}
    assert store.purge(Purge(what), dry_run=True).keys == len(keys)
    assert {key: len(store.lookup(key)) for key in KEYS} == before
    assert store.purge(Purge(what)).keys == len(keys)
    after = {key: len(store.lookup(key)) for key in KEYS}
    assert {key for key in KEYS if after[key] < before[key]} == keys
    assert store.purge(Purge(what)).keys == 0


def test_a_tag_removes_only_the_variants_that_have_it(store: Subject) -> None:
    stocked(store)
    receipt = store.purge(Purge(Tags((b"green",))))
    assert (receipt.keys, receipt.entries) == (1, 1)
    assert receipt.size > 0
    (left,) = store.lookup(b"http://a.test/y")
    assert left.selector == (b"de",)


@pytest.mark.parametrize(("what", "keys"), PURGES)
def test_a_soft_purge_makes_stale_and_keeps_the_windows(store: Subject, loop: Loop, what, keys: set[bytes]) -> None:
    stocked(store)
    assert store.purge(Purge(what, NOW + 20)).keys == len(keys)
    for key in KEYS:
        for entry in store.lookup(key):
            is_stale = not entry.is_fresh_at(NOW + 20)
            if isinstance(what, Tags) and key == b"http://a.test/y":
                assert is_stale == (not set(what.tags).isdisjoint(entry.tags))
                continue
            assert is_stale == (key in keys)
            assert entry.ttl_at(NOW + 20) == (0 if is_stale else 40)
            assert entry.stale_while_revalidate_until - entry.fresh_until == 10
            assert entry.stale_if_error_until - entry.fresh_until == 100
            assert image(entry, loop)["content"]


def test_what_was_made_stale_by_a_wrong_clock_can_be_freshened(store: Subject, loop: Loop) -> None:
    store.put(make_entry(KEY, at=NOW + 100_000))
    store.purge(Purge(Everything(), NEVER_FRESH))
    (old,) = store.lookup(KEY)
    assert old.fresh_until == 0.0
    new = make_entry(KEY, at=NOW)
    store.replace(old, new)
    assert same(store.lookup(KEY), [new], loop)


def test_a_soft_purge_leaves_what_is_stale_already(store: Subject, loop: Loop) -> None:
    entry = make_entry(KEY)
    store.put(entry)
    store.purge(Purge(Everything(), NOW + 1000))
    assert same(store.lookup(KEY), [entry], loop)


def test_what_is_put_after_a_purge_stays(store: Subject, loop: Loop) -> None:
    entry = make_entry(KEY, tags=(b"t",))
    for what in (Keys((KEY,)), Prefix(b"http"), Tags((b"t",)), Everything()):
        store.put(make_entry(KEY, b"old", tags=(b"t",)))
        store.purge(Purge(what))
        assert store.lookup(KEY) == ()
        store.put(entry)
        assert same(store.lookup(KEY), [entry], loop)
