"""Reads requests (RFC 9112 §3): llhttp parses, `wire.admission` judges the head, this file bounds what is gathered.

`RequestReader` is a base class, not a component that is called, because its callbacks are the hottest lines of the
project: one Python call per field of every request. A subclass gets `head_received`, `content_received` and
`request_complete`. Nothing may raise inside a callback (httptools cannot resume); what is wrong becomes `refusal`,
after which the rest of the input is ignored.
"""

from abc import ABC, abstractmethod
from typing import Final

import httptools

from springhouse.http.fields import (
    CONNECTION,
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
from springhouse.http.memo import READ_BYTES, bound
from springhouse.http.messages import Request
from springhouse.wire.admission import (
    BAD_SYNTAX,
    FRAMING,
    Head,
    Limits,
    Refusal,
    admit,
    announced_length,
    has_content,
    is_plain_line,
    large_content,
    large_section,
    long_target,
    many_fields,
    may_tunnel,
    unknown_method,
)
from springhouse.wire.targets import unknown_method_in

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


_NOT_YET: Final = Refusal(500, "")
HOST_FRAMING_OR_UPGRADE: Final = HOST | FRAMING | UPGRADE | NOMINATES


class RequestReader(ABC):
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

    @abstractmethod
    def head_received(self) -> None:
        """Take a head that stands in `target`, `fields` and `bits`; `request()` makes it a Request."""

    @abstractmethod
    def content_received(self, data: bytes) -> None:
        """Take some of the content."""

    @abstractmethod
    def request_complete(self) -> None:
        """Take the end of the request."""

    @abstractmethod
    def is_ours(self, authority: bytes) -> bool:
        """Return whether an absolute-form target may name this authority, lower-case (RFC 9112 §3.2.2)."""

    # Feeding.

    def feed(self, data: bytes) -> None:
        """Parse bytes. Afterwards `refusal` tells whether to go on, `upgrade_at` where an Upgrade request ended."""
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
                self.refuse(unknown_method(method))
            except httptools.HttpParserCallbackError:
                raise  # a mistake of ours is not the client's
            except httptools.HttpParserError as error:
                if not self.is_after_close(error):
                    self.refuse(Refusal(400, f"{BAD_SYNTAX}: {error}"))
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
        """Return whether llhttp merely met bytes behind a request that ends the connection; they are ignored."""
        return not self.in_head and "after `Connection: close`" in str(error)

    def refuse(self, refusal: Refusal) -> None:
        """Refuse what is being read. The first reason counts: later ones may follow from it."""
        if self.refusal is None:
            self.refusal = refusal

    def _check_open_head(self) -> None:
        """Bound a head that has not ended yet: one without end must not be gathered on and on."""
        if len(self.target) > self.limits.target:
            self.refuse(long_target(self.limits))
        elif self.head_bytes - self.head_slack > self.limits.header + self.limits.target:
            self.refuse(large_section(self.limits))
        elif len(self.fields) > self.limits.fields:
            self.refuse(many_fields(self.limits))

    def _count_between(self, size: int) -> None:
        """Bound what stands between chunks and behind the last: a trailer field is gathered until it ends."""
        if self.content_size != self._content_before:
            self._content_before, self._between = self.content_size, 0
            return
        self._between += size
        if self._between > self.limits.header:
            self.refuse(large_section(self.limits, "trailer"))

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
                    self.host = value  # kept apart: the origin is not always sent this one
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
            self.refuse(large_content(self.limits))
            return
        self.content_received(data)

    def on_message_complete(self) -> None:
        if self.refusal is None and not (self.bits & UPGRADE and self.parser.should_upgrade() and self._has_content()):
            self.request_complete()

    # From a head to a Request.

    def request(self, peer: str, scheme: bytes) -> Request | None:
        """Return the request whose head was received, None (and `refusal` set) when it is not to be taken."""
        method: bytes = self.parser.get_method()
        bits, target, fields, limits = self.bits, self.target, self.fields, self.limits
        is_http_1_1 = self.is_http_1_1()
        if (
            is_http_1_1
            and bits & HOST_FRAMING_OR_UPGRADE == HOST
            and not self.is_large
            and len(fields) <= limits.fields
            and is_plain_line(method, target, self.host, limits)
        ):
            request = Request(method, target, fields, bits=bits, authority=self.host.lower())
            request.scheme, request.peer = scheme, peer
            return request
        if bits & TRANSFER_ENCODING:
            self._content_before = -1
        head = Head(
            method=method,
            target=target,
            version="1.1" if is_http_1_1 else self.parser.get_http_version(),
            fields=fields,
            bits=bits,
            host=self.host if bits & HOST else None,
            peer=peer,
            scheme=scheme,
            is_large=self.is_large,
            may_switch=bits & UPGRADE != 0 and self.parser.should_upgrade(),
        )
        admitted = admit(head, limits, self.is_ours)
        if isinstance(admitted, Refusal):
            self.refuse(admitted)
            return None
        if admitted.target is not target:
            self.host = admitted.authority  # an absolute form's own counts, whatever Host says (RFC 9112 §3.2.2)
        return admitted

    def is_http_1_1(self) -> bool:
        """Return whether the head is one of HTTP/1.1; one that keeps its connection unasked is, without a look."""
        parser = self.parser
        if self.speaks_1_1 and not self.bits & KEEPS_ALIVE and parser.should_keep_alive():
            return True
        if parser.get_http_version() != "1.1":
            return False
        self.speaks_1_1 = True
        return True

    def announced_length(self) -> int:
        """Return Content-Length, 0 when there is none."""
        return announced_length(self.fields, self.bits)

    def _has_content(self) -> bool:
        return has_content(self.fields, self.bits)

    @property
    def wants_upgrade(self) -> bool:
        """Whether the request asks to change protocols, to one that may be tunnelled."""
        return bool(self.bits & UPGRADE) and self.parser.should_upgrade() and may_tunnel(self.fields, self.bits)
