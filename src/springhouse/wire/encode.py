"""Messages to bytes (RFC 9112 §2). Heads are built anew from names and values; received bytes are never passed on."""

from collections.abc import Iterable, Sequence

from springhouse.http.fields import Field
from springhouse.http.headers import lines_of

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_COLON = b": ".join
_CRLF = b"\r\n".join
LAST_CHUNK = b"0\r\n\r\n"


def response_head(
    status: int, reason: bytes, fields: Iterable[Field], more: bytes = b"\r\n", *, lines: bytes = b""
) -> bytes:
    """Return a status line and header section.

    `lines` are fields as `headers.lines_of` has them, which stand before the others; `more` is what follows all lines,
    else a blank line.
    """
    status_line = b"HTTP/1.1 %d %b" % (status, reason)
    before = b"%b\r\n%b" % (status_line, lines) if lines else status_line
    return _CRLF([before, *map(_COLON, fields), more])


def request_head(method: bytes, target: bytes, host: bytes, fields: Iterable[Field], more: bytes = b"") -> bytes:
    """Return a whole request head, Host first, blank line included; `more` are lines that follow the fields."""
    return _CRLF([b"%b %b HTTP/1.1\r\nHost: %b" % (method, target, host), *map(_COLON, fields), more, b""])


def lines(fields: Sequence[Field]) -> bytes:
    """Return field lines, the last line's end included."""
    return b"%b\r\n" % lines_of(fields)


def chunk(data: bytes) -> bytes:
    """Return data as one chunk of chunked transfer coding (§7.1); data must not be empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)
