"""The log of purges that the nodes of a fleet share, and which nodes are alive (decision 0012).

A purge is two entries of a stream: `begin`, at which every node stops serving what is purged from its memory and
filters what it finds in Redis; `end`, when it has been removed from Redis, too. Each entry has a number and names the
one before it. A node reads the stream on a connection of its own, and regularly reports that it is alive and how far it
has read. Numbers come from the server's clock but always grow, even when Redis has lost everything.

What must stay true: a node that cannot read every entry in order (the log was trimmed past it, or lost, or another
program wrote to it) assumes that everything has been purged. `seen` is the number up to which the owner has taken all
purges of others: what it puts carries that number, and is refused when a later purge covers it.

A node counts as alive for `alive` seconds after its last report, or until it leaves. A purge waits no longer than that:
a node that is cut off from Redis goes on serving what it has in memory, and the receipt does not count it.
"""

import asyncio
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Final

from msgspec import MsgspecError, msgpack

from springhouse.http.memo import KIB, MIB, Recent, bound
from springhouse.rules.purging import Everything, Purge, weight_of
from springhouse.stores.redis.layout import KeyLayout
from springhouse.stores.redis.link import Link, RedisFailure, RedisRefused
from springhouse.stores.redis.scripts import APPEND_TO_LOG, NODE_ALIVE, NODE_LEAVES, NODES_ALIVE

