"""Which request fetches what: one leader per variant, and the followers that wait for it (collapsed forwarding).

A flight lasts from the leader's claim until its content has arrived. Before the head is there, others wait; after it
is known to be kept, they find the entry that is arriving and stream along. A key whose answer proved uncacheable is
remembered for a while, so that no request queues for it.

Which requests are for one variant is known as far as Vary is: a flight has the names of fields that its leader knew
of, and the leader's values for them. As long as no names are known all wait for one leader; afterwards only
requests that agree with the leader in all the fields that they, or the leader, know of.
"""

from collections.abc import Callable, Iterator
from typing import Final

from springhouse.exchange.steps import Claimed, Failure
from springhouse.http.memo import MIB, Bound, Recent, bound, length_of_key, size_of
from springhouse.http.messages import Request
from springhouse.rules.entry import Entry
from springhouse.rules.purging import Keys, Prefix, Selection, selects, variant_chosen
from springhouse.rules.variants import Selector, selector
from springhouse.stores.leases import Lease

UNCACHEABLE: Final = bound(
    "uncacheable keys", 8 * MIB, "keys whose answer recently proved uncacheable (hit-for-miss in Varnish)"
)
VARYING: Final = bound("keys that vary", MIB, "what `Vary` named in answers that several had waited for")

FlightResult = Failure | Claimed | Entry | None
"""What became of a flight: why to go alone, what it has brought, or None: look again."""
Waiter = Callable[[FlightResult], None]
Waiters = dict[Waiter, None]
"""In the order they came; each may leave at any time."""
Names = tuple[bytes, ...]


class Flight:
    """One fetch that others may wait for. `names`, `values`: which variant of the key it is for."""

    __slots__ = ("arriving", "deserted", "key", "lease", "names", "request", "values", "waiters")

    def __init__(self, key: bytes, request: Request, names: Names, values: Selector) -> None:
        self.key = key
        self.request = request
        self.names = names
        self.values = values
        self.arriving: Entry | None = None
        self.waiters: Waiters = {}
        self.deserted: Callable[[], object] | None = None
        """Is called when the last waiter has left, after the leader's own client has."""
        self.lease: Lease | None = None
        """The right to fetch the variant for other processes, too."""

    @property
    def variant(self) -> bytes:
        """What tells it from the key's other flights, for other processes; b"" as long as no names are known."""
        return variant_chosen(self.names, self.values) if self.names else b""

    def is_for(self, request: Request, names: Names) -> bool:
        """Return whether the request agrees with the leader's in the fields of these names."""
        return names == self.names or selector(request, names) == selector(self.request, names)

    def leave(self, waiter: Waiter) -> None:
        """Wait no longer."""
        self.waiters.pop(waiter, None)
        if not self.waiters and self.deserted is not None:
            self.deserted()


Several = dict[Names, dict[Selector, list[Flight]]]
"""Flights of one key, by the names and values they are for."""


