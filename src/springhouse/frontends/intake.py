"""Makes a Request of what another server has parsed, by the same rules as our own server: no second rule book.

The limits, the Host rules and the forms of a target are `wire.RequestReader`'s. What llhttp would have refused before
it, and another server may let pass, is refused here: a method that is no token, a target with white space or controls.
"""

import re
from collections.abc import Iterable

from springhouse.http.fields import EXPECT, UPGRADE, Field
from springhouse.http.headers import is_token
from springhouse.http.messages import Request
from springhouse.wire.requests import Limits, Refusal, RequestReader

_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")


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

    def should_upgrade(self) -> bool:
        return False


class Intake(RequestReader):
    """Reads one request whose parts are known. `names_of_ours`: authorities an absolute-form target may have."""

    __slots__ = ("_names_of_ours",)

    def __init__(self, limits: Limits, names_of_ours: frozenset[bytes]) -> None:
        super().__init__(limits)
        self._names_of_ours = names_of_ours

    def restart(self) -> None:
        """Begin without a parser."""
        self.upgrade_at = None
        self.on_message_begin()

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
            return Refusal(501, "The method is not one this proxy knows")
        if not _TARGET.fullmatch(target):
            return Refusal(400, "The request target is not valid")
        # HTTP/2 and later are the other server's business; what they carry means the same.
        self.parser = _Parsed(method, version if version in ("1.0", "0.9") else "1.1")  # type: ignore[assignment]
        request = self.request(peer, scheme)
        if request is None:
            return self.refusal or Refusal(400, "The request is not valid")
        request.bits &= ~(EXPECT | UPGRADE)
        return request
