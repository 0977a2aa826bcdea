"""How long a response is fresh and how old it is (RFC 9111 §4.2), and our own TTL in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.heads import BARE, KEY, NOW, date, get, ok, stored, table

from springhouse.http.directives import SECONDS_MAX
from springhouse.http.messages import Request
from springhouse.rules.answer import Answer
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.rules.storing import keep

TAG = 'ETag: "1"'  # so that what has no lifetime is stored, to be validated
TTL, FORCED = Options(ttl=300), Options(ttl=300, force_ttl=True)
DESPITE_CREDENTIALS = Options(ttl=300, force_ttl=True, ttl_despite_credentials=True)
DESPITE_NO_STORE = Options(ttl=300, force_ttl=True, ttl_despite_no_store=True)
PLAIN, AUTHORIZED, COOKIED = get(), get("Authorization: x"), get("Cookie: a=1")
LM = f"Last-Modified: {date(-1000)}"

LIFETIMES = [
    # about, fields, status, lifetime, anchor
    ("s-maxage before all", ["Cache-Control: max-age=1, s-maxage=2", f"Expires: {date(3)}", LM], 200, 2, "§4.2.1"),
    ("max-age before Expires", ["Cache-Control: max-age=1", f"Expires: {date(3)}", LM], 200, 1, "§4.2.1"),
    ("Expires before heuristics", [f"Expires: {date(3)}", LM], 200, 3, "§4.2.1"),
    ("heuristics", [LM], 200, 100, "§4.2.2"),
    ("Expires against Date", [f"Date: {date(-10)}", f"Expires: {date(30)}"], 200, 40, "§4.2.1"),
    ("Expires against receipt without Date", [f"Expires: {date(30)}"], 200, 30, "§4.2.1"),
    ("Expires before Date", [f"Expires: {date(-1)}"], 200, 0, "§4.2.1"),
    ("max-age=0 before Expires", ["Cache-Control: max-age=0", f"Expires: {date(30)}"], 200, 0, "§5.3"),
    ("Expires: 0", ["Expires: 0"], 200, 0, "§5.3"),
    ("Expires: -1", ["Expires: -1", LM], 200, 0, "§5.3"),
    ("Expires in another zone", [f"Expires: {date(30)[:-3]}EST"], 200, 0, "§4.2"),
    ("Expires in another case", [f"Expires: {date(30).lower()}"], 200, 30, "§4.2"),
    ("two Expires that agree", [f"Expires: {date(30)}", f"Expires: {date(30)}"], 200, 30, "§4.2.1"),
    ("two Expires that do not", [f"Expires: {date(30)}", f"Expires: {date(60)}"], 200, 0, "§4.2.1"),
    ("the first max-age", ["Cache-Control: max-age=1, max-age=60"], 200, 1, "§4.2.1"),
    ("the first max-age, over lines", ["Cache-Control: max-age=60", "Cache-Control: max-age=1"], 200, 60, "§4.2.1"),
    ("max-age that is no number", ["Cache-Control: max-age=1h", f"Expires: {date(30)}"], 200, 0, "§4.2.1"),
    ("max-age without a value", ["Cache-Control: max-age", LM], 200, 0, "§4.2.1"),
    ("max-age, negative", ["Cache-Control: max-age=-1"], 200, 0, "§4.2.1"),
    ("max-age, decimal", ["Cache-Control: max-age=10.5"], 200, 0, "§4.2.1"),
    ("max-age, quoted", ['Cache-Control: max-age="60"'], 200, 60, "§5.2"),
    ("max-age, overflowing", ["Cache-Control: max-age=99999999999999999999"], 200, SECONDS_MAX, "§1.2.2"),
    ("s-maxage that is no number", ["Cache-Control: s-maxage=x, max-age=60"], 200, 0, "§4.2.1"),
    ("heuristics, status without them", [LM, "Cache-Control: public"], 403, 100, "§4.2.2"),
    ("heuristics, 404", [LM], 404, 100, "RFC 9110 §15.1"),
    ("heuristics have a limit", [f"Last-Modified: {date(-365 * 86400)}"], 200, 7 * 86400, "§4.2.2"),
    ("Last-Modified in the future", [f"Last-Modified: {date(1000)}"], 200, 0, "§4.2.2"),
    ("Last-Modified against Date", [f"Date: {date(-500)}", LM], 200, 50, "§4.2.2"),
    ("CDN-Cache-Control", ["CDN-Cache-Control: max-age=7", "Cache-Control: s-maxage=60"], 200, 7, "RFC 9213 §2.2"),
    ("Surrogate-Control", ["Surrogate-Control: max-age=7+9", "Cache-Control: s-maxage=60"], 200, 7, "Edge §2.2"),
]


@table("about fields status lifetime anchor", LIFETIMES)
def test_lifetime(about: str, fields: list[str], status: int, lifetime: int, anchor: str) -> None:
    entry = stored(TAG, *fields, status=status)
    assert entry.lifetime == lifetime, anchor
    assert not entry.given_ttl


GIVEN = [
    # about, request, fields, status, options, (lifetime, ours?)
    ("fills in", PLAIN, [TAG], 200, TTL, (300, True)),
    ("fills in before heuristics", PLAIN, [LM], 200, TTL, (300, True)),
    ("fills in for a redirect", PLAIN, [TAG], 301, TTL, (300, True)),
    ("not for an error", PLAIN, [TAG], 404, TTL, (0, False)),
    ("the origin wins", PLAIN, ["Cache-Control: max-age=7"], 200, TTL, (7, False)),
    ("the origin wins, with Expires", PLAIN, [f"Expires: {date(7)}"], 200, TTL, (7, False)),
    ("the origin wins, by forbidding", PLAIN, [TAG, "Expires: 0"], 200, TTL, (0, False)),
    ("not for Set-Cookie", PLAIN, [TAG, "Set-Cookie: a=1"], 200, TTL, (0, False)),
    ("not for what is personal in part", PLAIN, [TAG, 'Cache-Control: private="X"'], 200, TTL, (0, False)),
    ("heuristics are off beside a TTL", PLAIN, [LM, "Set-Cookie: a=1"], 200, TTL, (0, False)),
    ("forced over the origin", PLAIN, ["Cache-Control: max-age=7"], 200, FORCED, (300, True)),
    ("forced over Expires", PLAIN, ["Expires: 0"], 200, FORCED, (300, True)),
    ("forced for 200 only", PLAIN, ["Cache-Control: max-age=7"], 301, FORCED, (7, False)),
    ("not forced for Cookie", COOKIED, ["Cache-Control: max-age=7"], 200, FORCED, (7, False)),
    ("not forced for Set-Cookie", PLAIN, ["Cache-Control: max-age=7", "Set-Cookie: a=1"], 200, FORCED, (7, False)),
    ("not forced for authorized", AUTHORIZED, ["Cache-Control: public, max-age=7"], 200, FORCED, (7, False)),
    ("forced for Cookie, if told so", COOKIED, ["Cache-Control: max-age=7"], 200, DESPITE_CREDENTIALS, (300, True)),
    ("forced for authorized, if told so", AUTHORIZED, [], 200, DESPITE_CREDENTIALS, (300, True)),
    ("forced for Set-Cookie, if told so", PLAIN, ["Set-Cookie: a=1"], 200, DESPITE_NO_STORE, (300, True)),
    ("forced for private, if told so", PLAIN, ["Cache-Control: private"], 200, DESPITE_NO_STORE, (300, True)),
    ("forced without a TTL is nothing", PLAIN, ["Cache-Control: max-age=7"], 200, Options(force_ttl=True), (7, False)),
]


@table("about request_ fields status options expected", GIVEN)
def test_our_own_ttl(
    about: str, request_: Request, fields: list[str], status: int, options: Options, expected: tuple[int, bool]
) -> None:
    entry = stored(*fields, request=request_, status=status, options=options)
    assert (entry.lifetime, entry.given_ttl) == expected


AGES = [
    # about, Date's offset from receipt, Age, seconds between request and receipt, initial age, anchor
    ("now", 0, None, 0, 0, "§4.2.3"),
    ("no Date", None, None, 0, 0, "RFC 9110 §6.6.1"),
    ("apparent_age", -30, None, 0, 30, "§4.2.3"),
    ("apparent_age is never negative", 30, None, 0, 0, "§4.2.3"),
    ("age_value", 0, "20", 0, 20, "§4.2.3"),
    ("response_delay", 0, None, 4, 4, "§4.2.3"),
    ("age_value counts from the request", 0, "20", 4, 24, "§4.2.3"),
    ("the larger of the two: apparent_age", -30, "20", 4, 30, "§4.2.3"),
    ("the larger of the two: corrected_age_value", -22, "20", 4, 24, "§4.2.3"),
    ("Age: 0", 0, "0", 0, 0, "§5.1"),
    ("an Age beyond all", 0, "99999999999", 0, SECONDS_MAX, "§1.2.2"),
    ("an Age that cannot be read is ignored", 0, "x", 0, 0, "§5.1"),
    ("but not when it was asked for", 0, "x", 4, 4, "§4.2.3"),
    ("a negative Age", 0, "-1", 0, 0, "§5.1"),
    ("a decimal Age", 0, "1.5", 0, 0, "§5.1"),
    ("an empty Age", 0, "", 0, 0, "§5.1"),
    ("a quoted Age", 0, '"30"', 0, 0, "§5.1"),
    ("an Age with a parameter", 0, "30;a=b", 0, 0, "§5.1"),
    ("the first of a list", 0, "30, 0", 0, 30, "§5.1"),
    ("the first of a list, though others are older", 0, "0,7200", 0, 0, "§5.1"),
    ("the first of a list is no number", 0, "x, 7200", 0, 0, "§5.1"),
    ("the first that is not empty", 0, ", 30", 0, 30, "RFC 9110 §5.6.1.2"),
    ("the first of two lines", 0, "30\n0", 0, 30, "§5.1"),
    ("the first of two lines, reversed", 0, "0\n30", 0, 0, "§5.1"),
]


@table("about at age delay initial anchor", AGES)
def test_age(about: str, at: int | None, age: str | None, delay: int, initial: int, anchor: str) -> None:
    lines = ["Cache-Control: max-age=60", TAG]
    lines += [] if at is None else [f"Date: {date(at)}"]
    lines += [] if age is None else [f"Age: {line}" for line in age.split("\n")]
    entry = keep(get(), KEY, Answer(ok(*lines), NOW - delay, NOW), BARE)
    assert isinstance(entry, Entry)
    assert entry.age_at(NOW) == initial, anchor
    assert entry.age_at(NOW + 5.9) == initial + 5, "current_age = corrected_initial_age + resident_time"
    assert entry.is_fresh_at(NOW) is (initial < 60)
    assert entry.ttl_at(NOW) == 60 - initial


def test_a_ttl_of_ours_runs_from_receipt_however_old_the_response_is() -> None:
    for options in (TTL, FORCED):
        for age in ("50", "100000", "x"):
            entry = stored(f"Age: {age}", options=options)
            assert entry.is_fresh_at(NOW + 299)
            assert not entry.is_fresh_at(NOW + 300)


@pytest.mark.parametrize(("elapsed", "fresh"), [(0, True), (59.99, True), (60, False), (61, False)])
def test_fresh_while_the_lifetime_exceeds_the_age(elapsed: float, fresh: bool) -> None:
    """§4.2: response_is_fresh = freshness_lifetime > current_age."""
    assert stored("Cache-Control: max-age=60").is_fresh_at(NOW + elapsed) is fresh


@given(
    st.integers(0, 10**12), st.integers(-(10**6), 10**6), st.integers(0, 10**12), st.floats(0, 1e6), st.floats(0, 1e9)
)
def test_instants_and_durations_agree(age: int, dated: int, max_age: int, delay: float, elapsed: float) -> None:
    """What is compared when served is what §4.2 and §4.2.3 compute."""
    lines = [f"Cache-Control: max-age={max_age}", f"Date: {date(dated)}", f"Age: {age}", TAG]
    entry = keep(get(), KEY, Answer(ok(*lines), NOW - delay, NOW), BARE)
    assert isinstance(entry, Entry)
    lifetime = min(max_age, SECONDS_MAX)
    current = max(0, -dated, min(age, SECONDS_MAX) + delay) + elapsed
    if abs(lifetime - current) > 0.001:
        assert entry.is_fresh_at(NOW + elapsed) is (lifetime > current)
    assert abs(entry.age_at(NOW + elapsed) - current) <= 1.001
