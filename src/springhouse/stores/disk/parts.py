"""What the parts of a disk store have in common: its limits, and what they all work with."""

from collections.abc import Callable
from dataclasses import dataclass, field

from springhouse.stores.codec import Codec
from springhouse.stores.disk.files import Bodies, Deliver
from springhouse.stores.disk.leases import DiskLeaseLimits
from springhouse.stores.disk.shared import Shared
from springhouse.stores.errors import StoreErrors


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskLimits:
    """Sizes in bytes, times in seconds. Content up to `inline_max` stands in the database, larger in files; up to
    `whole_max` it is found as bytes, larger as StoredContent. `budget`: bytes on the disk in all; `waiting_max`: what
    may wait in memory to be written; `readers`: how many threads look entries up; `purges_kept`: a process that missed
    more purges than that forgets everything; `patience`: how long a lookup may take."""

    budget: int = 2**30
    inline_max: int = 64 * 1024
    whole_max: int = 8 * 2**20
    waiting_max: int = 32 * 2**20
    variants_max: int = 64
    readers: int = 2
    purges_kept: int = 10_000
    patience: float = 1.0
    leases: DiskLeaseLimits = field(default_factory=DiskLeaseLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskParts:
    """What readers and operations work with. `is_hot`: whether a key is in use in memory, so that it is not evicted."""

    codec: Codec
    bodies: Bodies
    shared: Shared
    errors: StoreErrors
    deliver: Deliver
    limits: DiskLimits
    is_hot: Callable[[bytes], bool]
