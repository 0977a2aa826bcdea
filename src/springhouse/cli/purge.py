"""`springhouse purge`: asks a running proxy to forget, and says what it forgot."""

import http.client
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

import typer
from msgspec import DecodeError, json

TIMEOUT_S = 30.0


def purge(
    url: Annotated[str | None, typer.Argument(help="A URL or path: all its variants.", show_default=False)] = None,
    prefix: Annotated[str | None, typer.Option(help="Every URL or path that begins so.", show_default=False)] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Everything with this tag; repeatable.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    soft: Annotated[bool, typer.Option("--soft", help="Mark stale instead of removing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be purged.")] = False,
    at: Annotated[
        str, typer.Option(help="Where the proxy listens.", envvar="SPRINGHOUSE_AT")
    ] = "http://127.0.0.1:8000",
    token: Annotated[str, typer.Option(help="Its --token, from another machine.", envvar="SPRINGHOUSE_TOKEN")] = "",
) -> None:
    """Purge what a running proxy has stored.

    Examples: springhouse purge /products/1, springhouse purge --tag shop --soft, springhouse purge --all
    """
    order: dict[str, Any] = {"soft": soft, "dry_run": dry_run}
    named = {"url": url, "prefix": prefix, "tags": tag or None, "all": everything or None}
    chosen = {name: value for name, value in named.items() if value is not None}
    if len(chosen) != 1:
        _fail("say what to purge: a URL, --prefix, --tag or --all, and only one of them")
    receipt = _ask(at, {**order, **chosen}, token)
    what = f"{receipt['entries']} responses under {receipt['keys']} URLs, {receipt['bytes']} bytes"
    where = f" in {receipt['processes']} processes" if receipt["processes"] > 1 else ""
    done = "Would purge" if dry_run else "Marked stale:" if soft else "Purged"
    typer.echo(f"{done} {what}{where}")


def _ask(at: str, order: dict[str, Any], token: str) -> dict[str, Any]:
    """Return the proxy's receipt; exit with a sentence when there is none."""
    parts = urlsplit(at if "://" in at else f"http://{at}")
    if parts.scheme != "http" or not parts.hostname:
        _fail(f"--at {at}: write http://HOST:PORT")
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT_S)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        connection.request("POST", "/.springhouse/purge", json.encode(order), headers)
        response = connection.getresponse()
        answer = json.decode(response.read())
    except DecodeError:
        _fail(f"what listens on {at} is no springhouse")
    except (OSError, http.client.HTTPException) as error:
        _fail(f"no proxy answers on {at} ({error}); say where it listens with --at")
    finally:
        connection.close()
    if response.status != 200 or "keys" not in answer:
        _fail(str(answer.get("detail", answer)))
    return dict(answer)


def _fail(problem: str) -> NoReturn:
    typer.echo(f"springhouse: {problem}", err=True)
    raise typer.Exit(2)
