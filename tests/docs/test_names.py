"""One public name means one thing: no two modules define the same one, so that a search for it finds one."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import springhouse

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(springhouse.__file__).parent


def defined(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements define at the top level of a module; what is imported is not defined there."""
    for node in body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.If(body=inner, orelse=other) | ast.Try(body=inner, orelse=other):
                yield from set(defined(inner)) | set(defined(other))


def modules_by_name(root: Path) -> dict[str, list[str]]:
    """Return the modules that define each public name."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(root.rglob("*.py")):
        for name in dict.fromkeys(defined(ast.parse(path.read_text("utf-8")).body)):
            if not name.startswith("_"):
                found[name].append(path.relative_to(root).as_posix())
    return found


def test_no_public_name_is_defined_twice() -> None:
    assert not {name: modules for name, modules in modules_by_name(ROOT).items() if len(modules) > 1}


def test_a_name_that_is_defined_twice_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("LIMIT = 1\n_own = 2\ndef read(): ...\n")
    (tmp_path / "b.py").write_text("from a import read\n_own = 3\nif True:\n    LIMIT: int = 4\n")
    found = modules_by_name(tmp_path)
    assert found == {"LIMIT": ["a.py", "b.py"], "read": ["a.py"]}
