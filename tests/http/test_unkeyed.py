"""Names that shape answers get their bits however they are spelled, and so do those that only look like other names."""

from __future__ import annotations

import pytest

from springhouse.http import fields as f
from springhouse.http import unkeyed

GROUPS = [
    (unkeyed.ABOUT_CLIENT_NAMES, f.FORWARDING),
    (unkeyed.OVERRIDING_NAMES, f.OVERRIDING),
    (unkeyed.UNWANTED_NAMES, f.UNWANTED),
]
ROWS = [(name, bit) for group, bit in GROUPS for name in group]


@pytest.mark.parametrize(("name", "bit"), ROWS)
def test_a_row_and_its_family(name: bytes, bit: int) -> None:
    members = [name] if not name.endswith(b"*") else [name[:-1] + end for end in (b"", b"x", b"-never-seen-before")]
    for member in members:
        for spelling in (member, member.title(), member.upper()):
            assert f.bit_of(spelling) in (bit, f.OVERRIDING), spelling  # X-Original-URL is a member of two


@pytest.mark.parametrize("sign", [b"_", b".", b"~", b"!"])
def test_other_signs_make_names_that_go_nowhere(sign: bytes) -> None:
    names = [name.replace(b"*", b"x") for name, _ in ROWS]
    names += [b"content-length", b"transfer-encoding", b"if-none-match", b"cache-control", b"x-forwarded-never-seen"]
    for name in names:
        if b"-" in name:
            for spelling in (name.replace(b"-", sign), name.upper().replace(b"-", sign), name.replace(b"-", sign, 1)):
                assert f.bit_of(spelling) == f.UNWANTED, spelling


def test_other_names_of_other_signs_are_odd() -> None:
    for name in (b"x_api_key", b"X_Api-Key", b"accept.language"):
        assert f.bit_of(name) == f.ODD
    for name in (b"_", b"_x", b"x_", b"x-api-key", b"\x00_a", b"accept"):
        assert f.bit_of(name) == 0
