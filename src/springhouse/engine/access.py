"""Who may change this proxy's state over HTTP: purge, clear.

This machine may, and whoever knows the token. `X-Forwarded-For` never opens anything: a request that another proxy
relayed is not from this machine, whatever it claims. A browser must not be made to do it by another site: neither
by a link or image (Sec-Fetch-Site, Origin) nor by a name that leads here (Host, DNS rebinding).
"""

import re
from hmac import compare_digest
from ipaddress import ip_address
from socket import gethostname

from springhouse.http.fields import FORWARDING, VIA
from springhouse.http.headers import first
from springhouse.http.messages import Request

_BEARER = re.compile(rb"bearer +(\S+) *", re.IGNORECASE)
_PORT = re.compile(r":\d*$")


def objection(request: Request, token: str) -> str | None:
    """Return why the request may not change anything, in words for the client; None when it may. `token` "": none."""
    site = (first(request.fields, b"sec-fetch-site") or b"none").lower()
    if site not in (b"none", b"same-origin") or not _is_same_origin(request):
        return "A page of another site may not do this"
    given = _BEARER.fullmatch(first(request.fields, b"authorization") or b"")
    if token and given is not None:
        return None if compare_digest(given[1], token.encode()) else "The token is not the right one"
    if is_local(request):
        return None
    if token:
        return "From elsewhere than the proxy's own machine this needs the token: Authorization: Bearer …"
    return "Only the proxy's own machine may do this; to allow it from elsewhere, start the proxy with --token"


def is_local(request: Request) -> bool:
    """Say whether the request comes from this machine and addresses it: by a loopback peer or a Unix socket."""
    if request.bits & (FORWARDING | VIA):
        return False
    return _is_loopback(request.peer) and _is_name_of_here(request.authority.decode("latin-1"))


def _is_loopback(peer: str) -> bool:
    if not peer:
        return True
    address = ip_address(peer.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _is_name_of_here(authority: str) -> bool:
    host = _PORT.sub("", authority)
    if host in ("", "localhost", gethostname().lower()) or host.endswith(".localhost"):
        return True
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_same_origin(request: Request) -> bool:
    origin = first(request.fields, b"origin")
    if origin is None:
        return True
    scheme, _, authority = origin.lower().partition(b"://")
    return scheme in (b"http", b"https") and authority == request.authority
