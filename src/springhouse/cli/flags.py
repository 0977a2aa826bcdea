"""Turns the settings into command-line options, so that each is declared once."""

import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import SecretStr
from rich.markup import escape

from springhouse.settings import Settings


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every setting; it gets those that were used as keyword arguments in `given`."""
    own = [p for p in inspect.signature(command).parameters.values() if p.name != "given"]

    def run(**arguments: Any) -> None:
        mine = {p.name: arguments.pop(p.name) for p in own}
        command(**mine, given={name: value for name, value in arguments.items() if value not in (None, [])})

    parameters = [*own, *(_parameter(name) for name in Settings.model_fields)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _parameter(name: str) -> inspect.Parameter:
    """Return the option of a setting. Its default is None: not given, so that weaker sources may speak."""
    field = Settings.model_fields[name]
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    flag = "--" + name.replace("_", "-")
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if field.annotation is bool else flag,
        help=escape(f"{field.description}{_shown_default(field.default)}"),
        metavar=str(extra["hint"]) or None,
        rich_help_panel=str(extra["group"]),
        show_default=False,
    )
    annotation = Annotated[_flag_type(field.annotation), option]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _flag_type(annotation: Any) -> Any:
    """Return the type the command line reads: plain for what pydantic checks afterwards."""
    if get_origin(annotation) is Literal:
        return annotation | None
    if get_origin(annotation) is tuple:
        return list[str] | None
    plain = annotation
    if get_origin(annotation) in (Union, types.UnionType):
        plain = next(a for a in get_args(annotation) if a is not type(None))
    if plain is bool or plain is Path:
        return plain | None
    return str | None


def _shown_default(default: object) -> str:
    if default in ("", None, False, ()) or isinstance(default, SecretStr):
        return ""
    return f" [default: {default:g}]" if isinstance(default, float) else f" [default: {default}]"
