"""One leader per key, and those who wait for it (law 10)."""

from __future__ import annotations

import pytest
from tests.support.heads import stored

from springhouse.engine.flights import ALONE, Flight, Flights
from springhouse.exchange.steps import Claimed, Failure
from springhouse.http.memo import PLACE_BYTES, Bound
from springhouse.rules.entry import Entry
from springhouse.stores.purging import Everything, Groups, Keys, Prefix, Tags

KEY, OTHER = b"http://a.test/x", b"http://a.test/y"
FAILURE = Failure("connection_refused", "It refuses", 502, 1.0)


class Heard(list[object]):
    """What a waiter was told."""

    def __call__(self, outcome: Failure | Claimed | None) -> None:
        self.append(outcome)


def waiting(flight: Flight, count: int = 2) -> list[Heard]:
    """Return waiters who wait for a flight."""
    heard = [Heard() for _ in range(count)]
    flight.waiters.extend(heard)
    return heard


def entry(key: bytes = KEY, *lines: str) -> Entry:
    return stored("Cache-Control: max-age=60", *lines, key=key)


def test_a_flight_is_open_until_its_answer_is_shared() -> None:
    flights = Flights()
    assert flights.open(KEY) is None
    flight = flights.lead(KEY)
    assert flights.open(KEY) is flight
    assert flights.open(OTHER) is None
    assert flights.arriving(KEY) == ()
    arriving = entry()
    flights.share(flight, arriving)
    assert flights.open(KEY) is None, "nobody waits: it can be found"
    assert flights.arriving(KEY) == (arriving,)
    flights.land(flight)
    assert flights.arriving(KEY) == ()
    assert flights.by_key == {}


def test_sharing_lets_those_look_again_who_wait() -> None:
    flights = Flights()
    flight = flights.lead(KEY)
    heard = waiting(flight)
    flights.share(flight, entry())
    assert heard == [[None], [None]]
    flights.land(flight)
    assert heard == [[None], [None]], "once"


@pytest.mark.parametrize("outcome", [None, Claimed.RELEASED, FAILURE])
def test_landing_tells_the_outcome(outcome: Failure | Claimed | None) -> None:
    flights = Flights()
    flight = flights.lead(KEY)
    heard = waiting(flight)
    flights.land(flight, outcome)
    assert heard == [[outcome], [outcome]]
    assert flights.by_key == {}
    flights.land(flight, outcome)
    assert heard == [[outcome], [outcome]]


def test_a_waiter_may_lead_next() -> None:
    """What is woken acts at once; it must not find the flight that woke it."""
    flights, seen = Flights(), list[Flight | None]()
    flight = flights.lead(KEY)
    flight.waiters.append(lambda _: seen.append(flights.open(KEY)))
    flight.waiters.append(lambda _: seen.append(flights.open(KEY) or flights.lead(KEY)))
    flight.waiters.append(lambda _: seen.append(flights.open(KEY)))
    flights.land(flight, Claimed.RELEASED)
    assert seen[0] is None
    assert seen[1] is seen[2] is not flight


def test_several_may_arrive_under_one_key() -> None:
    """Variants; the latest comes first."""
    flights = Flights()
    first, second = flights.lead(KEY), flights.lead(KEY)
    one, other = entry(), entry()
    flights.share(first, one)
    assert flights.open(KEY) is second
    flights.share(second, other)
    assert flights.arriving(KEY) == (other, one)
    flights.land(first)
    assert flights.arriving(KEY) == (other,)


EXPELLED = [
    # selection, is KEY's flight expelled while its answer is awaited, when it has come without labels, with them?
    (Keys((KEY,)), True, True, True),
    (Keys((OTHER, b"http://a.test/z")), False, False, False),
    (Prefix(b"http://a.test/x"), True, True, True),
    (Prefix(b"http://b.test/"), False, False, False),
    (Everything(), True, True, True),
    (Tags((b"t",)), True, False, True),
    (Tags((b"u",)), True, False, False),
    (Groups(b"http://a.test", (b"g",)), True, False, True),
    (Groups(b"http://b.test", (b"g",)), True, False, False),
]


@pytest.mark.parametrize(("what", "awaited", "plain", "labelled"), EXPELLED)
def test_expelling(what: object, awaited: bool, plain: bool, labelled: bool) -> None:
    """Law 5: what is purged while it arrives answers nobody who comes later; those who wait look again."""
    arrived = [None, entry(), entry(KEY, "xkey: t", 'Cache-Groups: "g"')]
    for shared, is_expelled in zip(arrived, (awaited, plain, labelled), strict=True):
        flights = Flights()
        flight = flights.lead(KEY)
        if shared is not None:
            flights.share(flight, shared)
        heard = waiting(flight, 1)
        flights.expel(what)
        assert heard == ([[None]] if is_expelled else [[]])
        assert (flights.by_key == {}) is is_expelled
        flights.land(flight)
        assert heard == [[None]]


def test_an_expelled_flight_leaves_the_next_one_alone() -> None:
    flights = Flights()
    old = flights.lead(KEY)
    flights.expel(Keys((KEY,)))
    new = flights.lead(KEY)
    heard = waiting(new, 1)
    flights.land(old, Claimed.RELEASED)
    assert flights.open(KEY) is new
    assert heard == [[]]


def test_what_is_remembered_is_forgotten_in_time() -> None:
    flights = Flights(remembered_s=10)
    assert not flights.goes_alone(KEY, 0)
    flights.remember(KEY, 100)
    assert flights.goes_alone(KEY, 109.9)
    assert not flights.goes_alone(OTHER, 100)
    flights.remember(KEY, 105)
    assert flights.goes_alone(KEY, 114.9)
    assert not flights.goes_alone(KEY, 115)
    assert flights.alone_until == {}


def test_what_is_so_for_some_requests_need_not_be_so_for_those_with_credentials() -> None:
    flights = Flights(remembered_s=10)
    flights.remember(KEY, 100, with_credentials=True)
    assert flights.goes_alone(KEY, 101, with_credentials=True)
    assert not flights.goes_alone(KEY, 101)
    flights.remember(KEY, 105)
    flights.forget(KEY)
    assert not flights.goes_alone(KEY, 106)
    assert flights.goes_alone(KEY, 106, with_credentials=True), "a plain answer says nothing about these"
    flights.remember(KEY, 107)
    flights.forget(KEY, with_credentials=True)
    assert flights.alone_until == {}, "what may be stored in spite of credentials is for all"


def test_what_is_remembered_is_bounded() -> None:
    flights = Flights(remembered=Bound("three keys", 3 * PLACE_BYTES + 5))
    for i in range(5):
        flights.remember(b"%d" % i, i)
    flights.remember(b"3", 9)
    assert list(flights.alone_until) == [b"2", b"4", b"3"], "one that is renewed costs no other"
    flights.remember(b"5", 9)
    assert list(flights.alone_until) == [b"4", b"3", b"5"], "the oldest memory goes first"


def test_long_keys_take_no_more_room_than_short_ones() -> None:
    flights = Flights()
    for size in (10, 1000, 8000):
        for number in range(3000):
            flights.remember(b"%d" % number + size * b"x", 0)
        assert flights.alone_until.size <= ALONE.limit
        assert sum(map(len, flights.alone_until)) + PLACE_BYTES * len(flights.alone_until) == flights.alone_until.size
    assert flights.goes_alone(b"2999" + 8000 * b"x", 1)
