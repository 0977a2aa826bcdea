"""An application as the origin of an engine: what the ASGI and the WSGI middleware have in common.

The application is asked as any origin is: with what the client sent, less what is not in the key and could change the
answer. Its key has scheme and authority in it, because an application may answer differently for each.
"""

from dataclasses import dataclass
from typing import Any

from springhouse.http.fields import Field
from springhouse.http.headers import end_to_end, is_token, is_value
from springhouse.http.messages import Request, Response
from springhouse.rules import keys
from springhouse.upstream.routing import Origin

INTERNAL_ERROR = "proxy_internal_error"


@dataclass(frozen=True, slots=True)
class AppOrigin(Origin):
    """The application in place of an origin."""

    @classmethod
    def named(cls) -> Origin:
        """Return one for an application, which has no name of its own: its clients' Host is used instead."""
        return cls.parse("http://app.localhost", preserve_host=True)

    def key(self, request: Request) -> bytes:
        """Return the request's cache key."""
        return self.key_prefix(request.authority, request.scheme) + request.target

    def key_prefix(self, authority: bytes, scheme: bytes = b"http") -> bytes:
        """Return what stands before the target in the key of requests for an authority by a scheme."""
        return keys.key_of(scheme, authority or self.authority, b"")


class AppRequest(Request):
    """A request with the scope or environ it came in. `error`: what the application raised while answering it."""

    __slots__ = ("error", "surroundings")

    def __init__(self, request: Request, surroundings: Any) -> None:
        super().__init__(
            request.method, request.target, request.fields, bits=request.bits, authority=request.authority,
            has_content=request.has_content,
        )  # fmt: skip
        self.scheme, self.minor_version, self.peer = request.scheme, request.minor_version, request.peer
        self.surroundings = surroundings
        self.error: BaseException | None = None


def fields_for_app(request: Request, fields: list[Field]) -> list[Field]:
    """Return the fields to call the application with, Host first."""
    return [(b"Host", request.authority), *end_to_end(fields, request.bits)]


def app_response(status: int, fields: list[Field]) -> tuple[Response, int | None]:
    """Return an application's response, and the length it announces. ValueError: no server would send it."""
    for name, value in fields:
        if not is_token(name) or not is_value(value):
            raise ValueError(f"The field {name!r} is not valid")
    length = next((int(value) for name, value in fields if name.lower() == b"content-length"), None)
    return Response(status, fields), length
