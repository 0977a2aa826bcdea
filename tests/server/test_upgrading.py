"""What comes behind a request to change protocols: held up to a bound, then let through or read as requests."""

from __future__ import annotations

import asyncio

from springhouse.http.memo import BOUNDS
from springhouse.server.reading import FOR_CONTENT, Pauses
from springhouse.server.upgrading import Upgrade
from springhouse.transport.content import RequestContent

PART = 16 * 1024
HELD = BOUNDS["other protocol"].limit


class Reading(asyncio.Transport):
    """A transport of which only reading matters."""

    is_paused = False

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return False


def filled(transport: Reading) -> tuple[Upgrade, Pauses]:
    """Return an upgrade that has been given bytes for as long as it read any."""
    pauses = Pauses(transport)
    upgrade = Upgrade(pauses)
    for _ in range(HELD // PART + 1):
        if transport.is_paused:
            break
        upgrade.take(bytes(PART))
    return upgrade, pauses


def test_only_so_much_is_held_while_the_origin_has_not_answered() -> None:
    transport = Reading()
    upgrade, _ = filled(transport)
    assert transport.is_paused
    assert upgrade.held is not None
    assert len(upgrade.held) <= HELD


def test_what_was_held_goes_through_once_the_origin_has_switched() -> None:
    transport = Reading()
    upgrade, _ = filled(transport)
    upgrade.take(b"last")
    carried: list[RequestContent] = []
    upgrade.switch(carried.append)
    assert upgrade.tunnel is carried[0]
    assert upgrade.held is None
    assert bytes(carried[0].held).endswith(b"last")


def test_what_was_held_are_further_requests_when_it_declines() -> None:
    transport = Reading()
    upgrade, pauses = filled(transport)
    upgrade.take(b"GET / HTTP/1.1")
    pauses.hold(FOR_CONTENT)
    held = upgrade.decline()
    assert held is not None
    assert held.endswith(b"GET / HTTP/1.1")
    assert transport.is_paused, "there is another reason"
    pauses.release(FOR_CONTENT)
    assert not transport.is_paused
    assert upgrade.decline() is None
