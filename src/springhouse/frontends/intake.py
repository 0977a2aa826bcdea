"""Makes a Request of what another server has parsed, by the same rules as our own server: no second rule book.

The limits, the Host rules and the forms of a target are `wire.RequestReader`'s. What llhttp would have refused before
it, and another server may let pass, is refused here: a method that is no token, a target with white space or controls.
"""

import logging
import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from springhouse.http.fields import CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE, Field
from springhouse.http.headers import is_token
from springhouse.http.messages import Request
from springhouse.wire.requests import Limits, Refusal, RequestReader

_BARE = frozenset({b"GET", b"HEAD"})
"""Methods whose requests are taken to have no content unless they say so."""
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")


class BrokenOff(Exception):
    """The content broke off after the head was sent; the server must close the connection."""


def is_worth_logging(record: logging.LogRecord) -> bool:
    """Say whether a record is news: that an origin broke off is not, the client has been told by then."""
    return not (record.exc_info and isinstance(record.exc_info[1], BrokenOff))


def unknown_method(name: bytes = b"") -> Refusal:
    """Return the native server's refusal of a method that it does not know; without a name if it is no token."""
    return Refusal(501, b" ".join(filter(None, (b"The method", name, b"is not one this proxy knows"))).decode())


class _Parsed:
    """Stands where a parser would: the request line is known already."""

    __slots__ = ("method", "version")

    def __init__(self, method: bytes, version: str) -> None:
        self.method = method
        self.version = version

    def get_method(self) -> bytes:
        return self.method

    def get_http_version(self) -> str:
        return self.version

    def should_keep_alive(self) -> bool:
        return self.version == "1.1"

    def should_upgrade(self) -> bool:
        return False


class Intake(RequestReader):
    """Reads one request whose parts are known. `names_of_ours`: authorities an absolute-form target may have."""

    __slots__ = ("_names_of_ours",)

    def __init__(self, limits: Limits, names_of_ours: frozenset[bytes]) -> None:
        super().__init__(limits)
        self.on_message_begin()
        self._names_of_ours = names_of_ours

    def is_ours(self, authority: bytes) -> bool:
        return authority in self._names_of_ours

    def read(
        self, method: bytes, target: bytes, fields: Iterable[Field], *, version: str, peer: str, scheme: bytes
    ) -> Request | Refusal:
        """Return the request, or why it is not taken. Protocols cannot be switched and 1xx not sent from here."""
        for name, value in fields:
            self.on_header(name, value)
        self.target = target
        self.is_large = True
        if not is_token(method):
            return unknown_method()
        if not _TARGET.fullmatch(target):
            return Refusal(400, "The request target is not valid")
        if self.bits & CONTENT_LENGTH and (self.bits & TRANSFER_ENCODING or not self._is_length_valid()):
            return Refusal(400, "Content-Length is not valid, or there is Transfer-Encoding, too")
        # HTTP/2 and later are the other server's business; what they carry means the same.
        self.parser = _Parsed(method, version if version.startswith(("0.", "1.")) else "1.1")  # type: ignore[assignment]
        request = self.request(peer, scheme)
        if request is None:
            return self.refusal or Refusal(400, "The request is not valid")
        request.bits &= ~(EXPECT | UPGRADE)
        if version not in ("1.1", "1.0") and not self.bits & CONTENT_LENGTH and method not in _BARE:
            request.has_content = True  # frames end it there, no field announces it
        return request

    def _is_length_valid(self) -> bool:
        return all(value.isdigit() for name, value in self.fields if name.lower() == b"content-length")


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
