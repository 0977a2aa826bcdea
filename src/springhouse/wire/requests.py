"""Reads requests (RFC 9112 §3): llhttp parses, this file refuses what llhttp lets pass.

`RequestReader` is a base class, not a component that is called, because its callbacks are the hottest lines of the
project: one Python call per field of every request. A subclass gets `head_received`, `content_received` and
`request_complete`. Nothing may raise inside a callback (httptools cannot resume); what is wrong becomes `refusal`,
after which the rest of the input is ignored.
"""

import re
from dataclasses import dataclass
from typing import Final

import httptools

from springhouse.http.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    KEEPS_ALIVE,
    NOMINATES,
    PLAIN_CONNECTION,
    REPEATED,
    SINGLETONS,
    TRANSFER_ENCODING,
    UPGRADE,
    WATCHED,
    Field,
    bit_of_spelling,
    learn,
)
from springhouse.http.headers import combined_value, first, members
from springhouse.http.memo import READ_BYTES, bound
from springhouse.http.messages import Request
from springhouse.http.unkeyed import folded
from springhouse.wire.targets import absolute_form, is_host, is_same_authority, unknown_method_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request may measure: bytes of target, of all fields, number of fields, bytes of content (None: any)."""

    target: int = 8 * 1024
    header: int = 32 * 1024
    fields: int = 128
    content: int | None = None


FIELD_BYTES: Final = 192
"""What a field takes besides its own bytes: two strings, a pair, a place in a list."""
_DEFAULTS: Final = Limits()
HEAD: Final = bound(
    "head of a request",
    _DEFAULTS.target + _DEFAULTS.header + FIELD_BYTES * _DEFAULTS.fields,
    "the one being received, or received last",
    per="client connection",
    grows_with=("--max-target", "--max-header", "--max-fields"),
)
bound("trailers", _DEFAULTS.header + READ_BYTES, "a trailer field being received", per="client connection")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not taken: the status to answer with and one sentence for the client."""

    status: int
    detail: str


_NOT_YET: Final = Refusal(500, "")
FRAMING: Final = CONTENT_LENGTH | TRANSFER_ENCODING | REPEATED | EXPECT
HOST_FRAMING_OR_UPGRADE: Final = HOST | FRAMING | UPGRADE | NOMINATES
_NOT_NOMINATED: Final = frozenset({b"content-length", b"transfer-encoding", b"host"})
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REFUSED_METHODS: Final = {
    b"CONNECT": (501, "This proxy opens no tunnels"), b"TRACE": (405, "TRACE is not answered here"),
}  # fmt: skip
BAD_SYNTAX: Final = "The request is not valid HTTP/1.1"


