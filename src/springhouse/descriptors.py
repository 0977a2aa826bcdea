"""File descriptors: how many a process may have open, and which connections are given up if they are too few.

Every client and every connection to an origin takes one. A server whose clients have taken all of them can no longer
reach an origin, nor even turn a client away: so the limit is raised as far as the system allows, and if that is not
enough, fewer clients are let in.
"""

import sys

from springhouse.settings import Settings
from springhouse.stores.kinds import is_local

if sys.platform != "win32":
    import resource

RESERVE = 128
"""For everything else: event loops, listening sockets, stores, logs, channels, clients that are being turned away."""


def fitted(settings: Settings) -> Settings:
    """Return the settings with no more connections than there are descriptors; a line on standard error says if fewer.

    Raises this process's limit, which its children inherit. All numbers are per process, as are those of the settings.
    """
    wanted = settings.max_connections + _beside(settings, settings.origin_connections) + RESERVE
    limit = _raised(wanted)
    if limit is None or limit >= wanted:
        return settings
    free = limit - min(RESERVE, limit // 3)
    origins = max(1, min(settings.origin_connections, free // (1 + _beside(settings, 1))))
    clients = max(1, min(settings.max_connections, free - _beside(settings, origins)))
    print(
        f"springhouse: only {limit} files may be open (ulimit -n), {wanted} are wanted: serving {clients} clients "
        f"at once instead of {settings.max_connections}, with {origins} connections to the origin",
        file=sys.stderr,
    )
    return settings.model_copy(update={"max_connections": clients, "origin_connections": origins})


def _beside(settings: Settings, origins: int) -> int:
    """Return the descriptors that so many connections to the origin take: with a disk, a file each for what comes."""
    return 2 * origins if is_local(settings.store) else origins


def _raised(wanted: int) -> int | None:
    """Raise the limit to what is wanted, or as far as is allowed, and return it; None for no limit."""
    if sys.platform == "win32":
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    for most in (wanted, 10_240):  # macOS allows no more than the second, whatever its hard limit says
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            if allowed > soft:
                resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        except (ValueError, OSError):
            continue
        return max(soft, allowed)
    return soft
