"""Asking the origin whether a stored response holds, and what its answer means (RFC 9111 §4.3)."""

from collections.abc import Sequence

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
    Field,
)
from springhouse.http.headers import first
from springhouse.http.messages import Request, Response
from springhouse.rules import reasons
from springhouse.rules.decisions import Discard, Freshen, Keep, Outcome, ServeStale
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.rules.reuse import directives_of
from springhouse.rules.storing import keep
from springhouse.rules.variants import selector

CONDITIONS = IF_NONE_MATCH | IF_MODIFIED_SINCE
ERRORS = frozenset({500, 502, 503, 504})
"""The answers that stale-if-error may hide (RFC 5861 §4)."""

_NEVER_UPDATED = frozenset({
    b"content-length", b"content-encoding", b"content-md5", b"content-range", b"transfer-encoding", b"etag", b"age",
})  # fmt: skip
_PECULIAR = frozenset({reasons.REQUEST_NO_STORE, reasons.AUTHORIZATION, reasons.UNSOLICITED, reasons.PARTIAL})
"""Reasons that lie in the one request, so that they say nothing about the next."""


def conditions(entry: Entry) -> list[Field]:
    """Return the preconditions that ask about the entry (§4.3.1); none where it has no validator."""
    fields: list[Field] = []
    if entry.etag is not None:
        fields.append((b"If-None-Match", entry.etag))
    if entry.last_modified is not None:
        fields.append((b"If-Modified-Since", entry.last_modified))
    return fields


def absorb(
    request: Request,
    key: bytes,
    asked_about: Entry | None,
    response: Response,
    *,
    requested_at: float,
    received_at: float,
    options: Options,
) -> Outcome:
    """Say what becomes of the origin's answer to a GET (§4.3.3).

    `asked_about` is the entry whose validators went along, None when the request went without any of ours.
    """
    if asked_about is not None:
        if response.status == 304:
            fresh = freshened(
                asked_about, response, request, requested_at=requested_at, received_at=received_at, options=options
            )
            if fresh is not None:
                return Freshen(asked_about, fresh, reasons.VALIDATED)
        elif response.status in ERRORS and may_serve_on_error(request, asked_about, received_at):
            return ServeStale(asked_about, reasons.STALE_IF_ERROR)
    kept = keep(request, key, response, requested_at=requested_at, received_at=received_at, options=options)
    if isinstance(kept, Entry):
        return Keep(kept, reasons.STORED)
    return Discard(response, kept, lasting=kept not in _PECULIAR and response.status < 500)


def may_serve_on_error(request: Request, entry: Entry, now: float) -> bool:
    """Say whether the entry may stand in for an error (RFC 5861 §4); the request may ask for it, too."""
    if entry.no_cache or entry.invalidated or not entry.max_stale_allowed:
        return False
    allowed = seconds(directives_of(request), b"stale-if-error")
    return now < max(entry.stale_if_error_until, entry.fresh_until + (allowed or 0))


def freshened(
    entry: Entry,
    response: Response,
    request: Request,
    *,
    requested_at: float,
    received_at: float,
    options: Options,
) -> Entry | None:
    """Return the entry as updated by a 304 (§4.3.4, §3.2), None when the 304 is about something else."""
    if not is_about(response, entry):
        return None
    updated = _updated(entry, response)
    as_response = Response(entry.status, updated, reason=entry.reason)
    # The 304 answers for the request that was stored: what it may be reused for does not change with who asked.
    stored_request = _as_stored(request, entry)
    fresh = keep(
        stored_request,
        entry.key,
        as_response,
        requested_at=requested_at,
        received_at=received_at,
        options=options,
    )
    if not isinstance(fresh, Entry):
        fresh = _expired(entry, as_response)
    fresh.vary, fresh.selector = entry.vary, entry.selector
    fresh.content, fresh.length = entry.content, entry.length
    fresh.authorized = entry.authorized
    return fresh


def is_about(response: Response, entry: Entry) -> bool:
    """Say whether a 304's validators identify the entry (§4.3.4). With none of them it is what we asked about."""
    tag = response.value(b"etag", ETAG)
    if tag is not None:
        if etags.is_strong(tag):
            return entry.etag == tag or entry.etag is None
        return entry.etag is not None and etags.match_weakly(entry.etag, tag)
    modified = response.value(b"last-modified", LAST_MODIFIED)
    return modified is None or entry.etag is not None or modified == entry.last_modified


def _updated(entry: Entry, response: Response) -> list[Field]:
    """Return the stored fields, each replaced by the response's of the same name (§3.2)."""
    replaced = {name.lower() for name, _ in response.fields} - _NEVER_UPDATED
    # A 304 without Date was made when it was received (RFC 9110 §6.6.1).
    replaced.add(b"date")
    age = [f for f in response.fields if f[0].lower() == b"age"]
    new = [f for f in response.fields if f[0].lower() in replaced]
    return [f for f in entry.fields if f[0].lower() not in replaced] + new + age


def _as_stored(request: Request, entry: Entry) -> Request:
    fields = [f for f in request.fields if f[0].lower() not in (b"authorization", b"cache-control")]
    bits = request.bits | (AUTHORIZATION if entry.authorized else 0)
    return Request(b"GET", request.target, fields, bits=bits & ~_CLIENT_ONLY, authority=request.authority)


_CLIENT_ONLY = RANGE | IF_RANGE | CONDITIONS


def _expired(entry: Entry, response: Response) -> Entry:
    """Return the entry for one last use: validated now, but what the 304 said forbids keeping it fresh."""
    last = Entry(entry.key, entry.status, entry.reason, entry.fields)
    for name in ("requested_at", "received_at", "born_at", "date", "etag", "last_modified"):
        setattr(last, name, getattr(entry, name))
    last.fields = [f for f in response.fields if f[0].lower() != b"age"]
    last.invalidated = True
    last.max_stale_allowed = False
    return last


def after_head(
    request: Request,
    entries: Sequence[Entry],
    response: Response,
    *,
    requested_at: float,
    received_at: float,
    options: Options,
) -> list[tuple[Entry, Entry]]:
    """Return (old, new) for the entries that a 200 to HEAD updates or makes stale (§4.3.5)."""
    changes = []
    for entry in entries:
        if response.status != 200 or selector(request, entry.vary) != entry.selector:
            continue
        fresh = None
        if _is_same(response, entry):
            fresh = freshened(
                entry, response, request, requested_at=requested_at, received_at=received_at, options=options
            )
        if fresh is None:
            fresh = _expired(entry, Response(entry.status, entry.fields))
            fresh.content, fresh.length = entry.content, entry.length
            fresh.vary, fresh.selector, fresh.authorized = entry.vary, entry.selector, entry.authorized
        changes.append((entry, fresh))
    return changes


def _is_same(response: Response, entry: Entry) -> bool:
    tag, modified = response.value(b"etag", ETAG), response.value(b"last-modified", LAST_MODIFIED)
    length = response.value(b"content-length", CONTENT_LENGTH)
    return (
        (tag is None or tag == entry.etag)
        and (modified is None or modified == first(entry.fields, b"last-modified"))
        and (length is None or entry.length is None or length == b"%d" % entry.length)
    )
