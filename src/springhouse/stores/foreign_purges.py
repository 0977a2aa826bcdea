"""The purges of other processes: applied here before anything more is served from memory.

Memory may hold what another process has purged from the tier that they share. So nothing is served from it while the
tier says that there are foreign purges this process has not applied (`is_behind`). Lookups wait until they have been
fetched; if that takes longer than the tier's patience, lookups are misses until it is done.
"""

from collections.abc import Callable, Sequence

from springhouse.rules.purging import Purge
from springhouse.stores.tier import Tier, Timing

CaughtUpOrNot = Callable[[bool], object]
"""Called with whether memory is what the purges of other processes have left of it."""


class ForeignPurges:
    """Those of one tier. `apply` is called with each; `report_slowness` when they take too long to fetch."""

    def __init__(
        self, tier: Tier, timing: Timing, *, apply: Callable[[Purge], object], report_slowness: Callable[[], None]
    ) -> None:
        self._tier = tier
        self._timing = timing
        self._apply = apply
        self._report_slowness = report_slowness
        self._waiting: list[CaughtUpOrNot] | None = None
        """What waits until they are applied; None when none are being fetched."""
        self.is_overdue = False
        """They take too long to fetch: lookups do not wait for them."""

    def is_behind(self) -> bool:
        """Return whether memory may hold what another process has purged."""
        return self._waiting is not None or self._tier.has_foreign_purges()

    def catch_up(self, go_on: CaughtUpOrNot) -> None:
        """Go on when all are applied, at once if they are; or without that, when they take too long."""
        if not self.is_behind() or self.is_overdue:
            go_on(not self.is_overdue)
            return
        if self._waiting is None:
            self._waiting = []
            self._tier.catch_up(self._fetched)
            self._timing.call_later(self._tier.patience, self._go_on_without)
        self._waiting.append(go_on)

    def _fetched(self, purges: Sequence[Purge]) -> None:
        for purge in purges:
            self._apply(purge)
        waiting, self._waiting = self._waiting, None
        self.is_overdue = False
        for go_on in waiting or ():
            go_on(True)

    def _go_on_without(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self.is_overdue = True
            self._report_slowness()
            for go_on in waiting:
                go_on(False)
