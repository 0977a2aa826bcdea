"""Which call goes on which connection: by table. Instants are seconds; the time is 100."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

import pytest

from springhouse.upstream.assigning import assign

NOW = 100.0
KEPT = 30.0


@dataclass(frozen=True)
class Call:
    name: str
    is_repeatable: bool = True
    was_retried: bool = False
    queued_at: float = NOW


@dataclass(frozen=True)
class Connection:
    name: str
    idle_since: float = NOW
    is_closed: bool = False


GET, NEXT = Call("GET"), Call("next")
POST = Call("POST", is_repeatable=False)
AGAIN = Call("again", was_retried=True, queued_at=NOW - 5)
USED, FRESH = Connection("used", NOW - 20), Connection("fresh", NOW - 1)
EXPIRED, DEAD = Connection("expired", NOW - 31), Connection("dead", is_closed=True)

TABLE = [
    # calls, idle, room → started, opened, closed, left waiting, left idle
    ([], [USED], 0, [], [], [], [], [USED]),
    ([GET], [], 1, [], [GET], [], [], []),
    ([GET], [], 0, [], [], [], [GET], []),
    ([GET], [USED, FRESH], 1, [(GET, FRESH)], [], [], [], [USED]),
    ([GET, NEXT], [USED], 0, [(GET, USED)], [], [], [NEXT], []),
    ([GET, NEXT], [USED], 1, [(GET, USED)], [NEXT], [], [], []),
    ([GET, NEXT], [], 1, [], [GET], [], [NEXT], []),
    ([], [EXPIRED, USED], 0, [], [], [EXPIRED], [], [USED]),
    ([GET, NEXT], [EXPIRED, USED], 0, [(GET, USED)], [NEXT], [EXPIRED], [], []),
    ([GET], [USED, DEAD], 0, [(GET, USED)], [], [], [], []),
    ([GET], [DEAD], 0, [], [], [], [GET], []),
    # A request that cannot be repeated takes what was used a moment ago, or a new connection.
    ([POST], [FRESH], 0, [(POST, FRESH)], [], [], [], []),
    ([POST], [USED], 1, [], [POST], [], [], [USED]),
    ([POST], [USED], 0, [], [POST], [USED], [], []),
    ([POST, GET], [USED], 1, [(GET, USED)], [POST], [], [], []),
    ([POST, GET], [USED], 0, [], [POST], [USED], [GET], []),
    # One whose connection turned out to be closed takes what was used after that, or a new connection.
    ([AGAIN], [FRESH], 0, [(AGAIN, FRESH)], [], [], [], []),
    ([AGAIN], [USED], 1, [], [AGAIN], [], [], [USED]),
    ([AGAIN], [USED], 0, [], [AGAIN], [USED], [], []),
]


@pytest.mark.parametrize(("calls", "idle", "room", "started", "opened", "closed", "waiting", "left"), TABLE)
def test_calls_are_assigned_by_what_there_is(
    calls: list[Call],
    idle: list[Connection],
    room: int,
    started: list[tuple[Call, Connection]],
    opened: list[Call],
    closed: list[Connection],
    waiting: list[Call],
    left: list[Connection],
) -> None:
    queue, free = OrderedDict.fromkeys(calls), deque(idle)
    todo = assign(queue, free, room, NOW, KEPT)
    assert (todo.start, todo.open, todo.close) == (started, opened, closed)
    assert (list(queue), list(free)) == (waiting, left)


@pytest.mark.parametrize("room", range(4))
@pytest.mark.parametrize("count", range(4))
def test_no_more_connections_are_opened_than_there_are_places(room: int, count: int) -> None:
    calls = OrderedDict.fromkeys(Call(str(number), is_repeatable=number % 2 == 0) for number in range(5))
    idle = deque(Connection(str(number), NOW - 10 * number) for number in range(count, 0, -1))
    todo = assign(calls, idle, room, NOW, KEPT)
    assert len(todo.open) <= room + len(todo.close)
    assert len(todo.start) + len(todo.close) + len(idle) == count
    assert not (calls and (idle or len(todo.open) < room + len(todo.close)))
