"""A disk that hangs: what waits for it is bounded in bytes, and the cache goes on without it."""

from __future__ import annotations

import os
import sys
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.stores.backends import IN_FILE, LIMITS, NOW, Loop, disk, make_entry, memory_of

from springhouse.http.memo import BOUNDS, KIB, held
from springhouse.http.messages import Request
from springhouse.rules.purging import Keys, Purge
from springhouse.stores.lookups import REST
from springhouse.stores.store import Store
from springhouse.stores.tier import Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from springhouse.rules.entry import Entry

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in folders there")

LIMIT = BOUNDS["lookups"].limit
STUCK = [b"http://a.test/stuck/%d" % n for n in range(LIMITS.readers)]
OTHER = b"http://a.test/other"
MANY, LENGTH = 10_000, 4 * KIB


class Clock:
    """Time that passes when the test says so, and the timers that are due then."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def call_later(self, delay: float, call: Callable[[], object], /) -> None:
        self.timers.append((self.now + delay, call))

    def go(self, seconds: float) -> None:
        self.now += seconds
        due = [call for at, call in self.timers if at <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for call in due:
            call()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, loop: Loop, clock: Clock) -> Iterator[Store]:
    """Open a store that was used before: large content of some keys has become a pipe that nobody writes to."""
    before = disk(tmp_path / "store", loop)
    for key in STUCK:
        before.put(make_entry(key, b"x" * IN_FILE))
    before.close()
    for path in bodies(tmp_path):
        path.unlink()
        os.mkfifo(path)
    timing = Timing(call_later=clock.call_later, monotonic=lambda: clock.now, wall=lambda: NOW)
    store = Store(memory_of(50_000_000), lambda: disk(tmp_path / "store", loop), timing=timing)
    store.open()
    yield store
    store.close()


def bodies(tmp_path: Path) -> list[Path]:
    """Return the files of large content."""
    return [path for path in (tmp_path / "store" / "bodies").rglob("*") if not path.is_dir()]


@contextmanager
def hanging(store: Store, tmp_path: Path, loop: Loop) -> Iterator[None]:
    """Let each thread that reads from the disk hang, for as long as its pipe is not written to."""
    pipes = bodies(tmp_path)
    for key in STUCK:
        assert store.find(key, ignore) is None
    yield
    for pipe in pipes:
        loop.until(lambda pipe=pipe: opened_by_its_reader(pipe))


def opened_by_its_reader(pipe: Path) -> bool:
    """Let a thread that opens a pipe go on; return whether there was one."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def ignore(variants: tuple[Entry, ...]) -> None:
    """Take what was found."""


def flood(store: Store, start: int) -> int:
    """Look up many keys that nobody has asked for before; return for how many the disk was to be asked."""
    keys = (b"http://a.test/%d/" % n + LENGTH * b"x" for n in range(start, start + MANY))
    return sum(store.find(key, ignore) is None for key in keys)


def test_what_waits_for_a_disk_that_hangs_is_bounded_in_bytes(
    store: Store, tmp_path: Path, loop: Loop, clock: Clock
) -> None:
    with hanging(store, tmp_path, loop):
        tracemalloc.start()
        waiting = flood(store, 0)
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert 100 < waiting < MANY, "those beyond the bound are misses at once"
        assert LIMIT - 10 * LENGTH < held()["lookups"] <= LIMIT
        assert taken < LIMIT + BOUNDS["absent keys"].limit, "as much as is counted, at most"
        assert store.find(STUCK[0], ignore) == (), "nor may more wait for a lookup that has been made"
        assert store.tier.errors.counts["slow"]
    loop.until(lambda: held()["lookups"] == 0)
    assert store.find(OTHER, ignore) is None, "there is room again"
    loop.until(lambda: held()["lookups"] == 0)


def test_what_the_disk_has_yet_to_answer_counts_when_nobody_waits_for_it_any_more(
    store: Store, tmp_path: Path, loop: Loop, clock: Clock
) -> None:
    with hanging(store, tmp_path, loop):
        for round_ in range(5):
            flood(store, round_ * MANY)
            clock.go(LIMITS.patience)
            assert store.find(OTHER, ignore) == (), "the disk is left alone for a while"
            clock.go(REST * LIMITS.patience)
            assert held()["lookups"] <= LIMIT
        assert held()["lookups"] > LIMIT // 2, "what it was asked for still lies in its queue"
    loop.until(lambda: held()["lookups"] == 0)


def test_a_request_that_waits_counts_with_its_head(store: Store, tmp_path: Path, loop: Loop) -> None:
    with hanging(store, tmp_path, loop):
        tracemalloc.start()
        for number in range(MANY):
            request = Request(b"GET", b"/", [(b"X-%d" % number, bytes(60_000))])
            store.find(OTHER, _keeping(request), request)
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held()["lookups"] <= LIMIT
        assert taken < LIMIT + BOUNDS["absent keys"].limit
    loop.until(lambda: held()["lookups"] == 0)


def _keeping(request: Request) -> Callable[[tuple[Entry, ...]], None]:
    return lambda variants: ignore(variants if request else ())


def test_what_waits_to_learn_of_purges_is_bounded_in_bytes(store: Store, tmp_path: Path, loop: Loop) -> None:
    neighbour = disk(tmp_path / "store", loop)
    with hanging(store, tmp_path, loop):
        loop.result(lambda done: neighbour.purge(Purge(Keys((OTHER,))), done))
        waiting = flood(store, 0)
        assert 100 < waiting < MANY
        assert held()["lookups"] <= LIMIT
    loop.until(lambda: held()["lookups"] == 0)
    neighbour.close()
