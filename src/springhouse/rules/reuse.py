"""What to do with a request, given what is stored (RFC 9111 §4, §5.2.1)."""

from collections.abc import Sequence

from springhouse.http.directives import Directives, cautious, seconds
from springhouse.http.fields import (
    AUTHORIZATION,
    CACHE_CONTROL,
    CREDENTIAL_FIELDS,
    IF_MATCH,
    IF_UNMODIFIED_SINCE,
    PRAGMA,
    UPGRADE,
)
from springhouse.http.headers import combined_value
from springhouse.http.messages import Request
from springhouse.rules import reasons
from springhouse.rules.decisions import Decision, Fetch, Refuse, Revalidate, Serve
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.rules.reasons import Reason
from springhouse.rules.variants import matching

NO_DIRECTIVES: Directives = {}


def decide(request: Request, variants: Sequence[Entry], now: float, options: Options) -> Decision:
    """Answer a GET or HEAD from the entries stored under its key, or say what to do instead."""
    asked = directives_of(request) if request.bits & (CACHE_CONTROL | PRAGMA) else NO_DIRECTIVES
    decision = _choose(request, variants, asked, now, options)
    if asked and b"only-if-cached" in asked and isinstance(decision, Revalidate | Fetch):
        return Refuse(504, reasons.ONLY_IF_CACHED)
    return decision


def never_from_cache(request: Request) -> Reason | None:
    """Return why a request is sent on without a look at the store, None when the store is to be asked."""
    if request.bits & UPGRADE:
        return reasons.PROTOCOL_UPGRADE
    if request.method not in (b"GET", b"HEAD"):
        return reasons.METHOD
    if request.has_content:
        return reasons.CONTENT
    if request.bits & (IF_MATCH | IF_UNMODIFIED_SINCE):
        return reasons.PRECONDITION
    return None


def directives_of(request: Request) -> Directives:
    """Return the request's directives; Pragma: no-cache counts where there is no Cache-Control (§5.4)."""
    if request.bits & CACHE_CONTROL:
        return cautious(combined_value(request.fields, b"cache-control"))
    if request.bits & PRAGMA and b"no-cache" in cautious(combined_value(request.fields, b"pragma")):
        return {b"no-cache": None}
    return {}


def _choose(request: Request, variants: Sequence[Entry], asked: Directives, now: float, options: Options) -> Decision:
    found = matching(request, variants) if variants else None
    if not found:
        return Fetch(reasons.VARY_MISS if variants else reasons.URI_MISS)
    entry = found[0]
    if not may_use_for_credentials(request, entry, options):
        return Fetch(reasons.CREDENTIALS)
    against = _objection(entry, asked, now)
    if against is None:
        return Serve(entry, reasons.FRESH)
    if against is not reasons.STALE:
        return Revalidate(entry, against)
    if may_serve_for_max_stale(entry, asked, now):
        return Serve(entry, reasons.MAX_STALE)
    if now < entry.stale_while_revalidate_until and not asked.keys() & {b"max-age", b"min-fresh"}:
        return Serve(entry, reasons.STALE_WHILE_REVALIDATE, refresh=True)
    return Revalidate(entry, against)


def may_use_for_credentials(request: Request, entry: Entry, options: Options) -> bool:
    """Return whether the entry may answer a request with credentials (§3.5, and more careful than it).

    With Authorization only what the origin marked as shared; a TTL of ours never reaches Authorization or Cookie.
    """
    if entry.given_ttl:
        return options.ttl_despite_credentials or not request.bits & CREDENTIAL_FIELDS
    return entry.shareable or not request.bits & AUTHORIZATION


def _objection(entry: Entry, asked: Directives, now: float) -> Reason | None:
    """Return what stands against using the entry as it is; STALE only when nothing stronger does."""
    if entry.no_cache or entry.invalidated:
        return reasons.NO_CACHE
    if b"no-cache" in asked:
        return reasons.REQUEST_NO_CACHE
    if not entry.is_fresh_at(now):
        return reasons.STALE
    oldest = seconds(asked, b"max-age")
    if oldest is not None and (oldest == 0 or entry.age_at(now) > oldest):
        return reasons.REQUEST_MAX_AGE
    if entry.ttl_at(now) < (seconds(asked, b"min-fresh") or 0):
        return reasons.REQUEST_MIN_FRESH
    return None


def may_serve_for_max_stale(entry: Entry, asked: Directives, now: float) -> bool:
    """Return whether the client's max-stale covers the entry (§5.2.1.2); never against the origin's word (§4.2.4)."""
    if b"max-stale" not in asked or not entry.max_stale_allowed:
        return False
    oldest = seconds(asked, b"max-age")
    if oldest is not None and entry.age_at(now) > oldest:
        return False
    return asked[b"max-stale"] is None or -entry.ttl_at(now) <= (seconds(asked, b"max-stale") or 0)
