"""What a worker knows of the other workers: it can have a purge applied by all of them, and applies theirs.

The worker that was asked for a purge applies it itself, then calls `WorkerPeers.purge`; when `done` is called no other
worker serves what was purged. The supervisor sees to that: a worker that does not apply in time is killed.
"""

import asyncio
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from springhouse.rules.purging import Held, Purge, Receipt
from springhouse.server.channel import Answered, Applied, Apply, Ask, Message

HELD_BYTES = 1024 * 1024
"""How much a worker may say of what it held; so much for all of them together is HELD_BYTES_IN_ALL."""
HELD_BYTES_IN_ALL = 16 * HELD_BYTES
APPLY_S = 5.0
"""How long a worker may take to apply a purge."""
ANSWER_S = APPLY_S + 2.0
"""How long the supervisor may take to answer; it does in time unless it is stopped or starved."""

Spread = Callable[[Receipt, int], None]
"""Is given what a purge came to in the other workers together, and how many of them applied it."""
OnApplied = Callable[[Receipt], None]
OnPurge = Callable[[Purge, bool, OnApplied], None]
"""Applies a purge (or, when the second is true, only counts), and then answers with the receipt, at once or later."""


class WorkerPeers:
    """The other workers. All of it is for the thread of the event loop.

    `on_purge`: applies a purge of another worker. It must not wait for a purge of its own that is on its way: the
    other worker may be waiting just so. When it raises, nothing is answered, and the supervisor ends this worker.
    `answer_s`: seconds that the supervisor may take to answer.
    """

    def __init__(self, send: Callable[[Message], None], answer_s: float = ANSWER_S) -> None:
        self.on_purge: OnPurge | None = None
        self._send = send
        self._answer_s = answer_s
        self._asked: dict[int, tuple[Spread, asyncio.TimerHandle]] = {}
        self._number = 0
        self._is_alone = False

    def purge(self, purge: Purge, done: Spread, *, dry_run: bool = False) -> None:
        """Have all other workers apply a purge; `done` is called later, within `answer_s` seconds in any case.

        The receipt's `failure` is not empty when it is uncertain whether all have.
        """
        loop = asyncio.get_running_loop()
        if self._is_alone:
            loop.call_soon(done, Receipt(failure=_GONE), 0)
            return
        self._number += 1
        timer = loop.call_later(self._answer_s, self._answer, self._number, Receipt(failure=_LATE), 0)
        self._asked[self._number] = done, timer
        self._send(Ask(self._number, purge, dry_run))

    def received(self, message: Apply | Answered) -> None:
        """Take a message of the supervisor's."""
        if isinstance(message, Answered):
            self._answer(message.number, message.receipt, message.workers)
            return
        number = message.number

        def answered(receipt: Receipt) -> None:
            self._send(Applied(number, replace(receipt, held=_bounded(receipt.held, HELD_BYTES))))

        if self.on_purge is None:
            answered(Receipt())
            return
        try:
            self.on_purge(message.purge, message.dry_run, answered)
        except Exception as error:
            handler = asyncio.get_running_loop().call_exception_handler
            handler({"message": "A purge could not be applied; this process will be replaced", "exception": error})

    def ended(self) -> None:
        """Answer what was asked: the supervisor has gone, and no other answer comes."""
        self._is_alone = True
        for number in list(self._asked):
            self._answer(number, Receipt(failure=_GONE), 0)

    def _answer(self, number: int, receipt: Receipt, workers: int) -> None:
        if number not in self._asked:
            return
        done, timer = self._asked.pop(number)
        timer.cancel()
        done(receipt, workers)


_HELD_BYTES = 32
_GONE = "the process that reaches the other workers has ended"
_LATE = "the other workers were not reached in time"


def combined(receipts: Iterable[Receipt]) -> Receipt:
    """Return several workers' receipts as one: what lay in two of them counts twice, unless it is only `held`."""
    found = list(receipts)
    return Receipt(
        keys=sum(r.keys for r in found),
        entries=sum(r.entries for r in found),
        size=sum(r.size for r in found),
        failure="; ".join(dict.fromkeys(r.failure for r in found if r.failure)),
        processes=sum(r.processes for r in found),
        held=_bounded((item for r in found for item in r.held), HELD_BYTES_IN_ALL),
    )


def _bounded(held: Iterable[Held], most: int) -> tuple[Held, ...]:
    """Return as much of what was held as so many bytes can say; the rest counts only if the store has it."""
    said = []
    for item in held:
        most -= len(item.key) + _HELD_BYTES
        if most < 0:
            break
        said.append(item)
    return tuple(said)
