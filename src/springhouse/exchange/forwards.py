"""A forward: a request on its way to the origin, and what the client gets when the answer is there, or none."""

from dataclasses import dataclass
from typing import Final

from springhouse.exchange import reply as replies
from springhouse.exchange.reply import HIT, MISS, NAME, REVALIDATED, STALE, ProxyFields, Reply
from springhouse.exchange.steps import Failure
from springhouse.http.fields import Field
from springhouse.http.headers import lower_names
from springhouse.http.memo import KIB, Memo, bound
from springhouse.http.messages import Request
from springhouse.rules import reasons
from springhouse.rules.answer import Answer
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
    """Whether another request's fetch answered it (RFC 9211 §2.6); None: it did not wait for any."""
    is_unconditional: bool = False
    """It is asked about the entry without our conditions: a 304 to them was about something else."""

    def cache_status(
        self,
        fetched: int,
        answered: int,
        *,
        stored: bool = False,
        ttl: int | None = None,
        detail: Reason | None = None,
    ) -> bytes:
        """Return the Cache-Status (RFC 9211 §2): why the request was forwarded, what came, what became of it.

        `fetched`, `answered`: the statuses that the origin and this proxy answered with.
        """
        return _statuses[self.why, fetched, answered, stored, self.collapsed, ttl, detail]


_Forwarded = tuple[Reason, int, int, bool, bool | None, int | None, Reason | None]


def _cache_status(forwarded: _Forwarded) -> bytes:
    why, fetched, answered, stored, collapsed, ttl, detail = forwarded
    parts = [NAME, b"fwd=" + why.token.encode()]
    if fetched != answered:
        parts.append(b"fwd-status=%d" % fetched)
    if stored:
        parts.append(b"stored")
    if collapsed is not None:
        parts.append(b"collapsed" if collapsed else b"collapsed=?0")
    if ttl is not None:
        parts.append(b"ttl=%d" % ttl)
    detail = detail or why
    if detail.name != why.token:
        parts.append(b"detail=" + detail.name.encode())
    return b"; ".join(parts)


_statuses: Final[Memo[_Forwarded, bytes]] = Memo(
    bound("Cache-Status", 512 * KIB, "what it says of requests that went to the origin"), _cache_status
)


def from_cache(request: Request, entry: Entry, now: float, reason: Reason) -> Reply:
    """Answer from an entry that the origin was not asked about."""
    is_fresh = reason is reasons.FRESH
    status = replies.status_of_hit(entry.ttl_at(now), None if is_fresh else reason)
    return replies.from_entry(request, entry, now, ProxyFields(HIT if is_fresh else STALE, status, reason))


def from_collapsed(request: Request, entry: Entry, now: float, forward: Forward) -> Reply:
    """Answer a request that waited for another's fetch."""
    was_confirmed = forward.entry is not None and forward.entry.content is entry.content
    forward.collapsed = True
    status = forward.cache_status(entry.status, entry.status, ttl=entry.ttl_at(now))
    x_cache = REVALIDATED if was_confirmed else MISS
    return replies.from_entry(request, entry, now, ProxyFields(x_cache, status, reasons.COLLAPSED, entry.status))


def from_fetched(request: Request, answer: Answer, forward: Forward, entry: Entry) -> Reply:
    """Answer from the entry that is being stored."""
    received_at = answer.received_at
    proxy_fields = ProxyFields(
        MISS,
        forward.cache_status(entry.status, entry.status, stored=True, ttl=entry.ttl_at(received_at)),
        forward.why,
        entry.status,
        is_from_cache=False,
        as_received=replies.as_fetched(answer.response, forward.withheld, received_at, entry),
        in_304=_SET_COOKIE_NAME,
    )
    return replies.from_entry(request, entry, received_at, proxy_fields)


def confirmed(answer: Answer, forward: Forward, entry: Entry, besides: list[Field], *, is_stored: bool) -> ProxyFields:
    """Return what the reply says of an entry that a 304 has confirmed. `besides`: the fields that it may not have."""
    return ProxyFields(
        REVALIDATED,
        forward.cache_status(304, entry.status, stored=is_stored, ttl=entry.ttl_at(answer.received_at)),
        reasons.VALIDATED,
        is_from_cache=False,
        besides=besides,
        in_304=lower_names(answer.response.fields),
    )


def passed_on(
    request: Request, answer: Answer, forward: Forward, *, detail: Reason | None = None, x_cache: bytes = MISS
) -> Reply:
    """Pass the origin's answer on, for the client that asked alone. `detail`: why it is not stored."""
    status = answer.response.status
    reason = detail or forward.why
    lines = replies.proxy_lines(x_cache, forward.cache_status(status, status, detail=reason))
    return replies.from_origin(request, answer, lines, reason, x_cache=x_cache, withheld=forward.withheld)


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
    cache_status = forward.cache_status(status, entry.status, ttl=entry.ttl_at(now), detail=reason)
    x_cache = HIT if entry.is_fresh_at(now) else STALE
    return replies.from_entry(request, entry, now, ProxyFields(x_cache, cache_status, reason))
