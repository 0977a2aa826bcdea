"""What a disk store does beyond the contract: it outlives, streams, evicts, and gets over damage."""

from __future__ import annotations

import gc
import os
import sqlite3
import tracemalloc
from contextlib import closing, suppress
from threading import Event
from typing import TYPE_CHECKING

import pytest
from tests.stores.audit import audit, bodies
from tests.stores.backends import (
    IN_FILE,
    INLINE,
    LIMITS,
    NOW,
    STREAMED,
    Hold,
    Loop,
    Tiered,
    content_of,
    disk,
    image,
    make_entry,
    nobody,
)

from springhouse.rules.purging import Everything, Keys, Prefix, Purge, Receipt, Tags
from springhouse.stores.digests import CHUNK
from springhouse.stores.disk import database, writer
from springhouse.stores.disk.parts import DiskLimits
from springhouse.stores.disk.shared import Shared
from springhouse.stores.disk.tier import DiskTier
from springhouse.stores.errors import StoreErrors, Unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from springhouse.rules.entry import Entry

    Open = Callable[..., Tiered]

KEY = b"http://a.test/"


@pytest.fixture
def opened(folder: Path, loop: Loop) -> Iterator[Open]:
    """Open stores on the folder, any number of them, and close them in the end."""
    stores: list[Tiered] = []

    def start(**options: object) -> Tiered:
        stores.append(Tiered(disk(folder, loop, **options), loop))
        return stores[-1]

    yield start
    for store in stores:
        store.close()


def flush(store: Tiered) -> None:
    store.loop.result(lambda done: store.tier.flush(lambda: done(None)))


def same(found: tuple[Entry, ...], expected: list[Entry], loop: Loop) -> bool:
    return [image(entry, loop) for entry in found] == [image(entry, loop) for entry in expected]


def rows(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "entries.sqlite")) as db:
        return db.execute("SELECT count(*) FROM entries").fetchone()[0]


# Persistence and streaming.


def test_a_store_outlives_its_process(folder: Path, loop: Loop) -> None:
    entries = [make_entry(b"http://a.test/%d" % n, b"x" * n) for n in (0, INLINE, IN_FILE, STREAMED, 16 * 2**20)]
    first = Tiered(disk(folder, loop), loop)
    for entry in entries:
        first.put(entry)
    first.close()
    second = Tiered(disk(folder, loop), loop)
    for entry in entries:
        assert same(second.lookup(entry.key), [entry], loop)
    second.close()
    assert audit(folder) == []


