"""Many different clients, one key, whatever the origin answers: who asks it, and whom everybody waits for (law 10).

The origin answers when the test says so, and how. What is counted are fetches, not time: those that each client has
waited for, those that it caused, and how many turns of the origin it takes until everybody is answered.
"""

from __future__ import annotations

from ast import literal_eval
from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.engine.clients import Client
from tests.support.examples import examples
from tests.support.heads import NOW, get, ok

from springhouse.engine.cache import Cache
from springhouse.engine.engine import Engine
from springhouse.exchange.flow import TRIES_MAX
from springhouse.exchange.steps import Failure
from springhouse.rules.options import Options
from springhouse.rules.purging import Keys, Purge, Receipt, remaining
from springhouse.rules.variants import selector, with_entry
from springhouse.stores.errors import StoreErrors
from springhouse.stores.memory.records import Memory
from springhouse.stores.store import Store
from springhouse.stores.tier import Timing
from springhouse.upstream.routing import Forwarding, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from springhouse.engine.flights import Flight
    from springhouse.exchange.reply import Reply
    from springhouse.http.fields import Field
    from springhouse.http.messages import Request
    from springhouse.rules.entry import Entry
    from springhouse.rules.purging import Held
    from springhouse.stores.tier import LookedUp, Purged
    from springhouse.transport.content import RequestContent
    from springhouse.upstream.call import Receiver

KEY = b"http://origin.test/"
OPTIONS = Options(max_variants=4)
BROKEN = Failure("http_response_incomplete", "The origin's answer broke off", 502, NOW)
Names = tuple[bytes, ...]


class Asking(Client):
    """A client, and the fetches it has waited for."""

    def __init__(self, request: Request, purges: int) -> None:
        super().__init__()
        self.request = request
        self.purges = purges
        """How many there had been when it came."""
        self.calls = 0
        self.waited: list[Flight] = []
        self.reply: Reply | None = None
        self.has_left = False

    def start(self, reply: Reply) -> None:
        assert self.reply is None
        self.reply = reply

    @property
    def is_answered(self) -> bool:
        return bool(self.ends or self.aborts or self.has_left)


class Call:
    """A request at the origin."""

    def __init__(self, request: Request, receiver: Receiver, purges: int, now: float) -> None:
        self.request = request
        self.receiver = receiver
        self.purges = purges
        self.requested_at = now
        self.is_over = False

    def answer(self, how: str, names: Names) -> None:
        """Answer in one of the ways; `names` are in Vary."""
        self.is_over = True
        lines = [f"Vary: {', '.join(name.decode() for name in names)}"] if names else []
        body = repr((self.purges, names, selector(self.request, names))).encode()
        to = self.receiver
        if how == "fails":
            to.failed(BROKEN)
        elif how in ("no-store", "private", "max-age=0"):
            self._whole(ok(f"Cache-Control: {how}", 'ETag: "1"', *lines), body, len(body))
        elif how == "503":
            self._whole(ok(status=503), body, len(body))
        elif how == "streamed":
            self._whole(ok("Cache-Control: max-age=60", *lines), body, None)
        elif how == "breaks off":
            to.answered(ok("Cache-Control: max-age=60", *lines), 10_000)
            to.content(body)
            to.settled()
            to.failed(BROKEN)
        elif how == "breaks off at once":
            to.answered(ok("Cache-Control: max-age=60", *lines), 10_000)
            to.failed(BROKEN)
        else:
            self._whole(ok("Cache-Control: max-age=60", *lines), body, len(body))

    def _whole(self, response: object, body: bytes, length: int | None) -> None:
        to = self.receiver
        to.answered(response, length)
        to.settled() if length is None else None
        to.content(body)
        to.content_end()
        to.settled()

    def pause(self) -> None:
        """Nothing to hold back: the test does not go on by itself."""

    def resume(self) -> None:
        """Go on when the test says so."""

    def unattended(self) -> None:
        """Go on, though nobody reads it now."""

    def attended(self) -> None:
        """Go on."""

    def cancel(self) -> None:
        self.is_over = True


