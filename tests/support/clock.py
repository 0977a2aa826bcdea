"""A clock that goes only when a test says so."""


class Clock:
    """Seconds since 1970, as the proxy's engine reads them."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self._put_back = 0.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def put_back(self, seconds: float) -> None:
        """Let somebody set the clock to an earlier time; a negative number: to a later one."""
        self.now -= seconds
        self._put_back += seconds

    def steady(self) -> float:
        """Return the time as a clock has it that nobody sets."""
        return self.now + self._put_back
