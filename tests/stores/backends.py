"""The stores under test behind one face that waits, and what tests put into them.

A new store joins the contract suite by one line in BACKENDS.
"""

from __future__ import annotations

import heapq
import time
from itertools import count
from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol

from springhouse.http.content import MemoryContent
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.stores.disk.parts import DiskLimits
from springhouse.stores.disk.tier import DiskTier
from springhouse.stores.errors import StoreErrors
from springhouse.stores.memory.records import Memory
from springhouse.stores.store import Store
from springhouse.stores.tier import Timing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from springhouse.rules.purging import Purge, Receipt
    from springhouse.stores.tier import Tier

NOW = 1_900_000_000.0
VARIANTS_MAX = 3
INLINE, IN_FILE, STREAMED = 900, 2_500, 5_000
"""Lengths of content that is stored in the database, in a file but found as bytes, and found as StoredContent."""
LIMITS = DiskLimits(inline_max=2_000, whole_max=3_000, variants_max=VARIANTS_MAX, budget=50_000_000, patience=20.0)
PATIENCE_S = 20.0


class Hold:
    """Keeps the thread that delivers it to a Loop waiting, until `go` is set."""

    def __init__(self, go: Event) -> None:
        self.is_held = Event()
        self._go = go

    def __call__(self) -> None:
        self.is_held.set()
        self._go.wait(PATIENCE_S)


