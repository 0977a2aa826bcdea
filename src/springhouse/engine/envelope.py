"""`GET /proxy`: an upstream's answer stored for exactly the TTL, and wrapped in JSON for the client.

Both ends are adapters, so that the flow in between stays the one flow: `ExactTtl` stands before the upstream and takes
from its answers everything that would speak about caching; `Envelope` stands behind the flow and gathers its reply.
"""

import re
import zlib
from base64 import b64encode
from http import HTTPStatus
from typing import Any

from msgspec import DecodeError, Raw, json

from springhouse.engine.driver import Exchange
from springhouse.engine.ports import Call, Upstream
from springhouse.engine.sinks import CONTENT_PIECE, Sink
from springhouse.exchange.reply import HIT, STALE, Reply
from springhouse.exchange.steps import Failure
from springhouse.http.fields import Field
from springhouse.http.headers import fields_of, first, lines_of
from springhouse.http.messages import REASON_PHRASES, Request, Response
from springhouse.upstream.content import Pausable, RequestContent
from springhouse.upstream.pool import Receiver
from springhouse.upstream.routing import Forwarding

_PASSED_ON = frozenset({b"content-type", b"content-encoding", b"content-length", b"etag", b"last-modified"})
_STORED = frozenset({200, 203, 204, 300, 304})
_NO_SNIFF: Field = (b"X-Content-Type-Options", b"nosniff")
_NO_STORE: Field = (b"Cache-Control", b"no-store")
_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json")
_TEXT = re.compile(r"text/.*|application/(?:[\w.+-]+\+)?(?:xml|javascript|yaml|x-www-form-urlencoded)")
_CHARSET = re.compile(r';\s*charset="?([\w.:-]+)"?', re.IGNORECASE)
_KEPT = (b"X-Cache", b"Cache-Status")
_CODES = {403: "forbidden_target", 502: "bad_gateway", 503: "overloaded", 504: "gateway_timeout", 508: "loop"}


class ExactTtl:
    """An upstream whose answers say nothing about caching: successful ones get our TTL, others are not stored."""

    def __init__(self, upstream: Upstream, *, ttl: int) -> None:
        self.upstream = upstream
        self.ttl = ttl

    @property
    def forwarding(self) -> Forwarding:
        return self.upstream.forwarding

    def send(self, request: Request, fields: list[Field], content: RequestContent | None, receiver: Receiver) -> Call:
        return self.upstream.send(request, fields, content, _Muted(receiver, is_storable=self.ttl > 0))

    def close(self) -> None:
        self.upstream.close()


class _Muted:
    """Passes on what a call reports, without what its head says about caching."""

    def __init__(self, receiver: Receiver, *, is_storable: bool) -> None:
        self._receiver = receiver
        self._is_storable = is_storable

    def interim(self, response: Response) -> None:
        """Drop it."""

    def answered(self, response: Response, length: int | None) -> None:
        fields = [field for field in response.fields if field[0].lower() in _PASSED_ON]
        if response.status not in _STORED or not self._is_storable:
            fields.append(_NO_STORE)
        self._receiver.answered(Response(response.status, fields, reason=response.reason), length)

    def content(self, data: bytes) -> None:
        self._receiver.content(data)

    def settled(self) -> None:
        self._receiver.settled()

    def content_end(self) -> None:
        self._receiver.content_end()

    def failed(self, failure: Failure) -> None:
        self._receiver.failed(failure)


