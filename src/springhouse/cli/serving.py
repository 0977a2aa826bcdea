"""Runs the front end that the settings choose. The others are not even imported."""

from collections.abc import Callable

from springhouse.descriptors import fitted
from springhouse.server import running
from springhouse.server.control import serve_control
from springhouse.settings import BadSettings, Settings


def run(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until a signal ends it. Raises BadSettings and CannotListen."""
    if not settings.origin and not settings.classic:
        raise BadSettings("--origin is missing: say which server to fetch from, as in --origin http://localhost:3000")
    settings = fitted(settings)
    if settings.frontend == "fastapi":
        from springhouse.frontends import fastapi  # noqa: PLC0415

        fastapi.run(settings, announce, serve_control)
    elif settings.frontend == "flask":
        try:
            from springhouse.frontends import wsgi_server  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise BadSettings(f"--frontend flask needs {error.name}: pip install 'springhouse[flask]'") from None
        wsgi_server.run(settings, announce, serve_control)
    else:
        running.run(settings, announce)
