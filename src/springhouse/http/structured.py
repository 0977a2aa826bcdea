"""Structured field values (RFC 9651), by http-sf."""

import http_sf


def dictionary(values: list[bytes]) -> dict[str, object] | None:
    """Return the keys and bare values of a Dictionary over all field lines, None when it does not parse."""
    try:
        parsed = http_sf.parse(b", ".join(values), tltype="dictionary")
    except http_sf.StructuredFieldError:
        return None
    if not isinstance(parsed, dict):
        return None
    return {key: member[0] for key, member in parsed.items() if isinstance(member, tuple)}


def strings(values: list[bytes]) -> tuple[bytes, ...]:
    """Return the Strings of a List over all field lines; () when it does not parse or has other members."""
    try:
        parsed = http_sf.parse(b", ".join(values), tltype="list")
    except http_sf.StructuredFieldError:
        return ()
    members = [member[0] for member in parsed if isinstance(member, tuple)] if isinstance(parsed, list) else []
    if not all(type(member) is str for member in members):
        return ()
    return tuple(str(member).encode() for member in members)


def text(value: str) -> bytes:
    """Return a String item (§4.1.6); characters it cannot hold become question marks."""
    safe = "".join(c if " " <= c <= "~" else "?" for c in value)
    return b'"' + safe.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
