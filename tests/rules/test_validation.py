"""Asking the origin whether an entry holds, and what its answer means (RFC 9111 §3.2, §4.3)."""

from __future__ import annotations

import pytest
from tests.support.heads import BARE, KEY, NOW, date, fields, get, ok, stored, table

from springhouse.http.messages import Request, Response
from springhouse.rules import reasons as r
from springhouse.rules.answer import Answer
from springhouse.rules.decisions import Discard, Freshen, Keep, Outcome, ServeStale
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.rules.reasons import Reason
from springhouse.rules.validation import absorb, conditions

F = "Cache-Control: max-age=60"
TAG, WEAK = 'ETag: "1"', 'ETag: W/"1"'
LM = f"Last-Modified: {date(-1000)}"
LATER = 1000.0
PLAIN = get()


def answered(
    entry: Entry | None, response: Response, request: Request = PLAIN, options: Options = BARE, at: float = LATER
) -> Outcome:
    """Return what an answer, received `at` seconds after NOW, makes of the entry that was asked about."""
    at += NOW
    return absorb(request, KEY, Answer(response, at, at), options, asked_about=entry)


def not_modified(*lines: str) -> Response:
    return ok(*lines, status=304)


@table(
    "about validators sent",
    [
        ("a tag", [TAG], ['If-None-Match: "1"']),
        ("a weak tag", [WEAK], ['If-None-Match: W/"1"']),
        ("a date", [LM], [f"If-Modified-Since: {date(-1000)}"]),
        ("both", [LM, TAG], ['If-None-Match: "1"', f"If-Modified-Since: {date(-1000)}"]),
        ("a date that is none", ["Last-Modified: yesterday"], []),
        ("nothing", [], []),
    ],
)
def test_conditions(about: str, validators: list[str], sent: list[str]) -> None:
    """§4.3.1."""
    assert conditions(stored(F, *validators)) == fields(*sent)


IDENTIFIED = [
    # about, the entry's validators, the 304's, is it about the entry?  §4.3.4
    ("the same strong tag", [TAG], [TAG], True),
    ("another strong tag", [TAG], ['ETag: "2"'], False),
    ("a strong tag for a weak one", [WEAK], [TAG], False),
    ("the same weak tag", [WEAK], [WEAK], True),
    ("a weak tag for a strong one", [TAG], [WEAK], True),
    ("another weak tag", [WEAK], ['ETag: W/"2"'], False),
    ("tags before dates", [TAG, LM], [TAG, f"Last-Modified: {date(-5)}"], True),
    ("a strong tag where none is stored", [LM], [TAG], False),
    ("but the same date", [LM], [TAG, LM], True),
    ("the same date", [LM], [LM], True),
    ("another date", [LM], [f"Last-Modified: {date(-5)}"], False),
    ("another date beside an unanswered tag", [TAG, LM], [f"Last-Modified: {date(-5)}"], False),
    ("no validator: it is what was asked about", [TAG], [], True),
    ("no validator, to a date", [LM], [], True),
    ("nothing was asked about", [], [TAG], False),
    ("nothing was asked about, and nothing said", [], [], False),
]


@table("about stored_ answered_ expected", IDENTIFIED)
def test_which_entry_a_304_is_about(about: str, stored_: list[str], answered_: list[str], expected: bool) -> None:
    entry = stored(F, *stored_)
    outcome = answered(entry, not_modified(*answered_))
    assert isinstance(outcome, Freshen) is expected
    if not expected:
        assert isinstance(outcome, Discard)
        assert outcome.reason is r.UNSOLICITED


D, LATER_D = f"Date: {date()}", f"Date: {date(LATER)}"

