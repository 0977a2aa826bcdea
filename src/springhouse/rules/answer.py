"""What the origin answered, as the rules see it: the head of its response, and what only the exchange knows of it."""

from springhouse.http.messages import Response


class Answer:
    """A response and its circumstances.

    `requested_at`, `received_at`: request_time and response_time (RFC 9111 §4.2.3), in seconds since 1970. `length`:
    bytes of content, None while that is not known.
    """

    __slots__ = ("length", "received_at", "requested_at", "response")

    def __init__(self, response: Response, requested_at: float, received_at: float, length: int | None = None) -> None:
        self.response = response
        self.requested_at = requested_at
        self.received_at = received_at
        self.length = length
