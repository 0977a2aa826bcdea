"""The scripts in `lua/`: Redis takes each of them, and each says at its head what it is given and returns."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import takewhile
from typing import TYPE_CHECKING

import pytest

from springhouse.stores.redis import scripts
from springhouse.stores.redis.scripts import Script, load_script

if TYPE_CHECKING:
    from tests.support.redis_server import RedisServer

FOLDER = files("springhouse.stores.redis").joinpath("lua")
NAMES = sorted(file.name.removesuffix(".lua") for file in FOLDER.iterdir() if file.name.endswith(".lua"))
SHARED = sorted(file.name for file in FOLDER.joinpath("shared").iterdir())
OPEN_ENDED = "…"


def head_of(name: str) -> list[str]:
    """Return the lines of comment that a script begins with."""
    lines = FOLDER.joinpath(f"{name}.lua").read_text("utf-8").splitlines()
    return [line.removeprefix("--").strip() for line in takewhile(lambda line: line.startswith("--"), lines)]


def code_of(name: str) -> str:
    """Return what a script does, without its head."""
    lines = FOLDER.joinpath(f"{name}.lua").read_text("utf-8").splitlines()
    return "\n".join(lines[len(head_of(name)) :])


@pytest.mark.parametrize("name", NAMES)
def test_redis_takes_it_under_the_digest_it_is_called_by(shared_redis: RedisServer, name: str) -> None:
    script = load_script(name)
    assert shared_redis.client().script_load(script.text) == script.digest


@pytest.mark.parametrize("name", NAMES)
def test_its_head_names_its_arguments_and_its_result(name: str) -> None:
    head = head_of(name)
    named = [match for line in head if (match := re.match(r"ARGV\[(\d+)(…?)\]\s+\w", line))]
    assert [int(match[1]) for match in named] == list(range(1, len(named) + 1))
    used = {int(number) for number in re.findall(r"ARGV\[(\d+)\]", code_of(name))}
    assert used <= set(range(1, len(named) + 1))
    assert used | {int(match[1]) for match in named if match[2] == OPEN_ENDED} == set(range(1, len(named) + 1))
    assert any(line.startswith("KEYS[1]  base: ") for line in head)
    assert any(line.startswith("Returns ") for line in head)


def test_every_script_is_loaded_and_every_shared_file_is_used() -> None:
    loaded = {script.text for script in vars(scripts).values() if isinstance(script, Script)}
    assert loaded == {load_script(name).text for name in NAMES}
    for shared in SHARED:
        assert any(FOLDER.joinpath("shared", shared).read_text("utf-8") in text for text in loaded), shared


def test_what_is_shared_stands_before_what_uses_it_and_once() -> None:
    text = load_script("put").text
    places = [text.index(line) for line in ("local base = KEYS[1]", "local function data_of", "local function store(")]
    assert places == sorted(places)
    assert text.count("local base = KEYS[1]") == 1
