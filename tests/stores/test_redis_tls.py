"""Redis over TLS, with certificates made for the test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.stores.backends import make_entry
from tests.stores.redis_backend import asked, node
from tests.stores.test_redis_store import refused
from tests.support.redis_server import RedisWithTLS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = b"http://a.test/"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisWithTLS]:
    running = RedisWithTLS(tmp_path)
    yield running
    running.close()


def test_a_certificate_opens(server: RedisWithTLS) -> None:
    async def test() -> None:
        async with node(server) as store:
            store.put(make_entry(KEY, b"x" * 1_000_000))
            (entry,) = await asked(store.lookup, KEY)
            assert entry.content.data == b"x" * 1_000_000

    asyncio.run(test())


def test_a_certificate_that_nobody_signed_is_said(server: RedisWithTLS) -> None:
    said = asyncio.run(refused(f"rediss://127.0.0.1:{server.port}"))
    assert "shows a certificate that is not trusted" in said[0]


def test_no_certificate_of_ours_is_said(server: RedisWithTLS) -> None:
    said = asyncio.run(refused(f"rediss://127.0.0.1:{server.port}?ca={server.files['ca']}"))
    assert "cannot be reached" in said[0]


def test_a_file_that_is_not_there_is_said(server: RedisWithTLS) -> None:
    said = asyncio.run(refused(f"rediss://127.0.0.1:{server.port}?ca=/nowhere.pem"))
    assert "cannot be reached" in said[0]


def test_plain_talk_to_a_server_with_tls_is_said(server: RedisWithTLS) -> None:
    said = asyncio.run(refused(f"redis://127.0.0.1:{server.port}"))
    assert "cannot be reached" in said[0]
