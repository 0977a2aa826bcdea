"""How entries are laid out in Redis: the names of keys, what selects them, how long they are kept (decision 0012).

All of a cache key is in one of BUCKETS buckets, each in one slot of a cluster: its variants, their content, its share
of the indexes and of what was purged. So one script can change all of it at once, and a purge by tag is one script in
each bucket. The buckets' hash tags are chosen so that they lie evenly over the slots. The names in a bucket begin with
the prefix of all keys and the hash tag; behind that stands:

    e:KEY     hash: for each variant v its record v:r, its data v:m, its labels v:l, and v:b, its content if small
    c:BODY    hash: content in chunks, 0, 1, 2, …
    names     sorted set: all keys, in the order of their bytes
    ends      sorted set: all keys, by when their hash expires
    l:LABEL   sorted set: variant and key of all that have the label, by when they expire
    fences    sorted set: what was purged within the last hour, by the number of the purge; `prefixes` likewise
    s:NAME    the token of whoever holds the lease of that name: a key, followed by a variant if it is known to vary
    t:NAME    the last token given, or when the last lease ended
    a:NAME    what came of the last lease, for those that wait

The log of purges has a hash tag of its own:

    purges    stream: the log
    last      the number of its last entry
    nodes     sorted set: the nodes, by until when they count as alive
    read      hash: up to which number each of them has read

Every key has an expiry. Times are the server's: milliseconds; numbers of purges and tokens are microseconds.
"""

from binascii import crc_hqx, hexlify
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from itertools import count
from struct import pack
from typing import Final, Literal
from zlib import crc32

from springhouse.rules import purging
from springhouse.rules.entry import Entry
from springhouse.rules.labels import labels_of
from springhouse.rules.purging import Everything, Groups, Held, Keys, Prefix, Selection, Tags, labels_named

Named = Literal["keys", "labels", "prefix"]
"""By what a purge names entries inside a bucket."""
BUCKETS: Final = 64
_SLOTS: Final = 16384


@cache
def hash_tags() -> tuple[bytes, ...]:
    """Return the hash tag of each bucket, without braces: the first of its numbers whose slot is in its share."""
    return tuple(
        next(tag for n in count() if _slot(tag := b"%d.%d" % (bucket, n)) * BUCKETS // _SLOTS == bucket)
        for bucket in range(BUCKETS)
    )


def _slot(tag: bytes) -> int:
    return crc_hqx(tag, 0) % _SLOTS  # CRC16 as Redis computes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long an entry is kept after it can no longer be served: `revalidation` seconds if it can be validated,
    `grace` otherwise; in all at most `longest`."""

    revalidation: float = 24 * 3600.0
    grace: float = 10.0
    longest: float = 7 * 24 * 3600.0

    def ttl(self, entry: Entry, now: float) -> int:
        """Return how many milliseconds to keep an entry; 0: it is of no use any more."""
        ends = max(entry.fresh_until, entry.stale_while_revalidate_until, entry.stale_if_error_until)
        has_validator = entry.etag is not None or entry.last_modified is not None
        seconds = ends - now + (self.revalidation if has_validator else self.grace)
        return max(0, int(1000 * min(seconds, self.longest)))


class KeyLayout:
    """The names of all keys, which begin with `prefix`."""

    def __init__(self, prefix: str) -> None:
        if "{" in prefix or "}" in prefix:
            raise ValueError("The prefix of keys in Redis must not contain braces")
        start = prefix.encode()
        self.bases = tuple(start + b"{" + tag + b"}" for tag in hash_tags())
        """What the names of each bucket's keys begin with."""
        self.log = start + b"{log}"

    def base(self, key: bytes) -> bytes:
        """Return the beginning of the names of all that belongs to a cache key."""
        return self.bases[crc32(key) % BUCKETS]

    def shares(self, what: Selection) -> Iterator[tuple[bytes, Named, list[bytes]]]:
        """Return what to purge in which buckets: their beginning, what is named, and the names, or ends of a range."""
        match what:
            case Keys(keys):
                shares: dict[bytes, list[bytes]] = {}
                for key in dict.fromkeys(keys):
                    shares.setdefault(self.base(key), []).append(key)
                yield from ((base, "keys", share) for base, share in shares.items())
            case Tags() | Groups():
                yield from ((base, "labels", sorted(labels_named(what))) for base in self.bases)
            case Prefix(prefix):
                yield from ((base, "prefix", [b"[" + prefix, _after(prefix)]) for base in self.bases)
            case Everything():
                yield from ((base, "prefix", [b"-", b"+"]) for base in self.bases)

    def by_base(self, held: Sequence[Held]) -> dict[bytes, list[bytes | int]]:
        """Return what memories held of each bucket, as scripts take it: key, variant and size, one after another."""
        shares: dict[bytes, list[bytes | int]] = {}
        for item in {(item.key, item.variant): item for item in held}.values():
            shares.setdefault(self.base(item.key), []).extend((item.key, hexlify(item.variant), item.size))
        return shares


def _after(prefix: bytes) -> bytes:
    """Return the end of a range of ZRANGEBYLEX that contains all that begins with the prefix."""
    stem = prefix.rstrip(b"\xff")
    return b"(" + stem[:-1] + bytes((stem[-1] + 1,)) if stem else b"+"


def variant_name(entry: Entry) -> bytes:
    """Return 32 hexadecimal digits that tell an entry from others of its key; those it supersedes have the same."""
    return hexlify(purging.variant_of(entry))


def packed_labels(entry: Entry) -> bytes:
    """Return an entry's labels as they stand beside its record."""
    return b"\n".join(sorted(labels_of(entry)))


def stamp_of(entry: Entry) -> bytes:
    """Return what tells the response an entry was made of from any other to the same request."""
    instants = pack(">dd", entry.requested_at, entry.received_at)
    return blake2b(instants + (entry.etag or b""), digest_size=16).hexdigest().encode()
