"""Purging, from within an application, what a middleware keeps of its responses.

An application names URLs, not keys. A URL stands for its keys under both schemes: behind a server that ends TLS the
application may not know which of them its clients use. A path is one of the host that is being answered.
"""

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass

from springhouse.rules.keys import key_of, parts_of_url
from springhouse.rules.purging import Keys, Prefix, Receipt, Selection, Tags

current_authority: ContextVar[bytes | None] = ContextVar("current_authority", default=None)
"""The Host of the request that the application is answering, in its task or thread."""


class PurgeFailed(Exception):
    """It is not certain that everything was purged, as when a shared store cannot be reached; the text says why."""


@dataclass(frozen=True, slots=True)
class PurgeCounts:
    """What a purge came to: the number of keys, one for each URL, and of entries, the responses under them."""

    keys: int
    entries: int


def selections_named(url: str | None, prefix: str | None, tag: str | None) -> list[Selection]:
    """Return what to purge, from the one argument that is given. Raises ValueError."""
    if [url, prefix, tag].count(None) != 2:
        raise ValueError("Name exactly one of url, prefix and tag")
    if tag is not None:
        return [Tags((tag.encode(),))]
    if prefix is not None:
        return [Prefix(key) for key in _keys_named(prefix)]
    assert url is not None
    return [Keys(_keys_named(url))]


def _keys_named(url: str) -> tuple[bytes, ...]:
    authority, target = current_authority.get(), url.partition("#")[0].encode()
    if not url.startswith("/"):
        _, authority, target = parts_of_url(url)
    elif authority is None:
        raise ValueError(f"Which host? Outside of a request, name it: http://example.com{url}")
    return tuple(key_of(scheme, authority, target) for scheme in (b"http", b"https"))


def counts_of(receipts: Iterable[Receipt]) -> PurgeCounts:
    """Return the sum of receipts. Raises PurgeFailed if one of them reports a failure."""
    keys = entries = 0
    for receipt in receipts:
        if receipt.failure:
            raise PurgeFailed(receipt.failure)
        keys, entries = keys + receipt.keys, entries + receipt.entries
    return PurgeCounts(keys, entries)
