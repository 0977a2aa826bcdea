"""What a response says about caching, read once per distinct wording (RFC 9111 §5.2.2)."""

from dataclasses import dataclass, replace
from typing import Final

from springhouse.http.directives import Directives, names, parse, seconds
from springhouse.http.fields import CACHE_CONTROL, TARGETED
from springhouse.http.headers import combined, members, values
from springhouse.http.memo import KIB, Bound, Memo
from springhouse.http.messages import Response
from springhouse.http.structured import dictionary

SURROGATE = b"springhouse"
"""The device token that Surrogate-Capability announces."""

_ALLOWS_SHARING = (b"public", b"s-maxage", b"must-revalidate")
_FORBIDS_STALE = (b"must-revalidate", b"proxy-revalidate", b"s-maxage", b"no-cache")


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A response's directives, as a shared cache understands them.

    `lifetime`: seconds of explicit freshness, s-maxage before max-age (§4.2.1), None without either. `no_cache` and
    `private` are those without field names; `withheld` are the names given with either, which only the first client
    may have. `shareable`: allows reuse for requests with Authorization (§3.5). `stale_allowed`: no directive forbids
    serving it stale (§4.2.4). `is_personal`: `private`, with or without names. `uses_expires`: Expires counts.
    """

    lifetime: int | None
    no_store: bool
    no_cache: bool
    private: bool
    public: bool
    must_understand: bool
    shareable: bool
    stale_allowed: bool
    is_personal: bool
    stale_while_revalidate: int
    stale_if_error: int
    withheld: tuple[bytes, ...]
    uses_expires: bool


def of(response: Response) -> Policy:
    """Return the policy that counts for this cache.

    CDN-Cache-Control (RFC 9213 §2.2), else Surrogate-Control (W3C Edge Architecture §2.2), takes the place of
    Cache-Control and Expires if it is valid and not empty.
    """
    if response.bits & TARGETED:
        targeted = cdn_directives(values(response.fields, b"cdn-cache-control"))
        directives = targeted or surrogate_directives(combined(response.fields, b"surrogate-control"))
        if directives:
            return replace(policy_of(directives), uses_expires=False)
    return _worded(response.combined(b"cache-control", CACHE_CONTROL)) if response.bits & CACHE_CONTROL else NONE


def policy_of(directives: Directives) -> Policy:
    """Return what directives mean."""
    lifetime = seconds(directives, b"s-maxage")
    stale_allowed = not any(name in directives for name in _FORBIDS_STALE)
    return Policy(
        lifetime=seconds(directives, b"max-age") if lifetime is None else lifetime,
        no_store=b"no-store" in directives,
        no_cache=b"no-cache" in directives and not names(directives[b"no-cache"]),
        private=b"private" in directives and not names(directives[b"private"]),
        public=b"public" in directives,
        must_understand=b"must-understand" in directives,
        shareable=any(name in directives for name in _ALLOWS_SHARING),
        stale_allowed=stale_allowed,
        is_personal=b"private" in directives,
        stale_while_revalidate=(seconds(directives, b"stale-while-revalidate") or 0) if stale_allowed else 0,
        stale_if_error=(seconds(directives, b"stale-if-error") or 0) if stale_allowed else 0,
        withheld=names(directives.get(b"private")) + names(directives.get(b"no-cache")),
        uses_expires=True,
    )


_worded: Final = Memo[bytes | None, Policy](
    Bound("policies", 512 * KIB, "the Cache-Control values of responses, and what they mean to this cache"),
    lambda value: policy_of(parse(value)),
).__getitem__

NONE = policy_of({})
"""The policy of a response that says nothing."""


def cdn_directives(lines: list[bytes]) -> Directives:
    """Read CDN-Cache-Control, a Dictionary (RFC 9213 §2.1); nothing when it does not parse."""
    targeted = dictionary(lines) or {}
    return {name.encode(): _argument(value) for name, value in targeted.items()}


def surrogate_directives(value: bytes | None) -> Directives:
    """Read Surrogate-Control: directives for any surrogate, and those targeted (`;springhouse`) at this one.

    `max-age=60+30` allows 30 more seconds of staleness, which are not used here.
    """
    ours = []
    for member in members(value or b""):
        directive, semicolon, target = member.partition(b";")
        if not semicolon or target.strip(b" \t").lower() == SURROGATE:
            ours.append(directive.strip(b" \t").split(b"+")[0])
    return parse(b",".join(ours))


def _argument(value: object) -> bytes | None:
    if isinstance(value, bool):
        return None if value else b"0"
    return str(value).encode("latin-1", "replace")
