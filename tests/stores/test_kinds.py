"""Kinds of tiers by the scheme of their URL: those built in, and those of other packages."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.stores.backends import NOW, make_entry

from springhouse.service import options_of, store_of
from springhouse.settings import Settings
from springhouse.stores.disk.kind import DISK_KIND
from springhouse.stores.kinds import GROUP, check, kind_of

if TYPE_CHECKING:
    from pathlib import Path

    from springhouse.rules.entry import Entry

KEY, OTHER = b"http://a.test/1", b"http://a.test/2"
SHELF = '''
"""A tier as another package would have it: a dictionary."""

from springhouse.rules.purging import Receipt, remaining
from springhouse.stores.errors import StoreErrors
from springhouse.stores.kinds import TierKind


class Shelf:
    opened = []

    def __init__(self, options):
        self.options, self.loop = options, options.loop
        self.errors, self.patience, self.leases = StoreErrors(), 1.0, None
        self.variants = {}
        self.is_closed = False
        self.opened.append(self)

    def lookup(self, key, done):
        self.loop.call_soon_threadsafe(done, self.variants.get(key, ()))

    def put(self, entry):
        self.variants[entry.key] = (entry,)

    def purge(self, purge, done=None, *, held=(), dry_run=False):
        before = len(self.variants)
        left = {key: remaining(found, purge) for key, found in self.variants.items()}
        self.variants = {key: found for key, found in left.items() if found}
        if done is not None:
            self.loop.call_soon_threadsafe(done, Receipt(before - len(self.variants)))

    def has_foreign_purges(self):
        return False

    async def aclose(self):
        self.is_closed = True


def check(url):
    if url == "shelf:":
        raise ValueError("which shelf?")


KIND = TierKind(open=Shelf, check=check)
NO_KIND = Shelf
'''
ENTRY_POINTS = f"[{GROUP}]\nshelf = shelf_of_a_test:KIND\nbroken = shelf_of_a_test:NO_KIND\n"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type:
    """Install a package with a kind of tier of its own; return its class."""
    (tmp_path / "shelf_of_a_test.py").write_text(SHELF)
    info = tmp_path / "shelf_of_a_test-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf-of-a-test\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shelf_of_a_test", raising=False)
    return kind_of("shelf://oak").open


def test_the_tier_of_another_package_stands_behind_memory(shelf: type) -> None:
    asyncio.run(_stored_and_found_on(shelf))


async def _stored_and_found_on(shelf: type) -> None:
    settings = Settings(store="shelf://oak", store_secret="s", store_prefix="p:", max_variants=7)
    store = store_of(settings, options_of(settings), lambda: NOW)
    store.open()
    (tier,) = shelf.opened
    assert store.tier is tier
    options = tier.options
    assert (options.url, options.secret, options.prefix, options.variants_max) == ("shelf://oak", b"s", "p:", 7)
    entry = make_entry(KEY)
    store.put(entry)
    assert KEY not in store.records, "what else the tier has under the key is not known"
    found: asyncio.Future[tuple[Entry, ...]] = asyncio.get_running_loop().create_future()
    assert store.find(KEY, found.set_result) is None
    assert await found == (entry,)
    assert store.lookup(KEY) == (entry,)
    await store.aclose()
    assert tier.is_closed
    assert store.lookup(KEY) == ()


def test_a_package_may_refuse_a_url(shelf: type) -> None:
    check("shelf://oak")
    with pytest.raises(ValueError, match="which shelf"):
        Settings(store="shelf:")


def test_what_a_package_names_must_be_a_kind(shelf: type) -> None:
    with pytest.raises(ValueError, match="broken"):
        check("broken://x")


def test_an_unknown_scheme_says_which_are_known(shelf: type) -> None:
    with pytest.raises(ValueError, match=r"'shelve://oak' is no store; known are broken, disk, memory, .*redis.*shelf"):
        check("shelve://oak")


@pytest.mark.parametrize("url", ["disk", "disk:somewhere"])
def test_the_disk_is_built_in(url: str) -> None:
    assert kind_of(url) is DISK_KIND
    assert kind_of(url).is_local


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "unix"])
def test_redis_is_built_in_and_not_loaded_before_it_is_opened(scheme: str) -> None:
    code = (
        f"import sys\nfrom springhouse.stores.kinds import check\ncheck('{scheme}://h')\nprint('redis' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_what_is_installed_is_looked_through_only_for_an_unknown_scheme() -> None:
    code = (
        "import sys\nfrom springhouse.stores.kinds import check\n"
        "check('memory')\ncheck('disk:x')\nprint('importlib.metadata' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
