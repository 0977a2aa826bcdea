"""What a 304 or a HEAD must not do to an entry that others share (RFC 9111 §3, §4.1, §4.3.4, §4.3.5; law 4)."""

from __future__ import annotations

from tests.support.heads import BARE, KEY, NOW, date, fields, get, head, ok, stored, table

from springhouse.http.messages import Request, Response
from springhouse.rules.answer import Answer
from springhouse.rules.decisions import Freshen
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.rules.validation import absorb, after_head

F, TAG, D = "Cache-Control: max-age=60", 'ETag: "1"', f"Date: {date()}"
PUBLIC = "Cache-Control: public, max-age=60"
REFUSING, STRIPPING = Options(set_cookie="refuse"), Options(set_cookie="strip")
AUTH = get("Authorization: x")
LATER = NOW + 1000


def freshen(entry: Entry, response: Response, request: Request, options: Options) -> Freshen:
    outcome = absorb(request, KEY, Answer(response, LATER, LATER), options, asked_about=entry)
    assert isinstance(outcome, Freshen)
    return outcome


FORBIDDEN = [
    # about, request, options, what the 304 says that may not be stored
    ("private", get(), BARE, ["Cache-Control: private", "X-Who: me"]),
    ("no-store", get(), BARE, ["Cache-Control: no-store", "X-Who: me"]),
    ("a cookie", get(), REFUSING, ["Set-Cookie: sid=me", "X-Who: me"]),
    ("an authorized request, no longer shared", AUTH, BARE, ["Cache-Control: max-age=5", "X-Who: me"]),
    ("Vary: *", get(), BARE, ["Vary: *", "X-Who: me"]),
]


@table("about request_ options said", FORBIDDEN)
def test_what_may_not_be_stored_reaches_only_who_asked(
    about: str, request_: Request, options: Options, said: list[str]
) -> None:
    entry = stored(PUBLIC, TAG, D, options=options)
    before = list(entry.fields)
    outcome = freshen(entry, ok(*said, "Connection: close", "Keep-Alive: 5", status=304), request_, options)
    assert (b"X-Who", b"me") in outcome.entry.fields
    assert not {name for name, _ in outcome.entry.fields} & {b"Connection", b"Keep-Alive"}
    assert outcome.entry.age_at(LATER) == 0, "it was validated just now"
    assert outcome.entry.content is entry.content
    assert outcome.kept.fields == before == entry.fields
    assert outcome.kept.invalidated, "the origin no longer vouches for it"
    assert not outcome.kept.max_stale_allowed
    assert outcome.kept.content is entry.content


def test_what_was_fetched_for_an_authorized_request_stays_shared_only_while_it_may() -> None:
    """§3.5: whoever asks whether it still holds."""
    outcome = freshen(stored(PUBLIC, TAG, request=AUTH), ok("Cache-Control: max-age=5", status=304), get(), BARE)
    assert outcome.kept.invalidated


def test_a_cookie_that_is_stripped_reaches_nobody_else() -> None:
    outcome = freshen(stored(F, TAG), ok("Set-Cookie: sid=me", status=304), get(), STRIPPING)
    assert outcome.kept is outcome.entry
    assert b"Set-Cookie" not in dict(outcome.kept.fields)


def test_a_304_to_no_store_changes_nothing_that_is_stored() -> None:
    """§5.2.1.5: no part of any response to it is stored."""
    entry = stored(F, TAG)
    outcome = freshen(entry, ok("X-Who: me", status=304), get("Cache-Control: no-store"), BARE)
    assert outcome.kept is entry
    assert not entry.invalidated
    assert (b"X-Who", b"me") in outcome.entry.fields


def test_a_new_vary_selects_by_the_request_that_was_answered() -> None:
    """§4.1: the stored request's value of B is not known, the validated one's is."""
    entry = stored(F, TAG, "Vary: A", request=get("A: 1", "B: old"))
    fresh = freshen(entry, ok("Vary: A, B", status=304), get("A: 1", "B: new"), BARE).kept
    assert (fresh.vary, fresh.selector) == ((b"a", b"b"), (b"1", b"new"))


