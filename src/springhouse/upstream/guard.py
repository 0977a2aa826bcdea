"""Which targets named by a client may be fetched (`GET /proxy?url=`), so that no client reaches inside through us.

A URL is first read strictly: what two parsers could read differently is refused. With an origin, or with hosts the
operator has named, only these are fetched from. Otherwise any public host may be: then its name is resolved once, and
the connection goes to an address that was checked, so that a name that changes its mind (DNS rebinding) gains nothing.
Redirects are never followed.
"""

import asyncio
import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urljoin

from springhouse.upstream.routing import Origin
from springhouse.wire.targets import is_host

_SUSPICIOUS = re.compile(r"[\\\x00-\x1f\x7f]|^ | $")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_ABSOLUTE = re.compile(r"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE | re.DOTALL)
_NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0[xX][0-9A-Fa-f]*)")
_UNRESERVED = "%/?:@!$&'()*+,;=-._~[]"

NAT64 = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48")))
"""RFC 6052, RFC 8215: an IPv4 address, perhaps a private one, behind a translator."""
SPECIAL = tuple(map(ip_network, ("192.0.0.0/24", "168.63.129.16/32")))
"""Protocol assignments, and cloud platforms' metadata services at addresses that count as public."""
_6TO4 = ip_network("2002::/16")
_TEREDO = ip_network("2001::/32")
_COMPATIBLE = ip_network("::/96")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to fetch from. `is_own`: the proxy's origin; `is_named`: the operator chose the host, wherever it is."""

    origin: Origin
    target: bytes
    is_own: bool = False
    is_named: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a URL is not fetched: the status and code of the answer, and one sentence."""

    status: int
    code: str
    message: str


_OUTSIDE = Rejected(403, "forbidden_target", "Of the origin, only what lies under its base path is fetched")


class ForbiddenAddress(Exception):
    """A name that leads only to addresses which no client may reach."""


def find_target(url: str, own: Origin | None, named: tuple[str, ...]) -> Target | Rejected:
    """Return where a client's `url` leads, or why it is refused."""
    if _SUSPICIOUS.search(url):
        return Rejected(400, "bad_url", "The url contains a backslash, a control character or white space around it")
    url = url.partition("#")[0]
    scheme = _SCHEME.match(url)
    if scheme is not None and scheme[1].lower() not in ("http", "https"):
        return Rejected(403, "forbidden_scheme", f"{scheme[1]}: is not fetched; only http and https are")
    if scheme is None and not url.startswith("//"):
        if own is None:
            return Rejected(400, "bad_url", "The url is relative, and there is no origin to resolve it against")
        return _within(own, _resolved(url))
    if scheme is None:
        if own is None:
            return Rejected(400, "bad_url", "The url names no scheme: write http:// or https:// in front")
        url = f"{own.scheme}:{url}"
    return _absolute(url, own, named)


def _absolute(url: str, own: Origin | None, named: tuple[str, ...]) -> Target | Rejected:
    found = _ABSOLUTE.fullmatch(url)
    if found is None or not found[2]:
        return Rejected(400, "bad_url", "The url is not valid: write http://host/path")
    if "@" in found[2] or "%" in found[2]:
        return Rejected(400, "bad_url", "The url's host must not contain user information or percent signs")
    try:
        origin = Origin.parse(f"{found[1].lower()}://{found[2]}")
    except ValueError as error:
        return Rejected(400, "bad_url", f"The url is not valid: {error}")
    if not is_host(origin.authority):
        return Rejected(400, "bad_url", "The url's host is not valid")
    target = _resolved(found[3] if found[3].startswith("/") else "/" + found[3])
    if own is not None and (origin.scheme, origin.authority) == (own.scheme, own.authority):
        if target == own.base or target.startswith((own.base + b"/", own.base + b"?")):
            rest = target[len(own.base) :]
            return _within(own, rest if rest.startswith(b"/") else b"/" + rest)
        return _OUTSIDE
    if origin.authority.decode() in named:
        return Target(origin, target, is_named=True)
    if _is_odd_address(origin.host):
        return Rejected(403, "forbidden_target", f"{origin.host} is an IP address in disguise; write it in full")
    if own is not None or named:
        allowed = "only the origin and hosts named by --allow-host are"
        return Rejected(403, "forbidden_target", f"{origin.authority.decode()} is not fetched from; {allowed}")
    return Target(origin, target)


def _within(own: Origin, target: bytes) -> Target | Rejected:
    return Target(own, target, is_own=True) if own.holds(target) else _OUTSIDE


def _is_odd_address(host: str) -> bool:
    """Return whether a host is a decimal, octal, hexadecimal or shortened IPv4 address (as inet_aton reads them)."""
    if ":" in host:
        return False
    if not _NUMERIC_LABEL.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return False
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def _resolved(reference: str) -> bytes:
    """Resolve a relative reference against the origin's root (RFC 3986 §5); it cannot climb out of it."""
    if reference.startswith("//"):
        reference = "/." + reference  # an empty first segment, not an authority
    joined = urljoin("http://origin/", reference)
    rest = joined.removeprefix("http://origin")
    return _quoted(rest if rest.startswith("/") else "/" + rest)


def _quoted(target: str) -> bytes:
    """Percent-encode what may not stand in a target as it is; what is encoded already stays (RFC 3987 §3.1)."""
    return b"".join(
        char.encode() if char.isascii() and (char.isalnum() or char in _UNRESERVED) else _escaped(char)
        for char in target
    )


def _escaped(char: str) -> bytes:
    return b"".join(b"%%%02X" % byte for byte in char.encode("utf-8", "replace"))


# Addresses.


async def public_addresses(host: str, port: int) -> list[str]:
    """Resolve a name once and return those of its addresses that are public. Raises ForbiddenAddress, OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    public = [address for address in dict.fromkeys(str(item[4][0]) for item in found) if is_public(address)]
    if not public:
        raise ForbiddenAddress(f"{host} does not lead to a public address")
    return public


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the public Internet, whatever it is wrapped in."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        if any(ip in network for network in (*NAT64, _6TO4, _TEREDO, _COMPATIBLE)):
            return False
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
    return _is_plainly_public(ip)


def _is_plainly_public(ip: IPv4Address | IPv6Address) -> bool:
    site_local = isinstance(ip, IPv6Address) and ip.is_site_local
    refused = (
        any(ip in network for network in SPECIAL)
        or ip.is_private
        or ip.is_loopback
        or ip.is_link_local
        or ip.is_multicast
        or ip.is_reserved
    )
    return ip.is_global and not (refused or site_local or ip.is_unspecified)
