"""`caching-proxy --clear-cache`: ask the running proxy to clear its cache."""

from http.client import HTTPConnection, HTTPException

from springhouse.settings import Settings


class CannotClear(Exception):
    """The cache was not cleared; the text says why."""


def clear(settings: Settings) -> str:
    """Clear the cache of the proxy that listens where the settings say; return what was done. Raises CannotClear."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    where = f"{f'[{host}]' if ':' in host else host}:{settings.port}"
    token = settings.token.get_secret_value()
    connection = HTTPConnection(host, settings.port, timeout=10)
    try:
        connection.request("DELETE", "/cache", headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        said = answer.read(4096)
    except ConnectionRefusedError:
        raise CannotClear(
            f"No proxy listens on {where}, and its cache was in memory: there is nothing to clear. "
            "If it listens elsewhere, say where with --port."
        ) from None
    except (OSError, HTTPException) as error:
        raise CannotClear(f"The proxy on {where} does not answer: {error}") from None
    finally:
        connection.close()
    if answer.status == 200 and b"Cache cleared" in said:
        return f"The cache of the proxy on {where} is clear."
    if answer.status == 403:
        raise CannotClear(f"The proxy on {where} refuses: say its --token")
    raise CannotClear(f"What listens on {where} is no proxy with --classic: it answered {answer.status}")
