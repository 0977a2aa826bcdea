"""Where entries live: in memory, and in a tier behind it (a disk, Redis) that outlives the process or is shared.

What a package needs that adds a tier of its own, by an entry point of the group `springhouse.tiers`, is exported here.
"""

from springhouse.stores.content import StoredContent
from springhouse.stores.errors import Unusable
from springhouse.stores.kinds import TierKind, TierOptions
from springhouse.stores.tier import Arriving, CaughtUp, LookedUp, OnProgress, Purged, Tier

__all__ = [
    "Arriving",
    "CaughtUp",
    "LookedUp",
    "OnProgress",
    "Purged",
    "StoredContent",
    "Tier",
    "TierKind",
    "TierOptions",
    "Unusable",
]
