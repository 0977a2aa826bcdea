"""Transcripts of requests that one exchange answers alone (RFC 9111 §4; Cache-Status of RFC 9211)."""

from __future__ import annotations

import pytest
from tests.exchange.transcripts import KEY, LEAD, Row, answer, check, failure, found, play, play_on
from tests.support.heads import BARE, date, fields, get, head, ok, stored

from springhouse.exchange.flow import respond
from springhouse.exchange.reply import Source
from springhouse.exchange.steps import Claim, Lookup, Replace, Result, Send, Step
from springhouse.http.fields import CACHE_CONTROL
from springhouse.http.messages import Request
from springhouse.rules import reasons as r
from springhouse.rules.options import Options, SetCookie

F, TAG, SET = "Cache-Control: max-age=60", 'ETag: "1"', 'If-None-Match: "1"'
ENTRY = stored(F, TAG)
SINCE = f"If-Modified-Since: {date(-5)}"
DATED = stored(F, f"Last-Modified: {date(-5)}")
BY_A = stored(F, TAG, "Vary: A", request=get("A: 1"))
PERSONAL = stored("Cache-Control: max-age=60, must-revalidate", TAG)
SLOW = stored("Cache-Control: max-age=60, stale-while-revalidate=30", TAG)
SHORT = stored("Cache-Control: max-age=60", TAG, content=b"")
CONFIRMED = "springhouse; fwd=stale; fwd-status=304; stored; ttl=60"

HITS = [
    Row("hit", get(), [("lookup", found(ENTRY, after=9.5))], 200, "HIT", "springhouse; hit; ttl=51", r.FRESH, "§4"),
    Row("hit, HEAD", head(), [("lookup", found(ENTRY))], 200, "HIT", "springhouse; hit; ttl=60", r.FRESH, "§4"),
    Row("304 from the cache", get(SET), [("lookup", found(ENTRY))], 304, "HIT", "springhouse; hit; ttl=60", r.FRESH,
        "§4.3.2"),
    Row("206 from the cache", get("Range: bytes=1-2"), [("lookup", found(ENTRY))], 206, "HIT",
        "springhouse; hit; ttl=60", r.FRESH, "RFC 9110 §14"),
    Row("416 from the cache", get("Range: bytes=99-"), [("lookup", found(ENTRY))], 416, "HIT",
        "springhouse; hit; ttl=60", r.FRESH, "RFC 9110 §14"),
    Row("stale, accepted", get("Cache-Control: max-stale"), [("lookup", found(ENTRY, after=65))], 200, "STALE",
        "springhouse; hit; ttl=-5; detail=max-stale", r.MAX_STALE, "§5.2.1.2"),
    Row("stale while revalidating", get(), [("lookup", found(SLOW, after=65)), ("later", None)], 200, "STALE",
        "springhouse; hit; ttl=-5; detail=stale-while-revalidate", r.STALE_WHILE_REVALIDATE, "RFC 5861 §3"),
]  # fmt: skip

