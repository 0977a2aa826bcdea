"""Whether a client has gone while nothing is read from it: asked of the system, where it can tell (Linux)."""

import select
import socket
from enum import Enum


class End(Enum):
    """How the other side has ended a connection."""

    HALF = "half"
    """It sends no more; it may have closed the connection, or may still read."""
    WHOLE = "whole"
    """It has broken the connection off."""


_HALF = getattr(select, "POLLRDHUP", 0)


def end_of(connection: socket.socket) -> End | None:
    """Return how the other side has ended the connection, None where it has not or that cannot be known."""
    descriptor = connection.fileno()
    if not _HALF or descriptor < 0:
        return None
    poll = select.poll()
    poll.register(descriptor, _HALF)
    found = 0
    for _, events in poll.poll(0):
        found |= events
    if found & (select.POLLHUP | select.POLLERR):
        return End.WHOLE
    return End.HALF if found & _HALF else None
