"""A circuit breaker: when to stop asking a server that fails, and when to ask again. Pure: instants are arguments.

    state       event                             next state
    CLOSED      `threshold` failures in a row     OPEN
    CLOSED      known not to answer               OPEN
    OPEN        rested, and a probe is wanted     HALF_OPEN
    HALF_OPEN   success                           CLOSED
    HALF_OPEN   failure                           OPEN, for twice as long
    any         success                           CLOSED

CLOSED lets everything pass, OPEN nothing, HALF_OPEN the one probe. A failure while OPEN is one of what was in flight
when it opened, and changes nothing.
"""

from enum import Enum
from typing import Final

LONGEST: Final = 8.0
"""How many times `rest_s` a rest may last."""


class State(Enum):
    """What a circuit breaker lets pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitBreaker:
    """Closed at first. `rest_s`: seconds of the first rest; each failed probe doubles it, up to LONGEST times."""

    __slots__ = ("_failures", "_rest", "_state", "_threshold", "_until", "rest_s")

    def __init__(self, threshold: int, rest_s: float) -> None:
        self.rest_s = rest_s
        self._state = State.CLOSED
        self._threshold = threshold
        self._failures = 0
        self._rest = rest_s
        self._until = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether requests may pass."""
        return self._state is State.CLOSED

    def succeeded(self) -> None:
        """Record that the server answered."""
        self._state = State.CLOSED
        self._failures = 0
        self._rest = self.rest_s

    def failed(self, now: float) -> bool:
        """Record that the server did not answer, or too late; return whether this has opened a closed breaker."""
        match self._state:
            case State.OPEN:
                return False
            case State.HALF_OPEN:
                self._rest = min(2 * self._rest, LONGEST * self.rest_s)
                self.open(now)
                return False
            case State.CLOSED:
                self._failures += 1
                if self._failures < self._threshold:
                    return False
                self.open(now)
                return True

    def open(self, now: float) -> None:
        """Record that the server is known not to answer."""
        self._state = State.OPEN
        self._until = now + self._rest

    def may_probe(self, now: float) -> bool:
        """Return whether one request may try an open breaker: True makes the caller's the one."""
        if self._state is not State.OPEN or now < self._until:
            return False
        self._state = State.HALF_OPEN
        return True

    def rests_for(self, now: float) -> float:
        """Return the seconds until a probe makes sense."""
        return max(0.0, self._until - now)
