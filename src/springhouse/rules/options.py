"""What an operator may bend: the settings that the rules themselves read."""

from dataclasses import dataclass
from typing import Literal

from springhouse.http.fields import TAGS

VARIANTS_MAX = 1024
"""More entries per key are never kept: what is done for a request that none of them fits grows with their number."""
SetCookie = Literal["refuse", "strip", "store"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the rules; the defaults here are the bare standard, those of the product stand in `settings`.

    ttl: seconds of freshness for responses that carry no freshness information of their own; 0 leaves them to the
    heuristics of §4.2.2. force_ttl: `ttl` also wins over what the origin says, for 200s.
    ttl_despite_credentials, ttl_despite_no_store: let the two above reach requests with Authorization or Cookie,
    and responses that are private, no-store or set a cookie. stale_if_error: seconds that a stale response which says
    nothing about it may stand in for errors. max_object: bytes of content an entry may have, None for no limit.
    max_variants: entries kept per key. withheld: bits of fields that clients do not get.
    """

    ttl: int = 0
    force_ttl: bool = False
    ttl_despite_credentials: bool = False
    ttl_despite_no_store: bool = False
    stale_if_error: int = 0
    set_cookie: SetCookie = "store"
    heuristic_fraction: float = 0.1
    heuristic_max: int = 7 * 24 * 3600
    max_object: int | None = None
    max_variants: int = 64
    withheld: int = TAGS
