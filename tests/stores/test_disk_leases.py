"""Leases between processes on one folder, with the locks of this system and with those that POSIX has everywhere."""

from __future__ import annotations

import errno
import os
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from tests.stores.backends import Hold, Loop, disk, make_entry
from tests.stores.neighbour import Neighbour

from springhouse.stores.disk import byte_locks
from springhouse.stores.disk import leases as disk_leases
from springhouse.stores.disk.leases import DiskLeaseLimits, Notes
from springhouse.stores.disk.parts import DiskLimits
from springhouse.stores.disk.tier import DiskTier
from springhouse.stores.errors import StoreErrors
from springhouse.stores.leases import Lease, LockStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY, OTHER = b"http://a.test/1", b"http://a.test/2"
K = KEY.decode()


def acquired(store: DiskTier, key: bytes, since: float | None = None) -> Lease | LockStatus:
    """Ask for a lease, having looked up its key just now or at a certain time."""
    return store.leases.acquire(key, b"", print, since=monotonic() if since is None else since)


@pytest.fixture(params=["own", "process"])
def neighbours(request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Neighbour]]:
    started: list[Neighbour] = []

    def start() -> Neighbour:
        started.append(Neighbour(folder, request.param))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end()


def test_one_fetches_and_the_others_find_it(neighbours: Callable[[], Neighbour]) -> None:
    one, two, three = neighbours(), neighbours(), neighbours()
    assert one(f"acquire {K}") == "lease"
    for other in (two, three):
        assert other(f"acquire {K}") == "waiting"
        assert other(f"wait {K}") == "waiting"
    assert one(f"acquire {K}") == "transient_error"
    one(f"put {K} fetched")
    one(f"release {K} done")
    for other in (two, three):
        assert other.answer() == "done"
        assert other(f"get {K}") == "fetched", "it was released before it was there"


def test_a_holder_that_is_killed_is_replaced_at_once(neighbours: Callable[[], Neighbour]) -> None:
    one, two = neighbours(), neighbours()
    assert one(f"acquire {K}") == "lease"
    assert two(f"acquire {K}") == "waiting"
    assert two(f"wait {K}") == "waiting"
    one.kill()
    assert two.answer() == "done"
    assert two(f"acquire {K}") == "lease"


@pytest.mark.parametrize("told", ["give_up", "transient_error"])
def test_those_who_wait_are_told_why_it_was_in_vain(neighbours: Callable[[], Neighbour], told: str) -> None:
    one, two, three = neighbours(), neighbours(), neighbours()
    assert one(f"acquire {K}") == "lease"
    for other in (two, three):
        assert other(f"acquire {K}") == "waiting"
        assert other(f"wait {K}") == "waiting"
    one(f"release {K} {told}")
    assert [other.answer() for other in (two, three)] == [told] * 2
    assert neighbours()(f"acquire {K}") == ("give_up" if told == "give_up" else "lease")


def test_who_had_missed_it_before_it_was_stored_looks_again_once(neighbours: Callable[[], Neighbour]) -> None:
    one, two = neighbours(), neighbours()
    assert two(f"get {K}") == "-"
    assert one(f"acquire {K}") == "lease"
    one(f"put {K} fetched")
    one(f"release {K} done")
    one("flush")
    assert two(f"acquire {K}") == "done"
    assert two(f"acquire {K}") == "lease"
    two(f"release {K} done")
    assert two(f"acquire {K}") == "lease", "its own note is no news to it"


def test_a_slow_disk_does_not_keep_the_others_waiting(folder: Path, loop: Loop) -> None:
    one, two = disk(folder, loop, DiskLimits(leases=DiskLeaseLimits(written=0.1))), disk(folder, loop)
    lease = acquired(one, KEY)
    is_writing_again = Event()
    one.flush(Hold(is_writing_again))
    one.put(make_entry(KEY))
    one.leases.release(lease)
    assert acquired(two, KEY) is LockStatus.WAITING
    assert loop.result(lambda done: two.leases.wait(KEY, b"", done)) is LockStatus.TRANSIENT_ERROR
    assert isinstance(acquired(two, KEY), Lease)
    is_writing_again.set()


def test_all_who_had_missed_it_at_the_same_time_look_again(folder: Path, loop: Loop) -> None:
    one, two = disk(folder, loop), disk(folder, loop)
    before = monotonic()
    one.leases.release(acquired(one, KEY))
    assert [acquired(two, KEY, before) for _ in range(3)] == [LockStatus.DONE] * 3
    assert isinstance(acquired(two, KEY), Lease), "this one has looked up since"
    one.close()
    two.close()


def test_a_lease_is_given_up_only_when_what_was_put_is_written(folder: Path, loop: Loop) -> None:
    one, two = disk(folder, loop), disk(folder, loop)
    for n in range(200):
        key = b"http://a.test/%d" % n
        lease = acquired(one, key)
        assert isinstance(lease, Lease)
        one.put(make_entry(key, b"x" * 3000))  # a file, and then a row
        one.leases.release(lease)
        while isinstance(answer := acquired(two, key), LockStatus) and answer is LockStatus.WAITING:
            loop.once(0.0)
        assert loop.result(lambda done, key=key: two.lookup(key, done)), n
        if isinstance(answer, Lease):
            two.leases.release(answer)
    one.close()
    two.close()