UPDATED = [
    # about, stored, in the 304, afterwards, anchor
    ("replaced", [F, TAG, D, "X: 1"], [LATER_D, "X: 2"], [F, TAG, LATER_D, "X: 2"], "§3.2"),
    ("added", [F, TAG, D], [LATER_D, "New: 1"], [F, TAG, LATER_D, "New: 1"], "§3.2"),
    ("kept", [F, TAG, D, "X: 1"], [LATER_D], [F, TAG, "X: 1", LATER_D], "§3.2"),
    ("all lines of a name", [F, TAG, D, "X: 1", "x: 2"], [LATER_D, "X: 3"], [F, TAG, LATER_D, "X: 3"], "§3.2"),
    ("freshness", [F, TAG, D], [LATER_D, "Cache-Control: max-age=5"], [TAG, LATER_D, "Cache-Control: max-age=5"],
        "§3.2"),
    ("but no Content-Length", [F, TAG, D], [LATER_D, "Content-Length: 99"], [F, TAG, LATER_D], "§3.2"),
    ("nor what the content depends upon", [F, TAG, D, "Content-Encoding: br"], [LATER_D, "Content-Encoding: gzip"],
        [F, TAG, "Content-Encoding: br", LATER_D], "§3.2"),
    ("nor Content-Range", [F, TAG, D], [LATER_D, "Content-Range: bytes 0-1/2"], [F, TAG, LATER_D], "§3.2"),
    ("Content-Type, though", [F, TAG, D, "Content-Type: a/b"], [LATER_D, "Content-Type: c/d"],
        [F, TAG, LATER_D, "Content-Type: c/d"], "§3.2"),
    ("nothing connection-specific", [F, TAG, D], [LATER_D, "Connection: close, x-hop", "X-Hop: 1", "Keep-Alive: 5"],
        [F, TAG, LATER_D], "§3.1"),
    ("nothing that private names", [F, TAG, D, "X: 1"], [LATER_D, 'Cache-Control: private="X", max-age=5', "X: me"],
        [TAG, LATER_D, 'Cache-Control: private="X", max-age=5'], "§3.1"),
    ("a 304 without Date is from now", [F, TAG, D], ["X: 1"], [F, TAG, "X: 1", LATER_D], "RFC 9110 §6.6.1"),
    ("a weak tag does not weaken", [F, TAG, D], [LATER_D, WEAK], [F, TAG, LATER_D], "§3.2"),
]  # fmt: skip


@table("about stored_ answered_ expected anchor", UPDATED)
def test_update(about: str, stored_: list[str], answered_: list[str], expected: list[str], anchor: str) -> None:
    entry = stored(*stored_)
    before = list(entry.fields)
    outcome = answered(entry, not_modified(*answered_))
    assert isinstance(outcome, Freshen)
    assert outcome.kept is outcome.entry
    assert outcome.old is entry
    assert outcome.reason is r.VALIDATED
    assert outcome.entry.fields == fields(*expected), anchor
    assert outcome.entry.content is entry.content
    assert outcome.entry.length == entry.length
    assert entry.fields == before, "the old entry may be in use"


@table(
    "about answered_ lifetime age",
    [
        ("what is stored counts on", [LATER_D], 60, 0),
        ("without a Date, too", [], 60, 0),
        ("a new lifetime", ["Cache-Control: max-age=5"], 5, 0),
        ("an Age of its own", [LATER_D, "Age: 7"], 60, 7),
    ],
)
def test_freshness_begins_anew(about: str, answered_: list[str], lifetime: int, age: int) -> None:
    outcome = answered(stored(F, TAG, D, "Age: 30"), not_modified(*answered_))
    assert isinstance(outcome, Freshen)
    entry = outcome.entry
    assert (entry.lifetime, entry.age_at(NOW + LATER)) == (lifetime, age)
    assert entry.is_fresh_at(NOW + LATER)


def test_a_304_may_be_late() -> None:
    entry = stored(F, TAG)
    outcome = absorb(PLAIN, KEY, Answer(not_modified(), NOW, NOW + 4), BARE, asked_about=entry)
    assert isinstance(outcome, Freshen)
    assert outcome.entry.age_at(NOW + 4) == 4, "§4.2.3: counted from the request"


SIE = [stored("Cache-Control: max-age=60, stale-if-error=100", TAG)]
SIE_FORBIDDEN = [stored(f"Cache-Control: max-age=60, stale-if-error=100, {d}", TAG)
                 for d in ("must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache")]  # fmt: skip
