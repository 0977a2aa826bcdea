"""Operations on a header section: a list of (name, value) as received, names in any case (RFC 9110 §5)."""

import re
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final

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
from springhouse.http.memo import KIB, MIB, Memo, bound

_MEMBERS = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
_PARTS = re.compile(b",|" + _MEMBERS.pattern, re.DOTALL)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


_NOT_PASSED = CONNECTION_SPECIFIC | MADE_ANEW


class FieldLayout:
    """What the names of a header section say, whatever the values are.

    `bits`: the OR of their bits, with REPEATED when a singleton occurs twice; `places`: by bit, where the only field
    that has it stands; `passed`: for each field 1 or 0, whether it may be forwarded if Connection nominates no others.
    """

    __slots__ = ("bits", "passed", "places")

    def __init__(self, names: Sequence[bytes]) -> None:
        self.bits = 0
        self.places: dict[int, int | None] = {}
        passed: list[bool] = []
        for place, name in enumerate(names):
            bit = bit_of(name)
            if bit:
                self.places[bit] = None if bit & self.bits else place
                self.bits |= bit | (REPEATED if bit & self.bits & SINGLETONS else 0)
            passed.append(not bit & _NOT_PASSED)
        self.passed = bytes(passed)

    def bits_with(self, fields: Sequence[Field]) -> int:
        """Return the bits, with NOMINATES if Connection lists more than one of its two usual options."""
        if not self.bits & CONNECTION:
            return self.bits
        place = self.places[CONNECTION]
        lines = [fields[place]] if place is not None else [f for f in fields if bit_of(f[0]) == CONNECTION]
        return self.bits if all(value in PLAIN_CONNECTION for _, value in lines) else self.bits | NOMINATES


_layouts: Final[Memo[tuple[bytes, ...], FieldLayout]] = Memo(
    bound("header layouts", 2 * MIB, "the names in the header sections of responses, and what they say"),
    FieldLayout,
    item_max=8 * KIB,
)
_name_of = itemgetter(0)


def layout_of(fields: Sequence[Field]) -> FieldLayout:
    """Return the layout of a header section. Those met before are remembered: an origin has few."""
    return _layouts[tuple(map(_name_of, fields))]


def bits_of(fields: Sequence[Field]) -> int:
    """OR the bits of all fields, with REPEATED and NOMINATES where they apply."""
    return layout_of(fields).bits_with(fields)


def lines_of(fields: Sequence[Field]) -> bytes:
    """Return the fields as lines, as they are sent.

    Raises ValueError when a field is no line, so that it cannot become two fields.
    """
    lines = b"\r\n".join([*map(b": ".join, fields), b""])
    if lines.count(b"\n") != len(fields):
        raise ValueError("A field has a line break")
    return lines


def fields_of(lines: bytes) -> list[Field]:
    """Return the fields that were given to `lines_of`. Raises ValueError when one was none."""
    fields: list[Field] = []
    for line in lines[:-2].split(b"\r\n") if lines else ():
        name, value = line.split(b": ", 1)
        fields.append((name, value))
    return fields


def first_line(lines: bytes, name: bytes) -> bytes | None:
    """Return what `first` does, of fields that were given to `lines_of`."""
    before, found, after = (b"\r\n" + lines).lower().partition(b"\r\n%b: " % name)
    if not found:
        return None
    start = len(before) + len(found) - 2
    return lines[start : start + after.index(b"\r\n")].strip(b" \t")


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


def combined_value(fields: Iterable[Field], name: bytes) -> bytes | None:
    """Return the values of that lower-case name as one list (§5.2), None when there is no such field."""
    size = len(name)
    found = [value.strip(b" \t") for n, value in fields if len(n) == size and n.lower() == name]
    if len(found) == 1:
        return found[0]
    return b", ".join(found) if found else None


def lower_names(fields: Iterable[Field]) -> frozenset[bytes]:
    """Return the lower-case names of the fields."""
    return frozenset([name.lower() for name, _ in fields])


def members(value: bytes) -> list[bytes]:
    """Split a comma-separated list (§5.6.1); commas in quoted strings do not count, empty members are dropped."""
    return [m for m in (part.strip(b" \t") for part in _MEMBERS.findall(value)) if m]


def tidied(value: bytes) -> bytes:
    """Return a comma-separated list (§5.6.1) without the white space around its commas; empty members stay."""
    return b"".join([part.strip(b" \t") for part in _PARTS.findall(value)])


def unquoted(value: bytes) -> bytes:
    """Return a token as it is and the content of a quoted string (§5.6.4)."""
    if len(value) >= 2 and value[:1] == b'"' == value[-1:]:
        return re.sub(rb"\\(.)", rb"\1", value[1:-1], flags=re.DOTALL)
    return value


def is_token(value: bytes) -> bool:
    """Return whether the value is a token (§5.6.2), as every field name must be."""
    return _TOKEN.fullmatch(value) is not None


def is_value(value: bytes) -> bool:
    """Return whether the bytes may stand in a field value (§5.5): no CR, LF, NUL or other control."""
    return _VALUE.fullmatch(value) is not None


def end_to_end(fields: Sequence[Field], bits: int, also: int = 0) -> list[Field]:
    """Return the fields that may be forwarded: not connection-specific, not named by Connection (§7.6.1).

    `also` is a mask of further fields to leave out.
    """
    drop = CONNECTION_SPECIFIC | also
    if bits & NOMINATES:
        nominated = nominated_by_connection(fields)
        return [f for f in fields if not bit_of(f[0]) & drop and not is_nominated(f[0], nominated)]
    if not bits & drop:
        return list(fields)
    # One dictionary look-up per field; a spelling that is not known yet is learnt.
    return [
        f for f in fields if (bit := bit_of_spelling(f[0])) == 0 or not (learn(f[0]) if bit is None else bit) & drop
    ]


def nominated_by_connection(fields: Iterable[Field]) -> bytes:
    """Return the options that Connection lists, lower-case, each between two commas, for `is_nominated`."""
    return b",%b," % (combined_value(fields, b"connection") or b"").lower().translate(None, b" \t")


def is_nominated(name: bytes, nominated: bytes) -> bool:
    """Return whether Connection lists the field, so that it is not forwarded (§7.6.1)."""
    option = name.lower()
    return b",%b," % option in nominated and option != b"close"
