"""What an exchange uses of the engine that made it."""

from collections.abc import Callable
from typing import Protocol

from springhouse.engine.cache import Cache
from springhouse.engine.clock import Clock
from springhouse.engine.fence import Fence
from springhouse.engine.flights import Flights
from springhouse.engine.ports import Upstream
from springhouse.exchange.reply import Reply
from springhouse.http.messages import Request
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.stores.store import Store


class ExchangeContext(Protocol):
    """See `engine.Engine`."""

    cache: Cache
    clock: Clock
    fence: Fence
    flights: Flights
    options: Options
    store: Store
    translate: Callable[[Reply], Reply] | None
    upstream: Upstream

    def refresh(self, request: Request, key: bytes, entry: Entry) -> None:
        """Revalidate an entry for no client."""
