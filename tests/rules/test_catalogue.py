"""The catalogue of reasons is closed and alive: the tables of these tests produce every one of them, and no other."""

from __future__ import annotations

from tests.exchange import test_flow, test_flow_coalescing, test_flow_failures, test_flow_passing
from tests.rules import test_reuse, test_storing, test_validation

from springhouse.rules.reasons import CATALOGUE, Reason

FORWARDED = {"bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"}
"""The values of fwd (RFC 9211 §2.2)."""


def produced() -> set[Reason]:
    """Return the reasons that the tables expect, each of which a test has compared with what came."""
    found = {row[4] for row in test_storing.ROWS} | {row[6] for row in test_reuse.ROWS}
    found |= {row[2] for row in test_reuse.NEVER if row[2] is not None}
    found |= {row[6] for row in test_validation.ROWS}
    for module in (test_flow, test_flow_failures, test_flow_passing, test_flow_coalescing):
        found |= {row.reason for row in module.ROWS if row.reason is not None}
    return found


def test_every_reason_is_produced() -> None:
    assert {reason.name for reason in produced()} == set(CATALOGUE)
    assert produced() == set(CATALOGUE.values()), "by identity: there is one value of each"


def test_names_are_tokens_and_texts_are_sentences() -> None:
    for name, reason in CATALOGUE.items():
        assert reason.name == name
        assert name.replace("-", "").isalpha()
        assert name == name.lower()
        assert reason.text.endswith(".")
        assert reason.text[0].isupper()
        assert reason.section.startswith("RFC ")
        assert " §" in reason.section


def test_forwarding_tokens_are_those_of_cache_status() -> None:
    assert {reason.token for reason in CATALOGUE.values()} - {""} <= FORWARDED
