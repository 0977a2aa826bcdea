"""The steps a flow may yield, and what it is sent back.

| step | performed by | result |
|---|---|---|
| Lookup | the store | Found |
| Claim | the flights | LEAD, AGAIN, ALONE, RELEASED, Found (after waiting) or Failure (the leader's) |
| Send | the origin pool | Answer or Failure |
| Record | the store, while content arrives | None |
| Replace | the store | None |
| Release | the flights | None |
| Forget | the store | None |
| Later | the engine, as an exchange of its own | None |
"""

from dataclasses import dataclass
from enum import Enum

from springhouse.http.fields import Field
from springhouse.http.messages import Request
from springhouse.rules.answer import Answer
from springhouse.rules.entry import Entry


class Lookup:
    """Ask the store for what it has under the key."""

    __slots__ = ("key",)

    def __init__(self, key: bytes) -> None:
        self.key = key


class Found:
    """What is stored (or arriving and already usable) under a key, at the instant `now`."""

    __slots__ = ("is_uncacheable", "names", "now", "variants")

    def __init__(
        self, variants: tuple[Entry, ...], now: float, *, is_uncacheable: bool = False, names: tuple[bytes, ...] = ()
    ) -> None:
        self.variants = variants
        self.now = now
        self.is_uncacheable = is_uncacheable
        """The key recently proved uncacheable: there is nothing to claim."""
        self.names = names
        """What Vary named recently under the key, whether or not something is stored."""


@dataclass(slots=True)
class Claim:
    """Ask to be the only one that fetches a variant of the key; wait if somebody else already is.

    `wait`: False only asks. `names`: the fields that choose the variant, as far as they are known.
    """

    key: bytes
    request: Request
    wait: bool = True
    names: tuple[bytes, ...] = ()


class Claimed(Enum):
    """What a claim came to, when it was not something to look at again."""

    LEAD = "lead"
    """Fetch, and tell the others by Record, Replace or Release."""
    AGAIN = "again"
    """Look up again: another process has just stored the variant."""
    ALONE = "alone"
    """Fetch for yourself: this key has proved not shareable, or somebody else leads and you would not wait."""
    RELEASED = "released"
    """Fetch for yourself: you waited, and what the leader got is not for you."""


class Send:
    """Send the request to the origin with these fields, and its content if it has any."""

    __slots__ = ("fields", "request")

    def __init__(self, request: Request, fields: list[Field]) -> None:
        self.request = request
        self.fields = fields


@dataclass(slots=True)
class Failure:
    """No answer. `error`: a Proxy-Status error type (RFC 9209 §2.3); `status`: what the client gets for it."""

    error: str
    detail: str
    status: int
    at: float = 0.0


@dataclass(slots=True)
class Record:
    """Make the content that arrives the entry's, share it with those who wait, and store it once it is whole."""

    entry: Entry


@dataclass(slots=True)
class Replace:
    """Put a freshened entry in the old one's place; those who wait look again."""

    old: Entry
    new: Entry


@dataclass(slots=True)
class Release:
    """Release all that wait for the key. `failure`: they share it; `lasting`: none is to wait for it for a while."""

    key: bytes
    failure: Failure | None = None
    lasting: bool = False


@dataclass(slots=True)
class Forget:
    """Invalidate the keys (RFC 9111 §4.4) and, of the target's origin, the groups (RFC 9875 §3).

    `sparing`: what the same answer brings, which is newer than what it makes invalid.
    """

    keys: list[bytes]
    groups: tuple[bytes, ...] = ()
    sparing: Entry | None = None


@dataclass(slots=True)
class Later:
    """Revalidate the entry in the background."""

    key: bytes
    request: Request
    entry: Entry


Step = Lookup | Claim | Send | Record | Replace | Release | Forget | Later
Result = Found | Claimed | Answer | Failure | None
