"""Every test states what it asserts: in so many words, or by a helper that does."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).resolve().parents[1]
CHECKS = frozenset({"raises", "fail", "check", "run_state_machine_as_test"})
"""What fails where something does not hold; so does every method that awaits something for so long only."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def functions_of(module: Path) -> dict[str, Function]:
    """Return the functions of a module by name, those within others and within classes included."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    return {node.name: node for node in ast.walk(tree) if isinstance(node, Function)}


@cache
def imported_by(module: Path) -> dict[str, Path]:
    """Return the names that a module imports from others of the tests."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    return {
        alias.name: TESTS.parent / f"{node.module.replace('.', '/')}.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("tests.")
        for alias in node.names
    }


def called_by(function: Function) -> Iterator[str]:
    """Return the functions that one calls or hands on, by name, and the methods that it calls."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr


@cache
def asserts(module: Path, name: str) -> bool:
    """Return whether a function asserts something, itself or in functions that the tests define."""
    function = functions_of(module).get(name)
    if function is None:
        return name in imported_by(module) and asserts(imported_by(module)[name], name)
    if any(isinstance(node, ast.Assert) for node in ast.walk(function)):
        return True
    called = set(called_by(function)) - {name}
    return any(each in CHECKS or each.startswith("await_") or asserts(module, each) for each in called)


@pytest.mark.parametrize("module", sorted(TESTS.rglob("test_*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_every_test_asserts_something(module: Path) -> None:
    tests = [name for name in functions_of(module) if name.startswith("test_")]
    assert [name for name in tests if not asserts(module, name)] == []
