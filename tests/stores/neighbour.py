"""Another process on a folder: does what it is told line by line, and says what came of it.

`put KEY TEXT`, `get KEY`, `purge KEY`, `told` (how many purges it was told of), `flush`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.stores.backends import Loop, content_of, layered_disk, make_entry

from springhouse.stores.purging import Keys, Purge


def main(folder: Path) -> None:
    loop = Loop()
    subject = layered_disk(folder, loop, 50_000_000)
    told: list[object] = []
    subject.store.on_foreign_purge = told.append
    print("ready", flush=True)
    for line in sys.stdin:
        what, *words = line.encode().split()
        answer = ""
        if what == b"put":
            subject.put(make_entry(words[0], words[1]))
        elif what == b"get":
            found = subject.lookup(words[0])
            answer = content_of(found[0], loop).decode() if found else "-"
        elif what == b"purge":
            answer = str(subject.purge(Purge(Keys((words[0],)))).keys)
        elif what == b"told":
            answer = str(len(told))
        elif what == b"flush":
            loop.result(lambda done: subject.tier.flush(lambda: done(None)))
        print(answer, flush=True)
    subject.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
