"""`springhouse purge`: has a running proxy purge what it stored, and prints the receipt."""

from typing import Annotated, Any, NoReturn

import typer
from msgspec import json

from springhouse.cli.reaching import PURGE_S, Unreachable, answered, way_to


def add_purge(app: typer.Typer) -> None:
    """Add the command `purge` to an application."""
    app.command("purge")(_purge)


def _purge(
    url: Annotated[str | None, typer.Argument(help="A URL or path: all its variants.", show_default=False)] = None,
    prefix: Annotated[str | None, typer.Option(help="Every URL or path that begins so.", show_default=False)] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Everything with this tag; repeatable.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    soft: Annotated[bool, typer.Option("--soft", help="Mark stale instead of removing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be purged.")] = False,
    at: Annotated[
        str, typer.Option(help="Where the proxy listens, if several run: a URL or path.", envvar="SPRINGHOUSE_AT")
    ] = "",
    port: Annotated[int | None, typer.Option(help="The same, by its port on this machine.", show_default=False)] = None,
    token: Annotated[
        str, typer.Option(help="Its --token: purge over HTTP, also from elsewhere.", envvar="SPRINGHOUSE_TOKEN")
    ] = "",
) -> None:
    """Purge what a running proxy has stored.

    A proxy that you run on this machine is found by itself. Any other is asked over HTTP, and wants its token.

    Examples: springhouse purge /products/1, springhouse purge --tag shop --soft, springhouse purge --all
    """
    order: dict[str, Any] = {"soft": soft, "dry_run": dry_run}
    named = {"url": url, "prefix": prefix, "tags": tag or None, "all": everything or None}
    chosen = {name: value for name, value in named.items() if value is not None}
    if len(chosen) != 1:
        _fail("say what to purge: a URL, --prefix, --tag or --all, and only one of them")
    if at and port is not None:
        _fail("--at and --port both say where the proxy listens: give one of them")
    receipt = _ask(at if port is None else f":{port}", {**order, **chosen}, token)
    what = f"{receipt['entries']} responses under {receipt['keys']} URLs, {receipt['bytes']} bytes"
    where = f" in {receipt['processes']} processes" if receipt["processes"] > 1 else ""
    done = "Would purge" if dry_run else "Marked stale:" if soft else "Purged"
    typer.echo(f"{done} {what}{where}")


def _ask(at: str, order: dict[str, Any], token: str) -> dict[str, Any]:
    """Return the proxy's receipt; exit with a sentence when there is none."""
    try:
        way = way_to(at, token, PURGE_S)
        status, answer = answered(way, "POST", "/.springhouse/purge", json.encode(order), token)
    except (Unreachable, ValueError) as problem:
        _fail(str(problem))
    if status != 200 or "keys" not in answer:
        _fail(str(answer.get("detail", answer)))
    return answer


def _fail(problem: str) -> NoReturn:
    typer.echo(f"springhouse: {problem}", err=True)
    raise typer.Exit(2)
