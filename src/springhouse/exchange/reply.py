"""What goes to the client: a status, fields, and where the content comes from; and the fields that are ours.

`X-Cache` says in one word what happened, `Cache-Status` (RFC 9211) the rest. Our own fields always stand last and in
one order (Via, Age, X-Cache, Cache-Status), so that a head kept ready for hits needs its two numbers filled in only.
"""

from dataclasses import dataclass
from enum import Enum

from msgspec import json

from springhouse.http import dates
from springhouse.http import fields as f
from springhouse.http.fields import Field, bit_of
from springhouse.http.headers import fields_of, lines_of
from springhouse.http.messages import REASON_PHRASES, Request, Response, may_have_content
from springhouse.http.structured import text
from springhouse.rules.answer import Answer
from springhouse.rules.entry import VIA_1_0, Entry
from springhouse.rules.freshness import age_value
from springhouse.rules.preconditions import NotModified, Part, Unsatisfiable, Whole, select
from springhouse.rules.reasons import Reason

NAME = b"springhouse"
VIA_FIELD: Field = (b"Via", b"1.1 " + NAME)
_VIA_LINE = lines_of([VIA_FIELD])
_VIA_1_0_LINE = lines_of([VIA_1_0])

HIT, STALE, REVALIDATED, MISS, BYPASS = b"HIT", b"STALE", b"REVALIDATED", b"MISS", b"BYPASS"

_KEPT_IN_304 = frozenset({
    b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary", b"last-modified",
    b"cdn-cache-control", b"cache-status", b"link", b"access-control-allow-origin",
    b"access-control-allow-credentials", b"access-control-expose-headers", b"strict-transport-security",
})  # fmt: skip

_OF_WHOLE_CONTENT = frozenset({b"content-digest", b"content-md5"})


class Source(Enum):
    """Where content comes from when it is not at hand."""

    NOTHING = "nothing"
    ORIGIN = "origin"
    """The answer that is arriving for this very request."""


@dataclass(slots=True)
class Reply:
    """A head and its content.

    `content`: the bytes, an Entry (its content, from `start` up to `stop`), or a Source. `length`: bytes of content
    if known. `head` are the message's own fields, without framing, in a list or as lines (`headers.lines_of`);
    `proxy_lines` follow them. `x_cache` and `reason` also go to the log.
    """

    status: int
    phrase: bytes
    head: list[Field] | bytes
    proxy_lines: bytes
    content: bytes | Entry | Source
    length: int | None
    x_cache: bytes
    reason: Reason | None
    start: int = 0
    stop: int | None = None
    must_close: bool = False

    @property
    def fields(self) -> list[Field]:
        """The message's own fields, in a list that may be changed."""
        if isinstance(self.head, bytes):
            self.head = fields_of(self.head)
        return self.head

    @property
    def all_fields(self) -> list[Field]:
        """The message's own fields, then those of this proxy."""
        return self.fields + fields_of(self.proxy_lines)


@dataclass(slots=True)
class ProxyFields:
    """What we say of an answer: X-Cache, Cache-Status, the reason for the log.

    `fetched`: the status the origin sent, where Cache-Status leaves it to be taken from the answer (RFC 9211 §2.3);
    said after all when the client's own conditions make that another.
    `is_from_cache`: the origin did not make or confirm it for this request, so Age goes along (RFC 9111 §5.1).
    `as_received`: the fields the origin has just sent, for the very client they were sent to; `besides`: those that it
    gets beside the entry's; `in_304`: lower-case names of what a 304 to it has beside what any 304 has.
    """

    x_cache: bytes
    cache_status: bytes
    reason: Reason
    fetched: int = 0
    is_from_cache: bool = True
    as_received: list[Field] | bytes | None = None
    besides: list[Field] | None = None
    in_304: frozenset[bytes] = frozenset()


def proxy_lines(x_cache: bytes, cache_status: bytes = b"", *, age: int | None = None, via: bytes = _VIA_LINE) -> bytes:
    """Return the fields that this proxy adds to an answer, as lines; those without a value are left out."""
    lines = via if age is None else b"%bAge: %d\r\n" % (via, age)
    if not cache_status:
        return b"%bX-Cache: %b\r\n" % (lines, x_cache)
    return b"%bX-Cache: %b\r\nCache-Status: %b\r\n" % (lines, x_cache, cache_status)


def status_of_hit(ttl: int, detail: Reason | None = None) -> bytes:
    """Return the Cache-Status of an answer from the cache."""
    return b"%b; hit; ttl=%d%b" % (NAME, ttl, b"; detail=" + detail.name.encode() if detail else b"")