MISSES = [
    Row("miss, stored", get(), [("lookup", found()), ("claim", LEAD), ("send", answer(ok(F))), ("record", None)], 200,
        "MISS", "springhouse; fwd=uri-miss; stored; ttl=60", r.URI_MISS, "§3"),
    Row("miss, stored, with an Age", get(),
        [("lookup", found()), ("claim", LEAD), ("send", answer(ok(F, "Age: 9"))), ("record", None)], 200, "MISS",
        "springhouse; fwd=uri-miss; stored; ttl=51", r.URI_MISS, "§4.2.3"),
    Row("vary-miss", get("A: 2"),
        [("lookup", found(BY_A)), ("claim by a", LEAD), ("send", answer(ok(F, "Vary: A"))), ("record", None)], 200,
        "MISS", "springhouse; fwd=vary-miss; stored; ttl=60", r.VARY_MISS, "§4.1"),
    Row("miss, not to be stored", get(),
        [("lookup", found()), ("claim", LEAD), ("send", answer(ok("Cache-Control: private"))),
         ("release, lasting", None)], 200, "MISS", "springhouse; fwd=uri-miss; detail=private", r.PRIVATE, "§3"),
    Row("an error, not to be stored", get(),
        [("lookup", found()), ("claim", LEAD), ("send", answer(ok(status=503))), ("release", None)], 503, "MISS",
        "springhouse; fwd=uri-miss; detail=no-freshness", r.NO_FRESHNESS, "§3"),
    Row("a key nobody waits for", get(),
        [("lookup", found(is_uncacheable=True)), ("send", answer(ok("Cache-Control: private")))], 200, "MISS",
        "springhouse; fwd=uri-miss; detail=private", r.PRIVATE, "§3"),
    Row("the client's own no-store", get("Cache-Control: no-store"), [("lookup", found()), ("send", answer(ok(F)))],
        200, "MISS", "springhouse; fwd=uri-miss; detail=request-no-store", r.REQUEST_NO_STORE, "§5.2.1.5"),
    Row("an entry that is not for credentials", get("Authorization: x"),
        [("lookup", found(ENTRY)), ("send", answer(ok(F)))], 200, "MISS",
        "springhouse; fwd=request; detail=authorization", r.AUTHORIZED, "§3.5"),
    Row("conditions of the client's, as leader", get('If-None-Match: "9"'),
        [("lookup", found()), ("claim", LEAD), ("send", answer(ok(F, 'ETag: "9"'))), ("record", None)], 304, "MISS",
        "springhouse; fwd=uri-miss; stored; ttl=60; fwd-status=200", r.URI_MISS, "§4.3.2"),
    Row("a range of something not stored", get("Range: bytes=1-2"),
        [("lookup", found()), ("send | Range: bytes=1-2", answer(ok(F, status=206)))], 206, "MISS",
        "springhouse; fwd=uri-miss; detail=partial", r.PARTIAL, "§3.3"),
    Row("a range of which the origin sends all", get("Range: bytes=1-2"),
        [("lookup", found()), ("send | Range: bytes=1-2", answer(ok(F))), ("record", None)], 206, "MISS",
        "springhouse; fwd=uri-miss; stored; ttl=60; fwd-status=200", r.URI_MISS, "RFC 9110 §14.2"),
    Row("HEAD", head(), [("lookup", found()), ("send", answer(ok(F))), ("lookup", found())], 200, "MISS",
        "springhouse; fwd=uri-miss", r.URI_MISS, "§4"),
]  # fmt: skip

