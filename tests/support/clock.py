"""A clock that goes only when a test says so."""


class Clock:
    """Seconds since 1970, as the proxy's engine reads them."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
