"""How many examples the tests of laws try: a quarter by default, all of them with EXAMPLES=all (`make laws`)."""

from __future__ import annotations

import os


def examples(count: int) -> int:
    """Return how many of so many examples to try."""
    return count if os.environ.get("EXAMPLES") == "all" else max(10, count // 4)
