"""Finds slow clients: one sweep over all connections instead of timers per request.

A connection is looked at every `ClientTimeouts.sweep` seconds. What must not take too long: a head from its first byte
on, content from its first byte on (and not slower than the minimum rate), silence between requests, and taking an
answer.

A client that closes its connection is not told from one that only sends no more, as `nc -N` does, until something is
written to it. So one that has closed its side may wait a moment for its answer to begin; then it counts as gone.
"""

import sys

from springhouse.hangups import End, end_of
from springhouse.server.connection import ClientConnection
from springhouse.server.limits import ClientTimeouts
from springhouse.server.writer import reset


class Watch:
    """What the sweep remembers of one connection."""

    __slots__ = ("content", "content_since", "head", "head_since", "quiet_since", "stalled_since", "unsent")

    def __init__(self, now: float) -> None:
        self.quiet_since = now
        self.head: object = None
        self.head_since = 0.0
        self.content: object = None
        self.content_since = 0.0
        self.stalled_since = 0.0
        self.unsent = 0


def look(connection: ClientConnection, watch: Watch, timeouts: ClientTimeouts, now: float) -> None:
    """Close the connection, or answer 408, when the client takes too long."""
    if connection.was_active:
        connection.was_active = False
        watch.quiet_since = now
    if _is_stalled(connection, watch, timeouts, now):
        reset(connection.transport)
    elif connection.has_ended or connection.is_held_back:
        _look_whether_it_left(connection, watch, timeouts, now)
    elif connection.in_head:
        if watch.head is not connection.fields:
            watch.head, watch.head_since = connection.fields, now
        elif timeouts.header and now - watch.head_since >= timeouts.header:
            connection.too_slow("The request's header section took too long to arrive")
    elif connection.is_receiving_content:
        _look_at_content(connection, watch, timeouts, now)
    elif connection.is_idle:
        if timeouts.idle and now - watch.quiet_since >= timeouts.idle:
            connection.close_idle()
        elif connection.fields:
            connection.release_last()
            watch.head = watch.content = None


def _look_whether_it_left(connection: ClientConnection, watch: Watch, timeouts: ClientTimeouts, now: float) -> None:
    end = end_of(connection.transport.get_extra_info("socket"))
    if end is End.WHOLE:
        reset(connection.transport)
    elif (
        (end is End.HALF or connection.has_ended)
        and timeouts.half_close
        and now - watch.quiet_since >= timeouts.half_close
        and not connection.turns.has_whole_answer_to_come
    ):
        connection.give_up()


def _look_at_content(connection: ClientConnection, watch: Watch, timeouts: ClientTimeouts, now: float) -> None:
    if watch.content is not connection.fields:
        watch.content, watch.content_since = connection.fields, now
    elapsed = now - watch.content_since
    is_slow = elapsed > timeouts.grace and connection.content_size < timeouts.rate * elapsed
    if (timeouts.content and now - watch.quiet_since >= timeouts.content) or is_slow:
        connection.too_slow("The request's content took too long to arrive")


def _is_stalled(connection: ClientConnection, watch: Watch, timeouts: ClientTimeouts, now: float) -> bool:
    """Return whether the client has not taken what was written, at the least rate, for too long."""
    if not timeouts.send or not connection.transport.get_write_buffer_size():
        watch.unsent = 0
        return False
    unsent = _unsent(connection)
    if not watch.unsent or watch.unsent - unsent >= timeouts.rate * timeouts.sweep:
        watch.stalled_since = now
    watch.unsent = unsent
    return now - watch.stalled_since >= timeouts.send


if sys.platform == "linux":
    from fcntl import ioctl
    from termios import TIOCOUTQ

    def _unsent(connection: ClientConnection) -> int:
        """Return the bytes that the client has not taken: ours, and those that the kernel holds.

        The kernel asks for more only when a third of its megabytes have gone; on a slow line that may take minutes.
        """
        ours = connection.transport.get_write_buffer_size()
        try:
            held = ioctl(connection.transport.get_extra_info("socket").fileno(), TIOCOUTQ, bytes(4))
        except OSError:  # it has just gone
            return ours
        return ours + int.from_bytes(held, sys.byteorder)

else:

    def _unsent(connection: ClientConnection) -> int:
        """Return the bytes that wait here for the client."""
        return connection.transport.get_write_buffer_size()
