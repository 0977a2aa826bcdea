"""Redis against a plain dict, whatever is done to it in whatever order; and its indexes against a full scan."""

from __future__ import annotations

import shutil
from hashlib import sha1
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import settings
from hypothesis.stateful import initialize, run_state_machine_as_test
from tests.stores.redis_backend import ON_REDIS
from tests.stores.test_contract_model import KEYS, Model
from tests.support.examples import examples
from tests.support.redis_server import keys_without_expiry

from springhouse.rules.labels import labels_of
from springhouse.stores.codec import Codec
from springhouse.stores.redis.layout import KeyLayout, variant_name

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.redis_server import RedisServer


def audit(server: RedisServer, folder: Path) -> list[str]:
    """Return every way in which what is kept under a folder's prefix differs from what a scan of its entries finds."""
    prefix = sha1(str(folder).encode()).hexdigest()[:8] + ":"
    client, faults = server.client(), []
    names = set(client.scan_iter(match=prefix + "*", count=1000))
    for base in KeyLayout(prefix).bases:
        keys, labels, bodies = set(), set(), set()
        for name in [name for name in names if name.startswith(base + b"e:")]:
            key, fields = name[len(base) + 2 :], client.hgetall(name)
            keys.add(key)
            for variant in {field[:32] for field in fields}:
                entry, _ = Codec().decode(fields[variant + b":r"], key)
                labels |= {(label, variant + key) for label in labels_of(entry)}
                body = fields[variant + b":m"].split()[4]
                bodies |= set() if body == b"-" else {body}
                if variant != variant_name(entry) or (body == b"-") != (variant + b":b" in fields):
                    faults.append(f"{key!r}: a variant that does not fit")
        found = {
            (name[len(base) + 2 :], member)
            for name in names
            if name.startswith(base + b"l:")
            for member in client.zrange(name, 0, -1)
        }
        if found != labels:
            faults.append(f"labels differ: {found ^ labels}")
        if {name[len(base) + 2 :] for name in names if name.startswith(base + b"c:")} != bodies:
            faults.append("bodies of nobody, or missing")
        faults += [f"{index!r}" for index in (b"names", b"ends") if set(client.zrange(base + index, 0, -1)) != keys]
    return faults


class OnRedis(Model):
    """The model, with a store on the server; what is kept belongs to the folder."""

    server: ClassVar[RedisServer]
    kind: ClassVar[str]

    @initialize()
    def open(self) -> None:
        self.store = ON_REDIS[self.kind](self.server, self.folder, self.loop)

    def teardown(self) -> None:
        try:
            for key in KEYS:
                self.lookup(key)
            self.held.clear()
            self.store.close()
            assert audit(self.server, self.folder) == []
            assert keys_without_expiry(self.server) == []
        finally:
            shutil.rmtree(self.folder)


@pytest.mark.parametrize("kind", ON_REDIS)
def test_redis_is_a_dict(kind: str, shared_redis: RedisServer) -> None:
    shared_redis.client().flushall()
    machine = type("OnRedis", (OnRedis,), {"backend": "redis", "kind": kind, "server": shared_redis})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples(12), stateful_step_count=25, deadline=None)
    )
