"""What may be stored: every clause of RFC 9111 §3, and what our options change about it."""

from __future__ import annotations

import pytest
from tests.support.heads import BARE, KEY, NOW, date, get, ok, table

from springhouse.http.fields import CONTENT_LENGTH
from springhouse.http.messages import Request, Response
from springhouse.rules import reasons as r
from springhouse.rules.answer import Answer
from springhouse.rules.decisions import Discard, Keep
from springhouse.rules.options import Options
from springhouse.rules.reasons import Reason
from springhouse.rules.validation import absorb

FRESH = "Cache-Control: max-age=60"
AUTH = "Authorization: Basic YTpi"
COOKIE = "Cookie: sid=1"
SETS = "Set-Cookie: sid=1"
TTL = Options(ttl=60)
FORCED = Options(ttl=60, force_ttl=True)
FORCED_NO_STORE = Options(ttl=60, force_ttl=True, ttl_despite_no_store=True)
GIVEN_TO_ALL = Options(ttl=60, ttl_despite_credentials=True)
REFUSING = Options(set_cookie="refuse")
TAG = 'ETag: "1"'

Row = tuple[str, Request, Response, Options, Reason, str]

STANDARD: list[Row] = [
    ("explicit lifetime", get(), ok(FRESH), BARE, r.STORED, "§3"),
    ("Expires", get(), ok(f"Expires: {date(60)}"), BARE, r.STORED, "§3"),
    ("s-maxage", get(), ok("Cache-Control: s-maxage=60"), BARE, r.STORED, "§3"),
    ("heuristics", get(), ok(f"Last-Modified: {date(-1000)}"), BARE, r.STORED, "§3"),
    ("public, a status that is not heuristically cacheable", get(), ok("Cache-Control: public", TAG, status=403), BARE,
        r.STORED, "§3"),
    ("a status that is not heuristically cacheable", get(), ok(TAG, status=403), BARE, r.NO_FRESHNESS, "§3"),
    ("such a status with a lifetime", get(), ok(FRESH, status=500), BARE, r.STORED, "§3"),
    ("an unknown status with a lifetime", get(), ok(FRESH, status=299), BARE, r.STORED, "§3"),
    ("heuristically cacheable, no freshness, a tag to validate with", get(), ok(TAG, status=404), BARE, r.STORED, "§3"),
    ("nothing to reuse it by", get(), ok(), BARE, r.NO_FRESHNESS, "§3"),
    ("nothing to reuse it by, with Cookie", get(COOKIE), ok(), BARE, r.NO_FRESHNESS, "§3"),
    ("stale from the start, no validator", get(), ok("Cache-Control: max-age=0"), BARE, r.NOT_REUSABLE, "§3"),
    ("stale from the start, but it may stand in", get(), ok("Cache-Control: max-age=0, stale-if-error=9"), BARE,
        r.STORED, "RFC 5861 §4"),
    ("final", get(), ok(FRESH, status=103), BARE, r.NOT_UNDERSTOOD, "§3"),
    ("no status at all", get(), ok(FRESH, status=600), BARE, r.NOT_UNDERSTOOD, "RFC 9110 §15"),
    ("no status at all, and public", get(), ok("Cache-Control: public, max-age=9", status=999), BARE, r.NOT_UNDERSTOOD,
        "RFC 9110 §15"),
    ("the last status there is", get(), ok(FRESH, status=599), BARE, r.STORED, "§3"),
    ("206", get(), ok(FRESH, status=206), BARE, r.PARTIAL, "§3, §3.3"),
    ("206 that nobody asked for", get("Range: bytes=0-1"), ok(FRESH, status=206), BARE, r.PARTIAL, "§3, §3.3"),
    ("304 nobody of ours asked for", get("If-None-Match: x"), ok(FRESH, status=304), BARE, r.UNSOLICITED, "§3"),
    ("no-store", get(), ok("Cache-Control: no-store, max-age=60"), BARE, r.NO_STORE, "§5.2.2.5"),
    ("No-Store in another spelling, twice", get(), ok("cache-CONTROL: a, NO-store"), BARE, r.NO_STORE, "§5.2"),
    ("no-store in a quoted string", get(), ok('Cache-Control: x="no-store", max-age=60'), BARE, r.STORED, "§5.2"),
    ("no-store on a second line", get(), ok(FRESH, "Cache-Control: no-store"), BARE, r.NO_STORE, "9110 §5.3"),
    ("no-store in the request", get("Cache-Control: no-store"), ok(FRESH), BARE, r.REQUEST_NO_STORE, "§5.2.1.5"),
    ("must-understand, understood", get(), ok("Cache-Control: must-understand, no-store, max-age=60"), BARE, r.STORED,
        "§5.2.2.3"),
    ("must-understand, not understood", get(), ok("Cache-Control: must-understand, max-age=60", status=299), BARE,
        r.NOT_UNDERSTOOD, "§5.2.2.3"),
    ("must-understand does not lift private", get(), ok("Cache-Control: must-understand, private, max-age=60"), BARE,
        r.PRIVATE, "§5.2.2.3"),
    ("private", get(), ok("Cache-Control: private, max-age=60"), BARE, r.PRIVATE, "§5.2.2.7"),
    ("private and s-maxage", get(), ok("Cache-Control: private, s-maxage=60"), BARE, r.PRIVATE, "§4.2.1"),
    ("private for some fields", get(), ok('Cache-Control: private="Set-Cookie", max-age=60'), BARE, r.STORED,
        "§5.2.2.7"),
    ("private with no names in it", get(), ok('Cache-Control: private="", max-age=60'), BARE, r.PRIVATE, "§5.2.2.7"),
    ("private for some fields, and for all", get(), ok('Cache-Control: private="a", private, max-age=9'), BARE,
        r.PRIVATE, "§4.2.1"),
    ("no-cache may be stored", get(), ok("Cache-Control: no-cache", TAG), BARE, r.STORED, "§5.2.2.4"),
    ("no-cache, to be validated by a date", get(), ok("Cache-Control: no-cache", f"Last-Modified: {date(-9)}"), BARE,
        r.STORED, "§5.2.2.4"),
    ("no-cache without a validator", get(), ok("Cache-Control: no-cache, max-age=60"), BARE, r.NOT_REUSABLE,
        "§5.2.2.4"),
    ("no-cache for some fields", get(), ok('Cache-Control: no-cache="x", max-age=60'), BARE, r.STORED, "§5.2.2.4"),
    ("an unknown directive", get(), ok("Cache-Control: max-age=60, community=uci"), BARE, r.STORED, "§5.2.3"),
    ("Pragma in a response", get(), ok("Pragma: no-cache", FRESH), BARE, r.STORED, "§5.4"),
    ("Vary: *", get(), ok(FRESH, "Vary: Accept, *"), BARE, r.VARY_STAR, "§4.1"),
]  # fmt: skip

