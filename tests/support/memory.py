"""What the system says of a process's memory."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest


def resident(pid: int) -> int:
    """Return the resident bytes of a process. Skips the test where the system has no /proc."""
    if sys.platform != "linux":
        pytest.skip("resident memory is read from /proc, which only Linux has")
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found, f"process {pid} has no memory"
    return int(found[1]) * 1024
