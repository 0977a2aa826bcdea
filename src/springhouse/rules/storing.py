"""Whether a response may be stored, and the entry it becomes (RFC 9111 §3)."""

from springhouse.http import dates, etags
from springhouse.http.fields import (
    AGE,
    AUTHORIZATION,
    CACHE_CONTROL,
    CACHE_GROUPS,
    CONTENT_LOCATION,
    DATE,
    OVERRIDING,
    SET_COOKIE,
    TAGS,
    VARY,
    Field,
)
from springhouse.http.messages import Request, Response
from springhouse.rules import keys, labels, reasons, variants
from springhouse.rules.answer import Answer
from springhouse.rules.entry import VIA_1_0, Entry
from springhouse.rules.freshness import Lifespan, explicit_lifetime, lifespan, may_give_ttl, without_freshness
from springhouse.rules.options import Options
from springhouse.rules.policy import Policy, policy_of
from springhouse.rules.reasons import Reason
from springhouse.rules.reuse import directives_of
from springhouse.rules.statuses import UNDERSTOOD, refusal_of
from springhouse.rules.streams import is_stream


def keep(request: Request, key: bytes, answer: Answer, options: Options) -> Entry | Reason:
    """Return the entry that the answer to a GET becomes, or the reason why it may not be stored."""
    response, length = answer.response, answer.length
    policy = policy_of(response)
    if forbids_storing(policy, options):  # the most frequent refusal, before anything is computed
        return reasons.MALFORMED if policy.is_vetoed else reasons.NO_STORE
    given = may_give_ttl(request, response, policy, options)
    refusal = may_not_store(request, response, policy, options, given=given)
    if refusal:
        return refusal
    if is_stream(response):
        return reasons.STREAM
    if length is not None and options.max_object is not None and length > options.max_object:
        return reasons.TOO_LARGE
    span = lifespan(request, answer, policy, options, may_give=given)
    if isinstance(span, Reason):
        return span
    if request.bits & AUTHORIZATION and not span.given and not policy.shareable:
        return reasons.AUTHORIZED  # a TTL of ours may be for everybody; what the origin timed is not
    received_at = answer.received_at
    entry = Entry(key, response.status, response.reason, stored_fields(response, policy, received_at, options))
    entry.is_redacted = bool(policy.withheld)
    if response.bits & VARY:
        entry.vary = variants.vary_names(response)
        entry.selector = variants.selector(request, entry.vary)
    entry.requested_at, entry.received_at = answer.requested_at, received_at
    entry.date = span.date
    entry.length = length
    entry.authorized = bool(request.bits & AUTHORIZATION)
    if response.bits & (TAGS | CACHE_GROUPS):
        entry.tags, entry.groups = labels.tags_of(response), labels.groups_of(response)
    _set_lifetime(entry, span, policy, forced=span.given and options.force_ttl and response.status == 200)
    if is_reusable(entry):
        if options.stale_if_error and policy.stale_if_error is None and not policy.is_malformed:
            entry.stale_if_error_until += options.stale_if_error
        return entry
    return without_freshness(request, response, policy, options) if span.guessed else reasons.NOT_REUSABLE


def keep_for_get(request: Request, key: bytes, answer: Answer, options: Options) -> Entry | None:
    """Return the entry for later GETs that the answer to a POST becomes (RFC 9110 §9.3.3), usually None.

    Only with explicit freshness and a Content-Location that names the POST's own target.
    """
    response, received_at = answer.response, answer.received_at
    if request.method != b"POST" or response.status != 200 or not response.bits & CONTENT_LOCATION:
        return None
    if request.bits & OVERRIDING:
        return None  # perhaps it is not about this target, or was no POST
    location = response.value(b"content-location", CONTENT_LOCATION)
    if location is None or keys.same_origin(key, location) != key:
        return None
    if explicit_lifetime(response, policy_of(response), int(received_at), received_at) is None:
        return None
    # Vary would compare the fields of a POST with those of a GET: such a response is not worth the doubt.
    if variants.vary_names(response):
        return None
    kept = keep(request, key, answer, options)
    return kept if isinstance(kept, Entry) else None