AUTHORIZED: list[Row] = [
    ("no directive", get(AUTH), ok(FRESH), BARE, r.AUTHORIZED, "§3.5"),
    ("nothing at all", get(AUTH), ok(TAG), BARE, r.AUTHORIZED, "§3.5"),
    ("public", get(AUTH), ok("Cache-Control: public, max-age=60"), BARE, r.STORED, "§3.5"),
    ("s-maxage", get(AUTH), ok("Cache-Control: s-maxage=60"), BARE, r.STORED, "§3.5"),
    ("must-revalidate", get(AUTH), ok("Cache-Control: must-revalidate, max-age=60"), BARE, r.STORED, "§3.5"),
    ("proxy-revalidate is none of the three", get(AUTH), ok("Cache-Control: proxy-revalidate, max-age=60"), BARE,
        r.AUTHORIZED, "§3.5"),
    ("private beats public", get(AUTH), ok("Cache-Control: public, private, max-age=60"), BARE, r.PRIVATE, "§4.2.1"),
    ("another spelling", get("aUTHORIZATION: x"), ok(FRESH), BARE, r.AUTHORIZED, "9110 §5.1"),
    ("a TTL of ours", get(AUTH), ok(), TTL, r.AUTHORIZED, "§3.5"),
    ("a TTL of ours, forced", get(AUTH), ok(), FORCED, r.AUTHORIZED, "§3.5"),
    ("a TTL of ours for credentials, too", get(AUTH), ok(), GIVEN_TO_ALL, r.STORED, "configured"),
    ("that does not reach what the origin timed itself", get(AUTH), ok(FRESH), GIVEN_TO_ALL, r.AUTHORIZED, "§3.5"),
    ("Proxy-Authorization is not Authorization", get("Proxy-Authorization: x"), ok(FRESH), BARE, r.STORED, "§3.5"),
]  # fmt: skip

