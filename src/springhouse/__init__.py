"""Springhouse, an HTTP caching proxy.

Applications import `Settings` from here, and what they build with it from `springhouse.asgi` and `springhouse.wsgi`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from springhouse.settings import BadSettings, Settings

__all__ = ["BadSettings", "Settings", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import the settings when they are first asked for: commands that need none start without them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from springhouse import settings  # noqa: PLC0415

    return getattr(settings, name)
