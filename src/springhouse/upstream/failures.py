"""What went wrong on the way to an origin, in the words of Proxy-Status (RFC 9209 §2.3)."""

import ssl

from springhouse.upstream.guard import ForbiddenAddress

_STATUS = {
    "connection_timeout": 504,
    "http_response_timeout": 504,
    "connection_limit_reached": 503,
    "destination_ip_prohibited": 403,
}


def status_of(error: str) -> int:
    """Return the status a client gets for an error type."""
    return _STATUS.get(error, 502)


def describe(error: BaseException) -> tuple[str, str]:
    """Return the Proxy-Status error type (RFC 9209 §2.3) and one sentence for what went wrong while connecting.

    Clients read it: it does not say where the origin is.
    """
    if isinstance(error, ForbiddenAddress):
        return "destination_ip_prohibited", str(error)
    if isinstance(error, TimeoutError):
        return "connection_timeout", "The origin did not accept a connection in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "tls_certificate_error", f"The origin's certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "tls_protocol_error", f"TLS with the origin failed: {error.reason}"
    if isinstance(error, ConnectionRefusedError):
        return "connection_refused", "The origin refuses connections"
    if isinstance(error, OSError) and error.__class__.__name__ == "gaierror":
        return "dns_error", "The origin's name cannot be resolved"
    why = getattr(error, "strerror", None) or type(error).__name__
    return "destination_unavailable", f"The origin cannot be reached: {why}"
