"""Transcripts of requests that wait for one another, and of those in the background."""

from __future__ import annotations

import pytest
from tests.exchange.transcripts import (
    AGAIN,
    ALONE,
    KEY,
    LEAD,
    RELEASED,
    Row,
    answer,
    check,
    failure,
    found,
    play,
)
from tests.support.heads import BARE, date, fields, get, ok, stored

from springhouse.exchange.flow import refresh, respond
from springhouse.exchange.steps import Claim, Later, Release, Send
from springhouse.http.content import MemoryContent
from springhouse.http.headers import bits_of
from springhouse.rules import reasons as r

F, TAG, SEND = "Cache-Control: max-age=60", 'ETag: "1"', 'send | If-None-Match: "1"'
STALE = stored("Cache-Control: max-age=60, stale-if-error=30", TAG)
FRESH = stored("Cache-Control: max-age=60", TAG, at=1_800_000_065.0)
CONFIRMED = stored("Cache-Control: max-age=60", TAG, at=1_800_000_065.0)
CONFIRMED.content = STALE.content = MemoryContent(b"one object")
PERSONAL = stored("Cache-Control: max-age=60", TAG, "Vary: A", request=get("A: 1"), at=1_800_000_065.0)
OF_TWO = stored("Cache-Control: max-age=60", TAG, "Vary: A", request=get("A: 2"), at=1_800_000_065.0)
STALE_PERSONAL = stored("Cache-Control: max-age=60", TAG, "Vary: A", request=get("A: 1"))
PERSONAL.content = STALE_PERSONAL.content
MORE_PERSONAL = stored("Cache-Control: max-age=60", TAG, "Vary: A, B", request=get("A: 2", "B: 1"), at=1_800_000_065.0)
ARRIVED_STALE = stored("Cache-Control: max-age=0", TAG, at=1_800_000_065.0)

