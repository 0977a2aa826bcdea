"""The commands `springhouse` and `caching-proxy`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from springhouse import __version__
from springhouse.cli.demo import demo
from springhouse.cli.flags import with_settings
from springhouse.server.listener import CannotListen
from springhouse.server.running import run
from springhouse.settings import BadSettings, Settings, load

app = typer.Typer(
    name="springhouse",
    help="An HTTP caching proxy: it stands in front of an origin, keeps what comes from it, and answers from that.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
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


@app.command()
@with_settings
def serve(
    config: Annotated[
        Path | None, typer.Option("--config", help="Read settings from this TOML file.", metavar="FILE")
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
        settings = load(given, config)
        if not settings.origin and not settings.classic:
            raise BadSettings(
                "--origin is missing: say which server to fetch from, as in --origin http://localhost:3000"
            )
        run(settings, lambda where: announce(where, settings))
    except (BadSettings, CannotListen) as problem:
        fail(str(problem))


def announce(where: str, settings: Settings) -> None:
    """Say where the proxy listens and what it fronts."""
    typer.echo(f"springhouse {__version__} listens on {where} and serves {settings.origin or 'GET /proxy?url=…'}")
    sys.stdout.flush()


def fail(problem: str) -> None:
    """Say what is wrong, one line each, and exit with 2."""
    for line in problem.splitlines():
        typer.echo(f"springhouse: {line}", err=True)
    raise typer.Exit(2)


app.command()(demo)


def main() -> None:
    """Run `springhouse`."""
    app()


def caching_proxy() -> None:
    """Run `caching-proxy`: `springhouse serve` under the name of the exercise it grew from."""
    typer.main.get_command(app).main(args=["serve", *sys.argv[1:]], prog_name="caching-proxy")
