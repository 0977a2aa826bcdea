"""Choosing among the stored responses of one key by Vary (RFC 9111 §4.1)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from springhouse.http.fields import (
    CONNECTION_SPECIFIC,
    FORWARDING,
    NOMINATES,
    ODD,
    OVERRIDING,
    UNWANTED,
    VARY,
    bit_of,
)
from springhouse.http.headers import (
    combined_value,
    is_nominated,
    is_token,
    members,
    nominated_by_connection,
    tidied,
    values,
)
from springhouse.http.messages import Request, Response
from springhouse.http.unkeyed import folded
from springhouse.rules.entry import Entry

STAR = b"*"

Selector = tuple[bytes | None, ...]


def vary_names(response: Response) -> tuple[bytes, ...]:
    """Return the lower-case names that Vary lists, sorted.

    (b"*",) when any member is a star, or is no field name: what the origin meant is not known then.
    """
    if not response.bits & VARY:
        return ()
    listed = {m.lower() for m in members(combined_value(response.fields, b"vary") or b"")}
    return (STAR,) if STAR in listed or not all(map(is_token, listed)) else tuple(sorted(listed))


def selector(request: Request, vary: Sequence[bytes]) -> Selector:
    """Return the request's normalised values for the names; None where it has no such field."""
    return tuple([normalised(request, name) for name in vary])


def normalised(request: Request, name: bytes) -> bytes | None:
    """Return what the origin learns of a field, such that values which mean the same are the same.

    Only lists are changed, and only where their syntax leaves no doubt: lines are combined, and white space around
    commas is dropped. Language ranges, codings and charsets compare without case and order (RFC 9110 §12.5.2 to
    §12.5.4). The lines of any other field are compared as they are. A field that is not forwarded is as good as absent,
    and one that says who the client is depends on what we know of it, too.
    """
    if name == b"host":
        return request.authority
    lines = [] if _is_not_forwarded(request, name) else _values(request, name)
    if name in _ABOUT_CLIENT:
        lines = [*lines, *_ABOUT_CLIENT[name](request)]
    elif lines and bit_of(name) & FORWARDING:
        lines = [*lines, request.peer.encode()]  # forwarded for a trusted proxy, and for nobody else
    if not lines:
        return None
    if _is_list(name, lines):
        value = b",".join(lines)
        return _without_case(value) if name in _WITHOUT_CASE else tidied(value)
    return lines[0] if len(lines) == 1 else _kept_apart(lines)


def _values(request: Request, name: bytes) -> list[bytes]:
    """Return the values of all fields that the origin may take for the one named: to CGI `X_A` is `X-A`."""
    if not (request.bits | bit_of(name)) & ODD:
        return values(request.fields, name)
    wanted = folded(name)
    return [value.strip(b" \t") for found, value in request.fields if folded(found) == wanted]


def _is_not_forwarded(request: Request, name: bytes) -> bool:
    if bit_of(name) & (CONNECTION_SPECIFIC | OVERRIDING | UNWANTED):
        return True
    return bool(request.bits & NOMINATES) and is_nominated(name, nominated_by_connection(request.fields))


def _is_list(name: bytes, lines: Sequence[bytes]) -> bool:
    """Return whether a field is a list (RFC 9110 §5.6.1).

    One of unknown syntax may be: it counts as one if nothing but tokens stands between its commas.
    """
    if name in _LISTS:
        return True
    return name not in _NO_LISTS and all(is_token(part.strip(b" \t")) for line in lines for part in line.split(b","))


def _without_case(value: bytes) -> bytes:
    if b'"' in value:
        return value  # these lists have no quoted strings
    return b",".join(sorted([b";".join([p.strip(b" \t") for p in m.split(b";")]).lower() for m in value.split(b",")]))


def _kept_apart(lines: Sequence[bytes]) -> bytes:
    """Return several lines as one value that no single line has, for none begins with a space, and no other lines."""
    return b" " + b"".join([b"%d:%b," % (len(line), line) for line in lines])


_WITHOUT_CASE: Final = frozenset({b"accept-charset", b"accept-encoding", b"accept-language"})
_LISTS: Final = _WITHOUT_CASE | {
    b"a-im", b"accept", b"accept-signature", b"access-control-request-headers", b"cache-control", b"cdn-loop",
    b"expect", b"forwarded", b"if-match", b"if-none-match", b"pragma", b"prefer", b"via", b"want-content-digest",
    b"want-repr-digest", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto",
}  # fmt: skip
"""Request fields that are lists: by RFC 9110, by the specification of their own, or because all who write them do."""
_NO_LISTS: Final = frozenset({
    b"authorization", b"content-location", b"content-type", b"cookie", b"date", b"from", b"if-modified-since",
    b"if-range", b"if-unmodified-since", b"last-event-id", b"origin", b"proxy-authorization", b"range", b"referer",
    b"user-agent",
})  # fmt: skip
_ABOUT_CLIENT: Final[dict[bytes, Callable[[Request], tuple[bytes, ...]]]] = {
    b"forwarded": lambda request: (request.peer.encode(), request.scheme),
    b"x-forwarded-for": lambda request: (request.peer.encode(),),
    b"x-forwarded-proto": lambda request: (request.scheme,),
    b"x-forwarded-host": lambda request: (request.authority,),
}


def is_beyond_fields(name: bytes) -> bool:
    """Return whether it takes more than the fields of that very name to know what the origin learns of it."""
    return name == b"host" or bool(bit_of(name) & (FORWARDING | ODD))


def all_names(variants: Iterable[Entry], more: tuple[bytes, ...] = ()) -> tuple[bytes, ...]:
    """Return the names that any of the entries lists in Vary, and those more, sorted."""
    return tuple(sorted({*more, *(name for entry in variants for name in entry.vary)}))


def matching(request: Request, variants: Iterable[Entry]) -> list[Entry]:
    """Return the entries whose Vary matches the request, the most recent first (§4)."""
    found = []
    vary: tuple[bytes, ...] = ()
    wanted: Selector = ()
    known = {vary: wanted}
    for entry in variants:
        if entry.vary != vary:  # most share one
            vary = entry.vary
            if vary not in known:
                known[vary] = selector(request, vary)
            wanted = known[vary]
        if entry.selector == wanted:
            found.append(entry)
    if len(found) > 1:
        found.sort(key=precedence, reverse=True)
    return found


def precedence(entry: Entry) -> tuple[bool, int, float]:
    """Return what the entry that is chosen of several has the most of (§4).

    One without Vary loses to one that has it (§4.1, last but one paragraph).
    """
    return bool(entry.vary), entry.date, entry.received_at


def with_entry(variants: Sequence[Entry], entry: Entry, limit: int) -> tuple[Entry, ...]:
    """Return the variants with the entry in front, without those it supersedes, and at most `limit` of them.

    It supersedes entries chosen by the same values of the same fields.
    """
    others = [e for e in variants if (e.vary, e.selector) != (entry.vary, entry.selector)]
    return (entry, *others[: limit - 1])


def with_replaced(variants: Sequence[Entry], old: Entry, new: Entry) -> tuple[Entry, ...]:
    """Return the variants with `new` in the place of `old`, without others it supersedes: Vary may have changed."""
    chosen_by = new.vary, new.selector
    return tuple(new if e is old else e for e in variants if e is old or (e.vary, e.selector) != chosen_by)