class Flights:
    """All flights, by key, and the keys that need no waiting for."""

    def __init__(self, *, remembered_s: float = 120.0, remembered: Bound = UNCACHEABLE) -> None:
        self.by_key: dict[bytes, Flight | Several] = {}
        """Most keys have one."""
        self.varying: Recent[bytes, Names] = Recent(VARYING, lambda key, names: len(key) + size_of(names))
        """What Vary named, as long as it is remembered, whatever has become of the answers since."""
        self.uncacheable_until: Recent[bytes, tuple[float, float]] = Recent(remembered, length_of_key)
        """For requests without credentials, and for those with: what is so for these need not be so for the others."""
        self.remembered_s = remembered_s

    def is_uncacheable(self, key: bytes, now: float, *, with_credentials: bool = False) -> bool:
        """Return whether the key recently proved uncacheable."""
        until = self.uncacheable_until.get(key)
        if until is None:
            return False
        if until[with_credentials] > now:
            return True
        if max(until) <= now:
            self.uncacheable_until.drop(key)
        return False

    def remember(self, key: bytes, now: float, *, with_credentials: bool = False) -> None:
        """Let no request wait for the key for a while; the oldest memory goes when there are too many."""
        without, with_ = self.uncacheable_until.get(key, (0.0, 0.0))
        until = now + self.remembered_s
        self.uncacheable_until.note(key, (without, until) if with_credentials else (until, with_))

    def forget(self, key: bytes, *, with_credentials: bool = False) -> None:
        """Let the key be waited for again: what was fetched with credentials, and may be stored, is for all."""
        _, with_ = self.uncacheable_until.get(key, (0.0, 0.0))
        if with_credentials or not with_:
            self.uncacheable_until.drop(key)
        else:
            self.uncacheable_until.note(key, (0.0, with_))

    def open(self, key: bytes, request: Request, names: Names = ()) -> Flight | None:
        """Return the flight to wait for: the head is awaited of what will be for the request, as far as is known.

        `names`: the fields that are known to choose among the key's variants.
        """
        for flight in self._agreeing(key, request):
            if flight.arriving is None and flight.is_for(request, names):
                return flight
        return None

    def arriving(self, key: bytes, request: Request) -> tuple[Entry, ...]:
        """Return the entries whose content is arriving and whose Vary matches the request."""
        return tuple([flight.arriving for flight in self._agreeing(key, request) if flight.arriving is not None])

    def _agreeing(self, key: bytes, request: Request) -> Iterator[Flight]:
        """Yield the flights whose values the request has, too, the latest of each variant first."""
        for names, by_values in self._of(key).items():
            yield from reversed(by_values.get(selector(request, names), ()))

    def selected(self, what: Selection) -> list[Entry]:
        """Return the entries selected whose content is arriving."""
        keys = dict.fromkeys(what.keys) if isinstance(what, Keys) else self.by_key
        found = [flight.arriving for key in keys for flight in self._all(key)]
        return [entry for entry in found if entry is not None and selects(what, entry)]

    def lead(self, key: bytes, request: Request, names: Names = ()) -> Flight:
        """Start a flight for what the names choose by the request's values."""
        flight = Flight(key, request, names, selector(request, names) if names else ())
        if self.by_key.setdefault(key, flight) is not flight:
            self._add(flight)
        return flight

    def share(self, flight: Flight, entry: Entry) -> None:
        """Let those who wait, and who come later, find the entry while its content arrives."""
        flight.arriving = entry
        if (entry.vary != flight.names or entry.selector != flight.values) and self._remove(flight):
            flight.names, flight.values = entry.vary, entry.selector
            self._add(flight)
        if flight.waiters:
            self._wake(flight, entry)

    def land(self, flight: Flight, result: FlightResult = None) -> None:
        """End a flight, and tell those who still wait what became of it."""
        self._remove(flight)
        if flight.waiters:
            self._wake(flight, result)

    def expel(self, what: Selection) -> list[Flight]:
        """Hide what is arriving and selected from lookups; requests that wait look again. Return these flights.

        A flight whose answer is still awaited may bring anything: for tags and groups it counts as selected.
        """
        if isinstance(what, Keys):
            keys = [key for key in dict.fromkeys(what.keys) if key in self.by_key]
        elif isinstance(what, Prefix):
            keys = [key for key in self.by_key if key.startswith(what.prefix)]
        else:
            keys = [key for key in self.by_key if any(_may_be(what, flight) for flight in self._all(key))]
        expelled = [flight for key in keys for flight in self._all(key)]
        for key in keys:
            del self.by_key[key]
        for flight in expelled:
            self._wake(flight, None)
        return expelled

    def note_vary(self, key: bytes, names: Names) -> None:
        """Remember what Vary named in an answer, for those who will miss the key when nothing is stored under it."""
        if names:
            self.varying.note(key, names)
        else:
            self.varying.drop(key)

    def _of(self, key: bytes) -> Several:
        found = self.by_key.get(key)
        if isinstance(found, Flight):
            return {found.names: {found.values: [found]}}
        return {} if found is None else found

    def _all(self, key: bytes) -> list[Flight]:
        return [one for by_values in self._of(key).values() for flights in by_values.values() for one in flights]

    def _add(self, flight: Flight) -> None:
        several = self.by_key[flight.key] = self._of(flight.key)
        several.setdefault(flight.names, {}).setdefault(flight.values, []).append(flight)

    def _remove(self, flight: Flight) -> bool:
        """Let it be found no more; return False when it has been expelled."""
        found = self.by_key.get(flight.key)
        if found is flight:
            del self.by_key[flight.key]
            return True
        if isinstance(found, Flight) or found is None:
            return False
        by_values = found.get(flight.names, {})
        flights = by_values.get(flight.values, [])
        if flight not in flights:
            return False
        flights.remove(flight)
        if not flights:
            del by_values[flight.values]
        if not by_values:
            del found[flight.names]
        if not found:
            del self.by_key[flight.key]
        return True

    def _wake(self, flight: Flight, result: FlightResult) -> None:
        waiters, flight.waiters = flight.waiters, {}
        if isinstance(result, Entry):
            self.note_vary(flight.key, result.vary)
        for waiter in waiters:
            waiter(result)


def _may_be(what: Selection, flight: Flight) -> bool:
    return flight.arriving is None or selects(what, flight.arriving)
