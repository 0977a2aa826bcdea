"""Reading from a client, on and off: it is paused as long as there is any reason for that."""

import asyncio
from typing import Final

FOR_QUEUE: Final = 1
"""So many requests wait that no more are parsed."""
FOR_CONTENT: Final = 2
"""Content waits for its receiver."""
FOR_UPGRADE: Final = 4
"""So much waits for the answer to a request to change protocols."""
FOR_UNREAD: Final = 8
"""What was read before is parsed first."""


class Pauses:
    """The reasons for which reading from a transport is paused."""

    __slots__ = ("_transport", "reasons")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.reasons = 0

    def hold(self, why: int) -> None:
        """Stop reading."""
        if not self.reasons:
            self._transport.pause_reading()
        self.reasons |= why

    def release(self, why: int) -> None:
        """Read again, if there is no other reason against it."""
        if self.reasons & why:
            self.reasons &= ~why
            if not self.reasons and not self._transport.is_closing():
                self._transport.resume_reading()


class ContentSource:
    """What a request's content pauses while its receiver takes nothing."""

    __slots__ = ("_pauses",)

    def __init__(self, pauses: Pauses) -> None:
        self._pauses = pauses

    def pause(self) -> None:
        """Take no more from the client."""
        self._pauses.hold(FOR_CONTENT)

    def resume(self) -> None:
        """Take more."""
        self._pauses.release(FOR_CONTENT)
