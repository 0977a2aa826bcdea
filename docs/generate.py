"""Writes the parts of the documentation that follow from the code: settings, reasons, statuses, modules, memories.

    python docs/generate.py            write them (`make docs`)
    python docs/generate.py --check    write nothing; exit 1 and say which file is stale

A file contains a generated part between two comments, `<!-- generated: NAME -->` and `<!-- end: NAME -->`. What stands
there is overwritten; everything else in the file is written by hand.
"""

from __future__ import annotations

import ast
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from springhouse.http.memo import BOUNDS, KIB, MIB
from springhouse.rules import reasons, statuses
from springhouse.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "springhouse"

LAYERS = (
    "http", "rules", "wire", "exchange",
    "transport", "stores", "upstream", "observe", "engine", "control", "settings.py", "service.py",
    "server", "frontends", "asgi.py", "wsgi.py", "cli",
)  # fmt: skip
"""From the ground up. What is not listed here comes last, so that a new package shows up at once."""
LINE_AFTER = "exchange"
BRIEF_MAX = 80
"""Characters that the list of modules says of one."""

# Settings.


def settings() -> str:
    """Return a table of all settings for each group, in the order in which they are declared."""
    groups: dict[str, list[str]] = {}
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        groups.setdefault(str(extra["group"]), []).append(setting(name, field, str(extra["hint"])))
    header = "| option | variable | TOML key | default | meaning |\n|---|---|---|---|---|\n"
    return "\n\n".join(f"## {group}\n\n{header}" + "\n".join(rows) for group, rows in groups.items())


def setting(name: str, field: Any, hint: str) -> str:
    """Return the row of one setting."""
    flag = "--" + name.replace("_", "-")
    if field.annotation is bool:
        flag += f"`, `--no-{flag[2:]}"
    elif get_origin(field.annotation) is Literal:
        flag += " " + "|".join(get_args(field.annotation))
    elif hint:
        flag += f" {hint}"
    variables = ", ".join(f"`{variable}`" for variable in variables_of(name, field))
    cells = (f"`{flag}`", variables, f"`{name}`", default(field.default), field.description or "")
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def variables_of(name: str, field: Any) -> list[str]:
    """Return the environment variables of a setting, the strongest first."""
    ours = f"SPRINGHOUSE_{name.upper()}"
    aliases = getattr(field.validation_alias, "choices", [])
    return [ours, *(alias for alias in aliases if alias.isupper() and alias != ours)]


def default(value: object) -> str:
    """Return a default as it would be written."""
    if isinstance(value, bool):
        return "on" if value else "off"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "–" if text in ("", "None", "()") else f"`{text}`"


# Reasons.


def reasons_table() -> str:
    """Return the catalogue of reasons as a table."""
    rows = [
        f"| `{reason.name}` | {f'`fwd={reason.token}`' if reason.token else '–'} | {reason.text} | {reason.section} |"
        for reason in reasons.CATALOGUE.values()
    ]
    return "| reason | `Cache-Status` | meaning | from |\n|---|---|---|---|\n" + "\n".join(rows)


# Statuses.


def statuses_table() -> str:
    """Return for whom responses are stored, by status; statuses that are treated alike share a row."""
    rows: dict[statuses.Rule, list[str]] = {}
    for status, rule in statuses.RULES.items():
        rows.setdefault(rule, []).append(str(status))
    rows[statuses.UNKNOWN] = ["any other of 200 to 599"]
    rows[statuses.NOT_FINAL] = ["below 200, above 599"]
    lines = [
        f"| {', '.join(which)} | {rule.storable.value} | {rule.why} | {rule.section} |" for rule, which in rows.items()
    ]
    return "| status | is stored | because | from |\n|---|---|---|---|\n" + "\n".join(lines)


# Modules.


def modules() -> str:
    """Return the tree of modules, each with what the first line of its docstring says."""
    lines = ["src/springhouse/"]
    for part in sorted(PACKAGE.iterdir(), key=place):
        lines += tree(part, depth=1)
        if part.name == LINE_AFTER:
            lines.append("  " + " the line ".center(60, "-"))
    return "```text\n" + "\n".join(line.rstrip() for line in lines) + "\n```"


