"""Content too large for its entry's record: a hash of chunks beside it, written one chunk at a time.

The chunks are those of `stores.digests`, so that each can be proved when it is read. While content arrives, its hash
expires unless more follows: what a dead process had begun is forgotten. The record that refers to it is written after
the last chunk, by a script that counts them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Final

from springhouse.rules.entry import Entry
from springhouse.stores import digests
from springhouse.stores.content import Read, StoredContent
from springhouse.stores.redis.link import Link, RedisFailure, RedisRefused
from springhouse.stores.redis.scripts import WRITE_CHUNK
from springhouse.stores.redis.tasks import Spawn
from springhouse.stores.tier import OnProgress

UNFINISHED_MS: Final = 60_000
_AT_ONCE: Final = 4
_OnCommit = Callable[["RedisArriving", Entry], None]


class ChunkedBody:
    """Content being written, under the beginning of its key's names."""

    __slots__ = ("base", "chunks", "length", "name", "proofs")

    def __init__(self, base: bytes) -> None:
        self.base = base
        self.name = token_hex(16).encode()
        self.chunks = 0
        self.length = 0
        self.proofs: list[bytes] = []

    @property
    def key(self) -> bytes:
        """The name of its hash."""
        return self.base + b"c:" + self.name

    def digests(self) -> bytes:
        """Return the digests of what was added."""
        return b"".join(self.proofs)

    async def add(self, link: Link, chunk: bytes) -> None:
        """Write the next chunk. Raises RedisFailure."""
        self.proofs.append(digests.digest(chunk))
        number = self.chunks
        await link.script(WRITE_CHUNK, self.base, self.name, number, chunk, UNFINISHED_MS)
        self.chunks += 1
        self.length += len(chunk)


class RedisContent(StoredContent):
    """A StoredContent. `on_damage` is called when its chunks cannot be had or are not what was stored."""

    __slots__ = ("_key", "_link", "_on_damage", "_spawn", "digests", "length")

    def __init__(
        self, key: bytes, length: int, proof: bytes, *, link: Link, spawn: Spawn, on_damage: Callable[[], None]
    ) -> None:
        self._key = key
        self.length = length
        self.digests = proof
        self._link = link
        self._spawn = spawn
        self._on_damage = on_damage

    def read(self, start: int, size: int, done: Read) -> None:
        """Read from `start` up to the end of its chunk, at most `size` bytes; see StoredContent."""
        self._spawn(self._read(start, size, done))

    async def _read(self, start: int, size: int, done: Read) -> None:
        number = start // digests.CHUNK
        try:
            found = await self._chunks(number, 1)
        except RedisFailure:
            done(None)
            return
        if found is None:
            self._on_damage()
            done(None)
            return
        at = start % digests.CHUNK
        done(found if at == 0 and size >= len(found) else found[at : at + size])

    async def whole(self) -> bytes | None:
        """Read all of it; None when it is not what was stored. Raises RedisFailure."""
        parts = []
        count = digests.count(self.length)
        for first in range(0, count, _AT_ONCE):
            part = await self._chunks(first, min(_AT_ONCE, count - first))
            if part is None:
                self._on_damage()
                return None
            parts.append(part)
        return b"".join(parts)

    async def _chunks(self, first: int, count: int) -> bytes | None:
        numbers = range(first, first + count)
        try:
            found = await self._link.command("HMGET", self._key, *numbers)
        except RedisRefused as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return None  # something else has that name by now
        if not isinstance(found, list) or len(found) != count:
            return None
        proved = all(
            isinstance(data, bytes) and digests.holds(self.digests, number, data)
            for number, data in zip(numbers, found, strict=True)
        )
        return b"".join(found) if proved else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivingEnds:
    """What arriving content calls. `on_waiting` is given how many bytes more wait to be written, fewer if negative;
    `backlog_max`: how many may, at least a chunk."""

    on_progress: OnProgress
    on_commit: _OnCommit
    on_waiting: Callable[[int], None]
    backlog_max: int


