"""Keeps what was fetched before an invalidation from being stored after it.

Every invalidation gets a number. A fetch notes the number it began at; what it brings may be stored only if its key
was not invalidated since. Memory is bounded: when too many keys are remembered, the oldest is forgotten, and fetches
that began before it was invalidated may store nothing at all.
"""

from collections.abc import Iterable


class Fence:
    """Numbers invalidations."""

    def __init__(self, remembered_max: int = 10_000) -> None:
        self.epoch = 0
        self._floor = 0
        self._last: dict[bytes, int] = {}
        self._remembered_max = remembered_max

    def raise_for(self, keys: Iterable[bytes]) -> None:
        """Note that the keys are invalidated now."""
        self.epoch += 1
        for key in keys:
            self._last.pop(key, None)
            self._last[key] = self.epoch
        while len(self._last) > self._remembered_max:
            self._floor = self._last.pop(next(iter(self._last)))

    def raise_for_all(self) -> None:
        """Note that every key is invalidated now."""
        self.epoch += 1
        self._floor = self.epoch
        self._last.clear()

    def lets_through(self, key: bytes, epoch: int) -> bool:
        """Say whether what a fetch begun at `epoch` brought for the key may be stored."""
        return epoch >= self._floor and epoch >= self._last.get(key, 0)
