"""What a response may be purged by: tags, and cache groups (RFC 9875).

Tags come in Surrogate-Key and xkey, separated by spaces, and in Cache-Tag, separated by commas. They are for caches,
not for clients, and go no further unless the operator wants them to. Cache-Groups is a List of Strings.
"""

from springhouse.http.fields import CACHE_GROUPS, TAGS
from springhouse.http.headers import members, values
from springhouse.http.messages import Response
from springhouse.http.structured import strings

TAGS_MAX = 1024
"""More tags than this on one response are not looked at."""


def tags_of(response: Response) -> tuple[bytes, ...]:
    """Return the response's tags, each once, in order."""
    if not response.bits & TAGS:
        return ()
    found: list[bytes] = []
    for name in (b"surrogate-key", b"xkey"):
        for value in values(response.fields, name):
            found += value.split()
    for value in values(response.fields, b"cache-tag"):
        found += members(value)
    return tuple(dict.fromkeys(found[:TAGS_MAX]))


def groups_of(response: Response) -> tuple[bytes, ...]:
    """Return the groups a response belongs to; none when the field does not parse (RFC 9875 §2)."""
    if not response.bits & CACHE_GROUPS:
        return ()
    return strings(values(response.fields, b"cache-groups"))


def groups_to_invalidate(response: Response) -> tuple[bytes, ...]:
    """Return the groups that the answer to an unsafe request invalidates (RFC 9875 §3)."""
    if not response.bits & CACHE_GROUPS:
        return ()
    return strings(values(response.fields, b"cache-group-invalidation"))
