"""Settings: each is a flag, a variable and a key of the file, and the stronger source wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from springhouse.cli import main
from springhouse.settings import BadSettings, Settings, load_settings

NAMES = list(Settings.model_fields)
VALUES: dict[str, tuple[str, object]] = {
    "origin": ("http://example.org:81/base", "http://example.org:81/base"),
    "frontend": ("flask", "flask"),
    "set_cookie": ("strip", "strip"),
    "store": ("disk:/nowhere", "disk:/nowhere"),
    "access_log_format": ("json", "json"),
    "trusted_proxy": ("10.0.0.0/8", ("10.0.0.0/8",)),
    "allow_host": ("example.org", ("example.org",)),
    "store_timeout": ("7", 7),
    "unix_socket": ("/nowhere/socket", Path("/nowhere/socket")),
}
"""A value for each setting that is no number and no switch: as text, and as it is read."""


def value_of(name: str) -> tuple[str, object]:
    """Return a value that is not the default: as text, and as it is read."""
    if name in VALUES:
        return VALUES[name]
    annotation = Settings.model_fields[name].annotation
    if annotation is bool:
        return "true", True
    if annotation in (int, float):
        return "7", 7
    return "something", "something"


def read(settings: Settings, name: str) -> object:
    """Return a setting, secrets in clear."""
    value = getattr(settings, name)
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Settings]:
    """Let `serve` note the settings it would serve with."""
    noted: dict[str, Settings] = {}
    monkeypatch.setattr(main, "run_front_end", lambda settings, announce: noted.update(serve=settings))
    return noted


def serve(*arguments: str) -> Any:
    """Run `springhouse serve` within this process."""
    return CliRunner().invoke(main.app, ["serve", *arguments])


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_says_what_it_does(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description
    assert field.description[0].isupper()
    assert field.description.endswith(".")
    assert isinstance(field.json_schema_extra, dict)
    assert field.json_schema_extra["group"]


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_in_the_help(name: str) -> None:
    group = typer.main.get_command(main.app)
    options = {option.name: option for option in group.commands["serve"].params}  # type: ignore[attr-defined]
    option = options[name]
    assert "--" + name.replace("_", "-") in option.opts
    assert option.help.replace("\\[", "[").startswith(Settings.model_fields[name].description)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("origin_ca", "workers")])
def test_every_setting_is_a_flag_a_variable_and_a_key(
    name: str, given: dict[str, Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text, value = value_of(name)
    assert read(Settings(), name) != value
    flag = "--" + name.replace("_", "-")
    ran = serve(*([flag] if value is True else [flag, text]))
    assert ran.exit_code == 0, ran.output
    assert read(given["serve"], name) == value
    monkeypatch.setenv("SPRINGHOUSE_" + name.upper(), text)
    assert read(load_settings({}), name) == value
    monkeypatch.delenv("SPRINGHOUSE_" + name.upper())
    file = tmp_path / "springhouse.toml"
    file.write_text(
        f"{name} = {text if value is True or value == 7 else repr([text] if isinstance(value, tuple) else text)}\n"
    )
    assert read(load_settings({}, file), name) == value


def test_flags_win_over_variables_and_variables_over_the_file(
    given: dict[str, Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "springhouse.toml"
    file.write_text('ttl = 1\nport = 1\nhost = "file"\nforce_ttl = true\n')
    monkeypatch.setenv("SPRINGHOUSE_TTL", "2")
    monkeypatch.setenv("SPRINGHOUSE_PORT", "2")
    serve("--config", str(file), "--ttl", "3", "--no-force-ttl")
    settings = given["serve"]
    assert (settings.ttl, settings.port, settings.host, settings.force_ttl) == (3, 2, "file", False)


def test_cache_ttl_is_another_name_for_the_ttl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "springhouse.toml"
    file.write_text("ttl = 1\n")
    monkeypatch.setenv("CACHE_TTL", "2")
    assert load_settings({}, file).ttl == 2
    monkeypatch.setenv("SPRINGHOUSE_TTL", "3")
    assert load_settings({}, file).ttl == 3
    assert load_settings({"ttl": 4}, file).ttl == 4


def test_variables_of_others_are_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TTL", "PORT", "HOST", "ORIGIN", "TOKEN", "STORE"):
        monkeypatch.setenv(name, "13")
    settings = load_settings({})
    assert [read(settings, name) for name in NAMES] == [read(Settings.model_validate({}), name) for name in NAMES]
    assert (settings.ttl, settings.port, settings.host, settings.store) == (60, 8000, "127.0.0.1", "memory")


def test_several_values(given: dict[str, Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    serve("--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "::1/128")
    assert given["serve"].trusted_proxy == ("10.0.0.0/8", "::1/128")
    monkeypatch.setenv("SPRINGHOUSE_TRUSTED_PROXY", "10.0.0.0/8, ::1/128")
    assert load_settings({}).trusted_proxy == ("10.0.0.0/8", "::1/128")


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1000", 1000), ("1kB", 1000), ("1KiB", 1024), ("1.5 MiB", 1572864), ("2gb", 2 * 10**9)],
)
def test_sizes(text: str, size: int) -> None:
    assert load_settings({"memory": text}).memory == size


def test_no_number_of_variants_makes_work_without_bound() -> None:
    assert Settings(max_variants=1024).max_variants == 1024
    assert Settings(max_variants=20_000).max_variants == 1024
    assert "never more than 1024" in (Settings.model_fields["max_variants"].description or "")


@pytest.mark.parametrize("text", ["-1", "1 zebibyte", "MiB", "", "1e9", "nan"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(BadSettings, match="--memory"):
        load_settings({"memory": text})


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(BadSettings) as caught:
        load_settings({"port": "x", "ttl": "y", "memory": "z"})
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["--port", "--ttl", "--memory"]


def test_a_key_of_the_file_that_is_no_setting(tmp_path: Path) -> None:
    file = tmp_path / "springhouse.toml"
    file.write_text("tttl = 1\n")
    with pytest.raises(BadSettings, match=r"^tttl is no setting; `springhouse serve --help` lists them$"):
        load_settings({}, file)


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    file = tmp_path / "springhouse.toml"
    file.write_text("ttl: 1\n")
    with pytest.raises(BadSettings, match=r"springhouse\.toml: .*line 1"):
        load_settings({}, file)


def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPRINGHOUSE_PORT", "many")
    with pytest.raises(BadSettings, match="--port"):
        load_settings({})
    monkeypatch.delenv("SPRINGHOUSE_PORT")
    monkeypatch.setenv("CACHE_TTL", "long")
    with pytest.raises(BadSettings, match="ttl"):
        load_settings({})


def test_secrets_are_not_shown() -> None:
    assert "hidden" not in repr(load_settings({"token": "hidden", "store_secret": "hidden"}))
