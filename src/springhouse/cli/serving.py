"""Runs the front end that the settings choose. The others are not even imported."""

from collections.abc import Callable

from springhouse.descriptors import fitted
from springhouse.endpoint import is_loopback
from springhouse.server import single_process
from springhouse.server.control import serve_control
from springhouse.settings import BadSettings, Settings


def _is_apart(settings: Settings) -> bool:
    """Return whether only this machine reaches the proxy, or what it lets through."""
    return settings.unix_socket is not None or is_loopback(settings.host)


def run_front_end(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until a signal ends it. Raises BadSettings and CannotListen."""
    if not settings.origin and not settings.classic:
        raise BadSettings("--origin is missing: say which server to fetch from, as in --origin http://localhost:3000")
    if settings.frontend != "native" and not (settings.allow_public or _is_apart(settings)):
        raise BadSettings(
            f"--frontend {settings.frontend} on {settings.host or 'all addresses'}: a few slow or half-open clients "
            "can block this server. Listen on 127.0.0.1 behind a server that shields it, or use --frontend native; "
            "--allow-public does it all the same"
        )
    settings = fitted(settings)
    if settings.frontend == "fastapi":
        from springhouse.frontends.asgi.server import serve_with_uvicorn  # noqa: PLC0415

        serve_with_uvicorn(settings, announce, serve_control)
    elif settings.frontend == "flask":
        try:
            from springhouse.frontends.wsgi.server import serve_with_gunicorn  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise BadSettings(f"--frontend flask needs {error.name}: pip install 'springhouse[flask]'") from None
        serve_with_gunicorn(settings, announce, serve_control)
    else:
        single_process.run(settings, announce)
