"""A stored response (RFC 9111 §3): everything about it that a later request needs, computed once."""

from springhouse.http import dates
from springhouse.http.content import NO_CONTENT, Content
from springhouse.http.fields import Field
from springhouse.http.headers import fields_of, first_line, lines_of

FOREVER = float("inf")
VIA_1_0: Field = (b"Via", b"1.0 springhouse")
"""What we say of a response that came in HTTP/1.0. It is the last of the fields that are stored."""
_VIA_1_0_LINE = lines_of([VIA_1_0])


class Entry:
    """One stored response, one variant of its key.

    Instants (`…_at`, `…_until`) are seconds since 1970. `born_at`: when its age was zero (§4.2.3), so that age is
    `now - born_at`; `lifetime`: seconds, so that `fresh_until` is `born_at + lifetime`. A window that does not exist
    ends where freshness does. `vary` holds the lower-case names that Vary listed, `selector` the request's normalised
    values for them (None: absent). `fields` are end-to-end fields, without Age, which are held as the `lines` that will
    be sent: one object instead of some forty.
    """

    __slots__ = (
        "authorized",
        "born_at",
        "content",
        "date",
        "fresh_until",
        "given_ttl",
        "groups",
        "invalidated",
        "is_redacted",
        "key",
        "length",
        "lifetime",
        "lines",
        "max_stale_allowed",
        "no_cache",
        "reason",
        "received_at",
        "requested_at",
        "selector",
        "shareable",
        "stale_if_error_until",
        "stale_while_revalidate_until",
        "status",
        "tags",
        "vary",
    )

    def __init__(self, key: bytes, status: int, reason: bytes, fields: list[Field]) -> None:
        self.key = key
        self.status = status
        self.reason = reason
        self.lines = lines_of(fields)
        self.vary: tuple[bytes, ...] = ()
        self.selector: tuple[bytes | None, ...] = ()
        self.requested_at = 0.0
        self.received_at = 0.0
        self.born_at = 0.0
        self.date = 0
        self.lifetime = 0
        self.fresh_until = 0.0
        self.stale_while_revalidate_until = 0.0
        self.stale_if_error_until = 0.0
        self.max_stale_allowed = True
        """No directive forbids serving it stale (§4.2.4)."""
        self.no_cache = False
        self.shareable = False
        """A directive allows reuse for requests with Authorization (§3.5)."""
        self.authorized = False
        """The request that fetched it had Authorization."""
        self.given_ttl = False
        """Its lifetime comes from our options, not from the origin; not for requests with credentials."""
        self.is_redacted = False
        """Fields that only the first client may have were left out (§5.2.2.4, §5.2.2.7)."""
        self.invalidated = False
        """It must be validated before any further use (§4.4)."""
        self.tags: tuple[bytes, ...] = ()
        """What the origin labelled it with, to be purged by."""
        self.groups: tuple[bytes, ...] = ()
        """The cache groups it belongs to at its origin (RFC 9875 §2)."""
        self.content: Content = NO_CONTENT
        """Complete, or still arriving: see `http.content`."""
        self.length: int | None = None
        """Bytes of content; None while a message without Content-Length is still arriving."""

    @property
    def fields(self) -> list[Field]:
        """The fields, in a list of their own."""
        return fields_of(self.lines)

    @fields.setter
    def fields(self, fields: list[Field]) -> None:
        self.lines = lines_of(fields)

    @property
    def has_our_via(self) -> bool:
        """Whether the fields end with our Via, because the response came in HTTP/1.0."""
        return self.lines.endswith(_VIA_1_0_LINE)

    @property
    def etag(self) -> bytes | None:
        """The first ETag; looked for each time, as most entries are never asked about."""
        return first_line(self.lines, b"etag")

    @property
    def last_modified(self) -> bytes | None:
        """The first Last-Modified, None when it is no date; looked for each time."""
        modified = first_line(self.lines, b"last-modified")
        return modified if dates.parse_date(modified, self.received_at) is not None else None

    def __repr__(self) -> str:
        return f"<Entry {self.status} {self.key.decode('latin-1')} fresh_until={self.fresh_until:.3f}>"

    def age_at(self, now: float) -> int:
        """Return current_age in whole seconds (§4.2.3)."""
        return max(0, int(now - self.born_at))

    def is_fresh_at(self, now: float) -> bool:
        """Return whether freshness_lifetime exceeds current_age (§4.2)."""
        return now < self.fresh_until

    def ttl_at(self, now: float) -> int:
        """Return the remaining freshness in whole seconds, negative when stale (RFC 9211 §2.4)."""
        return self.lifetime - self.age_at(now)
