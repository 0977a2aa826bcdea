"""`caching-proxy --clear-cache`: clear the cache, whether or not a proxy is running.

What is on disk or in Redis is cleared there, and proxies that run on it see that at once. A cache in memory can only be
cleared by the proxy that has it.
"""

import asyncio
from http.client import HTTPConnection
from pathlib import Path

from springhouse.cli.reaching import PURGE_S, NothingListens, Unreachable, answered, running_here
from springhouse.rules.purging import Everything, Purge, Receipt
from springhouse.service import tier_of
from springhouse.settings import Settings
from springhouse.stores.disk.kind import folder_of, folders
from springhouse.stores.errors import Unusable


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
    if settings.origin:
        found = [folder_of(settings.store, settings.origin)]
    else:
        found = sorted(path for path in folders().glob("*") if path.is_dir())
    said = [asyncio.run(_clear_stored(_on(settings, folder))) for folder in found if folder.is_dir()]
    searched = found[0] if settings.origin else folders()
    return "\n".join(said) or f"There is nothing to clear: no cache in {searched}"


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
        receipt = await asyncio.wait_for(cleared, PURGE_S)
    except TimeoutError:
        raise CannotClear(f"{settings.store} does not answer") from None
    finally:
        await tier.aclose()
    if receipt.failure:
        raise CannotClear(f"It is not certain that {settings.store} was cleared: {receipt.failure}")
    return f"The cache in {settings.store.removeprefix('disk:')} is clear: {receipt.entries} responses removed."


def _clear_running(settings: Settings) -> str:
    """Ask the proxy that listens where the settings say: over its control socket if we can, else over HTTP."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    where = f"{f'[{host}]' if ':' in host else host}:{settings.port}"
    if settings.unix_socket is not None:
        where = str(settings.unix_socket)
    found = next((running for running in running_here() if running.is_at(where)), None)
    if found is None and settings.unix_socket is not None:
        raise CannotClear(f"No proxy of this user listens on {where}, and its cache was in memory.")
    try:
        if found is not None:
            status, answer = answered(found.way(PURGE_S), "POST", "/.springhouse/purge", b'{"all":true}')
        else:
            way = HTTPConnection(host, settings.port, timeout=PURGE_S)
            status, answer = answered(way, "DELETE", "/cache", token=settings.token.get_secret_value())
    except NothingListens:
        raise CannotClear(
            f"No proxy listens on {where}, and its cache was in memory: there is nothing to clear. "
            "If it listens elsewhere, say where with --port."
        ) from None
    except Unreachable as problem:
        raise CannotClear(f"The proxy on {where} does not answer: {problem}") from None
    if status == 200 and ("keys" in answer or answer.get("success")):
        return f"The cache of the proxy on {where} is clear."
    if status == 403:
        raise CannotClear(f"The proxy on {where} refuses: say its --token")
    raise CannotClear(f"What listens on {where} is no proxy with --classic: it answered {status}")
