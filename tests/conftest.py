"""Fixtures for tests on real sockets, and an environment that says nothing to the settings."""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that `tests.support` can be imported

from tests.support.clock import Clock
from tests.support.loops import StandingLoop
from tests.support.origin import Origin
from tests.support.proxy import Pace, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Serve = Callable[..., Proxy]

RUNTIME = tempfile.TemporaryDirectory(prefix="springhouse-run-", ignore_cleanup_errors=True)
os.environ["XDG_RUNTIME_DIR"] = RUNTIME.name  # where proxies have their control sockets
os.environ.pop("RUNTIME_DIRECTORY", None)

for name in [name for name in os.environ if name.upper().startswith("SPRINGHOUSE_") or name.upper() == "CACHE_TTL"]:
    del os.environ[name]


settings.register_profile("a machine of any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("a machine of any speed")


@pytest.fixture
def clock() -> Clock:
    """Return the clock of every proxy the test starts; it goes only when the test says so."""
    return Clock()


@pytest.fixture
def origin() -> Iterator[Origin]:
    """Start an origin."""
    with Origin() as running:
        yield running


@pytest.fixture
def pace() -> Pace:
    """Return how often the proxies of a test look at their connections; a test that waits for that overrides it."""
    return Pace()


@pytest.fixture
def serve(origin: Origin, clock: Clock, pace: Pace) -> Iterator[Serve]:
    """Return a function that starts a proxy in front of the origin; keyword arguments are settings."""
    started: list[Proxy] = []

    def start(url: str | None = None, **settings: object) -> Proxy:
        started.append(Proxy(url or origin.url, **{"clock": clock, "pace": pace, **settings}))
        return started[-1]

    yield start
    for proxy in started:
        proxy.close()


@pytest.fixture
def standing(serve: Serve) -> Serve:
    """Return `serve` for proxies whose deadlines come when the test calls `pass_time`."""
    return partial(serve, loop=StandingLoop)


@pytest.fixture
def proxy(serve: Serve) -> Proxy:
    """Start a proxy with default settings in front of the origin."""
    return serve()
