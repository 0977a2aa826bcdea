"""Keeps what was fetched before a purge from being stored after it.

Every purge gets a number. A fetch notes the number it began at; what it brings may be stored only if no purge since
then selects it. Memory is bounded: when too many purges are remembered, the oldest is forgotten, and fetches that
began before it may store nothing at all.
"""

from collections.abc import Iterable
from typing import Final

from springhouse.http.memo import MIB, Bound, Recent, bound, length_of_key
from springhouse.rules.entry import Entry
from springhouse.rules.purging import Everything, Keys, Selection, selects, weight_of

KEYS: Final = bound("purged keys", 4 * MIB, "keys that were purged or made invalid, so that nothing older is stored")
OTHERS: Final = bound(
    "other purges", MIB, "prefixes, tags and groups that were purged, so that nothing older is stored"
)


class Fence:
    """Numbers purges."""

    def __init__(self, *, keys: Bound = KEYS, others: Bound = OTHERS) -> None:
        self.epoch = 0
        self._floor = 0
        self._keys: Recent[bytes, int] = Recent(keys, length_of_key)
        self._others: Recent[int, Selection] = Recent(others, lambda _, what: weight_of(what))

    @property
    def size(self) -> int:
        """Bytes of all that is remembered."""
        return self._keys.size + self._others.size

    def raise_for(self, what: Selection) -> None:
        """Record that what is selected is purged now."""
        self.epoch += 1
        match what:
            case Keys(keys):
                for key in keys:
                    self._forgot(at for _, at in self._keys.note(key, self.epoch))
            case Everything():
                self._floor = self.epoch
                self._keys.clear()
                self._others.clear()
            case _:
                self._forgot(at for at, _ in self._others.note(self.epoch, what))

    def _forgot(self, epochs: Iterable[int]) -> None:
        self._floor = max(self._floor, *epochs, 0)

    def lets_through(self, entry: Entry, epoch: int) -> bool:
        """Return whether an entry that a fetch begun at `epoch` brought may be stored."""
        if epoch == self.epoch:
            return True
        if epoch < self._floor or epoch < self._keys.get(entry.key, 0):
            return False
        return not any(at > epoch and selects(what, entry) for at, what in self._others.items())