VALIDATIONS = [
    Row("stale, 304", get(),
        [("lookup", found(ENTRY, after=65)), ("claim", LEAD), (f"send | {SET}", answer(ok(status=304), after=66)),
         ("replace", None)], 200, "REVALIDATED", CONFIRMED, r.VALIDATED, "§4.3.4"),
    Row("stale, 304 to a date", get(),
        [("lookup", found(DATED, after=65)), ("claim", LEAD), (f"send | {SINCE}", answer(ok(status=304), after=66)),
         ("replace", None)], 200, "REVALIDATED", CONFIRMED, r.VALIDATED, "§4.3.1"),
    Row("stale, 200", get(),
        [("lookup", found(ENTRY, after=65)), ("claim", LEAD), (f"send | {SET}", answer(ok(F), after=65)),
         ("record", None)], 200, "MISS", "springhouse; fwd=stale; stored; ttl=60", r.STALE, "§4.3.3"),
    Row("stale, 404", get(),
        [("lookup", found(ENTRY, after=65)), ("claim", LEAD), (f"send | {SET}", answer(ok(status=404), after=65)),
         ("release, lasting", None), ("forget /", None)], 404, "MISS", "springhouse; fwd=stale; detail=no-freshness",
        r.NO_FRESHNESS, "§4.3.3"),
    Row("stale, a 200 that may not be stored", get(),
        [("lookup", found(ENTRY, after=65)), ("claim", LEAD),
         (f"send | {SET}", answer(ok("Cache-Control: no-store"), after=65)), ("release, lasting", None),
         ("forget /", None)], 200, "MISS", "springhouse; fwd=stale; detail=no-store", r.NO_STORE, "§4.3.3"),
    Row("stale, 410 that may be stored", get(),
        [("lookup", found(ENTRY, after=65)), ("claim", LEAD), (f"send | {SET}", answer(ok(F, status=410), after=65)),
         ("record", None)], 410, "MISS", "springhouse; fwd=stale; stored; ttl=60", r.STALE, "§4.3.3"),
    Row("stale, 200 that is chosen in another way: the old one does not stay beside it", get(),
        [("lookup", found(ENTRY, after=65)), ("claim", LEAD),
         (f"send | {SET}", answer(ok(F, "Vary: A"), after=65)), ("forget /", None), ("record", None)], 200, "MISS",
        "springhouse; fwd=stale; stored; ttl=60", r.STALE, "§4.3.3"),
    Row("stale, 501: nothing is known", get(),
        [("lookup", found(ENTRY, after=65)), ("claim", LEAD), (f"send | {SET}", answer(ok(status=501), after=65)),
         ("release", None)], 501, "MISS", "springhouse; fwd=stale; detail=no-freshness", r.NO_FRESHNESS, "§4.3.3"),
    Row("a reload of what is fresh, alone", get("Cache-Control: no-cache, no-store"),
        [("lookup", found(ENTRY)), (f"send | {SET}", answer(ok("Cache-Control: private"))), ("forget /", None)], 200,
        "MISS", "springhouse; fwd=request; detail=request-no-store", r.REQUEST_NO_STORE, "§4.3.3"),
    Row("a reload of what has no validator", get("Cache-Control: max-age=0"),
        [("lookup", found(stored(F))), ("claim", LEAD), ("send", answer(ok("Cache-Control: private"))),
         ("release, lasting", None), ("forget /", None)], 200, "MISS", "springhouse; fwd=request; detail=private",
        r.PRIVATE, "§4.3.3"),
    Row("nobody asked about what is not for credentials", get("Authorization: x", "Cache-Control: no-cache"),
        [("lookup", found(ENTRY)), ("send", answer(ok("Cache-Control: private")))], 200, "MISS",
        "springhouse; fwd=request; detail=private", r.PRIVATE, "§3.5"),
    Row("no-cache of the client's", get("Cache-Control: no-cache"),
        [("lookup", found(ENTRY)), ("claim", LEAD), (f"send | {SET}", answer(ok(status=304))), ("replace", None)], 200,
        "REVALIDATED", "springhouse; fwd=request; fwd-status=304; stored; ttl=60; detail=request-no-cache", r.VALIDATED,
        "§5.2.1.4"),
    Row("ours take the place of the client's conditions", get('If-None-Match: "1", "2"'),
        [("lookup", found(ENTRY, after=65)), ("claim", LEAD), (f"send | {SET}", answer(ok(status=304), after=65)),
         ("replace", None)], 304, "REVALIDATED", CONFIRMED, r.VALIDATED, "§4.3.2"),
    Row("of the client's range, too", get("Range: bytes=1-2", 'If-Range: "1"'),
        [("lookup", found(ENTRY, after=65)), ("claim", LEAD), (f"send | {SET}", answer(ok(status=304), after=65)),
         ("replace", None)], 206, "REVALIDATED", "springhouse; fwd=stale; fwd-status=304; stored; ttl=60", r.VALIDATED,
        "RFC 9110 §13.1.5"),
    Row("a 304 that may not be stored", get(),
        [("lookup", found(ENTRY, after=65)), ("claim", LEAD),
         (f"send | {SET}", answer(ok("Cache-Control: private", status=304), after=65)),
         ("replace, invalidated", None)], 200, "REVALIDATED", "springhouse; fwd=stale; fwd-status=304; ttl=60",
        r.VALIDATED, "§3"),
    Row("a 304 about something else: once more, without conditions", get(),
        [("lookup", found(ENTRY, after=65)), ("claim", LEAD),
         (f"send | {SET}", answer(ok('ETag: "9"', status=304), after=65)), ("send", answer(ok(F), after=65)),
         ("record", None)], 200, "MISS", "springhouse; fwd=stale; stored; ttl=60", r.STALE, "§4.3.4"),
    Row("a 304 about something else, forbidding to store", get(SET),
        [("lookup", found(ENTRY, after=65)), ("claim", LEAD),
         (f"send | {SET}", answer(ok('ETag: "9"', "Cache-Control: no-store", status=304), after=65)),
         ("send", answer(ok(F), after=65)), ("record", None)], 200, "MISS", "springhouse; fwd=stale; stored; ttl=60",
        r.STALE, "§4.3.4"),
    Row("a 304 to the client, where nothing is stored", get(SET),
        [("lookup", found(is_uncacheable=True)), (f"send | {SET}", answer(ok(status=304)))], 304, "MISS",
        "springhouse; fwd=uri-miss; detail=unsolicited", r.UNSOLICITED, "§4.3.2"),
    Row("HEAD, stale", head(),
        [("lookup", found(ENTRY, after=65)), ("send", answer(ok(F), after=65)), ("lookup", found(ENTRY, after=65)),
         ("replace", None)], 200, "MISS", "springhouse; fwd=stale", r.STALE, "§4.3.5"),
    Row("HEAD that makes an entry stale", head(),
        [("lookup", found(ENTRY, after=65)), ("send", answer(ok(F, 'ETag: "2"'), after=65)),
         ("lookup", found(ENTRY, after=65)), ("replace, invalidated", None)], 200, "MISS", "springhouse; fwd=stale",
        r.STALE, "§4.3.5"),
    Row("HEAD, gone", head(),
        [("lookup", found(ENTRY, after=65)), ("send", answer(ok(status=410), after=65)),
         ("lookup", found(ENTRY, after=65)), ("forget /", None)], 410, "MISS", "springhouse; fwd=stale", r.STALE,
        "§4.3.3"),
    Row("HEAD that the origin does not know", head(),
        [("lookup", found(ENTRY, after=65)), ("send", answer(ok(status=405), after=65)),
         ("lookup", found(ENTRY, after=65))], 405, "MISS", "springhouse; fwd=stale", r.STALE, "RFC 9110 §15.5.6"),
    Row("a 304 about something else, then what may not be stored", get(),
        [("lookup", found(ENTRY, after=65)), ("claim", LEAD),
         (f"send | {SET}", answer(ok('ETag: "9"', status=304), after=65)),
         ("send", answer(ok("Cache-Control: private"), after=65)), ("release, lasting", None), ("forget /", None)],
        200, "MISS", "springhouse; fwd=stale; detail=private", r.PRIVATE, "§4.3.3"),
    Row("a 304 about something else, twice", get(),
        [("lookup", found(ENTRY, after=65)), ("claim", LEAD),
         (f"send | {SET}", answer(ok('ETag: "9"', status=304), after=65)),
         ("send", answer(ok('ETag: "9"', status=304), after=65)), ("release", None)],
        304, "MISS", "springhouse; fwd=stale; detail=unsolicited", r.UNSOLICITED, "§4.3.4"),
]  # fmt: skip

