"""`springhouse serve` as a user starts it: what it says, and what it says when it cannot start."""

from __future__ import annotations

import signal
import socket
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer
from tests.support.command import Command, run

import springhouse

if TYPE_CHECKING:
    from tests.support.origin import Origin

FRESH = "max-age=60"


def test_the_start_line_says_where_and_what(origin: Origin) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH))
    with Command("springhouse", "serve", "--origin", origin.url, "--port", 0) as command:
        host, port = command.address
        assert command.lines == [
            f"springhouse {springhouse.__version__} listens on http://{host}:{port} and serves {origin.url}\n"
        ]
        assert [command.get("/a").x_cache for _ in range(2)] == ["MISS", "HIT"]
        assert not command.errors


def test_a_unix_socket(origin: Origin, tmp_path: Path) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH))
    where = tmp_path / "proxy.socket"
    where.touch()
    refused = run("springhouse", "serve", "--origin", origin.url, "--unix-socket", where)
    assert (refused.status, "is no socket" in refused.errors) == (2, True)
    where.unlink()
    with Command("springhouse", "serve", "--origin", origin.url, "--unix-socket", where) as command:
        assert command.address == str(where)
        assert command.get("/a").status == 200
        again = run("springhouse", "serve", "--origin", origin.url, "--unix-socket", where)
        assert (again.status, "Another process listens" in again.errors) == (2, True)
        command.process.kill()
        command.ended()
        assert where.exists()  # nobody cleaned up
    with Command("springhouse", "serve", "--origin", origin.url, "--unix-socket", where) as command:
        assert command.get("/a").status == 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--origin is missing: say which server to fetch from, as in --origin http://localhost:3000"),
        (("--origin", "localhost:3000"), "--origin: 'localhost:3000' is no URL: write http://localhost:3000"),
        (("--origin", "ftp://a"), "--origin: ftp:// is not supported"),
        (("--origin", "http://"), "--origin: 'http://' names no host"),
        (("--origin", "http://me:secret@a"), "has no user, query or fragment"),
        (("--origin", "http://a:99999"), "--origin: "),
        (("--origin", "http://a", "--port", "x"), "--port: "),
        (("--origin", "http://a", "--port", "70000"), "--port: "),
        (("--origin", "http://a", "--ttl", "-1"), "--ttl: "),
        (("--origin", "http://a", "--memory", "much"), "--memory: 'much' is no size: write 256MiB, 10MB"),
        (("--origin", "http://a", "--trusted-proxy", "here"), "--trusted-proxy: "),
        (("--origin", "http://a", "--config", "none.toml"), "There is no configuration file none.toml"),
        (("--origin", "http://a", "--access-log", "no/where.log"), "Cannot write the access log no/where.log"),
        (("--origin", "http://a", "--host", "192.0.2.1"), "192.0.2.1 is no address of this machine; choose one with"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    ran = run("springhouse", "serve", *arguments, cwd=tmp_path)
    assert ran.status == 2
    assert ran.output == ""
    assert said in ran.errors
    assert ran.errors.startswith("springhouse: ")
    assert ran.errors.count("\n") == 1
    assert "Traceback" not in ran.errors


def test_a_configuration_file_variables_and_options_together(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "springhouse.toml").write_text(f'origin = "{origin.url}"\nport = 0\nttl = 10\nset_cookie = "strip"\n')
    origin.on("/a", answer(b"x", set_cookie="a=b"))
    arguments = ["springhouse", "serve", "--config", "springhouse.toml"]
    found = []
    for env, option in (({}, ()), ({"CACHE_TTL": "20"}, ()), ({"SPRINGHOUSE_TTL": "30"}, ("--ttl", "40"))):
        with Command(*arguments, "--ttl-despite-no-store", "--force-ttl", *option, env=env, cwd=tmp_path) as command:
            found.append(command.get("/a")["Cache-Status"].rpartition("; ")[2])
            assert command.get("/a").all("Set-Cookie") == []
    assert found == ["ttl=10", "ttl=20", "ttl=40"]


def test_a_variable_names_the_configuration_file(origin: Origin, tmp_path: Path) -> None:
    file = tmp_path / "springhouse.toml"
    file.write_text(f'origin = "{origin.url}"\nport = 0\nttl = 10\n')
    origin.on("/a", answer(b"x"))
    with Command("springhouse", "serve", env={"SPRINGHOUSE_CONFIG": str(file)}) as command:
        assert command.get("/a")["Cache-Status"].endswith("ttl=10")


def test_an_absolute_target_on_a_unix_socket(origin: Origin, tmp_path: Path) -> None:
    origin.on("/a", answer(b"x"))
    arguments = ["springhouse", "serve", "--origin", origin.url, "--unix-socket", str(tmp_path / "s")]
    with Command(*arguments) as command:
        assert command.get(f"{origin.url}/a").body == b"x"
        assert command.get("http://elsewhere/a").status == 421


def test_a_configuration_file_with_a_key_that_is_no_setting(tmp_path: Path) -> None:
    (tmp_path / "springhouse.toml").write_text('origin = "http://a"\ntime_to_live = 10\n')
    ran = run("springhouse", "serve", "--config", "springhouse.toml", cwd=tmp_path)
    assert (ran.status, ran.output) == (2, "")
    assert ran.errors == "springhouse: time_to_live is no setting; `springhouse serve --help` lists them\n"


@pytest.mark.parametrize(
    "arguments",
    [("serve", "--no-such-option"), ("serve", "--set-cookie", "eat"), ("dance",), ("serve", "--port")],
    ids=str,
)
def test_what_no_command_line_has(arguments: tuple[str, ...]) -> None:
    ran = run("springhouse", *arguments)
    assert ran.status == 2
    assert "Traceback" not in ran.errors
    assert arguments[-1].split("=")[0] in ran.errors


def test_a_port_that_is_taken(origin: Origin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run("springhouse", "serve", "--origin", origin.url, "--port", port)
    assert ran.status == 2
    assert ran.errors == (
        f"springhouse: Port {port} is taken: something already listens on 127.0.0.1:{port}. "
        "Choose another with --port, or stop it.\n"
    )


def test_the_version() -> None:
    root = Path(__file__).resolve().parents[2]
    ran = run("springhouse", "--version")
    assert (ran.status, ran.output) == (0, f"springhouse {springhouse.__version__}\n")
    assert tomllib.loads((root / "pyproject.toml").read_text())["project"]["name"] == "springhouse"


def test_help_without_a_command() -> None:
    ran = run("springhouse")
    assert "serve" in ran.output + ran.errors
    assert "demo" in ran.output + ran.errors


def test_the_classic_name(origin: Origin, tmp_path: Path) -> None:
    origin.on("/products", answer(b"x"))
    env = {"XDG_CACHE_HOME": str(tmp_path)}
    with Command("caching-proxy", "--port", 0, "--origin", origin.url, "--ttl", 30, env=env) as command:
        first, second = command.get("/products"), command.get("/products")
        assert (first.x_cache, second.x_cache, second.body) == ("MISS", "HIT", b"x")
        command.signal(signal.SIGTERM)
        assert command.ended().status == 0
    with Command("caching-proxy", "--port", 0, "--origin", origin.url, env=env) as command:
        assert command.get("/products").x_cache == "HIT"  # it survives the end of the process
    cleared = run("caching-proxy", "--clear-cache", "--origin", origin.url, env=env)
    assert (cleared.status, "1 responses removed" in cleared.output) == (0, True)
    with Command("caching-proxy", "--port", 0, "--origin", origin.url, env=env) as command:
        assert command.get("/products").x_cache == "MISS"
