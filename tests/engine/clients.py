"""Ends of a recording: an origin that may be held back, clients that take bytes at their own pace."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from springhouse.exchange.reply import Reply
    from springhouse.http.messages import Response
    from springhouse.transport.content import Pausable


class Origin:
    """Counts how often it is held back."""

    def __init__(self) -> None:
        self.is_paused = False
        self.turns = 0
        self.is_attended = True
        self.is_cancelled = False

    def pause(self) -> None:
        assert not self.is_paused
        self.is_paused = True
        self.turns += 1

    def resume(self) -> None:
        assert self.is_paused
        self.is_paused = False

    def unattended(self) -> None:
        assert self.is_attended
        self.is_attended = False

    def attended(self) -> None:
        assert not self.is_attended
        self.is_attended = True

    def cancel(self) -> None:
        self.is_cancelled = True


class Client:
    """A sink that is full after `room` bytes, until the client takes them."""

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.paused = False
        self.got = b""
        self.flushed = 0
        self.ends = 0
        self.aborts = 0
        self.pending = 0
        self.producer: Pausable | None = None

    def interim(self, response: Response) -> None:
        raise AssertionError

    def start(self, reply: Reply) -> None:
        raise AssertionError

    def produced_by(self, producer: Pausable) -> None:
        self.producer = producer

    def write(self, data: bytes) -> None:
        assert data
        assert not self.paused
        assert not self.ends
        assert not self.aborts
        self.got += data
        self.pending += len(data)
        self.paused = self.room is not None and self.pending >= self.room

    def flush(self) -> None:
        self.flushed = len(self.got)

    def end(self) -> None:
        self.ends += 1

    def abort(self) -> None:
        self.aborts += 1

    def take(self) -> None:
        """Take what was written; what produces goes on."""
        self.pending = 0
        if self.paused:
            self.paused = False
            assert self.producer is not None
            self.producer.resume()

    @property
    def state(self) -> tuple[bytes, int, int]:
        return self.got, self.ends, self.aborts
