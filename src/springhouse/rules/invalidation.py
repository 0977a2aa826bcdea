"""Which keys an unsafe request makes invalid (RFC 9111 §4.4)."""

from springhouse.http.fields import CONTENT_LOCATION, LOCATION
from springhouse.http.messages import SAFE_METHODS, Request, Response
from springhouse.rules import keys


def invalidated(request: Request, key: bytes, response: Response) -> list[bytes]:
    """Return the keys to invalidate once the origin has answered, none for safe methods and error answers.

    The target itself, and what Location and Content-Location name, if of the same origin.
    """
    if request.method in SAFE_METHODS or not 200 <= response.status < 400:
        return []
    found = [key]
    for name, bit in ((b"location", LOCATION), (b"content-location", CONTENT_LOCATION)):
        reference = response.value(name, bit)
        other = keys.same_origin(key, reference) if reference else None
        if other is not None and other not in found:
            found.append(other)
    return found
