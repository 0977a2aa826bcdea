"""Where requests go, and what is said on the way: the origin's address, the key, the fields that are added."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from springhouse.http import fields as f
from springhouse.http.fields import FORWARDING, HOST, NOMINATES, OVERRIDING, UNWANTED, Field, bit_of
from springhouse.http.headers import (
    bits_of,
    combined_value,
    end_to_end,
    first,
    is_nominated,
    lines_of,
    nominated_by_connection,
)
from springhouse.http.memo import MIB, Memo, bound
from springhouse.http.messages import Request
from springhouse.http.paths import climbs
from springhouse.rules import keys
from springhouse.wire import encode

_CAPABILITY: Field = (b"Surrogate-Capability", b'springhouse="Surrogate/1.0"')
ABOUT_US: tuple[tuple[Field, ...], ...] = tuple(
    ((b"Via", b"1.%d springhouse" % minor), _CAPABILITY) for minor in range(10)
)
"""By the minor version of the request (RFC 9110 §7.6.3)."""
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ADDED_TO = f.CDN_LOOP | f.UPGRADE | f.EXPECT | f.MAX_FORWARDS
"""Fields that change what we add."""
_LEFT_OUT = f.CONTENT_LENGTH | f.EXPECT | f.CDN_LOOP | f.MAX_FORWARDS
"""Fields of which the origin gets others in their place."""
SCREENED = FORWARDING | OVERRIDING | UNWANTED | NOMINATES
"""A request with none of these is as good as screened."""
_NOT_CONNECTIONS = FORWARDING | f.CDN_LOOP | f.MAX_FORWARDS | f.VIA | f.EXPECT | f.CONNECTION_SPECIFIC
"""Fields that Connection cannot take out of a request: they count the way it has come, or stay here anyway."""


@dataclass(frozen=True, slots=True)
class Origin:
    """An origin: `http(s)://host[:port][/base]`. `preserve_host`: the client's Host goes along, and is in the key."""

    scheme: str
    host: str
    port: int
    authority: bytes
    base: bytes
    prefix: bytes
    """What every key starts with, unless the client's Host is in it."""
    preserve_host: bool = False

    @classmethod
    def parse(cls, url: str, *, preserve_host: bool = False) -> "Origin":
        """Read an origin's URL; ValueError says what is wrong with it."""
        if "://" not in url:
            raise ValueError(f"{url!r} is no URL: write http://{url} or https://{url}")
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS:
            raise ValueError(f"{parts.scheme}:// is not supported: an origin starts with http:// or https://")
        if not parts.hostname:
            raise ValueError(f"{url!r} names no host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(f"{url!r}: an origin has no user, query or fragment")
        try:
            host = parts.hostname.encode("idna" if ":" not in parts.hostname else "ascii").decode()
            port = parts.port or _DEFAULT_PORTS[parts.scheme]
        except (UnicodeError, ValueError) as error:
            raise ValueError(f"{url!r}: {error}") from None
        name = f"[{host}]" if ":" in host else host
        authority = name if port == _DEFAULT_PORTS[parts.scheme] else f"{name}:{port}"
        base = parts.path.rstrip("/").encode()
        prefix = keys.key_of(parts.scheme.encode(), authority.encode(), base)
        return cls(parts.scheme, host, port, authority.encode(), base, prefix, preserve_host=preserve_host)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority.decode()}{self.base.decode()}"

    def target_for(self, request: Request) -> bytes:
        """Return the target the origin is asked for."""
        return request.target if request.target == b"*" else self.base + request.target

    def holds(self, target: bytes) -> bool:
        """Return whether a target is surely one below the base path, whichever way the origin decodes it."""
        return not self.base or not climbs(target.partition(b"?")[0])

    def key(self, request: Request) -> bytes:
        """Return the request's cache key: what the origin will be asked, byte for byte."""
        return (self.key_prefix(request.authority) if self.preserve_host else self.prefix) + request.target

    def key_prefix(self, authority: bytes, scheme: bytes = b"") -> bytes:
        """Return what stands before the target in the key of requests for an authority, by a client's scheme.

        The origin's own scheme is in the key; the client's matters to an application that is the origin itself.
        """
        if not (self.preserve_host and authority):
            return self.prefix
        return keys.key_of(self.scheme.encode(), authority, self.base)


