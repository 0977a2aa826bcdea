"""Whether a path climbs above where it starts, for any of the servers that may read it (RFC 3986 §5.2.4, §6.2.2).

Servers do not agree on what a path is: some decode it twice, some decode dots but not slashes, take `\\` for `/`, drop
what follows `;` or NUL, merge empty segments, or read characters that only look like a dot. So each segment counts as
what leads highest of all that it may be.
"""

import re
import unicodedata
from typing import Final
from urllib.parse import unquote_to_bytes

_ROUNDS_MAX: Final = 8
_SEGMENTS_MAX: Final = 256
_WIDE = re.compile(rb"%u([0-9a-f]{4})", re.IGNORECASE)
_OVERLONG = re.compile(rb"(?:\xc0|\xe0\x80|\xf0\x80\x80)([\xae\xaf])|(?:\xc1|\xe0\x81|\xf0\x80\x81)\x9c")
_READ_AS: Final = str.maketrans(
    {**dict.fromkeys("\\\u2044\u2215\u2216\u29f5", "/"), **dict.fromkeys([*map(chr, range(1, 33)), "\x7f"], "")}
)
_CUT = re.compile(r"[;?#\x00].*", re.DOTALL)


def climbs(path: bytes) -> bool:
    """Return whether a path that starts with a slash may be read such that it leads above that slash."""
    if b".." not in path and b"%" not in path and path.isascii():
        return False
    decoded = _decoded(path)
    if decoded is not None and ".." not in decoded:
        return False
    segments = path.split(b"/")
    if decoded is None or len(segments) > _SEGMENTS_MAX:
        return True
    depth = 0
    for segment in segments:
        lowest, end = _course(_decoded(segment) or "")
        if depth + lowest < 0:
            return True
        depth += min(1, end)  # with all its slashes encoded it may be one segment
    return False


def _decoded(path: bytes) -> str | None:
    """Return a path as it reads when it is decoded as often as there is something to decode, None: there is no end."""
    for _ in range(_ROUNDS_MAX):
        before = path
        path = unquote_to_bytes(_WIDE.sub(lambda wide: chr(int(wide[1], 16)).encode("utf-8", "replace"), path))
        if path == before:
            break
    else:
        return None
    path = _OVERLONG.sub(lambda long: bytes((long[1][0] & 0x3F,)) if long[1] else b"/", path)
    return unicodedata.normalize("NFKC", path.decode("utf-8", "ignore")).translate(_READ_AS)


def _course(decoded: str) -> tuple[int, int]:
    """Return the lowest point on the way along decoded segments, and its end."""
    lowest = depth = 0
    for segment in decoded.split("/"):
        depth += _rise(segment)
        lowest = min(lowest, depth)
    return lowest, depth


def _rise(segment: str) -> int:
    """Return by how much a decoded segment changes the depth: -1 for dots, 0 for what may be nothing, else 1."""
    name = _CUT.sub("", segment)
    if name.strip("."):
        return 1
    return -1 if len(name) > 1 else 0
