"""`--store disk` and `disk:FOLDER`: where the folder of a disk store is, and the tier that is opened there."""

import re
from hashlib import blake2b
from pathlib import Path

from platformdirs import user_cache_dir

from springhouse.stores.disk.leases import DiskLeaseLimits
from springhouse.stores.disk.parts import DiskLimits
from springhouse.stores.disk.tier import DiskTier
from springhouse.stores.kinds import TierKind, TierOptions

_PATIENCE_S = 1.0


def folder_of(url: str, origin: str) -> Path:
    """Return the folder of a disk store: the one named, or one for this origin under the user's cache folder."""
    named = url.partition(":")[2]
    if named:
        return Path(named).expanduser()
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", origin.partition("://")[2] or "no-origin")
    digest = blake2b(origin.encode(), digest_size=4).hexdigest()
    return folders() / f"{name[:80]}-{digest}"


def folders() -> Path:
    """Return where the disk stores of all origins are, unless they were given a folder."""
    return Path(user_cache_dir("springhouse", appauthor=False))


def _open(options: TierOptions) -> DiskTier:
    patience = options.patience or _PATIENCE_S
    limits = DiskLimits(
        budget=options.budget,
        variants_max=options.variants_max,
        whole_max=options.whole_max,
        waiting_max=options.waiting_max,
        patience=patience,
        leases=DiskLeaseLimits(written=patience),
    )
    folder = folder_of(options.url, options.origin)
    return DiskTier(folder, limits, loop=options.loop, secret=options.secret, is_hot=options.is_hot)


def _check(url: str) -> None:
    if url == "disk:":
        raise ValueError("which folder? Write disk:FOLDER, or disk for one of its own under the user's cache folder")


DISK_KIND = TierKind(open=_open, check=_check, is_local=True)
