"""The commands `springhouse` and `caching-proxy`."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from springhouse import __version__
from springhouse.cli.clear import CannotClear, clear
from springhouse.cli.demo import demo
from springhouse.cli.flags import with_settings
from springhouse.cli.purge import add_purge
from springhouse.cli.serving import run_front_end
from springhouse.endpoint import CannotListen
from springhouse.settings import BadSettings, Settings, load_settings

app = typer.Typer(
    name="springhouse",
    help="An HTTP caching proxy: it stands in front of an origin, keeps what comes from it, and answers from that.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

CLASSIC_NOTE = (
    "springhouse: with --classic, requests from this machine may clear the cache (GET /clear-cache, DELETE /cache). "
    "Behind another server on this machine that means everybody whose requests it relays: keep these two from being "
    "relayed, or leave --classic off and use `springhouse purge`"
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"springhouse {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command("serve")
@with_settings
def _serve(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", help="Read settings from this TOML file.", metavar="FILE", envvar="SPRINGHOUSE_CONFIG"
        ),
    ] = None,
    *,
    given: dict[str, Any],
) -> None:
    """Serve an origin through the cache.

    Every option is also a variable (SPRINGHOUSE_TTL) and a key of the TOML file (ttl). Options win over variables,
    variables over the file.

    Example: springhouse serve --origin http://localhost:3000 --port 8000 --ttl 60
    """
    try:
        settings = load_settings(given, config)
        run_front_end(settings, lambda where: announce(where, settings))
    except (BadSettings, CannotListen) as problem:
        fail(str(problem))


def announce(where: str, settings: Settings) -> None:
    """Say where the proxy listens and what it fronts."""
    typer.echo(f"springhouse {__version__} listens on {where} and serves {settings.origin or 'GET /proxy?url=…'}")
    sys.stdout.flush()
    if settings.classic:
        typer.echo(CLASSIC_NOTE, err=True)


def fail(problem: str) -> None:
    """Say what is wrong, one line each, and exit with 2."""
    for line in problem.splitlines():
        typer.echo(f"springhouse: {line}", err=True)
    raise typer.Exit(2)


app.command()(demo)
add_purge(app)

classic = typer.Typer(
    name="caching-proxy",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@classic.command()
@with_settings
def _classic(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", help="Read settings from this TOML file.", metavar="FILE", envvar="SPRINGHOUSE_CONFIG"
        ),
    ] = None,
    clear_cache: Annotated[
        bool, typer.Option("--clear-cache", help="Clear the cache, also of a proxy that runs, and exit.")
    ] = False,
    *,
    given: dict[str, Any],
) -> None:
    """Serve an origin through the cache, with the classic endpoints: springhouse serve --classic.

    Example: caching-proxy --port 3000 --origin http://dummyjson.com
    """
    try:
        settings = load_settings(given, config)
        own = {"classic": True, "store": "disk"}
        settings = settings.model_copy(update={k: v for k, v in own.items() if k not in settings.model_fields_set})
        if clear_cache:
            typer.echo(clear(settings))
        else:
            run_front_end(settings, lambda where: announce(where, settings))
    except CannotClear as problem:
        typer.echo(f"caching-proxy: {problem}", err=True)
        raise typer.Exit(1) from None
    except (BadSettings, CannotListen) as problem:
        fail(str(problem))


def main() -> None:
    """Run `springhouse`."""
    app()


def caching_proxy(argv: list[str] | None = None, *, frontend: str | None = None) -> None:
    """Run `caching-proxy`; `frontend` is the one it serves with unless an option says otherwise."""
    if frontend is not None:
        os.environ.setdefault("SPRINGHOUSE_FRONTEND", frontend)  # the weakest there is that the settings still see
    classic(argv)
