"""What is done with a request, given what is stored (RFC 9111 §4, §5.2.1)."""

from __future__ import annotations

import pytest
from tests.support.heads import BARE, NOW, get, head, stored, table

from springhouse.http.messages import Request
from springhouse.rules import reasons as r
from springhouse.rules.decisions import Decision, Fetch, Refuse, Revalidate, Serve
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.rules.reasons import Reason
from springhouse.rules.reuse import decide, never_from_cache

TAG = 'ETag: "1"'
PLAIN = stored("Cache-Control: max-age=100", TAG)
LENIENT = stored("Cache-Control: max-age=100, stale-while-revalidate=50, stale-if-error=90", TAG)
TTL = Options(ttl=100)
GIVEN = stored(TAG, options=TTL)
GIVEN_PUBLIC = stored(TAG, "Cache-Control: public", options=TTL)
TO_ALL = Options(ttl=100, ttl_despite_credentials=True)
PUBLIC = stored("Cache-Control: public, max-age=100", TAG)
INVALIDATED = stored("Cache-Control: max-age=100", TAG)
INVALIDATED.invalidated = True
AUTH, COOKIE = "Authorization: x", "Cookie: a=1"
OIC = "Cache-Control: only-if-cached"


def saying(directives: str) -> list[Entry]:
    """Return one entry with max-age=100 and these directives."""
    return [stored(f"Cache-Control: max-age=100, {directives}", TAG)]


def asking(directives: str) -> Request:
    """Return a GET with this Cache-Control."""
    return get(f"Cache-Control: {directives}")


Row = tuple[str, Request, list[Entry], float, Options, type[Decision], Reason, str]
"""About, request, variants, seconds since they were stored, options, decision, reason, anchor."""

RESPONSES: list[Row] = [
    ("nothing stored", get(), [], 0, BARE, Fetch, r.URI_MISS, "§4"),
    ("fresh", get(), [PLAIN], 99.9, BARE, Serve, r.FRESH, "§4.2"),
    ("fresh, for HEAD", head(), [PLAIN], 99.9, BARE, Serve, r.FRESH, "§2"),
    ("stale", get(), [PLAIN], 100, BARE, Revalidate, r.STALE, "§4.2"),
    ("stale, for HEAD", head(), [PLAIN], 100, BARE, Revalidate, r.STALE, "§4.2"),
    ("no-cache", get(), saying("no-cache"), 1, BARE, Revalidate, r.NO_CACHE, "§5.2.2.4"),
    ("no-cache with field names", get(), saying('no-cache="A"'), 1, BARE, Serve, r.FRESH, "§5.2.2.4"),
    ("invalidated", get(), [INVALIDATED], 1, BARE, Revalidate, r.NO_CACHE, "§4.4"),
    ("must-revalidate, fresh", get(), saying("must-revalidate"), 99, BARE, Serve, r.FRESH, "§5.2.2.2"),
    ("must-revalidate, stale", get(), saying("must-revalidate"), 101, BARE, Revalidate, r.STALE, "§5.2.2.2"),
    ("vary-miss", get("A: 2"), [stored("Cache-Control: max-age=9", "Vary: A", request=get("A: 1"))], 0, BARE, Fetch,
        r.VARY_MISS, "§4.1"),
    ("stale-while-revalidate", get(), [LENIENT], 149.9, BARE, Serve, r.STALE_WHILE_REVALIDATE, "RFC 5861 §3"),
    ("beyond it", get(), [LENIENT], 150, BARE, Revalidate, r.STALE, "RFC 5861 §3"),
    ("stale-while-revalidate beside must-revalidate", get(), saying("stale-while-revalidate=50, must-revalidate"), 101,
        BARE, Revalidate, r.STALE, "§4.2.4"),
    ("stale-if-error alone allows nothing", get(), [LENIENT], 160, BARE, Revalidate, r.STALE, "RFC 5861 §4"),
]  # fmt: skip

