"""Which statuses are stored, and for whom (RFC 9110 §15, RFC 9111 §3): one table.

The key is a URI, and a stored response answers everybody who asks for it. So a status that speaks of something in the
one request that the key does not contain (a range, a precondition, credentials, the size of its fields) is for who sent
that request alone, however long its answer claims to be fresh.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from springhouse.rules import reasons
from springhouse.rules.reasons import Reason


class Storable(Enum):
    """For whom a response is stored, and what must say how long."""

    OUR_TTL = "for everybody; `--ttl` may say how long"
    HEURISTIC = "for everybody; a heuristic may say how long"
    STATED = "for everybody, if the response says how long"
    NEVER = "for nobody"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done with a status, why, and where that is written. `refusal`: the reason given for not storing it."""

    storable: Storable
    why: str
    section: str
    refusal: Reason | None = None


_OURS, _HEURISTIC, _STATED = Storable.OUR_TTL, Storable.HEURISTIC, Storable.STATED


def _never(why: str, section: str, refusal: Reason = reasons.ONE_REQUEST) -> Rule:
    return Rule(Storable.NEVER, why, section, refusal)


_SUCCESS = Rule(_OURS, "It represents the resource; heuristically cacheable.", "RFC 9110 §15.1")
_REDIRECT = Rule(_STATED, "Not heuristically cacheable.", "RFC 9110 §15.4")
_REFUSED = Rule(_STATED, "An odd request may have caused it, but the origin has said that it holds.", "RFC 9110 §15.5")
_ERROR = Rule(_STATED, "The origin's trouble passes, but the origin has said that it holds.", "RFC 9110 §15.6")

RULES: Final[dict[int, Rule]] = {
    200: _SUCCESS,
    203: _SUCCESS,
    204: _SUCCESS,
    206: _never("A part, which `Range` asked for; parts are not combined here.", "RFC 9111 §3.3", reasons.PARTIAL),
    226: _never("The result of manipulations that `A-IM` asked for; they are not understood here.", "RFC 3229 §10.4.1"),
    300: Rule(_OURS, "Heuristically cacheable.", "RFC 9110 §15.4.1"),
    301: Rule(_OURS, "Heuristically cacheable.", "RFC 9110 §15.4.2"),
    302: _REDIRECT,
    303: _REDIRECT,
    304: _never("It confirms what is stored, or what one client has.", "RFC 9111 §4.3.4", reasons.UNSOLICITED),
    307: _REDIRECT,
    308: Rule(_OURS, "Heuristically cacheable.", "RFC 9110 §15.4.9"),
    400: _REFUSED,
    401: _never("It is about the credentials of one request.", "RFC 9110 §15.5.2"),
    402: _REFUSED,
    403: _REFUSED,
    404: Rule(_HEURISTIC, "Heuristically cacheable, but an odd request may have caused it.", "RFC 9110 §15.5.5"),
    405: Rule(_HEURISTIC, "Heuristically cacheable, but an odd request may have caused it.", "RFC 9110 §15.5.6"),
    406: _never("It is about the `Accept` fields of one request.", "RFC 9110 §15.5.7"),
    407: _never("It is about the credentials of one request.", "RFC 9110 §15.5.8"),
    408: _never("One request was too slow.", "RFC 9110 §15.5.9"),
    409: _REFUSED,
    410: Rule(_OURS, "Heuristically cacheable, and meant to last.", "RFC 9110 §15.5.11"),
    411: _never("It is about how one request was framed.", "RFC 9110 §15.5.12"),
    412: _never("A precondition of one request was false.", "RFC 9110 §15.5.13"),
    413: _never("It is about the content of one request.", "RFC 9110 §15.5.14"),
    414: Rule(_HEURISTIC, "Heuristically cacheable: the target is the key.", "RFC 9110 §15.5.15"),
    415: _never("It is about the content of one request.", "RFC 9110 §15.5.16"),
    416: _never("The `Range` of one request cannot be satisfied.", "RFC 9110 §15.5.17"),
    417: _never("The `Expect` of one request cannot be met.", "RFC 9110 §15.5.18"),
    421: _never("It is about the connection that one request came on.", "RFC 9110 §15.5.20"),
    422: _REFUSED,
    425: _never("One request came in early data.", "RFC 8470 §5.2"),
    426: _never("It is about the protocol of one connection.", "RFC 9110 §15.5.22"),
    428: _never("It must not be stored: one request had no precondition.", "RFC 6585 §3"),
    429: _never("It must not be stored: one client asks too often.", "RFC 6585 §4"),
    431: _never("It must not be stored: the fields of one request are too large.", "RFC 6585 §5"),
    500: _ERROR,
    501: Rule(_HEURISTIC, "Heuristically cacheable, but an odd request may have caused it.", "RFC 9110 §15.6.2"),
    502: _ERROR,
    503: _ERROR,
    504: _ERROR,
    505: _never("It is about the protocol version of one request.", "RFC 9110 §15.6.6"),
    510: _never("It is about the extensions of one request.", "RFC 2774 §7"),
    511: _never("It must not be stored: it comes from a network between here and the origin.", "RFC 6585 §6"),
}
UNKNOWN: Final = Rule(_STATED, "Unknown but final: treated as the x00 of its class.", "RFC 9110 §15, RFC 9111 §3")
NOT_FINAL: Final = _never("Not a final status, or none at all.", "RFC 9110 §15, RFC 9111 §3", reasons.NOT_UNDERSTOOD)


def _storable(*wanted: Storable) -> frozenset[int]:
    return frozenset(status for status, rule in RULES.items() if rule.storable in wanted)


REFUSALS: Final = {status: rule.refusal for status, rule in RULES.items() if rule.refusal is not None}
"""The reasons for not storing the statuses that are never stored."""
HEURISTICALLY_CACHEABLE: Final = _storable(_OURS, _HEURISTIC)
"""What may be stored although the response does not say for how long (§4.2.2)."""
GIVEN_TTL_APPLIES: Final = _storable(_OURS)
"""Where a TTL of ours may fill in."""
UNDERSTOOD: Final = _storable(_OURS, _HEURISTIC, _STATED)
"""What `must-understand` lets be stored: the statuses whose caching requirements are implemented (§5.2.2.3)."""


def refusal_of(status: int) -> Reason | None:
    """Return why a response with the status is not stored whatever else it says, None when it may be."""
    return REFUSALS.get(status) if 200 <= status < 600 else NOT_FINAL.refusal
