"""Requests, responses, entries for the tables of the rules: fields as on the wire, dates relative to NOW."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from springhouse.http.content import MemoryContent
from springhouse.http.messages import Request, Response
from springhouse.rules.answer import Answer
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.rules.storing import keep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from springhouse.http.fields import Field

NOW = 1_800_000_000.0
KEY = b"http://origin.test/"
BARE = Options()
"""The bare standard: no settings of ours bend anything."""


def date(offset: float = 0) -> str:
    """Return the HTTP-date `offset` seconds after NOW."""
    return formatdate(NOW + offset, usegmt=True)


def fields(*lines: str) -> list[Field]:
    """Return fields for lines such as "Cache-Control: no-cache"."""
    pairs = [line.partition(":") for line in lines]
    return [(name.encode("latin-1"), value.strip().encode("latin-1")) for name, _, value in pairs]


def get(
    *lines: str,
    method: bytes = b"GET",
    target: bytes = b"/",
    has_content: bool = False,
    authority: bytes = b"cache.test",
) -> Request:
    """Return a GET with these fields."""
    return Request(method, target, fields(*lines), authority=authority, has_content=has_content)


def head(*lines: str) -> Request:
    """Return a HEAD with these fields."""
    return get(*lines, method=b"HEAD")


def ok(*lines: str, status: int = 200) -> Response:
    """Return a 200 with these fields."""
    return Response(status, fields(*lines))


def stored(
    *lines: str,
    request: Request | None = None,
    status: int = 200,
    content: bytes = b"content",
    at: float = NOW,
    options: Options = BARE,
    key: bytes = KEY,
) -> Entry:
    """Return the entry that a response with these fields, asked for and received `at`, becomes."""
    answer = Answer(ok(*lines, status=status), at, at, len(content))
    entry = keep(request or get(), key, answer, options)
    assert isinstance(entry, Entry), entry
    entry.content = MemoryContent(content)
    return entry


def table(names: str, rows: Sequence[tuple[Any, ...]]) -> pytest.MarkDecorator:
    """Parametrize by the rows of a table whose first column says what the row is about."""
    return pytest.mark.parametrize(names.split(), rows, ids=[row[0] for row in rows])