REQUESTS: list[Row] = [
    ("max-age, young enough", asking("max-age=10"), [PLAIN], 10, BARE, Serve, r.FRESH, "§5.2.1.1"),
    ("max-age, too old", asking("max-age=10"), [PLAIN], 11, BARE, Revalidate, r.REQUEST_MAX_AGE, "§5.2.1.1"),
    ("max-age=0", asking("max-age=0"), [PLAIN], 0, BARE, Revalidate, r.REQUEST_MAX_AGE, "§5.2.1.1"),
    ("max-age that makes no sense", asking("max-age=x"), [PLAIN], 0, BARE, Revalidate, r.REQUEST_MAX_AGE, "§1.2.2"),
    ("max-age does not make stale fresh", asking("max-age=500"), [PLAIN], 101, BARE, Revalidate, r.STALE, "§5.2.1.1"),
    ("max-age without max-stale: no stale response", asking("max-age=500"), [LENIENT], 101, BARE, Revalidate, r.STALE,
        "§5.2.1.1"),
    ("max-age with max-stale", asking("max-age=110, max-stale"), [PLAIN], 110, BARE, Serve, r.MAX_STALE, "§5.2.1.1"),
    ("max-age limits max-stale", asking("max-age=110, max-stale"), [PLAIN], 111, BARE, Revalidate, r.STALE, "§5.2.1.1"),
    ("max-stale of any age", asking("max-stale"), [PLAIN], 10**6, BARE, Serve, r.MAX_STALE, "§5.2.1.2"),
    ("max-stale, enough", asking("max-stale=5"), [PLAIN], 105.9, BARE, Serve, r.MAX_STALE, "§5.2.1.2"),
    ("max-stale, not enough", asking("max-stale=5"), [PLAIN], 106, BARE, Revalidate, r.STALE, "§5.2.1.2"),
    ("max-stale that makes no sense", asking("max-stale=x"), [PLAIN], 101, BARE, Revalidate, r.STALE, "§1.2.2"),
    ("max-stale on a fresh response", asking("max-stale=5"), [PLAIN], 1, BARE, Serve, r.FRESH, "§5.2.1.2"),
    ("max-stale against must-revalidate", asking("max-stale"), saying("must-revalidate"), 101, BARE, Revalidate,
        r.STALE, "§4.2.4"),
    ("max-stale against proxy-revalidate", asking("max-stale"), saying("proxy-revalidate"), 101, BARE, Revalidate,
        r.STALE, "§4.2.4"),
    ("max-stale against s-maxage", asking("max-stale"), saying("s-maxage=100"), 101, BARE, Revalidate, r.STALE,
        "§5.2.2.10"),
    ("max-stale against no-cache", asking("max-stale"), saying("no-cache"), 101, BARE, Revalidate, r.NO_CACHE,
        "§4.2.4"),
    ("max-stale against invalidation", asking("max-stale"), [INVALIDATED], 101, BARE, Revalidate, r.NO_CACHE, "§4.4"),
    ("min-fresh, fresh enough", asking("min-fresh=90"), [PLAIN], 10, BARE, Serve, r.FRESH, "§5.2.1.3"),
    ("min-fresh, not enough", asking("min-fresh=90"), [PLAIN], 11, BARE, Revalidate, r.REQUEST_MIN_FRESH, "§5.2.1.3"),
    ("min-fresh allows no stale response", asking("min-fresh=1"), [LENIENT], 101, BARE, Revalidate, r.STALE,
        "§5.2.1.3"),
    ("no-cache", asking("no-cache"), [PLAIN], 0, BARE, Revalidate, r.REQUEST_NO_CACHE, "§5.2.1.4"),
    ("no-cache and max-stale", asking("no-cache, max-stale"), [PLAIN], 101, BARE, Revalidate, r.REQUEST_NO_CACHE,
        "§5.2.1.4"),
    ("no-store does not forbid what is stored", asking("no-store"), [PLAIN], 0, BARE, Serve, r.FRESH, "§5.2.1.5"),
    ("no-transform changes nothing", asking("no-transform"), [PLAIN], 0, BARE, Serve, r.FRESH, "§5.2.1.6"),
    ("only-if-cached, fresh", asking("only-if-cached"), [PLAIN], 0, BARE, Serve, r.FRESH, "§5.2.1.7"),
    ("only-if-cached, stale", asking("only-if-cached"), [PLAIN], 101, BARE, Refuse, r.ONLY_IF_CACHED, "§5.2.1.7"),
    ("only-if-cached, nothing", asking("only-if-cached"), [], 0, BARE, Refuse, r.ONLY_IF_CACHED, "§5.2.1.7"),
    ("only-if-cached, stale accepted", asking("only-if-cached, max-stale"), [PLAIN], 101, BARE, Serve, r.MAX_STALE,
        "§5.2.1.7"),
    ("only-if-cached, with no-cache", asking("only-if-cached, no-cache"), [PLAIN], 0, BARE, Refuse, r.ONLY_IF_CACHED,
        "§5.2.1.7"),
    ("only-if-cached, with credentials", get(OIC, AUTH), [PLAIN], 0, BARE, Refuse, r.ONLY_IF_CACHED, "§5.2.1.7"),
    ("unknown directives", asking("x, y=1"), [PLAIN], 0, BARE, Serve, r.FRESH, "§5.2.3"),
    ("directives have no case", asking("No-Cache"), [PLAIN], 0, BARE, Revalidate, r.REQUEST_NO_CACHE, "§5.2"),
    ("Pragma: no-cache", get("Pragma: no-cache"), [PLAIN], 0, BARE, Revalidate, r.REQUEST_NO_CACHE, "§5.4"),
    ("Pragma beside Cache-Control", get("Pragma: no-cache", "Cache-Control: max-stale=1"), [PLAIN], 0, BARE, Serve,
        r.FRESH, "§5.4"),
    ("another Pragma", get("Pragma: x"), [PLAIN], 0, BARE, Serve, r.FRESH, "§5.4"),
]  # fmt: skip

