"""The limits of a store in Redis: sizes, times, and how many of what."""

from dataclasses import dataclass, field, replace

from springhouse.stores.redis.layout import Lifetimes
from springhouse.stores.redis.leases import RedisLeaseLimits
from springhouse.stores.redis.link import LinkLimits
from springhouse.stores.redis.log import LogLimits

_ASK_TIMES = 5
"""Asking for a lease may take this many times as long as a lookup, up to `RedisLeaseLimits.ask`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisLimits:
    """Sizes in bytes.

    Content up to `inline_max` stands beside its record, larger content in chunks. Of what a lookup finds, up to
    `whole_max` in all is returned as bytes if there is time, the rest as StoredContent. `waiting_max`: how much may
    wait to be written.
    """

    inline_max: int = 64 * 1024
    whole_max: int = 2**20
    waiting_max: int = 32 * 2**20
    variants_max: int = 64
    link: LinkLimits = field(default_factory=LinkLimits)
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    leases: RedisLeaseLimits = field(default_factory=RedisLeaseLimits)
    log: LogLimits = field(default_factory=LogLimits)

    def with_patience(self, seconds: float) -> "RedisLimits":
        """Return limits with which a lookup may take so long. What else a request waits for follows from that."""
        link = replace(self.link, patience=seconds, limit=max(self.link.limit, 2 * seconds))
        ask = max(seconds, min(self.leases.ask, _ASK_TIMES * seconds))
        return replace(self, link=link, leases=replace(self.leases, ask=ask))
