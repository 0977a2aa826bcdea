"""Operations on a header section: a list of (name, value) as received, names in any case (RFC 9110 §5)."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from springhouse.http.fields import (
    CONNECTION,
    CONNECTION_SPECIFIC,
    MADE_ANEW,
    NOMINATES,
    PLAIN_CONNECTION,
    REPEATED,
    SINGLETONS,
    Field,
    bit_of,
    bit_of_spelling,
    learn,
)

_MEMBERS = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


_NOT_PASSED = CONNECTION_SPECIFIC | MADE_ANEW


def bits_of(fields: Iterable[Field]) -> int:
    """OR the bits of all fields, with REPEATED when a singleton occurs twice."""
    bits = 0
    for name, value in fields:
        bit = bit_of(name)
        if bit & bits & SINGLETONS:
            bits |= REPEATED
        if bit == CONNECTION and value not in PLAIN_CONNECTION:
            bits |= NOMINATES
        bits |= bit
    return bits


def sort(fields: Iterable[Field]) -> tuple[int, dict[int, bytes | None], list[Field]]:
    """Return three things about a response's fields that are wanted of each.

    The OR of their bits; by bit the value where only one field has it, else None; and those that may be forwarded, if
    Connection nominates no others.
    """
    bits = 0
    found: dict[int, bytes | None] = {}
    passed: list[Field] = []
    for field in fields:
        name, value = field
        bit = bit_of_spelling(name)
        if bit is None:
            bit = learn(name)
        if bit:
            found[bit] = None if bit & bits else value
            bits |= bit
            if bit & _NOT_PASSED:
                continue
        passed.append(field)
    if bits & CONNECTION and found[CONNECTION] not in PLAIN_CONNECTION:
        bits |= NOMINATES
    return bits, found, passed


def lines_of(fields: Sequence[Field]) -> bytes:
    """Return the fields as lines, as they are sent; without the end of the last line.

    Raises ValueError when a field is no line, so that it cannot become two fields.
    """
    lines = b"\r\n".join(map(b": ".join, fields))
    if fields and lines.count(b"\r\n") != len(fields) - 1:
        raise ValueError("A field has a line break")
    return lines


def fields_of(lines: bytes) -> list[Field]:
    """Return the fields that were given to `lines_of`. Raises ValueError when one was none."""
    fields: list[Field] = []
    for line in lines.split(b"\r\n") if lines else ():
        name, value = line.split(b": ", 1)
        fields.append((name, value))
    return fields


def first(fields: Iterable[Field], name: bytes) -> bytes | None:
    """Return the value of the first field of that lower-case name, without surrounding white space."""
    size = len(name)
    for n, value in fields:
        if len(n) == size and n.lower() == name:
            return value.strip(b" \t")
    return None


def values(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """Return the values of all fields of that lower-case name, in order."""
    size = len(name)  # compared first: most fields are out of the question at once
    return [value.strip(b" \t") for n, value in fields if len(n) == size and n.lower() == name]


def combined(fields: Iterable[Field], name: bytes) -> bytes | None:
    """Return the values of that lower-case name as one list (§5.2), None when there is no such field."""
    size = len(name)
    found = [value.strip(b" \t") for n, value in fields if len(n) == size and n.lower() == name]
    if len(found) == 1:
        return found[0]
    return b", ".join(found) if found else None


def members(value: bytes) -> list[bytes]:
    """Split a comma-separated list (§5.6.1); commas in quoted strings do not count, empty members are dropped."""
    return [m for m in (part.strip(b" \t") for part in _MEMBERS.findall(value)) if m]


def unquoted(value: bytes) -> bytes:
    """Return a token as it is and the content of a quoted string (§5.6.4)."""
    if len(value) >= 2 and value[:1] == b'"' == value[-1:]:
        return re.sub(rb"\\(.)", rb"\1", value[1:-1], flags=re.DOTALL)
    return value


def is_token(value: bytes) -> bool:
    """Say whether the value is a token (§5.6.2), as every field name must be."""
    return _TOKEN.fullmatch(value) is not None


def is_value(value: bytes) -> bool:
    """Say whether the bytes may stand in a field value (§5.5): no CR, LF, NUL or other control."""
    return _VALUE.fullmatch(value) is not None


def end_to_end(fields: Sequence[Field], bits: int, also: int = 0) -> list[Field]:
    """Return the fields that may be forwarded: not connection-specific, not named by Connection (§7.6.1).

    `also` is a mask of further fields to leave out.
    """
    drop = CONNECTION_SPECIFIC | also
    nominated = nominated_by_connection(fields) if bits & NOMINATES else ()
    if nominated:
        return [f for f in fields if not bit_of(f[0]) & drop and f[0].lower() not in nominated]
    if not bits & drop:
        return list(fields)
    # One dictionary look-up per field; a spelling that is not known yet is learnt.
    return [
        f for f in fields if (bit := bit_of_spelling(f[0])) == 0 or not (learn(f[0]) if bit is None else bit) & drop
    ]


def nominated_by_connection(fields: Iterable[Field]) -> frozenset[bytes]:
    """Return the lower-case names that Connection lists, less its two connection options."""
    return _nominated(combined(fields, b"connection") or b"")


@lru_cache(maxsize=256)
def _nominated(connection: bytes) -> frozenset[bytes]:
    return frozenset(members(connection.lower())) - {b"close", b"keep-alive"}
