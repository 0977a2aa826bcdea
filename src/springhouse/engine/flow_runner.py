"""Performs the steps of a flow: what it waits for, and when it goes on.

A flow's generator is resumed straight from the callback that has the result: the store's, a flight's, a lease's, the
upstream's. So a step that has to wait costs no task and no future.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from springhouse.engine.clock import steady
from springhouse.engine.flights import Flight, FlightResult, Waiters
from springhouse.engine.receivers import AWAITING_HEAD, Deferred, Receiving
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
from springhouse.http.fields import Field
from springhouse.http.messages import Request
from springhouse.rules.entry import Entry
from springhouse.rules.keys import origin_of
from springhouse.rules.purging import Groups, Keys, Purge, Receipt
from springhouse.stores.leases import Lease, LockStatus

PENDING: Final = object()
"""The result of a step will come by a callback."""


class Running(Receiving, Protocol):
    """What a flow's runner uses of its exchange."""

    flight: Flight | None
    key: bytes
    request: Request
    runner: "FlowRunner | None"

    def ask(self, request: Request, fields: list[Field]) -> None:
        """Send a request with these fields to the origin."""

    def abandon_call(self) -> None:
        """Drop an answer whose content is not wanted."""

    def record(self, entry: Entry, now: float) -> None:
        """Make the content that arrives the entry's."""

    def release(self, step: Release) -> None:
        """Perform the step."""

    def is_uncacheable(self) -> bool:
        """Return whether the key recently proved uncacheable, for requests like this one."""

    def finish(self, reply: Reply | None) -> None:
        """Take the reply that the flow has ended with."""


