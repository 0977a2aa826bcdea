"""What is remembered from one message to the next: bounded in bytes, counted, and listed.

Every memory that a client or an origin can fill declares a bound; docs/operating.md lists them all. A `Memo` keeps
what was computed of values that repeat; what is larger than a small share of it is unusual, and is not remembered. A
full memo starts anew: so whoever floods it with values that never come again costs the others one computation each,
and cannot keep what they use out of it for good. A `Recent` keeps what was noted last, and drops the oldest.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from sys import getsizeof
from typing import Final, Protocol, TypeVar
from weakref import WeakSet

K = TypeVar("K")
V = TypeVar("V")

KIB: Final = 1024
MIB: Final = 1024 * KIB
READ_BYTES: Final = 256 * KIB
"""What an event loop reads at once, at most."""
SLOT_BYTES: Final = 104
"""What an item of a dictionary takes besides key and value, at worst, when the dictionary has just grown."""
PLACE_BYTES: Final = 320
"""What an item of a `Recent` takes, key and value included, if the key is of no length and the value of a few words."""


@dataclass(frozen=True, slots=True)
class Bound:
    """How many bytes a memory takes at most, each time there is one, and what it holds: a line for the documentation.

    `per`: what has one of its own. `grows_with`: settings that make it larger; `limit` is then for their defaults.
    """

    name: str
    limit: int
    holds: str = ""
    per: str = "process"
    grows_with: tuple[str, ...] = ()


BOUNDS: Final[dict[str, Bound]] = {}
"""All that were declared, by name."""


def bound(name: str, limit: int, holds: str, *, per: str = "process", grows_with: tuple[str, ...] = ()) -> Bound:
    """Declare a bound."""
    assert name not in BOUNDS, f"two memories are called {name}"
    declared = BOUNDS[name] = Bound(name, limit, holds, per, grows_with)
    return declared


class Counted(Protocol):
    """A memory that says how much it holds."""

    @property
    def bound(self) -> Bound: ...

    @property
    def size(self) -> int: ...


_memories: Final[WeakSet[Counted]] = WeakSet()


def register(memory: Counted) -> None:
    """Let `held` count a memory as long as it exists."""
    _memories.add(memory)


def held() -> dict[str, int]:
    """Return the bytes that this process holds in its memories, by the name of the bound."""
    sizes: dict[str, int] = {}
    for memory in list(_memories):
        sizes[memory.bound.name] = sizes.get(memory.bound.name, 0) + memory.size
    return sizes


def size_of(value: object) -> int:
    """Return the bytes that a value takes with all that it refers to; what is shared counts each time."""
    size = getsizeof(value)
    parts: Iterable[object] = ()
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, (tuple, list, frozenset)):
        parts = value
    elif hasattr(value, "__slots__"):
        parts = [getattr(value, name) for name in value.__slots__]
    return size + sum(map(size_of, parts))


class Memo(dict[K, V]):
    """What `compute` returns, by its argument: `memo[key]`, which costs one look-up when it is remembered.

    `known` is remembered from the start and always. `item_max`: bytes that one item may take. Two threads that compute
    at the same time may count one item wrong, until the memo starts anew.
    """

    __slots__ = ("__weakref__", "_compute", "_item_max", "_known", "bound", "size")

    def __init__(
        self,
        bound: Bound,
        compute: Callable[[K], V],
        *,
        known: Mapping[K, V] | None = None,
        item_max: int = 2 * KIB,
    ) -> None:
        super().__init__(known or {})
        self.bound = bound
        self._compute = compute
        self._known = known or {}
        self._item_max = item_max
        self.size = 0
        """Bytes of what was learnt."""
        register(self)

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __missing__(self, key: K) -> V:
        value = self._compute(key)
        self.learn(key, value)
        return value

    def learn(self, key: K, value: V) -> None:
        """Remember an item that is not remembered yet, unless it is unusually large."""
        size = SLOT_BYTES + size_of(key)
        if size > self._item_max:
            return
        size += size_of(value)
        if size > self._item_max:
            return
        if self.size + size > self.bound.limit:
            self.forget()
        self[key] = value
        self.size += size

    def forget(self) -> None:
        """Start anew."""
        self.clear()
        self.update(self._known)
        self.size = 0


class Recent(OrderedDict[K, V]):
    """What was noted last, in as many bytes as the bound allows; the oldest goes first.

    Change it by `note` and `drop` only. `weigh` returns the bytes of an item beyond PLACE_BYTES.
    """

    def __init__(self, bound: Bound, weigh: Callable[[K, V], int]) -> None:
        super().__init__()
        self.bound = bound
        self.size = 0
        self._weigh = weigh
        register(self)

    __hash__ = object.__hash__  # type: ignore[assignment]

    def note(self, key: K, value: V) -> list[tuple[K, V]]:
        """Put an item last; return those that had to go for it, perhaps the item itself."""
        self.drop(key)
        self[key] = value
        self.size += PLACE_BYTES + self._weigh(key, value)
        gone: list[tuple[K, V]] = []
        while self.size > self.bound.limit:
            oldest = self.popitem(last=False)
            self.size -= PLACE_BYTES + self._weigh(*oldest)
            gone.append(oldest)
        return gone

    def drop(self, key: K) -> None:
        """Forget an item, if it is here."""
        if key in self:
            self.size -= PLACE_BYTES + self._weigh(key, self.pop(key))

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self.size = 0


def length_of_key(key: bytes, _value: object) -> int:
    """Return the bytes of a key: what an item weighs whose value is of one size."""
    return len(key)
