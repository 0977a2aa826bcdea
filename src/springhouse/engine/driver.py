"""Joins what the origin answers, and what the flow replies, to a sink.

An `Exchange` is one request under way: it performs the steps of its flow, and is what the pool reports to (`interim`,
`answered`, `content`, `content_end`, `failed`).
"""

from typing import TYPE_CHECKING, Final

from springhouse.engine.clock import wall
from springhouse.engine.fill import Fill
from springhouse.engine.performing import Performer
from springhouse.engine.ports import Call
from springhouse.engine.recordings import Recording
from springhouse.engine.sinks import NOWHERE, Sink
from springhouse.exchange.reply import BYPASS, VIA, Reply, Source, date_field, problem
from springhouse.exchange.steps import Failure
from springhouse.exchange.straight import is_plain, may_lead, take_answer, taken_up
from springhouse.http.content import NO_CONTENT, ContentReader, MemoryContent
from springhouse.http.fields import Field
from springhouse.http.headers import lines_of
from springhouse.http.messages import Request, Response
from springhouse.rules.answer import Answer
from springhouse.rules.entry import Entry
from springhouse.rules.purging import Keys, Purge
from springhouse.stores.leases import LockStatus
from springhouse.transport.content import RequestContent

if TYPE_CHECKING:
    from springhouse.engine.engine import Engine

