"""The measuring itself: a figure nobody has checked proves nothing."""

from __future__ import annotations

import os

from tests.support.memory import resident


def test_resident_memory_is_what_the_system_says_and_grows_with_what_is_held() -> None:
    before = resident(os.getpid())
    held = b"x" * (64 << 20)
    after = resident(os.getpid())
    assert 56 << 20 < after - before < 72 << 20
    assert len(held) == 64 << 20
