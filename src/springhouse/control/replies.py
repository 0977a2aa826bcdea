"""Replies of the control endpoints: how they are made, and how they are sent."""

from http import HTTPStatus
from typing import Final

from msgspec import json

from springhouse.engine.ports import Answering
from springhouse.engine.sinks import Sink
from springhouse.exchange.reply import BYPASS, Reply
from springhouse.http.fields import Field
from springhouse.http.messages import REASON_PHRASES

NO_STORE_FIELD: Final[Field] = (b"Cache-Control", b"no-store")
_NO_SNIFF: Final[Field] = (b"X-Content-Type-Options", b"nosniff")


class _Answered:
    """An answer that was sent, or will be once a purge is done: there is nothing to break off."""

    call = None

    def cancel(self) -> None:
        """See `Answering`. What is sent to a client that has gone is dropped by its sink."""


ANSWERED: Final[Answering] = _Answered()


def classic_head(*fields: Field, media: bytes = b"application/json") -> list[Field]:
    """Return the fields of a reply to the classic endpoints; without any of its own, it is not to be stored."""
    return [(b"Content-Type", media), _NO_SNIFF, *(fields or (NO_STORE_FIELD,))]


def classic_reply(status: int, body: bytes, *fields: Field, media: bytes = b"application/json") -> Reply:
    """Return a reply to the classic endpoints, whose `X-Cache` is BYPASS."""
    return Reply(status, phrase_of(status), classic_head(*fields, media=media), b"", body, len(body), BYPASS, None)


def send_reply(sink: Sink, reply: Reply, *, is_head: bool = False) -> None:
    """Send a reply whose content is at hand; without the content for a HEAD request."""
    sink.start(reply)
    if isinstance(reply.content, bytes) and not is_head:
        sink.write(reply.content)
    sink.end()


def failure_body(code: str, message: str) -> bytes:
    """Return the JSON that each error of the classic endpoints has as its content."""
    return json.encode({"success": False, "error": {"code": code, "message": message}})


def phrase_of(status: int) -> bytes:
    """Return a status's reason phrase, b"" for a status that is not registered."""
    if status in REASON_PHRASES:
        return REASON_PHRASES[status]
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