SET_COOKIE: list[Row] = [
    ("bare standard", get(), ok(FRESH, SETS), BARE, r.STORED, "§7.3"),
    ("refused", get(), ok(FRESH, SETS), REFUSING, r.SETS_COOKIE, "configured"),
    ("refused in any spelling", get(), ok(FRESH, "sET-cOOKIE: a=1"), REFUSING, r.SETS_COOKIE, "configured"),
    ("stripped", get(), ok(FRESH, SETS), Options(set_cookie="strip"), r.STORED, "configured"),
    ("the rest may be stored", get(), ok('Cache-Control: no-cache="set-cookie", max-age=60', SETS), REFUSING, r.STORED,
        "§5.2.2.4"),
    ("in any spelling", get(), ok('Cache-Control: max-age=60, No-Cache="a, Set-Cookie"', SETS), REFUSING, r.STORED,
        "§5.2.2.4"),
    ("no-cache names another field", get(), ok('Cache-Control: no-cache="x", max-age=60', SETS), REFUSING,
        r.SETS_COOKIE, "§5.2.2.4"),
    ("refused though private names it", get(), ok('Cache-Control: private="Set-Cookie", max-age=60', SETS), REFUSING,
        r.SETS_COOKIE, "configured"),
]  # fmt: skip

GIVEN: list[Row] = [
    ("a TTL of ours", get(), ok(), TTL, r.STORED, "configured"),
    ("not for a request with Cookie", get(COOKIE), ok(TAG), TTL, r.CREDENTIALS, "configured"),
    ("nor is an error stored for one", get(COOKIE), ok(TAG, status=404), TTL, r.STATUS_WITHOUT_TTL, "configured"),
    ("not for a response with Set-Cookie", get(), ok(SETS), TTL, r.SETS_COOKIE, "configured"),
    ("not for private", get(), ok("Cache-Control: private"), TTL, r.PRIVATE, "configured"),
    ("not for no-store", get(), ok("Cache-Control: no-store"), TTL, r.NO_STORE, "configured"),
    ("not for an error", get(), ok(status=404), TTL, r.STATUS_WITHOUT_TTL, "configured"),
    ("not for an error, public", get(), ok("Cache-Control: public", status=403), TTL, r.STATUS_WITHOUT_TTL,
        "configured"),
    ("not for what is to be validated, without a validator", get(), ok("Cache-Control: no-cache"), TTL,
        r.NOT_REUSABLE, "configured"),
    ("not beside Pragma: no-cache", get(), ok("Pragma: no-cache"), TTL, r.MALFORMED, "§5.4"),
    ("not beside Pragma in another spelling", get(), ok("pragma: a, No-Store;"), TTL, r.MALFORMED, "§5.4"),
    ("beside another Pragma", get(), ok("Pragma: public"), TTL, r.STORED, "§5.4"),
    ("forced beside Pragma: no-cache", get(), ok("Pragma: no-cache"), FORCED, r.STORED, "configured"),
    ("that it may stand in is no reason to store it", get(), ok(), Options(stale_if_error=60), r.NO_FRESHNESS,
        "configured"),
    ("beside an empty Cache-Control", get(), ok("Cache-Control:", "Cache-Control: ,"), TTL, r.STORED, "§5.2"),
    ("for a request with Cookie, if told so", get(COOKIE), ok(), GIVEN_TO_ALL, r.STORED, "configured"),
    ("forced, not for no-store", get(), ok("Cache-Control: no-store"), FORCED, r.NO_STORE, "configured"),
    ("forced, not for private", get(), ok("Cache-Control: private"), FORCED, r.PRIVATE, "configured"),
    ("forced, no-store, if told so", get(), ok("Cache-Control: no-store"), FORCED_NO_STORE, r.STORED, "configured"),
    ("forced, private, if told so", get(), ok("Cache-Control: private"), FORCED_NO_STORE, r.STORED, "configured"),
    ("forced, no-store, for 200 only", get(), ok("Cache-Control: no-store", status=301), FORCED_NO_STORE, r.NO_STORE,
        "configured"),
    ("forced, no-store, but with Cookie", get(COOKIE), ok("Cache-Control: no-store"), FORCED_NO_STORE, r.NO_STORE,
        "configured"),
    ("told to ignore no-store, but not forced", get(), ok("Cache-Control: no-store"),
        Options(ttl=60, ttl_despite_no_store=True), r.NO_STORE, "configured"),
    ("forced, yet the client said no-store", get("Cache-Control: no-store"), ok(), FORCED_NO_STORE,
        r.REQUEST_NO_STORE, "§5.2.1.5"),
]  # fmt: skip