class RedisArriving(StoredContent):
    """An Arriving: content on its way to Redis, at most one chunk of it in flight."""

    __slots__ = (
        "_content",
        "_ends",
        "_has_ended",
        "_link",
        "_on_progress",
        "_spawn",
        "_writer",
        "body",
        "has_failed",
        "length",
    )

    def __init__(self, body: ChunkedBody, ends: ArrivingEnds, *, link: Link, spawn: Spawn) -> None:
        self.length = 0
        self.body = body
        self.has_failed = False
        self._ends = ends
        self._on_progress = ends.on_progress
        self._link = link
        self._spawn = spawn
        self._content = bytearray()
        """What has not been written."""
        self._writer: asyncio.Future[None] | None = None
        self._has_ended = asyncio.Event()

    @property
    def reached(self) -> int:
        """Bytes that have reached Redis."""
        return self.body.length

    @property
    def is_full(self) -> bool:
        """Whether too much waits to be written."""
        return len(self._content) > self._ends.backlog_max

    @property
    def digests(self) -> bytes:
        """The digests of what has reached Redis."""
        return self.body.digests()

    def write(self, data: bytes) -> None:
        """Take some content."""
        self.length += len(data)
        if self.has_failed:
            return
        self._content += data
        self._ends.on_waiting(len(data))
        if len(self._content) >= digests.CHUNK and self._writer is None:
            self._writer = asyncio.get_running_loop().create_future()
            self._spawn(self._write(self._writer))

    async def _write(self, writer: "asyncio.Future[None]") -> None:
        while len(self._content) >= digests.CHUNK and not self.has_failed:
            await self._write_chunk()
        self._writer = None
        writer.set_result(None)

    async def _write_chunk(self) -> None:
        chunk = bytes(memoryview(self._content)[: digests.CHUNK])
        try:
            await self.body.add(self._link, chunk)
        except RedisFailure:
            self._fail()
        if not self.has_failed:
            del self._content[: len(chunk)]
            self._ends.on_waiting(-len(chunk))
            self._on_progress()

    def _fail(self) -> None:
        self.has_failed = True
        self._ends.on_waiting(-len(self._content))
        self._content.clear()
        self._on_progress()

    def commit(self, entry: Entry) -> None:
        """Store the entry; see Arriving."""
        self._ends.on_commit(self, entry)

    async def is_written(self) -> bool:
        """Write what is left; return whether all of it is in Redis."""
        while self._writer is not None:
            await self._writer
        if self._content:
            await self._write_chunk()
        return not self.has_failed and self.body.length == self.length

    def abandon(self) -> None:
        """Store nothing."""
        is_begun = self.body.chunks or self._writer is not None
        self._on_progress = _ignore
        self._fail()
        self.end()
        if is_begun:
            self._spawn(self._remove())

    async def _remove(self) -> None:
        while self._writer is not None:
            await self._writer
        await forgiven(self._link.command("UNLINK", self.body.key))

    def end(self) -> None:
        """Record that it is stored, or never will be."""
        self._has_ended.set()
        on_progress, self._on_progress = self._on_progress, _ignore  # a reference to it would be a circle
        on_progress()

    def read(self, start: int, size: int, done: Read) -> None:
        """Read what has reached Redis, or what will have when it is stored; see Arriving."""
        self._spawn(self._read(start, size, done))

    async def _read(self, start: int, size: int, done: Read) -> None:
        if start >= self.reached:
            await self._has_ended.wait()
        if start >= self.reached:
            done(None)
        else:
            written = RedisContent(
                self.body.key, self.reached, self.digests, link=self._link, spawn=self._spawn, on_damage=self._fail
            )
            written.read(start, size, done)


async def forgiven(work: Awaitable[Any]) -> None:
    """Await what may fail."""
    try:
        await work
    except RedisFailure:
        return


async def content_digests(content: Any) -> bytes:
    """Return the digests of an entry's content, wherever it is."""
    if content.data is None:
        return bytes(content.digests)
    parts = []
    for chunk in digests.chunks(content.data):
        parts.append(digests.digest(chunk))
        await asyncio.sleep(0)  # large content takes long
    return b"".join(parts)


def _ignore() -> None:
    pass
