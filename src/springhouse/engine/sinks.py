"""Where replies go."""

from typing import Protocol

from springhouse.exchange.reply import Reply
from springhouse.http.content import CONTENT_PIECE
from springhouse.http.messages import Response
from springhouse.transport.content import Pausable


class Sink(Protocol):
    """Where a reply goes: a connection, an ASGI `send`, a WSGI iterator.

    `start` comes once, then `write` any number of times, then `end`; `abort` instead when the content broke off:
    the client must be able to tell that it is not whole. While `paused`, nothing should be written; the sink calls
    `resume` of what it was given by `produced_by` when it can take more.
    """

    @property
    def paused(self) -> bool:
        """Whether nothing should be written for now."""

    @property
    def piece(self) -> int:
        """Bytes of content in memory that should be written at once: few if they are copied, else many."""

    def interim(self, response: Response) -> None:
        """Pass a 1xx on."""

    def start(self, reply: Reply) -> None:
        """Begin the reply."""

    def produced_by(self, producer: Pausable) -> None:
        """Name what is resumed once the sink can take more."""

    def write(self, data: bytes | memoryview) -> None:
        """Send some content; a view is of bytes that never change."""

    def flush(self) -> None:
        """Send what was written so far: nothing follows at once."""

    def end(self) -> None:
        """Finish the reply."""

    def abort(self) -> None:
        """Break the reply off."""


class SinkBefore:
    """Stands before another sink and passes everything on to it; a subclass changes what it needs to."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    @property
    def paused(self) -> bool:
        return self._sink.paused

    @property
    def piece(self) -> int:
        return self._sink.piece

    def interim(self, response: Response) -> None:
        self._sink.interim(response)

    def start(self, reply: Reply) -> None:
        self._sink.start(reply)

    def produced_by(self, producer: Pausable) -> None:
        self._sink.produced_by(producer)

    def write(self, data: bytes | memoryview) -> None:
        self._sink.write(data)

    def flush(self) -> None:
        self._sink.flush()

    def end(self) -> None:
        self._sink.end()

    def abort(self) -> None:
        self._sink.abort()


class Nowhere:
    """The sink of a background exchange, and of one whose client has gone."""

    paused = False
    piece = CONTENT_PIECE

    def interim(self, response: Response) -> None:
        pass

    def start(self, reply: Reply) -> None:
        pass

    def produced_by(self, producer: Pausable) -> None:
        pass

    def write(self, data: bytes | memoryview) -> None:
        pass

    def flush(self) -> None:
        pass

    def end(self) -> None:
        pass

    def abort(self) -> None:
        pass


NOWHERE = Nowhere()
