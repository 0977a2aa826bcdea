"""Reads an origin's responses (RFC 9112 §4, §6.3): llhttp parses, this file settles how a message ends.

Like `RequestReader` a base class. A subclass gets `interim_received`, `answer_received`, `content_received` and
`answer_complete`; `failure` says in words what was wrong with the bytes.
"""

import re
from abc import ABC, abstractmethod
from enum import Enum
from typing import Final

import httptools

from springhouse.http.fields import CONTENT_LENGTH, TRANSFER_ENCODING, Field
from springhouse.http.headers import combined_value, is_token, is_value, members
from springhouse.http.memo import KIB, READ_BYTES, bound
from springhouse.http.messages import REASON_PHRASES, Response, may_have_content

FIELDS_MAX: Final = 1024
_HEAD_MAX: Final = 128 * KIB
bound(
    "head of an answer",
    2 * _HEAD_MAX + 192 * FIELDS_MAX,
    "the one being received, or received last",
    per="origin connection",
)
bound("trailers of an answer", _HEAD_MAX + READ_BYTES, "a trailer field being received", per="origin connection")
_TOO_MANY: Final = f"it has more than {FIELDS_MAX} header fields"
_REASON_MAX: Final = 256
_CODINGS = (b"chunked", b"gzip", b"compress", b"deflate", b"identity", b"trailers", b"br", b"zstd", b"dcb", b"dcz")
"""Names that tell, as a part of a transfer coding's name, that it may have been applied."""


_SPACE_BEFORE_COLON = re.compile(rb"(?<=\n)([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]+(?=:|\Z)")
_INTERIM = re.compile(rb"[\r\n]*HTTP/1\.[0-9] 1(?!01)[0-9]{2}[ \r]")


