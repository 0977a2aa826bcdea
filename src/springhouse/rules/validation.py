"""Asking the origin whether a stored response holds, and what its answer means (RFC 9111 §4.3)."""

from collections.abc import Sequence
from copy import copy

from springhouse.http import etags
from springhouse.http.directives import seconds
from springhouse.http.fields import (
    AUTHORIZATION,
    CONTENT_LENGTH,
    ETAG,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    LAST_MODIFIED,
    RANGE,
    SET_COOKIE,
    TAGS,
    Field,
)
from springhouse.http.headers import first, lower_names
from springhouse.http.messages import Request, Response
from springhouse.rules import reasons
from springhouse.rules.answer import Answer
from springhouse.rules.decisions import Discard, Freshen, Keep, Outcome, ServeStale
from springhouse.rules.entry import Entry
from springhouse.rules.freshness import date_of, initial_age
from springhouse.rules.options import Options
from springhouse.rules.policy import NONE as NO_POLICY
from springhouse.rules.reasons import Reason
from springhouse.rules.reuse import directives_of, may_use_for_credentials
from springhouse.rules.storing import keep, stored_fields
from springhouse.rules.variants import selector

CONDITIONS = IF_NONE_MATCH | IF_MODIFIED_SINCE
ERRORS = frozenset({500, 502, 503, 504})
"""The answers that stale-if-error may hide (RFC 5861 §4)."""

_NEVER_UPDATED = frozenset({
    b"content-length", b"content-encoding", b"content-md5", b"content-digest", b"content-range", b"transfer-encoding",
    b"etag", b"age",
})  # fmt: skip
"""Fields of the message that has the content; a 304 and the answer to a HEAD have none, or speak of their own."""
_PECULIAR = frozenset({reasons.REQUEST_NO_STORE, reasons.UNSOLICITED, reasons.PARTIAL, reasons.ONE_REQUEST})
"""Reasons that lie in the one request, so that they say nothing about the next with or without credentials."""


def conditions(entry: Entry) -> list[Field]:
    """Return the preconditions that ask about the entry (§4.3.1); none where it has no validator."""
    fields: list[Field] = []
    if entry.etag is not None:
        fields.append((b"If-None-Match", entry.etag))
    if entry.last_modified is not None:
        fields.append((b"If-Modified-Since", entry.last_modified))
    return fields


def absorb(
    request: Request, key: bytes, answer: Answer, options: Options, *, asked_about: Entry | None = None
) -> Outcome:
    """Return what becomes of the origin's answer to a GET (§4.3.3).

    `asked_about`: the entry whose validators went along, None when the request went without any of ours.
    """
    response = answer.response
    if asked_about is not None:
        if response.status == 304 and is_about(response, asked_about):
            return _validated(request, asked_about, answer, options)
        if response.status in ERRORS and may_serve_on_error(request, asked_about, answer.received_at):
            return ServeStale(asked_about, reasons.STALE_IF_ERROR)
    return outcome_of(keep(request, key, answer, options), response)


def outcome_of(kept: Entry | Reason, response: Response) -> Keep | Discard:
    """Return what becomes of an answer that is about nothing stored. `kept`: its entry, or why there is none."""
    if isinstance(kept, Entry):
        return Keep(kept, reasons.STORED)
    return Discard(response, kept, lasting=kept not in _PECULIAR and response.status < 500)


def may_serve_on_error(request: Request, entry: Entry, now: float) -> bool:
    """Return whether the entry may stand in for an error (RFC 5861 §4); the request may ask for it, too.

    Being fresh is not enough: a client that wanted it validated has been promised nothing else.
    """
    if entry.no_cache or entry.invalidated or not entry.max_stale_allowed:
        return False
    allowed = seconds(directives_of(request), b"stale-if-error") or 0
    until = max(entry.stale_if_error_until, entry.fresh_until + allowed)
    return entry.fresh_until < until > now


def _validated(request: Request, entry: Entry, answer: Answer, options: Options) -> Freshen:
    """Return what a 304 about the entry makes of it. What may not be stored reaches the one client that asked."""
    may_store = b"no-store" not in directives_of(request)
    if may_store:
        fresh = freshened(request, entry, answer, options)
        if fresh is not None:
            return Freshen(entry, fresh, fresh, reasons.VALIDATED)
    received_at = answer.received_at
    updated = _updated(entry, answer)
    once = copy(entry)
    once.fields = stored_fields(updated.response, NO_POLICY, received_at, options)
    once.born_at = received_at - initial_age(updated, date_of(updated.response, received_at))
    return Freshen(entry, once, spoiled(entry) if may_store else entry, reasons.VALIDATED)