ROWS = [
    Row("found what the leader fetched", get(), [("lookup", found()), ("claim", found(FRESH, after=67))], 200, "MISS",
        "springhouse; fwd=uri-miss; collapsed; ttl=58", r.COLLAPSED, "§4"),
    Row("found what the leader had confirmed", get(),
        [("lookup", found(STALE, after=64)), ("claim", found(CONFIRMED, after=66))], 200, "REVALIDATED",
        "springhouse; fwd=stale; collapsed; ttl=59", r.COLLAPSED, "§4"),
    Row("found, with a condition", get('If-None-Match: "1"'),
        [("lookup", found()), ("claim", found(FRESH, after=65))], 304, "MISS",
        "springhouse; fwd=uri-miss; collapsed; ttl=60; fwd-status=200", r.COLLAPSED, "§4.3.2"),
    Row("waited for what is for others: claims its own", get("A: 2"),
        [("lookup", found()), ("claim", found(PERSONAL, after=65)), ("claim by a", LEAD),
         ("send", answer(ok(F), after=65)), ("record", None)], 200, "MISS",
        "springhouse; fwd=vary-miss; stored; collapsed=?0; ttl=60", r.VARY_MISS, "§4.1"),
    Row("waited with its own", get("A: 2"),
        [("lookup", found()), ("claim", found(PERSONAL, after=65)), ("claim by a", found(OF_TWO, after=65))], 200,
        "MISS", "springhouse; fwd=vary-miss; collapsed; ttl=60", r.COLLAPSED, "§4.1"),
    Row("waited twice in vain: waits no more", get("A: 2", "B: 2"),
        [("lookup", found()), ("claim", found(PERSONAL, after=65)), ("claim by a", found(MORE_PERSONAL, after=65)),
         ("claim by a, b, not waiting", LEAD), ("send", answer(ok(F), after=65)), ("record", None)], 200, "MISS",
        "springhouse; fwd=vary-miss; stored; collapsed=?0; ttl=60", r.VARY_MISS, "§4.1"),
    Row("what it waited for was purged, twice: waits no more", get(),
        [("lookup", found()), ("claim", found()), ("claim", found()), ("claim, not waiting", ALONE),
         ("send", answer(ok(F))), ("record", None)], 200, "MISS",
        "springhouse; fwd=uri-miss; stored; collapsed=?0; ttl=60", r.URI_MISS, "§4"),
    Row("known to vary though nothing is stored", get("A: 2"),
        [("lookup", found(names=(b"a",))), ("claim by a", LEAD), ("send", answer(ok(F))), ("record", None)], 200,
        "MISS", "springhouse; fwd=uri-miss; stored; ttl=60", r.URI_MISS, "§4.1"),
    Row("known to vary by what is stored and what was", get("B: 2"),
        [("lookup", found(PERSONAL, MORE_PERSONAL, names=(b"c",), after=65)), ("claim by a, b, c", LEAD),
         ("send", answer(ok(F), after=65)), ("record", None)], 200, "MISS",
        "springhouse; fwd=vary-miss; stored; ttl=60", r.VARY_MISS, "§4.1"),
    Row("revalidates with those who have chosen the same", get("A: 1"),
        [("lookup", found(STALE_PERSONAL, MORE_PERSONAL, names=(b"c",), after=65)),
         ("claim by a", found(PERSONAL, after=65))], 200, "REVALIDATED",
        "springhouse; fwd=stale; collapsed; ttl=60", r.COLLAPSED, "§4.3.3"),
    Row("waited for a revalidation that brought what is for others", get("A: 2"),
        [("lookup", found(STALE, after=64)), ("claim", found(PERSONAL, STALE, after=65)), ("claim by a", LEAD),
         (SEND, answer(ok(status=304), after=65)), ("replace", None)], 200, "REVALIDATED",
        "springhouse; fwd=stale; fwd-status=304; stored; collapsed=?0; ttl=60", r.VALIDATED, "§4.3.3"),
    Row("got what is not for its credentials", get("Authorization: x"),
        [("lookup", found()), ("claim", found(FRESH, after=65)),
         ("send", answer(ok("Cache-Control: public, max-age=60"), after=65)), ("record", None)], 200, "MISS",
        "springhouse; fwd=request; stored; collapsed=?0; ttl=60; detail=credentials", r.CREDENTIALS, "§3.5"),
    Row("got what is stale already: waits no more", get(),
        [("lookup", found()), ("claim", found(ARRIVED_STALE, after=65)), (SEND, answer(ok(status=304), after=65)),
         ("replace", None)], 200, "REVALIDATED",
        "springhouse; fwd=stale; fwd-status=304; stored; collapsed=?0; ttl=0", r.VALIDATED, "§4"),
    Row("found what another process got, and is stale already: waits no more", get(),
        [("lookup", found()), ("claim", found(ARRIVED_STALE, after=65)), (SEND, answer(ok(status=304), after=65)),
         ("replace", None)], 200, "REVALIDATED",
        "springhouse; fwd=stale; fwd-status=304; stored; collapsed=?0; ttl=0", r.VALIDATED, "§4"),
    Row("another process has just stored it: a hit like any", get(),
        [("lookup", found()), ("claim", AGAIN), ("lookup", found(FRESH))], 200, "HIT",
        "springhouse; hit; ttl=60", r.FRESH, "§4.2"),
    Row("another process stored it before it became stale: claims again", get(),
        [("lookup", found(STALE, after=65)), ("claim", AGAIN), ("lookup", found(STALE, after=65)), ("claim", LEAD),
         (SEND, answer(ok(status=304), after=65)), ("replace", None)], 200, "REVALIDATED",
        "springhouse; fwd=stale; fwd-status=304; stored; ttl=60", r.VALIDATED, "§4.3.3"),
    Row("released", get(),
        [("lookup", found()), ("claim", RELEASED), ("send", answer(ok("Cache-Control: private")))], 200, "MISS",
        "springhouse; fwd=uri-miss; collapsed=?0; detail=private", r.PRIVATE, "§4"),
    Row("released, its own to store", get(),
        [("lookup", found()), ("claim", RELEASED), ("send", answer(ok(F))), ("record", None)], 200, "MISS",
        "springhouse; fwd=uri-miss; stored; collapsed=?0; ttl=60", r.URI_MISS, "§4"),
    Row("alone, ours take the place of the client's conditions", get('If-None-Match: "1", "2"'),
        [("lookup", found(STALE, after=65)), ("claim", ALONE), (SEND, answer(ok(status=304), after=65)),
         ("replace", None)], 304, "REVALIDATED", "springhouse; fwd=stale; fwd-status=304; stored; ttl=60", r.VALIDATED,
        "§4.3.2"),
    Row("alone, with the client's conditions", get('If-None-Match: "1"'),
        [("lookup", found()), ("claim", ALONE), (SEND, answer(ok(status=304)))], 304, "MISS",
        "springhouse; fwd=uri-miss; detail=unsolicited", r.UNSOLICITED, "§4.3.2"),
    Row("alone", get(), [("lookup", found()), ("claim", ALONE), ("send", answer(ok(F))), ("record", None)], 200, "MISS",
        "springhouse; fwd=uri-miss; stored; ttl=60", r.URI_MISS, "§4"),
    Row("the leader failed", get(), [("lookup", found()), ("claim", failure(504))], 504, "MISS", None,
        r.ORIGIN_FAILED, "RFC 9110 §15.6.5"),
    Row("the leader failed, something may stand in", get(),
        [("lookup", found(STALE, after=65)), ("claim", failure(after=66))], 200, "STALE",
        "springhouse; fwd=stale; ttl=-6; detail=stale-if-error", r.STALE_IF_ERROR, "RFC 5861 §4"),
    Row("only-if-cached does not wait", get("Cache-Control: only-if-cached"), [("lookup", found())], 504, "MISS", None,
        r.ONLY_IF_CACHED, "§5.2.1.7"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.about)
def test_transcript(row: Row) -> None:
    check(row)


NEVER_LEADS = [
    ("HEAD", get(method=b"HEAD"), found()),
    ("no-store", get("Cache-Control: no-store"), found()),
    ("a range of nothing", get("Range: bytes=0-1"), found()),
    ("credentials", get("Authorization: x"), found(FRESH, after=66)),
    ("a key that nobody waits for", get(), found(is_uncacheable=True)),
]


@pytest.mark.parametrize(("about", "request_", "stored_"), NEVER_LEADS, ids=[row[0] for row in NEVER_LEADS])
def test_nobody_waits_for_what_could_not_serve_others(about: str, request_: object, stored_: object) -> None:
    flow = respond(request_, KEY, BARE)
    next(flow)
    assert type(flow.send(stored_)).__name__ == "Send"


def test_a_waiter_gets_an_age() -> None:
    assert b"\r\nAge: 2\r\n" in check(ROWS[0]).proxy_lines


def test_what_the_leader_failed_with_is_shared() -> None:
    """Also when it stood in for a 503 itself: what the others have may be another variant, or too stale."""
    script = [("lookup", found(STALE, after=65)), ("claim", LEAD), (SEND, answer(ok(status=503), after=65)),
              ("release, failure", None)]  # fmt: skip
    _, steps = play(respond(get(), KEY, BARE), script)
    release = steps[-1]
    assert isinstance(release, Release)
    assert release.failure is not None
    assert (release.failure.status, release.failure.at) == (503, 1_800_000_065.0)


def test_a_stale_entry_is_served_and_revalidated_later() -> None:
    slow = stored("Cache-Control: max-age=60, stale-while-revalidate=30", TAG)
    request = get("Range: bytes=0-1", 'If-None-Match: "7"')
    _, steps = play(respond(request, KEY, BARE), [("lookup", found(slow, after=65)), ("later", None)])
    later = steps[-1]
    assert isinstance(later, Later)
    assert (later.key, later.entry, later.request) == (KEY, slow, request)


BACKGROUND = [
    ("confirmed", [("claim, not waiting", LEAD), (SEND, answer(ok(status=304), after=65)), ("replace", None)]),
    ("replaced", [("claim, not waiting", LEAD), (SEND, answer(ok(F), after=65)), ("record", None)]),
    ("gone", [("claim, not waiting", LEAD), (SEND, answer(ok("Cache-Control: private"), after=65)),
              ("release, lasting", None), ("forget /", None)]),
    ("failing", [("claim, not waiting", LEAD), (SEND, failure(after=65)), ("release, failure", None)]),
    ("somebody else does it", [("claim, not waiting", ALONE)]),
]  # fmt: skip


WANTED_BY_ONE = (
    "Range: bytes=0-1", 'If-None-Match: "7"', 'If-Range: "7"', f"If-Modified-Since: {date()}", "A-IM: feed",
    "Expect: x", "cache-CONTROL: no-store, max-stale", "Cache-Control: only-if-cached", "Pragma: no-cache",
    "Max-Forwards: 3",
)  # fmt: skip


@pytest.mark.parametrize(("about", "script"), BACKGROUND, ids=[row[0] for row in BACKGROUND])
def test_background(about: str, script: list[tuple[str, object]]) -> None:
    """The whole representation is asked for, whatever the client wanted of it (RFC 5861 §3)."""
    request = get(*WANTED_BY_ONE, "Accept-Language: de", "Cookie: a=1")
    reply, steps = play(refresh(request, KEY, STALE, BARE), script)
    assert reply is None
    assert isinstance(steps[0], Claim)
    assert not steps[0].wait
    for sent in steps[1:2]:
        assert isinstance(sent, Send)
        ours = fields('If-None-Match: "1"')
        assert sent.fields == fields("Accept-Language: de", "Cookie: a=1") + ours
        assert sent.request.bits == bits_of(fields("Cookie: a=1"))


def test_a_variant_is_revalidated_in_the_background_for_itself() -> None:
    _, steps = play(refresh(get("A: 1", "B: 1"), KEY, STALE_PERSONAL, BARE), [("claim by a, not waiting", ALONE)])
    assert len(steps) == 1


def test_a_head_revalidates_in_the_background_by_get() -> None:
    _, steps = play(refresh(get(method=b"HEAD"), KEY, STALE, BARE), BACKGROUND[0][1])
    assert isinstance(steps[1], Send)
    assert steps[1].request.method == b"GET"