class Loop:
    """Stands in for the event loop: calls delivered from other threads run while somebody waits."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()
        self._timers: list[tuple[float, int, Callable[[], Any]]] = []
        self._numbers = count()

    def deliver(self, call: Callable[..., Any], *arguments: Any) -> None:
        if isinstance(call, Hold):
            call()
            return
        self._calls.put((call, arguments))

    call_soon_threadsafe = deliver

    def call_later(self, delay: float, call: Callable[[], Any], /) -> None:
        heapq.heappush(self._timers, (time.monotonic() + delay, next(self._numbers), call))

    @property
    def is_idle(self) -> bool:
        """Say whether nothing is delivered that has not run."""
        return self._calls.empty()

    def until(self, is_so: Callable[[], Any]) -> None:
        """Run what is delivered until something is so."""
        end = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < end, "Nothing happened for too long"
            self.once()

    def once(self, timeout: float = 0.05) -> None:
        """Run one call, if one is delivered in time, and the timers that are due."""
        try:
            call, arguments = self._calls.get(timeout=timeout)
        except Empty:
            pass
        else:
            call(*arguments)
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def result(self, ask: Callable[[Callable[[Any], None]], Any]) -> Any:
        """Ask something that calls back, and return what it is called back with."""
        results: list[Any] = []
        ask(results.append)
        self.until(lambda: results)
        return results[0]


class Subject(Protocol):
    """A store under test; everything waits until it is done."""

    def lookup(self, key: bytes) -> tuple[Entry, ...]: ...
    def put(self, entry: Entry) -> None: ...
    def replace(self, old: Entry, new: Entry) -> None: ...
    def purge(self, purge: Purge, *, dry_run: bool = False) -> Receipt: ...
    def close(self) -> None: ...


class InMemory:
    """A store without a tier."""

    def __init__(self, folder: Path, loop: Loop) -> None:
        self.store = Store(Memory(50_000_000, Options(max_variants=VARIANTS_MAX)))
        self.put, self.replace = self.store.put, self.store.replace
        self.lookup = self.store.lookup

    def purge(self, purge: Purge, *, dry_run: bool = False) -> Receipt:
        receipts: list[Receipt] = []
        self.store.purge(purge, receipts.append, dry_run=dry_run)
        return receipts[0]

    def close(self) -> None:
        pass


class Tiered:
    """A tier alone."""

    def __init__(self, tier: Tier, loop: Loop) -> None:
        self.tier = tier
        self.loop = loop
        self.put, self.replace = tier.put, tier.replace

    def lookup(self, key: bytes) -> tuple[Entry, ...]:
        if self.tier.has_foreign_purges():
            self.news()
        return self.loop.result(lambda done: self.tier.lookup(key, done))

    def news(self) -> list[Purge]:
        return list(self.loop.result(self.tier.catch_up))

    def purge(self, purge: Purge, *, dry_run: bool = False) -> Receipt:
        return self.loop.result(lambda done: self.tier.purge(purge, done, dry_run=dry_run))

    def close(self) -> None:
        self.tier.close()


class Layered:
    """A store of memory and a tier; where the memory holds little, most is found in the tier."""

    def __init__(self, tier: Tier, loop: Loop, *, memory: Memory, written: float = 1.0) -> None:
        self.memory = memory
        self.tier = tier
        self.loop = loop
        timing = Timing(call_later=loop.call_later, wall=lambda: NOW + 1000.0, written=written)
        self.store = Store(memory, lambda: tier, whole_max=LIMITS.whole_max, timing=timing)
        self.store.open()
        self.put, self.replace = self.store.put, self.store.replace

    def lookup(self, key: bytes) -> tuple[Entry, ...]:
        found: list[tuple[Entry, ...]] = []
        at_once = self.store.find(key, found.append)
        if at_once is not None:
            return at_once
        self.loop.until(lambda: found)
        return found[0]

    def purge(self, purge: Purge, *, dry_run: bool = False) -> Receipt:
        return self.loop.result(lambda done: self.store.purge(purge, done, dry_run=dry_run))

    def close(self) -> None:
        self.store.close()


def memory_of(budget: int) -> Memory:
    """Return a memory of so many bytes."""
    return Memory(budget, Options(max_variants=VARIANTS_MAX))


def nobody() -> None:
    """Stands where somebody is told how arriving content gets on."""


def disk(folder: Path, loop: Loop, limits: DiskLimits = LIMITS, **more: Any) -> DiskTier:
    """Open a disk store."""
    more = {"errors": StoreErrors(lambda text: None)} | more
    return DiskTier(folder, limits, loop=loop, **more)


def layered_disk(folder: Path, loop: Loop, budget: int = 50_000_000, **more: Any) -> Layered:
    """Put memory before a disk store."""
    memory = memory_of(budget)
    return Layered(disk(folder, loop, is_hot=memory.is_hot), loop, memory=memory, **more)


BACKENDS: dict[str, Callable[[Path, Loop], Subject]] = {
    "memory": InMemory,
    "disk": lambda folder, loop: Tiered(disk(folder, loop), loop),
    "disk under memory": lambda folder, loop: layered_disk(folder, loop, 50_000_000),
    "disk under little memory": lambda folder, loop: layered_disk(folder, loop, 8_000),
}


def make_entry(
    key: bytes = b"http://a.test/",
    content: bytes = b"hello",
    *,
    language: bytes | None = None,
    tags: tuple[bytes, ...] = (),
    groups: tuple[bytes, ...] = (),
    at: float = NOW,
) -> Entry:
    """Return an entry received at an instant and fresh for a minute; `language` makes it a variant."""
    entry = Entry(key, 200, b"OK", [(b"ETag", b'"%d"' % len(content)), (b"X-Old", b"caf\xe9")])
    if language is not None:
        entry.vary, entry.selector = (b"accept-language",), (language,)
    entry.requested_at, entry.received_at, entry.born_at, entry.date = at - 0.25, at, at - 0.25, int(at)
    entry.lifetime, entry.fresh_until = 60, at + 59.75
    entry.stale_while_revalidate_until, entry.stale_if_error_until = entry.fresh_until + 10, entry.fresh_until + 100
    entry.tags, entry.groups = tags, groups
    entry.content, entry.length = MemoryContent(content), len(content)
    return entry


def content_of(entry: Entry, loop: Loop) -> bytes:
    """Return all of an entry's content, wherever it is."""
    content = entry.content
    if content.data is not None:
        return content.data
    parts: list[bytes] = []
    while (start := sum(map(len, parts))) < content.length:
        part = loop.result(lambda done, start=start: content.read(start, content.length, done))
        assert part, "Content that cannot be read"
        parts.append(part)
    return b"".join(parts)


def image(entry: Entry, loop: Loop) -> dict[str, Any]:
    """Return everything about an entry, to be compared."""
    seen = {name: getattr(entry, name) for name in Entry.__slots__}
    seen["fields"] = [tuple(field) for field in entry.fields]
    return seen | {"content": content_of(entry, loop)}
