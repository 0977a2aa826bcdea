"""Request fields that shape answers without being part of the key, and who reads them (cache poisoning).

A name here is lower-case and has `-` for whatever else separates its words, see `folded`; one that ends in `*` stands
for all that begin so. To the question "can this field of a client change what others are answered?" each of these has
been answered with yes, by the software named above it.
"""

import re
from typing import Final

_SEPARATORS = re.compile(rb"[^0-9a-z]")
_WORDS = re.compile(rb"[0-9a-z]+(?:[!#$%&'*+.^_`|~-]+[0-9a-z]+)+")


def folded(name: bytes) -> bytes:
    """Return the name as CGI makes it one with others (RFC 3875 §4.1.18): without case, each sign a `-`.

    To an origin that speaks CGI, WSGI or FastCGI `X_Forwarded_Host` is `X-Forwarded-Host`. Many turn `_` and `-` into
    one, some (lighttpd, older Apache, PHP for `.`) every sign.
    """
    return _SEPARATORS.sub(b"-", name.lower())


def is_of_words(name: bytes) -> bool:
    """Return whether a lower-case name is several words with single or more signs between them."""
    return _WORDS.fullmatch(name) is not None


ABOUT_CLIENT_NAMES: Final = (
    # RFC 7239, and the forms it had before.
    b"forwarded*",
    # Nearly every framework, unasked or once it is told to trust proxies: Django, Rails and Rack, Symfony and Laravel,
    # Spring, Express, ASP.NET Core, Werkzeug, mod_wsgi. -Host, -Port, -Proto, -Prefix, -Server, -Ssl, -For, -User …
    b"x-forward*",
    # IIS with ARR, Azure Application Gateway, ASP.NET Core's ForwardedHeaders: -Host, -For, -Proto, -Prefix. Those that
    # name another target or method are below.
    b"x-original*",
    # nginx's realip and what usually stands beside it, mod_wsgi, Akka HTTP: address, scheme, where it is mounted.
    b"x-real-ip", b"x-scheme", b"x-url-scheme", b"x-proto", b"x-https", b"https", b"x-script-name", b"x-path-info",
    # Microsoft ISA Server and IIS: the client spoke TLS.
    b"front-end-https", b"x-arr-ssl", b"x-arr-clientcert",
    # Oracle WebLogic.
    b"proxy-client-ip", b"wl-proxy-client-ip", b"wl-proxy-ssl",
    # Rails (ActionDispatch::RemoteIp), PHP applications, and the CDNs and balancers that set them.
    b"client-ip", b"x-client-ip", b"x-cluster-client-ip", b"x-remote-ip", b"x-remote-addr", b"x-originating-ip",
    b"x-proxyuser-ip", b"true-client-ip", b"x-true-client-ip",
    b"cf-connecting-ip*", b"cf-pseudo-ipv4", b"cf-ipcountry", b"cf-visitor", b"cloudfront-*",
    b"fastly-client-ip", b"fastly-ssl", b"x-azure-clientip", b"x-azure-socketip", b"x-appengine-*",
    b"x-vercel-ip-*", b"x-vercel-forwarded-for",
    # Envoy and Traefik: what they changed.
    b"x-envoy-external-address", b"x-envoy-original-*", b"x-replaced-path",
    # Rack::Sendfile (CVE-2025-61780): which file the server in front sends.
    b"x-sendfile-type", b"x-accel-mapping",
)  # fmt: skip
"""What a proxy says of its client, and of how the client addressed it: taken from trusted proxies only."""

OVERRIDING_NAMES: Final = (
    # Another target: Symfony and Drupal (CVE-2018-14773), Zend Framework, IIS with ARR or ISAPI_Rewrite.
    b"x-original-url", b"x-original-uri", b"x-original-path", b"x-rewrite*", b"x-http-destinationurl",
    # Another part of the target is the path: gunicorn (`forwarder_headers`), mod_wsgi, uWSGI.
    b"script-name", b"path-info",
    # Another host.
    b"x-host", b"x-http-host", b"x-http-host-override", b"x-host-override", b"x-backend*",
    # Another method: Rack, Symfony, Express's method-override, ASP.NET, OData.
    b"x-http-method-override", b"x-http-method", b"x-method-override", b"x-original-method",
)  # fmt: skip
"""They make an origin answer for another target, host or method than the request names: not sent with GET and HEAD."""

UNWANTED_NAMES: Final = (
    # CGI makes it HTTP_PROXY, by which many HTTP clients choose their proxy (httpoxy, CVE-2016-5385).
    b"proxy",
    # Next.js, for its own use (CVE-2025-29927, CVE-2024-46982, CVE-2026-44572).
    b"x-middleware-*", b"x-invoke-*", b"x-now-route-matches", b"x-matched-path", b"x-nextjs-data", b"x-next-resume-*",
    # React Router (CVE-2025-43864, CVE-2025-43865).
    b"x-react-router-*",
    # Astro's adapters, for their own use.
    b"x-astro-path", b"x-astro-locals",
)  # fmt: skip
"""No client has a reason to send them, and no proxy either: they go nowhere."""

UNKEYED_NAMES: Final = ABOUT_CLIENT_NAMES + OVERRIDING_NAMES + UNWANTED_NAMES
