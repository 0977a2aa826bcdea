"""The one place that reads clocks. Tests put their own function in the place of `wall`."""

from collections.abc import Callable
from time import monotonic, time

Clock = Callable[[], float]

wall: Clock = time
"""Seconds since 1970."""
steady: Clock = monotonic
"""Seconds since whenever; nobody puts it back."""
