"""What every front end takes from the settings: what clients may send, the names it answers to, where it logs."""

import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from springhouse.engine.engine import Engine
from springhouse.observe.accesslog import AccessLog, Format
from springhouse.service import names_of, origin_of, request_limits_of
from springhouse.settings import BadSettings, Settings
from springhouse.wire.admission import Limits


class Control(Protocol):
    """What takes orders over the control socket; it can be stopped, with some seconds for what is being done."""

    async def stop(self, seconds: float) -> int:
        """Take no more orders."""


CONTROL_S = 2.0
"""How long an order that is being carried out may take to end."""
ServeControl = Callable[[Engine, socket.socket, Settings, int], Coroutine[Any, Any, Control]]
"""Takes orders for an engine from a socket that listens; the last is the port that clients reach the proxy at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """`names_of_ours`: the authorities that a target in absolute form may have; `log_path`: "" for no access log.

    `half_close`: seconds that a client which has closed its side may wait for its answer to begin; 0 for no limit.
    """

    limits: Limits = field(default_factory=Limits)
    names_of_ours: frozenset[bytes] = frozenset()
    half_close: float = 1.0
    log_path: str = ""
    log_format: Format = "common"

    def open_log(self) -> AccessLog | None:
        """Return the access log, if there is to be one. Raises BadSettings."""
        if not self.log_path:
            return None
        try:
            return AccessLog(self.log_path, self.log_format)
        except OSError as error:
            raise BadSettings(f"Cannot write the access log {self.log_path}: {error.strerror}") from None


def front_of(settings: Settings) -> Front:
    """Return what a front end takes from the settings."""
    return Front(
        limits=request_limits_of(settings),
        names_of_ours=names_of(settings, settings.port, origin_of(settings)),
        half_close=settings.half_close_timeout,
        log_path=settings.access_log,
        log_format=settings.access_log_format,
    )