TARGETED: list[Row] = [
    ("CDN-Cache-Control wins", get(), ok("CDN-Cache-Control: max-age=60", "Cache-Control: no-store"), BARE, r.STORED,
        "RFC 9213 §2.2"),
    ("and forbids", get(), ok("CDN-Cache-Control: no-store", FRESH), BARE, r.NO_STORE, "RFC 9213 §2.2"),
    ("private", get(), ok("CDN-Cache-Control: private, max-age=60"), BARE, r.PRIVATE, "RFC 9213 §2.2"),
    ("invalid: ignored", get(), ok("CDN-Cache-Control: max-age=60,", "Cache-Control: no-store"), BARE, r.NO_STORE,
        "RFC 9213 §2.1"),
    ("upper case is invalid: ignored", get(), ok("CDN-Cache-Control: No-Store", FRESH), BARE, r.STORED,
        "RFC 9213 §2.1"),
    ("empty: ignored", get(), ok("CDN-Cache-Control:", "Cache-Control: no-store"), BARE, r.NO_STORE, "RFC 9213 §2.1"),
    ("Expires is ignored beside it", get(), ok("CDN-Cache-Control: must-revalidate", f"Expires: {date(60)}"), BARE,
        r.NO_FRESHNESS, "RFC 9213 §2.2"),
    ("an age that is no Integer: ignored", get(), ok('CDN-Cache-Control: max-age="60"', "Cache-Control: no-store"),
        BARE, r.NO_STORE, "RFC 9213 §2.1"),
    ("a Decimal: ignored", get(), ok("CDN-Cache-Control: max-age=60.0", "Cache-Control: no-store"), BARE, r.NO_STORE,
        "RFC 9213 §2.1"),
    ("an Inner List: ignored", get(), ok("CDN-Cache-Control: max-age=(60)", "Cache-Control: no-store"), BARE,
        r.NO_STORE, "RFC 9213 §2.1"),
    ("a Boolean: ignored", get(), ok("CDN-Cache-Control: s-maxage, max-age=60", "Cache-Control: no-store"), BARE,
        r.NO_STORE, "RFC 9213 §2.1"),
    ("invalid, and nothing else: no TTL of ours", get(), ok("CDN-Cache-Control: no-store;;"), TTL, r.MALFORMED,
        "RFC 9213 §2.1"),
    ("Surrogate-Control that is none: no TTL of ours", get(), ok('Surrogate-Control: "no-store"'), TTL, r.MALFORMED,
        "Edge Architecture §2.2"),
    ("parameters are ignored", get(), ok("CDN-Cache-Control: max-age=60;x=1"), BARE, r.STORED, "RFC 9213 §2.1"),
    ("Surrogate-Control", get(), ok("Surrogate-Control: max-age=60", "Cache-Control: no-store"), BARE, r.STORED,
        "Edge Architecture §2.2"),
    ("Surrogate-Control forbids", get(), ok("Surrogate-Control: no-store", FRESH), BARE, r.NO_STORE,
        "Edge Architecture §2.2"),
    ("CDN-Cache-Control comes first", get(), ok("Surrogate-Control: no-store", "CDN-Cache-Control: max-age=60"), BARE,
        r.STORED, "configured order"),
    ("for another surrogate", get(), ok("Surrogate-Control: no-store;other", FRESH), BARE, r.STORED,
        "Edge Architecture §2.2"),
    ("for this surrogate", get(), ok("Surrogate-Control: no-store; SpringHouse", FRESH), BARE, r.NO_STORE,
        "Edge Architecture §2.2"),
    ("with a part we do not use", get(), ok("Surrogate-Control: max-age=60+30"), BARE, r.STORED,
        "Edge Architecture §2.2"),
    ("no sharing in the targeted field", get(AUTH), ok("CDN-Cache-Control: max-age=60", "Cache-Control: public"), BARE,
        r.AUTHORIZED, "RFC 9213 §2.2"),
]  # fmt: skip

