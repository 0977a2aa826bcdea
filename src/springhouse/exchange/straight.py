"""The straight way: of a plain GET under whose key nothing is stored, and which either leads or goes alone.

The flow would find nothing, send the request on as it is and wait for the answer. Where that can be foretold, it is
done without the flow, and the answer is handled by the same functions. A guard, never a second rule book, like
`exchange.hit`: when no answer comes, the flow is taken up where it would wait for one. A property test holds the two
together.
"""

from typing import Final

from springhouse.exchange import reply as replies
from springhouse.exchange.flow import Flow, carry_out, respond
from springhouse.exchange.forwards import Forward
from springhouse.exchange.reply import MISS, Reply
from springhouse.exchange.steps import Claim, Claimed, Found, Send, Step
from springhouse.http import fields as f
from springhouse.http.memo import KIB, Memo, bound
from springhouse.http.messages import Request
from springhouse.rules import reasons
from springhouse.rules.answer import Answer
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.rules.storing import keep
from springhouse.rules.validation import CONDITIONS, outcome_of

_NEEDS_THOUGHT = f.UPGRADE | f.CACHE_CONTROL | f.PRAGMA | f.IF_MATCH | f.IF_UNMODIFIED_SINCE


def is_plain(request: Request) -> bool:
    """Return whether the flow would send the request on, as it is if it goes alone, when nothing is stored."""
    return request.method == b"GET" and not request.bits & _NEEDS_THOUGHT and not request.has_content


def may_lead(request: Request) -> bool:
    """Return whether the flow would claim the key for a plain request, and send it on as it is when it leads."""
    return not request.bits & (CONDITIONS | f.RANGE)


def take_answer(
    request: Request, key: bytes, answer: Answer, options: Options, *, leads: bool
) -> tuple[Entry | Step | None, Reply | None]:
    """Return the entry to record, or the step that the answer to a plain request makes necessary; and the reply.

    Nearly all misses come along here. Where the answer is kept or forbids storing outright, nothing is made that only
    the flow needs.
    """
    response = answer.response
    kept = keep(request, key, answer, options)
    if isinstance(kept, Entry):
        if leads and kept.status == 200:
            received_at = answer.received_at
            head = replies.as_fetched(response, options.withheld, received_at, kept)
            lines = _lines_of_stored(kept.ttl_at(received_at))
            if response.is_http_1_0:
                lines = replies.without_via(lines)
            return kept, Reply(200, kept.reason, head, lines, kept, answer.length, MISS, reasons.URI_MISS)
    elif kept is reasons.NO_STORE and not leads:
        return None, replies.from_origin(request, answer, _LINES_OF_NO_STORE, kept, withheld=options.withheld)
    forward = Forward(key, reasons.URI_MISS, None, options.withheld, leads)
    return carry_out(request, forward, answer, outcome_of(kept, response), options)


_MISSED: Final = Forward(b"", reasons.URI_MISS)
_lines_of_stored: Final = Memo[int, bytes](
    bound("fields of a stored miss", 256 * KIB, "the fields added to an answer that was stored, by its lifetime"),
    lambda ttl: replies.proxy_lines(MISS, _MISSED.cache_status(200, 200, stored=True, ttl=ttl)),
).__getitem__
_LINES_OF_NO_STORE: Final = replies.proxy_lines(MISS, _MISSED.cache_status(0, 0, detail=reasons.NO_STORE))
"""The same for any status: Cache-Status leaves it to be taken from the answer."""


def taken_up(request: Request, key: bytes, asked_at: float, options: Options, *, leads: bool) -> Flow:
    """Return the flow of a plain request, waiting for the answer to what was sent."""
    flow = respond(request, key, options)
    next(flow)
    step = flow.send(Found((), asked_at, is_uncacheable=not leads))
    if leads:
        assert isinstance(step, Claim)
        step = flow.send(Claimed.LEAD)
    assert isinstance(step, Send)
    return flow
