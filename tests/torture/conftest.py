"""Hostile clients in numbers, and what they cost: whole processes, thousands of requests, resident memory.

Too long for `make test`; `make torture` runs them, and CI does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder, so that only `-m torture` runs them."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.torture)
