"""Leases: of all processes that miss a variant, one fetches it and the others wait. Their types.

A variant is named by what chooses it (`purging.variant_chosen`); while it is not known that the key varies, by b"".

A store that processes share offers them: `disk.leases` for those on one folder, `redis.leases` for those on one Redis.
"""

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from springhouse.rules.entry import Entry


class LockStatus(Enum):
    """What came of asking or waiting, when it was not a lease; named like the states of pingora's cache lock."""

    WAITING = "waiting"
    """Another process is fetching the variant: wait."""
    DONE = "done"
    """It no longer is: look up again, behind memory."""
    GIVE_UP = "give_up"
    """The key has proved not shareable: fetch for yourself."""
    TRANSIENT_ERROR = "transient_error"
    """Go on without a lease: there is none to be had, this process has one already, its holder has failed or takes too
    long."""


class Lease:
    """The right to fetch a variant of a key for all processes."""

    __slots__ = ("entry", "is_lost", "key", "token", "variant")

    def __init__(self, key: bytes, variant: bytes, token: int) -> None:
        self.key = key
        self.variant = variant
        self.token = token
        """By what the store knows it."""
        self.entry: Entry | None = None
        """What the fetch has brought, and is put."""
        self.is_lost = False
        """It has lapsed, and another process may have one: what is put will be refused then."""


Acquired = Callable[["Lease | LockStatus"], None]
Waited = Callable[[LockStatus], None]


class Leasing(Protocol):
    """Gives leases. Callbacks come on the loop's thread, and not before the call has returned."""

    def acquire(self, key: bytes, variant: bytes, done: Acquired, *, since: float) -> Lease | LockStatus | None:
        """Ask for a lease: return it, or WAITING, DONE, GIVE_UP or TRANSIENT_ERROR; or None, and `done` is given that.

        `since`: when the look-up began, by time.monotonic, after which it is wanted. DONE: there is no need for it,
        another process has stored the variant, and that look-up may not have seen it.
        """

    def wait(self, key: bytes, variant: bytes, done: Waited) -> Callable[[], object]:
        """Wait until the process that holds the lease now gives it up, and not for the next that gets it.

        `done` is given DONE, GIVE_UP or TRANSIENT_ERROR. Return how to stop.
        """

    def release(self, lease: Lease, outcome: LockStatus = LockStatus.DONE) -> None:
        """Give a lease up; nothing happens when that is done. `outcome` is what waiting processes are given.

        DONE: what was put under its key, if anything, is stored by then. GIVE_UP: no process needs to wait for this key
        for a while. TRANSIENT_ERROR: nothing came of it, and trying again one after the other would only take longer.
        """
