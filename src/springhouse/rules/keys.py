"""The cache key (RFC 9111 §2): exactly what the origin was asked, method apart.

A key is the URI itself: scheme, authority and target bytes as sent. Schemes and authorities contain no `/`, and a
target starts with one, so two different triples never give the same bytes.
"""

import re
from typing import Final
from urllib.parse import urljoin, urlsplit

from springhouse.http.memo import bound

REFERENCE_MAX = 8 * 1024
"""Nothing is stored under a longer key by default, and Python's own memory of URLs is bounded by number only."""
_URLS = bound("URLs", 128 * 4 * REFERENCE_MAX, "the 128 that Python has parsed last", grows_with=("--max-target",))
_AUTHORITY: Final = re.compile(r"[^/?]+")


def key_of(scheme: bytes, authority: bytes, target: bytes) -> bytes:
    """Return the key; `authority` lower-case, `target` the request target in origin form, byte for byte."""
    return scheme + b"://" + authority + target


def origin_of(key: bytes) -> bytes:
    """Return the `scheme://authority` of a key."""
    end = key.find(b"/", key.find(b"://") + 3)
    return key if end < 0 else key[:end]


def same_origin(key: bytes, reference: bytes) -> bytes | None:
    """Return the key that a Location or Content-Location names, None when its origin is another (§4.4).

    `reference` is resolved against the key as a URI (RFC 3986 §5); a fragment is dropped.
    """
    if len(reference) > REFERENCE_MAX:
        return None
    base = key.decode("latin-1")
    try:
        target = urlsplit(urljoin(base, reference.decode("latin-1")))
        ours = urlsplit(base)
    except ValueError:
        return None
    if (target.scheme, target.netloc.lower()) != (ours.scheme, ours.netloc):
        return None
    query = f"?{target.query}" if target.query else ""
    return f"{target.scheme}://{target.netloc.lower()}{target.path or '/'}{query}".encode("latin-1")


def parts_of_url(url: str) -> tuple[bytes, bytes, bytes]:
    """Return scheme, authority, both lower-case, and target of an http URL, without its fragment. Raises ValueError."""
    scheme, _, rest = url.partition("#")[0].partition("://")
    authority = _AUTHORITY.match(rest)
    if scheme.lower() not in ("http", "https") or authority is None:
        raise ValueError(f"{url!r} is neither a path nor an http URL")
    target = rest[authority.end() :]
    target = target if target.startswith("/") else "/" + target
    return scheme.lower().encode(), authority[0].lower().encode(), target.encode()
