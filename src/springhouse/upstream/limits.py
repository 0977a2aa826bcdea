"""How long an origin may take, and how much of it there may be."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Seconds to wait (connect, for the head, between content, in total, without a client; 0: no limit), and how much.

    `connections`: at most so many at once; `idle`: seconds an unused one is kept; `head`: bytes of an answer's head.
    `linger`: seconds an origin may take to read what was written before its connection closes.
    `sweep`: seconds between two comparisons of all deadlines.
    """

    connect: float = 5.0
    first_byte: float = 60.0
    between_bytes: float = 60.0
    total: float = 0.0
    unattended: float = 60.0
    connections: int = 1024
    idle: float = 30.0
    head: int = 128 * 1024
    linger: float = 5.0
    sweep: float = 0.25
