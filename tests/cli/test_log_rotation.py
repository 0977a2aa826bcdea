"""SIGHUP: the access log goes on in a new file, as log rotation wants it."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer
from tests.support.processes import Running, await_that

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.origin import Origin

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGHUP on Windows")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_log_goes_on_in_a_new_file(origin: Origin, tmp_path: Path, workers: int) -> None:
    origin.on("/a", answer(b"a"))
    log, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    with Running(origin=origin.url, workers=workers, access_log=log) as proxy:
        proxy.started()
        with proxy.connect() as client:
            assert client.get("/a").status == 200
            await_that(lambda: "/a" in log.read_text(), "a line in the log")
            log.rename(moved)
            proxy.process.send_signal(signal.SIGHUP)
            await_that(log.exists, "a new file")
            before = moved.read_text()
            # Each worker reopens when it comes to it: ask until a line stands in the new file.
            await_that(lambda: client.get("/a").status == 200 and "/a" in log.read_text(), "a line in the new file")
            assert moved.read_text().startswith(before)
            assert client.get("/a").status == 200


def test_without_a_log_it_is_ignored(origin: Origin) -> None:
    origin.on("/a", answer(b"a"))
    with Running(origin=origin.url) as proxy:
        proxy.started()
        proxy.process.send_signal(signal.SIGHUP)
        with proxy.connect() as client:
            assert client.get("/a").status == 200
