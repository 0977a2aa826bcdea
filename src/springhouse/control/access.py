"""Who may change this proxy's state over HTTP: purge, clear.

Being local is not being trusted: a server in front, on the same machine, relays the requests of any client, and most do
not say so. On the port that clients reach, purging therefore always needs the token. Without one there is the control
socket, to which only the proxy's own user can connect. Only the classic endpoints trust what comes from this machine.

Nor must a browser be made to do it by another site: neither by a link or image (Sec-Fetch-Site, Origin) nor by a name
that leads here (Host, DNS rebinding).
"""

import re
from collections.abc import Callable, Collection
from hmac import compare_digest
from ipaddress import ip_address

from springhouse.http.fields import FORWARDING, VIA
from springhouse.http.headers import first
from springhouse.http.messages import Request

Objection = Callable[[Request], str | None]
"""Returns why a request may not change anything, in words for the client; None when it may."""

_BEARER = re.compile(rb"bearer +(\S+) *", re.IGNORECASE)
_PORT = re.compile(rb":\d+$")
_NAMES_OF_HERE = (b"localhost", b"127.0.0.1", b"[::1]")
"""No others: of `0.0.0.0` and `[::ffff:127.0.0.1]`, browsers do not say which site a request comes from."""


def by_token(request: Request, token: str) -> str | None:
    """Object to a request on the clients' port that does not carry the token; with the token "", to every request."""
    foreign = _from_another_site(request)
    given = _bearer(request)
    if foreign or (token and given):
        return foreign or _wrong(given, token)
    if token:
        return "This needs the token: Authorization: Bearer …"
    return "Use `springhouse purge` on the proxy's machine; to purge over this port, start the proxy with --token"


def by_token_or_here(request: Request, token: str, ports: Collection[int]) -> str | None:
    """Object to a request that neither carries the token nor comes from this machine.

    `ports`: those that clients reach this proxy at. X-Forwarded-For opens nothing: what it stands on was relayed.
    """
    foreign = _from_another_site(request)
    given = _bearer(request)
    if foreign or (token and given):
        return foreign or _wrong(given, token)
    if _is_from_here(request, ports):
        return None
    if token:
        return "From elsewhere than the proxy's own machine this needs the token: Authorization: Bearer …"
    return (
        "Only the proxy's own machine may do this, as localhost, 127.0.0.1 or [::1] and with its port; "
        "to allow it from elsewhere, start the proxy with --token"
    )


def by_control(request: Request) -> str | None:
    """Object to a request on the control socket that a browser may have been made to send."""
    foreign = _from_another_site(request)
    if foreign or _PORT.sub(b"", request.authority) in (b"", *_NAMES_OF_HERE):
        return foreign
    return "The control socket is localhost, whatever the proxy is called"


def _from_another_site(request: Request) -> str | None:
    site = (first(request.fields, b"sec-fetch-site") or b"none").lower()
    if site in (b"none", b"same-origin") and _is_same_origin(request):
        return None
    return "A page of another site may not do this"


def _is_same_origin(request: Request) -> bool:
    origin = first(request.fields, b"origin")
    if origin is None:
        return True
    scheme, _, authority = origin.lower().partition(b"://")
    return scheme in (b"http", b"https") and authority == request.authority


def _bearer(request: Request) -> bytes:
    given = _BEARER.fullmatch(first(request.fields, b"authorization") or b"")
    return given[1] if given is not None else b""


def _wrong(given: bytes, token: str) -> str | None:
    return None if compare_digest(given, token.encode()) else "The token is not the right one"


def _is_from_here(request: Request, ports: Collection[int]) -> bool:
    """Return whether the request comes from a loopback address, addresses this proxy, and shows no sign of a relay."""
    if request.bits & (FORWARDING | VIA) or not _is_loopback(request.peer):
        return False
    names = {b"%b:%d" % (name, port) for name in _NAMES_OF_HERE for port in ports}
    return request.authority in names or (80 in ports and request.authority in _NAMES_OF_HERE)


def _is_loopback(peer: str) -> bool:
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:  # a Unix socket, or what a test client calls itself
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