INVALIDATED = stored("Cache-Control: max-age=60, stale-if-error=100", TAG)
INVALIDATED.invalidated = True

ANSWERS: list[tuple[str, Request, Entry, Response, float, type[Outcome], Reason]] = [
    # about, request, asked about, answer, seconds since stored, outcome, reason
    ("a full response replaces", get(), SIE[0], ok(F), 100, Keep, r.STORED),
    ("a full response that may not be stored", get(), SIE[0], ok("Cache-Control: private"), 100, Discard, r.PRIVATE),
    ("an error that is none to hide", get(), SIE[0], ok(status=404), 100, Discard, r.NO_FRESHNESS),
    ("503 with stale-if-error", get(), SIE[0], ok(status=503), 100, ServeStale, r.STALE_IF_ERROR),
    ("500 with stale-if-error", get(), SIE[0], ok(F, status=500), 100, ServeStale, r.STALE_IF_ERROR),
    ("502, 504", get(), SIE[0], ok(status=504), 159.9, ServeStale, r.STALE_IF_ERROR),
    ("501 is an answer", get(), SIE[0], ok(status=501), 100, Discard, r.NO_FRESHNESS),
    ("too stale", get(), SIE[0], ok(status=503), 160, Discard, r.NO_FRESHNESS),
    ("without it", get(), stored(F, TAG), ok(status=503), 100, Discard, r.NO_FRESHNESS),
    ("asked for by the client", get("Cache-Control: stale-if-error=50"), stored(F, TAG), ok(status=503), 109,
        ServeStale, r.STALE_IF_ERROR),
    ("asked for, but not enough", get("Cache-Control: stale-if-error=50"), stored(F, TAG), ok(status=503), 110,
        Discard, r.NO_FRESHNESS),
    ("asked for, but forbidden", get("Cache-Control: stale-if-error=999"), stored(F + ", must-revalidate", TAG),
        ok(status=503), 100, Discard, r.NO_FRESHNESS),
    ("not stale", get("Cache-Control: no-cache"), stored(F, TAG), ok(status=503), 10, Discard, r.NO_FRESHNESS),
    ("not stale, and the client says 0", get("Cache-Control: no-cache, stale-if-error=0"), stored(F, TAG),
        ok(status=503), 10, Discard, r.NO_FRESHNESS),
    ("not stale, but the client said it", get("Cache-Control: no-cache, stale-if-error=9"), stored(F, TAG),
        ok(status=503), 10, ServeStale, r.STALE_IF_ERROR),
    ("not stale, but the origin said it", get("Cache-Control: no-cache"), SIE[0], ok(status=503), 10, ServeStale,
        r.STALE_IF_ERROR),
    ("not stale, but allowed to be served stale to others", get("Cache-Control: no-cache"),
        stored(F + ", stale-while-revalidate=99", TAG), ok(status=503), 10, Discard, r.NO_FRESHNESS),
    ("after an invalidation", get(), INVALIDATED, ok(status=503), 100, Discard, r.NO_FRESHNESS),
    *((f"forbidden by {e.fields[0][1].decode()}", get(), e, ok(status=503), 100, Discard, r.NO_FRESHNESS)
      for e in SIE_FORBIDDEN),
]  # fmt: skip

ROWS = ANSWERS


@table("about request_ entry answer elapsed outcome reason", ANSWERS)
def test_answer(
    about: str, request_: Request, entry: Entry, answer: Response, elapsed: float, outcome: type[Outcome],
    reason: Reason,
) -> None:  # fmt: skip
    """§4.3.3, RFC 5861 §4."""
    found = answered(entry, answer, request_, at=elapsed)
    assert (type(found), found.reason) == (outcome, reason)
    if isinstance(found, ServeStale):
        assert found.entry is entry


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_errors_are_passed_on_where_nothing_is_stored(status: int) -> None:
    outcome = answered(None, ok(status=status))
    assert isinstance(outcome, Discard)
    assert not outcome.lasting
