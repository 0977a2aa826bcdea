"""Methods that no cache answers: they go through, and what they change is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, echo

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.origin import Origin
    from tests.support.proxy import Proxy

FRESH = "max-age=60"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT", "MKCOL"])
def test_other_methods_go_through(origin: Origin, proxy: Proxy, method: str) -> None:
    origin.on("/a", echo)
    answered = proxy.ask(method, "/a", b"water", content_type="text/plain", x_own="kept")
    assert (answered.status, answered.x_cache, answered.body) == (200, "BYPASS", b"water")
    seen = origin.last
    assert (seen.method, seen.body, seen["Content-Length"]) == (method, b"water", "5")
    assert (seen["Content-Type"], seen["X-Own"]) == ("text/plain", "kept")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_change_makes_the_stored_answer_go(origin: Origin, proxy: Proxy, method: str) -> None:
    changed = answer(b"done")
    origin.on("/a", answer(b"old", cache_control=FRESH), changed, answer(b"new", cache_control=FRESH))
    proxy.get("/a")
    assert proxy.get("/a").x_cache == "HIT"
    proxy.ask(method, "/a", b"change")
    again = proxy.get("/a")
    assert (again.x_cache, again.body) == ("MISS", b"new")


@pytest.mark.parametrize("method", ["OPTIONS", "PROPFIND", "REPORT", "SEARCH"])
def test_a_safe_method_changes_nothing(origin: Origin, proxy: Proxy, method: str) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH))
    proxy.get("/a")
    assert proxy.ask(method, "/a").x_cache == "BYPASS"
    assert proxy.get("/a").x_cache == "HIT"


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
def test_a_change_that_failed_changes_nothing(origin: Origin, proxy: Proxy, status: int) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH), answer(b"no", status))
    proxy.get("/a")
    assert proxy.ask("POST", "/a", b"change").status == status
    assert proxy.get("/a").x_cache == "HIT"


@pytest.mark.parametrize("name", ["location", "content_location"])
def test_a_change_names_what_else_has_changed(origin: Origin, proxy: Proxy, name: str) -> None:
    origin.on("/b", answer(b"x", cache_control=FRESH))
    origin.on("/c?d", answer(b"x", cache_control=FRESH))
    origin.on("/a", answer(b"done", 201, **{name: "/b"}), answer(b"done", 201, **{name: f"{origin.url}/c?d#part"}))
    for other in ("/b", "/c?d"):
        proxy.get(other)
        assert proxy.get(other).x_cache == "HIT"
        proxy.ask("POST", "/a", b"")
        assert proxy.get(other).x_cache == "MISS"


def test_a_change_elsewhere_changes_nothing_here(origin: Origin, proxy: Proxy) -> None:
    origin.on("/b", answer(b"x", cache_control=FRESH))
    origin.on("/a", answer(b"done", 201, location="http://elsewhere.test/b"))
    proxy.get("/b")
    proxy.ask("POST", "/a", b"")
    assert proxy.get("/b").x_cache == "HIT"


def test_a_change_takes_all_variants_with_it(origin: Origin, proxy: Proxy) -> None:
    variant = answer(b"x", cache_control=FRESH, vary="Accept-Language")
    origin.on("/a", variant, variant, answer(b"done"), variant)
    for language in ("de", "en"):
        proxy.get("/a", accept_language=language)
    proxy.ask("DELETE", "/a")
    assert [proxy.get("/a", accept_language=language).x_cache for language in ("de", "en")] == ["MISS", "MISS"]


def test_the_answer_to_a_post_is_not_stored(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"posted", cache_control=FRESH), answer(b"got", cache_control=FRESH))
    assert proxy.ask("POST", "/a", b"x").body == b"posted"
    assert proxy.get("/a").body == b"got"


def test_the_answer_to_a_post_is_stored_when_it_says_that_a_get_would_get_it(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"posted", cache_control=FRESH, content_location="/a"))
    assert proxy.ask("POST", "/a", b"x").x_cache == "BYPASS"
    assert (hit := proxy.get("/a")).body == b"posted"
    assert hit.x_cache == "HIT"
    assert proxy.ask("POST", "/a", b"x").x_cache == "BYPASS"


def test_a_get_with_content_goes_through(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"stored", cache_control=FRESH), echo)
    proxy.get("/a")
    fat = proxy.ask("GET", "/a", b"which part?")
    assert (fat.x_cache, fat.body, origin.last.body) == ("BYPASS", b"which part?", b"which part?")
    assert proxy.get("/a").body == b"stored"


def test_an_empty_post_says_so(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", echo)
    assert proxy.ask("POST", "/a", b"").body == b""
    assert origin.last["Content-Length"] == "0"


@pytest.mark.parametrize("condition", [{"if_match": '"v1"'}, {"if_unmodified_since": "Fri, 20 Nov 2026 10:00:00 GMT"}])
def test_conditions_that_only_the_origin_can_judge_reach_it(
    origin: Origin, proxy: Proxy, condition: dict[str, str]
) -> None:
    origin.on("/a", answer(b"x", cache_control=FRESH, etag='"v1"'), answer(b"", 412))
    proxy.get("/a")
    assert proxy.get("/a", **condition).status == 412
    ((name, value),) = condition.items()
    assert origin.last[name.replace("_", "-")] == value


def test_asking_about_the_whole_server(origin: Origin, serve: Serve) -> None:
    proxy = serve(origin.url + "/base")
    origin.on("*", answer(b"", allow="GET"))
    assert proxy.ask("OPTIONS", "*")["Allow"] == "GET"


def test_options_that_may_go_no_further_is_answered_here(origin: Origin, proxy: Proxy) -> None:
    got = proxy.ask("OPTIONS", "/a", max_forwards=0)
    assert (got.status, origin.count("/a")) == (200, 0)
    assert "GET" in got["Allow"]


def test_options_goes_on_with_one_forward_less(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b""))
    assert proxy.ask("OPTIONS", "/a", max_forwards=3).status == 200
    assert origin.last["max-forwards"] == "2"