ROWS = HITS + MISSES + VALIDATIONS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.about)
def test_transcript(row: Row) -> None:
    check(row)


def test_a_hit_has_an_age_and_the_stored_fields() -> None:
    reply = check(HITS[0])
    assert reply.fields == ENTRY.fields
    assert reply.proxy_lines == (
        b"Via: 1.1 springhouse\r\nAge: 9\r\nX-Cache: HIT\r\nCache-Status: springhouse; hit; ttl=51\r\n"
    )
    assert (reply.content, reply.length, reply.start, reply.stop) == (ENTRY, 7, 0, None)


def test_what_content_the_replies_have() -> None:
    by_name = {row.about: check(row) for row in HITS}
    assert by_name["hit, HEAD"].content is Source.NOTHING
    assert by_name["hit, HEAD"].length == 7
    assert by_name["304 from the cache"].content is Source.NOTHING
    assert by_name["304 from the cache"].length is None
    part = by_name["206 from the cache"]
    assert (part.content, part.start, part.stop, part.length) == (ENTRY, 1, 3, 2)
    assert (b"Content-Range", b"bytes 1-2/7") in part.fields
    none = by_name["416 from the cache"]
    assert (none.content, none.length) == (b"", 0)
    assert none.fields == fields("Content-Range: bytes */7", f"Date: {date()}")


