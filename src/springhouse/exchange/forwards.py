"""A forward: a request on its way to the origin, and what the client is told when the answer is there, or none."""

from dataclasses import dataclass

from springhouse.exchange import reply as replies
from springhouse.exchange.reply import HIT, MISS, REVALIDATED, STALE, ProxyFields, Reply
from springhouse.exchange.steps import Answer, Failure
from springhouse.http.fields import Field
from springhouse.http.headers import names_of
from springhouse.http.messages import Request
from springhouse.rules import reasons
from springhouse.rules.entry import Entry
from springhouse.rules.reasons import Reason
from springhouse.rules.validation import may_serve_on_error

_SET_COOKIE_NAME = frozenset({b"set-cookie"})


@dataclass(slots=True)
class Forward:
    """A request on its way to the origin: why it goes, what it asks about, and whether others wait for it."""

    key: bytes
    why: Reason
    entry: Entry | None = None
    withheld: int = 0
    """Bits of fields that the client does not get."""
    leads: bool = False
    collapsed: bool | None = None
    is_unconditional: bool = False
    """It is asked about the entry without our conditions: a 304 to them was about something else."""


def from_cache(request: Request, entry: Entry, now: float, reason: Reason) -> Reply:
    """Answer from an entry that the origin was not asked about."""
    is_fresh = reason is reasons.FRESH
    status = replies.status_of_hit(entry.ttl_at(now), None if is_fresh else reason)
    return replies.from_entry(request, entry, now, ours=ProxyFields(HIT if is_fresh else STALE, status, reason))


def collapsed(request: Request, entry: Entry, now: float, forward: Forward) -> Reply:
    """Answer a request that waited for another's fetch."""
    confirmed = forward.entry is not None and forward.entry.content is entry.content
    status = replies.status_of_forward(forward.why, entry.status, entry.status, collapsed=True, ttl=entry.ttl_at(now))
    return replies.from_entry(
        request,
        entry,
        now,
        ours=ProxyFields(REVALIDATED if confirmed else MISS, status, reasons.COLLAPSED, entry.status),
    )


def fetched(request: Request, answer: Answer, forward: Forward, entry: Entry) -> Reply:
    """Answer from the entry that is being stored."""
    status = replies.status_of_forward(
        forward.why, entry.status, entry.status, True, forward.collapsed, entry.ttl_at(answer.received_at)
    )
    ours = ProxyFields(
        MISS,
        status,
        forward.why,
        entry.status,
        is_from_cache=False,
        as_received=replies.as_fetched(answer.response, forward.withheld, answer.received_at, entry),
        in_304=_SET_COOKIE_NAME,
    )
    return replies.from_entry(request, entry, answer.received_at, ours=ours)


def confirmed(answer: Answer, forward: Forward, entry: Entry, besides: list[Field], *, is_stored: bool) -> ProxyFields:
    """Return what is said of an entry that a 304 has confirmed. `besides`: the fields that it may not have."""
    ttl = entry.ttl_at(answer.received_at)
    return ProxyFields(
        REVALIDATED,
        replies.status_of_forward(forward.why, 304, entry.status, is_stored, forward.collapsed, ttl),
        reasons.VALIDATED,
        is_from_cache=False,
        besides=besides,
        in_304=names_of(answer.response.fields),
    )


def passed_on(
    request: Request, answer: Answer, forward: Forward, *, detail: Reason | None = None, x_cache: bytes = MISS
) -> Reply:
    """Pass the origin's answer on, for the client that asked alone. `detail`: why it is not stored."""
    status = answer.response.status
    cache_status = replies.status_of_forward(
        forward.why, status, status, False, forward.collapsed, None, detail or forward.why
    )
    return replies.from_origin(
        request,
        answer.response,
        answer.length,
        received_at=answer.received_at,
        x_cache=x_cache,
        ours=replies.about(x_cache, cache_status),
        reason=detail or forward.why,
        withheld=forward.withheld,
    )


def instead_of_failure(request: Request, forward: Forward, failure: Failure) -> Reply:
    """Stand in with the stored entry if it may, else say what went wrong (RFC 5861 §4; 9111 §5.2.2.2 wants 504)."""
    entry = forward.entry
    if entry is not None and may_serve_on_error(request, entry, failure.at):
        return stale_instead(request, entry, forward, failure.at, entry.status)  # nothing was received
    status = failure.status
    if entry is not None and not entry.max_stale_allowed:
        status = 504
    return replies.problem(status, failure.detail, at=failure.at, error=failure.error, reason=reasons.ORIGIN_FAILED)


def stale_instead(request: Request, entry: Entry, forward: Forward, now: float, status: int) -> Reply:
    """Answer from an entry that stands in for an error; `status` is what the origin sent, the entry's if nothing."""
    reason = reasons.STALE_IF_ERROR
    cache_status = replies.status_of_forward(
        forward.why, status, entry.status, collapsed=forward.collapsed, ttl=entry.ttl_at(now), detail=reason
    )
    x_cache = HIT if entry.is_fresh_at(now) else STALE
    return replies.from_entry(request, entry, now, ours=ProxyFields(x_cache, cache_status, reason))
