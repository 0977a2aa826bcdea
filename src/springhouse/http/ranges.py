"""Byte ranges (RFC 9110 §14): a Range value against a known length."""

import re

_ONE_RANGE = re.compile(rb"bytes[ \t]*=[ \t]*(\d{0,19})-(\d{0,19})[ \t]*", re.IGNORECASE)


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