def test_a_304_has_the_fields_that_a_cache_needs() -> None:
    """RFC 9110 §15.4.5."""
    kept = [
        "Cache-Control: max-age=60",
        "Content-Location: /a",
        TAG,
        f"Expires: {date(9)}",
        "Vary: A",
        f"Date: {date()}",
    ]
    entry = stored(*kept, "Content-Type: a/b", "Content-Encoding: gzip", "X-Other: 1")
    reply = check(Row("", get(SET), [("lookup", found(entry))], 304, "HIT", "springhouse; hit; ttl=60", r.FRESH, ""))
    assert reply.fields == fields(*kept)


@pytest.mark.parametrize(
    "said",
    [['Cache-Control: private="X-Who", max-age=60', "X-Who: me"], [F, "Set-Cookie: a=1"], [F, "Age: 3"], [F, "X: 1"]],
)
def test_the_first_client_gets_what_is_not_stored(said: list[str]) -> None:
    response = ok(*said, f"Date: {date()}", "Connection: close", "Keep-Alive: 5", "Content-Length: 7", "X-Cache: HIT")
    script = [("lookup", found()), ("claim", LEAD), ("send", answer(response)), ("record", None)]
    reply, _ = play(respond(get(), KEY, Options(set_cookie="strip")), script)
    assert reply is not None
    assert reply.fields == fields(*said, f"Date: {date()}")


SAID_TO_ONE = [
    (["Set-Cookie: a=1", "set-cookie: b=2"], "strip"),
    (["Set-Cookie: a=1"], "refuse"),
    (["Set-Cookie: a=1"], "store"),
    (['Cache-Control: private="X-Who"', "X-Who: me"], "store"),
    (['Cache-Control: no-cache="x-who, X-Too"', "X-WHO: me", "X-Too: 1"], "refuse"),
    (["Cache-Control: no-store", "X-Who: me"], "refuse"),
    (["Cache-Control: private", "Set-Cookie: a=1"], "strip"),
]


@pytest.mark.parametrize("asked", [get(), get(SET), get("Cache-Control: no-store")], ids=["200", "304", "no-store"])
@pytest.mark.parametrize(("said", "set_cookie"), SAID_TO_ONE)
def test_the_client_that_asked_gets_the_fields_of_a_304(asked: Request, said: list[str], set_cookie: SetCookie) -> None:
    """§3.1, §4.3.4: whether they may be stored or not."""
    claim = [] if asked.bits & CACHE_CONTROL else [("claim", LEAD)]
    response = ok(*said, "Surrogate-Key: k", "Content-Encoding: x", "Connection: close", status=304)
    script = [("lookup", found(ENTRY, after=65)), *claim, (f"send | {SET}", answer(response, after=65))]
    flow = respond(asked, KEY, Options(set_cookie=set_cookie))
    reply, steps = play_on(flow, script)
    assert reply is not None
    got = reply.all_fields
    assert [f for f in got if f[0] != b"Cache-Control" and f in fields(*said)] == fields(
        *(line for line in said if not line.startswith("Cache-Control"))
    )
    assert not {b"Surrogate-Key", b"Content-Encoding", b"Connection"} & {name for name, _ in got}
    replace = steps[-1]
    assert isinstance(replace, Replace)
    if set_cookie != "store":
        assert not any(name.lower() in (b"set-cookie", b"x-who", b"x-too") for name, _ in replace.new.fields)


