"""The straight way: of a plain GET under whose key nothing is stored, and which either leads or goes alone.

The flow would find nothing, send the request on as it is and wait for the answer. Where that can be foretold, it is
done without the flow, and what becomes of the answer is concluded as in the flow. A guard, never a second rule book,
like `exchange.hit`: when no answer comes, the flow is taken up where it would wait for one. A property test holds the
two together.
"""

from functools import lru_cache

from springhouse.exchange import reply as replies
from springhouse.exchange.flow import Errand, Flow, conclude, respond
from springhouse.exchange.reply import MISS, Reply
from springhouse.exchange.steps import Answer, Claim, Claimed, Found, Send, Step
from springhouse.http import fields as f
from springhouse.http.messages import Request, Response
from springhouse.rules import policy, reasons
from springhouse.rules.options import Options
from springhouse.rules.storing import forbids_storing
from springhouse.rules.validation import CONDITIONS

NEEDS_THOUGHT = f.UPGRADE | f.CACHE_CONTROL | f.PRAGMA | f.IF_MATCH | f.IF_UNMODIFIED_SINCE


def is_plain(request: Request) -> bool:
    """Say whether the flow would send the request on if nothing is stored under its key; as it is, if it goes alone."""
    return request.method == b"GET" and not request.bits & NEEDS_THOUGHT and not request.has_content


def may_lead(request: Request) -> bool:
    """Say whether the flow would claim the key for a plain request, and send it on as it is when it leads."""
    return not request.bits & (CONDITIONS | f.RANGE)


def pass_on(
    request: Request, response: Response, length: int | None, received_at: float, options: Options
) -> Reply | None:
    """Return the reply to a plain request that goes alone, if the answer forbids storing it outright; else None."""
    if not forbids_storing(policy.of(response), options):
        return None
    return replies.from_origin(
        request,
        response,
        length,
        received_at=received_at,
        x_cache=MISS,
        cache_status=_status_of(response.status),
        reason=reasons.NO_STORE,
        withheld=options.withheld,
    )


def concluded(
    request: Request, key: bytes, answer: Answer, options: Options, *, leads: bool
) -> tuple[Step | None, Reply | None]:
    """Return the step that the answer to a plain request makes necessary, and the reply."""
    return conclude(request, Errand(key, reasons.URI_MISS, None, options.withheld, leads), answer, options)


@lru_cache(maxsize=1024)
def _status_of(status: int) -> bytes:
    return replies.status_of_forward(reasons.URI_MISS, status, status, detail=reasons.NO_STORE)


def taken_up(request: Request, key: bytes, asked_at: float, options: Options, *, leads: bool) -> Flow:
    """Return the flow of a plain request, waiting for the answer to what was sent."""
    flow = respond(request, key, options)
    next(flow)
    step = flow.send(Found((), asked_at, goes_alone=not leads))
    if leads:
        assert isinstance(step, Claim)
        step = flow.send(Claimed.LEAD)
    assert isinstance(step, Send)
    return flow
