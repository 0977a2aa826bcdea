"""Choosing among the stored responses of one key by Vary (RFC 9111 §4.1)."""

from collections.abc import Iterable, Sequence

from springhouse.http.fields import VARY
from springhouse.http.headers import combined, members, values
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
    return tuple(normalised(request, name) for name in vary)


def normalised(request: Request, name: bytes) -> bytes | None:
    """Return a field's value so that values which mean the same are the same.

    For every field: lines are combined and white space around commas is dropped. Language ranges, codings and media
    types compare without case, and Accept-Encoding without order where no weight is given (RFC 9110 §12.5.3).
    """
    if name == b"host":
        return request.authority
    found = values(request.fields, name)
    if not found:
        return None
    parts = members(b",".join(found))
    if name not in _WITHOUT_CASE:
        return b",".join(parts)
    return b",".join(sorted(p.lower().replace(b" ", b"").replace(b"\t", b"") for p in parts))


_WITHOUT_CASE = frozenset({b"accept-language", b"accept-encoding", b"accept-charset"})


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