SIZE: list[Row] = [
    ("small enough", get(), ok(FRESH, "Content-Length: 10"), Options(max_object=10), r.STORED, "configured"),
    ("too large", get(), ok(FRESH, "Content-Length: 11"), Options(max_object=10), r.TOO_LARGE, "configured"),
    ("a length unknown is seen to later", get(), ok(FRESH), Options(max_object=10), r.STORED, "configured"),
]

STREAMS: list[Row] = [
    ("events", get(), ok("Content-Type: text/event-stream"), TTL, r.STREAM, "configured"),
    ("events that are said to be fresh", get(), ok(FRESH, "Content-Type: text/event-stream"), BARE, r.STREAM,
        "configured"),
    ("with a parameter, in another case", get(), ok("content-TYPE: Text/Event-Stream;charset=utf-8"), TTL, r.STREAM,
        "9110 §8.3.1"),
    ("white space before the parameter", get(), ok("Content-Type: text/event-stream \t; charset=utf-8"), TTL, r.STREAM,
        "9110 §5.6.6"),
    ("parts that replace one another", get(), ok('Content-Type: multipart/x-mixed-replace; boundary="a,b"'), FORCED,
        r.STREAM, "configured"),
    ("whatever may be forced", get(), ok("Content-Type: text/event-stream", TAG), FORCED_NO_STORE, r.STREAM,
        "configured"),
    ("two lines, the second", get(), ok("Content-Type: text/html", "Content-Type: text/event-stream"), TTL, r.STREAM,
        "9110 §5.3"),
    ("two lines, the first", get(), ok("Content-Type: text/event-stream", "Content-Type: text/html"), TTL, r.STREAM,
        "9110 §5.3"),
    ("one line with two", get(), ok("Content-Type: text/html, text/event-stream"), TTL, r.STREAM, "9110 §5.3"),
    ("a length does not make it another type", get(), ok(FRESH, "Content-Type: text/event-stream", "Content-Length: 9"),
        TTL, r.STREAM, "configured"),
    ("a type that begins alike", get(), ok(FRESH, "Content-Type: text/event-stream2"), BARE, r.STORED, "9110 §8.3.1"),
    ("the name in a parameter", get(), ok(FRESH, 'Content-Type: text/plain; x="a, text/event-stream"'), BARE, r.STORED,
        "9110 §8.3.1"),
    ("other parts", get(), ok(FRESH, "Content-Type: multipart/mixed; boundary=x"), BARE, r.STORED, "configured"),
]  # fmt: skip

ONE_REQUEST: list[Row] = [
    (f"{status} is about one request", get(*asked), ok("Cache-Control: public, max-age=60", TAG, status=status), BARE,
        r.ONE_REQUEST, "RFC 9110 §15")
    for status, *asked in (
        (226, "A-IM: feed"), (401, AUTH), (406, "Accept: a/b"), (407,), (408,), (411,), (412, 'If-None-Match: "1"'),
        (413,), (415, "Content-Type: a/b"), (416, "Range: bytes=9-"), (416,), (417, "Expect: x"), (421,), (425,),
        (426, "Upgrade: x"), (428,), (429,), (431,), (505,), (510,), (511,),
    )
]  # fmt: skip

