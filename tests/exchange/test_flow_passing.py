"""Transcripts of requests that are passed through, and of what unsafe ones invalidate (RFC 9111 §4, §4.4)."""

from __future__ import annotations

import pytest
from tests.exchange.transcripts import KEY, Row, answer, check, play
from tests.support.heads import BARE, date, fields, get, ok

from springhouse.exchange.flow import respond
from springhouse.exchange.reply import Source
from springhouse.exchange.steps import Forget
from springhouse.rules import reasons as r

F = "Cache-Control: max-age=60"
POST = get(method=b"POST", has_content=True)
BY_METHOD = "springhouse; fwd=method"

ROWS = [
    Row("POST invalidates", POST, [("send", answer(ok())), ("forget /", None)], 200, "BYPASS", BY_METHOD, r.METHOD,
        "§4.4"),
    Row("and what Location names", POST,
        [("send", answer(ok("Location: /b", "Content-Location: /c", status=201))), ("forget / /b /c", None)], 201,
        "BYPASS", BY_METHOD, r.METHOD, "§4.4"),
    Row("of the same origin only", POST,
        [("send", answer(ok("Location: http://other.test/b"))), ("forget /", None)], 200, "BYPASS", BY_METHOD,
        r.METHOD, "§4.4"),
    Row("not on an error", POST, [("send", answer(ok(status=400)))], 400, "BYPASS", BY_METHOD, r.METHOD, "§4.4"),
    Row("a POST whose answer a GET may have", POST,
        [("send", answer(ok(F, "Content-Location: /"))), ("forget /", None), ("record", None)], 200, "BYPASS",
        "springhouse; fwd=method; stored; ttl=60", r.METHOD, "RFC 9110 §9.3.3"),
    Row("OPTIONS", get(method=b"OPTIONS"), [("send", answer(ok(F)))], 200, "BYPASS", BY_METHOD, r.METHOD, "§4"),
    Row("GET with content", get(has_content=True), [("send", answer(ok(F)))], 200, "BYPASS",
        "springhouse; fwd=bypass; detail=content", r.CONTENT, "RFC 9110 §9.3.1"),
    Row("If-Match", get('If-Match: "1"'), [("send", answer(ok(F)))], 200, "BYPASS",
        "springhouse; fwd=request; detail=precondition", r.PRECONDITION, "§4.3.2"),
    Row("Upgrade", get("Upgrade: websocket"), [("send", answer(ok("Upgrade: websocket", status=101)))], 101, "BYPASS",
        "springhouse; fwd=bypass; detail=upgrade", r.PROTOCOL_UPGRADE, "RFC 9110 §7.8"),
    Row("conditions of a POST are the origin's", get('If-None-Match: "1"', method=b"POST"),
        [('send | If-None-Match: "1"', answer(ok(F, 'ETag: "1"', "Content-Location: /"))), ("forget /", None),
         ("record", None)], 200, "BYPASS", "springhouse; fwd=method; stored; ttl=60", r.METHOD, "§4.3.2"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.about)
def test_transcript(row: Row) -> None:
    check(row)


KEPT_FOR_GET = [
    # about, the answer to a POST, is it kept?  RFC 9110 §9.3.3
    ("named and timed", ok(F, "Content-Location: /"), True),
    ("by Expires", ok(f"Expires: {date(9)}", "Content-Location: http://origin.test/"), True),
    ("not named", ok(F), False),
    ("another target", ok(F, "Content-Location: /b"), False),
    ("another origin", ok(F, "Content-Location: http://other.test/"), False),
    ("not timed", ok('ETag: "1"', "Content-Location: /"), False),
    ("not a 200", ok(F, "Content-Location: /", status=201), False),
    ("private", ok("Cache-Control: private, max-age=60", "Content-Location: /"), False),
    ("Vary", ok(F, "Vary: A", "Content-Location: /"), False),
]


@pytest.mark.parametrize(("about", "response", "kept"), KEPT_FOR_GET, ids=[row[0] for row in KEPT_FOR_GET])
def test_answers_to_post_for_later_gets(about: str, response: object, kept: bool) -> None:
    flow = respond(POST, KEY, BARE)
    next(flow)
    step = flow.send(answer(response))
    assert isinstance(step, Forget)
    if kept:
        assert type(flow.send(None)).__name__ == "Record"
    else:
        with pytest.raises(StopIteration):
            flow.send(None)


def test_groups_are_invalidated_by_unsafe_methods_only() -> None:
    """RFC 9875 §3."""
    response = ok('Cache-Group-Invalidation: "a", "b"')
    _, steps = play(respond(POST, KEY, BARE), [("send", answer(response)), ("forget /", None)])
    forget = steps[-1]
    assert isinstance(forget, Forget)
    assert forget.groups == (b"a", b"b")
    play(respond(get(method=b"OPTIONS"), KEY, BARE), [("send", answer(response))])


def test_a_101_keeps_the_protocol_it_names() -> None:
    reply = check(ROWS[8])
    assert reply.content is Source.ORIGIN
    assert [f for f in reply.fields if f[0] != b"Date"] == fields("Connection: Upgrade", "Upgrade: websocket")


def test_what_is_passed_on_is_end_to_end() -> None:
    response = ok(
        "A: 1", "Connection: close, b", "B: 2", "Transfer-Encoding: chunked", "X-Cache: HIT", f"Date: {date()}"
    )
    reply, _ = play(respond(get(method=b"OPTIONS"), KEY, BARE), [("send", answer(response, length=None))])
    assert reply is not None
    assert reply.fields == fields("A: 1", f"Date: {date()}")
    assert (reply.content, reply.length) == (Source.ORIGIN, None)
