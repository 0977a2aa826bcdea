"""When to leave a server alone that fails, and when to ask it again. Pure: instants are arguments.

Closed: all may pass. After `threshold` failures in a row it opens: nobody passes. When it has rested, one probe may
pass (half-open); it closes the breaker by succeeding, or opens it for longer by failing.
"""

LONGEST = 8.0
"""How many times `rest_s` a rest may get."""


class Breaker:
    """A circuit breaker. `rest_s`: seconds of the first rest; each failed probe doubles it, up to LONGEST times."""

    __slots__ = ("_failures", "_is_probing", "_rest", "_threshold", "_until", "is_closed", "rest_s")

    def __init__(self, threshold: int, rest_s: float) -> None:
        self.is_closed = True
        """Requests may pass."""
        self.rest_s = rest_s
        self._threshold = threshold
        self._failures = 0
        self._rest = rest_s
        self._until = 0.0
        self._is_probing = False

    def succeeded(self) -> None:
        """Note that the server answered."""
        self.is_closed = True
        self._failures = 0
        self._rest = self.rest_s
        self._is_probing = False

    def failed(self, now: float) -> bool:
        """Note that it did not, or too late; return whether this has opened the breaker."""
        if not self.is_closed:
            if self._is_probing:
                self._is_probing = False
                self._rest = min(2 * self._rest, LONGEST * self.rest_s)
                self._until = now + self._rest
            return False
        self._failures += 1
        if self._failures < self._threshold:
            return False
        self.open(now)
        return True

    def open(self, now: float) -> None:
        """Note that it is known not to answer."""
        self.is_closed = False
        self._until = now + self._rest

    def may_probe(self, now: float) -> bool:
        """Say whether one request may try an open breaker; who asks and gets True is that one."""
        if self.is_closed or self._is_probing or now < self._until:
            return False
        self._is_probing = True
        return True

    def rests_for(self, now: float) -> float:
        """Return the seconds until a probe makes sense."""
        return max(0.0, self._until - now)
