"""Playing a flow: step, canned result, step, …, reply. No store, no socket, no clock, no mocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.support.heads import BARE, KEY, NOW, get, ok, stored, table

from springhouse.exchange.flow import respond
from springhouse.exchange.steps import (
    Claim,
    Claimed,
    Failure,
    Forget,
    Found,
    Later,
    Lookup,
    Record,
    Release,
    Replace,
    Result,
    Send,
    Step,
)
from springhouse.http.fields import IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE, bit_of
from springhouse.http.headers import fields_of
from springhouse.rules.answer import Answer

if TYPE_CHECKING:
    from springhouse.exchange.flow import Flow
    from springhouse.exchange.reply import Reply
    from springhouse.http.messages import Request, Response
    from springhouse.rules.entry import Entry
    from springhouse.rules.options import Options
    from springhouse.rules.reasons import Reason

__all__ = ["AGAIN", "ALONE", "BARE", "KEY", "LEAD", "NOW", "RELEASED", "Row", "answer", "failure",
           "found", "get", "ok", "play", "stored", "table"]  # fmt: skip

LEAD, AGAIN, ALONE, RELEASED = Claimed.LEAD, Claimed.AGAIN, Claimed.ALONE, Claimed.RELEASED
_SHOWN = IF_NONE_MATCH | IF_MODIFIED_SINCE | RANGE | IF_RANGE

Script = list[tuple[str, Result]]


class Row(NamedTuple):
    """A transcript and the reply it ends in."""

    about: str
    request: Request
    script: Script
    status: int
    x_cache: str
    cache_status: str | None
    reason: Reason | None
    anchor: str


def found(*variants: Entry, after: float = 0, is_uncacheable: bool = False, names: tuple[bytes, ...] = ()) -> Found:
    """Return what a store has, `after` seconds after NOW."""
    return Found(variants, NOW + after, is_uncacheable=is_uncacheable, names=names)


def answer(response: Response, *, after: float = 0, length: int | None = 7) -> Answer:
    """Return the origin's answer, asked for and received `after` seconds after NOW."""
    return Answer(response, NOW + after, NOW + after, length)


def failure(status: int = 502, *, after: float = 0) -> Failure:
    """Return what a broken origin is."""
    return Failure("connection_refused", "It refuses", status, NOW + after)


def described(step: Step) -> str:
    """Return a step in words, with what matters of it."""
    match step:
        case Lookup():
            return "lookup"
        case Claim(_, _, wait, names):
            by = f" by {', '.join(name.decode() for name in names)}" if names else ""
            return f"claim{by}" if wait else f"claim{by}, not waiting"
        case Send():
            shown = [f"{n.decode()}: {v.decode()}" for n, v in step.fields if bit_of(n) & _SHOWN]
            return " | ".join(["send", *shown])
        case Record():
            return "record"
        case Replace(_, new):
            return "replace, invalidated" if new.invalidated else "replace"
        case Release(_, failed, lasting):
            return "release" + ", failure" * (failed is not None) + ", lasting" * lasting
        case Forget(keys):
            return " ".join(["forget", *(key.removeprefix(b"http://origin.test").decode() for key in keys)])
        case Later():
            return "later"


def play(flow: Flow, script: Script) -> tuple[Reply | None, list[Step]]:
    """Run a flow along a script, which must fit to the end; return its reply and the steps themselves."""
    steps: list[Step] = []
    result: Result = None
    try:
        for expected, canned in script:
            steps.append(flow.send(result))
            assert described(steps[-1]) == expected
            result = canned
        unexpected = described(flow.send(result))
    except StopIteration as stop:
        assert len(steps) == len(script), f"the flow ended before {script[len(steps)][0]!r}"
        return stop.value, steps
    raise AssertionError(f"one step more than expected: {unexpected}")


def play_on(flow: Flow, script: Script) -> tuple[Reply, list[Step]]:
    """Run a flow along a script, then to its end with steps that have no result."""
    steps: list[Step] = []
    results = [None, *(canned for _, canned in script)]
    try:
        while True:
            steps.append(flow.send(results.pop(0) if results else None))
    except StopIteration as stop:
        return stop.value, steps


def check(row: Row, options: Options = BARE) -> Reply:
    """Play a row and compare its reply."""
    reply, _ = play(respond(row.request, KEY, options), row.script)
    assert reply is not None
    ours = {name.decode(): value.decode() for name, value in fields_of(reply.proxy_lines)}
    assert (reply.status, ours["X-Cache"], ours.get("Cache-Status"), reply.reason) == (
        row.status, row.x_cache, row.cache_status, row.reason,
    ), row.anchor  # fmt: skip
    assert reply.x_cache.decode() == row.x_cache
    assert ours["Via"] == "1.1 springhouse"
    return reply
