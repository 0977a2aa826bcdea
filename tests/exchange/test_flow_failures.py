"""Transcripts of requests that the origin fails, or that must not ask it (RFC 9111 §4.2.4, RFC 5861 §4)."""

from __future__ import annotations

import pytest
from tests.exchange.transcripts import ALONE, LEAD, Row, answer, check, failure, found
from tests.support.heads import get, head, ok, stored

from springhouse.rules import reasons as r

F, TAG, SEND = "Cache-Control: max-age=60", 'ETag: "1"', 'send | If-None-Match: "1"'
LENIENT = stored("Cache-Control: max-age=60, stale-if-error=30", TAG)
PLAIN = stored(F, TAG)
BOUND = [stored(f"Cache-Control: {d}", TAG) for d in (
    "max-age=60, must-revalidate", "max-age=60, proxy-revalidate", "s-maxage=60", "max-age=60, no-cache",
    "max-age=60, must-revalidate, stale-if-error=30",
)]  # fmt: skip
OIC = get("Cache-Control: only-if-cached")
STANDS_IN = "springhouse; fwd=stale; ttl=-5; detail=stale-if-error"

ROWS = [
    Row("nothing stored", get(),
        [("lookup", found()), ("claim", LEAD), ("send", failure()), ("release, failure", None)], 502, "MISS", None,
        r.ORIGIN_FAILED, "RFC 9110 §15.6.3"),
    Row("too late", get(),
        [("lookup", found()), ("claim", LEAD), ("send", failure(504)), ("release, failure", None)], 504, "MISS", None,
        r.ORIGIN_FAILED, "RFC 9110 §15.6.5"),
    Row("nothing stored, not leading", get(), [("lookup", found()), ("claim", ALONE), ("send", failure())], 502,
        "MISS", None, r.ORIGIN_FAILED, "RFC 9110 §15.6.3"),
    Row("something stale that may stand in", get(),
        [("lookup", found(LENIENT, after=65)), ("claim", LEAD), (SEND, failure(after=65)),
         ("release, failure", None)], 200, "STALE", STANDS_IN, r.STALE_IF_ERROR, "RFC 5861 §4"),
    Row("the failure comes after that time", get(),
        [("lookup", found(LENIENT, after=65)), ("claim", LEAD), (SEND, failure(after=90)),
         ("release, failure", None)], 502, "MISS", None, r.ORIGIN_FAILED, "RFC 5861 §4"),
    Row("something stale that may not stand in", get(),
        [("lookup", found(PLAIN, after=65)), ("claim", LEAD), (SEND, failure(after=65)), ("release, failure", None)],
        502, "MISS", None, r.ORIGIN_FAILED, "§4.2.4"),
    Row("unless the client asks for it", get("Cache-Control: stale-if-error=9"),
        [("lookup", found(PLAIN, after=65)), ("claim", LEAD), (SEND, failure(after=65)), ("release, failure", None)],
        200, "STALE", STANDS_IN, r.STALE_IF_ERROR, "RFC 5861 §4"),
    Row("a 503 hidden", get(),
        [("lookup", found(LENIENT, after=65)), ("claim", LEAD), (SEND, answer(ok(status=503), after=65)),
         ("release, failure", None)], 200, "STALE",
        "springhouse; fwd=stale; fwd-status=503; ttl=-5; detail=stale-if-error", r.STALE_IF_ERROR, "RFC 5861 §4"),
    Row("a 503 not hidden", get(),
        [("lookup", found(PLAIN, after=65)), ("claim", LEAD), (SEND, answer(ok(status=503), after=65)),
         ("release", None)], 503, "MISS", "springhouse; fwd=stale; detail=no-freshness", r.NO_FRESHNESS, "§4.3.3"),
    *(Row(f"validation is a must: {entry.fields[0][1].decode()}", get(),
          [("lookup", found(entry, after=65)), ("claim", LEAD), (SEND, failure(after=65)),
           ("release, failure", None)], 504, "MISS", None, r.ORIGIN_FAILED, "§5.2.2.2") for entry in BOUND),
    Row("only-if-cached, nothing stored", OIC, [("lookup", found())], 504, "MISS", None, r.ONLY_IF_CACHED, "§5.2.1.7"),
    Row("only-if-cached, stale", OIC, [("lookup", found(PLAIN, after=65))], 504, "MISS", None, r.ONLY_IF_CACHED,
        "§5.2.1.7"),
    Row("only-if-cached, fresh", OIC, [("lookup", found(PLAIN))], 200, "HIT", "springhouse; hit; ttl=60", r.FRESH,
        "§5.2.1.7"),
    Row("HEAD, stale, failing", head(), [("lookup", found(LENIENT, after=65)), ("send", failure(after=65))], 200,
        "STALE", STANDS_IN, r.STALE_IF_ERROR, "RFC 5861 §4"),
    Row("HEAD, stale, a 503", head(),
        [("lookup", found(LENIENT, after=65)), ("send", answer(ok(status=503), after=65))], 200, "STALE",
        "springhouse; fwd=stale; fwd-status=503; ttl=-5; detail=stale-if-error", r.STALE_IF_ERROR, "RFC 5861 §4"),
    Row("HEAD, stale, a 503 that is not hidden", head(),
        [("lookup", found(PLAIN, after=65)), ("send", answer(ok(status=503), after=65)),
         ("lookup", found(PLAIN, after=65))], 503, "MISS", "springhouse; fwd=stale", r.STALE, "RFC 5861 §4"),
    Row("a reload of what is fresh", get("Cache-Control: no-cache"),
        [("lookup", found(PLAIN)), ("claim", LEAD), (SEND, failure()), ("release, failure", None)], 502, "MISS", None,
        r.ORIGIN_FAILED, "RFC 5861 §4"),
    Row("a reload of what is fresh, 503", get("Cache-Control: max-age=0"),
        [("lookup", found(PLAIN)), ("claim", LEAD), (SEND, answer(ok(status=503))), ("release", None)], 503, "MISS",
        "springhouse; fwd=request; detail=no-freshness", r.NO_FRESHNESS, "RFC 5861 §4"),
    Row("a reload of what is fresh, HEAD", head("Cache-Control: no-cache"),
        [("lookup", found(PLAIN)), ("send", failure())], 502, "MISS", None, r.ORIGIN_FAILED, "RFC 5861 §4"),
    Row("a reload of what is fresh and may stand in", get("Cache-Control: no-cache"),
        [("lookup", found(LENIENT)), ("claim", LEAD), (SEND, failure()), ("release, failure", None)], 200, "HIT",
        "springhouse; fwd=request; ttl=60; detail=stale-if-error", r.STALE_IF_ERROR, "RFC 5861 §4"),
    Row("a reload of what is fresh, by a client that accepts it", get("Cache-Control: no-cache, stale-if-error=9"),
        [("lookup", found(PLAIN)), ("claim", LEAD), (SEND, failure()), ("release, failure", None)], 200, "HIT",
        "springhouse; fwd=request; ttl=60; detail=stale-if-error", r.STALE_IF_ERROR, "RFC 5861 §4"),
    Row("a range of what stands in", get("Range: bytes=0-1"),
        [("lookup", found(LENIENT, after=65)), ("claim", LEAD), (SEND, failure(after=65)),
         ("release, failure", None)], 206, "STALE", STANDS_IN, r.STALE_IF_ERROR, "RFC 9110 §14"),
    Row("a method that goes through", get(method=b"POST"), [("send", failure())], 502, "BYPASS", None, r.ORIGIN_FAILED,
        "RFC 9110 §15.6.3"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.about)
def test_transcript(row: Row) -> None:
    check(row)
