"""Looks into a disk store's folder from outside, and says what does not fit together."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from springhouse.rules.labels import labels_of
from springhouse.rules.purging import variant_of
from springhouse.stores.codec import Codec
from springhouse.stores.digests import digests_of
from springhouse.stores.disk.rows import NewRow


def audit(folder: Path, secret: bytes = b"") -> list[str]:
    """Return every way in which indexes, totals and files differ from what a scan of the entries finds."""
    faults: list[str] = []
    with closing(sqlite3.connect(folder / "entries.sqlite")) as db:
        faults += [f"integrity: {text}" for (text,) in db.execute("PRAGMA integrity_check") if text != "ok"]
        rows = db.execute("SELECT id, key, variant, size, file, record FROM entries").fetchall()
        contents = dict(db.execute("SELECT id, content FROM contents"))
        labels = set(db.execute("SELECT label, id FROM labels"))
        totals = db.execute("SELECT entries, size FROM totals").fetchall()
        marked = {row_id for (row_id,) in db.execute("SELECT id FROM marks")}
    expected_labels: set[tuple[bytes, int]] = set()
    files: set[str] = set()
    stored = {path.name: path for path in bodies(folder)}
    for row_id, key, variant, size, file, record in rows:
        entry, proof = Codec(secret).decode(record, key)
        found = labels_of(entry)
        expected_labels |= {(label, row_id) for label in found}
        if variant != variant_of(entry):
            faults.append(f"{key!r}: the variant is not its own")
        if size != NewRow(key, variant, record, found, entry.length or 0, file).size:
            faults.append(f"{key!r}: size is {size}")
        if file is not None:
            files.add(file)
        content = contents.pop(row_id, b"") if file is None else stored[file].read_bytes() if file in stored else None
        if content is None or digests_of(content) != proof:
            faults.append(f"{key!r}: its content is not what was stored")
    if totals != [(len(rows), sum(row[3] for row in rows))]:
        faults.append(f"totals are {totals}")
    if labels != expected_labels:
        faults.append(f"labels differ: {labels ^ expected_labels}")
    if marks := marked - {row[0] for row in rows}:
        faults.append(f"marks of nobody: {marks}")
    if contents:
        faults.append(f"contents of nobody: {sorted(contents)}")
    if orphans := stored.keys() - files:
        faults.append(f"files of nobody: {orphans}")
    return faults


def bodies(folder: Path) -> list[Path]:
    """Return all files of bodies."""
    return [path for path in (folder / "bodies").rglob("*") if path.is_file()]
