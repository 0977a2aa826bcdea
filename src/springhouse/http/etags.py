"""Entity tags and how they compare (RFC 9110 §8.8.3). A tag is kept as sent: `"x"` or `W/"x"`."""

import re

_TAGS = re.compile(rb'(?:[^,"]|"[^"]*"?)+')
"""Members of a list of tags. No quoted strings: a backslash in a tag is a character like any other."""


def opaque(tag: bytes) -> bytes:
    """Return the tag without its weakness mark."""
    return tag[2:] if tag.startswith(b"W/") else tag


def is_strong(tag: bytes) -> bool:
    """Return whether the tag may be used where bytes must be identical."""
    return not tag.startswith(b"W/")


def match_weakly(a: bytes, b: bytes) -> bool:
    """Compare for If-None-Match (§8.8.3.2)."""
    return opaque(a) == opaque(b)


def match_strongly(a: bytes, b: bytes) -> bool:
    """Compare for If-Range (§8.8.3.2)."""
    return a == b and is_strong(a)


def is_listed(tag: bytes | None, value: bytes) -> bool:
    """Return whether an If-None-Match value names the tag (§13.1.2); `*` names any representation."""
    listed = [member.strip(b" \t") for member in _TAGS.findall(value)]
    if listed == [b"*"]:
        return True
    return tag is not None and any(match_weakly(tag, other) for other in listed)
