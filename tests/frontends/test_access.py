"""Who may change the proxy's state over HTTP."""

from __future__ import annotations

import pytest

from springhouse.engine.access import objection
from springhouse.http.messages import Request


def asked_by(peer: str = "127.0.0.1", host: str = "localhost:8000", **fields: str) -> Request:
    """Return a request to clear."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return Request(b"DELETE", b"/cache", pairs, authority=host.encode(), peer=peer)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", ""])
@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "10.0.0.1", ""])
def test_this_machine_may(peer: str, host: str) -> None:
    assert objection(asked_by(peer, host), "") is None
    assert objection(asked_by(peer, host), "secret") is None


@pytest.mark.parametrize(
    "peer", ["10.0.0.1", "192.168.1.5", "8.8.8.8", "2606:4700::1", "::ffff:10.0.0.1", "fe80::1%eth0"]
)
def test_others_need_the_token(peer: str) -> None:
    assert "--token" in (objection(asked_by(peer), "") or "")
    assert "Authorization" in (objection(asked_by(peer), "secret") or "")
    assert objection(asked_by(peer, authorization="Bearer secret"), "secret") is None
    assert objection(asked_by(peer, authorization="bearer  secret"), "secret") is None
    for given in ("Bearer wrong", "Bearer secre", "Bearer secrets", "Basic secret", "secret", "Bearer"):
        assert objection(asked_by(peer, authorization=given), "secret") is not None
    assert objection(asked_by(peer, authorization="Bearer "), "") is not None


@pytest.mark.parametrize("claim", ["x_forwarded_for", "forwarded", "x_real_ip", "via", "true_client_ip", "x_client_ip"])
def test_claims_open_nothing(claim: str) -> None:
    assert objection(asked_by("10.0.0.1", **{claim: "127.0.0.1"}), "") is not None
    assert objection(asked_by("127.0.0.1", **{claim: "127.0.0.1"}), "") is not None


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "2130706433"])
def test_a_name_that_leads_here(host: str) -> None:
    assert objection(asked_by(host=host), "") is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "nonsense"},
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"origin": "http://localhost:9"},
        {"origin": "file://"},
    ],
)
def test_pages_of_other_sites_may_not(fields: dict[str, str]) -> None:
    for token in ("", "secret"):
        assert objection(asked_by(**fields), token) is not None
        assert objection(asked_by(authorization="Bearer secret", **fields), token) is not None


@pytest.mark.parametrize(
    "fields", [{"sec_fetch_site": "none"}, {"sec_fetch_site": "same-origin"}, {"origin": "http://localhost:8000"}]
)
def test_a_page_of_this_site_may(fields: dict[str, str]) -> None:
    assert objection(asked_by(**fields), "") is None