def from_entry(request: Request, entry: Entry, now: float, proxy_fields: ProxyFields) -> Reply:
    """Answer from an entry: all of it, a part, or 304, as the client's own preconditions say."""
    head = proxy_fields.as_received if proxy_fields.as_received is not None else entry.lines
    if proxy_fields.besides:
        head = entry.fields + proxy_fields.besides
    reply = Reply(entry.status, entry.reason, head, b"", entry, entry.length, proxy_fields.x_cache, proxy_fields.reason)
    match select(request, entry, now):
        case Whole():
            pass
        case NotModified():
            reply.status, reply.phrase = 304, REASON_PHRASES[304]
            reply.head = kept_in_304(reply.fields, proxy_fields.in_304)
            reply.content, reply.length = Source.NOTHING, None
        case Part(start, stop, length):
            reply.status, reply.phrase = 206, REASON_PHRASES[206]
            reply.head = [*kept_in_206(reply.fields), (b"Content-Range", b"bytes %d-%d/%d" % (start, stop - 1, length))]
            reply.start, reply.stop, reply.length = start, stop, stop - start
        case Unsatisfiable(length):
            reply.status, reply.phrase = 416, REASON_PHRASES[416]
            reply.head = [(b"Content-Range", b"bytes */%d" % length), date_field(now)]
            reply.content, reply.length = b"", 0
    cache_status, age = proxy_fields.cache_status, entry.age_at(now)
    if proxy_fields.fetched and reply.status != proxy_fields.fetched:
        cache_status = b"%b; fwd-status=%d" % (cache_status, proxy_fields.fetched)
    has_age = proxy_fields.is_from_cache or (age and proxy_fields.as_received is None)
    via = via_of(entry, reply.status)
    reply.proxy_lines = proxy_lines(proxy_fields.x_cache, cache_status, age=age if has_age else None, via=via)
    if request.method == b"HEAD":
        reply.content = Source.NOTHING
    elif not may_have_content(request.method, reply.status):
        reply.content, reply.length = Source.NOTHING, None
    return reply


def via_of(entry: Entry, status: int) -> bytes:
    """Return the line of our Via, empty where it is among the entry's own fields and these are sent."""
    if not entry.has_our_via:
        return _VIA_LINE
    return _VIA_1_0_LINE if status in (304, 416) else b""


def without_via(lines: bytes) -> bytes:
    """Return `proxy_lines` without Via, for a head that has it already."""
    return lines.removeprefix(_VIA_LINE)


def kept_in_304(fields: list[Field], also: frozenset[bytes] = frozenset()) -> list[Field]:
    """Return the fields of a 200 that its 304 has, too (RFC 9110 §15.4.5), those named in `also` included."""
    kept = _KEPT_IN_304 | also if also else _KEPT_IN_304
    return [field for field in fields if field[0].lower() in kept]


def kept_in_206(fields: list[Field]) -> list[Field]:
    """Return the fields of a 200 that a part of it has, too: not the digests of its whole content (RFC 9530 §2).

    Repr-Digest stays: it is of the representation, of which this is a part.
    """
    return [field for field in fields if field[0].lower() not in _OF_WHOLE_CONTENT]


def lines_in_206(lines: bytes) -> bytes:
    """Do what `kept_in_206` does with fields that are lines; return the same object when it leaves out nothing."""
    fields = fields_of(lines)
    kept = kept_in_206(fields)
    return lines if len(kept) == len(fields) else lines_of(kept)


def as_fetched(response: Response, withheld: int, received_at: float, entry: Entry) -> list[Field] | bytes:
    """Return the fields to pass on, as `as_received`: the entry's, where it lacks none of them."""
    if not response.bits & (f.AGE | f.SET_COOKIE) and not entry.is_redacted:
        return entry.lines
    return as_received(response, withheld, received_at)


def as_received(response: Response, withheld: int, received_at: float) -> list[Field]:
    """Return the fields to pass on: end-to-end, without framing and those whose bits are `withheld`, with a Date.

    Of Age only one number goes on, and nothing of one that is invalid (RFC 9111 §5.1).
    """
    fields = response.end_to_end(withheld)
    if response.bits & f.AGE:
        fields = _with_one_age(fields, age_value(response))
    if not response.bits & f.DATE:
        fields.append(date_field(received_at))
    if response.is_http_1_0:
        fields.append(VIA_1_0)
    return fields


def _with_one_age(fields: list[Field], age: int | None) -> list[Field]:
    """Return the fields with the first Age made this, None for none, and without the others."""
    with_one: list[Field] = []
    for field in fields:
        if bit_of(field[0]) != f.AGE:
            with_one.append(field)
        elif age is not None:
            with_one.append((field[0], b"%d" % age))
            age = None
    return with_one


def date_field(at: float) -> Field:
    return b"Date", dates.encode(int(at))


def from_origin(
    request: Request, answer: Answer, lines: bytes, reason: Reason | None, *, x_cache: bytes = MISS, withheld: int = 0
) -> Reply:
    """Pass an answer on as it arrives. `lines`: the `proxy_lines`; `withheld`: bits of fields to leave out."""
    response = answer.response
    passed = as_received(response, withheld, answer.received_at)
    has_content = may_have_content(request.method, response.status)
    if response.status == 101:
        has_content = True  # the bytes of the new protocol
        passed += [(b"Connection", b"Upgrade"), *(field for field in response.fields if field[0].lower() == b"upgrade")]
    return Reply(
        response.status,
        response.reason,
        passed,
        without_via(lines) if response.is_http_1_0 else lines,
        Source.ORIGIN if has_content else Source.NOTHING,
        answer.length if has_content or request.method == b"HEAD" else None,
        x_cache,
        reason,
    )


def problem(
    status: int, detail: str, *, at: float, error: str = "", x_cache: bytes = MISS, reason: Reason | None = None
) -> Reply:
    """Return an error of ours: problem details (RFC 9457) with Proxy-Status (RFC 9209)."""
    title = REASON_PHRASES.get(status, b"Error")
    body = json.encode({"type": "about:blank", "title": title.decode(), "status": status, "detail": detail}) + b"\n"
    proxy_status = NAME + (b"; error=" + error.encode() if error else b"") + b"; details=" + text(detail)
    fields = [
        (b"Content-Type", b"application/problem+json"),
        (b"Cache-Control", b"no-store"),
        (b"Proxy-Status", proxy_status),
        date_field(at),
    ]
    return Reply(status, title, fields, proxy_lines(x_cache), body, len(body), x_cache, reason)
