"""The one table of field names this proxy treats specially, each with a bit (RFC 9110 §5, §18.4).

A message carries the bit-wise OR of its fields' bits. Most questions ("is there a Range?", "does this request need
more thought than a plain hit?") are then one AND, and a value is searched for only when it is known to be there.
`REPEATED` is not a field: it says that a field which may occur only once (SINGLETONS) occurred again.
"""

from typing import Final

from springhouse.http import unkeyed
from springhouse.http.memo import KIB, Memo, bound

Field = tuple[bytes, bytes]

# Fields of requests come first, so that the masks of the hot path stay small integers.
REPEATED: Final = 1 << 0
HOST: Final = 1 << 1
CONNECTION: Final = 1 << 2
CONTENT_LENGTH: Final = 1 << 3
TRANSFER_ENCODING: Final = 1 << 4
EXPECT: Final = 1 << 5
UPGRADE: Final = 1 << 6
CACHE_CONTROL: Final = 1 << 7
PRAGMA: Final = 1 << 8
RANGE: Final = 1 << 9
IF_RANGE: Final = 1 << 10
IF_MATCH: Final = 1 << 11
IF_NONE_MATCH: Final = 1 << 12
IF_MODIFIED_SINCE: Final = 1 << 13
IF_UNMODIFIED_SINCE: Final = 1 << 14
AUTHORIZATION: Final = 1 << 15
COOKIE: Final = 1 << 16
CDN_LOOP: Final = 1 << 17
MAX_FORWARDS: Final = 1 << 18
VIA: Final = 1 << 19
HOP_BY_HOP: Final = 1 << 20
FORWARDING: Final = 1 << 21
OVERRIDING: Final = 1 << 22
AGE: Final = 1 << 23
DATE: Final = 1 << 24
EXPIRES: Final = 1 << 25
ETAG: Final = 1 << 26
LAST_MODIFIED: Final = 1 << 27
VARY: Final = 1 << 28
SET_COOKIE: Final = 1 << 29
LOCATION: Final = 1 << 30
CONTENT_LOCATION: Final = 1 << 31
CONTENT_RANGE: Final = 1 << 32
CACHE_STATUS: Final = 1 << 33
X_CACHE: Final = 1 << 34
TARGETED: Final = 1 << 35
PROXY_ONLY: Final = 1 << 36
TAGS: Final = 1 << 38
CACHE_GROUPS: Final = 1 << 39
CONTENT_TYPE: Final = 1 << 42
UNWANTED: Final = 1 << 40
"""No request goes on with it: in `http.unkeyed`, or spelled so that an origin may take it for another of the table."""
ODD: Final = 1 << 41
"""Not in the table, but of signs that many an origin reads as `-`: another name for one that Vary may list."""

_UNKEYED: Final = {
    **dict.fromkeys(unkeyed.ABOUT_CLIENT_NAMES, FORWARDING),
    **dict.fromkeys(unkeyed.OVERRIDING_NAMES, OVERRIDING),
    **dict.fromkeys(unkeyed.UNWANTED_NAMES, UNWANTED),
}
_FAMILIES: Final = [(name[:-1], bit) for name, bit in _UNKEYED.items() if name.endswith(b"*")]

