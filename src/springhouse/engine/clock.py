"""The one place that reads the clock: seconds since 1970. Tests put their own function here."""

from collections.abc import Callable
from time import time

Clock = Callable[[], float]

wall: Clock = time
