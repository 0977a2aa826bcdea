"""The parts of a request line that llhttp does not look into: absolute-form targets, authorities, odd methods (§3)."""

import re
from typing import Final

import httptools

from springhouse.http.memo import KIB, Memo, bound

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]+)(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE | re.DOTALL)
_WORD = re.compile(rb"(?:\A[\r\n]*|\n(?=\S+ \S+ HTTP/))([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64})(?=[ \r\n])")
_DEFAULT_PORT: Final = {b"http": re.compile(rb":0*(?:80)?$"), b"https": re.compile(rb":0*(?:443)?$")}


def absolute_form(target: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Return scheme (lower-case), authority and the rest of an http URI, None when the target is none."""
    found = _ABSOLUTE.fullmatch(target)
    return (found[1].lower(), found[2], found[3]) if found else None


def is_same_authority(scheme: bytes, one: bytes, other: bytes) -> bool:
    """Return whether two lower-case authorities are the same, but for a default port (RFC 3986 §6.2.3).

    `other` is known to be valid, or empty.
    """
    default = _DEFAULT_PORT[scheme]
    return is_host(one) and default.sub(b"", one) == default.sub(b"", other)


def _is_host(value: bytes) -> bool:
    return len(value) <= 255 + 6 and _HOST.fullmatch(value) is not None


is_host: Final = Memo(bound("Host", 256 * KIB, "its values, and whether they are valid"), _is_host).__getitem__
"""Return whether a Host value is a host with an optional port (RFC 9110 §7.2); user information is not allowed."""


def unknown_method_in(data: bytes) -> bytes:
    """Return the first word in the place of a method that llhttp does not know, empty when there is none.

    llhttp does not say where it stopped, so this may be another word; it is good for telling the client, not for more.
    """
    return next((bytes(word) for word in _WORD.findall(data) if not is_known_method(word)), b"")


def is_known_method(method: bytes) -> bool:
    """Return whether llhttp knows a method: the others are refused where another parser reads them, too."""
    try:
        httptools.HttpRequestParser(None).feed_data(method + b" ")
    except httptools.HttpParserInvalidMethodError:
        return False
    return True