def is_reusable(entry: Entry) -> bool:
    """Return whether the entry can ever answer another request: fresh, validated, or stale by permission."""
    if (entry.lifetime > 0 and not entry.no_cache) or entry.etag or entry.last_modified:
        return True
    return max(entry.stale_if_error_until, entry.stale_while_revalidate_until) > entry.fresh_until


def may_not_store(
    request: Request, response: Response, policy: Policy, options: Options, *, given: bool
) -> Reason | None:
    """Go down the list of §3 and return the first reason against storing; freshness and size are not looked at.

    `given`: a TTL of ours may apply.
    """
    is_forced = given and options.force_ttl and response.status == 200
    overridden = is_forced and options.ttl_despite_no_store
    refusal = None if response.status == 200 else refusal_of(response.status)
    if refusal is not None:
        return refusal
    if policy.must_understand and response.status not in UNDERSTOOD:
        return reasons.NOT_UNDERSTOOD
    if policy.no_store and not policy.must_understand and not overridden:
        return reasons.MALFORMED if policy.is_vetoed else reasons.NO_STORE
    if request.bits & CACHE_CONTROL and b"no-store" in directives_of(request):
        return reasons.REQUEST_NO_STORE
    if policy.private and not overridden:
        return reasons.PRIVATE
    is_given_to_all = given and options.ttl_despite_credentials
    if request.bits & AUTHORIZATION and not policy.shareable and not is_given_to_all:
        return reasons.AUTHORIZED
    if response.bits & SET_COOKIE and options.set_cookie == "refuse" and not (overridden or policy.cookie_apart):
        return reasons.SETS_COOKIE
    return reasons.VARY_STAR if response.bits & VARY and variants.vary_names(response) == (variants.STAR,) else None


def forbids_storing(policy: Policy, options: Options) -> bool:
    """Return whether the response may not be stored whatever else it and the request say (§5.2.2.5)."""
    return policy.no_store and not policy.must_understand and not options.ttl_despite_no_store


def stored_fields(response: Response, policy: Policy, received_at: float, options: Options) -> list[Field]:
    """Return the fields to store (§3.1): end-to-end, without those that `private` names, with a Date.

    Age, X-Cache and Content-Length are left out (they are made anew for each use); what the options withhold, too.
    """
    fields = response.end_to_end(AGE | options.withheld | (SET_COOKIE if options.set_cookie == "strip" else 0))
    if policy.withheld:
        fields = [f for f in fields if f[0].lower() not in policy.withheld]
    if not response.bits & DATE:
        fields.append((b"Date", dates.encode(int(received_at))))
    if response.is_http_1_0:
        fields.append(VIA_1_0)
    return fields


def _set_lifetime(entry: Entry, span: Lifespan, policy: Policy, *, forced: bool) -> None:
    """Turn durations into instants. A forced TTL also sets aside no-cache and must-revalidate."""
    entry.born_at, entry.lifetime, entry.given_ttl = span.born_at, span.lifetime, span.given
    entry.fresh_until = entry.stale_while_revalidate_until = entry.stale_if_error_until = span.born_at + span.lifetime
    entry.shareable = policy.shareable
    if not forced:  # windows that are none share the instant: most entries have neither
        entry.no_cache = policy.no_cache
        entry.max_stale_allowed = policy.stale_allowed
        if policy.stale_while_revalidate:
            entry.stale_while_revalidate_until += policy.stale_while_revalidate
        if policy.stale_if_error:
            entry.stale_if_error_until += policy.stale_if_error


def has_strong_validator(entry: Entry) -> bool:
    """Return whether the entry's ETag proves identical bytes (RFC 9110 §8.8.1)."""
    return entry.etag is not None and etags.is_strong(entry.etag)
