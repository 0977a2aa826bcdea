"""What entries are labelled with, to be purged by: tags, and cache groups (RFC 9875).

- A *tag* belongs to all of the cache. Surrogate-Key and xkey name tags separated by spaces, Cache-Tag by commas. They
  are for caches, not for clients, and go no further unless the operator wants them to.
- A *group* belongs to one origin (RFC 9875 §2). Cache-Groups is a List of Strings.
- A *label* is either of them as stores index it: bytes that contain the kind, and for a group the origin, so that a
  tag and a group of one name, or groups of two origins, are never taken for each other.
"""

from springhouse.http.fields import CACHE_GROUPS, TAGS
from springhouse.http.headers import members, values
from springhouse.http.messages import Response
from springhouse.http.structured import strings
from springhouse.rules.entry import Entry
from springhouse.rules.keys import origin_of

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


def labels_of(entry: Entry) -> frozenset[bytes]:
    """Return the labels of an entry: its tags, and its groups with their origin."""
    if not entry.tags and not entry.groups:
        return frozenset()
    origin = origin_of(entry.key)
    return frozenset(
        [label_of_tag(tag) for tag in entry.tags] + [label_of_group(origin, each) for each in entry.groups]
    )


def label_of_tag(tag: bytes) -> bytes:
    """Return the label of a tag."""
    return b"tag " + tag


def label_of_group(origin: bytes, group: bytes) -> bytes:
    """Return the label of an origin's group; an origin contains no space."""
    return b"group " + origin + b" " + group
