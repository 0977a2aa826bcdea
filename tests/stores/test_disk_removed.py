"""A folder that is removed, moved away or overwritten beneath the processes that use it."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from tests.stores.audit import audit
from tests.stores.backends import IN_FILE, INLINE, NOW, STREAMED, Loop, Tiered, disk, make_entry, nobody
from tests.stores.neighbour import Neighbour

from springhouse.rules.purging import Everything, Keys, Prefix, Purge
from springhouse.stores.leases import Lease, LockStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from springhouse.rules.entry import Entry

KEY, OTHER = b"http://a.test/1", b"http://a.test/2"


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def move_away(folder: Path) -> None:
    remove(folder.with_name("away"))
    folder.rename(folder.with_name("away"))


def move_away_and_begin_anew(folder: Path) -> None:
    move_away(folder)
    folder.mkdir()


def put_back(folder: Path) -> None:
    """Put a copy of an earlier time in its place."""
    shutil.copytree(folder.with_name("copy"), folder.with_name("again"))
    move_away(folder)
    folder.with_name("again").rename(folder)


def without(*names: str) -> Callable[[Path], None]:
    def remove_some(folder: Path) -> None:
        for name in names:
            for path in folder.glob(name):
                remove(path) if path.is_dir() else path.unlink()

    return remove_some


def overwrite(folder: Path) -> None:
    (folder / "entries.sqlite").write_bytes(os.urandom(100_000))


def empty(folder: Path) -> None:
    os.truncate(folder / "entries.sqlite", 0)


def another(folder: Path) -> None:
    """Write another database into the file, as `cp` does."""
    other = folder.with_name("other.sqlite")
    other.unlink(missing_ok=True)
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE something(else_)")
    shutil.copyfile(other, folder / "entries.sqlite")


SABOTAGE: dict[str, Callable[[Path], None]] = {
    "all": remove,
    "moved": move_away,
    "moved, an empty one in its place": move_away_and_begin_anew,
    "an old copy": put_back,
    "bodies": without("bodies"),
    "database": without("entries.sqlite"),
    "database and its log": without("entries.sqlite*"),
    "log of the database": without("entries.sqlite-wal"),
    "index of that log": without("entries.sqlite-shm"),
    "leases": without("leases"),
    "numbers": without("numbers"),
    "lock": without("lock"),
    "processes": without("processes"),
    "all but the database": without("bodies", "leases", "numbers", "lock", "processes"),
    "garbage": overwrite,
    "nothing left in the file": empty,
    "another database": another,
}


def flush(store: Tiered) -> None:
    store.loop.result(lambda done: store.tier.flush(lambda: done(None)))


def works(store: Tiered, key: bytes, content: bytes) -> bool:
    """Say whether what is put now is found."""
    store.put(make_entry(key, content, at=NOW + 1))
    flush(store)
    return [entry.length for entry in store.lookup(key)] == [len(content)]


def until_it_works(store: Tiered, length: int = INLINE) -> None:
    end = time.monotonic() + 5
    for n in count():
        if works(store, b"http://a.test/works/%d" % n, b"w" * length):
            return
        assert time.monotonic() < end, "nothing is stored any more"
        time.sleep(0.05)


@pytest.mark.parametrize("how", SABOTAGE)
def test_the_folder_is_made_anew_and_purges_hold(folder: Path, loop: Loop, how: str) -> None:
    store = Tiered(disk(folder, loop), loop)
    flush(store)
    shutil.copytree(folder, folder.with_name("copy"))
    for n in range(4):
        store.put(make_entry(b"http://a.test/%d" % n, b"x" * (INLINE, IN_FILE, STREAMED)[n % 3]))
    flush(store)
    SABOTAGE[how](folder)
    for what in (Keys((KEY,)), Prefix(b"http://a.test/")):
        began = time.monotonic()
        receipt = store.purge(Purge(what))
        assert time.monotonic() - began < 2
        assert receipt.failure == ""
        assert store.lookup(KEY) == ()
    assert store.lookup(OTHER) == ()
    for length in (INLINE, STREAMED):
        until_it_works(store, length)
    assert isinstance(store.tier.leases.acquire(KEY, b"", nobody, since=time.monotonic()), Lease)
    began = time.monotonic()
    store.close()
    assert time.monotonic() - began < 2
    assert store.tier.errors.counts["bug"] == 0
    assert [fault for fault in audit(folder) if "of nobody" not in fault] == []


@pytest.mark.parametrize("how", ["all", "an old copy", "numbers"])
def test_all_processes_agree_afterwards(folder: Path, loop: Loop, neighbour: Neighbour, how: str) -> None:
    store = Tiered(disk(folder, loop), loop)
    flush(store)
    shutil.copytree(folder, folder.with_name("copy"))
    for n in range(3):
        store.purge(Purge(Keys((b"http://a.test/%d" % n,))))
    assert neighbour(f"get {KEY.decode()}") == "-"
    neighbour(f"put {KEY.decode()} first")
    neighbour("flush")
    assert neighbour(f"get {KEY.decode()}") == "first"
    SABOTAGE[how](folder)
    newcomer = Neighbour(folder)
    try:
        assert store.purge(Purge(Keys((KEY,)))).failure == ""
        for process in (neighbour, newcomer):
            assert process(f"get {KEY.decode()}") == "-"
        until_it_works(store)
        for number, process in enumerate((neighbour, newcomer)):
            process(f"put {KEY.decode()} {number}")
            process("flush")
            assert store.purge(Purge(Keys((KEY,)))).failure == ""
            assert neighbour(f"get {KEY.decode()}") == "-"
            assert newcomer(f"get {KEY.decode()}") == "-"
            until_it_works(store)
    finally:
        newcomer.end()
        store.close()


def test_who_waits_for_a_lease_of_a_folder_that_is_removed_is_told(
    folder: Path, loop: Loop, neighbour: Neighbour
) -> None:
    store = disk(folder, loop)
    assert neighbour(f"acquire {KEY.decode()}") == "lease"
    assert store.leases.acquire(KEY, b"", nobody, since=time.monotonic()) is LockStatus.WAITING
    told: list[LockStatus] = []
    for _ in range(20):
        store.leases.wait(KEY, b"", told.append)
    remove(folder)
    began = time.monotonic()
    loop.until(lambda: len(told) == 20)
    assert time.monotonic() - began < 5, "not only when their patience has ended"
    store.close()


def test_a_file_in_place_of_the_folder_costs_hits_not_answers(folder: Path, loop: Loop) -> None:
    store = Tiered(disk(folder, loop), loop)
    store.put(make_entry(KEY, b"before"))
    flush(store)
    for _ in range(100):
        remove(folder)
        with suppress(IsADirectoryError):  # the store was quicker
            folder.write_bytes(b"not a folder")
            break
    assert folder.is_file()
    receipt = store.purge(Purge(Keys((KEY,))))
    assert receipt.processes == 1
    store.put(make_entry(OTHER, b"after"))
    assert store.lookup(KEY) == store.lookup(OTHER) == ()
    folder.unlink()
    until_it_works(store)
    assert store.lookup(KEY) == ()
    store.close()


@pytest.fixture
def no_space(folder: Path) -> Iterator[Callable[[bool], None]]:
    """Return what makes the disk full in a way that not even removing files helps, and undoes that."""
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def set_full(is_full: bool) -> None:
        flag, limit = ("+i", 0) if is_full else ("-i", resource.RLIM_INFINITY)
        if subprocess.run(["chattr", flag, str(folder)], capture_output=True, check=False).returncode:
            pytest.skip("may not make a folder immutable")
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    yield set_full
    set_full(False)
    signal.signal(signal.SIGXFSZ, handled)


def test_what_is_purged_is_not_found_although_that_cannot_be_written_down(
    folder: Path, loop: Loop, no_space: Callable[[bool], None]
) -> None:
    store = Tiered(disk(folder, loop), loop)
    store.put(make_entry(KEY, b"before"))
    store.put(make_entry(OTHER, b"before"))
    flush(store)
    no_space(True)
    assert store.purge(Purge(Keys((KEY,)))).failure != ""
    assert store.lookup(KEY) == ()
    no_space(False)
    until_it_works(store)
    assert store.lookup(KEY) == ()
    assert store.lookup(OTHER) != ()
    store.close()


class Asked:
    """Counts for everything that is asked how often it was answered."""

    def __init__(self) -> None:
        self.answers: dict[str, int] = {}

    def __call__(self, what: str) -> Callable[..., Any]:
        name = f"{what} {len(self.answers)}"
        self.answers[name] = 0

        def answered(*_: object) -> None:
            self.answers[name] += 1

        return answered


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_removed_whenever_everything_is_answered_once(folder: Path, loop: Loop, seed: int) -> None:
    chance = random.Random(seed)
    tier = disk(folder, loop)
    loop.result(lambda done: tier.flush(lambda: done(None)))
    shutil.copytree(folder, folder.with_name("copy"))
    asked = Asked()
    for n in range(150):
        key = b"http://a.test/%d" % chance.randrange(20)
        content = b"x" * chance.choice((INLINE, IN_FILE, STREAMED))
        entry: Entry = make_entry(key, content, at=NOW + n, tags=(b"t",))
        match chance.randrange(9):
            case 0 | 1:
                tier.put(entry)
            case 2:
                tier.lookup(key, asked("lookup"))
            case 3:
                tier.purge(Purge(chance.choice((Keys((key,)), Everything()))), asked("purge"))
            case 4:
                tier.purge(Purge(Prefix(b"http://a.test/1"), NOW), asked("count"), dry_run=True)
            case 5:
                tier.flush(asked("flush"))
            case 6:
                tier.catch_up(asked("news"))
            case 7:
                ended = asked("arriving")
                arriving = tier.arrive(key, lambda: None)
                arriving.write(content)
                arriving.read(0, len(content), ended)
                arriving.commit(entry) if chance.random() < 0.7 else arriving.abandon()
            case 8 if n % 3 == 0:
                with suppress(OSError):  # a process is at work there
                    SABOTAGE[chance.choice(list(SABOTAGE))](folder)
        if chance.random() < 0.3:
            loop.once(timeout=0.001)
    loop.until(lambda: all(asked.answers.values()))
    assert {name: times for name, times in asked.answers.items() if times != 1} == {}
    store = Tiered(tier, loop)
    until_it_works(store)
    assert tier.errors.counts["bug"] == 0
    store.close()
