"""The front ends, started once for all tests that they serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.frontends.together import Together

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package")
def together() -> Iterator[Together]:
    """Start every front end."""
    running = Together("--connect-timeout", "2", "--max-body", "1MiB", "--max-object", "1MiB")
    yield running
    running.close()


@pytest.fixture(scope="module")
def classics() -> Iterator[Together]:
    """Start every front end with the classic endpoints."""
    running = Together("--classic", "--ttl", "60")
    yield running
    running.close()