def left_out(response: Response, entry: Entry, options: Options) -> list[Field]:
    """Return the fields of a 304 that the entry it has freshened may not have, for the one client that asked (§3.1)."""
    if not (response.bits & SET_COOKIE or entry.is_redacted):
        return []
    known = lower_names(entry.fields) | _NEVER_UPDATED
    return [field for field in response.end_to_end(options.withheld) if field[0].lower() not in known]


def freshened(request: Request, entry: Entry, answer: Answer, options: Options) -> Entry | None:
    """Return the entry as updated by a 304 or a HEAD (§3.2), None where what it becomes may not be stored."""
    updated = _updated(entry, answer)
    updated.response.is_http_1_0 = answer.response.is_http_1_0
    fresh = keep(_as_stored(request, entry), entry.key, updated, options)
    if not isinstance(fresh, Entry):
        return None
    # A new Vary is about fields of the request it answers; those of the request that was stored are not known.
    fresh.selector = entry.selector if fresh.vary == entry.vary else selector(request, fresh.vary)
    fresh.content, fresh.length = entry.content, entry.length
    fresh.authorized = entry.authorized
    if not answer.response.bits & TAGS:
        fresh.tags = entry.tags  # perhaps not among the stored fields
    return fresh


def spoiled(entry: Entry) -> Entry:
    """Return the entry, with nothing of what was said of it since, to be validated before any further use."""
    old = copy(entry)
    old.invalidated = True
    old.max_stale_allowed = False
    return old


def is_about(response: Response, entry: Entry) -> bool:
    """Return whether a 304's validators identify the entry (§4.3.4). With none of them it is what we asked about.

    Where we asked about nothing, because the entry has no validator, it answers the client's own conditions.
    """
    if entry.etag is None and entry.last_modified is None:
        return False
    tag = response.value(b"etag", ETAG)
    modified = response.value(b"last-modified", LAST_MODIFIED)
    if tag is not None and entry.etag is not None:
        return tag == entry.etag if etags.is_strong(tag) else etags.match_weakly(entry.etag, tag)
    if modified is not None and entry.last_modified is not None:
        return modified == entry.last_modified
    return tag is None


def _updated(entry: Entry, answer: Answer) -> Answer:
    """Return the answer that would have become the entry, each field replaced by the new ones of its name (§3.2)."""
    response = answer.response
    replaced = {name.lower() for name, _ in response.fields} - _NEVER_UPDATED
    # A 304 without Date was made when it was received (RFC 9110 §6.6.1).
    replaced.add(b"date")
    age = [f for f in response.fields if f[0].lower() == b"age"]
    new = [f for f in response.fields if f[0].lower() in replaced]
    fields = entry.fields[:-1] if entry.has_our_via else entry.fields
    fields = [f for f in fields if f[0].lower() not in replaced] + new + age
    return Answer(Response(entry.status, fields, reason=entry.reason), answer.requested_at, answer.received_at)


def _as_stored(request: Request, entry: Entry) -> Request:
    fields = [f for f in request.fields if f[0].lower() not in (b"authorization", b"cache-control")]
    bits = request.bits | (AUTHORIZATION if entry.authorized else 0)
    return Request(b"GET", request.target, fields, bits=bits & ~_CLIENT_ONLY, authority=request.authority)


_CLIENT_ONLY = RANGE | IF_RANGE | CONDITIONS


def after_head(
    request: Request, entries: Sequence[Entry], answer: Answer, options: Options
) -> list[tuple[Entry, Entry]]:
    """Return (old, new) for the entries that a 200 to HEAD updates or makes stale (§4.3.5)."""
    response = answer.response
    if response.status != 200 or b"no-store" in directives_of(request):
        return []
    changes = []
    for entry in entries:
        if selector(request, entry.vary) != entry.selector or not may_use_for_credentials(request, entry, options):
            continue
        fresh = None
        if _is_same(response, entry):
            fresh = freshened(request, entry, answer, options)
        changes.append((entry, fresh or spoiled(entry)))
    return changes


def _is_same(response: Response, entry: Entry) -> bool:
    tag, modified = response.value(b"etag", ETAG), response.value(b"last-modified", LAST_MODIFIED)
    length = response.value(b"content-length", CONTENT_LENGTH)
    return (
        (tag is None or tag == entry.etag)
        and (modified is None or modified == first(entry.fields, b"last-modified"))
        and (length is None or entry.length is None or length == b"%d" % entry.length)
    )
