"""How old a response is and how long it stays fresh (RFC 9111 §4.2)."""

from dataclasses import dataclass

from springhouse.http import dates
from springhouse.http.directives import delta_seconds
from springhouse.http.fields import AGE, CREDENTIAL_FIELDS, DATE, EXPIRES, LAST_MODIFIED, PRAGMA, SET_COOKIE
from springhouse.http.headers import combined_value, members, values
from springhouse.http.messages import Request, Response
from springhouse.rules import reasons
from springhouse.rules.answer import Answer
from springhouse.rules.options import Options
from springhouse.rules.policy import Policy, is_disowned
from springhouse.rules.reasons import Reason
from springhouse.rules.statuses import GIVEN_TTL_APPLIES, HEURISTICALLY_CACHEABLE


@dataclass(slots=True)
class Lifespan:
    """When a response's age was zero, its freshness_lifetime in seconds, and its Date (seconds since 1970).

    `given`: the lifetime is our options'; `guessed`: it is heuristic. Else the origin has stated it.
    """

    born_at: float
    lifetime: int
    date: int
    given: bool = False
    guessed: bool = False


def lifespan(
    request: Request, answer: Answer, policy: Policy, options: Options, *, may_give: bool
) -> Lifespan | Reason:
    """Return the lifespan of a response, or the reason why nothing explicit or heuristic gives it one (§4.2.1).

    `may_give`: what `may_give_ttl` said.
    """
    response, received_at = answer.response, answer.received_at
    date = date_of(response, received_at)
    initial = initial_age(answer, date)
    born_at = received_at - initial
    # A TTL of ours runs from receipt, whatever age the response came with.
    if may_give and options.force_ttl and response.status == 200:
        return Lifespan(born_at, options.ttl + int(initial), date, given=True)
    explicit = explicit_lifetime(response, policy, date, received_at)
    if explicit is not None:
        return Lifespan(born_at, explicit, date)
    if may_give and response.status in GIVEN_TTL_APPLIES and not (response.bits & PRAGMA and is_disowned(response)):
        return Lifespan(born_at, options.ttl + int(initial), date, given=True)
    if options.ttl and request.bits & CREDENTIAL_FIELDS:
        return without_freshness(request, response, policy, options)
    heuristic = heuristic_lifetime(response, policy, date, options)
    if heuristic is None:
        return without_freshness(request, response, policy, options)
    return Lifespan(born_at, heuristic, date, guessed=True)


def without_freshness(request: Request, response: Response, policy: Policy, options: Options) -> Reason:
    """Return why neither the origin nor a TTL of ours says how long a response stays fresh."""
    if policy.is_malformed or (options.ttl and is_disowned(response)):
        return reasons.MALFORMED
    if not options.ttl:
        return reasons.NO_FRESHNESS
    if response.status not in GIVEN_TTL_APPLIES:
        return reasons.STATUS_WITHOUT_TTL
    if request.bits & CREDENTIAL_FIELDS and not options.ttl_despite_credentials:
        return reasons.CREDENTIALS
    return reasons.SETS_COOKIE if response.bits & SET_COOKIE else reasons.NO_FRESHNESS


def initial_age(answer: Answer, date: int) -> float:
    """Return corrected_initial_age (§4.2.3): the larger of what Date and what Age plus the delay say."""
    response, received_at = answer.response, answer.received_at
    corrected = received_at - answer.requested_at if received_at > answer.requested_at else 0.0
    if response.bits & AGE:
        corrected += age_value(response) or 0
    apparent = int(received_at) - date
    return max(apparent, corrected)


def age_value(response: Response) -> int | None:
    """Return the Age that came with the response, None when there is none that is valid.

    Of a list the first member counts; one that is not delta-seconds is ignored (§5.1).
    """
    listed = members(combined_value(response.fields, b"age") or b"")
    return delta_seconds(listed[0]) if listed else None


def date_of(response: Response, received_at: float) -> int:
    """Return the response's Date, or when it was received if it has none that can be read (RFC 9110 §6.6.1)."""
    date = dates.parse_date(response.value(b"date", DATE), received_at)
    return int(received_at) if date is None else date


def explicit_lifetime(response: Response, policy: Policy, date: int, received_at: float) -> int | None:
    """Return the lifetime that the origin states for a shared cache, None when it states none (§4.2.1).

    Expires that is no date, and more than one Expires that disagree, count as expired (§5.3, §4.2.1).
    """
    if policy.lifetime is not None:
        return policy.lifetime
    if not (response.bits & EXPIRES and policy.uses_expires):
        return None
    stated_dates = {dates.parse_date(value, received_at) for value in values(response.fields, b"expires")}
    expires = stated_dates.pop()
    if expires is None or stated_dates:
        return 0
    return max(0, expires - date)


def heuristic_lifetime(response: Response, policy: Policy, date: int, options: Options) -> int | None:
    """Return a lifetime for a response without an explicit one, None where §3 does not allow storing it at all.

    A tenth of the time since Last-Modified (§4.2.2). Without Last-Modified, and where a TTL of ours stands in for
    heuristics, it is 0: such a response must be validated before each use. The same goes for one whose Cache-Control is
    not wholly understood.
    """
    if response.status not in HEURISTICALLY_CACHEABLE and not policy.public:
        return None
    modified = dates.parse_date(response.value(b"last-modified", LAST_MODIFIED), date)
    if modified is None or options.ttl or policy.is_malformed:
        return 0
    unchanged = date - modified
    return max(0, min(int(unchanged * options.heuristic_fraction), options.heuristic_max))


def may_give_ttl(request: Request, response: Response, policy: Policy, options: Options) -> bool:
    """Return whether a TTL of ours may apply: not to what may be personal, unless the operator says so plainly.

    What a malformed Cache-Control was to say is not known, so it may have been that.
    """
    if not options.ttl:
        return False
    if request.bits & CREDENTIAL_FIELDS and not options.ttl_despite_credentials:
        return False
    forbids = response.bits & SET_COOKIE or policy.no_store or policy.is_personal or policy.is_malformed
    return options.ttl_despite_no_store or not forbids
