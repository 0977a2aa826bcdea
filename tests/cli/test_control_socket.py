"""The control socket: whose it is, where it is, and that `springhouse purge` finds it by itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer
from tests.support.client import Client
from tests.support.command import Command
from tests.support.processes import await_that
from typer.testing import CliRunner

from springhouse import control_socket
from springhouse.cli.main import app, classic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result
    from tests.support.origin import Origin

    from springhouse.endpoint import Endpoint

    Env = dict[str, str]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there are no Unix sockets")
PURGE = "/.springhouse/purge"
NONE = "found no proxy of this user on this machine"


@pytest.fixture
def home() -> Iterator[Path]:
    """Return a folder with a name so short that sockets can be in it."""
    with tempfile.TemporaryDirectory(prefix="sh-") as folder:
        yield Path(folder)


@pytest.fixture
def runtime(home: Path) -> Path:
    """Return a runtime folder in which no proxy has been."""
    folder = home / "run"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def env(runtime: Path, home: Path) -> Env:
    """Return an environment with a runtime folder and a home of its own."""
    return {"XDG_RUNTIME_DIR": str(runtime), "HOME": str(home), "XDG_STATE_HOME": str(home / "state")}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Return what ends all proxies at the end."""
    with ExitStack() as ends:
        yield ends


@pytest.fixture
def url(origin: Origin) -> str:
    """Return the URL of an origin whose answers are kept."""
    origin.otherwise = answer(b"x", cache_control="max-age=600")
    return origin.url


def serving(stack: ExitStack, url: str, env: Env, *more: object) -> Command:
    """Return a proxy that listens, and has stored /x."""
    proxy = stack.enter_context(Command("springhouse", "serve", "--origin", url, "--port", 0, *more, env=env))
    await_that(lambda: proxy.get("/x").x_cache == "HIT", "it is stored")
    return proxy


def purge(env: Env, *arguments: object) -> Result:
    """Run `springhouse purge` in this process, which takes a hundredth of the time."""
    return CliRunner().invoke(app, ["purge", *map(str, arguments)], env=env)


def sockets(folder: Path) -> list[Path]:
    """Return the sockets below a folder."""
    return [path for path in folder.rglob("*") if path.is_socket()]


@pytest.mark.parametrize("front", ["native", "workers", "fastapi", "flask", "unix"])
def test_every_proxy_has_one_that_is_its_users_alone(
    stack: ExitStack, url: str, env: Env, runtime: Path, tmp_path: Path, front: str
) -> None:
    more = {"native": (), "workers": ("--workers", 2), "unix": ("--unix-socket", tmp_path / "s")}
    umask = os.umask(0)
    try:
        proxy = serving(stack, url, env, "--classic", *more.get(front, ("--frontend", front)))
    finally:
        os.umask(umask)
    (path,) = sockets(runtime)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)]
    assert [oct(mode) for mode in modes] == ["0o600", "0o700"]
    if front == "workers":
        replace_workers(proxy, path)
    done = purge(env, "/x")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("Purged ")
    assert proxy.get("/x").x_cache == "MISS"
    proxy.signal(signal.SIGTERM)
    said = [line for line in proxy.ended().errors.splitlines() if "another one is started" not in line]
    assert len(said) == 1
    assert "with --classic, requests from this machine may clear the cache" in said[0]
    assert sockets(runtime) == []


def replace_workers(proxy: Command, path: Path) -> None:
    """Kill all workers, and wait until their successors take orders."""
    for pid in Path(f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children").read_text().split():
        os.kill(int(pid), signal.SIGKILL)

    def are_both_there() -> bool:
        with Client(str(path)) as client:
            receipt = client.ask("POST", PURGE, b'{"all": true}', host="localhost")
        return bool(json.loads(receipt.body)["processes"] == 2)

    await_that(are_both_there, "both successors take part")


def test_which_of_several_is_to_be_said(stack: ExitStack, url: str, env: Env, tmp_path: Path) -> None:
    one = serving(stack, url, env)
    other = serving(stack, url, env, "--unix-socket", tmp_path / "s")
    port = one.address[1]
    asked = purge(env, "/x")
    assert asked.exit_code == 2
    assert "several proxies run here; say which one with --at:" in asked.stderr
    assert f"http://127.0.0.1:{port} (serves {url})" in asked.stderr
    assert f"{tmp_path / 's'} (serves {url})" in asked.stderr
    for which in (["--port", port], ["--at", f"http://localhost:{port}"], ["--at", f"127.0.0.1:{port}"]):
        assert purge(env, "/x", *which).exit_code == 0
        assert [one.get("/x").x_cache, other.get("/x").x_cache] == ["MISS", "HIT"]
    assert purge(env, "/x", "--at", tmp_path / "s").exit_code == 0
    assert [one.get("/x").x_cache, other.get("/x").x_cache] == ["HIT", "MISS"]
    wrong = purge(env, "/x", "--at", "http://localhost:1")
    assert (wrong.exit_code, "that listens on http://localhost:1" in wrong.stderr) == (2, True)


def test_what_a_dead_proxy_left_is_removed(stack: ExitStack, url: str, env: Env, runtime: Path) -> None:
    proxy = serving(stack, url, env)
    port = proxy.address[1]
    proxy.process.kill()
    proxy.ended()
    (left,) = sockets(runtime)
    again = serving(stack, url, env, "--port", port)
    assert purge(env, "/x").stdout.startswith("Purged 1 ")
    again.process.kill()
    again.ended()
    assert sockets(runtime) == [left]
    assert NONE in purge(env, "/x").stderr
    assert sockets(runtime) == []


# Where it is: without a proxy, since each has it in the same way.


@pytest.fixture
def open_socket(env: Env, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Endpoint | None]]:
    """Return a function that opens a control socket in an environment; it is closed at the end."""
    made: list[Endpoint] = []

    def open_in(**other: object) -> Endpoint | None:
        for name, value in {**env, **other}.items():
            monkeypatch.setenv(name, str(value))
        found = control_socket.opened("http://127.0.0.1:8000")
        made.extend([found] if found is not None else [])
        return found

    yield open_in
    for each in made:
        each.close()