ALLOW: Final = (b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
AT_ONCE_MAX: Final = 16 * 1024
"""Bytes of content that are likely to come with the head."""
_FROM_ORIGIN: Final = Source.ORIGIN  # found faster than a member is


class Exchange(Performer):
    """One request under way."""

    __slots__ = (
        "early",
        "fill",
        "has_answer",
        "held",
        "held_reply",
        "reader",
        "recording",
        "sink",
    )  # fmt: skip

    def __init__(
        self, engine: "Engine", request: Request, key: bytes, content: RequestContent | None, sink: Sink
    ) -> None:
        Performer.__init__(self, engine, request, key, content)  # super() is slow
        self.sink = sink
        self.fill: Fill | None = None
        """Stores what is recorded, as long as it can."""
        self.recording: Recording | None = None
        self.reader: ContentReader | None = None
        self.has_answer = False
        self.held: Entry | None = None
        """It is small, and nothing of it goes out before it is known whether its content is at hand."""
        self.held_reply: Reply | None = None
        self.early: list[bytes | Failure | None] | None = None
        """What came of the content while the flow waited; None stands for its end."""

    # Going.

    def go_straight(self) -> bool:
        """Send the request on at once if it can be foretold that the flow would; see `exchange.straight`."""
        engine, request, key = self.engine, self.request, self.key
        flights = engine.flights
        if not is_plain(request) or key in flights.by_key:
            return False
        if key in flights.uncacheable_until and self._is_uncacheable():
            if engine.store.lookup(key):
                return False
        elif may_lead(request) and engine.store.lacks(key):
            self.flight = flights.lead(key, request)
        else:
            return False
        self.epoch = engine.fence.epoch
        self.call = engine.upstream.send(request, request.fields, None, self)
        return True

    def ask(self, request: Request, fields: list[Field]) -> Call:
        return self.engine.upstream.send(request, fields, self.content_of_request, self)

    def _take_up(self, call: Call) -> None:
        """Take the flow up where it waits for the answer to what was sent without it."""
        leads = self.flight is not None
        self.flow = taken_up(self.request, self.key, call.requested_at, self.engine.options, leads=leads)

    def conclude(self, reply: Reply | None) -> None:
        if self.held is not None:
            self.held_reply = reply
        elif reply is not None:
            self._reply(reply)
        elif self.call is not None and self.recording is None:
            self._abandon_call()

    def take_in(self, entry: Entry, now: float) -> None:
        flights = self.engine.flights
        if not entry.is_fresh_at(now):
            self._remember()
        elif entry.key in flights.uncacheable_until:
            flights.forget(entry.key, with_credentials=self._has_credentials)
        flight = self.flight
        if flight is not None and flight.lease is not None:
            flight.lease.entry = entry
        if entry.length is not None and entry.length <= AT_ONCE_MAX:
            self.held = entry
        else:
            self._begin_recording(entry)

    def _begin_recording(self, entry: Entry) -> None:
        assert self.call is not None
        engine = self.engine
        self.fill = Fill(engine.store, entry, engine.options.max_object, self.call)
        self.recording = self.fill.recording
        if self.flight is not None:
            engine.flights.share(self.flight, entry)

    def _hold_no_longer(self) -> None:
        """Let out what was held: the content comes in pieces, or later."""
        entry, reply = self.held, self.held_reply
        assert entry is not None
        data = entry.content.data
        entry.content = NO_CONTENT
        self.held = self.held_reply = None
        self._begin_recording(entry)
        if reply is not None:
            self._reply(reply)
        if data:
            self.content(data)

    def deliver_early(self) -> None:
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

    def _store_at_once(self) -> bool:
        """Store held content, and answer, if it is whole."""
        entry, engine = self.held, self.engine
        assert entry is not None
        if len(entry.content) != entry.length:
            return False
        self.call = None
        is_current = engine.fence.lets_through(entry, self.epoch)
        if is_current:
            engine.store.put(entry)
        self._land(entry if is_current else None)
        reply = self.held_reply
        self.held = self.held_reply = None
        if reply is not None:
            self._reply(reply)
        return True

    # The reply.

    def _reply(self, reply: Reply) -> None:
        if self.sink is NOWHERE:  # there is nobody to read anything; what is recorded goes on
            if self.recording is None:
                self._abandon_call()
            return
        if self.engine.translate is not None:
            reply = self.engine.translate(reply)
        sink, content = self.sink, reply.content
        if content is _FROM_ORIGIN and self.call is not None:
            sink.start(reply)
            sink.produced_by(self.call)
            return
        if self.recording is None and self.call is not None:
            self._abandon_call()
        sink.start(reply)
        if isinstance(content, Entry):
            stored = content.content
            if stored is self.recording:
                self.reader = self.recording.join(sink, reply.start, reply.stop)
            else:
                self.reader = stored.send_to(sink, reply.start, reply.stop)
        else:
            if isinstance(content, bytes) and content and self.request.method != b"HEAD":
                sink.write(content)
            sink.end()

    def cancel(self) -> None:
        """Note that the client has gone. What others wait for, or what may become an entry, goes on; nothing else."""
        self.sink = NOWHERE
        if self._waits_in is not None:
            waits_in, self._waits_in = self._waits_in, None
            self.flow = None
            waits_in.leave(self._woken)
        elif self.reader is not None:
            self.reader.leave()
        elif self.recording is None and self.held is None:
            if self.flight is not None and self.flight.waiters:
                self.flight.deserted = self._break_off
            else:
                self._break_off()

    def _break_off(self) -> None:
        """Ask for nothing any more: nobody waits for an answer whose head is not here."""
        self.flow = None
        self._abandon_call()
        self._land(None)

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
        answer = Answer(response, call.requested_at, now, length)
        if self.flow is not None:
            self.run(self.flow, answer)
            return
        step, reply = take_answer(self.request, self.key, answer, engine.options, leads=self.flight is not None)
        if isinstance(step, Entry):
            self.take_in(step, now)
        elif step is not None:
            self.perform(step)
        self.conclude(reply)

    def content(self, data: bytes) -> None:
        """Take some of the answer's content."""
        if self.flow is not None:
            self._keep_early(data)
            return
        if self.held is not None:
            if len(data) == self.held.length:
                self.held.content = MemoryContent(data)
                return
            self._hold_no_longer()
        recording = self.recording
        if recording is None:
            sink = self.sink
            sink.write(data)
            if sink.paused and self.call is not None:
                self.call.pause()
            return
        fill = self.fill
        if fill is not None and not fill.has_room(len(data)):
            self._keep_no_longer(fill)
        recording.feed(data)

    def _keep_no_longer(self, fill: Fill) -> None:
        self.fill = None
        fill.recording.keep_no_longer()
        self._remember()
        self._land(None, told=LockStatus.GIVE_UP)
        entry = fill.entry
        if any((old.vary, old.selector) == (entry.vary, entry.selector) for old in self.engine.store.lookup(entry.key)):
            self.engine.cache.purge(
                Purge(Keys((entry.key,)))
            )  # it is outdated, and its successor will not take its place

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
        recording, fill = self.recording, self.fill
        if recording is None:
            if self.flow is None:
                self.sink.end()
            return
        if fill is not None:
            fill.store(is_current=self.engine.fence.lets_through(fill.entry, self.epoch))
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
        self._land(None, told=LockStatus.TRANSIENT_ERROR)
        recording.fail()


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
