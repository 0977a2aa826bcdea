"""What every store promises, kept by Redis, alone and under memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.stores.backends import Loop
from tests.stores.redis_backend import ON_REDIS
from tests.stores.test_contract import *  # noqa: F403 - the suite
from tests.support.redis_server import keys_without_expiry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.stores.backends import Subject
    from tests.support.redis_server import RedisServer


@pytest.fixture(params=ON_REDIS)
def store(request: pytest.FixtureRequest, tmp_path: Path, loop: Loop, shared_redis: RedisServer) -> Iterator[Subject]:
    subject = ON_REDIS[request.param](shared_redis, tmp_path / "store", loop)
    yield subject
    subject.close()
    assert keys_without_expiry(shared_redis) == []
