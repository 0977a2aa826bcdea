"""Which fields of a response are stored (RFC 9111 §3.1), and what else an entry knows."""

from __future__ import annotations

import pytest
from tests.support.heads import BARE, NOW, date, fields, get, stored, table

from springhouse.rules.options import Options

F = "Cache-Control: max-age=60"
D = f"Date: {date()}"
STRIP = Options(set_cookie="strip")

KEPT = [
    # about, received, options, stored, anchor
    ("everything, unrecognised ones too", [F, D, "X-New: 1", "X-New: 2"], BARE, [F, D, "X-New: 1", "X-New: 2"], "§3.1"),
    ("Connection and what it names", [F, D, "Connection: x-hop, close", "X-Hop: 1"], BARE, [F, D], "§3.1"),
    ("connection-specific ones", [F, D, "Keep-Alive: 5", "TE: x", "Trailer: y", "Upgrade: z"], BARE, [F, D], "§3.1"),
    ("what is between proxies", [F, D, "Proxy-Authenticate: a", "Proxy-Authentication-Info: b"], BARE, [F, D], "§3.1"),
    ("what is made anew for each use", [F, D, "Age: 3", "X-Cache: HIT", "Content-Length: 7"], BARE, [F, D], "§4"),
    ("what private names", ['Cache-Control: private="X-Who, set-cookie", max-age=9', D, "x-who: me", "Set-Cookie: a"],
        BARE, ['Cache-Control: private="X-Who, set-cookie", max-age=9', D], "§5.2.2.7"),
    ("what no-cache names", ['Cache-Control: no-cache="X-Who", max-age=9', D, "X-WHO: me"], BARE,
        ['Cache-Control: no-cache="X-Who", max-age=9', D], "§5.2.2.4"),
    ("what CDN-Cache-Control's private names", ['CDN-Cache-Control: private="X-Who", max-age=9', D, "X-Who: me"], BARE,
        ['CDN-Cache-Control: private="X-Who", max-age=9', D], "RFC 9213 §2.2"),
    ("Set-Cookie as the standard has it", [F, D, "Set-Cookie: a=1"], BARE, [F, D, "Set-Cookie: a=1"], "§7.3"),
    ("Set-Cookie stripped", [F, D, "Set-Cookie: a=1", "set-cookie: b=2"], STRIP, [F, D], "configured"),
    ("a missing Date is when it was received", [F], BARE, [F, D], "RFC 9110 §6.6.1"),
    ("a Date that cannot be read stays", [F, "Date: today"], BARE, [F, "Date: today"], "RFC 9110 §6.6.1"),
]  # fmt: skip


@table("about received options kept anchor", KEPT)
def test_fields(about: str, received: list[str], options: Options, kept: list[str], anchor: str) -> None:
    assert stored(*received, options=options).fields == fields(*kept), anchor


def test_what_is_left_out_is_known_to_have_been() -> None:
    assert stored('Cache-Control: private="X", max-age=9').is_redacted
    assert stored('Cache-Control: no-cache="X", max-age=9').is_redacted
    assert not stored(F).is_redacted
    assert not stored("Cache-Control: no-cache", 'ETag: "1"').is_redacted


def test_validators() -> None:
    entry = stored(F, 'ETag: W/"1"', f"Last-Modified: {date(-60)}")
    assert (entry.etag, entry.last_modified) == (b'W/"1"', date(-60).encode())
    entry = stored(F, "Last-Modified: yesterday")
    assert (entry.etag, entry.last_modified) == (None, None), "a Last-Modified that is no date validates nothing"
    entry = stored('Cache-Control: max-age=9, private="ETag"', 'ETag: "1"')
    assert entry.etag is None, "what may not be stored validates nothing, either"


def test_who_may_share() -> None:
    authorized = get("Authorization: x")
    assert not stored(F).shareable
    assert not stored(F).authorized
    for directive in ("public", "s-maxage=5", "must-revalidate"):
        entry = stored(f"Cache-Control: max-age=60, {directive}", request=authorized)
        assert entry.shareable
        assert entry.authorized


@pytest.mark.parametrize(
    ("directives", "max_stale_allowed", "no_cache", "while_revalidate", "if_error"),
    [
        ("max-age=60", True, False, 0, 0),
        ("max-age=60, stale-while-revalidate=10, stale-if-error=20", True, False, 10, 20),
        ("max-age=60, stale-while-revalidate=x", True, False, 0, 0),
        ("max-age=60, must-revalidate, stale-while-revalidate=10, stale-if-error=20", False, False, 0, 0),
        ("max-age=60, proxy-revalidate, stale-while-revalidate=10, stale-if-error=20", False, False, 0, 0),
        ("s-maxage=60, stale-while-revalidate=10, stale-if-error=20", False, False, 0, 0),
        ("max-age=60, no-cache, stale-while-revalidate=10, stale-if-error=20", False, True, 0, 0),
        ('max-age=60, no-cache="Set-Cookie"', False, False, 0, 0),
    ],
)  # fmt: skip
def test_windows(
    directives: str, max_stale_allowed: bool, no_cache: bool, while_revalidate: int, if_error: int
) -> None:
    """RFC 5861 §3, §4; what forbids serving stale (§4.2.4) forbids both windows."""
    entry = stored(f"Cache-Control: {directives}", 'ETag: "1"')
    assert entry.max_stale_allowed is max_stale_allowed
    assert entry.no_cache is no_cache
    assert entry.fresh_until == NOW + 60
    assert entry.stale_while_revalidate_until == NOW + 60 + while_revalidate
    assert entry.stale_if_error_until == NOW + 60 + if_error


STANDING_IN = [
    ("where the response does not say", ["max-age=60"], 30),
    ("not beside what it says", ["max-age=60, stale-if-error=5"], 5),
    ("not where it says no", ["max-age=60, stale-if-error=0"], 0),
    ("not where staleness is forbidden", ["max-age=60, must-revalidate"], 0),
    ("not where it is to be validated", ["max-age=60, no-cache"], 0),
    ("not where it is not wholly understood", ["max-age=60, x y"], 0),
]


@table("about directives until", STANDING_IN)
def test_a_window_of_ours(about: str, directives: list[str], until: int) -> None:
    """RFC 5861 §4; §4.2.4 allows what is configured."""
    entry = stored(*(f"Cache-Control: {line}" for line in directives), 'ETag: "1"', options=Options(stale_if_error=30))
    assert entry.stale_if_error_until == entry.fresh_until + until


def test_a_forced_ttl_sets_aside_what_the_origin_says_of_staleness() -> None:
    forced = Options(ttl=60, force_ttl=True)
    entry = stored("Cache-Control: no-cache, must-revalidate, s-maxage=1", options=forced)
    assert (entry.no_cache, entry.max_stale_allowed, entry.given_ttl, entry.lifetime) == (False, True, True, 60)
    entry = stored("Cache-Control: max-age=5, must-revalidate", options=forced, request=get("Cookie: a=1"))
    assert (entry.max_stale_allowed, entry.given_ttl, entry.lifetime) == (False, False, 5)
