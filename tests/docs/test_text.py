"""Links lead somewhere, options exist, decisions keep their form, and nothing tells where it was written."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from springhouse.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {"node_modules", "build", "dist"}
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part in SKIPPED or part.startswith(".") for part in path.relative_to(ROOT).parts)
)
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
ABOUT_OPTIONS = [
    ROOT / name
    for name in (
        "README.md", "docs/settings.md", "docs/errors.md", "docs/operating.md", "docs/how-caching-is-decided.md",
    )
]  # fmt: skip
OTHER_OPTIONS = {"--help", "--config", "--bind", "--command"}
"""Options that are no settings: of the command itself, and of other tools that are shown."""
REGISTRIES = tuple(".".join(name) for name in (
    ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("yarnpkg", "com"),
))  # fmt: skip


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)} links to {link}"
        assert not anchor or anchor in anchors(target), f"{name_of(page)} links to {link}, which has no such heading"


@pytest.mark.parametrize("page", ABOUT_OPTIONS, ids=name_of)
def test_options_exist(page: Path) -> None:
    flags = {"--" + name.replace("_", "-") for name in Settings.model_fields}
    known = flags | {f"--no-{flag[2:]}" for flag in flags} | OTHER_OPTIONS
    used = set(re.findall(r"(?<![\w<!-])--[a-z][a-z-]*\b", page.read_text("utf-8")))
    assert used <= known


@pytest.mark.parametrize("page", DECISIONS, ids=name_of)
def test_a_decision_keeps_its_form(page: Path) -> None:
    text = page.read_text("utf-8")
    assert len(text.splitlines()) <= 60
    number = int(page.name[:4])
    assert re.match(rf"# {number}\. \S", text) or re.match(rf"# {number:04}[:.]? \S", text)
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", page.name)
    headings = re.findall(r"^## (\w+)", text, re.MULTILINE)
    assert headings == ["Context", "Choice", "Rejected", "Consequences"]


def test_decisions_are_numbered_once() -> None:
    numbers = [page.name[:4] for page in DECISIONS]
    assert len(set(numbers)) == len(numbers)


def tracked() -> list[Path]:
    """Return the files that are in version control."""
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git repository")
    return [ROOT / name for name in done.stdout.split("\0") if name]


def test_nothing_tells_of_the_machine_it_was_written_on() -> None:
    here = "|".join(re.escape(str(path)) for path in (ROOT, Path.home()) if len(path.parts) > 1)
    forbidden = re.compile(rf"(?<![\w./-])(?:{here or '$^'})(?:/|\b)|" + "|".join(map(re.escape, REGISTRIES)))
    found = []
    for path in tracked():
        if not path.is_file() or "assets" in path.parts:  # assets are other people's files
            continue
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1):
            if hit := forbidden.search(line):
                found.append(f"{name_of(path)}:{number}: {hit[0]}")
    assert not found
