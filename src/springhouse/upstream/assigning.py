"""Which call goes on which connection, and what that opens and closes: one function, decided without doing any of it.

Calls are served in the order in which they came. A call takes the connection that was used last, or opens one while
there is room. Without room, an idle connection that the call may not use is closed and another opened in its place.

A request that cannot be repeated takes only a connection that was used a moment ago: an origin may be about to close
one that has been idle for longer, and then nothing tells whether it has acted on the request. A call whose first
connection turned out to be closed takes only one that was used after that: others may be closed just so.
"""

from collections import OrderedDict, deque
from typing import Generic, NamedTuple, Protocol, TypeVar

IDLE_FOR_UNREPEATABLE_S = 2.0


class WaitingCall(Protocol):
    """A call without a connection."""

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be sent a second time."""

    @property
    def was_retried(self) -> bool:
        """Whether it has been sent before."""

    @property
    def queued_at(self) -> float:
        """Since when it waits."""


class IdleConnection(Protocol):
    """A connection without a call."""

    @property
    def is_closed(self) -> bool:
        """Whether it is closed, or closing."""

    @property
    def idle_since(self) -> float:
        """When its last call ended."""


W = TypeVar("W", bound=WaitingCall)
I = TypeVar("I", bound=IdleConnection)  # noqa: E741


class Assignment(NamedTuple, Generic[W, I]):
    """What is to be done: calls to start on connections, calls to open a connection for, connections to close."""

    start: list[tuple[W, I]]
    open: list[W]
    close: list[I]


def assign(waiting: OrderedDict[W, None], idle: deque[I], room: int, now: float, idle_max: float) -> Assignment[W, I]:
    """Take out of `waiting` and `idle`, the one used last at the end, what can be assigned; return what is to be done.

    `room`: how many connections may be opened besides those there are; one that is closed gives up its place.
    `idle_max`: seconds that an idle connection is kept.
    """
    todo: Assignment[W, I] = Assignment([], [], [])
    while idle and idle[0].idle_since < now - idle_max:
        todo.close.append(idle.popleft())
    room += len(todo.close)
    while waiting:
        while idle and idle[-1].is_closed:
            idle.pop()  # it keeps its place until it has gone
        if not idle and room <= 0:
            break
        call, _ = waiting.popitem(last=False)
        if idle and _may_use(call, idle[-1], now):
            todo.start.append((call, idle.pop()))
            continue
        if room <= 0:
            todo.close.append(idle.popleft())
            room += 1
        room -= 1
        todo.open.append(call)
    return todo


def _may_use(call: WaitingCall, connection: IdleConnection, now: float) -> bool:
    """Return whether a call may go on the connection that was used last; if not, it may use no other either."""
    if call.was_retried:
        return connection.idle_since > call.queued_at
    return call.is_repeatable or connection.idle_since >= now - IDLE_FOR_UNREPEATABLE_S
