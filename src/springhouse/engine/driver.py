"""Performs the steps of a flow and joins its reply to a sink.

An `Exchange` is one request under way. Its generator is resumed straight from the callback that has the result: the
pool's when the origin answers, a flight's when the leader has news. So a miss costs no task and no future. The
exchange is also what the pool reports to (`interim`, `answered`, `content`, `content_end`, `failed`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from springhouse.engine.clock import steady, wall
from springhouse.engine.flights import Flight
from springhouse.engine.keeping import Keeping
from springhouse.engine.ports import Call
from springhouse.engine.recordings import Reader, Recording
from springhouse.engine.sinks import NOWHERE, Sink
from springhouse.engine.stored import StoredReader
from springhouse.exchange.flow import Flow, refresh
from springhouse.exchange.reply import BYPASS, VIA, Reply, Source, date_field, problem
from springhouse.exchange.steps import (
    Answer,
    Claim,
    Claimed,
    Failure,
    Forget,
    Found,
    Later,
    Lookup,
    Record,
    Release,
    Replace,
    Result,
    Send,
)
from springhouse.exchange.straight import concluded, is_plain, may_lead, taken_up
from springhouse.http.fields import AUTHORIZATION, COOKIE
from springhouse.http.headers import lines_of
from springhouse.http.messages import Request, Response
from springhouse.rules.entry import Entry
from springhouse.stores.leasing import Lease, Verdict
from springhouse.stores.purging import Groups, Keys, Purge, Receipt, origin_of
from springhouse.upstream.content import RequestContent

if TYPE_CHECKING:
    from springhouse.engine.engine import Engine

ALLOW: Final = (b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
CREDENTIALS: Final = AUTHORIZATION | COOKIE
PENDING: Final = object()
"""The result of a step will come by a callback."""
AT_ONCE_MAX: Final = 16 * 1024
"""Bytes of content that are likely to come with the head."""
_FROM_ORIGIN: Final = Source.ORIGIN  # found faster than a member is


class Exchange:
    """One request under way."""

    __slots__ = (
        "_waits_in",
        "call",
        "content_of_request",
        "early",
        "engine",
        "epoch",
        "flight",
        "flow",
        "has_answer",
        "held",
        "held_reply",
        "is_over",
        "keeping",
        "key",
        "looked_at",
        "reader",
        "recording",
        "request",
        "sink",
    )  # fmt: skip

    def __init__(
        self, engine: "Engine", request: Request, key: bytes, content: RequestContent | None, sink: Sink
    ) -> None:
        self.engine = engine
        self.request = request
        self.key = key
        self.content_of_request = content
        self.sink = sink
        self.flow: Flow | None = None
        self.call: Call | None = None
        self.flight: Flight | None = None
        """The flight this exchange leads."""
        self.keeping: Keeping | None = None
        """Stores what is recorded, as long as it can."""
        self.recording: Recording | None = None
        self.reader: Reader | StoredReader | None = None
        self.epoch = 0
        self.looked_at = 0.0
        self.is_over = False
        self.has_answer = False
        self.held: Entry | None = None
        """It is small, and nothing of it goes out before it is known whether its content is at hand."""
        self.held_reply: Reply | None = None
        self.early: list[bytes | Failure | None] | None = None
        """What came of the content while the flow waited; None stands for its end."""
        self._waits_in: Flight | None = None

    # Steps.

    def run(self, flow: Flow, result: Result) -> None:
        """Resume the flow with a result, and go on until a step has to wait or the flow ends."""
        self.flow = flow
        send = flow.send
        try:
            while True:
                step = send(result)
                performed = _PERFORM[type(step)](self, step)
                if performed is PENDING:
                    return
                result = performed
        except StopIteration as stop:
            self.flow = None
            self._conclude(stop.value)

    def go_straight(self) -> bool:
        """Send the request on at once if it can be foretold that the flow would; see `exchange.straight`."""
        engine, request, key = self.engine, self.request, self.key
        flights = engine.flights
        if not is_plain(request) or key in flights.by_key:
            return False
        if flights.alone_until and flights.goes_alone(self._own_kind(), engine.clock()):
            if engine.store.lookup(key):
                return False
        elif may_lead(request) and engine.store.lacks(key):
            self.flight = flights.lead(key)
        else:
            return False
        self.epoch = engine.fence.epoch
        self.call = engine.pool.send(request, request.fields, None, self)
        return True

    def _take_up(self, call: Call) -> None:
        """Take the flow up where it waits for the answer to what was sent without it."""
        leads = self.flight is not None
        self.flow = taken_up(self.request, self.key, call.requested_at, self.engine.options, leads=leads)

    def _conclude(self, reply: Reply | None) -> None:
        if self.held is not None:
            self.held_reply = reply
        elif reply is not None:
            self._reply(reply)
        elif self.call is not None and self.recording is None:
            self._abandon_call()

    def _lookup(self, step: Lookup) -> object:
        engine = self.engine
        now = engine.clock()
        flights = engine.flights
        if flights.alone_until and flights.goes_alone(self._own_kind(), now):
            # It is not worth a look into a slow store: what lately could not be stored is not there.
            return self._found(engine.store.lookup(step.key), now, goes_alone=True)
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
            self._deliver_early()

    def _found(self, stored: tuple[Entry, ...], now: float, *, goes_alone: bool = False) -> Found:
        flights = self.engine.flights
        if flights.by_key:
            stored = flights.arriving(self.key) + stored
        return Found(stored, now, goes_alone=goes_alone)

    def _own_kind(self) -> bytes:
        """Return the name under which it is remembered that requests like this one fetch for themselves.

        What is so for requests with credentials need not be so for others. Keys contain no spaces.
        """
        return self.key + b" with credentials" if self.request.bits & CREDENTIALS else self.key

    def _claim(self, step: Claim) -> object:
        flights = self.engine.flights
        if step.wait and flights.alone_until and flights.goes_alone(self._own_kind(), self.engine.clock()):
            return Claimed.ALONE
        flight = flights.open(step.key)
        if flight is None:
            self.flight = flights.lead(step.key)
            leases = self.engine.store.leases
            if leases is None or not step.wait:
                return Claimed.LEAD
            return self._claimed(leases.acquire(step.key, self._lease_answered, since=self.looked_at))
        if not step.wait:
            return Claimed.ALONE
        self._waits_in = flight
        flight.waiters.append(self._woken)
        return PENDING

    def _lease_answered(self, answer: Lease | Verdict) -> None:
        if self.flow is None:
            return
        claimed: Any = self._claimed(answer)
        if claimed is not PENDING:
            self.run(self.flow, claimed)

    def _lease_ended(self, verdict: Verdict) -> None:
        if self.flow is not None and verdict is Verdict.FREE:
            self.engine.store.look_behind(self.key)
            self._land(None)
            self._woken(None)
        else:
            self._lease_answered(verdict)

    def _claimed(self, answer: Lease | Verdict | None) -> object:
        """Return the result of a claim, as the processes that share the store have settled who fetches the key."""
        engine = self.engine
        if answer is None:
            return PENDING
        if answer is Verdict.HELD and engine.store.leases is not None:
            engine.store.leases.wait(self.key, self._lease_ended)
            return PENDING
        if answer is Verdict.FREE:
            engine.store.look_behind(self.key)
            self._land(None)
            return Claimed.AGAIN
        if answer is Verdict.ALONE:
            engine.flights.remember(self._own_kind(), engine.clock())
            self._land(Claimed.RELEASED)
            return Claimed.ALONE
        if isinstance(answer, Lease) and self.flight is not None:
            self.flight.lease = answer
        return Claimed.LEAD

    def _woken(self, news: Failure | Claimed | None) -> None:
        self._waits_in = None
        if self.flow is None:
            return
        result: Any = news if news is not None else self._lookup(Lookup(self.key))
        if result is not PENDING:
            self.run(self.flow, result)

    def _send(self, step: Send) -> object:
        if self.call is not None:
            self._abandon_call()  # asked again: the first answer was none
        self.epoch = self.engine.fence.epoch
        self.call = self.engine.pool.send(step.request, step.fields, self.content_of_request, self)
        return PENDING

    def _record(self, step: Record) -> None:
        self._take_in(step.entry, self.engine.clock())

    def _take_in(self, entry: Entry, now: float) -> None:
        """Make the content that arrives the entry's."""
        flights = self.engine.flights
        if not entry.is_fresh_at(now):
            flights.remember(self._own_kind(), now)
        elif flights.alone_until:
            flights.alone_until.pop(entry.key, None)  # it is worth waiting for again
        if entry.length is not None and entry.length <= AT_ONCE_MAX:
            self.held = entry
        else:
            self._begin_recording(entry)

    def _begin_recording(self, entry: Entry) -> None:
        assert self.call is not None
        engine = self.engine
        self.keeping = Keeping(engine.store, entry, engine.options.max_object, self.call)
        self.recording = self.keeping.recording
        if self.flight is not None:
            engine.flights.share(self.flight, entry)

    def _hold_no_longer(self) -> None:
        """Let out what was held: the content comes in pieces, or later."""
        entry, reply = self.held, self.held_reply
        assert entry is not None
        data, entry.content = entry.content, b""
        self.held = self.held_reply = None
        self._begin_recording(entry)
        if reply is not None:
            self._reply(reply)
        if data:
            self.content(data)

    def _replace(self, step: Replace) -> None:
        if self.engine.fence.lets_through(step.new, self.epoch):
            self.engine.store.replace(step.old, step.new)
        self._land(None)

    def _release(self, step: Release) -> None:
        if step.lasting:
            self.engine.flights.remember(self._own_kind(), self.engine.clock())
        told = Verdict.ALONE if step.lasting else Verdict.WITHOUT
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

            for purge in purges:
                self.engine.purge(purge, purged)
            if is_latest:
                self.epoch = fence.epoch  # the purges so far that select it are this exchange's own

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
                self._deliver_early()

        begin(go_on)
        if at_once:
            return at_once[0]
        is_late = True
        if self.call is not None:
            self.call.pause()
        return PENDING

    def _deliver_early(self) -> None:
        """Go on with content that came while the flow was waiting in the middle of an answer."""
        if self.flow is not None:
            return
        early, self.early = self.early, None
        if self.call is not None:
            self.call.resume()
        for event in early or ():
            if event is None:
                self.content_end()
            elif isinstance(event, Failure):
                self.failed(event)
            else:
                self.content(event)
        self.settled()

    def _later(self, step: Later) -> None:
        engine = self.engine
        background = Exchange(engine, step.request, step.key, None, NOWHERE)
        background.run(refresh(step.request, step.key, step.entry, engine.options), None)

    def _land(self, outcome: Failure | Claimed | None, *, told: Verdict = Verdict.FREE) -> None:
        """Lead no longer. `outcome`: what those who wait here are told; `told`: those who wait in other processes."""
        flight, self.flight = self.flight, None
        if flight is not None:
            self.engine.flights.land(flight, outcome)
            if flight.lease is not None:
                self.engine.end_lease(flight, told)

    def _store_at_once(self) -> bool:
        """Store held content, and answer, if it is whole."""
        entry, engine = self.held, self.engine
        assert entry is not None
        if len(entry.content) != entry.length:
            return False
        self.call = None
        if engine.fence.lets_through(entry, self.epoch):
            engine.store.put(entry)
        self._land(None)
        reply = self.held_reply
        self.held = self.held_reply = None
        if reply is not None:
            self._reply(reply)
        return True

    # The reply.

    def _reply(self, reply: Reply) -> None:
        if self.engine.in_its_words is not None:
            reply = self.engine.in_its_words(reply)
        sink, content = self.sink, reply.content
        if content is _FROM_ORIGIN and self.call is not None:
            if sink is NOWHERE:
                self._abandon_call()
                return
            sink.start(reply)
            sink.produced_by(self.call)
            return
        if self.recording is None and self.call is not None:
            self._abandon_call()
        sink.start(reply)
        if isinstance(content, Entry):
            if isinstance(content.content, Recording):
                self.reader = content.content.join(sink, reply.start, reply.stop)
                if content.content is not self.recording:
                    sink.flush()
                return
            data = content.content
            if not isinstance(data, bytes):
                stop = data.length if reply.stop is None else reply.stop
                self.reader = StoredReader(data, sink, reply.start, stop)
                sink.produced_by(self.reader)
                self.reader.resume()
                return
            if data:
                sink.write(data if reply.stop is None else data[reply.start : reply.stop])
        elif isinstance(content, bytes) and content and self.request.method != b"HEAD":
            sink.write(content)
        self._end()

    def _end(self) -> None:
        self.is_over = True
        self.sink.end()

    def _abandon_call(self) -> None:
        """Let go of an answer whose content nobody wants."""
        call, self.call = self.call, None
        if call is not None:
            call.cancel()

    def cancel(self) -> None:
        """Note that the client has gone. A fill that may serve others goes on; anything else is broken off."""
        self.sink = NOWHERE
        if self._waits_in is not None:
            self._waits_in.waiters.remove(self._woken)
            self._waits_in = None
            self.flow = None
        elif self.reader is not None:
            self.reader.leave()
            self._stop_if_unread()
        elif self.flight is None and self.recording is None and self.held is None:
            self.flow = None
            self._abandon_call()

    def _stop_if_unread(self) -> None:
        recording = self.recording
        if recording is not None and self.keeping is None and not recording.readers:
            self._abandon_call()

    # What the pool reports.

    def interim(self, response: Response) -> None:
        """Pass a 1xx on to the client."""
        self.sink.interim(response)

    def answered(self, response: Response, length: int | None) -> None:
        """Take the head of the answer."""
        call, engine = self.call, self.engine
        if call is None:
            return
        self.has_answer = True
        now = engine.clock()
        if self.flow is not None:
            self.run(self.flow, Answer(response, call.requested_at, now, length))
            return
        step, reply = concluded(
            self.request,
            self.key,
            response,
            length,
            requested_at=call.requested_at,
            received_at=now,
            options=engine.options,
            leads=self.flight is not None,
        )
        if isinstance(step, Entry):
            self._take_in(step, now)
        elif step is not None:
            _PERFORM[type(step)](self, step)
        self._conclude(reply)

    def content(self, data: bytes) -> None:
        """Take some of the answer's content."""
        if self.flow is not None:
            self._keep_early(data)
            return
        if self.held is not None:
            if len(data) == self.held.length:
                self.held.content = data
                return
            self._hold_no_longer()
        recording = self.recording
        if recording is None:
            sink = self.sink
            sink.write(data)
            if sink.paused and self.call is not None:
                self.call.pause()
            return
        keeping = self.keeping
        if keeping is not None and not keeping.has_room(len(data)):
            self._keep_no_longer(keeping)
        recording.feed(data)
        if self.keeping is None:
            self._stop_if_unread()

    def _keep_no_longer(self, keeping: Keeping) -> None:
        self.keeping = None
        keeping.give_up()
        keeping.recording.keep_no_longer()
        self.engine.flights.remember(self._own_kind(), self.engine.clock())
        self._land(None, told=Verdict.ALONE)

    def _keep_early(self, event: bytes | Failure | None) -> None:
        if self.early is None:
            self.early = []
        self.early.append(event)

    def settled(self) -> None:
        """Note that all that has arrived was reported: the client gets it now."""
        if self.held is not None:
            self._hold_no_longer()
        if self.recording is None:
            self.sink.flush()
        else:
            self.recording.flush()

    def content_end(self) -> None:
        """Note that the answer is whole: what was recorded is stored now, and only now."""
        if self.flow is not None:
            self._keep_early(None)
            return
        if self.held is not None:
            if self._store_at_once():
                return
            self._hold_no_longer()
        self.call = None
        recording, keeping = self.recording, self.keeping
        if recording is None:
            if self.flow is None:
                self._end()
            return
        if keeping is not None:
            keeping.store(is_current=self.engine.fence.lets_through(keeping.entry, self.epoch))
        self._land(None)
        recording.finish()

    def failed(self, failure: Failure) -> None:
        """Note that no answer comes, or that its content broke off."""
        if self.flow is not None and self.has_answer:
            self._keep_early(failure)
            return
        if self.held is not None:
            self._hold_no_longer()
        call, self.call = self.call, None
        if call is not None and not self.has_answer and self.flow is None:
            self._take_up(call)
        if self.flow is not None:
            self.run(self.flow, failure)
            return
        recording = self.recording
        if recording is None:
            self.sink.abort()
            return
        if self.keeping is not None:
            self.keeping.give_up()
        self._land(None, told=Verdict.WITHOUT)
        recording.fail()


_PERFORM: dict[type, Callable[[Exchange, Any], Any]] = {
    Lookup: Exchange._lookup,
    Claim: Exchange._claim,
    Send: Exchange._send,
    Record: Exchange._record,
    Replace: Exchange._replace,
    Release: Exchange._release,
    Forget: Exchange._forget,
    Later: Exchange._later,
}


def answer_options(sink: Sink) -> None:
    """Answer an OPTIONS that may go no further (Max-Forwards: 0, RFC 9110 §7.6.2)."""
    sink.start(Reply(200, b"OK", [ALLOW, date_field(wall())], lines_of([VIA]), b"", 0, BYPASS, None))
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
