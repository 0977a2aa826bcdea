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


def text(value: str) -> bytes:
    """Return a String item (§4.1.6); characters it cannot hold become question marks."""
    safe = "".join(c if " " <= c <= "~" else "?" for c in value)
    return b'"' + safe.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
