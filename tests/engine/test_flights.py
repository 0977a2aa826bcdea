"""One leader per variant, and those who wait for it (law 10)."""

from __future__ import annotations

import pytest
from tests.support.heads import get, stored

from springhouse.engine.flights import UNCACHEABLE, VARYING, Flight, FlightResult, Flights
from springhouse.exchange.steps import Claimed, Failure
from springhouse.http.memo import PLACE_BYTES, Bound
from springhouse.http.messages import Request
from springhouse.rules.entry import Entry
from springhouse.rules.purging import Everything, Groups, Keys, Prefix, Tags

KEY, OTHER = b"http://a.test/x", b"http://a.test/y"
FAILURE = Failure("connection_refused", "It refuses", 502, 1.0)
ANY = get()
C, CU = (b"cookie",), (b"cookie", b"user-agent")


class Heard(list[object]):
    """What a waiter was told."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __call__(self, news: FlightResult) -> None:
        self.append(news)


def waiting(flight: Flight, count: int = 2) -> list[Heard]:
    """Return waiters who wait for a flight."""
    heard = [Heard() for _ in range(count)]
    flight.waiters.update(dict.fromkeys(heard))
    return heard


def entry(key: bytes = KEY, *lines: str, request: Request = ANY) -> Entry:
    return stored("Cache-Control: max-age=60", *lines, key=key, request=request)


def asks(cookie: int, agent: int = 0) -> Request:
    return get(f"Cookie: {cookie}", f"User-Agent: {agent}")


def test_a_flight_is_open_until_its_answer_is_shared() -> None:
    flights = Flights()
    assert flights.open(KEY, ANY) is None
    flight = flights.lead(KEY, ANY)
    assert flights.open(KEY, ANY) is flight
    assert flights.open(OTHER, ANY) is None
    assert flights.arriving(KEY, ANY) == ()
    arriving = entry()
    flights.share(flight, arriving)
    assert flights.open(KEY, ANY) is None, "nobody waits: it can be found"
    assert flights.arriving(KEY, ANY) == (arriving,)
    flights.land(flight)
    assert flights.arriving(KEY, ANY) == ()
    assert flights.by_key == {}


def test_while_nothing_is_known_of_a_key_everybody_waits_for_one() -> None:
    flights = Flights()
    flight = flights.lead(KEY, asks(1))
    assert flights.open(KEY, asks(2)) is flight
    assert flights.open(KEY, asks(2), C) is None, "who knows better does not"
    assert flights.open(KEY, asks(1), C) is flight
    assert flights.open(KEY, asks(1, 2), C) is flight
    assert flights.open(KEY, asks(1, 2), CU) is None


def test_different_variants_are_fetched_side_by_side() -> None:
    flights = Flights()
    flown = [flights.lead(KEY, asks(cookie), C) for cookie in range(3)]
    assert [flights.open(KEY, asks(cookie, 9), C) for cookie in range(3)] == flown
    assert flights.open(KEY, asks(3), C) is None
    assert flights.open(KEY, asks(1), CU) is flown[1], "it agrees with the leader in all of them"
    assert flights.open(KEY, asks(1, 9), CU) is None, "it may depend on more than the leader knew"
    assert flights.open(KEY, asks(1, 9), ()) is flown[1], "it depends on what the leader knew, whoever does not"
    assert flights.open(KEY, asks(9), ()) is None
    flights.land(flown[1])
    assert flights.open(KEY, asks(1), C) is None
    assert flights.open(KEY, asks(2), C) is flown[2]
    for flight in flown:
        flights.land(flight)
    assert flights.by_key == {}


def test_what_arrives_is_found_by_its_own_vary_and_not_by_what_the_leader_knew() -> None:
    flights = Flights()
    one, other = (flights.lead(KEY, asks(1, agent), names) for agent, names in ((1, ()), (2, CU)))
    first, second = (entry(KEY, "Vary: Cookie, User-Agent", request=asks(1, 1)), entry(request=asks(1, 2)))
    flights.share(one, first)
    assert flights.arriving(KEY, asks(1, 1)) == (first,)
    assert flights.arriving(KEY, asks(1, 2)) == ()
    assert flights.open(KEY, asks(1, 2), CU) is other
    flights.share(other, second)
    assert set(flights.arriving(KEY, asks(1, 1))) == {first, second}
    assert flights.arriving(KEY, asks(7, 7)) == (second,)
    assert set(flights.selected(Keys((KEY, KEY)))) == {first, second}
    flights.land(one)
    flights.land(other)
    assert flights.by_key == {}


def test_other_processes_know_a_flight_by_its_variant() -> None:
    flights = Flights()
    assert flights.lead(KEY, asks(1)).variant == b""
    named = [flights.lead(KEY, asks(cookie, agent), C).variant for cookie, agent in ((1, 1), (1, 2), (2, 1))]
    assert named[0] == named[1] != named[2]
    assert b"" not in named


@pytest.mark.parametrize("how", ["shared", "landed"])
def test_those_who_wait_are_told_what_was_brought(how: str) -> None:
    flights = Flights()
    flight = flights.lead(KEY, ANY)
    heard, brought = waiting(flight), entry()
    if how == "shared":
        flights.share(flight, brought)
        assert heard == [[brought], [brought]]
        flights.land(flight)
    else:
        flights.land(flight, brought)
    assert heard == [[brought], [brought]], "once"


@pytest.mark.parametrize("news", [None, Claimed.RELEASED, FAILURE])
def test_landing_tells_the_outcome(news: FlightResult) -> None:
    flights = Flights()
    flight = flights.lead(KEY, ANY)
    heard = waiting(flight)
    flights.land(flight, news)
    assert heard == [[news], [news]]
    assert flights.by_key == {}
    flights.land(flight, news)
    assert heard == [[news], [news]]


def test_a_waiter_may_lead_next() -> None:
    """What is woken acts at once; it must not find the flight that woke it."""
    flights, seen = Flights(), list[Flight | None]()
    flight = flights.lead(KEY, ANY)
    flight.waiters[lambda _: seen.append(flights.open(KEY, ANY))] = None
    flight.waiters[lambda _: seen.append(flights.open(KEY, ANY) or flights.lead(KEY, ANY))] = None
    flight.waiters[lambda _: seen.append(flights.open(KEY, ANY))] = None
    flights.land(flight, Claimed.RELEASED)
    assert seen[0] is None
    assert seen[1] is seen[2] is not flight


def test_several_may_arrive_for_one_request() -> None:
    """The latest comes first."""
    flights = Flights()
    first, second = flights.lead(KEY, ANY), flights.lead(KEY, ANY)
    one, other = entry(), entry()
    flights.share(first, one)
    assert flights.open(KEY, ANY) is second
    flights.share(second, other)
    assert flights.arriving(KEY, ANY) == (other, one)
    flights.land(first)
    assert flights.arriving(KEY, ANY) == (other,)


def test_what_several_waited_for_tells_what_the_key_varies_by() -> None:
    flights = Flights()
    flight = flights.lead(KEY, asks(1))
    flights.land(flight, entry(KEY, "Vary: Cookie", request=asks(1)))
    assert flights.varying.get(KEY, ()) == (), "nobody would have been better off"
    for lines, names in ((["Vary: User-Agent, cookie"], CU), (["Vary: Cookie"], C), ([], ())):
        flight = flights.lead(KEY, asks(1))
        waiting(flight)
        flights.share(flight, entry(KEY, *lines, request=asks(1)))
        assert flights.varying.get(KEY, ()) == names
        flights.land(flight)


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
        flight = flights.lead(KEY, ANY)
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
    old = flights.lead(KEY, ANY)
    flights.expel(Keys((KEY,)))
    new = flights.lead(KEY, ANY)
    heard = waiting(new, 1)
    flights.land(old, Claimed.RELEASED)
    assert flights.open(KEY, ANY) is new
    assert heard == [[]]


def test_what_is_remembered_is_forgotten_in_time() -> None:
    flights = Flights(remembered_s=10)
    assert not flights.is_uncacheable(KEY, 0)
    flights.remember(KEY, 100)
    assert flights.is_uncacheable(KEY, 109.9)
    assert not flights.is_uncacheable(OTHER, 100)
    flights.remember(KEY, 105)
    assert flights.is_uncacheable(KEY, 114.9)
    assert not flights.is_uncacheable(KEY, 115)
    assert flights.uncacheable_until == {}


def test_what_is_so_for_some_requests_need_not_be_so_for_those_with_credentials() -> None:
    flights = Flights(remembered_s=10)
    flights.remember(KEY, 100, with_credentials=True)
    assert flights.is_uncacheable(KEY, 101, with_credentials=True)
    assert not flights.is_uncacheable(KEY, 101)
    flights.remember(KEY, 105)
    flights.forget(KEY)
    assert not flights.is_uncacheable(KEY, 106)
    assert flights.is_uncacheable(KEY, 106, with_credentials=True), "a plain answer says nothing about these"
    flights.remember(KEY, 107)
    flights.forget(KEY, with_credentials=True)
    assert flights.uncacheable_until == {}, "what may be stored in spite of credentials is for all"


def test_what_is_remembered_is_bounded() -> None:
    flights = Flights(remembered=Bound("three keys", 3 * PLACE_BYTES + 5))
    for i in range(5):
        flights.remember(b"%d" % i, i)
    flights.remember(b"3", 9)
    assert list(flights.uncacheable_until) == [b"2", b"4", b"3"], "one that is renewed costs no other"
    flights.remember(b"5", 9)
    assert list(flights.uncacheable_until) == [b"4", b"3", b"5"], "the oldest memory goes first"


def test_long_keys_take_no_more_room_than_short_ones() -> None:
    flights = Flights()
    for size in (10, 1000, 8000):
        for number in range(3000):
            flights.remember(b"%d" % number + size * b"x", 0)
        assert flights.uncacheable_until.size <= UNCACHEABLE.limit
        assert (
            sum(map(len, flights.uncacheable_until)) + PLACE_BYTES * len(flights.uncacheable_until)
            == flights.uncacheable_until.size
        )
    assert flights.is_uncacheable(b"2999" + 8000 * b"x", 1)


def test_what_is_remembered_of_vary_is_bounded() -> None:
    flights = Flights()
    for number in range(20_000):
        flights.note_vary(b"%d" % number, (b"x" * (number % 900), b"y"))
    assert 0 < flights.varying.size <= VARYING.limit
    assert flights.varying[b"19999"] == (b"x" * 199, b"y")
    for number in range(20_000):
        flights.note_vary(b"%d" % number, ())
    assert (len(flights.varying), flights.varying.size) == (0, 0)
