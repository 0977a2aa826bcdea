"""What clients may do: how large requests may be, how long they may take, how many connections there may be."""

from dataclasses import dataclass, field

from springhouse.wire.admission import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTimeouts:
    """Seconds a client may take (0: no limit) for a head, between bytes of content, idle, and to take an answer.

    `half_close`: how long it may wait for an answer to begin after it has closed its side.
    `rate`: bytes a second below which content, sent or taken, is too slow, once `grace` seconds have passed.
    `sweep`: seconds between two looks at all connections.
    """

    header: float = 10.0
    content: float = 30.0
    idle: float = 75.0
    send: float = 60.0
    half_close: float = 1.0
    rate: int = 256
    grace: float = 10.0
    sweep: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What clients may do: sizes of requests, seconds to take, connections at once.

    `linger`: seconds in which a client that is still sending can read its answer before the connection closes.
    """

    request: Limits = field(default_factory=Limits)
    timeouts: ClientTimeouts = field(default_factory=ClientTimeouts)
    connections: int = 10_000
    linger: float = 2.0
