"""Performs the steps of a flow: what it waits for, and when it goes on.

A flow's generator is resumed straight from the callback that has the result: the store's, a flight's, a lease's, the
pool's. So a step that has to wait costs no task and no future.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from springhouse.engine.clock import steady
from springhouse.engine.flights import Flight, News, Waiters
from springhouse.engine.ports import Call
from springhouse.exchange.flow import Flow
from springhouse.exchange.reply import Reply
from springhouse.exchange.steps import (
    Claim,
    Claimed,
    Forget,
    Found,
    Later,
    Lookup,
    Record,
    Release,
    Replace,
    Result,
    Send,
    Step,
)
from springhouse.http.fields import AUTHORIZATION, COOKIE, Field
from springhouse.http.messages import Request
from springhouse.rules.entry import Entry
from springhouse.rules.keys import origin_of
from springhouse.rules.purging import Groups, Keys, Purge, Receipt
from springhouse.stores.leases import Lease, LockStatus
from springhouse.transport.content import RequestContent

if TYPE_CHECKING:
    from springhouse.engine.engine import Engine

CREDENTIALS: Final = AUTHORIZATION | COOKIE
PENDING: Final = object()
"""The result of a step will come by a callback."""


class Performer:
    """The steps of one request's flow; a subclass is told what they come to."""

    __slots__ = (
        "_waits_in", "call", "content_of_request", "engine", "epoch", "flight", "flow", "key", "looked_at", "request",
    )  # fmt: skip

    def __init__(self, engine: "Engine", request: Request, key: bytes, content: RequestContent | None) -> None:
        self.engine = engine
        self.request = request
        self.key = key
        self.content_of_request = content
        self.flow: Flow | None = None
        self.call: Call | None = None
        self.flight: Flight | None = None
        """The flight this exchange leads."""
        self.epoch = 0
        self.looked_at = 0.0
        self._waits_in: Flight | None = None

    # What a subclass does.

    def ask(self, request: Request, fields: list[Field]) -> Call:
        """Send a request with these fields to the origin, and hear what comes of it."""
        raise NotImplementedError

    def conclude(self, reply: Reply | None) -> None:
        """Take the reply that the flow has ended with."""
        raise NotImplementedError

    def take_in(self, entry: Entry, now: float) -> None:
        """Make the content that arrives the entry's."""
        raise NotImplementedError

    def deliver_early(self) -> None:
        """Go on with content that came while the flow was waiting in the middle of an answer."""
        raise NotImplementedError

    # Steps.

    def run(self, flow: Flow, result: Result) -> None:
        """Resume the flow with a result, and go on until a step has to wait or the flow ends."""
        self.flow = flow
        send = flow.send
        try:
            while True:
                performed = self.perform(send(result))
                if performed is PENDING:
                    return
                result = performed
        except StopIteration as stop:
            self.flow = None
            self.conclude(stop.value)

    def perform(self, step: Step) -> Any:
        """Perform a step; return its result, or PENDING."""
        return _PERFORM[type(step)](self, step)

    def _lookup(self, step: Lookup) -> object:
        engine = self.engine
        now = engine.clock()
        flights = engine.flights
        if self.key in flights.uncacheable_until and self._is_uncacheable():
            # It is not worth a look into a slow store: what lately could not be stored is not there.
            return self._found(engine.store.lookup(step.key), now, is_uncacheable=True)
        self.looked_at = steady()
        stored = engine.store.find(step.key, self._looked_up)
        if stored is not None:
            return self._found(stored, now)
        if self.call is not None:
            self.call.pause()
        return PENDING

    def _looked_up(self, stored: tuple[Entry, ...]) -> None:
        if self.flow is not None:
            self.run(self.flow, self._found(stored, self.engine.clock()))
            self.deliver_early()

    def _found(self, stored: tuple[Entry, ...], now: float, *, is_uncacheable: bool = False) -> Found:
        flights = self.engine.flights
        if flights.by_key:
            stored = flights.arriving(self.key, self.request) + stored
        return Found(stored, now, is_uncacheable=is_uncacheable, names=flights.varying.get(self.key, ()))

    @property
    def _has_credentials(self) -> bool:
        return bool(self.request.bits & CREDENTIALS)

    def _is_uncacheable(self) -> bool:
        """Say whether the key lately proved not shareable, for requests like this one."""
        engine = self.engine
        return engine.flights.is_uncacheable(self.key, engine.clock(), with_credentials=self._has_credentials)

    def _remember(self) -> None:
        """Let no request like this one wait for the key for a while."""
        engine = self.engine
        engine.flights.remember(self.key, engine.clock(), with_credentials=self._has_credentials)

    def _claim(self, step: Claim) -> object:
        flights = self.engine.flights
        if step.wait and self.key in flights.uncacheable_until and self._is_uncacheable():
            return Claimed.ALONE
        flight = flights.open(step.key, step.request, step.names)
        if flight is None:
            flight = self.flight = flights.lead(step.key, step.request, step.names)
            leases = self.engine.store.leases
            if leases is None or not step.wait:
                return Claimed.LEAD
            return self._claimed(leases.acquire(step.key, flight.variant, self._lease_answered, since=self.looked_at))
        if not step.wait:
            return Claimed.ALONE
        self._waits_in = flight
        flight.waiters[self._woken] = None
        return PENDING

    def _lease_answered(self, answer: Lease | LockStatus) -> None:
        if self.flow is None:
            if isinstance(answer, Lease) and self.engine.store.leases is not None:
                self.engine.store.leases.release(answer)  # whoever asked for it has gone
            return
        claimed: Any = self._claimed(answer)
        if claimed is not PENDING:
            self.run(self.flow, claimed)

    def _lease_ended(self, status: LockStatus) -> None:
        if self.flow is not None and status is LockStatus.DONE:
            self.engine.store.reread(self.key)
            self._land(None)
            self._woken(None)
        else:
            self._lease_answered(status)

    def _claimed(self, answer: Lease | LockStatus | None) -> object:
        """Return the result of a claim, as the processes that share the store have settled who fetches."""
        engine, flight = self.engine, self.flight
        if answer is None:
            return PENDING
        if answer is LockStatus.WAITING and engine.store.leases is not None and flight is not None:
            engine.store.leases.wait(self.key, flight.variant, self._lease_ended)
            return PENDING
        if answer is LockStatus.DONE:
            engine.store.reread(self.key)
            self._land(None)
            return Claimed.AGAIN
        if answer is LockStatus.GIVE_UP:
            self._remember()
            self._land(Claimed.RELEASED)
            return Claimed.ALONE
        if isinstance(answer, Lease) and flight is not None:
            flight.lease = answer
        return Claimed.LEAD

    def _woken(self, news: News) -> None:
        self._waits_in = None
        if self.flow is None:
            return
        result: Any = news
        if isinstance(news, Entry):
            engine = self.engine
            result = self._found((news, *engine.store.lookup(self.key)), engine.clock())
        elif news is None:
            result = self._lookup(Lookup(self.key))
        if result is not PENDING:
            self.run(self.flow, result)

    def _send(self, step: Send) -> object:
        if self.call is not None:
            self._abandon_call()  # asked again: the first answer was none
        self.epoch = self.engine.fence.epoch
        self.call = self.ask(step.request, step.fields)
        return PENDING

    def _record(self, step: Record) -> None:
        self.take_in(step.entry, self.engine.clock())

    def _replace(self, step: Replace) -> None:
        is_current = self.engine.fence.lets_through(step.new, self.epoch)
        if is_current:
            if self.flight is not None and self.flight.lease is not None:
                self.flight.lease.entry = step.new
            self.engine.store.replace(step.old, step.new)
        self._land(step.new if is_current else None)

    def _release(self, step: Release) -> None:
        if step.lasting:
            self._remember()
        # What is so for a request with credentials need not be so for the others, in other processes either.
        told = LockStatus.GIVE_UP if step.lasting and not self._has_credentials else LockStatus.TRANSIENT_ERROR
        self._land(step.failure or Claimed.RELEASED, told=told)

    def _forget(self, step: Forget) -> object:
        """Invalidate keys and groups, and go on when that is so everywhere."""
        purges = [Purge(Keys(tuple(step.keys)))]
        if step.groups:
            purges.append(Purge(Groups(origin_of(self.key), step.groups)))
        outstanding = len(purges)
        fence = self.engine.fence
        is_latest = step.sparing is not None and fence.lets_through(step.sparing, self.epoch)

        def begin(go_on: Callable[[Result], None]) -> None:
            def purged(_: Receipt) -> None:
                nonlocal outstanding
                outstanding -= 1
                if not outstanding:
                    go_on(None)

            flight, waiters = self.flight, Waiters()
            if step.sparing is not None and flight is not None and is_latest:
                waiters, flight.waiters = flight.waiters, waiters  # they get what is spared
                self.engine.flights.note_vary(self.key, step.sparing.vary)
            for purge in purges:
                self.engine.cache.purge(purge, purged)
            if is_latest:
                self.epoch = fence.epoch  # the purges so far that select it are this exchange's own
            if flight is not None and waiters:
                flight.waiters = waiters

        return self._wait_for(begin)

    def _wait_for(self, begin: Callable[[Callable[[Result], None]], None]) -> object:
        """Perform a step that ends in a callback: at once, or later, while the origin is held back."""
        at_once: list[Result] = []
        is_late = False

        def go_on(result: Result) -> None:
            if not is_late:
                at_once.append(result)
            elif self.flow is not None:
                self.run(self.flow, result)
                self.deliver_early()

        begin(go_on)
        if at_once:
            return at_once[0]
        is_late = True
        if self.call is not None:
            self.call.pause()
        return PENDING

    def _later(self, step: Later) -> None:
        self.engine.refresh(step.request, step.key, step.entry)

    def _land(self, news: News, *, told: LockStatus = LockStatus.DONE) -> None:
        """Lead no longer. `news`: what those who wait here are told; `told`: those who wait in other processes."""
        flight, self.flight = self.flight, None
        if flight is not None:
            self.engine.flights.land(flight, news)
            if flight.lease is not None:
                self.engine.cache.end_lease(flight, told)

    def _abandon_call(self) -> None:
        """Let go of an answer whose content nobody wants."""
        call, self.call = self.call, None
        if call is not None:
            call.cancel()


_PERFORM: dict[type, Callable[[Performer, Any], Any]] = {
    Lookup: Performer._lookup,
    Claim: Performer._claim,
    Send: Performer._send,
    Record: Performer._record,
    Replace: Performer._replace,
    Release: Performer._release,
    Forget: Performer._forget,
    Later: Performer._later,
}
