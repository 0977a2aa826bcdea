"""The closed answers of the rules: what to do with a request, and with what the origin said."""

from dataclasses import dataclass

from springhouse.http.messages import Response
from springhouse.rules.entry import Entry
from springhouse.rules.reasons import Reason


@dataclass(slots=True)
class Serve:
    """Answer from the entry. `refresh`: revalidate it in the background as well (RFC 5861 §3)."""

    entry: Entry
    reason: Reason
    refresh: bool = False


@dataclass(slots=True)
class Revalidate:
    """Ask the origin whether the entry still holds."""

    entry: Entry
    reason: Reason


@dataclass(slots=True)
class Fetch:
    """Send the request on; nothing stored can be used or validated for it."""

    reason: Reason


@dataclass(slots=True)
class Refuse:
    """Answer with an error of ours."""

    status: int
    reason: Reason


Decision = Serve | Revalidate | Fetch | Refuse


@dataclass(slots=True)
class Keep:
    """Store the response as this entry, once its content is complete, and answer from it."""

    entry: Entry
    reason: Reason


@dataclass(slots=True)
class Freshen:
    """The stored entry holds: answer from `entry`, and put `kept` in place of `old` (§4.3.4).

    `kept` is `entry`, unless that may not be stored: then it is the old one, which must be validated before each use.
    """

    old: Entry
    entry: Entry
    kept: Entry
    reason: Reason


@dataclass(slots=True)
class Discard:
    """Pass the response on and store nothing. `lasting`: other requests for the key would fare alike."""

    response: Response
    reason: Reason
    lasting: bool


@dataclass(slots=True)
class ServeStale:
    """Answer from the stale entry instead of passing an error on (RFC 5861 §4)."""

    entry: Entry
    reason: Reason


Outcome = Keep | Freshen | Discard | ServeStale
