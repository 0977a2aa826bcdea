"""The straight way does what the flow would do, and leaves to the flow what it cannot foretell."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.exchange.test_hit import OPTIONS, REQUEST_FIELDS, RESPONSE_FIELDS
from tests.support.examples import examples
from tests.support.heads import KEY, NOW, fields, get, ok

from springhouse.exchange.flow import respond
from springhouse.exchange.steps import Claim, Claimed, Failure, Found, Lookup, Result, Send, Step
from springhouse.exchange.straight import is_plain, may_lead, take_answer, taken_up
from springhouse.http.messages import Request, Response
from springhouse.rules.answer import Answer
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options

if TYPE_CHECKING:
    from springhouse.exchange.flow import Flow
    from springhouse.exchange.reply import Reply

NO_STORE = [
    "Cache-Control: no-store", "cache-control: NO-STORE, max-age=9", "Cache-Control: no-store, must-understand",
    "CDN-Cache-Control: no-store", "Surrogate-Control: no-store", "Cache-Control: private", "Content-Length: 3",
    "Connection: X", "Upgrade: x", "X-Cache: HIT", "Transfer-Encoding: chunked", "Cache-Control: no-store;",
    "Cache-Control: max-age=9; private", "Pragma: no-cache", "Age: 7, 9", "Age: x",
    'Cache-Control: no-cache="Set-Cookie"',
]  # fmt: skip

requests = st.builds(
    lambda method, lines, has_content: Request(method, b"/", lines, authority=b"cache.test", has_content=has_content),
    st.sampled_from([b"GET", b"GET", b"GET", b"HEAD", b"POST", b"OPTIONS"]),
    st.lists(st.sampled_from(REQUEST_FIELDS), max_size=4),
    st.sampled_from([False, False, False, True]),
)
responses = st.builds(
    lambda status, lines: Response(status, fields(*lines)),
    st.sampled_from([200, 200, 200, 204, 206, 226, 301, 304, 404, 416, 500, 503, 600]),
    st.lists(st.sampled_from(NO_STORE + RESPONSE_FIELDS), max_size=4)
    | st.lists(st.sampled_from(RESPONSE_FIELDS), max_size=2).map(lambda lines: [NO_STORE[0], *lines]),
)
lengths = st.sampled_from([None, 0, 3])
DELAYS = st.sampled_from([0.0, 0.5, 1000.0])


def sent_by_the_flow(request: Request, options: Options, *, leads: bool) -> tuple[Flow, Step]:
    """Return the flow of a request that finds nothing, and the step in which it then waits."""
    flow = respond(request, KEY, options)
    step = next(flow)
    if isinstance(step, Lookup):
        step = flow.send(Found((), NOW, is_uncacheable=not leads))
    if isinstance(step, Claim):
        assert leads
        step = flow.send(Claimed.LEAD)
    return flow, step


def ends(flow: Flow, result: Result) -> tuple[list[str], Reply | None]:
    """Return the steps that follow a result, as text, and the reply."""
    steps: list[str] = []
    try:
        while True:
            steps.append(type(flow.send(result)).__name__)
            result = None
    except StopIteration as stop:
        reply: Reply | None = stop.value
    return steps, reply


def in_words(ending: tuple[list[str], Reply | None]) -> tuple[object, ...]:
    """Return what two equal endings have in common: entries are objects of their own."""
    steps, reply = ending
    assert reply is not None
    content = reply.content if isinstance(reply.content, bytes) else type(reply.content)
    return (*steps, reply.status, reply.phrase, reply.fields, reply.proxy_lines, content, reply.length, reply.x_cache,
            reply.reason, reply.start, reply.stop, reply.must_close)  # fmt: skip


@settings(max_examples=examples(1500), deadline=None)
@given(requests, responses, lengths, DELAYS, st.sampled_from(OPTIONS), st.booleans())
def test_the_guard_agrees_with_the_flow(
    request: Request, response: Response, length: int | None, delay: float, options: Options, leads: bool
) -> None:
    if not is_plain(request) or (leads and not may_lead(request)):
        event("not plain")
        return
    event(agreed(request, response, length, delay, options, leads=leads))


@pytest.mark.parametrize("line", NO_STORE + RESPONSE_FIELDS)
def test_the_guard_agrees_with_the_flow_about_what_is_usual(line: str) -> None:
    for status, leads, options in product([200, 204, 404], [False, True], OPTIONS):
        response = ok("Cache-Control: max-age=60", line, status=status)
        agreed(get("User-Agent: x"), response, 3, 0.5, options, leads=leads)
        agreed(get("Cookie: a=1"), response, 3, 0.5, options, leads=leads)


def agreed(
    request: Request, response: Response, length: int | None, delay: float, options: Options, *, leads: bool
) -> str:
    """Compare the guard with the flow; return in words what both say."""
    flow, step = sent_by_the_flow(request, options, leads=leads)
    assert isinstance(step, Send)
    assert step.request is request
    assert step.fields is request.fields
    answer = Answer(response, NOW, NOW + delay, length)
    ending = ends(flow, answer)
    kept, reply = take_answer(request, KEY, answer, options, leads=leads)
    names = [] if kept is None else ["Record" if isinstance(kept, Entry) else type(kept).__name__]
    assert in_words((names, reply)) == in_words(ending)
    taken = ends(taken_up(request, KEY, NOW, options, leads=leads), answer)
    assert in_words(taken) == in_words(ending)
    return f"{names}, {reply and reply.reason}"


@given(requests, st.sampled_from(OPTIONS))
def test_what_may_lead_does(request: Request, options: Options) -> None:
    if is_plain(request) and may_lead(request):
        flow = respond(request, KEY, options)
        next(flow)
        assert isinstance(flow.send(Found((), NOW)), Claim)


@given(requests, st.sampled_from(OPTIONS), st.booleans())
def test_a_failure_is_answered_alike(request: Request, options: Options, leads: bool) -> None:
    if is_plain(request) and (not leads or may_lead(request)):
        failure = Failure("connection_refused", "The origin refused the connection", 502, NOW)
        flow, _ = sent_by_the_flow(request, options, leads=leads)
        assert ends(taken_up(request, KEY, NOW, options, leads=leads), failure) == ends(flow, failure)


def test_the_guard_sees_to_what_is_usual() -> None:
    request = get("User-Agent: x", "Cookie: a=1", "Authorization: y")
    assert is_plain(request)
    assert may_lead(request)
    for line in ('If-None-Match: "1"', "Range: bytes=0-1"):
        assert is_plain(get(line))
        assert not may_lead(get(line))
