"""The pass guard: the way of a request whose key lately proved not shareable, when the answer is so again.

The flow would find nothing, send the request on as it is, and pass the answer on. Where that can be foretold, it is
done without the flow. A guard, never a second rule book, like `exchange.hit`: whatever else comes of the request, the
flow is taken up where it would wait for the answer. A property test holds the two together.
"""

from functools import lru_cache

from springhouse.exchange import reply as replies
from springhouse.exchange.flow import Flow, respond
from springhouse.exchange.reply import MISS, Reply
from springhouse.exchange.steps import Found, Send
from springhouse.http import fields as f
from springhouse.http.messages import Request, Response
from springhouse.rules import policy, reasons
from springhouse.rules.options import Options
from springhouse.rules.storing import forbids_storing

NEEDS_THOUGHT = f.UPGRADE | f.CACHE_CONTROL | f.PRAGMA | f.IF_MATCH | f.IF_UNMODIFIED_SINCE


def is_plain(request: Request) -> bool:
    """Say whether the flow would send the request on as it is, if nothing is stored under its key."""
    return request.method == b"GET" and not request.bits & NEEDS_THOUGHT and not request.has_content


def pass_on(
    request: Request, response: Response, length: int | None, received_at: float, options: Options
) -> Reply | None:
    """Return the reply to a plain request if the response forbids storing it outright, else None."""
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


@lru_cache(maxsize=1024)
def _status_of(status: int) -> bytes:
    return replies.status_of_forward(reasons.URI_MISS, status, status, detail=reasons.NO_STORE)


def taken_up(request: Request, key: bytes, asked_at: float, options: Options) -> Flow:
    """Return the flow of a plain request, waiting for the answer to what was sent."""
    flow = respond(request, key, options)
    next(flow)
    step = flow.send(Found((), asked_at, goes_alone=True))
    assert isinstance(step, Send)
    return flow