@dataclass(frozen=True, slots=True)
class Forwarding:
    """The fields that tell the origin about the client, and how loops are noticed.

    `instance` is this proxy's name in CDN-Loop (RFC 8586). Peers in `trusted` are proxies whose word on the client
    counts: what they sent is kept and added to; from any other client it is replaced.
    """

    instance: bytes
    trusted: tuple[IPv4Network | IPv6Network, ...] = ()

    def is_trusted(self, peer: str) -> bool:
        """Return whether the peer is a trusted proxy."""
        if not self.trusted or not peer:
            return False
        address = ip_address(peer.split("%", maxsplit=1)[0])
        return any(address in network for network in self.trusted)

    def is_loop(self, request: Request) -> bool:
        """Return whether the request has been through this very proxy."""
        if not request.bits & f.CDN_LOOP:
            return False
        return self.instance in (combined_value(request.fields, b"cdn-loop") or b"")

    def screen(self, request: Request) -> None:
        """Take out of a request whatever the origin must not see, so that nothing here is decided by it either.

        That is what could change the answer and is not in the key (`http.unkeyed`), except what a trusted proxy says of
        its client; and the fields that Connection lists (RFC 9110 §7.6.1).
        """
        bits = request.bits
        unwanted = UNWANTED if self.is_trusted(request.peer) else UNWANTED | FORWARDING
        if request.method in (b"GET", b"HEAD"):
            unwanted |= OVERRIDING
        if bits & unwanted:
            request.fields = [field for field in request.fields if not bit_of(field[0]) & unwanted]
            request.bits = bits & ~unwanted
        if bits & NOMINATES:
            _take_out_nominated(request)

    def head_for(self, request: Request, fields: list[Field], origin: Origin, framing: Field | None = None) -> bytes:
        """Return the head to send: Host first, end-to-end fields, then what we add, `framing` last."""
        bits = request.bits
        trusted = bool(bits & FORWARDING)  # else it would have been screened out
        passed = end_to_end(fields, bits, _LEFT_OUT)
        told = request.authority if origin.preserve_host else b""
        if framing is None and not trusted and not bits & _ADDED_TO:
            ours = _usual[request.peer, request.scheme, told, request.minor_version, self.instance]
        else:
            ours = lines_of(self._ours(request, fields, told, framing, trusted=trusted))
        return encode.request_head(request.method, origin.target_for(request), told or origin.authority, passed, ours)

    def _ours(
        self, request: Request, fields: list[Field], told: bytes, framing: Field | None, *, trusted: bool
    ) -> list[Field]:
        about = _about[request.peer, request.scheme, told]
        out = _appended(request, about) if trusted else [*about]
        out += ABOUT_US[request.minor_version]
        out.append((b"CDN-Loop", self._loop(request) if request.bits & f.CDN_LOOP else self.instance))
        if request.bits & f.UPGRADE:
            out += [(b"Connection", b"Upgrade"), (b"Upgrade", first(fields, b"upgrade") or b"")]
        if request.bits & f.EXPECT and request.has_content:
            out.append((b"Expect", b"100-continue"))
        if request.bits & f.MAX_FORWARDS:
            out.append((b"Max-Forwards", _one_less(first(fields, b"max-forwards") or b"")))
        if framing is not None:
            out.append(framing)
        return out

    def _loop(self, request: Request) -> bytes:
        return (combined_value(request.fields, b"cdn-loop") or b"") + b", " + self.instance


def _take_out_nominated(request: Request) -> None:
    nominated = nominated_by_connection(request.fields)
    request.fields = [
        field
        for field in request.fields
        if bit_of(field[0]) & _NOT_CONNECTIONS or not is_nominated(field[0], nominated)
    ]
    request.bits &= (bits_of(request.fields) | HOST) & ~NOMINATES


_APPENDED = frozenset({b"Forwarded", b"X-Forwarded-For"})


def _about_client(client: tuple[str, bytes, bytes]) -> list[Field]:
    """Return the fields that name a client (RFC 7239 and its forerunners).

    Its Host is passed on only where it is part of the key: it must not reach an answer that others share.
    """
    peer, scheme, host = client
    address = peer.encode() or b"unknown"
    node = b'"[%b]"' % address if b":" in address else address
    forwarded = b"for=%b;proto=%b" % (node, scheme) + (b';host="%b"' % host if host else b"")
    about = [(b"Forwarded", forwarded), (b"X-Forwarded-For", address), (b"X-Forwarded-Proto", scheme)]
    return [*about, (b"X-Forwarded-Host", host)] if host else about


_about: Final = Memo(bound("clients", MIB, "the fields that name a client to the origin"), _about_client)


def _usually_added(asked: tuple[str, bytes, bytes, int, bytes]) -> bytes:
    """Return what is added to most requests of a client, ready to be sent."""
    peer, scheme, host, minor_version, instance = asked
    return lines_of([*_about_client((peer, scheme, host)), *ABOUT_US[minor_version], (b"CDN-Loop", instance)])


_usual: Final = Memo(bound("client lines", 4 * MIB, "all that is added to most requests of a client"), _usually_added)


def _appended(request: Request, about: list[Field]) -> list[Field]:
    """Return what to add to the word of a trusted proxy: later lines continue earlier ones (RFC 9110 §5.3)."""
    said = {name.lower() for name, _ in request.fields}
    return [field for field in about if field[0] in _APPENDED or field[0].lower() not in said]


def is_last_hop(request: Request) -> bool:
    """Return whether the request says that it may not be forwarded any more (RFC 9110 §7.6.2)."""
    value = first(request.fields, b"max-forwards") or b""
    return value.isdigit() and int(value) == 0


def _one_less(value: bytes) -> bytes:
    return b"%d" % max(0, int(value) - 1) if value.isdigit() else value
