"""Admits requests that another server has parsed, by the same rules as our own server: no second rule book.

The rules are `wire.admission`. What llhttp would have refused before them, and another server may let pass, is refused
here: a method that is no token, a target with white space or controls, a Content-Length that is none.
"""

import re
from collections.abc import Iterable

from springhouse.http.fields import CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, Field
from springhouse.http.headers import is_token
from springhouse.http.messages import Request
from springhouse.wire.admission import Head, Limits, Refusal, admit, unknown_method

_BARE = frozenset({b"GET", b"HEAD"})
"""Methods whose requests are taken to have no content unless they say so."""
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")


def admit_parsed(head: Head, limits: Limits, names_of_ours: frozenset[bytes]) -> Request | Refusal:
    """Return the request whose head another server has parsed, or why it is not taken.

    `names_of_ours`: authorities an absolute-form target may have. Other servers neither switch protocols nor send
    1xx for us. HTTP/2 and later are their business; what they carry means the same.
    """
    is_framed = head.version not in ("1.1", "1.0")
    if not head.version.startswith(("0.", "1.")):
        head.version = "1.1"
    request = _refusal_of_unsound(head) or admit(head, limits, names_of_ours.__contains__)
    if isinstance(request, Request):
        request.bits &= ~EXPECT
        if is_framed and not request.bits & CONTENT_LENGTH and request.method not in _BARE:
            request.has_content = True  # frames end it there, no field announces it
    return request


def _refusal_of_unsound(head: Head) -> Refusal | None:
    """Return the refusal of what llhttp would have refused before admission, None if there is nothing."""
    if not is_token(head.method):
        return unknown_method()
    if not _TARGET.fullmatch(head.target):
        return Refusal(400, "The request target is not valid")
    if head.bits & CONTENT_LENGTH and (head.bits & TRANSFER_ENCODING or not _is_length_valid(head.fields)):
        return Refusal(400, "Content-Length is not valid, or there is Transfer-Encoding, too")
    return None


def _is_length_valid(fields: Iterable[Field]) -> bool:
    return all(value.isdigit() for name, value in fields if name.lower() == b"content-length")
