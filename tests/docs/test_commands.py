"""The commands of the README do what it says they do."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sysconfig
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.loops import PATIENCE_S
from tests.support.proxy import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
NEEDED = ("sh", "curl", "grep")


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def steps() -> Iterator[tuple[str, str]]:
    """Yield each command of the console blocks with what it prints."""
    for block in blocks("console"):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = step.partition("\n")
            yield command, printed


def steady(text: str) -> str:
    """Return text without line ends of HTTP, and without the seconds that differ from run to run."""
    return re.sub(r"(Age: |ttl=)\d+", r"\1N", text.replace("\r", ""))


def await_listening(port: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < end, f"nobody listens on {port}"
            time.sleep(0.05)
        else:
            return


def await_printed(out: Path, printed: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while out.read_text() != printed and time.monotonic() < end:
        time.sleep(0.05)
    assert out.read_text() == printed


@pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}")
def test_the_first_minute_is_as_described(tmp_path: Path) -> None:
    ports = {"3000": str(free_port()), "8000": str(free_port())}
    scripts = sysconfig.get_path("scripts")
    env = os.environ | {"PYTHONUNBUFFERED": "1", "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    seen = []
    with ExitStack() as stack:
        for command, printed in steps():
            seen.append(command)
            for port, other in ports.items():
                command, printed = command.replace(port, other), printed.replace(port, other)
            if command.endswith("&"):
                out = tmp_path / f"{len(seen)}.out"
                with out.open("wb") as file:
                    running = subprocess.Popen(
                        ["sh", "-c", f"exec {command[:-1]}"],
                        cwd=tmp_path, env=env, stdout=file, stderr=subprocess.DEVNULL,
                    )  # fmt: skip
                stack.callback(running.wait, 10)
                stack.callback(running.terminate)
                await_listening(int(re.findall("|".join(ports.values()), command)[-1]))
                await_printed(out, printed)
            else:
                done = subprocess.run(
                    ["sh", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
                )
                assert steady(done.stdout) == steady(printed), command
    assert len(seen) >= 5


def test_make_has_the_targets_that_are_named() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"):
        named = set(re.findall(r"`make ([a-z]+)", (ROOT / page).read_text("utf-8")))
        assert named
        assert named <= targets
    assert set(re.findall(r"^make ([a-z]+)", "\n".join(blocks("sh")), re.MULTILINE)) == {"run", "test"}


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150
