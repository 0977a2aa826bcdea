"""A request's content on its way from the client to the origin."""

from typing import Final, Protocol

from springhouse.http.memo import KIB, READ_BYTES, bound

UPLOAD_HELD_MAX: Final = 64 * KIB
bound("upload", UPLOAD_HELD_MAX + READ_BYTES, "content that no receiver takes yet", per="client connection")


class Pausable(Protocol):
    """What can be asked to hold back and to go on."""

    def pause(self) -> None:
        """Stop producing for now."""

    def resume(self) -> None:
        """Go on producing."""


class UploadReceiver(Protocol):
    """Takes a request's content."""

    def content(self, data: bytes) -> None:
        """Take some content."""

    def content_end(self) -> None:
        """Take the end of the content."""


class RequestContent:
    """Holds what arrives before there is a receiver, then hands everything on.

    At most about `UPLOAD_HELD_MAX` bytes are held; then the source is paused. `length` is None when it is chunked.
    """

    __slots__ = ("ended", "held", "is_paused", "length", "receiver", "source", "touched")

    def __init__(self, source: Pausable, length: int | None) -> None:
        self.source = source
        self.length = length
        self.held = bytearray()
        self.ended = False
        self.touched = False
        """Some of it has been handed on, so the request cannot be sent again."""
        self.is_paused = False
        self.receiver: UploadReceiver | None = None

    def feed(self, data: bytes) -> None:
        """Take content from the client."""
        if self.receiver is not None:
            self.receiver.content(data)
            return
        self.held += data
        if len(self.held) > UPLOAD_HELD_MAX:
            self.pause()

    def feed_end(self) -> None:
        """Take the end: the client has sent all."""
        self.ended = True
        if self.receiver is not None:
            self.receiver.content_end()

    def attach(self, receiver: UploadReceiver) -> None:
        """Hand everything, held and to come, to the receiver."""
        self.receiver = receiver
        self.touched = True
        held, self.held = bytes(self.held), bytearray()
        self.resume()  # first: what is handed on now may be too much for the receiver and pause again
        if held:
            receiver.content(held)
        if self.ended:
            receiver.content_end()

    def detach(self) -> None:
        """Hand nothing on any more; the rest is discarded."""
        self.receiver = _DISCARD
        self.held = bytearray()
        self.resume()

    @property
    def is_unwanted(self) -> bool:
        """Whether it is discarded."""
        return self.receiver is _DISCARD

    def pause(self) -> None:
        """Hold the client back."""
        if not self.is_paused:
            self.is_paused = True
            self.source.pause()

    def resume(self) -> None:
        """Let the client go on."""
        if self.is_paused:
            self.is_paused = False
            self.source.resume()


class _Discard:
    def content(self, data: bytes) -> None:
        pass

    def content_end(self) -> None:
        pass


_DISCARD = _Discard()
