"""Request targets as other servers leave them: decoded, or below the prefix that an application is mounted under."""

from urllib.parse import quote, unquote_to_bytes


def encoded_path(path: str | bytes) -> bytes:
    """Return a decoded path as a target; which of its characters had been encoded is lost."""
    return quote(path, safe="/:@!$&'()*+,;=-._~").encode()


def without_prefix(raw: bytes, root: bytes) -> bytes:
    """Return a raw path without a decoded mount prefix, however the client encoded that; unchanged if it lacks it."""
    root = root.rstrip(b"/")
    if not root:
        return raw
    at = decoded = 0
    while decoded < len(root) and at < len(raw):
        step = 3 if raw[at : at + 1] == b"%" else 1
        part = unquote_to_bytes(raw[at : at + step])
        if part != root[decoded : decoded + len(part)]:
            return raw
        at, decoded = at + step, decoded + len(part)
    rest = raw[at:]
    if decoded < len(root) or rest[:1] not in (b"", b"/"):
        return raw
    return rest or b"/"