def test_who_cannot_write_lets_the_others_go_at_once(folder: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = disk(folder, loop), disk(folder, loop)
    lease = acquired(one, KEY)
    assert acquired(two, KEY) is LockStatus.WAITING
    told: list[LockStatus] = []
    two.leases.wait(KEY, b"", told.append)
    monkeypatch.setattr(one._writer, "_committed", lambda batch: False)
    one.put(make_entry(KEY))
    one.leases.release(lease)
    loop.until(lambda: told)
    assert told == [LockStatus.TRANSIENT_ERROR]
    monkeypatch.undo()
    one.close()
    two.close()


def test_what_is_released_and_asked_for_again_meanwhile_stays_with_its_process(folder: Path, loop: Loop) -> None:
    one, two = disk(folder, loop), disk(folder, loop)
    lease = acquired(one, KEY)
    one.put(make_entry(KEY))
    one.leases.release(lease)  # it waits to be written
    again = acquired(one, KEY)
    assert isinstance(again, Lease)
    loop.result(lambda done: one.flush(lambda: done(True)))
    assert acquired(two, KEY) is LockStatus.WAITING
    one.leases.release(again)
    assert isinstance(acquired(two, KEY), Lease | LockStatus)
    one.close()
    two.close()


def test_after_two_minutes_an_unshareable_key_may_be_shareable_again(
    folder: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_900_000_000.0
    monkeypatch.setattr(disk_leases, "time", lambda: now)
    one, two = disk(folder, loop), disk(folder, loop)
    one.leases.release(acquired(one, KEY), LockStatus.GIVE_UP)
    now += 119
    assert acquired(two, KEY) is LockStatus.GIVE_UP
    now += 2
    assert isinstance(acquired(two, KEY), Lease)
    now -= 10_000  # somebody has put the clock back
    assert isinstance(acquired(one, OTHER), Lease)
    one.close()
    two.close()


def test_notes_of_other_keys_say_nothing(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes")
    notes.note(LockStatus.GIVE_UP, 5)
    assert notes.is_younger(LockStatus.GIVE_UP, 5, 10)
    assert not notes.is_younger(LockStatus.GIVE_UP, 5 + 4096, 10)
    assert not notes.is_younger(LockStatus.DONE, 5, 10)
    notes.close()


def test_the_oldest_note_goes_when_a_bucket_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_900_000_000.0
    monkeypatch.setattr(disk_leases, "time", lambda: now)
    notes = Notes(tmp_path / "notes")
    keys = [5 + n * 4096 for n in range(5)]
    for key in (*keys[:4], keys[0], keys[4]):
        now += 0.01
        notes.note(LockStatus.DONE, key)
    assert [notes.is_younger(LockStatus.DONE, key, 10) for key in keys] == [True, False, True, True, True]
    notes.close()


@pytest.mark.parametrize("method", ["take", "is_taken"])
def test_when_locks_fail_everybody_goes_without(
    folder: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    one, two = disk(folder, loop), disk(folder, loop)
    assert isinstance(acquired(one, KEY), Lease)

    def fail(*_: object) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(byte_locks.OpenFileLocks, method, fail)
    assert acquired(two, KEY) is (LockStatus.WAITING if method == "is_taken" else LockStatus.TRANSIENT_ERROR)
    if method == "is_taken":
        assert loop.result(lambda done: two.leases.wait(KEY, b"", done)) is LockStatus.TRANSIENT_ERROR
    one.close()
    two.close()


def test_a_folder_without_locks_is_used_all_the_same(folder: Path, loop: Loop) -> None:
    folder.mkdir()
    (folder / "leases").write_text("in the way")
    said: list[str] = []
    store = DiskTier(folder, DiskLimits(), loop=loop, errors=StoreErrors(said.append))
    assert store.leases is None
    assert len(said) == 1
    assert "every process fetches for itself" in said[0]
    store.put(make_entry(KEY))
    assert loop.result(lambda done: store.lookup(KEY, done))
    store.close()


def test_descriptors_are_closed(folder: Path, loop: Loop) -> None:
    disk(folder, loop).close()
    before = lowest_free_descriptor()
    for _ in range(30):
        disk(folder, loop).close()
    assert lowest_free_descriptor() <= before


def lowest_free_descriptor() -> int:
    """Return the number that the next file to be opened will have."""
    found = os.open(os.devnull, os.O_RDONLY)
    os.close(found)
    return found


def test_nobody_is_told_anything_after_the_end(folder: Path, loop: Loop) -> None:
    one = disk(folder, loop)
    two = disk(folder, loop, DiskLimits(leases=DiskLeaseLimits(patience=0.05)))
    assert isinstance(acquired(one, KEY), Lease)
    told: list[LockStatus] = []
    two.leases.wait(KEY, b"", told.append)
    two.close()
    assert acquired(two, OTHER) is LockStatus.TRANSIENT_ERROR
    one.close()
    for _ in range(5):
        loop.once(0.03)
    assert told == []
