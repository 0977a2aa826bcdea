"""The closed catalogue of reasons: why a request was answered, and a response kept, the way it was.

The same value feeds Cache-Status (RFC 9211), X-Cache, the access log and whatever else explains a decision. Names
are stable: they appear as `detail` tokens. Every reason is produced somewhere; a test holds that.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Reason:
    """Why. `token`: the value of `fwd` in Cache-Status where the reason sent a request on, else empty."""

    name: str
    text: str
    section: str
    token: str = ""


CATALOGUE: dict[str, Reason] = {}


def _reason(name: str, text: str, section: str, token: str = "") -> Reason:
    CATALOGUE[name] = reason = Reason(name, text, section, token)
    return reason


# Answered from the cache.
FRESH = _reason("fresh", "A stored response is fresh.", "RFC 9111 §4")
MAX_STALE = _reason("max-stale", "The client accepts a response this stale.", "RFC 9111 §5.2.1.2")
STALE_WHILE_REVALIDATE = _reason(
    "stale-while-revalidate", "Stale, but it may be served while it is being revalidated.", "RFC 5861 §3"
)
STALE_IF_ERROR = _reason("stale-if-error", "The origin failed, and the stored response may stand in.", "RFC 5861 §4")

# Sent on although something is stored.
STALE = _reason("stale", "The stored response is stale.", "RFC 9111 §4.2", "stale")
NO_CACHE = _reason("no-cache", "The stored response must be validated before each use.", "RFC 9111 §5.2.2.4", "stale")
REQUEST_NO_CACHE = _reason("request-no-cache", "The client wants a validated response.", "RFC 9111 §5.2.1.4", "request")
REQUEST_MAX_AGE = _reason("request-max-age", "Older than the client accepts.", "RFC 9111 §5.2.1.1", "request")
REQUEST_MIN_FRESH = _reason(
    "request-min-fresh", "It will not stay fresh as long as the client wants.", "RFC 9111 §5.2.1.3", "request"
)
CREDENTIALS = _reason(
    "credentials",
    "The request has credentials, and the response does not say that it is for everybody.",
    "RFC 9111 §3.5",
    "request",
)

# Sent on because nothing fits.
URI_MISS = _reason("uri-miss", "Nothing is stored for this target.", "RFC 9111 §4", "uri-miss")
VARY_MISS = _reason(
    "vary-miss", "What is stored was chosen by other values of the fields Vary names.", "RFC 9111 §4.1", "vary-miss"
)

# Never looked up.
METHOD = _reason("method", "The method's answer cannot come from a cache.", "RFC 9111 §4", "method")
CONTENT = _reason("content", "The request carries content, which is not part of the key.", "RFC 9110 §9.3.1", "bypass")
PROTOCOL_UPGRADE = _reason("upgrade", "The client wants to change protocols.", "RFC 9110 §7.8", "bypass")
PRECONDITION = _reason(
    "precondition", "If-Match and If-Unmodified-Since are for the origin.", "RFC 9111 §4.3.2", "request"
)

# Refused.
ONLY_IF_CACHED = _reason("only-if-cached", "The client wants nothing but a stored response.", "RFC 9111 §5.2.1.7")

# Kept.
STORED = _reason("stored", "The response may be stored.", "RFC 9111 §3")
VALIDATED = _reason("validated", "The origin confirmed the stored response.", "RFC 9111 §4.3.4")

# Not kept.
NO_STORE = _reason("no-store", "The response forbids storing it.", "RFC 9111 §5.2.2.5")
REQUEST_NO_STORE = _reason("request-no-store", "The client asked that nothing be stored.", "RFC 9111 §5.2.1.5")
PRIVATE = _reason("private", "The response is meant for a single user.", "RFC 9111 §5.2.2.7")
AUTHORIZED = _reason(
    "authorization", "The request was authorized and the response does not allow sharing.", "RFC 9111 §3.5"
)
SETS_COOKIE = _reason("set-cookie", "The response sets a cookie.", "RFC 9111 §7.3")
VARY_STAR = _reason("vary-star", "Vary: * never matches another request.", "RFC 9111 §4.1")
NOT_UNDERSTOOD = _reason("not-understood", "The status is not one this cache understands.", "RFC 9111 §3")
PARTIAL = _reason("partial", "Partial content is passed on, not stored.", "RFC 9111 §3.3")
STREAM = _reason("stream", "The media type is one of a stream, which has no end.", "RFC 9111 §3")
ONE_REQUEST = _reason("one-request", "The status is about something in this one request.", "RFC 9110 §15")
MALFORMED = _reason(
    "malformed", "What the response says about caching is not in a form that can be relied on.", "RFC 9111 §5.2"
)
NO_FRESHNESS = _reason("no-freshness", "Nothing says how long the response stays fresh.", "RFC 9111 §3")
STATUS_WITHOUT_TTL = _reason(
    "status-without-ttl", "No TTL of ours is for this status, and the response has none of its own.", "RFC 9111 §4.2.2"
)
NOT_REUSABLE = _reason(
    "not-reusable", "It would have to be validated before each use, and has no validator.", "RFC 9111 §3"
)
TOO_LARGE = _reason("too-large", "The response is larger than a stored object may be.", "RFC 9111 §3")
UNSOLICITED = _reason("unsolicited", "A 304 that confirms nothing stored here.", "RFC 9111 §4.3.4")

COLLAPSED = _reason("collapsed", "Another request was fetching it; its answer serves both.", "RFC 9111 §4")

# What became of the origin.
ORIGIN_FAILED = _reason("origin-failed", "The origin could not be reached or broke off.", "RFC 9110 §15.6.3")
