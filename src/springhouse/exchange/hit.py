"""The hit guard: whether the plainest of requests can be answered at once, and with which bytes.

It runs for every request before anything else does. A guard, never a second rule book: it answers only where
`rules.reuse.decide` would say Serve(FRESH) and `exchange.reply` would build the same bytes; whatever needs a thought
beyond one AND and one comparison is left to them, but for If-None-Match and Range. A property test holds the two
together.

A head is kept ready, split where Age stands. Age and the ttl of Cache-Status change together, once a second, so that
filling them in is shared by all hits of that second. The heads of a 304 and a 206 are made each time.
"""

from collections.abc import Sequence
from itertools import count
from typing import Any, Final

from springhouse.exchange.reply import HIT, NAME, kept_in_304, lines_in_206, via_of
from springhouse.http import fields as f
from springhouse.http.content import CONTENT_PIECE
from springhouse.http.etags import is_listed
from springhouse.http.fields import NOMINATES, ODD, Field
from springhouse.http.headers import combined_value, first
from springhouse.http.memo import MIB, Memo, bound
from springhouse.http.messages import REASON_PHRASES, Request, may_have_content
from springhouse.http.ranges import resolve, view_of
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.rules.variants import Selector, is_beyond_fields, precedence, selector
from springhouse.wire.encode import response_head

NEEDS_THOUGHT = (
    f.REPEATED | f.CONTENT_LENGTH | f.TRANSFER_ENCODING | f.EXPECT | f.UPGRADE | f.CACHE_CONTROL | f.PRAGMA | f.RANGE
    | f.IF_RANGE | f.IF_MATCH | f.IF_NONE_MATCH | f.IF_MODIFIED_SINCE | f.IF_UNMODIFIED_SINCE | f.CDN_LOOP
    | NOMINATES
)  # fmt: skip
BUILT_FOR = f.IF_NONE_MATCH | f.RANGE
_TAIL = b"%d\r\nX-Cache: " + HIT + b"\r\nCache-Status: " + NAME + b"; hit; ttl=%d\r\n\r\n"


class BuiltReply:
    """An answer that is made each time, from what is stored: 304, or 206 with a part of the content."""

    __slots__ = ("content", "entry", "head", "status")

    def __init__(self, status: int, head: bytes, content: bytes | memoryview, entry: Entry) -> None:
        self.status = status
        self.head = head
        self.content = content
        self.entry = entry


class PreparedReply:
    """The only variant of a key, ready to be sent to any plain GET."""

    __slots__ = (
        "age", "before", "before_in_206", "before_in_304", "born_at", "content", "entry", "etag", "head", "lifetime",
        "mask", "status", "to_age_in_206", "until",
    )  # fmt: skip

    def __init__(self, entry: Entry, options: Options) -> None:
        credentials = 0
        if not entry.shareable:
            credentials |= f.AUTHORIZATION
        if entry.given_ttl:
            credentials = 0 if options.ttl_despite_credentials else f.CREDENTIAL_FIELDS
        self.entry = entry
        self.mask = NEEDS_THOUGHT | f.HOST | credentials
        self.until = 0.0 if entry.no_cache or entry.invalidated else entry.fresh_until
        self.born_at = entry.born_at
        self.lifetime = entry.lifetime
        self.status = entry.status
        self.content = entry.content.data or b""
        to_age = self._to_age(entry.status)
        more = b"Content-Length: %d\r\n%b" % (len(self.content), to_age)
        if not may_have_content(b"GET", entry.status):
            more = to_age
        self.before = response_head(entry.status, entry.reason, entry.lines, more)
        self.before_in_304 = b""
        self.etag: bytes | None = None
        """Is set with `before_in_304`, when they are first wanted."""
        self.before_in_206 = self.to_age_in_206 = b""
        """Are set when they are first wanted."""
        self.age: int | None = None
        """What the head says; None before the first hit."""
        self.head = b""

    def answer(self, fields: list[Field], bits: int, now: float) -> "PreparedReply | BuiltReply | None":
        """Return what to send, its `head` filled in, or None when the request needs more thought."""
        if bits & self.mask != f.HOST or now >= self.until:
            return self._build(fields, bits, now) if bits & BUILT_FOR and now < self.until else None
        age = int(now - self.born_at)
        if age != self.age:
            age = max(0, age)
            self.age = age
            self.head = self.before + _TAIL % (age, self.lifetime - age)
        return self

    def _build(self, fields: list[Field], bits: int, now: float) -> BuiltReply | None:
        """Answer If-None-Match or Range, if nothing else about the request needs thought and it comes to 304 or 206."""
        entry = self.entry
        if bits & ~(BUILT_FOR | f.IF_MODIFIED_SINCE) & self.mask != f.HOST or self.status != 200:
            return None
        if bits & f.IF_NONE_MATCH:
            if not self.before_in_304:
                kept = kept_in_304(entry.fields)
                self.before_in_304 = response_head(304, REASON_PHRASES[304], kept, self._to_age(304))
                self.etag = entry.etag
            if not is_listed(self.etag, combined_value(fields, b"if-none-match") or b""):
                return None
            return BuiltReply(304, self.before_in_304 + self._tail(now), b"", entry)
        part = resolve(first(fields, b"range") or b"", len(self.content))
        if bits & f.IF_MODIFIED_SINCE or not isinstance(part, tuple):
            return None
        if not self.before_in_206:
            self.before_in_206 = response_head(
                206, REASON_PHRASES[206], lines_in_206(entry.lines), b"Content-Range: bytes "
            )
            self.to_age_in_206 = b"\r\n" + self._to_age(206)
        start, stop = part
        length = len(self.content)
        head = b"%b%d-%d/%d\r\nContent-Length: %d%b%b" % (
            self.before_in_206, start, stop - 1, length, stop - start, self.to_age_in_206, self._tail(now)
        )  # fmt: skip
        # A view keeps all of the content in memory for as long as a client takes; `MemoryContent.send` counts that.
        is_small = length > CONTENT_PIECE >= stop - start
        chosen = self.content[start:stop] if is_small else view_of(self.content, start, stop)
        return BuiltReply(206, head, chosen, entry)

    def _to_age(self, status: int) -> bytes:
        """Return our own fields up to where Age stands."""
        return via_of(self.entry, status) + b"Age: "

    def _tail(self, now: float) -> bytes:
        age = max(0, int(now - self.born_at))
        return _TAIL % (age, self.lifetime - age)


