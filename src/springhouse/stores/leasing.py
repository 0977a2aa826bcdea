"""Leases: of all nodes that miss a key, one fetches it and the others wait. What is said about them.

A store that nodes share may offer them; `redis_leases` does.
"""

from collections.abc import Callable
from enum import Enum
from typing import Protocol


class Verdict(Enum):
    """What came of asking or waiting, when it was not a lease."""

    HELD = "held"
    """Another node is fetching the key: wait."""
    FREE = "free"
    """It no longer is: look up again."""
    ALONE = "alone"
    """The key has proved not shareable: fetch for yourself."""
    WITHOUT = "without"
    """Go on without a lease: Redis is away, this process has one already, or it has taken too long."""


class Lease:
    """The right to fetch a key for everybody."""

    __slots__ = ("is_lost", "key", "token")

    def __init__(self, key: bytes, token: int) -> None:
        self.key = key
        self.token = token
        self.is_lost = False
        """It has lapsed, and somebody else may have one: what is put will be refused then."""


Acquired = Callable[["Lease | Verdict"], None]
Waited = Callable[[Verdict], None]


class Leasing(Protocol):
    """Gives leases. Callbacks come on the loop's thread, and not before the call has returned."""

    def acquire(self, key: bytes, done: Acquired) -> None:
        """Ask for the lease of a key; `done` is given it, or HELD, ALONE or WITHOUT."""

    def wait(self, key: bytes, done: Waited) -> Callable[[], object]:
        """Wait while another node holds the lease; `done` is given FREE, ALONE or WITHOUT. Return how to stop."""

    def release(self, lease: Lease, *, alone: bool = False) -> None:
        """Give a lease up, once what was put under its key is stored. `alone`: nobody needs to wait for this key."""
