"""Admission of a request (RFC 9112 §3): which heads become a Request, and why the others are refused.

A pure function of the head's parts, whoever parsed them: llhttp for our own server (`wire.requests`), another server
for a front end. It holds what llhttp lets pass and this proxy must not: limits, a missing or repeated Host, framing in
which two recipients could see two messages (§6.3), foreign authorities, expectations and methods that are not for us.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from springhouse.http.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    NOMINATES,
    PLAIN_CONNECTION,
    REPEATED,
    SINGLETONS,
    TRANSFER_ENCODING,
    UPGRADE,
    Field,
    bit_of,
)
from springhouse.http.headers import combined_value, first, members
from springhouse.http.messages import Request
from springhouse.http.unkeyed import folded
from springhouse.wire.targets import absolute_form, is_host, is_same_authority

BAD_SYNTAX: Final = "The request is not valid HTTP/1.1"
FRAMING: Final = CONTENT_LENGTH | TRANSFER_ENCODING | REPEATED | EXPECT
_NOT_NOMINATED: Final = frozenset({b"content-length", b"transfer-encoding", b"host"})
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REFUSED_METHODS: Final = {
    b"CONNECT": (501, "This proxy opens no tunnels"), b"TRACE": (405, "TRACE is not answered here"),
}  # fmt: skip

IsOurs = Callable[[bytes], bool]
"""Whether an absolute-form target may name this authority, lower-case (RFC 9112 §3.2.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request may measure: bytes of target, of all fields, number of fields, bytes of content (None: any)."""

    target: int = 8 * 1024
    header: int = 32 * 1024
    fields: int = 128
    content: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not taken: the status to answer with and one sentence for the client."""

    status: int
    detail: str


@dataclass(slots=True, kw_only=True)
class Head:
    """The parts of a request's head. `fields` are without Host; `bits` are of all fields (`http.fields`).

    `version`: as in `HTTP/1.1`, without the name; `host`: None without a Host field; `peer`: the client's address.
    """

    method: bytes
    target: bytes
    version: str
    fields: list[Field]
    bits: int
    host: bytes | None
    peer: str
    scheme: bytes
    is_large: bool = True
    """The fields may be more than `Limits.header`, so they are counted."""
    may_switch: bool = False
    """The connection can change to the protocol that Upgrade names."""


def admit(head: Head, limits: Limits, is_ours: IsOurs) -> Request | Refusal:
    """Return the request that a head stands for, or why it is not taken."""
    minor = _minor_version(head.version)
    if isinstance(minor, Refusal):
        return minor
    bits = head.bits
    refusal = _oversize(head, limits)
    if refusal is None and bits & (FRAMING | NOMINATES):
        refusal = _bad_framing(head, minor)
    if refusal is not None:
        return refusal
    addressed = _addressed(head, minor, is_ours)
    if isinstance(addressed, Refusal):
        return addressed
    authority, target = addressed
    fields = head.fields
    if bits & UPGRADE and not (head.may_switch and may_tunnel(fields, bits)):
        bits &= ~UPGRADE
        fields = [field for field in fields if field[0].lower() != b"upgrade"]
    is_followed = has_content(fields, bits)
    request = Request(head.method, target, fields, bits=bits, authority=authority, has_content=is_followed)
    request.scheme, request.peer, request.minor_version = head.scheme, head.peer, minor
    return request


def is_plain_line(method: bytes, target: bytes, host: bytes, limits: Limits) -> bool:
    """Return whether `admit` would take these as they are, in a head whose bits say nothing but HOST."""
    return (
        target[:1] == b"/"
        and len(target) <= limits.target
        and b"#" not in target
        and method not in _REFUSED_METHODS
        and is_host(host)
    )


def host_apart(received: Iterable[Field]) -> tuple[list[Field], int, bytes | None]:
    """Return fields without Host, the bits of all of them, and Host: what `RequestReader` gathers one by one."""
    fields: list[Field] = []
    bits, host = 0, None
    for name, value in received:
        bit = bit_of(name)
        if bit & SINGLETONS & bits:
            bit |= REPEATED
        elif bit == CONNECTION and value not in PLAIN_CONNECTION:
            bit |= NOMINATES
        bits |= bit
        if bit & HOST:
            host = value
        else:
            fields.append((name, value))
    return fields, bits, host


# What other parts of reading a request ask, too.


def announced_length(fields: Iterable[Field], bits: int) -> int:
    """Return Content-Length, 0 when there is none."""
    return int(first(fields, b"content-length") or 0) if bits & CONTENT_LENGTH else 0


def has_content(fields: Iterable[Field], bits: int) -> bool:
    """Return whether content follows the head (RFC 9112 §6)."""
    return bool(bits & TRANSFER_ENCODING) or announced_length(fields, bits) > 0


def may_tunnel(fields: Iterable[Field], bits: int) -> bool:
    """Return whether the protocol that Upgrade names may be tunnelled: h2c would hide requests.

    With content the wish is ignored, as RFC 9110 §7.8 allows: nothing is tunnelled that might be content.
    """
    return not has_content(fields, bits) and b"h2c" not in members((combined_value(fields, b"upgrade") or b"").lower())


def unknown_method(name: bytes = b"") -> Refusal:
    """Return the refusal of a method that is not known; empty when the parser does not tell which."""
    return Refusal(501, b" ".join(filter(None, (b"The method", name, b"is not one this proxy knows"))).decode())


def long_target(limits: Limits) -> Refusal:
    """Return the refusal of a target beyond the limit."""
    return Refusal(414, f"The request target is longer than {limits.target} bytes")


def many_fields(limits: Limits) -> Refusal:
    """Return the refusal of more fields than the limit."""
    return Refusal(431, f"There are more than {limits.fields} header fields")


def large_section(limits: Limits, name: str = "header") -> Refusal:
    """Return the refusal of a header or trailer section beyond the limit."""
    return Refusal(431, f"The {name} section is larger than {limits.header} bytes")


def large_content(limits: Limits) -> Refusal:
    """Return the refusal of content beyond the limit."""
    return Refusal(413, f"The content is larger than {limits.content} bytes")


# Each rule returns its refusal.


def _minor_version(version: str) -> int | Refusal:
    """Return the minor version of HTTP/1; what is beyond 1.1 is read as that (RFC 9110 §2.5)."""
    major, _, minor = version.partition(".")
    if major == "1" and minor.isdecimal():
        return int(minor)
    if (major, minor) in (("0", "9"), ("2", "0")):
        return Refusal(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here")
    return Refusal(400, f"{BAD_SYNTAX}: Invalid HTTP version")


def _oversize(head: Head, limits: Limits) -> Refusal | None:
    fields = head.fields
    if len(head.target) > limits.target:
        return long_target(limits)
    if len(fields) > limits.fields:
        return many_fields(limits)
    if head.is_large and sum(len(name) + len(value) + 4 for name, value in fields) > limits.header:
        return large_section(limits)
    if limits.content is not None and announced_length(fields, head.bits) > limits.content:
        return large_content(limits)
    return None


def _bad_framing(head: Head, minor: int) -> Refusal | None:
    bits, fields = head.bits, head.fields
    if bits & TRANSFER_ENCODING:
        codings = members((combined_value(fields, b"transfer-encoding") or b"").lower())
        if minor == 0:
            return Refusal(400, "HTTP/1.0 has no Transfer-Encoding")
        if codings != [b"chunked"]:
            return Refusal(501 if codings[-1:] == [b"chunked"] else 400, "The only transfer coding here is chunked")
    if bits & REPEATED:
        return Refusal(400, "Host, Content-Length or Transfer-Encoding occurs more than once")
    if bits & NOMINATES:
        nominated = map(folded, _TOKEN.findall(combined_value(fields, b"connection") or b""))
        if not _NOT_NOMINATED.isdisjoint(nominated):
            return Refusal(400, "Connection names Content-Length, Transfer-Encoding or Host")
    if bits & EXPECT and (combined_value(fields, b"expect") or b"").lower() != b"100-continue":
        return Refusal(417, "The only expectation understood here is 100-continue")
    return None


def _addressed(head: Head, minor: int, is_ours: IsOurs) -> tuple[bytes, bytes] | Refusal:
    """Return the authority, lower-case, and the target in origin form (RFC 9112 §3.2, §3.3)."""
    host = None if head.host is None else head.host.strip(b" \t")
    if host is None and minor == 0:
        host = b""
    elif host is None or not is_host(host):
        return Refusal(400, "The request has no Host field" if host is None else "The Host field is not valid")
    authority, method, target = host.lower(), head.method, head.target
    if method in _REFUSED_METHODS:
        return Refusal(*_REFUSED_METHODS[method])
    if target[:1] == b"/":
        return Refusal(400, "A request target has no fragment") if b"#" in target else (authority, target)
    if target == b"*" and method == b"OPTIONS":
        return authority, target
    return _from_absolute_form(head, authority, is_ours)


def _from_absolute_form(head: Head, host: bytes, is_ours: IsOurs) -> tuple[bytes, bytes] | Refusal:
    form = absolute_form(head.target)
    if form is None:
        return Refusal(400, "The request target is neither a path nor an http URI")
    scheme, authority, rest = form
    authority = authority.lower()
    if is_ours(authority):
        host = authority  # it counts, whatever Host says (RFC 9112 §3.2.2)
    elif not is_same_authority(scheme, authority, host):
        return Refusal(421, "This proxy answers for its own origin only; it is no forward proxy")
    if head.method == b"OPTIONS" and not rest:
        return host, b"*"  # RFC 9112 §3.2.4
    return host, rest if rest[:1] == b"/" else b"/" + rest