PURGE_ALL: Final = Purge(Everything())
_decoder: Final = msgpack.Decoder(Purge)
_AT_ONCE: Final = 500
_NUMBER_MAX: Final = 2**53 - 1
"""What Lua, whose numbers are doubles, counts up to exactly."""
_NEWS: Final = bound(
    "foreign purges to apply", 256 * KIB, "purges of other nodes that were read, until memory has been purged"
)
_RECENT: Final = bound("purges elsewhere", MIB, "purges of other nodes, for look-ups in Redis that began before them")
_OPEN: Final = bound(
    "purges in progress elsewhere", 256 * KIB, "purges of other nodes, until nothing of it is in Redis"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimits:
    """Times in seconds. `alive`: how long a node counts as alive after a report; `every`: how often it reports; `open`:
    how long to wait for the end of a purge; `kept`: how long an idle log is kept. `entries`: how many the log keeps."""

    alive: float = 3.0
    every: float = 1.0
    open: float = 60.0
    kept: float = 24 * 3600.0
    entries: int = 10_000


class PurgeLog:
    """One node's view of the log. `link`: for the connection that reads, and for no other use."""

    def __init__(self, link: Link, layout: KeyLayout, limits: LogLimits) -> None:
        self.node = token_hex(6).encode()
        self.read = 0
        """The number of the last entry that was read."""
        self.is_connected = False
        self._may_count = False
        """Whether Redis may count this node as alive: set before the report is sent, since it may be on its way."""
        self._place = b""
        """Of that entry in the stream."""
        self._link = link
        self._layout = layout
        self._limits = limits
        self._news: Recent[int, Purge] = Recent(_NEWS, lambda _, purge: weight_of(purge.what))
        self._seen = 0
        self._recent: Recent[int, tuple[int, Purge]] = Recent(_RECENT, lambda _, item: weight_of(item[1].what))
        self._open: Recent[int, tuple[float, Purge]] = Recent(_OPEN, lambda _, item: weight_of(item[1].what))
        self._read_in_all = 0
        self._forgotten = 0
        """The number of the last purge that was dropped from the recent ones."""
        self._all_open_until = 0.0
        """Until when everything counts as being purged, because there was no room to remember what is."""
        self._loop = asyncio.get_running_loop()
        self._reader = self._loop.create_task(self._follow())

    # For the store.

    @property
    def has_foreign_purges(self) -> bool:
        """Whether there are purges by others that the owner has not taken."""
        return bool(self._news)

    @property
    def seen(self) -> int:
        """The number up to which the owner has taken all purges."""
        return self._seen if self._news else self.read

    def take(self) -> list[Purge]:
        """Return the purges of other nodes since the last call."""
        self._seen, news = self.read, [*self._news.values()]
        self._news.clear()
        return news

    def since(self, number: int) -> list[Purge]:
        """Return the purges of other nodes that were read after a number."""
        if self._forgotten > number:
            return [PURGE_ALL]
        return [purge for at, purge in self._recent.values() if at > number]

    def open(self) -> list[Purge]:
        """Return the purges of other nodes that have begun and not ended: Redis may still have what they purge."""
        now = self._loop.time()
        for number in [number for number, (until, _) in self._open.items() if until < now]:
            self._open.drop(number)
        if now < self._all_open_until:
            return [PURGE_ALL]
        return [purge for _, purge in self._open.values()]

    # Purging.

    async def begin(self, purge: Purge) -> int:
        """Write that a purge begins, and return its number. Raises RedisFailure."""
        return await self._append(b"begin", msgpack.encode(purge))

    async def end(self, number: int) -> None:
        """Write that a purge has ended. Raises RedisFailure."""
        await self._append(b"end", b"%d" % number)

    async def _append(self, what: bytes, payload: bytes) -> int:
        limits = self._limits
        key = self._layout.log
        reply = await self._link.attempt(
            APPEND_TO_LOG, key, what, self.node, payload, limits.entries, int(1000 * limits.kept)
        )
        return _number(reply)

    async def reached(self, number: int) -> None:
        """Wait until this node has read up to a number, but no longer than `every` seconds."""
        deadline = self._loop.time() + self._limits.every
        while self.read < number and self._loop.time() < deadline:
            await asyncio.sleep(0.002)

    async def confirmed(self, number: int) -> tuple[int, int]:
        """Wait until every node that is alive has read up to a number, or has not in time; return how many have, and
        how many there are. Raises RedisFailure."""
        deadline = self._loop.time() + self._limits.alive + 2 * self._limits.every
        pause = 0.002
        while True:
            reply = await self._link.attempt(NODES_ALIVE, self._layout.log)
            nodes = _nodes(reply)
            nodes[self.node] = self.read
            have = sum(read >= number for read in nodes.values())
            if have == len(nodes) or self._loop.time() > deadline:
                return have, len(nodes)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.05)

    # Following.

    async def _follow(self) -> None:
        pause = 0.05
        while True:
            try:
                await self._turn()
                pause = 0.05
            except RedisFailure:
                self.is_connected = self._may_count = False
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._limits.every)

    async def _turn(self) -> None:
        """Report that this node is alive and how far it has read, and read on; wait a moment if there is nothing."""
        limits, key = self._limits, self._layout.log
        times = (int(1000 * limits.alive), int(1000 * limits.kept))
        self._may_count = True
        last = _number(await self._link.attempt(NODE_ALIVE, key, self.node, self.read, *times))
        self.is_connected = True
        if self.read == 0:
            self._has_read(last)
        wait = ("BLOCK", max(1, int(1000 * limits.every))) if last == self.read else ()
        reply = await self._link.wait_for(
            "XREAD", "COUNT", _AT_ONCE, *wait, "STREAMS", key + b"purges", self._place, limit=limits.every + 2.0
        )
        entries = _entries(reply)
        for place, fields in entries:
            self._take_in(place, fields)
        if not entries and last != self.read:
            self._lost(last)

    def _take_in(self, place: bytes, fields: dict[bytes, bytes]) -> None:
        number = _number(place.partition(b"-")[0])
        is_valid = fields.get(b"what") in (b"begin", b"end")
        if not is_valid or fields.get(b"before") != b"%d" % self.read:
            self._lost(number)
        if is_valid:
            self._track(number, fields)
        self._has_read(number, place)

    def _has_read(self, number: int, place: bytes = b"") -> None:
        self.read = number
        self._place = place or b"%d-0" % number

    def _track(self, number: int, fields: dict[bytes, bytes]) -> None:
        payload = fields.get(b"purge", b"")
        if fields.get(b"what") == b"end":
            self._open.drop(int(payload) if payload.isdigit() else 0)
        elif fields.get(b"node") != self.node:
            try:
                purge = _decoder.decode(payload)
            except (MsgspecError, RecursionError):
                purge = PURGE_ALL
            until = self._loop.time() + self._limits.open
            if self._open.note(number, (until, purge)):
                self._all_open_until = until
            self._is_news(number, purge)

    def _lost(self, number: int) -> None:
        """Assume that everything has been purged: what was is not known."""
        self._is_news(number, PURGE_ALL)
        self._has_read(number)

    def _is_news(self, number: int, purge: Purge) -> None:
        if not self._news:
            self._seen = self.read
        self._read_in_all += 1
        for _, (gone, _) in self._recent.note(self._read_in_all, (number, purge)):
            self._forgotten = gone
        if self._news.note(self._read_in_all, purge):
            self._news.clear()
            self._news.note(self._read_in_all, PURGE_ALL)

    async def close(self) -> None:
        """Leave the fleet, so that purges by others no longer wait for this node."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        if self._may_count:
            try:
                await self._link.attempt(NODE_LEAVES, self._layout.log, self.node)
            except RedisFailure:
                return


def _number(reply: Any) -> int:
    """Read a number that Redis returned. Raises RedisRefused."""
    try:
        number = int(reply)
    except (TypeError, ValueError):
        number = -1
    if 0 <= number <= _NUMBER_MAX:
        return number
    raise RedisRefused("the log of purges is damaged")


def _nodes(reply: Any) -> dict[bytes, int]:
    """Read what NODES_ALIVE returned: names, each followed by a number. Raises RedisRefused."""
    try:
        return {node: _number(read) for node, read in zip(reply[::2], reply[1::2], strict=True)}
    except (TypeError, ValueError):
        raise RedisRefused("the log of purges is damaged") from None


def _entries(reply: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Read what XREAD returned of one stream. Raises RedisRefused."""
    try:
        found = [(place, fields) for place, fields in reply[0][1]] if reply else []
    except (TypeError, ValueError, LookupError):
        raise RedisRefused("the log of purges is damaged") from None
    if not all(isinstance(place, bytes) and isinstance(fields, dict) for place, fields in found):
        raise RedisRefused("the log of purges is damaged")
    return found
