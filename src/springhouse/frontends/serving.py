"""What `--frontend fastapi` and `--frontend flask` have in common: the listening socket, and the control socket."""

import socket
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from springhouse.binding import listening, listening_on_path
from springhouse.engine.engine import Engine
from springhouse.settings import Settings


class Control(Protocol):
    """Takes orders over the control socket until it is stopped."""

    async def stop(self, seconds: float) -> int:
        """Take no more orders, and give those being carried out some seconds to end."""


CONTROL_S = 2.0
"""How long an order that is being carried out may take to end."""
ServeControl = Callable[[Engine, socket.socket, Settings, int], Coroutine[Any, Any, Control]]
"""Takes orders for an engine from a listening socket; the last argument is the port that clients reach the proxy at."""
_BACKLOG = 2048


class FrontListener:
    """The socket that another server is to accept clients from. Raises CannotListen.

    `settings` are those given, with the port that was chosen where any would do.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.unix_socket is not None:
            self.socket = listening_on_path(settings.unix_socket, _BACKLOG)
            self.settings = settings
        else:
            self.socket = listening(settings.host, settings.port, _BACKLOG)
            self.settings = settings.model_copy(update={"port": self.socket.getsockname()[1]})

    def remove(self) -> None:
        """Remove a Unix socket from its folder."""
        if self.settings.unix_socket is not None:
            self.settings.unix_socket.unlink(missing_ok=True)
