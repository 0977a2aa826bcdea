"""Choosing among the stored responses of one key by Vary (RFC 9111 §4.1)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from springhouse.http.fields import BITS, CONNECTION_SPECIFIC, NOMINATES, OVERRIDING, VARY
from springhouse.http.headers import combined, members, nominated_by_connection, values
from springhouse.http.messages import Request, Response
from springhouse.rules.entry import Entry

STAR = b"*"

Selector = tuple[bytes | None, ...]


def names(response: Response) -> tuple[bytes, ...]:
    """Return the lower-case names that Vary lists, sorted; (b"*",) when any member is a star."""
    if not response.bits & VARY:
        return ()
    listed = {m.lower() for m in members(combined(response.fields, b"vary") or b"")}
    return (STAR,) if STAR in listed else tuple(sorted(listed))


def selector(request: Request, vary: Sequence[bytes]) -> Selector:
    """Return the request's normalised values for the names; None where it has no such field."""
    return tuple([normalised(request, name) for name in vary])


def normalised(request: Request, name: bytes) -> bytes | None:
    """Return what the origin learns of a field, such that values which mean the same are the same.

    For every field: lines are combined and white space around commas is dropped. Language ranges, codings and charsets
    compare without case and order (RFC 9110 §12.5.2 to §12.5.4). A field that is not forwarded is as good as absent,
    and one that we add to (X-Forwarded-For) tells the origin what we add.
    """
    if name == b"host":
        return request.authority
    found = [] if _is_not_forwarded(request, name) else values(request.fields, name)
    if name in _ABOUT_CLIENT:
        found = [*found, *_ABOUT_CLIENT[name](request)]
    if not found:
        return None
    parts = members(b",".join(found))
    if name not in _WITHOUT_CASE:
        return b",".join(parts)
    return b",".join(sorted(p.lower().replace(b" ", b"").replace(b"\t", b"") for p in parts))


def _is_not_forwarded(request: Request, name: bytes) -> bool:
    if BITS.get(name, 0) & (CONNECTION_SPECIFIC | OVERRIDING):
        return True
    return bool(request.bits & NOMINATES) and name in nominated_by_connection(request.fields)


_WITHOUT_CASE = frozenset({b"accept-language", b"accept-encoding", b"accept-charset"})
_ABOUT_CLIENT: Final[dict[bytes, Callable[[Request], tuple[bytes, ...]]]] = {
    b"forwarded": lambda request: (request.peer.encode(), request.scheme),
    b"x-forwarded-for": lambda request: (request.peer.encode(),),
    b"x-forwarded-proto": lambda request: (request.scheme,),
    b"x-forwarded-host": lambda request: (request.authority,),
}
BEYOND_FIELDS: Final = frozenset({b"host", *_ABOUT_CLIENT})
"""Names whose normalised value does not lie in the request's fields alone."""


def matching(request: Request, variants: Iterable[Entry]) -> list[Entry]:
    """Return the entries whose Vary matches the request, the most recent first (§4)."""
    found = [e for e in variants if not e.vary or selector(request, e.vary) == e.selector]
    if len(found) > 1:
        # One without Vary loses to one that has it (§4.1, last but one paragraph).
        found.sort(key=lambda e: (bool(e.vary), e.date, e.received_at), reverse=True)
    return found


def with_entry(variants: Sequence[Entry], entry: Entry, limit: int) -> tuple[Entry, ...]:
    """Return the variants with the entry in front, without those it supersedes, and at most `limit` of them.

    It supersedes entries chosen by the same values of the same fields.
    """
    others = [e for e in variants if (e.vary, e.selector) != (entry.vary, entry.selector)]
    return (entry, *others[: limit - 1])
