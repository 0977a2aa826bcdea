"""The way of a request, from what the client asked to what it is answered. This file is the product.

A flow is a generator: it yields a step, is sent the step's result, and returns a Reply, or None where no client
waits for one. The rules decide; the flow only carries their decisions out, in this order:

    look up → decide → serve
                     → claim the key → (another request fetched it: decide again)
                                     → send → absorb → keep, freshen, pass on, or stand in with the stale entry
"""

from collections.abc import Generator
from typing import Final, assert_never

from springhouse.exchange import forwards
from springhouse.exchange import reply as replies
from springhouse.exchange.forwards import Forward
from springhouse.exchange.reply import BYPASS, ProxyFields, Reply
from springhouse.exchange.steps import (
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
    Step,
)
from springhouse.http.fields import CACHE_CONTROL, EXPECT, IF_RANGE, MAX_FORWARDS, PRAGMA, RANGE, Field
from springhouse.http.messages import Request, Response
from springhouse.rules import reasons
from springhouse.rules.answer import Answer
from springhouse.rules.decisions import Discard, Fetch, Freshen, Keep, Outcome, Refuse, Revalidate, Serve, ServeStale
from springhouse.rules.entry import Entry
from springhouse.rules.invalidation import invalidated
from springhouse.rules.labels import groups_to_invalidate
from springhouse.rules.options import Options
from springhouse.rules.reasons import Reason
from springhouse.rules.reuse import decide, directives_of, never_from_cache
from springhouse.rules.storing import keep_for_get
from springhouse.rules.validation import (
    CONDITIONS,
    ERRORS,
    absorb,
    after_head,
    conditions,
    left_out,
    may_serve_on_error,
)
from springhouse.rules.variants import all_names

Flow = Generator[Step, Result, Reply | None]

TRIES_MAX: Final = 2
"""How often a request waits: once while it is unknown which others want the same, and once with those that do."""
_CONDITION_NAMES = frozenset({b"if-none-match", b"if-modified-since"})
_RANGE_NAMES = frozenset({b"range", b"if-range"})
_ONLY_FOR_THE_CLIENT = _CONDITION_NAMES | _RANGE_NAMES | {
    b"cache-control", b"pragma", b"a-im", b"expect", b"max-forwards",
}  # fmt: skip
"""What a client says of the one answer it wants, which is not sent along when the origin is asked for all clients."""


def respond(request: Request, key: bytes, options: Options) -> Flow:
    """Answer a request."""
    why = never_from_cache(request)
    if why is not None:
        return (yield from _bypass(request, key, why, options))
    found = yield Lookup(key)
    waited: Forward | None = None
    tries = 0
    while True:
        assert isinstance(found, Found)
        decision = decide(request, found.variants, found.now, options)
        match decision:
            case Fetch(why):
                forward = Forward(key, why, None, options.withheld)
            case Serve(entry, reason, refresh):
                if refresh:
                    yield Later(key, request, entry)
                if waited is not None:
                    return forwards.from_collapsed(request, entry, found.now, waited)
                return forwards.from_cache(request, entry, found.now, reason)
            case Refuse(status, reason):
                return replies.problem(status, reason.text, at=found.now, reason=reason)
            case Revalidate(entry, why):
                forward = Forward(key, why, entry, options.withheld)
            case _:
                assert_never(decision)
        if found.is_uncacheable or not _may_lead(request, forward, waited):
            claimed: Result = Claimed.ALONE
        else:
            claimed = yield Claim(key, request, tries < TRIES_MAX, _known_names(forward, found, waited))
        tries += 1
        match claimed:
            case Found():
                found, waited = claimed, forward
            case Claimed.AGAIN:
                found = yield Lookup(key)
            case Failure():
                return forwards.instead_of_failure(request, forward, claimed)
            case _:
                forward.leads = claimed is Claimed.LEAD
                forward.collapsed = False if waited is not None or claimed is Claimed.RELEASED else None
                return (yield from _fetch(request, forward, options))