class PreparedVariants:
    """Several variants of a key, or one with Vary: chosen by the lines of the fields that any Vary names."""

    __slots__ = ("_choices", "_names", "_number", "_options", "_prepared", "_ranked")

    def __init__(self, variants: Sequence[Entry], options: Options) -> None:
        self._number = next(_numbers)
        self._options = options
        self._ranked = sorted(variants, key=precedence, reverse=True)
        """Of those that match, the first is chosen."""
        self._prepared: list[PreparedReply | None] = [None] * (len(variants) + 1)
        """By the place in `_ranked`, made when they are first asked for; the last one stands for no match."""
        self._choices: dict[tuple[bytes, ...], dict[Selector, int]] = {}
        """By Vary and selector, the place in `_ranked`."""
        for place, entry in enumerate(self._ranked):
            self._choices.setdefault(entry.vary, {}).setdefault(entry.selector, place)
        self._names = frozenset[bytes]().union(*self._choices)

    @property
    def is_simple(self) -> bool:
        """Whether they agree so far on what they vary by that choosing is quickly done."""
        return len(self._choices) <= _CHOICES_MAX and not any(map(is_beyond_fields, self._names))

    def answer(self, fields: list[Field], bits: int, now: float) -> PreparedReply | BuiltReply | None:
        """Return what to send, or None when the request needs more thought."""
        if bits & (ODD | NOMINATES):
            return None  # a name may stand for one of ours, or a field that is there count as absent
        names = self._names
        said = (self._number, *[field for field in fields if field[0].lower() in names])
        place = _place_of(said)
        if place is None:
            place = self._choose(said)
        prepared = self._prepared[place]
        if prepared is None:
            if place == len(self._ranked):
                return None
            prepared = self._prepared[place] = PreparedReply(self._ranked[place], self._options)
        return prepared.answer(fields, bits, now)

    def _choose(self, said: tuple[Any, ...]) -> int:
        none = len(self._ranked)
        request = Request(b"GET", b"/", list(said[1:]), bits=0)
        place = min([places.get(selector(request, vary), none) for vary, places in self._choices.items()])
        _chosen.learn(said, place)
        return place


def _unknown(said: tuple[Any, ...]) -> int:
    raise KeyError(said)


_CHOICES_MAX = 4
_numbers = count()
_chosen: Memo[tuple[Any, ...], int] = Memo(
    bound("variants chosen", 2 * MIB, "the lines of the fields that a `Vary` names, and which variant they choose"),
    _unknown,
)
"""By the number of the guard, which is another one whenever anything changes under its key, and the lines as received.

Nothing else goes into the choice, so what is remembered cannot become wrong.
"""
_place_of: Final = _chosen.get


def prepare(variants: Sequence[Entry], options: Options) -> PreparedReply | PreparedVariants | None:
    """Return the guard for a key's variants.

    None where content does not lie in memory, where more than a request's fields chooses among them, or where
    they have too many a different Vary.
    """
    if not variants or any(entry.content.data is None for entry in variants):
        return None
    if len(variants) == 1 and not variants[0].vary:
        return PreparedReply(variants[0], options)
    prepared = PreparedVariants(variants, options)
    return prepared if prepared.is_simple else None
