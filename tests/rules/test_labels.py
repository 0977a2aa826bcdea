"""What a response may be purged by: tags and cache groups (RFC 9875)."""

from __future__ import annotations

from tests.support.heads import ok, table

from springhouse.rules import labels

TAGGED = [
    ("none", [], ()),
    ("Surrogate-Key, by spaces", ["Surrogate-Key: a b\tc"], (b"a", b"b", b"c")),
    ("xkey", ["xkey: a", "XKEY: b"], (b"a", b"b")),
    ("Cache-Tag, by commas", ["Cache-Tag: a b, c ,,d"], (b"a b", b"c", b"d")),
    ("each once", ["xkey: a b a", "Cache-Tag: b, e"], (b"a", b"b", b"e")),
    ("empty", ["Surrogate-Key:", "Cache-Tag: ,"], ()),
]


@table("about lines tags", TAGGED)
def test_tags(about: str, lines: list[str], tags: tuple[bytes, ...]) -> None:
    assert sorted(labels.tags_of(ok(*lines))) == sorted(tags)


def test_tags_are_bounded() -> None:
    many = " ".join(map(str, range(5000)))
    assert len(labels.tags_of(ok(f"xkey: {many}"))) == labels.TAGS_MAX


GROUPED = [
    # about, Cache-Groups, groups (RFC 9875 §2: a List of Strings; one that does not parse is ignored)
    ("one", ['"a"'], (b"a",)),
    ("several, over lines", ['"a", "b c"', '"d"'], (b"a", b"b c", b"d")),
    ("case counts", ['"a", "A"'], (b"a", b"A")),
    ("tokens are no Strings", ["a"], ()),
    ("one bad member spoils all", ['"a", 1'], ()),
    ("an inner list", ['("a" "b")'], ()),
    ("nonsense", ['"a'], ()),
    ("parameters are ignored", ['"a";x=1'], (b"a",)),
]


@table("about lines groups", GROUPED)
def test_groups(about: str, lines: list[str], groups: tuple[bytes, ...]) -> None:
    assert labels.groups_of(ok(*(f"Cache-Groups: {line}" for line in lines))) == groups
    assert labels.groups_to_invalidate(ok(*(f"Cache-Group-Invalidation: {line}" for line in lines))) == groups


def test_each_field_is_its_own() -> None:
    response = ok('Cache-Groups: "a"', 'Cache-Group-Invalidation: "b"')
    assert (labels.groups_of(response), labels.groups_to_invalidate(response)) == ((b"a",), (b"b",))
    assert labels.groups_of(ok()) == labels.groups_to_invalidate(ok()) == ()
