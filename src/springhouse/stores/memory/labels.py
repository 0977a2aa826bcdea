"""Which keys have which labels: a faster way to what a scan with `purging.selects` would find."""

from collections.abc import Iterable


class Labels:
    """An index from labels to keys."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: dict[bytes, set[bytes]] = {}

    def change(self, key: bytes, before: frozenset[bytes], after: frozenset[bytes]) -> None:
        """Record that a key has other labels than before."""
        for label in before - after:
            keys = self._keys[label]
            keys.discard(key)
            if not keys:
                del self._keys[label]
        for label in after - before:
            self._keys.setdefault(label, set()).add(key)

    def keys(self, labels: Iterable[bytes]) -> set[bytes]:
        """Return the keys that have any of the labels."""
        return set().union(*(self._keys.get(label, ()) for label in labels))

    def __len__(self) -> int:
        return len(self._keys)
