"""The machine's clock is put back beneath running proxies."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fleet.node import Node
    from tests.support.origin import Origin

    Start = Callable[..., Node]

HOUR = 3600
_CLOCK = """
import os, time
_time = time.time
def _back():
    try:
        return float(os.readlink({path!r}))
    except OSError:
        return 0.0
time.time = lambda: _time() - _back()
"""


class Machine:
    """A clock that all processes read which are started with its environment."""

    def __init__(self, folder: Path) -> None:
        self._back = folder / "back"
        (folder / "sitecustomize.py").write_text(_CLOCK.format(path=str(self._back)))
        self.env = {"PYTHONPATH": str(folder)}

    def put_back(self, seconds: float) -> None:
        self._back.unlink(missing_ok=True)
        self._back.symlink_to(str(seconds))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    folder = tmp_path / "machine"
    folder.mkdir()
    return Machine(folder)


@pytest.mark.parametrize("options", [{"workers": 2}, {"frontend": "fastapi"}], ids=["two workers", "fastapi"])
def test_running_processes_notice(
    origin: Origin, start: Start, machine: Machine, tmp_path: Path, options: dict[str, object]
) -> None:
    origin.otherwise = answer(b"first", cache_control="max-age=600")
    node = start(store=f"disk:{tmp_path / 'store'}", env=machine.env, **options)
    node.fill("/x")
    origin.otherwise = answer(b"second", cache_control="max-age=600")
    machine.put_back(HOUR)
    time.sleep(1.2)  # a second is what they may take
    assert {node.get("/x").body for _ in range(10)} == {b"second"}
    assert "the clock was put back by 3600 s" in node.errors
