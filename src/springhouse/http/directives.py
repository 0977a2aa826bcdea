"""Cache-Control (RFC 9111 §5.2), read leniently and once.

Names are compared without case; arguments may be tokens or quoted strings; unknown directives are ignored. Of a
repeated directive the first counts, but `private` and `no-cache` are read as the most restrictive of their kind: alone
if one stands alone, else with all field names (§4.2.1). An argument that is not a number of seconds makes max-age and
s-maxage zero ("considered stale"); numbers beyond 2³¹ become 2³¹ (§1.2.2).

A value that breaks the grammar was meant to say something: `private;max-age=0`, `"no-store"`. `is_well_formed` tells,
and `restrictions` finds what was probably meant, so that a slip never makes a response more cacheable.
"""

import re
from collections.abc import Mapping
from typing import Final

from springhouse.http.headers import is_token, members, unquoted
from springhouse.http.memo import KIB, Memo, bound

SECONDS_MAX = 2**31
_DIGITS = re.compile(rb"[0-9]+")
_QUALIFIABLE = frozenset({b"private", b"no-cache"})
_DIRECTIVE = rb"""[A-Za-z0-9_-]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\.)*+"))?"""
_WELL_FORMED = re.compile(rb"[ \t,]*+(?:%b[ \t]*+(?:,[ \t,]*+|\Z))*+" % _DIRECTIVE, re.DOTALL)
_RESTRICTION = re.compile(rb"(?<![A-Za-z0-9_-])(?:no-store|no-cache|private)(?![A-Za-z0-9_-])", re.IGNORECASE)

INTEGER_ARGUMENTS = frozenset({b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error"})
"""Directives of a response whose argument is a number of seconds."""

Directives = Mapping[bytes, bytes | None]
"""Lower-case name to argument (unquoted); None where there was none."""


def _read(value: bytes | None) -> Directives:
    found: dict[bytes, bytes | None] = {}
    for member in members(value or b""):
        written, equals, after = member.partition(b"=")
        if not is_token(written):
            continue
        name, argument = written.lower(), unquoted(after) if equals else None
        if name not in found:
            found[name] = argument
        elif name in _QUALIFIABLE:
            earlier = found[name]
            found[name] = earlier + b"," + argument if earlier and argument else None
    return found


parse_directives: Final = Memo(
    bound("Cache-Control", 512 * KIB, "its values, and the directives in them"), _read
).__getitem__
"""Read a Cache-Control value, skipping what is no directive. The result is shared: it is not to be changed."""


def is_well_formed(value: bytes) -> bool:
    """Return whether a value is a list of directives and nothing else (§5.2).

    Names of directives are taken to be narrower than tokens: letters, digits, `-` and `_`. No directive has others, and
    `'no-store'` is a token.
    """
    return _WELL_FORMED.fullmatch(value) is not None


def cautious(value: bytes | None) -> Directives:
    """Return the directives of a value; of one that is not well-formed, also the restrictions found anywhere in it."""
    found = parse_directives(value)
    if not value or is_well_formed(value):
        return found
    return {**found, **dict.fromkeys(restrictions(value))}


def restrictions(value: bytes) -> list[bytes]:
    """Return which of `no-store`, `no-cache` and `private` occur anywhere in a value, in lower case."""
    return [word.lower() for word in _RESTRICTION.findall(value)]


def delta_seconds(argument: bytes | None) -> int | None:
    """Return seconds (at most 2³¹), or None when the argument is not delta-seconds (§1.2.2)."""
    if argument is None or not _DIGITS.fullmatch(argument):
        return None
    return min(int(argument), SECONDS_MAX) if len(argument) < 12 else SECONDS_MAX


def seconds(directives: Directives, name: bytes) -> int | None:
    """Return a directive's seconds: None when it is absent, 0 when its argument makes no sense."""
    if name not in directives:
        return None
    return delta_seconds(directives[name]) or 0


def listed_names(argument: bytes | None) -> tuple[bytes, ...]:
    """Return the lower-case field names in the argument of `private` or `no-cache`; () without an argument."""
    return tuple(n.lower() for n in members(argument or b"") if is_token(n))
