"""What a receipt counts: each entry that could be served once, wherever it stood, whoever had it."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.stores.backends import STREAMED, Hold, Layered, Loop, layered_disk, make_entry, memory_of
from tests.stores.redis_backend import redis_tier
from tests.support.redis_server import RedisServer, redis_server, shared_redis

from springhouse.rules.purging import Everything, Keys, Prefix, Purge, Receipt, Tags
from springhouse.stores.store import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from springhouse.rules.purging import Selection

__all__ = ["redis_server", "shared_redis"]

KEY, OTHER = b"http://a.test/1", b"http://a.test/2"
WAYS: list[Selection] = [Keys((KEY,)), Prefix(b"http://a"), Tags((b"t",)), Everything()]
EACH_WAY = pytest.mark.parametrize("what", WAYS, ids=lambda what: type(what).__name__)
EACH_KIND = pytest.mark.parametrize("since", [None, 5.0], ids=["hard", "soft"])


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture(params=["disk", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, loop: Loop) -> Iterator[Callable[[], Layered]]:
    """Return a function that opens stores, each with a memory of its own, that share a tier of either kind."""
    stores: list[Layered] = []

    def start() -> Layered:
        if request.param == "disk":
            stores.append(layered_disk(tmp_path / "store", loop, 50_000_000))
        else:
            server = request.getfixturevalue("shared_redis")
            stores.append(Layered(redis_tier(server, tmp_path, loop), loop, memory=memory_of(50_000_000)))
        return stores[-1]

    yield start
    for store in stores:
        store.close()


def fill(store: Layered, *keys: bytes, **options: object) -> None:
    """Store something under each key, in memory and behind it."""
    for key in keys:
        assert store.lookup(key) == ()
        store.put(make_entry(key, tags=(b"t",), **options))
    store.loop.result(lambda done: store.tier.flush(lambda: done(None)))


def lose(store: Layered) -> None:
    """Let the tier lose all it has, as an eviction by another process would; memory keeps it."""
    if hasattr(store.tier, "_database"):
        with closing(sqlite3.connect(store.tier._database.path)) as db:
            db.executescript(
                "DELETE FROM entries; DELETE FROM contents; DELETE FROM labels; UPDATE totals SET entries = 0"
            )
        return
    redis = store.tier.store
    with closing(redis_client(store)) as client:
        for base in redis.layout.bases:
            for kind in (b"e:", b"l:", b"names", b"ends"):
                for name in client.scan_iter(match=base + kind + b"*", count=10_000):
                    client.delete(name)


def redis_client(store: Layered):
    import redis

    host, port = store.tier.store._link._address.hosts[0]
    return redis.Redis(host=host, port=port)


def counts(receipt: Receipt) -> tuple[int, int]:
    assert receipt.failure == ""
    assert (receipt.size > 0) == (receipt.entries > 0)
    return receipt.keys, receipt.entries


@EACH_WAY
@EACH_KIND
def test_what_memory_and_tier_both_hold_counts_once(opened: Callable[[], Layered], what, since) -> None:
    store = opened()
    fill(store, KEY)
    assert counts(store.purge(Purge(what, since), dry_run=True)) == (1, 1)
    assert counts(store.purge(Purge(what, since))) == (1, 1)


@EACH_WAY
@EACH_KIND
def test_what_only_memory_holds_counts(opened: Callable[[], Layered], what, since) -> None:
    store = opened()
    fill(store, KEY)
    lose(store)
    assert len(store.lookup(KEY)) == 1, "it is a hit"
    assert counts(store.purge(Purge(what, since), dry_run=True)) == (1, 1)
    assert counts(store.purge(Purge(what, since))) == (1, 1)
    if since is None:
        assert counts(store.purge(Purge(what))) == (0, 0)


@EACH_WAY
def test_variants_count_where_they_are_and_their_key_once(opened: Callable[[], Layered], what) -> None:
    store, other = opened(), opened()
    fill(store, KEY)
    lose(store)
    other.put(make_entry(KEY, language=b"de", tags=(b"t",)))
    other.loop.result(lambda done: other.tier.flush(lambda: done(None)))
    assert counts(store.purge(Purge(what), dry_run=True)) == (1, 2)
    assert counts(store.purge(Purge(what))) == (1, 2)


def test_what_the_tier_has_without_the_tag_is_another(opened: Callable[[], Layered]) -> None:
    store, other = opened(), opened()
    fill(store, KEY)
    other.put(make_entry(KEY))
    other.loop.result(lambda done: other.tier.flush(lambda: done(None)))
    assert counts(store.purge(Purge(Tags((b"t",))))) == (1, 1)
    assert counts(store.purge(Purge(Everything()))) == (1, 1)


def applied(store: Layered, purge: Purge) -> Receipt:
    """Return what a worker says that another one had told of a purge."""
    return store.loop.result(lambda done: store.store.purge(purge, done, scope=Scope.HERE))


def purged(store: Layered, purge: Purge, *others: Receipt) -> Receipt:
    """Purge as a worker that was asked for it does, once the others have applied it."""
    held = [item for receipt in others for item in receipt.held]
    return store.loop.result(lambda done: store.store.purge(purge, done, held=held))


@EACH_WAY
def test_what_several_memories_hold_counts_once(opened: Callable[[], Layered], what) -> None:
    workers = [opened() for _ in range(3)]
    fill(workers[0], KEY)
    for worker in workers[1:]:
        assert len(worker.lookup(KEY)) == 1
    lose(workers[0])
    asked, *others = workers
    receipts = [applied(other, Purge(what)) for other in others]
    assert [len(receipt.held) for receipt in receipts] == [1, 1]
    assert counts(purged(asked, Purge(what), *receipts)) == (1, 1)
    assert [store.lookup(KEY) for store in workers] == [()] * 3


def test_what_others_have_purged_is_not_counted_again(opened: Callable[[], Layered]) -> None:
    one, other = opened(), opened()
    fill(one, KEY, OTHER)
    assert len(other.lookup(KEY)) == 1
    assert counts(one.purge(Purge(Everything()))) == (2, 2)
    assert counts(other.purge(Purge(Everything()))) == (0, 0)
    assert applied(one, Purge(Everything())).held == ()


@pytest.fixture
def on_disk(tmp_path: Path, loop: Loop) -> Iterator[Callable[..., Layered]]:
    """Return a function that opens stores on one folder."""
    stores: list[Layered] = []

    def start(**more: Any) -> Layered:
        stores.append(layered_disk(tmp_path / "store", loop, **more))
        return stores[-1]

    yield start
    for store in stores:
        store.close()


def held_up(store: Layered) -> threading.Event:
    """Let a disk store write nothing more until the event is set."""
    go = threading.Event()
    store.tier.flush(Hold(go))
    return go


@EACH_WAY
@pytest.mark.parametrize("size", [10, STREAMED])
def test_what_waits_to_be_written_in_another_process_counts(on_disk: Callable[[], Layered], what, size: int) -> None:
    asked, other = on_disk(), on_disk()
    go = held_up(other)
    other.put(make_entry(KEY, b"x" * size, tags=(b"t",)))
    answers: list[Receipt] = []
    other.store.purge(Purge(what), answers.append, scope=Scope.HERE)
    assert not answers, "what is being written is written before"
    go.set()
    other.loop.until(lambda: answers)
    assert counts(purged(asked, Purge(what), *answers)) == (1, 1)
    assert [store.lookup(KEY) for store in (asked, other)] == [(), ()]


@EACH_WAY
def test_what_cannot_be_written_in_time_counts_if_memory_holds_it(on_disk: Callable[..., Layered], what) -> None:
    asked, other = on_disk(), on_disk(written=0.05)
    assert other.lookup(KEY) == ()
    go = held_up(other)
    other.put(make_entry(KEY, tags=(b"t",)))
    assert len(other.lookup(KEY)) == 1, "it is a hit"
    assert counts(purged(asked, Purge(what), applied(other, Purge(what)))) == (1, 1)
    go.set()
    assert [store.lookup(KEY) for store in (asked, other)] == [(), ()]


@EACH_WAY
def test_what_waits_to_be_written_in_the_process_that_is_asked_counts(on_disk: Callable[[], Layered], what) -> None:
    store = on_disk()
    go = held_up(store)
    store.put(make_entry(KEY, b"x" * STREAMED, tags=(b"t",)))
    answers: list[Receipt] = []
    store.store.purge(Purge(what), answers.append)
    go.set()
    store.loop.until(lambda: answers)
    assert counts(answers[0]) == (1, 1)


def test_a_disk_that_cannot_be_written_is_said_and_memory_counted(
    on_disk: Callable[[], Layered], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = on_disk()
    fill(store, KEY)
    writer = store.tier._writer
    monkeypatch.setattr(writer, "_committed", lambda batch: False)
    monkeypatch.setattr(writer, "_insist", lambda vital: False)
    receipt = store.purge(Purge(Everything()))
    assert (receipt.entries, receipt.failure) == (1, "the store could not be written")


@EACH_WAY
def test_what_memory_holds_counts_while_redis_is_away(
    redis_server: RedisServer, tmp_path: Path, loop: Loop, what
) -> None:
    store = Layered(redis_tier(redis_server, tmp_path, loop), loop, memory=memory_of(50_000_000))
    try:
        redis_server.kill()
        loop.until(lambda: not store.tier.store.is_up or store.lookup(OTHER))
        fill(store, KEY)
        receipt = store.purge(Purge(what), dry_run=True)
        assert (receipt.entries, bool(receipt.failure)) == (1, True)
        receipt = store.purge(Purge(what))
        assert (receipt.keys, receipt.entries, bool(receipt.failure)) == (1, 1, True)
    finally:
        store.close()
