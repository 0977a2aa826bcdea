"""Entries as bytes, for stores that outlive the process (decision 0010).

    version (1 byte) | msgpack of the version's Record | MAC (16 bytes, if the version byte has its high bit set)

Records may come from a disk that lies or a server that others write to. So everything is checked when read, and again
before it is written: types and ranges by msgspec, field names and values by the grammar of HTTP, the key against the
one that was asked for, content against length and digests. Whatever is wrong is one CodecError, which means: not
stored. With a secret each record carries a MAC over all of it, and those without are not accepted.

A version is never changed once released: a new attribute of Entry is a new Record class, and its number goes into
VERSIONS.
"""

import hmac
from hashlib import blake2b
from math import isfinite, isnan
from typing import Annotated, Final

from msgspec import Meta, MsgspecError, Struct
from msgspec.msgpack import Decoder, Encoder

from springhouse.http.fields import Field
from springhouse.http.headers import is_token, is_value
from springhouse.rules.entry import Entry
from springhouse.stores import digests

MAC_SIZE: Final = 16
_SIGNED: Final = 0x80

Count = Annotated[int, Meta(ge=0, le=2**53)]
Status = Annotated[int, Meta(ge=200, le=999)]
Key = Annotated[bytes, Meta(min_length=1, max_length=2**20)]
Digests = Annotated[bytes, Meta(max_length=2**24)]


class CodecError(Exception):
    """A record that is damaged, hostile, of an unknown version or not signed with our secret; the text says which."""


class Record1(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """An entry, version 1. `digests`: of its content, see `stores.digests`; the rest as in Entry."""

    key: Key
    status: Status
    reason: bytes
    fields: list[Field]
    vary: tuple[bytes, ...]
    selector: tuple[bytes | None, ...]
    requested_at: float
    received_at: float
    born_at: float
    date: Count
    lifetime: Count
    fresh_until: float
    stale_while_revalidate_until: float
    stale_if_error_until: float
    max_stale_allowed: bool
    no_cache: bool
    shareable: bool
    authorized: bool
    given_ttl: bool
    invalidated: bool
    is_redacted: bool
    tags: tuple[bytes, ...]
    groups: tuple[bytes, ...]
    length: Count
    digests: Digests


NEWEST: Final = 1
VERSIONS: Final[dict[int, Decoder[Record1]]] = {1: Decoder(Record1)}
"""How each version is read. An older Record has a function that makes the newest of it."""

_COPIED: Final = tuple(
    name for name in Record1.__struct_fields__ if name not in ("key", "status", "reason", "fields", "digests")
)
_encoder: Final = Encoder()


class Codec:
    """Turns entries into records and back. `secret`: signs them, when not empty."""

    def __init__(self, secret: bytes = b"") -> None:
        self._key = blake2b(secret, digest_size=32, person=b"springhouse-key").digest() if secret else b""

    def encode(self, entry: Entry, content_digests: bytes) -> bytes:
        """Return the record of an entry whose `length` is known. Raises CodecError for what could not be read back."""
        given = {name: getattr(entry, name) for name in _COPIED}
        try:
            record = Record1(
                key=entry.key,
                status=entry.status,
                reason=entry.reason,
                fields=entry.fields,
                digests=content_digests,
                **given,
            )
            packed = _encoder.encode(record)
            _check(VERSIONS[NEWEST].decode(packed))
        except (MsgspecError, TypeError, ValueError, OverflowError) as error:
            raise CodecError(f"An entry that cannot be stored: {error}") from None
        if not self._key:
            return bytes((NEWEST,)) + packed
        signed = bytes((NEWEST | _SIGNED,)) + packed
        return signed + self._mac(signed)

    def decode(self, blob: bytes, key: bytes) -> tuple[Entry, bytes]:
        """Return the entry, without its content, and the digests of that. Raises CodecError."""
        record = self._read(blob)
        if record.key != key:
            raise CodecError("A record that belongs to another key")
        _check(record)
        entry = Entry(record.key, record.status, record.reason, record.fields)
        for name in _COPIED:
            setattr(entry, name, getattr(record, name))
        return entry, record.digests

    def _mac(self, signed: bytes) -> bytes:
        return blake2b(signed, key=self._key, digest_size=MAC_SIZE).digest()

    def _read(self, blob: bytes) -> Record1:
        version = blob[0] if blob else 0
        if bool(version & _SIGNED) != bool(self._key):
            raise CodecError("A record with an unexpected signature" if version & _SIGNED else "A record without one")
        packed = memoryview(blob)[1:]
        if self._key:
            signed, mac = blob[:-MAC_SIZE], blob[-MAC_SIZE:]
            if not signed or not hmac.compare_digest(self._mac(signed), mac):
                raise CodecError("A record with a wrong signature")
            packed = packed[:-MAC_SIZE]
        decoder = VERSIONS.get(version & ~_SIGNED)
        if decoder is None:
            raise CodecError(f"A record of version {version & ~_SIGNED}, which this release does not know")
        try:
            return decoder.decode(packed)
        except (MsgspecError, RecursionError, MemoryError) as error:
            raise CodecError(f"A damaged record: {error}") from None


def _check(record: Record1) -> None:
    """Raise CodecError unless all of the record may stand in a message and fits together."""
    fault = _fault_of_head(record) or _fault_of_instants(record) or _fault_of_choice(record)
    if fault is None and len(record.digests) != digests.count(record.length) * digests.SIZE:
        fault = "digests that do not fit its length"
    if fault is not None:
        raise CodecError(f"A record with {fault}")


def _fault_of_head(record: Record1) -> str | None:
    if not is_value(record.key) or b"://" not in record.key:
        return "an impossible key"
    if not is_value(record.reason):
        return "an illegal reason phrase"
    are_legal = all(is_token(name) and is_value(value) for name, value in record.fields)
    return None if are_legal else "an illegal field"


def _fault_of_instants(record: Record1) -> str | None:
    if not all(map(isfinite, (record.requested_at, record.received_at, record.born_at))):
        return "no instant of birth"
    ends = (record.fresh_until, record.stale_while_revalidate_until, record.stale_if_error_until)
    return "no end of freshness" if any(map(isnan, ends)) else None


def _fault_of_choice(record: Record1) -> str | None:
    if len(record.vary) != len(record.selector) or not all(map(is_token, record.vary)):
        return "an illegal Vary"
    if not all(value is None or is_value(value) for value in record.selector):
        return "an illegal selector"
    labels = record.tags + record.groups
    return None if all(label and is_value(label) for label in labels) else "an illegal tag"