def test_systemd_says_where(open_socket: Callable[..., Endpoint], home: Path) -> None:
    (home / "systemd").mkdir()
    found = open_socket(RUNTIME_DIRECTORY=f"{home / 'systemd'}:/other")
    assert found.path.parent == home / "systemd" / "control"
    assert control_socket.living() == [found.path]


def test_without_a_folder_that_is_its_users_alone_there_is_none(
    open_socket: Callable[..., Endpoint | None], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "open").mkdir()
    (home / "open").chmod(0o1777)
    (home / "blocked").touch()
    blocked = home / "blocked"
    assert open_socket(XDG_RUNTIME_DIR=home / "open", XDG_STATE_HOME=blocked, HOME=blocked) is None
    assert capsys.readouterr().err == (
        "springhouse: no control socket: no folder for it is this user's alone; set XDG_RUNTIME_DIR, or systemd's "
        "RuntimeDirectory=. `springhouse purge` needs --token here.\n"
    )
    assert list((home / "open").iterdir()) == []


def test_a_link_in_the_place_of_its_folder_is_not_followed(
    open_socket: Callable[..., Endpoint], home: Path, runtime: Path
) -> None:
    (home / "elsewhere").mkdir()
    (runtime / "springhouse").symlink_to(home / "elsewhere")
    assert open_socket().path.is_relative_to(home / "state")
    assert sockets(home / "elsewhere") == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to be two users")
def test_a_folder_of_another_user_is_not_used(open_socket: Callable[..., Endpoint], home: Path, runtime: Path) -> None:
    (runtime / "springhouse").mkdir(mode=0o700)
    os.chown(runtime / "springhouse", 65534, 65534)
    assert open_socket().path.is_relative_to(home / "state")


def test_a_folder_that_others_could_look_into_is_closed_to_them(
    open_socket: Callable[..., Endpoint], runtime: Path
) -> None:
    (runtime / "springhouse").mkdir()
    (runtime / "springhouse").chmod(0o777)
    assert open_socket().path.parent == runtime / "springhouse"
    assert stat.S_IMODE((runtime / "springhouse").stat().st_mode) == 0o700


def test_a_path_that_is_too_long_is_said(
    open_socket: Callable[..., Endpoint | None], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = home / ("x" * 100)
    long.mkdir()
    assert open_socket(XDG_RUNTIME_DIR=long) is None
    assert "is too long for a Unix socket; let XDG_RUNTIME_DIR name a shorter folder" in capsys.readouterr().err


def test_one_that_somebody_listens_on_is_left_alone(
    open_socket: Callable[..., Endpoint | None], capsys: pytest.CaptureFixture[str]
) -> None:
    first = open_socket()
    assert first is not None
    assert open_socket() is None
    assert f"another process listens on {first.path}" in capsys.readouterr().err
    assert control_socket.living() == [first.path]


def test_what_is_no_proxy_is_passed_over(stack: ExitStack, url: str, env: Env, runtime: Path) -> None:
    proxy = serving(stack, url, env)
    (path,) = sockets(runtime)
    path.with_name("file.sock").touch()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path.with_name("other.sock")))
        other.listen()

        def hang_up() -> None:
            for _ in range(2):  # it is looked whether it lives, then asked which proxy it is
                other.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        assert purge(env, "/x").exit_code == 0
    assert proxy.get("/x").x_cache == "MISS"


def test_the_cache_in_the_memory_of_a_proxy_on_a_unix_socket_is_cleared(
    stack: ExitStack, url: str, env: Env, tmp_path: Path
) -> None:
    proxy = serving(stack, url, env, "--unix-socket", tmp_path / "s")
    given = ["--clear-cache", "--store", "memory", "--unix-socket", str(tmp_path / "s")]
    done = CliRunner().invoke(classic, given, env=env)
    assert done.stdout == f"The cache of the proxy on {tmp_path / 's'} is clear.\n"
    assert proxy.get("/x").x_cache == "MISS"