def test_a_repeated_vary_keeps_its_selector() -> None:
    entry = stored(PUBLIC, TAG, "Vary: Authorization", request=AUTH)
    for lines in (["Vary: authorization"], []):
        fresh = freshen(entry, ok(*lines, status=304), AUTH, BARE).kept
        assert (fresh.vary, fresh.selector) == (entry.vary, entry.selector) == ((b"authorization",), (b"x",))


def test_who_it_was_fetched_for_does_not_change() -> None:
    assert freshen(stored(PUBLIC, TAG, request=AUTH), ok(status=304), get(), BARE).kept.authorized
    assert not freshen(stored(PUBLIC, TAG), ok(status=304), AUTH, BARE).kept.authorized


def test_tags_last_until_others_come() -> None:
    """Clients do not get them, so they are not among the fields that are stored; the entry is purged by them."""
    entry = stored(F, TAG, "Surrogate-Key: a b", 'Cache-Groups: "g"')
    fresh = freshen(entry, ok("X: 2", status=304), get(), BARE).kept
    assert (fresh.tags, fresh.groups) == ((b"a", b"b"), (b"g",))
    fresh = freshen(entry, ok("Surrogate-Key: c", 'Cache-Groups: "h"', status=304), get(), BARE).kept
    assert (fresh.tags, fresh.groups) == ((b"c",), (b"h",))


def after(entry: Entry, response: Response, request: Request, options: Options = BARE) -> Entry | None:
    """Return what a HEAD makes of an entry, None where it leaves it alone."""
    changes = after_head(request, [entry], Answer(response, LATER, LATER), options)
    assert all(old is entry for old, _ in changes)
    return changes[0][1] if changes else None


LM = f"Last-Modified: {date(-99)}"
HEADS = [
    # about, the HEAD's answer, is the entry updated (else it is stale from now on)
    ("nothing to compare", ["X: 2"], True),
    ("the same tag", [TAG, "X: 2"], True),
    ("another tag", ['ETag: "2"', "X: 2"], False),
    ("a weak tag for a strong one", ['ETag: W/"1"', "X: 2"], False),
    ("the same date", [LM, "X: 2"], True),
    ("another date", [f"Last-Modified: {date(-5)}", "X: 2"], False),
    ("the same length", ["Content-Length: 7", "X: 2"], True),
    ("another length", ["Content-Length: 8", "X: 2"], False),
    ("the same tag, another length", [TAG, "Content-Length: 8", "X: 2"], False),
]


@table("about answered updated", HEADS)
def test_head(about: str, answered: list[str], updated: bool) -> None:
    """§4.3.5."""
    entry = stored(F, TAG, LM, D, "X: 1")
    changed = after(entry, ok(*answered), head())
    assert changed is not None
    assert changed.invalidated is not updated
    assert (b"X", b"2" if updated else b"1") in changed.fields
    assert changed.is_fresh_at(LATER) is updated
    assert changed.content is entry.content
    assert changed.length == 7


UNTOUCHED = [
    ("an error", ok("X: 2", status=500), head(), BARE),
    ("a 404", ok("X: 2", status=404), head(), BARE),
    ("another variant", ok("X: 2"), head("A: 2"), BARE),
    ("credentials the entry is not for", ok("X: 2"), head("A: 1", "Authorization: x"), BARE),
    ("a request that says no-store", ok("X: 2"), head("A: 1", "Cache-Control: no-store"), BARE),
]


@table("about response request_ options", UNTOUCHED)
def test_head_leaves_alone_what_it_could_not_have_chosen(
    about: str, response: Response, request_: Request, options: Options
) -> None:
    assert after(stored(F, "Vary: A", request=get("A: 1")), response, request_, options) is None


def test_a_head_that_may_not_be_stored_only_invalidates() -> None:
    entry = stored(F, TAG, D, options=REFUSING)
    for said in (["Cache-Control: private"], ["Set-Cookie: sid=me"], ["Cache-Control: no-store"]):
        changed = after(entry, ok(*said), head(), REFUSING)
        assert changed is not None
        assert changed.invalidated
        assert changed.fields == entry.fields == fields(F, TAG, D)
