"""What `--frontend fastapi` and `--frontend flask` have in common: the listening socket, and the control socket."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from springhouse.endpoint import Endpoint
from springhouse.engine.engine import Engine
from springhouse.settings import Settings


class Control(Protocol):
    """Takes orders over the control socket until it is stopped."""

    async def stop(self, seconds: float) -> int:
        """Take no more orders, and give those being carried out some seconds to end."""


CONTROL_S = 2.0
"""How long an order that is being carried out may take to end."""
ServeControl = Callable[[Engine, Endpoint, Settings, Endpoint], Coroutine[Any, Any, Control]]
"""Takes orders for an engine at an endpoint; the last argument is the endpoint of clients."""
_BACKLOG = 2048


def open_for(settings: Settings) -> tuple[Endpoint, Settings]:
    """Open where another server is to accept clients; return it with the settings as they are with its port.

    Raises CannotListen.
    """
    endpoint = Endpoint.open(settings.host, settings.port, settings.unix_socket, backlog=_BACKLOG)
    return endpoint, settings.model_copy(update={"port": endpoint.port or settings.port})