class SlowTier:
    """A tier that answers look-ups when the test says so."""

    def __init__(self) -> None:
        self.errors = StoreErrors(lambda _: None)
        self.leases = None
        self.patience = 1.0
        self.variants: tuple[Entry, ...] = ()
        self.lookups: list[LookedUp] = []

    def lookup(self, key: bytes, done: LookedUp) -> None:
        self.lookups.append(done)

    def settle(self) -> None:
        """Answer all look-ups, and those that come of it."""
        while self.lookups:
            self.lookups.pop(0)(self.variants)

    def put(self, entry: Entry) -> None:
        self.variants = with_entry(self.variants, entry, OPTIONS.max_variants)

    def replace(self, old: Entry, new: Entry) -> None:
        self.variants = tuple(new if entry is old else entry for entry in self.variants)

    def arrive(self, key: bytes, told: Callable[[], None], /) -> None:
        return None

    def purge(
        self, purge: Purge, done: Purged | None = None, *, held: Sequence[Held] = (), dry_run: bool = False
    ) -> None:
        self.variants = remaining(self.variants, purge)
        if done is not None:
            done(Receipt())

    def has_foreign_purges(self) -> bool:
        return False


class World:
    """Clients, engine and origin. It is also the engine's way to the origin."""

    def __init__(self, vary: Sequence[Names], *, is_slow: bool) -> None:
        self.forwarding = Forwarding(b"test")
        self.vary = vary
        """What the origin's answers name, by the request's cookie."""
        self.now = NOW
        self.purges = 0
        self.calls: list[Call] = []
        self.clients: list[Asking] = []
        self.exchanges: dict[Asking, object] = {}
        memory = Memory(10_000_000, OPTIONS)
        self.tier = SlowTier() if is_slow else None
        tier = self.tier
        store = Store(memory, None if tier is None else lambda: tier, timing=Timing(call_later=lambda *_: None))
        store.open()
        origin = Origin.parse("http://origin.test")
        self.engine = Engine(Cache(store=store, clock=lambda: self.now), self, origin, OPTIONS)

    def send(self, request: Request, fields: list[Field], content: RequestContent | None, receiver: Receiver) -> Call:
        self.calls.append(Call(request, receiver, self.purges, self.now))
        next(client for client in self.clients if client.request is request).calls += 1
        return self.calls[-1]

    def close(self) -> None:
        pass

    @property
    def outstanding(self) -> list[Call]:
        return [call for call in self.calls if not call.is_over]

    @property
    def unanswered(self) -> list[Asking]:
        return [client for client in self.clients if not client.is_answered]

    def names_for(self, request: Request) -> Names:
        value = next(value for name, value in request.fields if name == b"Cookie")
        return self.vary[int(value) % len(self.vary)]

    # What may happen.

    def ask(self, cookie: int, agent: int) -> None:
        client = Asking(get(f"Cookie: {cookie}", f"User-Agent: {agent}"), self.purges)
        self.clients.append(client)
        self.exchanges[client] = self.engine.handle(client.request, None, client)

    def answer(self, at: int, how: str) -> None:
        if self.outstanding:
            call = self.outstanding[at % len(self.outstanding)]
            call.answer(how, self.names_for(call.request))

    def answer_all(self, how: str) -> None:
        """Let the origin take a turn: it answers all that it has been asked."""
        for call in self.outstanding:
            if not call.is_over:
                call.answer(how, self.names_for(call.request))

    def purge(self) -> None:
        self.purges += 1
        self.engine.cache.purge(Purge(Keys((KEY,))), lambda _: None)

    def settle(self) -> None:
        if self.tier is not None:
            self.tier.settle()

    def leave(self, at: int) -> None:
        if self.unanswered:
            client = self.unanswered[at % len(self.unanswered)]
            client.has_left = True
            self.exchanges[client].cancel()

    # What must hold.

    def look(self) -> None:
        """Note whom everybody waits for, and see to it that nobody waits without need."""
        for client, exchange in self.exchanges.items():
            flight = exchange.runner.waits_in if exchange.runner is not None else None
            if flight is not None and (not client.waited or client.waited[-1] is not flight):
                client.waited.append(flight)
        for client in self.clients:
            assert client.calls <= 1, "it asked for itself more than once"
            assert len(client.waited) <= TRIES_MAX
            if len(self.vary) == 1 and not self.purges:
                assert sum(self.is_for_another(flight, client) for flight in client.waited) <= 1

    def is_for_another(self, flight: Flight, client: Asking) -> bool:
        names = self.names_for(client.request)
        return selector(flight.request, names) != selector(client.request, names)

    def finish(self, how: str) -> int:
        """Let the origin answer everything; return how many turns it took."""
        turns = 0
        self.settle()
        self.look()
        while self.unanswered:
            assert self.outstanding, "somebody waits, and nothing is being fetched"
            self.answer_all(how)
            self.settle()
            self.look()
            turns += 1
        self.answer_all(how)  # what was fetched for those who left
        assert self.engine.flights.by_key == {}, "something is still thought to be on its way"
        return turns

    def check_content(self) -> None:
        for client in self.clients:
            if client.ends and client.reply is not None and client.reply.status == 200 and not client.has_left:
                purges, names, values = literal_eval(client.got.decode())
                assert purges >= client.purges, "it got what was purged before it came"
                assert values == selector(client.request, names), "it got what is for another"


