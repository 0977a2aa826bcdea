"""A request to change protocols (RFC 9110 §7.8), and the bytes that come behind it.

    asked      the parser stops behind the request    asked: bytes are held
    asked      the origin answers 101                 switched: bytes go through as they are
    asked      any other answer                       declined: what was held are further requests

An Upgrade exists from the request on, and for as long as it is asked or switched.
"""

from collections.abc import Callable
from typing import Final

from springhouse.http.memo import KIB, READ_BYTES, bound
from springhouse.server.reading import FOR_UPGRADE, ContentSource, Pauses
from springhouse.transport.content import RequestContent

_HELD_MAX: Final = 64 * KIB
bound("other protocol", _HELD_MAX + READ_BYTES, "what came behind a wish to upgrade", per="client connection")


class Upgrade:
    """`tunnel`: where bytes go once the origin has switched; `held`: what came before, None until the parser stops."""

    __slots__ = ("_pauses", "held", "tunnel")

    def __init__(self, pauses: Pauses) -> None:
        self._pauses = pauses
        self.held: bytes | None = None
        self.tunnel: RequestContent | None = None

    def take(self, data: bytes) -> None:
        """Take bytes that came behind the request."""
        if self.tunnel is not None:
            self.tunnel.feed(data)
            return
        self.held = (self.held or b"") + data
        if len(self.held) > _HELD_MAX:
            self._pauses.hold(FOR_UPGRADE)

    def switch(self, carry: Callable[[RequestContent], None]) -> None:
        """Let bytes through from now on; `carry` sends them to the origin."""
        self.tunnel = RequestContent(ContentSource(self._pauses), None)
        carry(self.tunnel)
        held, self.held = self.held, None
        if held:
            self.tunnel.feed(held)
        self._pauses.release(FOR_UPGRADE)

    def decline(self) -> bytes | None:
        """Return the further requests that were held, None if the parser has not stopped."""
        held, self.held = self.held, None
        self._pauses.release(FOR_UPGRADE)
        return held
