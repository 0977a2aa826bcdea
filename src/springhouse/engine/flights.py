"""Who fetches what: one leader per key, and those who wait for it.

A flight lasts from the leader's claim until its content has arrived. Before the head is there, others wait; after it
is known to be kept, they find the entry that is arriving and stream along. A key whose answer proved not shareable is
remembered for a while, so that nobody queues for it.
"""

from collections.abc import Callable
from typing import Final

from springhouse.exchange.steps import Claimed, Failure
from springhouse.http.memo import MIB, Bound, Recent, bound, length_of_key
from springhouse.rules.entry import Entry
from springhouse.stores.leasing import Lease
from springhouse.stores.purging import Keys, Prefix, Selection, selects

ALONE: Final = bound("keys that go alone", 8 * MIB, "keys whose answer lately proved not shareable")

Waiter = Callable[["Failure | Claimed | None"], None]
"""Called with why to go alone, or with None: look again."""


class Flight:
    """One fetch that others may wait for."""

    __slots__ = ("arriving", "key", "lease", "waiters")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.arriving: Entry | None = None
        self.waiters: list[Waiter] = []
        self.lease: Lease | None = None
        """The right to fetch the key for other processes, too."""


class Flights:
    """All flights, by key, and the keys nobody needs to wait for."""

    def __init__(self, *, remembered_s: float = 120.0, remembered: Bound = ALONE) -> None:
        self.by_key: dict[bytes, list[Flight]] = {}
        self.alone_until: Recent[bytes, tuple[float, float]] = Recent(remembered, length_of_key)
        """For requests without credentials, and for those with: what is so for these need not be so for the others."""
        self.remembered_s = remembered_s

    def goes_alone(self, key: bytes, now: float, *, with_credentials: bool = False) -> bool:
        """Say whether the key lately proved not shareable."""
        until = self.alone_until.get(key)
        if until is None:
            return False
        if until[with_credentials] > now:
            return True
        if max(until) <= now:
            self.alone_until.drop(key)
        return False

    def remember(self, key: bytes, now: float, *, with_credentials: bool = False) -> None:
        """Let nobody wait for the key for a while; the oldest memory goes when there are too many."""
        without, with_ = self.alone_until.get(key, (0.0, 0.0))
        until = now + self.remembered_s
        self.alone_until.note(key, (without, until) if with_credentials else (until, with_))

    def forget(self, key: bytes, *, with_credentials: bool = False) -> None:
        """Let the key be waited for again: what was fetched with credentials, and may be stored, is for all."""
        _, with_ = self.alone_until.get(key, (0.0, 0.0))
        if with_credentials or not with_:
            self.alone_until.drop(key)
        else:
            self.alone_until.note(key, (0.0, with_))

    def open(self, key: bytes) -> Flight | None:
        """Return the flight whose head is still awaited, None when there is none to wait for."""
        return next((flight for flight in self.by_key.get(key, ()) if flight.arriving is None), None)

    def arriving(self, key: bytes) -> tuple[Entry, ...]:
        """Return the entries of the key whose content is arriving, the latest first."""
        return tuple(flight.arriving for flight in reversed(self.by_key.get(key, ())) if flight.arriving is not None)

    def selected(self, what: Selection) -> list[Entry]:
        """Return the entries selected whose content is arriving."""
        if isinstance(what, Keys):
            return [entry for key in dict.fromkeys(what.keys) for entry in self.arriving(key)]
        return [entry for key in self.by_key for entry in self.arriving(key) if selects(what, entry)]

    def lead(self, key: bytes) -> Flight:
        """Start a flight."""
        flight = Flight(key)
        self.by_key.setdefault(key, []).append(flight)
        return flight

    def share(self, flight: Flight, entry: Entry) -> None:
        """Let those who wait, and who come later, find the entry while its content arrives."""
        flight.arriving = entry
        self._wake(flight, None)

    def land(self, flight: Flight, outcome: Failure | Claimed | None = None) -> None:
        """End a flight; with an outcome those who still wait get that, else they look again."""
        flights = self.by_key.get(flight.key)
        if flights and flight in flights:
            flights.remove(flight)
            if not flights:
                del self.by_key[flight.key]
        if flight.waiters:
            self._wake(flight, outcome)

    def expel(self, what: Selection) -> list[Flight]:
        """Let nobody find what is arriving and selected any more; those who wait look again. Return these flights.

        A flight whose answer is still awaited may bring anything: for tags and groups it counts as selected.
        """
        if isinstance(what, Keys):
            keys = [key for key in what.keys if key in self.by_key]
        elif isinstance(what, Prefix):
            keys = [key for key in self.by_key if key.startswith(what.prefix)]
        else:
            keys = [key for key, flights in self.by_key.items() if any(_may_be(what, flight) for flight in flights)]
        expelled = [flight for key in keys for flight in self.by_key.pop(key)]
        for flight in expelled:
            self._wake(flight, None)
        return expelled

    def _wake(self, flight: Flight, outcome: Failure | Claimed | None) -> None:
        waiters, flight.waiters = flight.waiters, []
        for waiter in waiters:
            waiter(outcome)


def _may_be(what: Selection, flight: Flight) -> bool:
    return flight.arriving is None or selects(what, flight.arriving)
