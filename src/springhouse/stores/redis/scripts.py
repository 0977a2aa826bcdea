"""The scripts that run inside Redis, each of which changes one bucket, or the log, in one step (decision 0012).

A script is a file in `lua/`, whose head names its arguments and what it returns. What several have in common lies in
`lua/shared/`; the files that a head asks for (`-- With shared/entries.lua`) are put in front of the script, each once.
"""

import re
from hashlib import sha1
from importlib.resources import files
from typing import Final

_FOLDER: Final = files("springhouse.stores.redis").joinpath("lua")
_WITH: Final = re.compile(r"^-- With (\S+)$", re.MULTILINE)


class Script:
    """A Lua script, called by its digest. KEYS[1] is always the beginning of all names that it may touch."""

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = sha1(text.encode(), usedforsecurity=False).hexdigest()


def load_script(name: str) -> Script:
    """Return the script of that name, behind all that it shares with others."""
    parts: dict[str, str] = {}
    _collect(f"{name}.lua", parts)
    return Script("\n".join(parts.values()))


def _collect(path: str, parts: dict[str, str]) -> None:
    text = _FOLDER.joinpath(path).read_text("utf-8")
    for shared in _WITH.findall(text):
        if shared not in parts:
            _collect(shared, parts)
    parts[path] = text


LOOKUP: Final = load_script("lookup")
PUT: Final = load_script("put")
REPLACE: Final = load_script("replace")
FORGET: Final = load_script("forget")
FORGET_DAMAGED: Final = load_script("forget_damaged")
WRITE_CHUNK: Final = load_script("write_chunk")

PURGE_KEYS: Final = load_script("purge_keys")
PURGE_LABELS: Final = load_script("purge_labels")
PURGE_PREFIX: Final = load_script("purge_prefix")
COUNT_KEYS: Final = load_script("count_keys")
COUNT_LABELS: Final = load_script("count_labels")
COUNT_PREFIX: Final = load_script("count_prefix")

ACQUIRE_LEASE: Final = load_script("acquire_lease")
LEASE_STATUS: Final = load_script("lease_status")
EXTEND_LEASE: Final = load_script("extend_lease")
RELEASE_LEASE: Final = load_script("release_lease")

APPEND_TO_LOG: Final = load_script("append_to_log")
NODE_ALIVE: Final = load_script("node_alive")
NODES_ALIVE: Final = load_script("nodes_alive")
NODE_LEAVES: Final = load_script("node_leaves")
