"""A client's own preconditions and ranges against the entry that would answer it (RFC 9111 §4.3.2, RFC 9110 §13)."""

from dataclasses import dataclass

from springhouse.http import dates, etags, ranges
from springhouse.http.fields import IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE
from springhouse.http.headers import combined_value
from springhouse.http.messages import Request
from springhouse.rules.entry import Entry


@dataclass(frozen=True, slots=True)
class Whole:
    """Send all of it."""


@dataclass(frozen=True, slots=True)
class NotModified:
    """Send 304: the client has it."""


@dataclass(frozen=True, slots=True)
class Part:
    """Send 206 with the bytes from `start` up to, not including, `stop`, of `length`."""

    start: int
    stop: int
    length: int


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """Send 416: the representation has only `length` bytes."""

    length: int


Evaluation = Whole | NotModified | Part | Unsatisfiable
WHOLE = Whole()


def select(request: Request, entry: Entry, now: float) -> Evaluation:
    """Return what of a 200 to send: the client's conditions first, then its range (RFC 9110 §13.2.2).

    Conditions of a POST were for the origin, and it has answered them.
    """
    if entry.status != 200 or request.method not in (b"GET", b"HEAD"):
        return WHOLE
    if request.bits & IF_NONE_MATCH:
        if etags.is_listed(entry.etag, combined_value(request.fields, b"if-none-match") or b""):
            return NotModified()
    elif request.bits & IF_MODIFIED_SINCE and _is_unmodified_since(request, entry, now):
        return NotModified()
    if request.bits & RANGE and request.method == b"GET" and entry.length is not None:
        return _part(request, entry, entry.length, now)
    return WHOLE


def _is_unmodified_since(request: Request, entry: Entry, now: float) -> bool:
    since = dates.parse_date(request.value(b"if-modified-since", IF_MODIFIED_SINCE), now)
    if since is None:
        return False
    modified = dates.parse_date(entry.last_modified, now)
    return (entry.date if modified is None else modified) <= since


def _part(request: Request, entry: Entry, length: int, now: float) -> Evaluation:
    if request.bits & IF_RANGE and not _if_range_holds(request.value(b"if-range", IF_RANGE) or b"", entry, now):
        return WHOLE
    found = ranges.resolve(request.value(b"range", RANGE) or b"", length)
    if found is None:
        return WHOLE
    return Part(*found, length) if isinstance(found, tuple) else Unsatisfiable(length)


def _if_range_holds(validator: bytes, entry: Entry, now: float) -> bool:
    """Compare strongly (RFC 9110 §13.1.5): a tag, or a date that is a strong validator (§8.8.2.2)."""
    if validator.startswith((b'"', b"W/")):
        return entry.etag is not None and etags.match_strongly(entry.etag, validator)
    modified = dates.parse_date(entry.last_modified, now)
    return modified is not None and modified == dates.parse_date(validator, now) and entry.date - modified >= 60