def refresh(request: Request, key: bytes, entry: Entry, options: Options) -> Flow:
    """Revalidate an entry that has been served stale, unless somebody else already does."""
    claimed = yield Claim(key, request, wait=False, names=entry.vary)
    if claimed is Claimed.LEAD:
        yield from _fetch(_plain(request), Forward(key, reasons.STALE, entry, leads=True), options)
    return None


def _bypass(request: Request, key: bytes, why: Reason, options: Options) -> Flow:
    """Pass a request on that no stored response may answer; an unsafe one invalidates (§4.4)."""
    answer = yield Send(request, request.fields)
    if isinstance(answer, Failure):
        return replies.problem(
            answer.status,
            answer.detail,
            at=answer.at,
            error=answer.error,
            x_cache=BYPASS,
            reason=reasons.ORIGIN_FAILED,
        )
    assert isinstance(answer, Answer)
    forward = Forward(key, why, withheld=options.withheld)
    kept = keep_for_get(request, key, answer, options)
    gone = invalidated(request, key, answer.response)
    if gone:
        yield Forget(gone, groups_to_invalidate(answer.response), kept)
    if kept is None:
        return forwards.passed_on(request, answer, forward, x_cache=BYPASS)
    yield Record(kept)
    proxy_fields = ProxyFields(
        BYPASS,
        forward.cache_status(kept.status, kept.status, stored=True, ttl=kept.ttl_at(answer.received_at)),
        why,
        is_from_cache=False,
        as_received=replies.as_fetched(answer.response, options.withheld, answer.received_at, kept),
    )
    return replies.from_entry(request, kept, answer.received_at, proxy_fields)


def _may_lead(request: Request, forward: Forward, waited: Forward | None) -> bool:
    """Return whether what this request fetches could serve others, so that requests should wait for one another.

    What is stale on arrival would be so again: then all go at once rather than one after the other.
    """
    if waited is not None and forward.entry is not None and forward.entry is not waited.entry:
        return False
    if request.method != b"GET" or forward.why is reasons.CREDENTIALS:
        return False
    if request.bits & RANGE and forward.entry is None:
        return False
    return not request.bits & CACHE_CONTROL or b"no-store" not in directives_of(request)


def _known_names(forward: Forward, found: Found, waited: Forward | None) -> tuple[bytes, ...]:
    """Return the fields by which it is known which requests want the same.

    Those that chose the entry to be validated; or all that Vary names under the key, when that was waited for and the
    answer had another Vary.
    """
    if forward.entry is not None and waited is None:
        return forward.entry.vary
    return all_names(found.variants, found.names) if found.variants else found.names


def _plain(request: Request) -> Request:
    """Return the request as a GET for the whole representation, without what the client wants for itself."""
    bits = request.bits & ~(CONDITIONS | RANGE | IF_RANGE | CACHE_CONTROL | PRAGMA | EXPECT | MAX_FORWARDS)
    fields = [f for f in request.fields if f[0].lower() not in _ONLY_FOR_THE_CLIENT]
    plain = Request(b"GET", request.target, fields, bits=bits, authority=request.authority)
    plain.scheme, plain.peer = request.scheme, request.peer
    return plain


def _fetch(request: Request, forward: Forward, options: Options) -> Flow:
    """Ask the origin and do with its answer what the rules say."""
    answer = yield Send(request, _fields_to_send(request, forward))
    if isinstance(answer, Failure):
        if forward.leads:
            yield Release(forward.key, failure=answer)
        return forwards.instead_of_failure(request, forward, answer)
    assert isinstance(answer, Answer)
    if request.method == b"HEAD":
        return (yield from _head_answered(request, forward, answer, options))
    outcome = absorb(request, forward.key, answer, options, asked_about=forward.entry)
    step, reply = carry_out(request, forward, answer, outcome, options)
    if reply is None:
        forward.is_unconditional = True
        return (yield from _fetch(request, forward, options))
    gone = _disproved(forward, answer.response, step)
    # Who waits for what will not be stored is let go before the key is forgotten, and does not queue once more.
    for each in (gone, step) if isinstance(step, Record) else (step, gone):
        if each is not None:
            yield each
    return reply


