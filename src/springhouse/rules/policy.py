"""What a response says about caching, read once per distinct wording (RFC 9111 §5.2.2)."""

from dataclasses import dataclass, replace
from typing import Final

from springhouse.http.directives import (
    INTEGER_ARGUMENTS,
    Directives,
    is_well_formed,
    listed_names,
    parse_directives,
    restrictions,
    seconds,
)
from springhouse.http.fields import CACHE_CONTROL, PRAGMA, TARGETED
from springhouse.http.headers import combined_value, members, values
from springhouse.http.memo import KIB, Memo, bound
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
    serving it stale (§4.2.4). `is_personal`: `private`, with or without names. `stale_if_error`: None where the
    response does not say. `uses_expires`: Expires counts.
    `is_malformed`: a field was not wholly understood, so that no lifetime but the origin's own is to be given.
    `is_vetoed`: and it seems to forbid storing, which counts as no-store.
    `cookie_apart`: `no-cache="set-cookie"`, so that the rest may be stored without that field.
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
    stale_if_error: int | None
    withheld: tuple[bytes, ...]
    uses_expires: bool
    is_malformed: bool
    is_vetoed: bool
    cookie_apart: bool


def policy_of(response: Response) -> Policy:
    """Return the policy that counts for this cache.

    CDN-Cache-Control (RFC 9213 §2.2), else Surrogate-Control (W3C Edge Architecture §2.2), takes the place of
    Cache-Control and Expires if it is valid and not empty.
    """
    if response.bits & TARGETED:
        return _targeted(response)
    return _worded(response.combined(b"cache-control", CACHE_CONTROL)) if response.bits & CACHE_CONTROL else NONE


def _targeted(response: Response) -> Policy:
    lines = values(response.fields, b"cdn-cache-control")
    directives = cdn_directives(lines)
    if directives:
        return replace(_policy_from(directives), uses_expires=False)
    surrogate = surrogate_value(combined_value(response.fields, b"surrogate-control"))
    if parse_directives(surrogate):
        return replace(_worded(surrogate), uses_expires=False)
    policy = _worded(response.combined(b"cache-control", CACHE_CONTROL))
    return replace(policy, is_malformed=True) if any(lines) or surrogate else policy


def is_disowned(response: Response) -> bool:
    """Return whether a response's Pragma asks not to be cached. No RFC defines that (§5.4), but it is meant."""
    return bool(response.bits & PRAGMA and restrictions(response.combined(b"pragma", PRAGMA) or b""))


def _policy_from(directives: Directives) -> Policy:
    """Return what directives mean."""
    lifetime = seconds(directives, b"s-maxage")
    stale_allowed = not any(name in directives for name in _FORBIDS_STALE)
    return Policy(
        lifetime=seconds(directives, b"max-age") if lifetime is None else lifetime,
        no_store=b"no-store" in directives,
        no_cache=b"no-cache" in directives and not listed_names(directives[b"no-cache"]),
        private=b"private" in directives and not listed_names(directives[b"private"]),
        public=b"public" in directives,
        must_understand=b"must-understand" in directives,
        shareable=any(name in directives for name in _ALLOWS_SHARING),
        stale_allowed=stale_allowed,
        is_personal=b"private" in directives,
        stale_while_revalidate=(seconds(directives, b"stale-while-revalidate") or 0) if stale_allowed else 0,
        stale_if_error=seconds(directives, b"stale-if-error") if stale_allowed else 0,
        withheld=listed_names(directives.get(b"private")) + listed_names(directives.get(b"no-cache")),
        uses_expires=True,
        is_malformed=False,
        is_vetoed=False,
        cookie_apart=b"set-cookie" in listed_names(directives.get(b"no-cache")),
    )


def _read(value: bytes | None) -> Policy:
    """Read Cache-Control. What is not wholly understood and seems to forbid storing does forbid it."""
    policy = _policy_from(parse_directives(value))
    if not value or is_well_formed(value):
        return policy
    if restrictions(value):
        return replace(policy, is_malformed=True, is_vetoed=True, no_store=True, must_understand=False)
    return replace(policy, is_malformed=True)


_worded: Final = Memo[bytes | None, Policy](
    bound("policies", 512 * KIB, "the Cache-Control values of responses, and what they mean to this cache"),
    _read,
).__getitem__

NONE = _policy_from({})
"""The policy of a response that says nothing."""


def cdn_directives(lines: list[bytes]) -> Directives:
    """Read CDN-Cache-Control, a Dictionary (RFC 9213 §2.1); nothing when it does not parse, or an age is no Integer."""
    targeted = dictionary(lines) or {}
    if any(not _is_integer(value) for name, value in targeted.items() if name.encode() in INTEGER_ARGUMENTS):
        return {}
    return {name.encode(): _argument(value) for name, value in targeted.items()}


def surrogate_value(value: bytes | None) -> bytes:
    """Return what Surrogate-Control says to any surrogate and, targeted (`;springhouse`), to this one.

    `max-age=60+30` allows 30 more seconds of staleness, which are not used here.
    """
    ours = []
    for member in members(value or b""):
        directive, semicolon, target = member.partition(b";")
        if not semicolon or target.strip(b" \t").lower() == SURROGATE:
            ours.append(directive.strip(b" \t").split(b"+")[0])
    return b", ".join(ours)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _argument(value: object) -> bytes | None:
    if isinstance(value, bool):
        return None if value else b"0"
    return str(value).encode("latin-1", "replace")