C, U = (b"cookie",), (b"user-agent",)
STORABLE = ["whole", "streamed"]
ANSWERS = [*STORABLE, *STORABLE, "no-store", "private", "max-age=0", "503", "fails", "breaks off", "breaks off at once"]
who = st.tuples(st.integers(0, 4), st.integers(0, 1))
happenings = st.lists(
    who.map(lambda who: ("ask", *who))
    | st.tuples(st.just("answer"), st.integers(0, 9), st.sampled_from(ANSWERS))
    | st.sampled_from([("purge",), ("settle",), ("leave", 0), ("leave", 3)]),
    max_size=30,
)
VARY = st.sampled_from([[()], [C], [U], [C + U]])


@settings(max_examples=examples(80), deadline=None)
@given(VARY, st.lists(who, min_size=1, max_size=25),
       st.sampled_from(STORABLE), st.booleans())  # fmt: skip
def test_the_origin_is_asked_once_for_each_variant_and_for_all_of_them_at_the_same_time(
    vary: list[Names], clients: list[tuple[int, int]], how: str, is_slow: bool
) -> None:
    world = World(vary, is_slow=is_slow)
    for cookie, agent in clients:
        world.ask(cookie, agent)
    variants = {selector(client.request, vary[0]) for client in world.clients}
    assert world.finish(how) == min(len(variants), 2)
    assert len(world.calls) == len(variants)
    world.purge()
    before = len(world.calls)
    for cookie, agent in clients:  # by now it is known what the key varies by
        world.ask(cookie, agent)
    assert world.finish(how) <= (1 if len(clients) > 1 else 2)
    assert len(world.calls) == before + len(variants)
    world.check_content()


@settings(max_examples=examples(300), deadline=None)
@given(VARY | st.sampled_from([[C, C + U], [(), C], [C, U], [U, C + U, ()]]), st.lists(who, min_size=1, max_size=12),
       happenings, st.sampled_from(ANSWERS), st.booleans())  # fmt: skip
def test_nobody_waits_for_more_than_one_fetch_that_is_not_for_them(
    vary: list[Names], clients: list[tuple[int, int]], what: list[tuple[object, ...]], how: str, is_slow: bool
) -> None:
    world = World(vary, is_slow=is_slow)
    for name, *arguments in [("ask", *client) for client in clients] + what:
        getattr(world, name)(*arguments)
        world.look()
    turns = world.finish(how)
    event(f"{turns} turns")
    assert turns <= TRIES_MAX + 1, "the fetches that it waited for, and its own"
    world.check_content()


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(("before", "after", "turns"), [((), (), 1), (C, C, 1), ((), C, 2)], ids=str)
def test_what_is_stale_is_revalidated_once_for_each_variant(
    before: Names, after: Names, turns: int, is_slow: bool
) -> None:
    world = stale_world(before, after, is_slow=is_slow)
    count = len(world.calls)
    ask_all(world)
    assert world.finish("whole") == turns
    asked = {selector(call.request, before + after) for call in world.calls[count:]}
    assert len(world.calls) - count == len(asked)
    world.check_content()


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(("before", "after"), [(C, ()), (C, U), (C, C + U)], ids=str)
def test_where_vary_changes_all_variants_go_and_nobody_queues_all_the_same(
    before: Names, after: Names, is_slow: bool
) -> None:
    world = stale_world(before, after, is_slow=is_slow)
    ask_all(world)
    assert world.finish("whole") <= TRIES_MAX + 1
    world.check_content()


def stale_world(before: Names, after: Names, *, is_slow: bool) -> World:
    """Return a world in which all is stored and stale, and the origin's answers vary in another way by now."""
    world = World([before], is_slow=is_slow)
    for cookie in range(4):
        world.ask(cookie, 0)
        world.finish("whole")
    world.now += 61
    world.vary = [after]
    return world


def ask_all(world: World) -> None:
    for cookie, agent in list(product(range(4), range(2))) * 3:
        world.ask(cookie, agent)