def _disproved(forward: Forward, response: Response, step: Step | None) -> Forget | None:
    """Return the step that forgets what was asked about, if the answer shows that it holds no more (§4.3.3).

    That is any answer but 304 and 5xx, unless what it becomes takes the old entry's place.
    """
    asked = forward.entry
    if asked is None or response.status == 304 or response.status >= 500:
        return None
    new = step.entry if isinstance(step, Record) else None
    if new is not None and (new.vary, new.selector) == (asked.vary, asked.selector):
        return None
    return Forget([forward.key], sparing=new)


def carry_out(
    request: Request, forward: Forward, answer: Answer, outcome: Outcome, options: Options
) -> tuple[Step | None, Reply | None]:
    """Return the step that the outcome makes necessary, if any, and the reply.

    No reply: the origin must be asked again, without conditions.
    """
    response, asked = answer.response, forward.entry
    match outcome:
        case Keep(entry):
            return Record(entry), forwards.from_fetched(request, answer, forward, entry)
        case Freshen(old, entry, kept, _):
            besides = left_out(response, entry, options)
            proxy_fields = forwards.confirmed(answer, forward, entry, besides, is_stored=kept is entry)
            return Replace(old, kept), replies.from_entry(request, entry, answer.received_at, proxy_fields)
        case Discard() if response.status == 304 and asked and not forward.is_unconditional and conditions(asked):
            return None, None  # a 304 about something that is not stored here is no answer to the client
        case Discard(_, reason, lasting):
            release = Release(forward.key, lasting=lasting) if forward.leads else None
            return release, forwards.passed_on(request, answer, forward, detail=reason)
        case ServeStale(entry, reason):
            failure = Failure("http_response_status", reason.text, response.status, answer.received_at)
            release = Release(forward.key, failure=failure) if forward.leads else None
            return release, forwards.stale_instead(request, entry, forward, answer.received_at, response.status)
        case _:
            assert_never(outcome)


def _fields_to_send(request: Request, forward: Forward) -> list[Field]:
    """Return the request's fields with the conditions it goes with.

    With a stored entry, or when others wait for a whole representation, ours take the place of the client's, which
    are then evaluated against what is stored.
    """
    asked = None if forward.is_unconditional else forward.entry
    own = conditions(asked) if asked is not None and request.method == b"GET" else []
    unwanted = frozenset[bytes]()
    if request.bits & CONDITIONS and (own or forward.leads):
        unwanted |= _CONDITION_NAMES
    if request.bits & (RANGE | IF_RANGE) and asked is not None:
        unwanted |= _RANGE_NAMES
    fields = [f for f in request.fields if f[0].lower() not in unwanted] if unwanted else request.fields
    return fields + own if own else fields


def _head_answered(request: Request, forward: Forward, answer: Answer, options: Options) -> Flow:
    """Pass the answer to a HEAD on, and let it freshen, expire or disprove what GET stored (§4.3.5)."""
    asked, status = forward.entry, answer.response.status
    if asked is not None and status in ERRORS and may_serve_on_error(request, asked, answer.received_at):
        return forwards.stale_instead(request, asked, forward, answer.received_at, status)
    found = yield Lookup(forward.key)
    assert isinstance(found, Found)
    for old, new in after_head(request, found.variants, answer, options):
        yield Replace(old, new)
    gone = _disproved(forward, answer.response, None)
    if gone is not None and status not in (200, 405):  # 405 is about HEAD; what 200 means has been done
        yield gone
    return forwards.passed_on(request, answer, forward)
