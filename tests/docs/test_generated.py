"""What the documentation takes from the code is what the code says today."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from springhouse.rules.reasons import CATALOGUE
from springhouse.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "springhouse"


def generator() -> Any:
    """Return docs/generate.py as a module."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def part_of(page: Path, name: str) -> str:
    """Return the generated part of a page."""
    return page.read_text("utf-8").partition(f"<!-- generated: {name} -->")[2].partition(f"<!-- end: {name} -->")[0]


def test_generated_parts_are_up_to_date() -> None:
    stale = [str(path.relative_to(ROOT)) for path, _ in generator().stale()]
    assert not stale, f"{', '.join(stale)}: run `make docs`"


def test_a_stale_part_is_noticed() -> None:
    generate = generator()
    page = "before\n<!-- generated: x -->\nold\n<!-- end: x -->\nafter\n"
    assert generate.with_part(page, "x", "new") == page.replace("old", "new")
    with pytest.raises(ValueError, match="no place for 'y'"):
        generate.with_part(page, "y", "new")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described(name: str) -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    assert f"`--{name.replace('_', '-')}" in page
    assert f"`SPRINGHOUSE_{name.upper()}`" in page
    assert f"| `{name}` |" in page


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_reason_is_described(name: str) -> None:
    catalogue = part_of(ROOT / "docs" / "how-caching-is-decided.md", "reasons")
    assert catalogue.count(f"\n| `{name}` |") == 1


def test_the_tree_names_every_module_and_nothing_else() -> None:
    found, rooms = set(), list[str]()
    for line in part_of(ROOT / "ARCHITECTURE.md", "modules").splitlines():
        if match := re.match(r"((?:  )+)(\w+)(/|\.py)", line):
            del rooms[len(match[1]) // 2 - 1 :]
            if match[3] == "/":
                rooms.append(match[2])
            else:
                found.add("/".join([*rooms, match[2] + ".py"]))
    modules = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    assert found == modules


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.stat().st_size]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_in_one_line_what_it_owns(module: Path) -> None:
    line = generator().first_line(module)
    assert line.endswith((".", ":", "?")), f"{module}: its first line is {line!r}"


def test_the_example_of_a_configuration_file_is_one(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    example = tmp_path / "springhouse.toml"
    example.write_text(page.partition("```toml\n")[2].partition("```")[0], "utf-8")
    settings = load_settings({}, example)
    assert settings.model_fields_set == {"origin", "port", "ttl", "memory", "trusted_proxy"}
    assert settings.memory == 2**30