CREDENTIALS: list[Row] = [
    ("authorized, not marked as shared", get(AUTH), [PLAIN], 0, BARE, Fetch, r.CREDENTIALS, "§3.5"),
    ("authorized, public", get(AUTH), [PUBLIC], 0, BARE, Serve, r.FRESH, "§3.5"),
    ("authorized, s-maxage", get(AUTH), saying("s-maxage=100"), 0, BARE, Serve, r.FRESH, "§3.5"),
    ("authorized, must-revalidate", get(AUTH), saying("must-revalidate"), 0, BARE, Serve, r.FRESH, "§3.5"),
    ("authorized, proxy-revalidate", get(AUTH), saying("proxy-revalidate"), 0, BARE, Fetch, r.CREDENTIALS, "§3.5"),
    ("authorized, stale", get(AUTH), [PLAIN], 101, BARE, Fetch, r.CREDENTIALS, "§3.5"),
    ("Cookie is no matter of the standard's", get(COOKIE), [PLAIN], 0, BARE, Serve, r.FRESH, "§7.3"),
    ("a TTL of ours is not for Cookie", get(COOKIE), [GIVEN], 0, TTL, Fetch, r.CREDENTIALS, "configured"),
    ("nor for authorized", get(AUTH), [GIVEN], 0, TTL, Fetch, r.CREDENTIALS, "configured"),
    ("nor for authorized and public", get(AUTH), [GIVEN_PUBLIC], 0, TTL, Fetch, r.CREDENTIALS, "configured"),
    ("unless told so", get(AUTH, COOKIE), [GIVEN], 0, TO_ALL, Serve, r.FRESH, "configured"),
    ("which is not for what the origin timed", get(AUTH), [PLAIN], 0, TO_ALL, Fetch, r.CREDENTIALS, "§3.5"),
    ("another spelling", get("aUTHORIZATION: x"), [PLAIN], 0, BARE, Fetch, r.CREDENTIALS, "RFC 9110 §5.1"),
]  # fmt: skip

ROWS = RESPONSES + REQUESTS + CREDENTIALS


@table("about request_ entries elapsed options decision reason anchor", ROWS)
def test_decide(
    about: str,
    request_: Request,
    entries: list[Entry],
    elapsed: float,
    options: Options,
    decision: type[Decision],
    reason: Reason,
    anchor: str,
) -> None:
    decided = decide(request_, entries, NOW + elapsed, options)
    assert (type(decided), decided.reason) == (decision, reason), anchor
    if isinstance(decided, Serve | Revalidate):
        assert decided.entry is entries[0]
    if isinstance(decided, Serve):
        assert decided.refresh is (reason is r.STALE_WHILE_REVALIDATE)
    if isinstance(decided, Refuse):
        assert decided.status == 504


NEVER = [
    # about, request, reason; None: the store is asked
    ("GET", get(), None),
    ("HEAD", head(), None),
    ("POST", get(method=b"POST"), r.METHOD),
    ("OPTIONS", get(method=b"OPTIONS"), r.METHOD),
    ("a method nobody knows", get(method=b"PROPFIND"), r.METHOD),
    ("methods have case", get(method=b"get"), r.METHOD),
    ("GET with content", get(has_content=True), r.CONTENT),
    ("Upgrade", get("Upgrade: websocket"), r.PROTOCOL_UPGRADE),
    ("If-Match", get('If-Match: "1"'), r.PRECONDITION),
    ("If-Unmodified-Since", get("If-Unmodified-Since: x"), r.PRECONDITION),
    ("If-None-Match", get('If-None-Match: "1"'), None),
    ("Range", get("Range: bytes=0-1"), None),
]


@table("about request_ reason", NEVER)
def test_never_from_cache(about: str, request_: Request, reason: Reason | None) -> None:
    assert never_from_cache(request_) is reason


@pytest.mark.parametrize("elapsed", [0, 50, 99, 100, 149, 10**6])
@pytest.mark.parametrize("directives", ["", "no-cache", "max-stale", "max-age=0", "only-if-cached", "min-fresh=1"])
def test_credentials_are_looked_at_first(directives: str, elapsed: float) -> None:
    """Law 4: whatever else a request says, an entry that is not for its credentials is not used for it."""
    for entry in (PLAIN, LENIENT, GIVEN):
        request = get(AUTH, *([f"Cache-Control: {directives}"] if directives else []))
        assert isinstance(decide(request, [entry], NOW + elapsed, TTL), Fetch | Refuse)
