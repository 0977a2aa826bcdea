"""`caching-proxy --clear-cache`: clear the cache, whether or not a proxy is running.

What is on disk or in Redis is cleared there, and proxies that run on it see that at once. A cache in memory can only be
cleared by the proxy that has it.
"""

import asyncio
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from springhouse.service import folder_of, folders, tier_of
from springhouse.settings import Settings
from springhouse.stores.database import Unusable
from springhouse.stores.purging import Everything, Purge, Receipt

TIMEOUT_S = 30.0


class CannotClear(Exception):
    """The cache was not cleared; the text says why."""


def clear(settings: Settings) -> str:
    """Clear the cache that the settings name; return what was done. Raises CannotClear.

    Without an origin and without a folder of its own, the disk caches of all origins.
    """
    if settings.store == "memory":
        return _clear_running(settings)
    if settings.store != "disk":
        return asyncio.run(_clear_stored(settings))
    found = [folder_of(settings)] if settings.origin else sorted(p for p in folders().glob("*") if p.is_dir())
    said = [asyncio.run(_clear_stored(_on(settings, folder))) for folder in found if folder.is_dir()]
    return "\n".join(said) or f"There is nothing to clear: no cache in {found[0] if settings.origin else folders()}"


def _on(settings: Settings, folder: Path) -> Settings:
    return settings.model_copy(update={"store": f"disk:{folder}"})


async def _clear_stored(settings: Settings) -> str:
    loop = asyncio.get_running_loop()
    cleared: asyncio.Future[Receipt] = loop.create_future()
    try:
        tier = tier_of(settings)
    except (Unusable, ValueError) as error:
        raise CannotClear(str(error)) from None
    try:
        tier.purge(Purge(Everything()), cleared.set_result)
        receipt = await asyncio.wait_for(cleared, TIMEOUT_S)
    except TimeoutError:
        raise CannotClear(f"{settings.store} does not answer") from None
    finally:
        await tier.aclose()
    if receipt.failure:
        raise CannotClear(f"It is not certain that {settings.store} was cleared: {receipt.failure}")
    return f"The cache in {settings.store.removeprefix('disk:')} is clear: {receipt.entries} responses removed."


def _clear_running(settings: Settings) -> str:
    """Ask the proxy that listens where the settings say."""
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
