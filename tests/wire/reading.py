"""Readers that note what they read, fed whole, byte by byte, or cut anywhere."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from springhouse.http.fields import UPGRADE
from springhouse.wire.admission import Limits
from springhouse.wire.requests import RequestReader
from springhouse.wire.responses import Framing, ResponseReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from springhouse.http.fields import Field
    from springhouse.http.messages import Request, Response

LIMITS = Limits(target=200, header=1000, fields=20, content=100)


class Noted:
    """A message as it was read."""

    def __init__(self, head: Request | Response) -> None:
        self.head = head
        self.body = b""
        self.is_complete = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Noted) and repr(self) == repr(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        head = {name: getattr(self.head, name) for name in sorted(self.head.__slots__)}
        return f"{head} {self.body!r} {self.is_complete}"


class Requests(RequestReader):
    """Reads requests as a connection does. `rest`: what came behind an Upgrade that is taken."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        super().__init__(limits)
        self.read: list[Noted] = []
        self.rest: bytes | None = None

    def head_received(self) -> None:
        request = self.request("192.0.2.1", b"http")
        if request is not None:
            self.read.append(Noted(request))

    def content_received(self, data: bytes) -> None:
        self.read[-1].body += data

    def request_complete(self) -> None:
        self.read[-1].is_complete = True

    def is_ours(self, authority: bytes) -> bool:
        return authority == b"ours.test"

    def take(self, data: bytes) -> None:
        """Feed bytes, and go on behind an Upgrade as a connection does: held back, or parsed when it is ignored."""
        if self.rest is not None:
            self.rest += data
        elif data and self.refusal is None:
            self.feed(data)
            if self.upgrade_at is not None and self.refusal is None:
                behind = data[self.upgrade_at :]
                if self.read[-1].head.bits & UPGRADE:
                    self.rest = behind
                else:
                    self.restart()
                    self.take(behind)

    @property
    def outcome(self) -> tuple[list[Noted], int | None, bytes | None]:
        """Return everything that must not depend on how the bytes were cut."""
        if self.refusal and self.read and not self.read[-1].is_complete:
            self.read[-1].body = b""  # how much of it was seen is nobody's concern
        return self.read, self.refusal.status if self.refusal else None, self.rest


class Responses(ResponseReader):
    """Reads responses to requests with these methods, one after another, as a connection to an origin does."""

    def __init__(self, *methods: bytes, head_limit: int = 1000) -> None:
        super().__init__(head_limit)
        self.methods = list(methods or (b"GET",))
        self.read: list[Noted] = []
        self.interim: list[Noted] = []
        self.framings: list[tuple[Framing | None, int | None, bool]] = []
        self.expect(self.methods.pop(0))

    def interim_received(self, response: Response) -> None:
        self.interim.append(Noted(response))

    def answer_received(self, response: Response) -> None:
        self.read.append(Noted(response))
        self.framings.append((self.framing, self.length, self.is_keep_alive))

    def content_received(self, data: bytes) -> None:
        self.read[-1].body += data

    def answer_complete(self) -> None:
        assert not self.read[-1].is_complete, "complete only once"
        self.read[-1].is_complete = True

    @property
    def outcome(self) -> tuple[object, ...]:
        """Return everything that must not depend on how the bytes were cut."""
        return self.read, self.interim, self.framings, self.failure is not None, self.remainder


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Return the data cut at these offsets."""
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges) if start < stop]


def requests_in(chunks: Sequence[bytes], limits: Limits = LIMITS) -> Requests:
    """Return a reader that was fed these bytes until it would hear no more."""
    reader = Requests(limits)
    for chunk in chunks:
        reader.take(chunk)
    return reader


def byte_by_byte(data: bytes) -> list[bytes]:
    """Return the data in pieces of one byte."""
    return [data[i : i + 1] for i in range(len(data))]


def plain(fields: list[Field]) -> list[tuple[str, str]]:
    """Return fields as text, to be compared."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