def test_any_part_of_large_content_can_be_read(opened: Open, loop: Loop) -> None:
    store = opened()
    content = os.urandom(3 * CHUNK + 100)
    store.put(make_entry(KEY, content))
    stored = store.lookup(KEY)[0].content
    assert stored.length == len(content)
    for start in (0, 1, CHUNK - 1, CHUNK, 2 * CHUNK + 7, 3 * CHUNK, 3 * CHUNK + 99):
        for size in (1, 100, CHUNK, 10 * CHUNK):
            data = loop.result(lambda done, start=start, size=size: stored.read(start, size, done))
            assert 0 < len(data) <= size
            assert data == content[start : start + len(data)]
            assert len(data) == size or start + len(data) == min((start // CHUNK + 1) * CHUNK, len(content))


def test_content_that_was_found_can_be_read_after_it_was_purged(opened: Open, loop: Loop) -> None:
    store = opened()
    store.put(make_entry(KEY, b"x" * STREAMED))
    (entry,) = store.lookup(KEY)
    store.purge(Purge(Everything()))
    assert content_of(entry, loop) == b"x" * STREAMED


def test_found_content_is_let_go_of(opened: Open, folder: Path) -> None:
    store = opened()
    store.put(make_entry(KEY, b"x" * STREAMED))

    def descriptors() -> int:
        return sum(str(folder / "bodies") in path for path in map(_target, os.listdir("/proc/self/fd")))

    found = [store.lookup(KEY) for _ in range(10)]
    assert descriptors() == 10
    found.clear()
    flush(store)
    store.loop.result(store.tier.totals)  # the reader's thread, too, has let go
    gc.collect()
    assert descriptors() == 0


def _target(number: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""


def test_content_is_stored_while_it_arrives(opened: Open, folder: Path, loop: Loop) -> None:
    store = opened()
    content = os.urandom(CHUNK + 1000)
    arriving = store.tier.arrive(KEY, nobody)
    for start in range(0, len(content), 10_000):
        arriving.write(content[start : start + 10_000])
    assert arriving.length == len(content)
    flush(store)
    assert arriving.reached == len(content)
    assert loop.result(lambda done: arriving.read(5, 100, done)) == content[5:105]
    assert store.lookup(KEY) == ()
    entry = make_entry(KEY)
    arriving.commit(entry)
    assert entry.content.data == b"hello"  # whoever is being served from it is not disturbed
    (found,) = store.lookup(KEY)
    assert content_of(found, loop) == content
    flush(store)
    assert audit(folder) == []


def test_content_that_never_became_whole_leaves_nothing(opened: Open, folder: Path) -> None:
    store = opened()
    arriving = store.tier.arrive(KEY, nobody)
    arriving.write(b"x" * CHUNK)
    flush(store)
    assert len(bodies(folder)) == 1
    arriving.abandon()
    flush(store)
    assert bodies(folder) == []


def test_arriving_content_may_be_empty(opened: Open, loop: Loop) -> None:
    store = opened()
    store.tier.arrive(KEY, nobody).commit(make_entry(KEY))
    assert content_of(store.lookup(KEY)[0], loop) == b""


# Budget.


@pytest.mark.parametrize("length", [10, 1000, 7_000, 60_000, 200_000])
def test_the_budget_holds_on_the_disk(folder: Path, loop: Loop, length: int) -> None:
    budget = 8_000_000
    store = Tiered(disk(folder, loop, DiskLimits(budget=budget)), loop)
    for n in range(2 * budget // (length + 500)):
        store.put(make_entry(b"http://a.test/%d" % n, os.urandom(length), at=NOW + n))
        if n % 50 == 0:
            flush(store)
    flush(store)
    assert store.tier.evictions > 0
    assert store.loop.result(store.tier.totals).size <= budget
    store.close()
    assert audit(folder) == []
    used = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
    with closing(sqlite3.connect(folder / "entries.sqlite")) as db:
        (free,) = db.execute("PRAGMA freelist_count").fetchone()
    assert used - free * 8192 <= budget * 1.1
    assert used - free * 8192 >= budget * 0.6, "the sizes are counted too high"


def test_what_is_asked_for_survives_eviction(folder: Path, loop: Loop) -> None:
    store = Tiered(disk(folder, loop, DiskLimits(budget=1_000_000)), loop)
    wanted = [b"http://a.test/wanted/%d" % n for n in range(20)]
    for key in wanted:
        store.put(make_entry(key, b"x" * 1000))
    for n in range(3000):
        store.put(make_entry(b"http://a.test/%d" % n, b"x" * 1000))
        if n % 300 == 0:
            assert all(store.lookup(key) for key in wanted)
    flush(store)
    assert store.tier.evictions > 2000
    assert all(store.lookup(key) for key in wanted)
    store.close()


def test_what_is_in_use_in_memory_survives_eviction(folder: Path, loop: Loop) -> None:
    hot = {KEY}
    store = Tiered(disk(folder, loop, DiskLimits(budget=1_000_000), is_hot=lambda key: not hot or key in hot), loop)
    store.put(make_entry(KEY, b"x" * 1000))
    for n in range(3000):
        store.put(make_entry(b"http://a.test/%d" % n, b"x" * 1000))
    assert store.lookup(KEY)
    hot.clear()  # all are in use: all of them cannot stay
    for n in range(3000):
        store.put(make_entry(b"http://a.test/%d" % n, b"x" * 1000))
    flush(store)
    assert store.loop.result(store.tier.totals).size <= 1_000_000
    store.close()


def test_an_object_takes_half_of_the_budget_at_most(folder: Path, loop: Loop) -> None:
    store = Tiered(disk(folder, loop, DiskLimits(budget=1_000_000)), loop)
    store.put(make_entry(KEY, b"small"))
    store.put(make_entry(KEY, b"x" * 600_000))
    assert store.lookup(KEY) == ()  # not the one before it, either
    flush(store)
    assert bodies(folder) == []
    store.close()


def test_what_waits_to_be_written_is_bounded(folder: Path, loop: Loop) -> None:
    store = Tiered(disk(folder, loop, DiskLimits(waiting_max=1_000_000)), loop)
    store.put(make_entry(KEY, b"first"))
    for n in range(20):
        store.put(make_entry(b"http://a.test/%d" % n, b"x" * 600_000))
    store.put(make_entry(KEY, b"x" * 999_999))
    assert store.tier.errors.counts["slow"] > 0
    flush(store)
    found = store.lookup(KEY)
    assert not found or found[0].length == 999_999, "what it would have superseded must not come back"
    store.close()


# Damage.


def test_a_damaged_record_is_a_miss_and_forgotten(opened: Open, folder: Path) -> None:
    store = opened()
    for key in (b"http://a.test/1", b"http://a.test/2"):
        store.put(make_entry(key))
    flush(store)
    with closing(sqlite3.connect(folder / "entries.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE entries SET record = x'0190' WHERE key = ?", (b"http://a.test/1",))
    assert store.lookup(b"http://a.test/1") == ()
    assert store.lookup(b"http://a.test/2") != ()
    assert store.tier.errors.counts == {"damaged": 1}
    store.loop.until(lambda: rows(folder) == 1)


@pytest.mark.parametrize("value", ["NULL", "'text'", "12", "x''", "x'00'", "1.5"])
@pytest.mark.parametrize("column", ["record", "file", "size", "variant"])
def test_a_row_may_hold_anything(folder: Path, loop: Loop, column: str, value: str) -> None:
    store = Tiered(disk(folder, loop), loop)
    store.put(make_entry(KEY, b"x" * STREAMED))
    flush(store)
    with closing(sqlite3.connect(folder / "entries.sqlite", isolation_level=None)) as db:
        try:
            db.execute(f"UPDATE entries SET {column} = {value}")
        except sqlite3.IntegrityError:
            store.close()
            return
    store.lookup(KEY)
    entry = make_entry(KEY, b"new", at=NOW + 1)
    store.put(entry)
    flush(store)
    store.lookup(KEY)
    store.put(entry)
    assert same(store.lookup(KEY), [entry], loop)
    assert store.tier.errors.counts["bug"] == 0
    store.close()


@pytest.mark.parametrize("what", [Keys((KEY,)), Tags((b"red",)), Everything()])
@pytest.mark.parametrize("column", ["labels.label", "labels.id", "marks.since", "totals.size", "entries.file"])
@pytest.mark.parametrize("value", ["'text'", "9e999"])
def test_purges_hold_whatever_rows_hold(folder: Path, loop: Loop, column: str, value: str, what) -> None:
    store = Tiered(disk(folder, loop), loop)
    store.put(make_entry(KEY, b"x" * STREAMED, tags=(b"red",)))
    store.purge(Purge(Prefix(b"http://a"), NOW + 1))
    table, _, name = column.partition(".")
    with closing(sqlite3.connect(folder / "entries.sqlite", isolation_level=None)) as db, suppress(sqlite3.Error):
        db.execute(f"UPDATE {table} SET {name} = {value}")
    assert store.purge(Purge(what)).failure == ""
    assert store.lookup(KEY) == ()
    for at in (NOW + 2, NOW + 3):  # the first may find out that it is to be replaced
        store.put(make_entry(KEY, b"new", at=at))
        flush(store)
        found = store.lookup(KEY)
    assert [entry.content.data for entry in found] == [b"new"]
    assert store.tier.errors.counts["bug"] == 0
    store.close()


@pytest.mark.parametrize("length", [INLINE, IN_FILE, STREAMED])
def test_damaged_content_is_never_served(opened: Open, folder: Path, loop: Loop, length: int) -> None:
    store = opened()
    store.put(make_entry(KEY, b"x" * length))
    flush(store)
    for path in bodies(folder):
        path.write_bytes(b"x" * (length - 1) + b"y")
    with closing(sqlite3.connect(folder / "entries.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE contents SET content = ?", (b"x" * (length - 1) + b"y",))
    found = store.lookup(KEY)
    if length == STREAMED:
        assert loop.result(lambda done: found[0].content.read(0, length, done)) is None
    else:
        assert found == ()
    loop.until(lambda: rows(folder) == 0)
    assert store.lookup(KEY) == ()


@pytest.mark.parametrize("left", [0, 1, STREAMED - 1, STREAMED + 1, None])
def test_half_a_body_is_a_miss(opened: Open, folder: Path, loop: Loop, left: int | None) -> None:
    store = opened()
    store.put(make_entry(KEY, b"x" * STREAMED))
    flush(store)
    (path,) = bodies(folder)
    if left is None:
        path.unlink()
    else:
        os.truncate(path, left)
    assert store.lookup(KEY) == ()
    loop.until(lambda: rows(folder) == 0)


def test_a_row_cannot_name_a_file_elsewhere(opened: Open, folder: Path, tmp_path: Path) -> None:
    store = opened()
    store.put(make_entry(KEY, b"x" * STREAMED))
    flush(store)
    victim = tmp_path / "victim"
    victim.write_bytes(b"x" * STREAMED)
    with closing(sqlite3.connect(folder / "entries.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE entries SET file = '../../../victim'")
    assert store.lookup(KEY) == ()
    store.purge(Purge(Everything()))
    flush(store)
    assert victim.exists()


def test_records_of_another_secret_are_misses(folder: Path, loop: Loop) -> None:
    for secret, written in ((b"one", True), (b"two", False), (b"", False), (b"one", False)):
        store = Tiered(disk(folder, loop, secret=secret), loop)
        if written:
            store.put(make_entry(KEY))
            assert store.lookup(KEY)
        else:
            assert store.lookup(KEY) == ()  # and forgotten, so that not even the right secret finds it
        store.close()


def spoilt(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    match how:
        case "not a database":
            data[:] = b"This is a text file. " * 1000
        case "header":
            data[16:40] = os.urandom(24)
        case "empty pages":
            data[8192:] = bytes(len(data) - 8192)
        case "noise":
            data[4096:] = os.urandom(len(data) - 4096)
        case "schema":  # what SQLite says of it is no text
            data[:] = data.replace(b"entries_by_key", b"\x84" * 14).replace(b"CREATE UNIQUE", b"CREATE\x84UNIQUE")
        case "cut":
            del data[len(data) // 2 :]
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["not a database", "header", "empty pages", "noise", "schema", "cut"])
def test_a_corrupt_database_is_set_aside(folder: Path, loop: Loop, how: str) -> None:
    said: list[str] = []
    store = Tiered(disk(folder, loop), loop)
    for n in range(200):
        store.put(make_entry(b"http://a.test/%d" % n, b"x" * 1500))
    store.close()
    spoilt(folder / "entries.sqlite", how)
    store = Tiered(DiskTier(folder, LIMITS, loop=loop, errors=StoreErrors(said.append)), loop)
    for n in range(200):
        found = store.lookup(b"http://a.test/%d" % n)
        assert not found or same(found, [make_entry(b"http://a.test/%d" % n, b"x" * 1500)], loop)
    store.put(make_entry(KEY, b"new"))
    flush(store)
    store.lookup(KEY)
    store.put(make_entry(KEY, b"new"))
    assert store.lookup(KEY)
    store.close()
    assert list(folder.glob("entries.sqlite.corrupt-*"))
    assert any("renamed" in text and "corrupt-" in text for text in said)
    assert audit(folder) == []


def test_only_the_latest_corrupt_file_is_kept(folder: Path, loop: Loop) -> None:
    for _ in range(3):
        disk(folder, loop).close()
        (folder / "entries.sqlite").write_bytes(b"x" * 10_000)
    disk(folder, loop).close()
    assert len(list(folder.glob("entries.sqlite.corrupt-*"))) == 1


@pytest.mark.parametrize("statement", ["PRAGMA user_version=99", "DROP TABLE totals", "DELETE FROM totals",
                                       "CREATE TRIGGER t AFTER INSERT ON entries BEGIN SELECT 1; END"])  # fmt: skip
def test_a_database_of_another_kind_is_set_aside(folder: Path, loop: Loop, statement: str) -> None:
    disk(folder, loop).close()
    with closing(sqlite3.connect(folder / "entries.sqlite", isolation_level=None)) as db:
        db.execute(statement)
    store = Tiered(disk(folder, loop), loop)
    store.put(make_entry(KEY))
    assert store.lookup(KEY)
    store.close()
    assert list(folder.glob("entries.sqlite.foreign-*"))


def test_a_store_in_use_is_not_set_aside(opened: Open, folder: Path, loop: Loop) -> None:
    store = opened()
    with closing(sqlite3.connect(folder / "entries.sqlite", isolation_level=None)) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(Unusable, match="in use by another process"):
        disk(folder, loop)
    store.put(make_entry(KEY))
    assert store.lookup(KEY)


def test_an_older_format_is_brought_up_to_date(folder: Path, loop: Loop) -> None:
    store = Tiered(disk(folder, loop), loop)
    entry = make_entry(KEY)
    store.put(entry)
    store.close()
    said: list[str] = []
    now = database.FORMAT
    newer = {now: "CREATE TABLE one(x);", now + 1: "CREATE TABLE two(x);"}
    shared = Shared(folder)
    database.Database(folder, shared, StoreErrors(said.append), migrations=database.MIGRATIONS | newer).prepare()
    shared.close()
    assert len(said) == 2
    with closing(sqlite3.connect(folder / "entries.sqlite")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (now + 2,)
        db.execute(f"PRAGMA user_version={now}")  # this release knows no later one
    store = Tiered(disk(folder, loop), loop)
    assert same(store.lookup(KEY), [entry], loop)
    store.close()


@pytest.mark.parametrize("what", [Prefix(b"http://a"), Tags((b"t",)), Everything()])
@pytest.mark.parametrize("since", [None, NOW + 5])
def test_a_lookup_waits_for_no_purge_of_many_and_sees_it(opened: Open, loop: Loop, what, since) -> None:
    store = opened()
    for key in (KEY, b"http://a.test/2"):
        store.put(make_entry(key, tags=(b"t",)))
    loop.until(lambda: store.tier._writer.done == store.tier._writer.submitted)
    go = Event()
    store.tier.flush(Hold(go))
    receipts: list[Receipt] = []
    store.tier.purge(Purge(what, since), receipts.append)
    assert [entry.is_fresh_at(NOW + 5) for entry in store.lookup(KEY)] == ([] if since is None else [False])
    assert not receipts
    newer = make_entry(KEY, b"newer", tags=(b"t",))
    store.put(newer)
    go.set()
    assert same(store.lookup(KEY), [newer], loop)
    assert receipts[0].entries == 2


def test_a_store_of_the_first_format_takes_soft_purges(folder: Path, loop: Loop, opened: Open) -> None:
    store = Tiered(disk(folder, loop), loop)
    store.put(make_entry(KEY))
    store.close()
    with closing(sqlite3.connect(folder / "entries.sqlite")) as db:
        db.executescript("DROP TABLE marks; PRAGMA user_version=1;")
    store = opened()
    assert store.purge(Purge(Everything(), NOW + 5)).entries == 1
    (entry,) = store.lookup(KEY)
    assert not entry.is_fresh_at(NOW + 5)


@pytest.mark.parametrize("kind", ["file", "forbidden"])
def test_a_folder_that_cannot_be_used_is_said_so(tmp_path: Path, loop: Loop, kind: str) -> None:
    folder = tmp_path / "store"
    if kind == "file":
        folder.write_text("")
    else:
        folder = folder.joinpath("\0" if kind == "nul" else "x" * 300)
    with pytest.raises(Unusable, match="cannot be used"):
        disk(folder, loop)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_what_is_stored_is_nobody_elses_to_read(opened: Open, folder: Path) -> None:
    before = os.umask(0o022)
    try:
        store = opened()
        store.put(make_entry(KEY, b"x" * STREAMED))
        flush(store)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o077 == 0
    for path in [*folder.glob("entries.sqlite*"), *bodies(folder), folder / "numbers", folder / "lock"]:
        assert path.stat().st_mode & 0o077 == 0, path


# Sweeping.


def test_bodies_of_nobody_are_swept_when_the_store_opens(folder: Path, loop: Loop) -> None:
    store = Tiered(disk(folder, loop), loop)
    store.put(make_entry(KEY, b"x" * STREAMED))
    store.close()
    (kept,) = bodies(folder)
    for name in ("0123456789ab-1", "0123456789ab-2.part", "not one of ours"):
        (kept.parent / name).write_bytes(b"x")
    said: list[str] = []
    store = Tiered(DiskTier(folder, LIMITS, loop=loop, errors=StoreErrors(said.append)), loop)
    loop.until(lambda: said)
    assert {path.name for path in bodies(folder)} == {kept.name, "not one of ours"}
    assert same(store.lookup(KEY), [make_entry(KEY, b"x" * STREAMED)], loop)
    store.close()


def test_bodies_under_way_are_not_swept(opened: Open, folder: Path, loop: Loop) -> None:
    first = opened()
    arriving = first.tier.arrive(KEY, nobody)
    arriving.write(b"x" * CHUNK)
    flush(first)
    assert len(bodies(folder)) == 1
    second = opened()
    for store in (first, second):
        store.loop.result(lambda done, store=store: store.tier._readers.submit(
            lambda connection: (store.tier._sweep(connection), loop.deliver(done, None))))  # fmt: skip
    arriving.commit(make_entry(KEY))
    assert content_of(first.lookup(KEY)[0], loop) == b"x" * CHUNK


# Trouble with the disk.


def test_a_purge_that_cannot_be_written_empties_the_store(
    folder: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Tiered(disk(folder, loop), loop)
    for n in range(10):
        store.put(make_entry(b"http://a.test/%d" % n, b"x" * STREAMED, tags=(b"t",)))
    flush(store)
    generation = store.tier._shared.generation

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(writer.Rows, "pick", fail)
        assert store.purge(Purge(Tags((b"t",)))).failure == ""
    assert store.tier._shared.generation > generation
    assert all(store.lookup(b"http://a.test/%d" % n) == () for n in range(10))
    store.put(make_entry(KEY))
    assert store.lookup(KEY)
    store.close()


def test_putting_and_finding_go_on_when_the_loop_has_gone(folder: Path) -> None:
    class Gone(Loop):
        def call_soon_threadsafe(self, *_: object) -> None:
            raise RuntimeError("Event loop is closed")

    store = DiskTier(folder, LIMITS, loop=Gone(), errors=StoreErrors(lambda text: None))
    store.put(make_entry(KEY))
    store.lookup(KEY, lambda variants: None)
    store.purge(Purge(Prefix(b"http://b")), lambda receipt: None)
    store.close()
    assert rows(folder) == 1
    assert store.errors.counts["bug"] == 0


def test_a_failing_put_is_dropped_and_counted(opened: Open, loop: Loop) -> None:
    store = opened()
    illegal = make_entry(KEY)
    illegal.fields = [(b"X", b"a\0b")]
    store.put(illegal)
    wrong_length = make_entry(b"http://a.test/2")
    wrong_length.length = 3
    store.put(wrong_length)
    good = make_entry(b"http://a.test/3")
    store.put(good)
    assert store.lookup(KEY) == store.lookup(b"http://a.test/2") == ()
    assert same(store.lookup(good.key), [good], loop)
    assert store.tier.errors.counts == {"refused": 2}
    assert store.purge(Purge(Keys((good.key,)))).keys == 1


def test_what_waits_for_a_disk_that_stands_still_is_bounded(opened: Open, loop: Loop) -> None:
    """Small responses with long keys, freshened and purged as well: only their content was counted."""
    store = opened(limits=DiskLimits(waiting_max=2**20))
    store.put(make_entry(KEY, b"older"))
    loop.until(lambda: store.tier._writer.done == store.tier._writer.submitted)
    go = Event()
    store.tier.flush(Hold(go))
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(3000):
            entry = make_entry(b"http://a.test/%d" % number + 8000 * b"x", b"")
            store.put(entry)
            store.tier.replace(entry, make_entry(entry.key, b""))
            store.tier.purge(Purge(Tags((b"%d" % number + 1000 * b"x",))))
        del entry
        assert tracemalloc.get_traced_memory()[0] < 2**20 + 13 * 2**20
    finally:
        tracemalloc.stop()
    newer = make_entry(KEY, b"newer")
    store.tier.purge(Purge(Keys((KEY,))))
    go.set()
    assert store.lookup(KEY) == (), "what was asked for before is done before"
    store.put(newer)
    assert same(store.lookup(KEY), [newer], loop)
    assert store.tier._writer.waiting == 0
