"""Leases: of all processes that miss a key, one fetches it and the others wait. What is said about them.

A store that processes share offers them: `disk_leases` for those on one folder, `redis_leases` for those on one Redis.
"""

from collections.abc import Callable
from enum import Enum
from typing import Protocol


class Verdict(Enum):
    """What came of asking or waiting, when it was not a lease."""

    HELD = "held"
    """Another process is fetching the key: wait."""
    FREE = "free"
    """It no longer is: look up again, behind memory."""
    ALONE = "alone"
    """The key has proved not shareable: fetch for yourself."""
    WITHOUT = "without"
    """Go on without a lease: there is none to be had, this process has one already, its holder has failed or takes too
    long."""


class Lease:
    """The right to fetch a key for everybody."""

    __slots__ = ("is_lost", "key", "token")

    def __init__(self, key: bytes, token: int) -> None:
        self.key = key
        self.token = token
        """By what the store knows it."""
        self.is_lost = False
        """It has lapsed, and somebody else may have one: what is put will be refused then."""


Acquired = Callable[["Lease | Verdict"], None]
Waited = Callable[[Verdict], None]


class Leasing(Protocol):
    """Gives leases. Callbacks come on the loop's thread, and not before the call has returned."""

    def acquire(self, key: bytes, done: Acquired, *, since: float) -> Lease | Verdict | None:
        """Ask for the lease of a key: return it, or HELD, FREE, ALONE or WITHOUT; or None, and `done` is given that.

        `since`: when the look-up began, by time.monotonic, after which it is wanted. FREE: there is no need for it,
        another process has stored the key, and that look-up may not have seen it.
        """

    def wait(self, key: bytes, done: Waited) -> Callable[[], object]:
        """Wait while another process holds the lease; `done` is given FREE, ALONE or WITHOUT. Return how to stop."""

    def release(self, lease: Lease, told: Verdict = Verdict.FREE) -> None:
        """Give a lease up; nothing happens when that is done. `told` is what those who wait are to hear.

        FREE: what was put under its key, if anything, is stored by then. ALONE: nobody needs to wait for this key for
        a while. WITHOUT: nothing came of it, and trying again one after the other would only take longer.
        """
