"""Media types of responses that have no end: nothing of them is for another client, now or later."""

from typing import Final

from springhouse.http.fields import CONTENT_TYPE
from springhouse.http.headers import members
from springhouse.http.memo import KIB, Memo, bound
from springhouse.http.messages import Response

STREAMS: Final = frozenset({b"text/event-stream", b"multipart/x-mixed-replace"})


def is_stream(response: Response) -> bool:
    """Return whether any media type that the response states is one of a stream, whatever its parameters."""
    stated = response.combined(b"content-type", CONTENT_TYPE)
    return stated is not None and _names_stream(stated)


def _read(content_type: bytes) -> bool:
    return any(member.partition(b";")[0].strip(b" \t").lower() in STREAMS for member in members(content_type))


_names_stream: Final = Memo(
    bound("media types", 64 * KIB, "the Content-Type values of responses, and whether they are streams"), _read
).__getitem__
