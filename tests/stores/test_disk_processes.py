"""Two processes on one folder: what one stores the other finds, what one purges the other never serves again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from msgspec import msgpack
from tests.stores.audit import audit
from tests.stores.backends import (
    IN_FILE,
    LIMITS,
    NOW,
    STREAMED,
    Loop,
    Tiered,
    content_of,
    disk,
    layered_disk,
    make_entry,
    nobody,
)
from tests.stores.neighbour import Neighbour

from springhouse.rules.purging import Everything, Keys, Prefix, Purge, Tags

if TYPE_CHECKING:
    from pathlib import Path

KEY, OTHER = b"http://a.test/1", b"http://a.test/2"


def test_what_one_stores_the_other_finds(folder: Path, neighbour: Neighbour) -> None:
    second = Neighbour(folder)
    neighbour(f"put {KEY.decode()} hello")
    neighbour(f"put {OTHER.decode()} {'x' * STREAMED}")
    neighbour("flush")
    assert second(f"get {KEY.decode()}") == "hello"
    assert second(f"get {OTHER.decode()}") == "x" * STREAMED
    second.end()


def test_a_purge_is_seen_by_all_before_it_is_answered(folder: Path, neighbour: Neighbour) -> None:
    second = Neighbour(folder)
    for number in range(50):
        neighbour(f"put {KEY.decode()} {number}")
        neighbour("flush")
        assert second(f"get {KEY.decode()}") == str(number)  # it is in both memories now
        assert neighbour(f"get {KEY.decode()}") == str(number)
        assert second(f"purge {KEY.decode()}") == "1"
        assert neighbour(f"get {KEY.decode()}") == "-"
        assert neighbour("told") == str(number + 1)
    second.end()


def test_what_was_fetched_before_a_purge_elsewhere_is_not_stored(
    folder: Path, loop: Loop, neighbour: Neighbour
) -> None:
    store = Tiered(disk(folder, loop), loop)
    neighbour(f"purge {KEY.decode()}")
    store.put(make_entry(KEY))  # it has not been told of the purge: the entry may be older
    store.put(make_entry(OTHER))
    arriving = store.tier.arrive(KEY, nobody)
    arriving.write(b"x" * STREAMED)
    arriving.commit(make_entry(KEY))
    loop.result(lambda done: store.tier.lookup(OTHER, done))
    assert loop.result(lambda done: store.tier.lookup(KEY, done)) == ()
    assert loop.result(lambda done: store.tier.lookup(OTHER, done)) != ()
    assert store.news() == [Purge(Keys((KEY,)))]
    assert not store.tier.has_foreign_purges()
    store.put(make_entry(KEY))
    assert store.lookup(KEY)
    store.close()


def died_before_it_was_announced(folder: Path) -> None:
    """Leave a purge of KEY in the log whose process did not live to say so."""
    with closing(sqlite3.connect(folder / "entries.sqlite", isolation_level=None)) as db:
        purge = msgpack.encode(Purge(Keys((KEY,))))
        db.execute("INSERT INTO purges(process, purge) VALUES('0123456789ab', ?)", (purge,))


def test_a_purge_of_a_process_that_died_is_announced_by_the_others(folder: Path, loop: Loop) -> None:
    store = Tiered(disk(folder, loop), loop)
    died_before_it_was_announced(folder)
    loop.until(store.tier.has_foreign_purges)
    assert store.news() == [Purge(Keys((KEY,)))]
    store.close()


def test_a_purge_of_a_process_that_died_is_no_news_to_the_next(folder: Path, loop: Loop) -> None:
    disk(folder, loop).close()
    died_before_it_was_announced(folder)
    store = Tiered(disk(folder, loop), loop)
    assert not store.tier.has_foreign_purges()
    store.put(make_entry(KEY))
    assert store.lookup(KEY)
    store.close()


@pytest.mark.parametrize("what", [Keys((KEY,)), Prefix(b"http://a.test/"), Tags((b"t",)), Everything()])
@pytest.mark.parametrize("is_soft", [True, False])
def test_every_purge_reaches_the_other_memory(folder: Path, loop: Loop, what, is_soft: bool) -> None:
    one, two = (layered_disk(folder, loop, 50_000_000) for _ in range(2))
    one.put(make_entry(KEY, tags=(b"t",)))
    loop.result(lambda done: one.tier.flush(lambda: done(None)))
    assert two.lookup(KEY)[0].is_fresh_at(NOW + 5)
    one.purge(Purge(what, NOW + 5 if is_soft else None))
    assert two.store.is_behind()
    assert two.store.lookup(KEY) == ()  # not even while it has not been told
    found = two.lookup(KEY)
    assert len(found) == is_soft
    assert not any(entry.is_fresh_at(NOW + 5) for entry in found)
    assert not two.store.is_behind()
    assert not one.store.is_behind(), "one's own purges are no news"
    one.close()
    two.close()


def test_who_misses_too_much_forgets_everything(folder: Path, loop: Loop) -> None:
    one, two = (Tiered(disk(folder, loop, replace(LIMITS, purges_kept=5)), loop) for _ in range(2))
    for _ in range(20):
        one.purge(Purge(Keys((OTHER,))))
    with closing(sqlite3.connect(folder / "entries.sqlite")) as db:
        loop.until(lambda: db.execute("SELECT count(*) FROM purges").fetchone() == (5,))
    assert two.news() == [Purge(Everything())]
    assert two.news() == []
    one.close()
    two.close()


def test_a_replaced_database_is_replaced_for_all(folder: Path, loop: Loop) -> None:
    one, two = (Tiered(disk(folder, loop), loop) for _ in range(2))
    for store in (one, two):
        store.put(make_entry(b"http://a.test/%d" % id(store), b"x" * IN_FILE))
        assert store.lookup(b"http://a.test/%d" % id(store))
    one.tier._database.renew(one.tier._shared.generation, "the test says so")
    assert two.tier.has_foreign_purges()
    assert two.news() == [Purge(Everything())]
    for store in (one, two):
        assert store.lookup(b"http://a.test/%d" % id(one)) == ()
        assert store.lookup(b"http://a.test/%d" % id(two)) == ()
    for store in (one, two):
        store.put(make_entry(b"http://a.test/%d" % id(store)))
        loop.result(lambda done, store=store: store.tier.flush(lambda: done(None)))
    assert one.lookup(b"http://a.test/%d" % id(two))
    one.close()
    two.close()


def test_two_processes_write_at_the_same_time(folder: Path, loop: Loop, neighbour: Neighbour) -> None:
    store = layered_disk(folder, loop, 50_000_000)
    for number in range(300):
        neighbour(f"put http://b.test/{number} {'n' * (number * 10 + 1)}")
        store.put(make_entry(b"http://a.test/%d" % number, b"m" * (number * 10)))
    neighbour("flush")
    loop.result(lambda done: store.tier.flush(lambda: done(None)))
    for number in range(300):
        (found,) = store.lookup(b"http://b.test/%d" % number)
        assert content_of(found, loop) == b"n" * (number * 10 + 1)
        assert neighbour(f"get http://a.test/{number}") == "m" * (number * 10)
    assert store.tier.errors.counts == {}
    store.close()
    neighbour.end()
    assert audit(folder) == []
