"""Admits requests that another server has parsed, by the same rules as our own server: no second rule book.

The rules are `wire.admission`. What llhttp would have refused before them, and another server may let pass, is refused
here: a method that is no token, a target with white space or controls, a Content-Length that is none.
"""

import logging
import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from springhouse.http.fields import CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, Field
from springhouse.http.headers import is_token
from springhouse.http.messages import Request
from springhouse.wire.admission import Head, Limits, Refusal, admit, unknown_method

_BARE = frozenset({b"GET", b"HEAD"})
"""Methods whose requests are taken to have no content unless they say so."""
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")


class BrokenOff(Exception):
    """The content broke off after the head was sent; the server must close the connection."""


def is_worth_logging(record: logging.LogRecord) -> bool:
    """Say whether a record is news: that an origin broke off is not, the client has been told by then."""
    return not (record.exc_info and isinstance(record.exc_info[1], BrokenOff))


def admit_parsed(head: Head, limits: Limits, names_of_ours: frozenset[bytes]) -> Request | Refusal:
    """Return the request whose head another server has parsed, or why it is not taken.

    `names_of_ours`: authorities an absolute-form target may have. Protocols cannot be switched and 1xx not sent from
    here. HTTP/2 and later are the other server's business; what they carry means the same.
    """
    is_framed = head.version not in ("1.1", "1.0")
    if not head.version.startswith(("0.", "1.")):
        head.version = "1.1"
    request = _let_pass(head) or admit(head, limits, names_of_ours.__contains__)
    if isinstance(request, Request):
        request.bits &= ~EXPECT
        if is_framed and not request.bits & CONTENT_LENGTH and request.method not in _BARE:
            request.has_content = True  # frames end it there, no field announces it
    return request


def _let_pass(head: Head) -> Refusal | None:
    """Return the refusal of what llhttp would have refused before admission, and another server may let pass."""
    if not is_token(head.method):
        return unknown_method()
    if not _TARGET.fullmatch(head.target):
        return Refusal(400, "The request target is not valid")
    if head.bits & CONTENT_LENGTH and (head.bits & TRANSFER_ENCODING or not _is_length_valid(head.fields)):
        return Refusal(400, "Content-Length is not valid, or there is Transfer-Encoding, too")
    return None


def _is_length_valid(fields: Iterable[Field]) -> bool:
    return all(value.isdigit() for name, value in fields if name.lower() == b"content-length")


def without_prefix(raw: bytes, root: bytes) -> bytes:
    """Take a decoded mount prefix off a raw path, however the client encoded it; as it is where it is not there."""
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
