"""What a purge names, and what it does to an entry: one value, from the request to the last store.

A Purge is small, immutable and has a msgpack form, so that the same value is applied to memory, written to the log
that other processes read, and remembered against entries that were fetched before it. `selects` is the law: an index
may only be a faster way to its answer.

Tags and cache groups are indexed as *labels*. A group belongs to one origin (RFC 9875 §2), a tag to all of the cache,
so that a group's label contains the origin and the two kinds never meet.
"""

from collections.abc import Iterable
from copy import copy

from msgspec import Struct

from springhouse.rules.entry import Entry


class Keys(Struct, frozen=True, array_like=True, tag="keys"):
    """The entries under these keys, all variants."""

    keys: tuple[bytes, ...]


class Prefix(Struct, frozen=True, array_like=True, tag="prefix"):
    """The entries whose key begins with these bytes."""

    prefix: bytes


class Tags(Struct, frozen=True, array_like=True, tag="tags"):
    """The entries with any of these tags."""

    tags: tuple[bytes, ...]


class Groups(Struct, frozen=True, array_like=True, tag="groups"):
    """The entries of an origin (`scheme://authority`) in any of these cache groups."""

    origin: bytes
    groups: tuple[bytes, ...]


class Everything(Struct, frozen=True, array_like=True, tag="everything"):
    """All entries."""


Selection = Keys | Prefix | Tags | Groups | Everything


class Purge(Struct, frozen=True, array_like=True):
    """Entries to remove or, with `stale_from` (seconds since 1970), to keep as stale from then on."""

    what: Selection
    stale_from: float | None = None


class Receipt(Struct, frozen=True):
    """What a purge came to.

    `size`: bytes that the entries occupied; `failure`: why it is not certain, "" if it is; `processes`: how many
    applied it.
    """

    keys: int = 0
    entries: int = 0
    size: int = 0
    failure: str = ""
    processes: int = 1


def selects(what: Selection, entry: Entry) -> bool:
    """Say whether a selection contains the entry."""
    match what:
        case Keys(keys):
            return entry.key in keys
        case Prefix(prefix):
            return entry.key.startswith(prefix)
        case Everything():
            return True
        case _:
            return not labels_named(what).isdisjoint(labels_of(entry))


def labels_of(entry: Entry) -> frozenset[bytes]:
    """Return what the entry is found by: its tags, and its groups with their origin."""
    if not entry.tags and not entry.groups:
        return frozenset()
    origin = origin_of(entry.key)
    return frozenset([b"tag " + tag for tag in entry.tags] + [_group(origin, group) for group in entry.groups])


def labels_named(what: Tags | Groups) -> frozenset[bytes]:
    """Return the labels that a selection names."""
    if isinstance(what, Tags):
        return frozenset(b"tag " + tag for tag in what.tags)
    return frozenset(_group(what.origin, group) for group in what.groups)


def _group(origin: bytes, group: bytes) -> bytes:
    return b"group " + origin + b" " + group


def origin_of(key: bytes) -> bytes:
    """Return the `scheme://authority` of a key."""
    end = key.find(b"/", key.find(b"://") + 3)
    return key if end < 0 else key[:end]


def stale_from(entry: Entry, instant: float) -> Entry:
    """Return the entry as one that is stale from the instant on.

    The windows in which it may be served stale (RFC 5861) keep their lengths. One that is stale already is unchanged.
    """
    sooner = entry.fresh_until - instant
    if sooner <= 0:
        return entry
    stale = copy(entry)
    stale.fresh_until = instant
    stale.lifetime = max(0, int(instant - entry.born_at))
    stale.stale_while_revalidate_until = entry.stale_while_revalidate_until - sooner
    stale.stale_if_error_until = entry.stale_if_error_until - sooner
    return stale


def remaining(entries: Iterable[Entry], purge: Purge) -> tuple[Entry, ...]:
    """Return what a purge leaves of entries."""
    if purge.stale_from is None:
        return tuple(entry for entry in entries if not selects(purge.what, entry))
    at = purge.stale_from
    return tuple(stale_from(entry, at) if selects(purge.what, entry) else entry for entry in entries)
