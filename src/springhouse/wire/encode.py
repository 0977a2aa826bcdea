"""Messages to bytes (RFC 9112 §2). Heads are built anew from names and values; received bytes are never passed on."""

from collections.abc import Iterable

from springhouse.http.fields import Field

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_COLON = b": ".join
_CRLF = b"\r\n".join
LAST_CHUNK = b"0\r\n\r\n"


def response_head(status: int, reason: bytes, fields: Iterable[Field] | bytes, more: bytes) -> bytes:
    """Return a status line and fields, in a list or as lines (`headers.lines_of`); then `more`, as it is."""
    if isinstance(fields, bytes):
        return b"HTTP/1.1 %d %b\r\n%b%b" % (status, reason, fields, more)
    return _CRLF([b"HTTP/1.1 %d %b" % (status, reason), *map(_COLON, fields), more])


def request_head(method: bytes, target: bytes, host: bytes, fields: Iterable[Field], more: bytes = b"") -> bytes:
    """Return a whole request head, Host first, blank line included; `more` are lines that follow the fields."""
    return _CRLF([b"%b %b HTTP/1.1\r\nHost: %b" % (method, target, host), *map(_COLON, fields), more, b""])


def chunk(data: bytes | memoryview) -> bytes:
    """Return data as one chunk of chunked transfer coding (§7.1); data must not be empty."""
    return b"%x\r\n%b\r\n" % (len(data), bytes(data))
