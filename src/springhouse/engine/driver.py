"""Joins what the origin answers, and what the flow replies, to a sink.

An `Exchange` is one request in progress. Its flow is run by a `FlowRunner`, unless it can go straight; the content of
the answer is taken by one of the `receivers`; what is sent to the client is read by a reader of its own.
"""

from typing import Final

from springhouse.engine.clock import wall
from springhouse.engine.context import ExchangeContext
from springhouse.engine.fill import Fill
from springhouse.engine.flights import Flight, FlightResult
from springhouse.engine.flow_runner import FlowRunner
from springhouse.engine.ports import Call
from springhouse.engine.receivers import (
    AWAITING_HEAD,
    GATHERED_MAX,
    PASSING_ON,
    ContentReceiver,
    Filling,
    Gathering,
)
from springhouse.engine.sinks import NOWHERE, Sink
from springhouse.exchange.flow import Flow
from springhouse.exchange.reply import BYPASS, VIA_FIELD, Reply, Source, date_field, problem
from springhouse.exchange.steps import Claimed, Failure, Record, Release
from springhouse.exchange.straight import is_plain, may_lead, take_answer, taken_up
from springhouse.http.content import ContentReader
from springhouse.http.fields import AUTHORIZATION, COOKIE, Field
from springhouse.http.headers import lines_of
from springhouse.http.messages import Request, Response
from springhouse.rules.answer import Answer
from springhouse.rules.entry import Entry
from springhouse.stores.leases import LockStatus
from springhouse.transport.content import RequestContent

