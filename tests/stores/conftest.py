"""Fixtures that several tests of stores need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.stores.backends import Loop
from tests.stores.neighbour import Neighbour
from tests.support.redis_server import redis_server, shared_redis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["redis_server", "shared_redis"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def neighbour(folder: Path) -> Iterator[Neighbour]:
    running = Neighbour(folder)
    yield running
    running.end()
