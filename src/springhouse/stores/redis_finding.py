"""What Redis has under a key becomes entries, or is reported as damaged.

Nothing that Redis returns is trusted: the record is checked by the codec, small content against its digests here, large
content against its digests as it is read. What fails is not found; it is superseded by what is fetched instead.
"""

from collections.abc import Callable
from math import isfinite
from typing import Any

from springhouse.rules.entry import Entry
from springhouse.stores import digests, purging
from springhouse.stores.codec import Codec, CodecError
from springhouse.stores.redis_contents import RedisContent, Spawn
from springhouse.stores.redis_layout import Layout
from springhouse.stores.redis_link import Link
from springhouse.stores.redis_scripts import LOOKUP
from springhouse.stores.troubles import Troubles


class Finder:
    """Finds entries. `whole_max`: bytes of large content, in all, that are read at once; `broken` is told the key,
    variant and body of an entry whose content cannot be had."""

    def __init__(
        self,
        link: Link,
        layout: Layout,
        codec: Codec,
        *,
        whole_max: int,
        troubles: Troubles,
        spawn: Spawn,
        broken: Callable[[bytes, bytes, bytes], None],
    ) -> None:
        self._link = link
        self._layout = layout
        self._codec = codec
        self._whole_max = whole_max
        self._troubles = troubles
        self._spawn = spawn
        self._broken = broken

    async def find(self, key: bytes) -> tuple[Entry, ...]:
        """Return the variants under a key, the latest first. Raises Away and Refused."""
        base = self._layout.base(key)
        reply = await self._link.script(LOOKUP, base, base, key)
        room = self._whole_max
        found = []
        for row in self._latest_first(reply):
            try:
                entry = self._decoded(key, row)
            except (CodecError, TypeError, ValueError) as error:
                self._troubles.report("damaged", f"a response stored in Redis was damaged: {error}")
                continue
            content = entry.content
            if isinstance(content, RedisContent) and content.length <= room:
                room -= content.length
                entry.content = await content.whole()
            if entry.content is not None:
                found.append(entry)
        return tuple(found)

    def _latest_first(self, reply: Any) -> list[Any]:
        try:
            return sorted(reply, key=lambda row: int(row[1]), reverse=True)
        except (TypeError, ValueError, IndexError) as error:
            self._troubles.report("damaged", f"what Redis has under a key cannot be read: {error}")
            return []

    def _decoded(self, key: bytes, row: list[bytes]) -> Entry:
        """Return the entry of a row of LOOKUP. Raises CodecError, TypeError, ValueError."""
        variant, _, body, soft, record, content = row
        entry, proof = self._codec.decode(record, key)
        length = entry.length or 0
        if body == b"-":
            if len(content) != length or digests.digests_of(content) != proof:
                raise CodecError("its content is not what was stored")
            entry.content = content
        else:
            entry.content = RedisContent(
                self._layout.base(key) + b"c:" + body,
                length,
                proof,
                link=self._link,
                spawn=self._spawn,
                broken=lambda: self._broken(key, variant, body),
            )
        if soft != b"-":
            since = float(soft)
            if not isfinite(since):
                raise CodecError("its mark is impossible")
            entry = purging.stale_from(entry, since)
        return entry