class Envelope:
    """The sink of a `/proxy` fetch: gathers at most `size_max` bytes and answers the client in JSON."""

    paused = False
    piece = CONTENT_PIECE

    def __init__(self, sink: Sink, size_max: int) -> None:
        self.exchange: Exchange | None = None
        self._sink = sink
        self._size_max = size_max
        self._size = 0
        self._chunks: list[bytes | memoryview] = []
        self._reply: Reply | None = None
        self._is_over = False

    def interim(self, response: Response) -> None:
        pass

    def start(self, reply: Reply) -> None:
        self._reply = reply

    def produced_by(self, producer: Pausable) -> None:
        pass

    def write(self, data: bytes | memoryview) -> None:
        if self._is_over:
            return
        self._size += len(data)
        self._chunks.append(data)
        if self._size > self._size_max:
            self._answer(502, failure("too_large", f"The upstream's answer is larger than {self._size_max} bytes"))
            if self.exchange is not None:
                self.exchange.cancel()

    def flush(self) -> None:
        pass

    def end(self) -> None:
        reply = self._reply
        if self._is_over or reply is None:
            return
        content = b"".join(self._chunks)
        if 200 <= reply.status < 300:
            try:
                self._answer(200, success(reply, content, self._size_max))
            except ValueError as error:
                self._answer(502, failure("bad_gateway", str(error)))
        elif isinstance(reply.content, bytes):
            detail = json.decode(content, type=dict[str, Any])["detail"]
            self._answer(reply.status, failure(_CODES.get(reply.status, "bad_gateway"), detail))
        else:
            self._answer(*upstream_refused(reply.status))

    def abort(self) -> None:
        self._answer(502, failure("bad_gateway", "The upstream's answer broke off"))

    def _answer(self, status: int, body: bytes) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._chunks = []
        inner = self._reply
        reply = answer(status, body)
        if inner is not None:
            reply.x_cache, reply.reason = inner.x_cache, inner.reason
            reply.ours = lines_of([field for field in fields_of(inner.ours) if field[0] in _KEPT])
        send(self._sink, reply)


def answer(status: int, body: bytes, *fields: Field, media: bytes = b"application/json") -> Reply:
    """Return a reply of our own."""
    head = [(b"Content-Type", media), _NO_SNIFF, *(fields or (_NO_STORE,))]
    return Reply(status, _phrase(status), head, b"", body, len(body), b"BYPASS", None)


def send(sink: Sink, reply: Reply, *, is_head: bool = False) -> None:
    """Send a reply of our own."""
    sink.start(reply)
    if isinstance(reply.content, bytes) and not is_head:
        sink.write(reply.content)
    sink.end()


def failure(code: str, message: str) -> bytes:
    """Return the one shape of errors."""
    return json.encode({"success": False, "error": {"code": code, "message": message}})


def upstream_refused(status: int) -> tuple[int, bytes]:
    """Return what the client gets for an upstream's answer that is no success: its 4xx as they are, else 502."""
    said = f"The upstream answered {status} {_phrase(status).decode()}".rstrip()
    if 300 <= status < 400:
        return 502, failure("redirect", f"{said}; redirects are not followed")
    return (status if 400 <= status < 500 else 502), failure("upstream_status", said)


def success(reply: Reply, content: bytes, size_max: int) -> bytes:
    """Return the envelope around an upstream's content. Raises ValueError when it cannot be decoded."""
    coding = (first(reply.fields, b"content-encoding") or b"identity").lower()
    content = _decoded(content, coding, size_max)
    media = (first(reply.fields, b"content-type") or b"").decode("latin-1")
    source = "cache" if reply.x_cache in (HIT, STALE) else "upstream"
    return json.encode({"success": True, "source": source, "data": data_of(content, media)})


def data_of(content: bytes, media: str) -> Any:
    """Return content as a JSON value: JSON itself, text as a string, anything else in base64 with its type."""
    plain = media.partition(";")[0].strip().lower()
    if not content:
        return None
    if not plain or _JSON.fullmatch(plain):
        try:
            json.decode(content)
        except (DecodeError, UnicodeDecodeError, RecursionError):
            plain = plain and "text/plain"
        else:
            return Raw(content)
    if not plain or _TEXT.fullmatch(plain):
        charset = _CHARSET.search(media)
        try:
            return content.decode(charset[1] if charset else "utf-8")
        except (UnicodeDecodeError, LookupError):
            pass
    return {"content_type": media or "application/octet-stream", "base64": b64encode(content).decode()}


def _decoded(content: bytes, coding: bytes, size_max: int) -> bytes:
    """Undo a content coding that was applied though we asked for none; never into more than `size_max` bytes."""
    if coding == b"identity" or not content:
        return content
    if coding not in (b"gzip", b"x-gzip", b"deflate"):
        raise ValueError(f"The upstream used the content coding {coding.decode('latin-1')} without being asked to")
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        plain = inflater.decompress(content, size_max + 1)
    except zlib.error as error:
        raise ValueError(f"The upstream's content is not valid {coding.decode()}: {error}") from None
    if len(plain) > size_max or not inflater.eof:
        raise ValueError("The upstream's content is too large or not whole")
    return plain


def _phrase(status: int) -> bytes:
    if status in REASON_PHRASES:
        return REASON_PHRASES[status]
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
