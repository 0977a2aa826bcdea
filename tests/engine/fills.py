"""A fill as the driver does it, into memory over a real disk, at the pace of a test."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING

from tests.engine.clients import Client, Origin
from tests.stores.backends import Hold, Loop, make_entry

from springhouse.engine.fill import Fill
from springhouse.rules.options import Options
from springhouse.stores.disk.incoming import Incoming
from springhouse.stores.disk.parts import DiskLimits
from springhouse.stores.disk.tier import DiskTier
from springhouse.stores.errors import StoreErrors
from springhouse.stores.memory.records import Memory
from springhouse.stores.store import Store
from springhouse.stores.tier import Timing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from springhouse.engine.recordings import Reader
    from springhouse.rules.entry import Entry

BUDGET, WHOLE_MAX, WAITING_MAX = 100_000, 500, 4_000
BACKLOG_MAX = WAITING_MAX // 4


class Held:
    """The thread that writes, kept from writing."""

    def __init__(self) -> None:
        self._go = Event()
        self.hold = Hold(self._go)

    def begun(self) -> Held:
        """Wait until it is held."""
        assert self.hold.is_held.wait(20.0)
        return self

    def end(self) -> None:
        """Let it go on."""
        self._go.set()


class Stores:
    """Memory over a disk; little of either, so that all limits are met."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = Loop()
        limits = DiskLimits(inline_max=200, whole_max=WHOLE_MAX, waiting_max=WAITING_MAX, patience=20.0)
        self.disk = DiskTier(folder, limits, loop=self.loop, errors=StoreErrors(nobody_hears))
        self.memory = Memory(BUDGET, Options())
        timing = Timing(call_later=self.loop.call_later, wall=lambda: 4e9)
        self.store = Store(self.memory, lambda: self.disk, whole_max=WHOLE_MAX, timing=timing)
        self.store.open()

    @property
    def reserved(self) -> int:
        """Bytes that arriving content takes of the memory."""
        return self.memory.used - sum(record.cost for record in self.memory.records.values())

    def flush(self) -> None:
        """Wait until all is written, and everybody told."""
        self.loop.result(lambda done: self.disk.flush(lambda: done(None)))

    def hold_the_writer(self) -> Held:
        """Let the disk do nothing more, once it has done what it was asked for before."""
        held = Held()
        self.disk.flush(held.hold)
        return held

    def find(self, key: bytes) -> tuple[Entry, ...]:
        """Return what is under the key, wherever it is."""
        found: list[tuple[Entry, ...]] = []
        at_once = self.store.find(key, found.append)
        if at_once is not None:
            return at_once
        self.loop.until(lambda: found)
        return found[0]

    def files(self) -> list[Path]:
        """Return the files of bodies, whole or not."""
        return [path for path in (self.folder / "bodies").rglob("*") if path.is_file()]


class Filling:
    """One answer that is kept as it arrives."""

    def __init__(
        self, stores: Stores, key: bytes = b"http://a.test/", *, length: int | None = None, limit: int | None = None
    ) -> None:
        self.stores = stores
        self.origin = Origin()
        self.entry = make_entry(key)
        self.entry.length = length
        self.fill = Fill(stores.store, self.entry, limit, self.origin)
        self.recording = self.fill.recording
        self.is_kept = True
        self.sent = b""

    @property
    def arriving(self) -> Incoming | None:
        """What is on its way to the disk."""
        arriving = self.recording.arriving
        assert arriving is None or isinstance(arriving, Incoming)
        return arriving

    @property
    def held(self) -> int:
        """Bytes of content in memory."""
        return sum(map(len, self.recording.chunks))

    def join(self, room: int | None = None, start: int = 0, stop: int | None = None) -> tuple[Client, Reader]:
        """Let a client read it."""
        client = Client(room)
        return client, self.recording.join(client, start, stop)

    def feed(self, data: bytes) -> None:
        """Let some arrive."""
        self.sent += data
        if self.is_kept and not self.fill.has_room(len(data)):
            self.is_kept = False
            self.recording.keep_no_longer()
        self.recording.feed(data)

    def feed_all(self, data: bytes, piece: int = 300) -> None:
        """Let it arrive piece by piece, as the origin may send it."""
        for at in range(0, len(data), piece):
            self.stores.loop.until(lambda: not self.origin.is_paused)
            self.feed(data[at : at + piece])

    def finish(self, *, is_current: bool = True) -> None:
        """Let it be whole."""
        if self.is_kept:
            self.fill.store(is_current=is_current)
        self.recording.finish()

    def fail(self) -> None:
        """Let it break off."""
        self.recording.fail()

    def until(self, is_so: Callable[[], object]) -> None:
        """Wait for something."""
        self.stores.loop.until(is_so)


def nobody_hears(_: str) -> None:
    """Take what a store says."""
