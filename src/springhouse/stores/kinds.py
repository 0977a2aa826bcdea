"""Kinds of tiers, by the scheme of `--store`: `disk`, `redis://…`, and those of other packages.

A package adds a kind by an entry point of the group `springhouse.tiers` whose name is the scheme, and which leads to a
TierKind. What is installed is looked through only for a scheme that is not built in: that takes long.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from springhouse.stores.tier import EventLoop, Tier, is_never_hot

MEMORY: Final = "memory"
"""No tier."""
GROUP: Final = "springhouse.tiers"
_BUILT_IN: Final = {
    "disk": ("springhouse.stores.disk.kind", "DISK_KIND"),
    "redis": ("springhouse.stores.redis.kind", "REDIS_KIND"),
    "rediss": ("springhouse.stores.redis.kind", "REDIS_KIND"),
    "redis+cluster": ("springhouse.stores.redis.kind", "REDIS_KIND"),
    "unix": ("springhouse.stores.redis.kind", "REDIS_KIND"),
}
"""Modules, loaded when they are needed, and what the kind is called there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierOptions:
    """What a tier is opened with. Sizes in bytes, times in seconds.

    `url`: as in `--store`; `origin`: the URL of the origin, for which it stores, "" if there is none. `budget`: what it
    may take in all, where it can limit that; `whole_max`: larger content is found as StoredContent; `waiting_max`: what
    may wait in memory to be stored. `secret`: signs what is stored, if not empty; `prefix`: what names begin with,
    where others use the same store. `patience`: how long a lookup may take, None for what is usual with this kind.
    `wall`: the engine's clock; `is_hot`: may be called on any thread with a key, whether it is in use in memory.
    """

    url: str
    loop: EventLoop
    wall: Callable[[], float]
    is_hot: Callable[[bytes], bool] = is_never_hot
    origin: str = ""
    budget: int
    whole_max: int
    waiting_max: int
    variants_max: int
    secret: bytes = b""
    prefix: str = ""
    patience: float | None = None


def _check_nothing(_url: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class TierKind:
    """A kind of tier. `open` is called on the thread of the running loop; it raises Unusable or ValueError, whose text
    the operator is shown. `check` raises ValueError for a URL that can never be right, before anything is opened.
    `is_local`: it takes this machine's disk, up to the budget, and a file descriptor for each large content.
    """

    open: Callable[[TierOptions], Tier]
    check: Callable[[str], None] = _check_nothing
    is_local: bool = False


def scheme_of(url: str) -> str:
    """Return the scheme: what comes before the colon, or all of it."""
    return url.partition(":")[0]


def kind_of(url: str) -> TierKind:
    """Return the kind of tier that a store's URL names. Raises ValueError, with what is known."""
    scheme = scheme_of(url)
    kind = _built_in(scheme) if scheme in _BUILT_IN else _installed(url)
    if not isinstance(kind, TierKind):
        raise ValueError(f"The entry point {scheme} of {GROUP} is no TierKind")
    return kind


def check(url: str) -> None:
    """Raise ValueError for what cannot be a store."""
    if url != MEMORY:
        kind_of(url).check(url)


def is_local(url: str) -> bool:
    """Return whether a store takes this machine's disk."""
    return url != MEMORY and kind_of(url).is_local


def _built_in(scheme: str) -> object:
    module, name = _BUILT_IN[scheme]
    kind: object = getattr(import_module(module), name)
    return kind


def _installed(url: str) -> object:
    from importlib.metadata import entry_points  # noqa: PLC0415 - takes long, and is seldom needed

    scheme = scheme_of(url)
    found = {point.name: point for point in entry_points(group=GROUP)}
    if scheme in found:
        return found[scheme].load()
    known = ", ".join(sorted({MEMORY, *_BUILT_IN, *found}))
    raise ValueError(f"{url!r} is no store; known are {known}")
