"""What a purge names, and what it does to an entry: one value, from the request to the last store.

A Purge is small, immutable and has a msgpack form, so that the same value is applied to memory, written to the log
that other processes read, and remembered against entries that were fetched before it. `selects` is the law: an index
may only be a faster way to its answer.

Stores index entries by their labels (see `labels`), which purges by tag or group name.
"""

from collections.abc import Iterable
from copy import copy
from hashlib import blake2b
from typing import Final

from msgspec import Struct, msgpack

from springhouse.rules.entry import Entry
from springhouse.rules.labels import label_of_group, label_of_tag, labels_of


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


NEVER_FRESH = 0.0
"""As `stale_from`: to be validated before any use, for how old it is is not known. No window of staleness is left."""


class Held(Struct, frozen=True, array_like=True):
    """An entry as memory holds it. `variant`: what tells it from others of its key; `size`: bytes it occupies there."""

    key: bytes
    variant: bytes
    size: int


class Receipt(Struct, frozen=True):
    """What a purge came to: how much could be served before it and cannot be after it, or only as stale.

    `entries`: variants, each counted once wherever it stood; `keys`: the URLs they stood under; `size`: bytes that they
    occupied. Where processes share a store it counts what it had, and of what the memories of this proxy's processes
    held that which it had not: it waited to be written, could not be, or had been evicted there. What only another
    proxy's memory held is not counted. Where nothing is shared each process counts its own. What is arriving counts
    once others may have it.

    `failure`: why it is not certain, "" if it is; `processes`: how many applied it; `held`: what a process had in the
    memory in front of a shared store, in none of the numbers, for that store has yet to say which of it is its own.
    """

    keys: int = 0
    entries: int = 0
    size: int = 0
    failure: str = ""
    processes: int = 1
    held: tuple[Held, ...] = ()


def receipt_of(held: Iterable[Held]) -> Receipt:
    """Return the receipt for what nothing but memory held."""
    found = {(item.key, item.variant): item.size for item in held}
    return Receipt(len({key for key, _ in found}), len(found), sum(found.values()))


def variant_of(entry: Entry) -> bytes:
    """Return what tells an entry from the others of its key: those it supersedes have the same."""
    return variant_chosen(entry.vary, entry.selector) if entry.vary else _ONLY_VARIANT


def variant_chosen(vary: tuple[bytes, ...], selector: tuple[bytes | None, ...]) -> bytes:
    """Return the same for what is chosen by these values of the fields that Vary names."""
    return blake2b(msgpack.encode((vary, selector)), digest_size=16).digest()


_ONLY_VARIANT: Final = variant_chosen((), ())


def selects(what: Selection, entry: Entry) -> bool:
    """Return whether a selection contains the entry."""
    match what:
        case Keys(keys):
            return entry.key in keys
        case Prefix(prefix):
            return entry.key.startswith(prefix)
        case Everything():
            return True
        case _:
            return not labels_named(what).isdisjoint(labels_of(entry))


def weight_of(what: Selection) -> int:
    """Return the bytes that the names in a selection take."""
    match what:
        case Keys(names) | Tags(names) | Groups(_, names):
            return sum(map(len, names)) + _NAME_BYTES * len(names)
        case Prefix(prefix):
            return len(prefix)
        case Everything():
            return 0


_NAME_BYTES: Final = 64


def labels_named(what: Tags | Groups) -> frozenset[bytes]:
    """Return the labels that a selection names."""
    if isinstance(what, Tags):
        return frozenset(label_of_tag(tag) for tag in what.tags)
    return frozenset(label_of_group(what.origin, group) for group in what.groups)


def made_stale(entry: Entry, instant: float) -> Entry:
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
    return tuple(made_stale(entry, at) if selects(purge.what, entry) else entry for entry in entries)
