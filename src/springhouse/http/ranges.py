"""Byte ranges (RFC 9110 §14): a Range value against a known length."""

import re

_ONE_RANGE = re.compile(rb"bytes[ \t]*=[ \t]*(\d{0,19})-(\d{0,19})[ \t]*", re.IGNORECASE)

_COPIED_MAX = 16 * 1024
"""Up to here a copy costs less than what is done about a view."""


def view_of(content: bytes, start: int, stop: int | None) -> bytes | memoryview:
    """Return a part of content: what is large is not copied."""
    size = (len(content) if stop is None else stop) - start
    return content[start:stop] if size <= _COPIED_MAX else memoryview(content)[start:stop]


def resolve(value: bytes, length: int) -> tuple[int, int] | bool | None:
    """Return (start, stop), stop exclusive, for a single satisfiable byte range.

    False: a valid single range that the length cannot satisfy (416). None: anything else, to be ignored as §14.2
    allows: another unit, several ranges, nonsense.
    """
    found = _ONE_RANGE.fullmatch(value)
    if not found:
        return None
    low, high = found.groups()
    if not low:
        if not high:
            return None
        return (max(0, length - int(high)), length) if int(high) and length else False
    start = int(low)
    if high and int(high) < start:
        return None
    if start >= length:
        return False
    return start, min(int(high) + 1, length) if high else length
