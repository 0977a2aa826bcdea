"""Owns the editions of http-cache-tests that run.py can drive: where each lies, and what is wanted of it.

The newest is the suite's repository as last committed, beside this one, if it is there. It is more demanding than the
release on npm, some of whose tests it has reversed: these are named in OBSOLETE, and count for nothing.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULES = HERE / "node_modules"
RELEASED = MODULES / "http-cache-tests"
NEWEST = HERE.parents[2] / "shared" / "cache-tests"

OBSOLETE = {
    "age-parse-nonnumeric": "an invalid Age is ignored, not taken for old (RFC 9111 §5.1)",
    "age-parse-negative": "an invalid Age is ignored, not taken for old (RFC 9111 §5.1)",
    "age-parse-float": "an invalid Age is ignored, not taken for old (RFC 9111 §5.1)",
    "age-parse-prefix-twoline": "of several lines the first counts (RFC 9111 §5.1)",
    "age-parse-dup-0": "of a list the first member counts (RFC 9111 §5.1)",
    "age-parse-dup-0-twoline": "of several lines the first counts (RFC 9111 §5.1)",
    "age-parse-dup-old": "of a list the first member counts (RFC 9111 §5.1)",
    "age-parse-parameter": "whether a parameter makes Age invalid is left open now",
    "age-parse-numeric-parameter": "whether a parameter makes Age invalid is left open now",
    "stale-close-must-revalidate": "an error of the cache's own, without fields of the origin's, is taken for a hit",
    "stale-close-proxy-revalidate": "an error of the cache's own, without fields of the origin's, is taken for a hit",
    "stale-close-no-cache": "an error of the cache's own, without fields of the origin's, is taken for a hit",
    "stale-close-s-maxage=2": "an error of the cache's own, without fields of the origin's, is taken for a hit",
}
"""Tests of the release that the newest edition wants otherwise, and why."""


@dataclass(frozen=True)
class Suite:
    """One edition: its folder, the folder of its programs within that, what it is compared with, what it must reach."""

    name: str
    folder: Path
    programs: str
    baseline: Path
    thresholds: dict[str, float]
    """Strict per cent, by kind."""
    obsolete: dict[str, str] = field(default_factory=dict)

    def program(self, path: str) -> str:
        """Return where a program of the suite lies."""
        return str(self.folder / self.programs / path)


def released() -> Suite:
    """Return the release that package-lock.json pins."""
    thresholds = {"required": 99.0, "optimal": 90.0}
    return Suite("released", RELEASED, ".", HERE / "expected-released.json", thresholds, OBSOLETE)


def committed(source: Path, folder: Path) -> Suite:
    """Return the suite's repository at `source`, copied to a new `folder` with the modules it needs."""
    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    (folder / "node_modules").symlink_to(MODULES)
    thresholds = {"required": 100.0, "optimal": 90.0}
    return Suite("newest", folder, "test-engine", HERE / "expected.json", thresholds)