@pytest.mark.parametrize("set_cookie", ["strip", "store"])
def test_a_client_whose_own_condition_fails_gets_the_cookie_that_came(set_cookie: SetCookie) -> None:
    """RFC 9110 §15.4.5: the origin sent 200, the client gets 304; the cookie was for it."""
    script = [("lookup", found()), ("claim", LEAD), ("send", answer(ok(F, TAG, "Set-Cookie: a=1"))), ("record", None)]
    reply, _ = play(respond(get(SET), KEY, Options(set_cookie=set_cookie)), script)
    assert reply is not None
    assert reply.status == 304
    assert (b"Set-Cookie", b"a=1") in reply.fields


AGES = [
    (["Age: 7"], [b"7"]),
    (["Age: 7, 9"], [b"7"]),
    (["Age: 7", "aGE: 9"], [b"7"]),
    (["Age: x"], []),
    (["Age: x", "Age: 9"], []),
    (["Age: -1"], []),
    (["Age: 99999999999"], [b"2147483648"]),
]


@pytest.mark.parametrize("other", [F, "Cache-Control: no-store"])
@pytest.mark.parametrize("asked", [get(), get(method=b"POST"), get(method=b"HEAD")], ids=["GET", "POST", "HEAD"])
@pytest.mark.parametrize(("lines", "ages"), AGES)
def test_one_age_goes_out_or_none(lines: list[str], ages: list[bytes], asked: Request, other: str) -> None:
    """§5.1."""
    flow = respond(asked, KEY, BARE)
    step: Step | None = next(flow)
    while True:
        result: Result = answer(ok(*lines, other, "X: 1")) if isinstance(step, Send) else None
        if isinstance(step, Lookup):
            result = found()
        elif isinstance(step, Claim):
            result = LEAD
        try:
            step = flow.send(result)
        except StopIteration as stop:
            got = stop.value.all_fields
            break
    assert [value for name, value in got if name.lower() == b"age"] == ages
    assert (b"X", b"1") in got


@pytest.mark.parametrize("said", [[F], ["Cache-Control: private"]])
def test_an_answer_without_date_gets_one(said: list[str]) -> None:
    """RFC 9110 §6.6.1: if it is cached or forwarded downstream."""
    ending = ("record", None) if said == [F] else ("release, lasting", None)
    script = [("lookup", found()), ("claim", LEAD), ("send", answer(ok(*said), after=3)), ending]
    reply, _ = play(respond(get(), KEY, BARE), script)
    assert reply is not None
    assert reply.fields == fields(*said, f"Date: {date(3)}")


def test_what_replaces_an_entry() -> None:
    script = VALIDATIONS[0].script
    _, steps = play(respond(get(), KEY, BARE), script)
    replace = steps[-1]
    assert isinstance(replace, Replace)
    assert replace.old is ENTRY
    assert replace.new.content is ENTRY.content


@pytest.mark.parametrize(("lines", "age"), [(["Age: 7"], [(b"Age", b"7")]), ([], [])])
def test_a_confirmed_answer_is_as_old_as_the_304_says(lines: list[str], age: list[tuple[bytes, bytes]]) -> None:
    script = [("lookup", found(ENTRY, after=65)), ("claim", LEAD),
              (f"send | {SET}", answer(ok(*lines, status=304), after=65)), ("replace", None)]  # fmt: skip
    reply, _ = play(respond(get(), KEY, BARE), script)
    assert reply is not None
    assert [field for field in reply.all_fields if field[0] == b"Age"] == age


def test_failures_have_a_date_and_say_why() -> None:
    reply, _ = play(respond(get(), KEY, BARE), [("lookup", found()), ("claim", LEAD), ("send", failure(504)),
                                                ("release, failure", None)])  # fmt: skip
    assert reply is not None
    assert reply.status == 504
    assert dict(reply.fields)[b"Content-Type"] == b"application/problem+json"
    assert dict(reply.fields)[b"Proxy-Status"] == b'springhouse; error=connection_refused; details="It refuses"'
    assert dict(reply.fields)[b"Cache-Control"] == b"no-store"
    assert dict(reply.fields)[b"Date"] == date().encode()
    assert isinstance(reply.content, bytes)
    assert b'"status":504' in reply.content
