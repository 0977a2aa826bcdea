"""Each package says what it is for; what it exports exists, and costs nothing that is not used."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest

import springhouse

PACKAGES = [
    "springhouse",
    *(found.name for found in pkgutil.walk_packages(springhouse.__path__, "springhouse.") if found.ispkg),
]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_says_what_it_is_for_and_exports_what_exists(name: str) -> None:
    package = import_module(name)
    assert package.__doc__
    assert all(hasattr(package, exported) for exported in getattr(package, "__all__", ()))


def test_a_name_that_is_not_exported_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Settngs'"):
        _ = springhouse.Settngs  # type: ignore[attr-defined]


def test_importing_springhouse_imports_nothing_else() -> None:
    code = "import sys; import springhouse; print([name for name in sys.modules if name.startswith('springhouse.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert springhouse.Settings.__module__ == "springhouse.settings"