class RequestReader:
    """Feeds bytes to llhttp and gathers a request head; see the file's head for what a subclass does."""

    __slots__ = (
        "_between", "_content_before", "bits", "content_size", "fields", "head_bytes", "head_slack", "host", "in_head",
        "is_large", "limits", "parser", "refusal", "speaks_1_1", "target", "upgrade_at",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.refusal: Refusal | None = None
        self.speaks_1_1 = False
        """A request was of HTTP/1.1; then those behind it are not asked for their version, which takes long."""
        self.restart()

    def restart(self) -> None:
        """Begin with a new parser; bytes parsed so far are forgotten."""
        self._new_parser()
        self.upgrade_at: int | None = None
        self.target = b""
        self.host = b""
        self.fields: list[Field] = []
        self.bits = 0
        self.in_head = False
        self.head_bytes = 0
        """Bytes read since a head began, with what came before it in the same read."""
        self.head_slack = 0
        """How many of those are not the head's; before they are counted, ~(bytes of content before it)."""
        self.is_large = False
        """So many bytes were read that the header section may be too large."""
        self.content_size = 0
        self._content_before = -1
        """Bytes of chunked content before the last read, -1 if that brought the head."""
        self._between = 0
        """Bytes read since the last that brought content."""

    def _new_parser(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_version=True)  # `request` looks at it

    # What a subclass does with a request.

    def head_received(self) -> None:
        """Take a head that stands in `target`, `fields` and `bits`; `request()` makes it a Request."""
        raise NotImplementedError

    def content_received(self, data: bytes) -> None:
        """Take some of the content."""
        raise NotImplementedError

    def request_complete(self) -> None:
        """Note that the request ended."""
        raise NotImplementedError

    def is_ours(self, authority: bytes) -> bool:
        """Say whether an absolute-form target may name this authority, lower-case (RFC 9112 §3.2.2)."""
        raise NotImplementedError

    # Feeding.

    def feed(self, data: bytes) -> None:
        """Parse bytes. Afterwards `refusal` says whether to go on; `upgrade_at` where an Upgrade request ended."""
        at = 0
        while True:
            self.is_large = self.head_bytes + len(data) > self.limits.header
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                at += upgrade.args[0]
                if self.refusal is None and not self.wants_upgrade:
                    data = data[upgrade.args[0] :]
                    self._go_on_without_upgrade()
                    continue
                self.upgrade_at = at
            except httptools.HttpParserInvalidMethodError:
                method = b"" if self.head_bytes else unknown_method_in(data)
                self.refuse(501, f"The method {method.decode()}".rstrip() + " is not one this proxy knows")
            except httptools.HttpParserCallbackError:
                raise  # a mistake of ours is not the client's
            except httptools.HttpParserError as error:
                if not self.is_after_close(error):
                    self.refuse(400, f"{BAD_SYNTAX}: {error}")
            break
        if self.in_head:
            self.head_bytes += len(data)
            if self.head_slack < 0:
                # A head that has not ended has no blank line: it begins behind the last one, and behind any content.
                blank = data.rfind(b"\r\n\r\n")
                self.head_slack = min(len(data), (blank + 4 if blank >= 0 else 0) + ~self.head_slack)
            self._check_open_head()
        elif self.bits & TRANSFER_ENCODING:
            self._count_between(len(data))

    def _go_on_without_upgrade(self) -> None:
        """Replace the parser, which takes everything behind a head with Upgrade as tunnelled, content included.

        The new one is given a head with the same framing, whose callbacks must do nothing, and goes on from there.
        """
        if not self._has_content():
            self.restart()
            return
        framing = b"Transfer-Encoding: chunked"
        if not self.bits & TRANSFER_ENCODING:
            framing = b"Content-Length: %d" % self.announced_length()
        connection = b"keep-alive" if self.parser.should_keep_alive() else b"close"
        kept = self.target, self.fields, self.bits
        self.refusal = _NOT_YET
        self._new_parser()
        self.parser.feed_data(b"POST / HTTP/1.1\r\nConnection: %b\r\n%b\r\n\r\n" % (connection, framing))
        self.refusal = None
        self.target, self.fields, self.bits = kept

    def is_after_close(self, error: Exception) -> bool:
        """Say whether llhttp merely met bytes behind a request that ends the connection; they are ignored."""
        return not self.in_head and "after `Connection: close`" in str(error)

    def refuse(self, status: int, detail: str) -> None:
        """Remember the first reason to refuse."""
        if self.refusal is None:
            self.refusal = Refusal(status, detail)

    def _check_open_head(self) -> None:
        """Bound a head that has not ended yet, so that one without end is not gathered for ever."""
        if len(self.target) > self.limits.target:
            self.refuse(414, f"The request target is longer than {self.limits.target} bytes")
        elif self.head_bytes - self.head_slack > self.limits.header + self.limits.target:
            self.refuse(431, f"The header section is larger than {self.limits.header} bytes")
        elif len(self.fields) > self.limits.fields:
            self.refuse(431, f"There are more than {self.limits.fields} header fields")

    def _count_between(self, size: int) -> None:
        """Bound what stands between chunks and behind the last: a trailer field is gathered until it ends."""
        if self.content_size != self._content_before:
            self._content_before, self._between = self.content_size, 0
            return
        self._between += size
        if self._between > self.limits.header:
            self.refuse(431, f"The trailer section is larger than {self.limits.header} bytes")

    # httptools callbacks.

    def on_message_begin(self) -> None:
        self.target = b""
        self.fields = []
        self.bits = 0
        self.in_head = True
        self.head_bytes = 0
        self.head_slack = ~self.content_size
        self.content_size = 0

    def on_url(self, data: bytes) -> None:
        self.target += data

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_head:
            return  # a trailer field: dropped (RFC 9112 §7.1.2)
        bit = bit_of_spelling(name)
        if bit != 0:
            if bit is None:
                bit = learn(name)
            if bit & WATCHED:
                if bit & SINGLETONS & self.bits:
                    bit |= REPEATED
                if bit & HOST:
                    self.host = value  # kept apart: what the origin is told is not always this
                    self.bits |= bit
                    return
                if bit == CONNECTION and value not in PLAIN_CONNECTION:
                    bit |= NOMINATES
            self.bits |= bit
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.in_head = False
        if self.refusal is None:
            self.head_received()

    def on_body(self, data: bytes) -> None:
        if self.refusal is not None:
            return
        self.content_size += len(data)
        limit = self.limits.content
        if limit is not None and self.content_size > limit:
            self.refuse(413, f"The content is larger than {limit} bytes")
            return
        self.content_received(data)

    def on_message_complete(self) -> None:
        if self.refusal is None and not (self.bits & UPGRADE and self.parser.should_upgrade() and self._has_content()):
            self.request_complete()

    # From a head to a Request.

    def request(self, peer: str, scheme: bytes) -> Request | None:
        """Return the request whose head was received, None (and `refusal` set) when it is not to be taken."""
        method: bytes = self.parser.get_method()
        bits = self.bits
        if bits & HOST_FRAMING_OR_UPGRADE == HOST and self.is_http_1_1() and self._is_plain(method):
            request = Request(method, self.target, self.fields, bits=bits, authority=self.host.lower())
            request.scheme, request.peer = scheme, peer
            return request
        minor = 1 if self.is_http_1_1() else self._minor_version()
        if minor is None or not self._is_within_limits():
            return None
        if bits & (FRAMING | NOMINATES) and not self._is_framed_well(minor):
            return None
        authority = self._authority(minor)
        if authority is None:
            return None
        target = self._origin_form(method, authority)
        if target is None:
            return None
        if target is not self.target:
            authority = self.host.strip(b" \t").lower()
        fields = self.fields
        if bits & UPGRADE and not self.wants_upgrade:
            bits &= ~UPGRADE
            fields = [field for field in fields if field[0].lower() != b"upgrade"]
        has_content = self._has_content()
        request = Request(method, target, fields, bits=bits, authority=authority, has_content=has_content)
        request.scheme, request.peer, request.minor_version = scheme, peer, minor
        return request

    def is_http_1_1(self) -> bool:
        """Say whether the head is one of HTTP/1.1: what keeps its connection without saying so is, and is not asked."""
        parser = self.parser
        if self.speaks_1_1 and not self.bits & KEEPS_ALIVE and parser.should_keep_alive():
            return True
        if parser.get_http_version() != "1.1":
            return False
        self.speaks_1_1 = True
        return True

    def _minor_version(self) -> int | None:
        """Return the minor version of HTTP/1; what is beyond 1.1 is read as that (RFC 9110 §2.5)."""
        major, _, minor = self.parser.get_http_version().partition(".")
        if major == "1":
            return int(minor)
        if (major, minor) in (("0", "9"), ("2", "0")):
            self.refuse(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here")
        else:
            self.refuse(400, f"{BAD_SYNTAX}: Invalid HTTP version")
        return None

    def _has_content(self) -> bool:
        return bool(self.bits & TRANSFER_ENCODING) or self.announced_length() > 0

    def _is_plain(self, method: bytes) -> bool:
        """Say whether nothing about the head needs a closer look."""
        limits, target = self.limits, self.target
        return (
            target[:1] == b"/"
            and len(target) <= limits.target
            and b"#" not in target
            and method not in _REFUSED_METHODS
            and is_host(self.host)
            and not self.is_large
            and len(self.fields) <= limits.fields
        )

    def announced_length(self) -> int:
        """Return Content-Length, 0 when there is none."""
        if not self.bits & CONTENT_LENGTH:
            return 0
        return int(first(self.fields, b"content-length") or 0)

    def _is_within_limits(self) -> bool:
        limits = self.limits
        if len(self.target) > limits.target:
            self.refuse(414, f"The request target is longer than {limits.target} bytes")
        elif len(self.fields) > limits.fields:
            self.refuse(431, f"There are more than {limits.fields} header fields")
        elif self.is_large and sum(len(n) + len(v) + 4 for n, v in self.fields) > limits.header:
            self.refuse(431, f"The header section is larger than {limits.header} bytes")
        elif limits.content is not None and self.bits & CONTENT_LENGTH and self.announced_length() > limits.content:
            self.refuse(413, f"The content is larger than {limits.content} bytes")
        return self.refusal is None

    def _is_framed_well(self, minor: int) -> bool:
        bits = self.bits
        if bits & TRANSFER_ENCODING:
            self._content_before = -1
            codings = members((combined_value(self.fields, b"transfer-encoding") or b"").lower())
            if minor == 0:
                self.refuse(400, "HTTP/1.0 has no Transfer-Encoding")
            elif codings != [b"chunked"]:
                self.refuse(501 if codings[-1:] == [b"chunked"] else 400, "The only transfer coding here is chunked")
        if bits & REPEATED:
            self.refuse(400, "Host, Content-Length or Transfer-Encoding occurs more than once")
        if bits & NOMINATES and not _NOT_NOMINATED.isdisjoint(
            map(folded, _TOKEN.findall(combined_value(self.fields, b"connection") or b""))
        ):
            self.refuse(400, "Connection names Content-Length, Transfer-Encoding or Host")
        if bits & EXPECT and (combined_value(self.fields, b"expect") or b"").lower() != b"100-continue":
            self.refuse(417, "The only expectation understood here is 100-continue")
        return self.refusal is None

    def _authority(self, minor: int) -> bytes | None:
        host = self.host.strip(b" \t") if self.bits & HOST else None
        if host is None and minor == 0:
            return b""
        if host is None or not is_host(host):
            self.refuse(400, "The request has no Host field" if host is None else "The Host field is not valid")
            return None
        return host.lower()

    def _origin_form(self, method: bytes, host: bytes) -> bytes | None:
        """Return the target in origin form (RFC 9112 §3.2), None when it is none that this proxy answers for."""
        target = self.target
        if method in _REFUSED_METHODS:
            self.refuse(*_REFUSED_METHODS[method])
        elif target[:1] == b"/":
            if b"#" not in target:
                return target
            self.refuse(400, "A request target has no fragment")
        elif target == b"*" and method == b"OPTIONS":
            return target
        else:
            return self._from_absolute_form(method, target, host)
        return None

    def _from_absolute_form(self, method: bytes, target: bytes, host: bytes) -> bytes | None:
        form = absolute_form(target)
        if form is None:
            self.refuse(400, "The request target is neither a path nor an http URI")
            return None
        scheme, authority, rest = form
        if self.is_ours(authority.lower()):
            self.host = authority  # it counts, whatever Host says (RFC 9112 §3.2.2)
        elif not is_same_authority(scheme, authority.lower(), host):
            self.refuse(421, "This proxy answers for its own origin only; it is no forward proxy")
            return None
        if method == b"OPTIONS" and not rest:
            return b"*"  # RFC 9112 §3.2.4
        return rest if rest[:1] == b"/" else b"/" + rest

    @property
    def wants_upgrade(self) -> bool:
        """Whether the request asks to change protocols, to one that may be tunnelled: h2c would hide requests.

        With content the wish is ignored, as RFC 9110 §7.8 allows: nothing is tunnelled that might be content.
        """
        if not (self.bits & UPGRADE and self.parser.should_upgrade()) or self._has_content():
            return False
        return b"h2c" not in members((combined_value(self.fields, b"upgrade") or b"").lower())