class Framing(Enum):
    """What ends a response's content (RFC 9112 §6.3)."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


_NONE, _LENGTH, _CHUNKED, _CLOSE = Framing  # found faster than members are


class ResponseReader(ABC):
    """Feeds bytes to llhttp and gathers one response after another; see the file's head."""

    __slots__ = (
        "_between", "_large", "begun", "failure", "fields", "framing", "head_bytes", "head_limit", "in_head",
        "is_http_1_1", "is_keep_alive", "length", "method", "parser", "reason", "remainder",
    )  # fmt: skip

    def __init__(self, head_limit: int) -> None:
        self.head_limit = head_limit
        self._large = min(head_limit, 4 * FIELDS_MAX)
        """A head of fewer bytes is not too large, nor has it too many fields."""
        self.failure: str | None = None
        self.remainder = b""
        """Bytes behind a 101, which belong to the new protocol."""
        self.fields: list[Field] = []
        self._between = 0
        """Bytes read since the head, or since the last content."""
        self.begun = b""
        """What earlier reads had of a head that takes several."""
        self.expect(b"GET", fresh=True)

    def expect(self, method: bytes, *, fresh: bool = False) -> None:
        """Prepare for the answer to a request with the method."""
        if fresh:
            self._new_parser()
        self.method = method
        self.framing: Framing | None = None
        self.length: int | None = None
        self.is_http_1_1 = False
        """It was seen to be; else llhttp is asked, which takes longer."""
        self.is_keep_alive = False
        self.head_bytes = 0
        self.in_head = True

    def _new_parser(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.parser.set_dangerous_leniencies(lenient_version=True)  # `on_headers_complete` looks at it

    def _begin(self) -> None:
        self.reason = b""
        self.fields = []

    @abstractmethod
    def interim_received(self, response: Response) -> None:
        """Take a 1xx other than 101."""

    @abstractmethod
    def answer_received(self, response: Response) -> None:
        """Take the head of the final answer (or 101); `framing` and `length` are set."""

    @abstractmethod
    def content_received(self, data: bytes) -> None:
        """Take some of the content."""

    @abstractmethod
    def answer_complete(self) -> None:
        """Take the end of an answer that ended as it announced."""

    def feed(self, data: bytes) -> None:
        """Parse bytes; `failure` is set when they are not a valid answer."""
        if self.in_head:
            self.is_http_1_1 = not self.head_bytes and data.startswith(b"HTTP/1.1 ")
            self.head_bytes += len(data)
        else:
            self._between += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.remainder = data[upgrade.args[0] :]
        except httptools.HttpParserCallbackError:
            raise  # a mistake of ours is not the origin's
        except httptools.HttpParserError as error:
            if self.in_head and self.failure is None and self._is_mended(data):
                return
            self.failure = self.failure or str(error)
        if self.in_head:
            self._keep_open_head(data)
        elif self._between > self.head_limit and self.framing is _CHUNKED:
            self.failure = f"its trailer section is larger than {self.head_limit} bytes"  # llhttp gathers each field

    def _keep_open_head(self, data: bytes) -> None:
        """Keep what was read of a head that goes on, and bound it."""
        self.begun = self._head_so_far(data)
        if self.head_bytes > self.head_limit:
            self.failure = f"its header section is larger than {self.head_limit} bytes"
        elif len(self.fields) > FIELDS_MAX:
            self.failure = _TOO_MANY

    def _head_so_far(self, data: bytes) -> bytes:
        """Return what was read of the answer; `data` is the latest of it, and counted already."""
        return data if self.head_bytes == len(data) else self.begun + data

    def _is_mended(self, data: bytes) -> bool:
        """Remove white space between field names and colons, at which llhttp has stopped, and read on (RFC 9112 §5.1).

        That is done once the head is complete: until then each read comes here, because a parser that has stopped stays
        so.
        """
        heads, rest = _heads_in(self._head_so_far(data))
        while len(heads) > 1 and not _SPACE_BEFORE_COLON.search(heads[0]):
            del heads[0]  # it was received
        if not _SPACE_BEFORE_COLON.search(heads[0]):
            return False
        if rest is None:
            self._keep_open_head(data)
            return True
        self._new_parser()
        self.head_bytes = 0
        self.feed(b"\r\n\r\n".join([*(_SPACE_BEFORE_COLON.sub(rb"\1", head) for head in heads), rest]))
        return True

    def ended(self) -> bool:
        """Take the end of the connection; return whether that is how the message was to end."""
        if self.framing is _CLOSE:
            self.answer_complete()
            return True
        return False

    # httptools callbacks.

    def on_message_begin(self) -> None:
        self._begin()

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:  # else it is a trailer field: dropped
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        if self.failure is not None:
            return
        if self.head_bytes > self._large and self._is_too_large():
            return
        status: int = self.parser.get_status_code()
        reason = REASON_PHRASES.get(status)
        if reason != self.reason:
            reason = self.reason
            if not is_value(reason):
                self.failure = "its reason phrase has control characters"
                return
            if len(reason) > _REASON_MAX:
                reason = b""  # no recipient needs it (RFC 9112 §4)
        response = Response(status, self.fields, reason=reason)
        if not self.is_http_1_1:
            version: str = self.parser.get_http_version()
            if not version.startswith("1."):
                self.failure = "it is of another version of HTTP"
                return
            response.is_http_1_0 = version == "1.0"
        if status < 200 and status != 101:
            self.is_http_1_1 = False  # another head may follow
            if status < 100:
                self.failure = "its status code is not valid"
            else:
                self.interim_received(response)
            return
        self.in_head = False
        if status == 101 and not self.parser.should_upgrade():
            self.failure = "it switches protocols without naming one"
            return
        self._settle_framing(response)
        if self.failure is None:
            self.answer_received(response)
            if self.framing is _NONE and status != 101:
                self.answer_complete()

    def on_body(self, data: bytes) -> None:
        if self.framing is _NONE:
            self.failure = self.failure or "content follows an answer that has none"  # to HEAD: llhttp cannot know
        elif self.failure is None:
            self._between = 0
            self.content_received(data)

    def on_message_complete(self) -> None:
        if not self.in_head and self.failure is None and self.framing in (_LENGTH, _CHUNKED):
            self.answer_complete()

    def _is_too_large(self) -> bool:
        if len(self.fields) > FIELDS_MAX:
            self.failure = _TOO_MANY
        elif self.head_bytes > self.head_limit and sum(len(n) + len(v) + 4 for n, v in self.fields) > self.head_limit:
            self.failure = f"its header section is larger than {self.head_limit} bytes"
        return self.failure is not None

    def _settle_framing(self, response: Response) -> None:
        """Find what ends the content. A transfer coding other than chunked cannot be undone here.

        An unknown one has not been applied: that takes a TE in the request (§7.4). It ends with the connection.
        """
        self.is_keep_alive = self.parser.should_keep_alive()
        announced = response.value(b"content-length", CONTENT_LENGTH)
        if announced is not None:
            self.length = int(announced) if announced.isdigit() else None
        is_coded = response.bits & TRANSFER_ENCODING
        if is_coded:
            codings = members((combined_value(self.fields, b"transfer-encoding") or b"").lower())
            if codings != [b"chunked"]:
                is_coded = 0
                if not _is_unheard_of(codings):
                    self.failure = "it uses a transfer coding other than chunked"
            self.length = announced = None
            if response.is_http_1_0:
                self.is_keep_alive = False  # RFC 9112 §6.1
        if not may_have_content(self.method, response.status):
            self.framing = _NONE
        elif is_coded:
            self.framing = _CHUNKED
        else:
            self.framing = _CLOSE if announced is None else _LENGTH


def _heads_in(read: bytes) -> tuple[list[bytes], bytes | None]:
    """Return the heads of interim responses and of the one behind them; and what follows, None while that goes on."""
    heads = []
    while True:
        head, blank_line, read = read.partition(b"\r\n\r\n")
        heads.append(head)
        if not blank_line:
            return heads, None
        if not _INTERIM.match(head):
            return heads, read


def _is_unheard_of(codings: list[bytes]) -> bool:
    """Return whether the only transfer coding is a token that resembles none of those there are."""
    return len(codings) == 1 and is_token(codings[0]) and not any(name in codings[0] for name in _CODINGS)
