"""Content that goes to the disk while it arrives: what memory holds of it, what is stored in the end (laws 3 and 7)."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

import pytest
from tests.engine.fills import BACKLOG_MAX, BUDGET, WHOLE_MAX, Filling, Stores
from tests.stores.backends import content_of

from springhouse.engine.fill import Fill
from springhouse.engine.recordings import Recording
from springhouse.rules.purging import Keys, Purge
from springhouse.stores.disk.files import PartFile
from springhouse.stores.disk.incoming import Incoming

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGE = os.urandom(3 * BUDGET)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    opened = Stores(tmp_path)
    yield opened
    opened.disk.close()


@pytest.mark.parametrize("length", [len(LARGE), None])
def test_an_object_may_be_larger_than_memory(stores: Stores, length: int | None) -> None:
    fill = Filling(stores, length=length)
    client, _ = fill.join()
    most = 0
    for at in range(0, len(LARGE), 300):
        fill.feed(LARGE[at : at + 300])
        most = max(most, fill.held)
        assert fill.fill.has_room(0)
        assert stores.reserved == fill.held
        fill.until(lambda: not fill.origin.is_paused)
    assert most < WHOLE_MAX + BACKLOG_MAX + 600
    fill.finish()
    assert client.state == (LARGE, 1, 0)
    assert stores.reserved == 0
    (found,) = stores.find(fill.entry.key)
    assert content_of(found, stores.loop) == LARGE
    assert found.length == len(LARGE)
    assert stores.store.records == {}


@pytest.mark.parametrize(("length", "announced"), [(WHOLE_MAX, True), (WHOLE_MAX, False), (1, True), (0, True)])
def test_what_can_be_held_in_memory_is_put_whole(stores: Stores, length: int, announced: bool) -> None:
    stores.find(b"http://a.test/")
    fill = Filling(stores, length=length if announced else None)
    for at in range(length):
        fill.feed(LARGE[at : at + 1])
    assert fill.arriving is None
    fill.finish()
    assert stores.store.records[fill.entry.key].variants == (fill.entry,)
    assert fill.entry.content.data == LARGE[:length]
    assert stores.reserved == 0


def test_what_is_announced_to_be_large_goes_to_the_disk_from_the_first_byte(stores: Stores) -> None:
    fill = Filling(stores, length=WHOLE_MAX + 1)
    fill.feed(b"x")
    assert fill.arriving is not None
    fill.fail()


def test_the_origin_waits_for_the_disk(stores: Stores) -> None:
    hold = stores.hold_the_writer().begun()
    fill = Filling(stores)
    fast, _ = fill.join()
    while not fill.origin.is_paused:
        fill.feed(LARGE[len(fill.sent) : len(fill.sent) + 100])
    assert BACKLOG_MAX < len(fill.sent) <= WHOLE_MAX + BACKLOG_MAX + 100
    assert fast.got == fill.sent, "but those who read do not wait for the disk"
    hold.end()
    fill.until(lambda: not fill.origin.is_paused)
    fill.feed_all(LARGE[len(fill.sent) :])
    fill.finish()
    assert fast.state == (LARGE, 1, 0)
    assert content_of(stores.find(fill.entry.key)[0], stores.loop) == LARGE


def test_what_has_reached_the_disk_makes_room_before_anybody_is_told(stores: Stores) -> None:
    """The event loop may be late: what is dropped meanwhile takes no room."""
    fill = Filling(stores, length=len(LARGE))
    fill.feed(LARGE[: BUDGET // 4])
    assert fill.arriving is not None
    while fill.arriving.reached < len(fill.sent):
        time.sleep(0.001)
    for _ in range(2):
        fill.feed(LARGE[len(fill.sent) : len(fill.sent) + 300])
    assert stores.reserved == fill.held == 600
    fill.fail()


def test_who_comes_late_or_is_slow_reads_from_the_disk(stores: Stores) -> None:
    fill = Filling(stores)
    slow, _ = fill.join(room=1)
    fill.feed_all(LARGE[:50_000])
    late, _ = fill.join()
    part, _ = fill.join(start=10_000, stop=10_500)
    fill.until(lambda: fill.recording.held_from > 40_000)
    assert fill.held < 10_000
    fill.until(lambda: len(late.got) == 50_000 and part.ends)
    assert part.state == (LARGE[10_000:10_500], 1, 0)
    fill.feed_all(LARGE[50_000:])
    fill.finish()
    assert late.state == (LARGE, 1, 0)
    assert len(slow.got) == 300
    while not slow.ends:
        before = len(slow.got)
        slow.take()
        fill.until(lambda before=before: len(slow.got) > before or slow.ends)
        assert LARGE.startswith(slow.got)
    assert slow.state == (LARGE, 1, 0)


def test_what_the_disk_has_when_all_has_come_is_dropped_though_a_reader_lags(stores: Stores) -> None:
    first = stores.hold_the_writer().begun()
    fill = Filling(stores)
    slow, _ = fill.join(room=1)
    while not fill.origin.is_paused:
        fill.feed(LARGE[len(fill.sent) : len(fill.sent) + 100])
    second = stores.hold_the_writer()
    first.end()
    second.begun()
    fill.finish()
    while not stores.loop.is_idle:
        stores.loop.once()
    assert 0 < fill.held < len(fill.sent)
    assert stores.reserved == 0, "what has come in whole waits in the store's own account"
    second.end()
    fill.until(lambda: fill.held == 0)
    assert stores.reserved == 0
    while not slow.ends:
        slow.take()
        stores.loop.once(0.01)
    assert slow.state == (fill.sent, 1, 0)


@pytest.mark.parametrize("end", ["breaks off", "too large", "purged", "cannot be written"])
@pytest.mark.parametrize("lags", [True, False])
def test_what_is_not_stored_leaves_nothing(stores: Stores, end: str, lags: bool) -> None:
    """Law 3; and whoever reads it gets all, or is told that it broke off."""
    fill = Filling(stores, limit=60_000 if end == "too large" else None)
    client, _ = fill.join(room=1 if lags else None)
    fill.feed_all(LARGE[:50_000])
    fill.until(lambda: fill.recording.held_from > 40_000)
    assert len(stores.files()) == 1
    match end:
        case "breaks off":
            fill.fail()
        case "purged":
            fill.finish(is_current=False)
        case "too large":
            fill.feed(LARGE[50_000:60_001])
            assert not fill.is_kept
            fill.finish()
        case "cannot be written":
            assert fill.arriving is not None
            assert fill.arriving.part is not None
            fill.arriving.part.close()
            fill.feed(LARGE[50_000:53_000])
            fill.until(lambda: fill.arriving is None or fill.arriving.has_failed)
            fill.feed(LARGE[53_000:54_000])
            assert not fill.is_kept
            fill.finish()
    assert stores.reserved <= fill.held, "what it holds for those who read it"
    if not (client.ends or client.aborts):
        assert lags
        while not (client.ends or client.aborts):
            client.take()
            stores.loop.once(0.01)
    if end == "breaks off" or (end == "cannot be written" and lags):  # its file was closed: nothing can be read back
        assert (client.ends, client.aborts) == (0, 1)
        assert fill.sent.startswith(client.got)
    else:
        assert client.state == (fill.sent, 1, 0)
    assert stores.reserved == 0
    stores.flush()
    assert stores.files() == []
    assert stores.find(fill.entry.key) == ()


@pytest.mark.parametrize("leaves", [True, False])
def test_what_is_kept_no_longer_waits_for_those_who_read_it_from_the_disk(stores: Stores, leaves: bool) -> None:
    fill = Filling(stores, limit=60_000)
    slow, reader = fill.join(room=1)
    fill.feed_all(LARGE[:50_000])
    fill.until(lambda: fill.recording.held_from > 40_000)
    while not fill.origin.is_paused:
        fill.feed(LARGE[:50_000])
    stores.flush()
    assert len(fill.sent) > 60_000
    assert 0 < stores.reserved <= fill.held
    assert [path.stat().st_size < 60_000 for path in stores.files()] == [True]
    if leaves:
        reader.leave()
    else:
        while len(slow.got) < len(fill.sent):
            slow.take()
            stores.loop.once(0.01)
        assert slow.got == fill.sent
    assert fill.origin.is_cancelled if leaves else not fill.origin.is_paused
    assert stores.reserved == 0
    stores.flush()
    assert stores.files() == []
    fill.fail()


def test_when_the_disk_takes_nothing_it_goes_on_in_memory_while_there_is_room(stores: Stores) -> None:
    hold = stores.hold_the_writer().begun()
    others = [Filling(stores, b"http://a.test/%d" % n, length=len(LARGE)) for n in range(2)]
    for other in others:
        other.feed(LARGE[: BACKLOG_MAX + 1])
    fill = Filling(stores, length=1000)
    fill.feed(LARGE[:700])
    assert fill.arriving is None, "too much waits already"
    hold.end()
    fill.until(lambda: stores.disk._writer.waiting == 0)
    fill.feed(LARGE[700:1000])
    assert fill.arriving is not None, "it is asked again"
    fill.finish()
    assert content_of(stores.find(fill.entry.key)[0], stores.loop) == LARGE[:1000]
    for other in others:
        other.fail()
    assert stores.reserved == 0


def test_without_room_it_is_kept_no_longer(stores: Stores) -> None:
    stores.memory.reserve(BUDGET // 2 - 400)
    fill = Filling(stores, length=1000)
    client, _ = fill.join()
    fill.feed(LARGE[:500])
    assert not fill.is_kept
    fill.feed(LARGE[500:1000])
    fill.finish()
    assert client.state == (LARGE[:1000], 1, 0)
    assert stores.reserved == BUDGET // 2 - 400


def test_who_found_it_arriving_may_read_it_when_it_is_stored(stores: Stores) -> None:
    """A revalidation that began meanwhile has the entry in its hands; its content lies where it was written."""
    fill = Filling(stores, length=1000)
    hold = stores.hold_the_writer().begun()
    fill.feed(LARGE[:1000])
    fill.finish()
    content = fill.entry.content
    found: list[bytes | None] = []
    content.read(300, 500, found.append)
    for _ in range(2):
        stores.loop.result(stores.disk.totals)  # those who read have had their turn
    assert found == []
    hold.end()
    fill.until(lambda: found)
    assert (found, len(content)) == ([LARGE[300:800]], 1000)


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be removed there")
def test_who_reads_it_goes_on_when_its_entry_has_gone(stores: Stores) -> None:
    fill = Filling(stores)
    slow, _ = fill.join(room=1)
    fill.feed_all(LARGE[:50_000])
    fill.finish()
    stores.flush()
    stores.store.purge(Purge(Keys((fill.entry.key,))))
    stores.flush()
    assert stores.files() == []
    while not slow.ends:
        slow.take()
        stores.loop.once(0.01)
    assert slow.state == (LARGE[:50_000], 1, 0)


def test_a_body_that_has_gone_while_it_arrives_breaks_off_who_needs_it(stores: Stores) -> None:
    fill = Filling(stores)
    slow, _ = fill.join(room=1)
    fast, _ = fill.join()
    fill.feed_all(LARGE[:50_000])
    fill.until(lambda: fill.recording.held_from > 40_000)
    (path,) = stores.files()
    os.truncate(path, 0)
    slow.take()
    fill.until(lambda: slow.aborts)
    assert (fast.ends, fast.aborts, fast.got) == (0, 0, LARGE[:50_000])
    fill.fail()
    assert slow.state == (LARGE[:300], 0, 1)


def test_a_folder_that_takes_no_file(stores: Stores) -> None:
    shutil.rmtree(stores.folder / "bodies", ignore_errors=True)
    (stores.folder / "bodies").write_bytes(b"")
    fill = Filling(stores)
    client, _ = fill.join()
    for at in range(0, 20_000, 300):
        fill.feed(LARGE[at : at + 300])
        stores.flush()
    assert not fill.is_kept
    fill.finish()
    assert client.state == (fill.sent, 1, 0)
    assert stores.disk.errors.counts["write"] == 1
    assert stores.reserved == 0


@pytest.mark.parametrize("is_stored", [True, False])
def test_nothing_refers_to_it_in_circles(stores: Stores, is_stored: bool) -> None:
    """What has been answered goes at once, not when the collector comes; with it the file it holds open."""
    gc.collect()
    gc.disable()
    try:
        fill = Filling(stores, length=1000)
        fill.feed(LARGE[:1000])
        if is_stored:
            fill.finish()
        else:
            fill.fail()
        stores.flush()
        stores.loop.until(lambda: stores.disk._writer.done == stores.disk._writer.submitted)
        del fill
        kinds = (Fill, Recording, Incoming, PartFile)
        assert [each for each in gc.get_objects() if isinstance(each, kinds)] == []
    finally:
        gc.enable()
