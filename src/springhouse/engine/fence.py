"""Keeps what was fetched before a purge from being stored after it.

Every purge gets a number. A fetch notes the number it began at; what it brings may be stored only if no purge since
then selects it. Memory is bounded: when too many purges are remembered, the oldest is forgotten, and fetches that
began before it may store nothing at all.
"""

from collections import OrderedDict, deque

from springhouse.rules.entry import Entry
from springhouse.stores.purging import Everything, Keys, Selection, selects


class Fence:
    """Numbers purges."""

    def __init__(self, *, keys_max: int = 10_000, others_max: int = 256) -> None:
        self.epoch = 0
        self._floor = 0
        self._keys: OrderedDict[bytes, int] = OrderedDict()
        self._keys_max = keys_max
        self._others: deque[tuple[int, Selection]] = deque()
        self._others_max = others_max

    def raise_for(self, what: Selection) -> None:
        """Note that what is selected is purged now."""
        self.epoch += 1
        match what:
            case Keys(keys):
                for key in keys:
                    self._keys.pop(key, None)
                    self._keys[key] = self.epoch
                while len(self._keys) > self._keys_max:
                    self._floor = max(self._floor, self._keys.popitem(last=False)[1])
            case Everything():
                self._floor = self.epoch
                self._keys.clear()
                self._others.clear()
            case _:
                self._others.append((self.epoch, what))
                if len(self._others) > self._others_max:
                    self._floor = max(self._floor, self._others.popleft()[0])

    def lets_through(self, entry: Entry, epoch: int) -> bool:
        """Say whether an entry that a fetch begun at `epoch` brought may be stored."""
        if epoch == self.epoch:
            return True
        if epoch < self._floor or epoch < self._keys.get(entry.key, 0):
            return False
        return not any(at > epoch and selects(what, entry) for at, what in self._others)