ALLOW: Final = (b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
_CREDENTIALS: Final = AUTHORIZATION | COOKIE
_FROM_ORIGIN: Final = Source.ORIGIN  # found faster than a member is


class Exchange:
    """One request in progress; also what its upstream reports to."""

    __slots__ = (
        "_reader", "_request_content", "call", "engine", "epoch", "flight", "key", "receiver", "request", "runner",
        "sink",
    )  # fmt: skip

    def __init__(
        self, engine: ExchangeContext, request: Request, key: bytes, content: RequestContent | None, sink: Sink
    ) -> None:
        self.engine = engine
        self.request = request
        self.key = key
        self.sink = sink
        self._request_content = content
        self.runner: FlowRunner | None = None
        """What runs the flow, as long as that has not ended."""
        self.flight: Flight | None = None
        """The flight this exchange leads."""
        self.call: Call | None = None
        self.epoch = 0
        """The number of the last purge before the request was sent; see `Fence`."""
        self.receiver: ContentReceiver = AWAITING_HEAD
        self._reader: ContentReader | None = None

    # Going.

    def go_straight(self) -> bool:
        """Send the request on at once if it can be foretold that the flow would; see `exchange.straight`."""
        engine, request, key = self.engine, self.request, self.key
        flights = engine.flights
        if not is_plain(request) or key in flights.by_key:
            return False
        if key in flights.uncacheable_until and self.is_uncacheable():
            if engine.store.lookup(key):
                return False
        elif may_lead(request) and engine.store.lacks(key):
            self.flight = flights.lead(key, request)
        else:
            return False
        self.epoch = engine.fence.epoch
        self.call = engine.upstream.send(request, request.fields, None, self)
        return True

    def run(self, flow: Flow) -> None:
        """Run a flow from its beginning."""
        self.runner = FlowRunner(self, flow)
        self.runner.run(None)

    def ask(self, request: Request, fields: list[Field]) -> None:
        """Send a request with these fields to the origin."""
        self.call = self.engine.upstream.send(request, fields, self._request_content, self)

    # What the answer becomes.

    def record(self, entry: Entry, now: float) -> None:
        """Make the content that arrives the entry's."""
        flights = self.engine.flights
        if not entry.is_fresh_at(now):
            self.remember_uncacheable()
        elif entry.key in flights.uncacheable_until:
            flights.forget(entry.key, with_credentials=self._has_credentials)
        flight = self.flight
        if flight is not None and flight.lease is not None:
            flight.lease.entry = entry
        if entry.length is not None and entry.length <= GATHERED_MAX:
            self.receiver = Gathering(entry)
        else:
            self.fill(entry)

    def fill(self, entry: Entry) -> None:
        """Record the content, and share it with those who wait for it."""
        assert self.call is not None
        engine = self.engine
        self.receiver = Filling(Fill(engine.store, entry, engine.options.max_object, self.call))
        if self.flight is not None:
            engine.flights.share(self.flight, entry)

    def release(self, step: Release) -> None:
        """Let go those who wait for what is not for them."""
        if step.lasting:
            self.remember_uncacheable()
        # What is so for a request with credentials need not be so for the others, in other processes either.
        is_for_all = step.lasting and not self._has_credentials
        status = LockStatus.GIVE_UP if is_for_all else LockStatus.TRANSIENT_ERROR
        self.land(step.failure or Claimed.RELEASED, status)

    def land(self, result: FlightResult, status: LockStatus = LockStatus.DONE) -> None:
        """Lead no longer. `result`: for requests that wait here; `status`: for those in other processes."""
        flight, self.flight = self.flight, None
        if flight is not None:
            self.engine.flights.land(flight, result)
            if flight.lease is not None:
                self.engine.cache.end_lease(flight, status)

    @property
    def _has_credentials(self) -> bool:
        return bool(self.request.bits & _CREDENTIALS)

    def is_uncacheable(self) -> bool:
        """Return whether the key recently proved uncacheable, for requests like this one."""
        engine = self.engine
        return engine.flights.is_uncacheable(self.key, engine.clock(), with_credentials=self._has_credentials)

    def remember_uncacheable(self) -> None:
        """Let no request like this one wait for the key for a while."""
        engine = self.engine
        engine.flights.remember(self.key, engine.clock(), with_credentials=self._has_credentials)

    def abandon_call(self) -> None:
        """Drop an answer whose content is not wanted."""
        call, self.call = self.call, None
        if call is not None:
            call.cancel()

    # The reply.

    def finish(self, reply: Reply | None) -> None:
        """Take the reply that the flow has ended with."""
        receiver = self.receiver
        if isinstance(receiver, Gathering):
            receiver.reply = reply
        elif reply is not None:
            self.send(reply)
        elif not receiver.may_store:
            self.abandon_call()

    def send(self, reply: Reply) -> None:
        """Start the reply, and send what there is of its content."""
        sink, content, receiver = self.sink, reply.content, self.receiver
        if sink is NOWHERE:
            if not receiver.may_store:
                self.abandon_call()
            return
        if self.engine.translate is not None:
            reply = self.engine.translate(reply)
        if content is _FROM_ORIGIN and self.call is not None:
            self.receiver = PASSING_ON
            sink.start(reply)
            sink.produced_by(self.call)
            return
        if self.call is not None and not receiver.may_store:
            self.abandon_call()
        sink.start(reply)
        if isinstance(content, Entry):
            stored = content.content
            reply.content = Source.NOTHING  # sinks keep replies, and what the store no longer counts must not stay
            if isinstance(receiver, Filling) and stored is receiver.recording:
                # Not `send_to`: the head goes out together with the content that is about to be reported.
                self._reader = receiver.recording.join(sink, reply.start, reply.stop)
            else:
                self._reader = stored.send_to(sink, reply.start, reply.stop)
            return
        if not isinstance(content, Source) and content and self.request.method != b"HEAD":
            sink.write(content)
        sink.end()

    def cancel(self) -> None:
        """Record that the client has gone. What others wait for, or what may become an entry, goes on; nothing else."""
        self.sink = NOWHERE
        if self.runner is not None and self.runner.leave():
            return
        if self._reader is not None:
            self._reader.leave()
        elif not self.receiver.may_store:
            if self.flight is not None and self.flight.waiters:
                self.flight.deserted = self._break_off
            else:
                self._break_off()

    def _break_off(self) -> None:
        """Ask for nothing any more: no request waits for an answer whose head is not here."""
        self.runner = None
        self.abandon_call()
        self.land(None)

    # What the upstream reports.

    def interim(self, response: Response) -> None:
        """Pass a 1xx on to the client."""
        self.sink.interim(response)

    def answered(self, response: Response, length: int | None) -> None:
        """Take the head of the answer."""
        call, engine = self.call, self.engine
        if call is None:
            return
        now = engine.clock()
        answer = Answer(response, call.requested_at, now, length)
        if self.runner is not None:
            self.runner.run(answer)
            return
        step, reply = take_answer(self.request, self.key, answer, engine.options, leads=self.flight is not None)
        if isinstance(step, Entry):
            self.record(step, now)
        elif isinstance(step, Record):
            self.record(step.entry, now)
        elif isinstance(step, Release):
            self.release(step)
        self.finish(reply)

    def content(self, data: bytes) -> None:
        """Take some of the answer's content."""
        self.receiver.content(self, data)

    def settled(self) -> None:
        """Let the client have what has arrived: all of it was reported."""
        self.receiver.settled(self)

    def content_end(self) -> None:
        """The answer is complete."""
        self.receiver.content_end(self)

    def failed(self, failure: Failure) -> None:
        """No answer comes, or its content broke off."""
        if self.receiver is not AWAITING_HEAD:
            self.receiver.failed(self, failure)
            return
        call, self.call = self.call, None
        if call is not None and self.runner is None:
            # Take up the flow where it waits for the answer to what was sent without it.
            leads = self.flight is not None
            self.runner = FlowRunner(
                self, taken_up(self.request, self.key, call.requested_at, self.engine.options, leads=leads)
            )
        if self.runner is not None:
            self.runner.run(failure)


def answer_options(sink: Sink) -> None:
    """Answer an OPTIONS that may go no further (Max-Forwards: 0, RFC 9110 §7.6.2)."""
    sink.start(Reply(200, b"OK", [ALLOW, date_field(wall())], lines_of([VIA_FIELD]), b"", 0, BYPASS, None))
    sink.end()


def refuse(sink: Sink, status: int, detail: str) -> None:
    """Answer with an error of ours without starting an exchange."""
    reply = problem(status, detail, at=wall())
    if status == 405:
        reply.fields.append(ALLOW)
    reply.must_close = True
    sink.start(reply)
    if isinstance(reply.content, bytes):
        sink.write(reply.content)
    sink.end()
