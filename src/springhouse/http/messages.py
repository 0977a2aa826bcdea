"""Requests and responses as the rules see them: the head only; content streams elsewhere (RFC 9110 §6)."""

from itertools import compress
from typing import Final

from springhouse.http import headers
from springhouse.http.fields import MADE_ANEW, NOMINATES, Field

SAFE_METHODS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY", b"PROPFIND", b"REPORT", b"SEARCH"})
IDEMPOTENT_METHODS: Final = SAFE_METHODS | {b"PUT", b"DELETE"}

REASON_PHRASES: Final[dict[int, bytes]] = {
    200: b"OK",
    206: b"Partial Content",
    304: b"Not Modified",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    416: b"Range Not Satisfiable",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    422: b"Unprocessable Content",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
    508: b"Loop Detected",
}


class Request:
    """The head of a request.

    `target` is the request target as the client sent it, in origin form (or `*`); `authority` what it addressed
    (Host, RFC 9112 §3.3), lower-case; `bits` the OR of its fields' bits; `has_content` whether a body follows. Whoever
    received it sets the rest: the `peer` it came from, the `scheme` and the minor version that it came by.
    """

    __slots__ = ("authority", "bits", "fields", "has_content", "method", "minor_version", "peer", "scheme", "target")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        fields: list[Field],
        *,
        bits: int | None = None,
        authority: bytes = b"",
        has_content: bool = False,
    ) -> None:
        self.method = method
        self.target = target
        self.fields = fields
        self.bits = headers.bits_of(fields) if bits is None else bits
        self.authority = authority
        self.has_content = has_content
        self.scheme = b"http"
        self.minor_version = 1
        self.peer = ""

    def __repr__(self) -> str:
        return f"<Request {self.method.decode()} {self.target.decode('latin-1')}>"

    def value(self, name: bytes, bit: int) -> bytes | None:
        """Return the first value of a field of the table, None when its bit is not set."""
        return headers.first(self.fields, name) if self.bits & bit else None


class Response:
    """The head of a response. `fields` are as received; `bits` the OR of their bits; `is_http_1_0` says how it came."""

    __slots__ = ("_layout", "bits", "fields", "is_http_1_0", "reason", "status")

    def __init__(self, status: int, fields: list[Field], *, reason: bytes | None = None) -> None:
        self.status = status
        self.fields = fields
        self.is_http_1_0 = False
        self.reason = REASON_PHRASES.get(status, b"") if reason is None else reason
        layout = self._layout = headers.layout_of(fields)
        self.bits = layout.bits_with(fields)

    def __repr__(self) -> str:
        return f"<Response {self.status}>"

    def value(self, name: bytes, bit: int) -> bytes | None:
        """Return the first value of a field of the table, None when its bit is not set."""
        if not self.bits & bit:
            return None
        place = self._layout.places[bit]
        return headers.first(self.fields, name) if place is None else self.fields[place][1].strip(b" \t")

    def combined(self, name: bytes, bit: int) -> bytes | None:
        """Return all values of a field of the table as one list (RFC 9110 §5.2), None when its bit is not set."""
        if not self.bits & bit:
            return None
        place = self._layout.places[bit]
        return headers.combined_value(self.fields, name) if place is None else self.fields[place][1].strip(b" \t")

    def end_to_end(self, also: int = 0) -> list[Field]:
        """Return a list of the fields that may be forwarded, without those made anew and those with bits in `also`."""
        if self.bits & (NOMINATES | also):
            return headers.end_to_end(self.fields, self.bits, also | MADE_ANEW)
        return list(compress(self.fields, self._layout.passed))


def may_have_content(method: bytes, status: int) -> bool:
    """Return whether a response to the method with the status can have content at all (RFC 9112 §6.3)."""
    return method != b"HEAD" and status >= 200 and status not in (204, 304)