class FlowRunner:
    """One flow; its exchange has it until it has ended."""

    __slots__ = ("_exchange", "_flow", "_looked_up_at", "waits_in")

    def __init__(self, exchange: Running, flow: Flow) -> None:
        self._exchange = exchange
        self._flow = flow
        self._looked_up_at = 0.0
        self.waits_in: Flight | None = None
        """Another's flight, whose head is awaited."""

    @property
    def is_over(self) -> bool:
        """Whether the flow has ended, or its client has left before it had."""
        return self._exchange.runner is not self

    def run(self, result: Result) -> None:
        """Resume the flow with a result, and go on until a step has to wait or the flow ends."""
        send = self._flow.send
        try:
            while True:
                step = send(result)
                performed = _PERFORM[type(step)](self, step)
                if performed is PENDING:
                    return
                result = performed
        except StopIteration as stop:
            exchange = self._exchange
            exchange.runner = None
            exchange.finish(stop.value)

    def leave(self) -> bool:
        """Stop waiting for another's fetch; return False when the flow waits for something else."""
        flight, self.waits_in = self.waits_in, None
        if flight is None:
            return False
        self._exchange.runner = None
        flight.leave(self._woken)
        return True

    def _wait(self) -> object:
        """Keep what comes of an answer until a step in the middle of it has its result."""
        exchange = self._exchange
        if exchange.call is not None:
            exchange.call.pause()
            exchange.receiver = Deferred(exchange.receiver)
        return PENDING

    def _go_on(self, result: Result) -> None:
        """Resume after a step that had to wait, then report what came meanwhile."""
        exchange = self._exchange
        if self.is_over:
            return
        deferred = exchange.receiver
        if not isinstance(deferred, Deferred):
            self.run(result)
            return
        exchange.receiver = deferred.following
        self.run(result)
        again = exchange.receiver
        if exchange.runner is None:
            deferred.deliver(exchange)
        elif isinstance(again, Deferred):
            again.events[:0] = deferred.events

    # Looking up.

    def _lookup(self, step: Lookup) -> object:
        exchange = self._exchange
        engine = exchange.engine
        now = engine.clock()
        if exchange.key in engine.flights.uncacheable_until and exchange.is_uncacheable():
            # It is not worth a look into a slow store: what could not be stored recently is not there.
            return self._found(engine.store.lookup(step.key), now, is_uncacheable=True)
        self._looked_up_at = steady()
        stored = engine.store.find(step.key, self._looked_up, exchange.request)
        return self._wait() if stored is None else self._found(stored, now)

    def _looked_up(self, stored: tuple[Entry, ...]) -> None:
        if not self.is_over:
            self._go_on(self._found(stored, self._exchange.engine.clock()))

    def _found(self, stored: tuple[Entry, ...], now: float, *, is_uncacheable: bool = False) -> Found:
        exchange = self._exchange
        flights = exchange.engine.flights
        if flights.by_key:
            stored = flights.arriving(exchange.key, exchange.request) + stored
        return Found(stored, now, is_uncacheable=is_uncacheable, names=flights.varying.get(exchange.key, ()))

    # Claiming.

    def _claim(self, step: Claim) -> object:
        exchange = self._exchange
        flights = exchange.engine.flights
        if step.wait and exchange.key in flights.uncacheable_until and exchange.is_uncacheable():
            return Claimed.ALONE
        flight = flights.open(step.key, step.request, step.names)
        if flight is None:
            flight = exchange.flight = flights.lead(step.key, step.request, step.names)
            leases = exchange.engine.store.leases
            if leases is None or not step.wait:
                return Claimed.LEAD
            since = self._looked_up_at
            return self._claimed(leases.acquire(step.key, flight.variant, self._lease_answered, since=since))
        if not step.wait:
            return Claimed.ALONE
        self.waits_in = flight
        flight.waiters[self._woken] = None
        return PENDING

    def _lease_answered(self, answer: Lease | LockStatus) -> None:
        if self.is_over:
            leases = self._exchange.engine.store.leases
            if isinstance(answer, Lease) and leases is not None:
                leases.release(answer)  # the client that it was for has gone
            return
        claimed: Any = self._claimed(answer)
        if claimed is not PENDING:
            self.run(claimed)

    def _lease_ended(self, status: LockStatus) -> None:
        if status is LockStatus.DONE and not self.is_over:
            exchange = self._exchange
            exchange.engine.store.reread(exchange.key)
            exchange.land(None)
            self._woken(None)
        else:
            self._lease_answered(status)

    def _claimed(self, answer: Lease | LockStatus | None) -> object:
        """Return the result of a claim, as the processes that share the store have settled which of them fetches."""
        exchange = self._exchange
        store, flight = exchange.engine.store, exchange.flight
        if answer is None:
            return PENDING
        if answer is LockStatus.WAITING and store.leases is not None and flight is not None:
            store.leases.wait(exchange.key, flight.variant, self._lease_ended)
            return PENDING
        if answer is LockStatus.DONE:
            store.reread(exchange.key)
            exchange.land(None)
            return Claimed.AGAIN
        if answer is LockStatus.GIVE_UP:
            exchange.remember_uncacheable()
            exchange.land(Claimed.RELEASED)
            return Claimed.ALONE
        if isinstance(answer, Lease) and flight is not None:
            flight.lease = answer
        return Claimed.LEAD

    def _woken(self, result: FlightResult) -> None:
        """Go on after waiting for another's fetch."""
        self.waits_in = None
        if self.is_over:
            return
        exchange = self._exchange
        found: Any = result
        if isinstance(result, Entry):
            engine = exchange.engine
            found = self._found((result, *engine.store.lookup(exchange.key)), engine.clock())
        elif result is None:
            found = self._lookup(Lookup(exchange.key))
        if found is not PENDING:
            self.run(found)

    # Fetching.

    def _send(self, step: Send) -> object:
        exchange = self._exchange
        exchange.abandon_call()  # when asked again: the first answer was none
        exchange.receiver = AWAITING_HEAD
        exchange.epoch = exchange.engine.fence.epoch
        exchange.ask(step.request, step.fields)
        return PENDING

    def _record(self, step: Record) -> None:
        exchange = self._exchange
        exchange.record(step.entry, exchange.engine.clock())

    def _replace(self, step: Replace) -> None:
        exchange = self._exchange
        is_current = exchange.engine.fence.lets_through(step.new, exchange.epoch)
        if is_current:
            if exchange.flight is not None and exchange.flight.lease is not None:
                exchange.flight.lease.entry = step.new
            exchange.engine.store.replace(step.old, step.new)
        exchange.land(step.new if is_current else None)

    def _release(self, step: Release) -> None:
        self._exchange.release(step)

    def _later(self, step: Later) -> None:
        self._exchange.engine.refresh(step.request, step.key, step.entry)

    # Invalidating.

    def _forget(self, step: Forget) -> object:
        """Invalidate keys and groups, and go on when that is so everywhere."""
        purges = [Purge(Keys(tuple(step.keys)))]
        if step.groups:
            purges.append(Purge(Groups(origin_of(self._exchange.key), step.groups)))
        outstanding = len(purges)
        is_late = False

        def purged(_: Receipt) -> None:
            nonlocal outstanding
            outstanding -= 1
            if is_late and not outstanding:
                self._go_on(None)

        self._purge(step.sparing, purges, purged)
        if not outstanding:
            return None
        is_late = True
        return self._wait()

    def _purge(self, sparing: Entry | None, purges: list[Purge], purged: Callable[[Receipt], None]) -> None:
        """Purge, but neither what the same answer brings nor those who wait for it."""
        exchange = self._exchange
        engine, flight, waiters = exchange.engine, exchange.flight, Waiters()
        is_latest = sparing is not None and engine.fence.lets_through(sparing, exchange.epoch)
        if sparing is not None and flight is not None and is_latest:
            waiters, flight.waiters = flight.waiters, waiters  # they get what is spared
            engine.flights.note_vary(exchange.key, sparing.vary)
        for purge in purges:
            engine.cache.purge(purge, purged)
        if is_latest:
            exchange.epoch = engine.fence.epoch  # the purges so far that select it are this exchange's own
        if flight is not None and waiters:
            flight.waiters = waiters


_PERFORM: dict[type[Step], Callable[[FlowRunner, Any], Any]] = {
    Lookup: FlowRunner._lookup,
    Claim: FlowRunner._claim,
    Send: FlowRunner._send,
    Record: FlowRunner._record,
    Replace: FlowRunner._replace,
    Release: FlowRunner._release,
    Forget: FlowRunner._forget,
    Later: FlowRunner._later,
}