BITS: Final[dict[bytes, int]] = {
    b"host": HOST,
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"expect": EXPECT,
    b"upgrade": UPGRADE,
    b"cache-control": CACHE_CONTROL,
    b"pragma": PRAGMA,
    b"range": RANGE,
    b"if-range": IF_RANGE,
    b"if-match": IF_MATCH,
    b"if-none-match": IF_NONE_MATCH,
    b"if-modified-since": IF_MODIFIED_SINCE,
    b"if-unmodified-since": IF_UNMODIFIED_SINCE,
    b"authorization": AUTHORIZATION,
    b"cookie": COOKIE,
    b"cdn-loop": CDN_LOOP,
    b"max-forwards": MAX_FORWARDS,
    b"via": VIA,
    # Connection-specific and never forwarded (RFC 9110 §7.6.1).
    b"keep-alive": HOP_BY_HOP,
    b"proxy-connection": HOP_BY_HOP,
    b"te": HOP_BY_HOP,
    b"trailer": HOP_BY_HOP,
    b"http2-settings": HOP_BY_HOP,
    b"age": AGE,
    b"date": DATE,
    b"expires": EXPIRES,
    b"etag": ETAG,
    b"last-modified": LAST_MODIFIED,
    b"vary": VARY,
    b"set-cookie": SET_COOKIE,
    b"location": LOCATION,
    b"content-location": CONTENT_LOCATION,
    b"content-type": CONTENT_TYPE,
    b"content-range": CONTENT_RANGE,
    b"cache-status": CACHE_STATUS,
    b"x-cache": X_CACHE,
    b"cdn-cache-control": TARGETED,
    b"surrogate-control": TARGETED,
    b"surrogate-capability": HOP_BY_HOP,
    # What caches purge by.
    b"surrogate-key": TAGS,
    b"xkey": TAGS,
    b"cache-tag": TAGS,
    b"cache-groups": CACHE_GROUPS,
    b"cache-group-invalidation": CACHE_GROUPS,
    # Between a proxy and its neighbour, not to be stored (RFC 9111 §3.1).
    b"proxy-authenticate": PROXY_ONLY,
    b"proxy-authentication-info": PROXY_ONLY,
    b"proxy-authorization": PROXY_ONLY,
    **{name: bit for name, bit in _UNKEYED.items() if not name.endswith(b"*")},
}

NOMINATES: Final = 1 << 37
"""Not a field either: Connection lists more than one of its two usual options."""
PLAIN_CONNECTION: Final = frozenset({b"keep-alive", b"Keep-Alive", b"close", b"Close"})

CREDENTIAL_FIELDS: Final = AUTHORIZATION | COOKIE
"""A request with one of these may be answered for one user alone."""

SINGLETONS: Final = HOST | CONTENT_LENGTH | TRANSFER_ENCODING
"""A repetition of one of these makes a request ambiguous; it is refused (RFC 9112 §3.2, §6.3)."""

WATCHED: Final = SINGLETONS | CONNECTION
"""Fields whose value or number matters as soon as they are met."""

KEEPS_ALIVE: Final = CONNECTION | HOP_BY_HOP
"""Fields by which HTTP/1.0 may ask to keep a connection; without them only HTTP/1.1 does."""
CONNECTION_SPECIFIC: Final = CONNECTION | HOP_BY_HOP | TRANSFER_ENCODING | UPGRADE | PROXY_ONLY
"""Never forwarded as they came (RFC 9110 §7.6.1)."""

MADE_ANEW: Final = CONTENT_LENGTH | X_CACHE
"""Of a response: each message gets its own."""

_spellings: Final[Memo[bytes, int]] = Memo(
    bound("field names", 512 * KIB, "spellings of field names that are not usual for those of the table"),
    lambda name: _bit_of(name.lower()),
    known={**BITS, **{name.title(): bit for name, bit in BITS.items()}},
    item_max=256,
)
bit_of_spelling = _spellings.get
"""The bit of a name as spelled, None for a spelling not met before: ask `learn` then."""
learn = _spellings.__getitem__
"""Return the bit of a field name in any spelling (0: not in the table), and remember the spelling if it is short."""


def _bit_of(name: bytes) -> int:
    """Return the bit of a lower-case name. Signs other than `-` make it another name, which may deceive an origin."""
    bit = BITS.get(name)
    if bit is not None:
        return bit
    folded = unkeyed.folded(name)
    bit = BITS.get(folded) or next((bit for prefix, bit in _FAMILIES if folded.startswith(prefix)), 0)
    if folded == name:
        return bit
    if not unkeyed.is_of_words(name):
        return 0
    return UNWANTED if bit else ODD


def bit_of(name: bytes) -> int:
    """Return the bit of a field name in any spelling; 0 when the table does not have it."""
    bit = bit_of_spelling(name)
    return learn(name) if bit is None else bit
