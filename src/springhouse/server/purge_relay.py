"""Purges on their way through the supervisor to all workers, and the answer once they have arrived.

A purge goes to every worker that serves, but for the one that asked. It has arrived when each of them has applied it
or is dead: a dead worker's memory is gone, and its successor begins with an empty one. One that neither
answers nor dies in time is killed, since it would go on serving what was purged.
"""

import asyncio
from typing import Protocol

from springhouse.rules.purging import Receipt
from springhouse.server.channel import Answered, Applied, Apply, Ask, Message
from springhouse.server.peers import APPLY_S, combined


class Member(Protocol):
    """A worker that serves."""

    def send(self, message: Message) -> None:
        """Send it a message."""

    def kill(self, why: str) -> None:
        """End it at once; `PurgeRelay.left` is called when it has gone."""


class _Relayed:
    """One purge that was asked for."""

    def __init__(self, asker: Member, number: int, awaited: set[Member]) -> None:
        self.asker = asker
        self.number = number
        """The asker's."""
        self.awaited = awaited
        self.receipts: list[Receipt] = []
        self.timer: asyncio.TimerHandle | None = None


class PurgeRelay:
    """The workers that serve, and the purges they have not all applied. `seconds`: how long a worker may take."""

    def __init__(self, seconds: float = APPLY_S) -> None:
        self.members: set[Member] = set()
        self._seconds = seconds
        self._open: dict[int, _Relayed] = {}
        self._number = 0

    def joined(self, member: Member) -> None:
        """Send a worker every purge from now on: it serves."""
        self.members.add(member)

    def left(self, member: Member) -> None:
        """Wait no longer for a worker that is dead."""
        self.members.discard(member)
        for number, relayed in list(self._open.items()):
            relayed.awaited.discard(member)
            self._answer_if_complete(number, relayed)

    def asked(self, asker: Member, ask: Ask) -> None:
        """Send a purge on its way."""
        self._number += 1
        number = self._number
        relayed = self._open[number] = _Relayed(asker, ask.number, self.members - {asker})
        relayed.timer = asyncio.get_running_loop().call_later(self._seconds, self._is_late, relayed)
        for member in relayed.awaited:
            member.send(Apply(number, ask.purge, ask.dry_run))
        self._answer_if_complete(number, relayed)

    def applied(self, member: Member, applied: Applied) -> None:
        """Take a worker's receipt; answer when it was the last."""
        relayed = self._open.get(applied.number)
        if relayed is None or member not in relayed.awaited:
            return
        relayed.awaited.discard(member)
        relayed.receipts.append(applied.receipt)
        self._answer_if_complete(applied.number, relayed)

    def _is_late(self, relayed: _Relayed) -> None:
        relayed.timer = None
        for member in list(relayed.awaited):
            member.kill(f"did not apply a purge within {self._seconds:g} s and was killed")

    def _answer_if_complete(self, number: int, relayed: _Relayed) -> None:
        if relayed.awaited:
            return
        del self._open[number]
        if relayed.timer is not None:
            relayed.timer.cancel()
        receipts = relayed.receipts
        relayed.asker.send(Answered(relayed.number, combined(receipts), len(receipts)))