def place(path: Path) -> tuple[int, str]:
    """Sort from the ground up."""
    return (LAYERS.index(path.name) if path.name in LAYERS else len(LAYERS), path.name)


def tree(part: Path, depth: int) -> Iterator[str]:
    """Yield the line of a module; of a package its line, then its modules and the packages within it."""
    indent, width = "  " * depth, 18 - 2 * depth
    if part.suffix == ".py" and part.name != "__init__.py":
        yield f"{indent}{part.name:<{width}} {brief(part)}"
    elif (part / "__init__.py").exists():
        yield f"{indent}{part.name + '/':<{width}} {brief(part / '__init__.py')}"
        for inner in sorted(part.iterdir(), key=lambda path: (path.is_dir(), path.name)):
            yield from tree(inner, depth + 1)


def first_line(module: Path) -> str:
    """Return the first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
    return text.partition("\n")[0]


def brief(module: Path) -> str:
    """Return the first line of a module's docstring, a long one up to where its first clauses end."""
    line = first_line(module).removesuffix(".")
    if len(line) <= BRIEF_MAX:
        return line
    ends = [found.start() for found in re.finditer(r"[:;.,] | \(", line[: BRIEF_MAX + 2])]
    whole = [line[:end] for end in ends if line.count("(", 0, end) == line.count(")", 0, end)]
    return whole[-1] if whole else line


# Memories.


def memories() -> str:
    """Return a table of the memories that messages can fill: what each holds, and how many bytes at most."""
    for module in sorted(PACKAGE.rglob("*.py")):
        import_module(".".join(module.relative_to(PACKAGE.parent).with_suffix("").parts))
    owners = sorted({bound.per for bound in BOUNDS.values()}, key=lambda owner: (owner != "process", owner))
    return "\n\n".join(memories_of(owner) for owner in owners)


def memories_of(owner: str) -> str:
    """Return the table of what each process, each connection and so on holds, with the sum."""
    bounds = sorted((bound for bound in BOUNDS.values() if bound.per == owner), key=lambda bound: bound.name.lower())
    rows = [f"| {bound.name} | {bound.holds} | {amount(bound.limit)}{growing(bound.grows_with)} |" for bound in bounds]
    rows.append(f"| **together** | | **{amount(sum(bound.limit for bound in bounds))}** |")
    return f"| per {owner} | holds | at most |\n|---|---|---|\n" + "\n".join(rows)


def amount(size: int) -> str:
    """Return a number of bytes in words."""
    return f"{size / MIB:.4g} MiB" if size >= MIB else f"{size / KIB:.4g} KiB"


def growing(settings_: tuple[str, ...]) -> str:
    """Return which settings make a memory larger."""
    return f", more with {', '.join(f'`{name}`' for name in settings_)}" if settings_ else ""


# Files.

PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "settings": ("docs/settings.md", settings),
    "reasons": ("docs/how-caching-is-decided.md", reasons_table),
    "statuses": ("docs/how-caching-is-decided.md", statuses_table),
    "modules": ("ARCHITECTURE.md", modules),
    "memories": ("docs/operating.md", memories),
}


def with_part(text: str, name: str, part: str) -> str:
    """Return a file's text with a generated part put in its place."""
    begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not found.search(text):
        raise ValueError(f"there is no place for {name!r}")
    return found.sub(lambda _: f"{begin}\n{part}\n{end}", text, count=1)


def stale() -> Iterable[tuple[Path, str]]:
    """Return the files that are not what the code says, with what they should contain."""
    texts = {path: (ROOT / path).read_text("utf-8") for path, _ in PARTS.values()}
    wanted = dict(texts)
    for name, (path, part) in PARTS.items():
        wanted[path] = with_part(wanted[path], name, part())
    return ((ROOT / path, text) for path, text in wanted.items() if text != texts[path])


def main() -> int:
    """Write or check all parts; return the exit status."""
    check = sys.argv[1:] == ["--check"]
    found = list(stale())
    for path, text in found:
        if not check:
            path.write_text(text, "utf-8")
        print(f"{path.relative_to(ROOT)} {'is stale: run `make docs`' if check else 'was brought up to date'}")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
