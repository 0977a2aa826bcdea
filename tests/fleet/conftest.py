"""Fixtures for tests of whole proxies: nodes as processes, a disk folder, a real Redis."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from tests.fleet.node import Node
from tests.support.redis_server import redis_server, shared_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.origin import Origin

    Start = Callable[..., Node]

__all__ = ["redis_server", "shared_redis"]

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]  # they look at processes by /proc


@pytest.fixture
def start(origin: Origin) -> Iterator[Start]:
    """Return a function that starts a node before the origin; positional arguments are another command."""
    started: list[Node] = []

    def run(*command: str, **options: object) -> Node:
        started.append(Node(*command, **{"origin": origin.url, **options}))
        started[-1].started()
        return started[-1]

    yield run
    for node in started:
        node.close()