MALFORMED: list[Row] = [
    (f"{value!r} is not wholly understood", get(), ok(*(f"Cache-Control: {line}" for line in value.split("\n"))),
        options, r.MALFORMED, "§5.2")
    for value in (
        "private;max-age=0", "no-store;", ";no-store", '"no-store"', '"no-store', "private max-age=0", "no-cache;",
        "'private'", "No-Store.", "public;no-store", "max-age=60 private", "max-age=60, x=\"no-store",
        "must-understand, no-store;", "private=", "=no-cache", "max-age=60\nno-store;", 'x="\nno-store', "no-store\xe9",
        "{no-store}", "no-store:1", "max-age=60; no-cache",
    )
    for options in (BARE, TTL, FORCED)
] + [
    (f"{value!r} gives nothing, but nothing forbids storing", get(), ok(f"Cache-Control: {value}"), TTL, r.MALFORMED,
        "§5.2")
    for value in ("public;", "max age=60", "x y", "max-age 60", "=", "\xe9", 'x="', "nostore;", "x-no-store-x;", ";",
        "immutable; public")
] + [
    ("forced, and told to ignore no-store", get(), ok("Cache-Control: no-store;"), FORCED_NO_STORE, r.STORED,
        "configured"),
    ("what else is understood counts", get(), ok("Cache-Control: max-age=60, x y"), TTL, r.STORED, "§4.2.1"),
    ("and so does Expires", get(), ok("Cache-Control: x y", f"Expires: {date(60)}"), TTL, r.STORED, "§4.2.1"),
    ("it may be validated", get(), ok("Cache-Control: x y", TAG), TTL, r.STORED, "§4.3"),
    ("a client's no-store", get("Cache-Control: no-store;"), ok(FRESH), BARE, r.REQUEST_NO_STORE, "§5.2.1.5"),
    ("a client's no-store in quotes", get('Cache-Control: max-age=0, "no-store"'), ok(FRESH), BARE,
        r.REQUEST_NO_STORE, "§5.2.1.5"),
]  # fmt: skip

ROWS = STANDARD + AUTHORIZED + SET_COOKIE + GIVEN + TARGETED + SIZE + ONE_REQUEST + MALFORMED + STREAMS


@table("about request_ response options reason anchor", ROWS)
def test_store(
    about: str, request_: Request, response: Response, options: Options, reason: Reason, anchor: str
) -> None:
    length = response.value(b"content-length", CONTENT_LENGTH)
    answer = Answer(response, NOW, NOW, None if length is None else int(length))
    outcome = absorb(request_, KEY, answer, options)
    assert isinstance(outcome, Keep | Discard), about
    assert outcome.reason is reason, f"{about} ({anchor})"
    assert isinstance(outcome, Keep) is (reason is r.STORED)


LASTING = [
    # What others asking for the key would meet, too, so that nobody should queue for it.
    (get(), ok("Cache-Control: no-store"), True),
    (get(), ok("Cache-Control: private"), True),
    (get(), ok(), True),
    (get(), ok(FRESH, "Vary: *"), True),
    (get(), ok(FRESH, "Content-Type: text/event-stream"), True),
    (get("Cache-Control: no-store"), ok(FRESH), False),
    (get(AUTH), ok(FRESH), True),
    (get(), ok(FRESH, status=206), False),
    (get(), ok(FRESH, status=304), False),
    (get("Range: bytes=9-"), ok(FRESH, status=416), False),
    (get("A-IM: feed"), ok(FRESH, status=226), False),
    (get(), ok("Cache-Control: private max-age=0"), True),
    (get(), ok("Cache-Control: no-store", status=503), False),
]


@pytest.mark.parametrize(("request_", "response", "lasting"), LASTING)
def test_lasting(request_: Request, response: Response, lasting: bool) -> None:
    outcome = absorb(request_, KEY, Answer(response, NOW, NOW), BARE)
    assert isinstance(outcome, Discard)
    assert outcome.lasting is lasting
