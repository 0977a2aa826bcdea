"""What Redis has under a key becomes entries, or is reported as damaged.

Nothing that Redis returns is trusted: the codec checks the record, small content is compared with its digests here,
large content when it is read. What fails is not found; what is fetched instead supersedes it.
"""

from collections.abc import Callable
from copy import copy
from math import isfinite
from typing import Any

from springhouse.http.content import MemoryContent
from springhouse.rules import purging
from springhouse.rules.entry import Entry
from springhouse.stores import digests
from springhouse.stores.codec import Codec, CodecError
from springhouse.stores.redis.contents import RedisContent
from springhouse.stores.redis.layout import KeyLayout, packed_labels, variant_name
from springhouse.stores.redis.link import Link
from springhouse.stores.redis.scripts import LOOKUP
from springhouse.stores.redis.tasks import Spawn
from springhouse.stores.tier import LookedUp


class EntryReader:
    """Finds entries.

    `on_damage` is called with the key, variant and body of an entry whose content cannot be had; `on_lookup` with each
    key that was looked up, and the server's time of that lookup.
    """

    def __init__(
        self,
        link: Link,
        layout: KeyLayout,
        codec: Codec,
        *,
        spawn: Spawn,
        on_damage: Callable[[bytes, bytes, bytes], None],
        on_lookup: Callable[[bytes, bytes], None],
    ) -> None:
        self._link = link
        self._layout = layout
        self._codec = codec
        self._spawn = spawn
        self._on_damage = on_damage
        self._on_lookup = on_lookup

    async def find(self, key: bytes) -> list[Entry]:
        """Return the variants under a key, the latest first; large content is yet to be read.

        Raises RedisFailure.
        """
        base = self._layout.base(key)
        found = []
        reply = await self._link.script(LOOKUP, base, key)
        if isinstance(reply, list) and reply and isinstance(reply[0], bytes):
            self._on_lookup(key, reply.pop(0))
        for row in self._latest_first(reply):
            try:
                found.append(self._decoded(key, row))
            except (CodecError, TypeError, ValueError) as error:
                self._link.errors.report("damaged", f"a response stored in Redis was damaged: {error}")
        return found

    def _latest_first(self, reply: Any) -> list[Any]:
        try:
            return sorted(reply, key=lambda row: int(row[1]), reverse=True)
        except (TypeError, ValueError, IndexError) as error:
            self._link.errors.report("damaged", f"what Redis has under a key cannot be read: {error}")
            return []

    def _decoded(self, key: bytes, row: list[bytes]) -> Entry:
        """Return the entry of a row of LOOKUP. Raises CodecError, TypeError, ValueError."""
        variant, _, body, soft, record, content, labels = row
        entry, proof = self._codec.decode(record, key)
        if labels != packed_labels(entry) or variant != variant_name(entry):
            raise CodecError("no purge would find it where it stands")
        length = entry.length or 0
        if body == b"-":
            if len(content) != length or digests.digests_of(content) != proof:
                raise CodecError("its content is not what was stored")
            entry.content = MemoryContent(content)
        else:
            entry.content = RedisContent(
                self._layout.base(key) + b"c:" + body,
                length,
                proof,
                link=self._link,
                spawn=self._spawn,
                on_damage=lambda: self._on_damage(key, variant, body),
            )
        if soft != b"-":
            since = float(soft)
            if not isfinite(since):
                raise CodecError("its mark is impossible")
            entry = purging.made_stale(entry, since)
        return entry


async def read_whole(found: list[Entry], room: int) -> None:
    """Read large content, as much as there is room for, the latest first; drop entries whose content cannot be had.

    The list gets copies of these entries: a lookup that was answered meanwhile has the originals, with StoredContent.
    """
    for entry in tuple(found):
        content = entry.content
        if isinstance(content, RedisContent) and content.length <= room:
            room -= content.length
            whole = await content.whole()
            if whole is None:
                found.remove(entry)
                continue
            place = found.index(entry)
            found[place] = copy(entry)
            found[place].content = MemoryContent(whole)


class LookupReply:
    """The one callback of a lookup. `variants`: what it is given, None as long as that is not known."""

    __slots__ = ("_done", "is_awaited", "variants")

    def __init__(self, done: LookedUp) -> None:
        self._done = done
        self.is_awaited = True
        self.variants: tuple[Entry, ...] | None = None

    def give(self) -> None:
        """Call back with what is known by now, unless that has been done."""
        if self.is_awaited:
            self.is_awaited = False
            self._done(self.variants or ())
