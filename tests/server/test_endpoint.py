"""An endpoint opens, says where it is, and is removed once, by the process that opened it."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from springhouse.endpoint import CannotListen, Endpoint

if TYPE_CHECKING:
    from pathlib import Path


def test_a_port_of_a_host_has_a_url() -> None:
    endpoint = Endpoint.open("127.0.0.1", 0)
    try:
        assert endpoint.url == f"http://127.0.0.1:{endpoint.port}"
        socket.create_connection(("127.0.0.1", endpoint.port)).close()
    finally:
        endpoint.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_an_ipv6_address_stands_in_brackets() -> None:
    try:
        endpoint = Endpoint.open("::1", 0)
    except CannotListen:
        pytest.skip("this machine has no ::1")
    assert endpoint.url == f"http://[::1]:{endpoint.port}"
    endpoint.close()


def test_a_port_that_is_taken_is_said() -> None:
    endpoint = Endpoint.open("127.0.0.1", 0)
    try:
        with pytest.raises(CannotListen, match=f"Port {endpoint.port} is taken"):
            Endpoint.open("127.0.0.1", endpoint.port)
    finally:
        endpoint.close()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")
class TestUnixSockets:
    def test_it_is_removed_once(self, tmp_path: Path) -> None:
        path = tmp_path / "socket"
        endpoint = Endpoint.open("", 0, path)
        assert (endpoint.url, endpoint.port, path.is_socket()) == (str(path), 0, True)
        endpoint.remove()
        assert not path.exists()
        successor = Endpoint.open("", 0, path)
        endpoint.close()
        assert path.is_socket()
        successor.close()
        assert not path.exists()

    def test_one_that_no_process_listens_on_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        Endpoint.open("", 0, path).close()
        path.touch()
        with pytest.raises(CannotListen, match="is no socket"):
            Endpoint.open("", 0, path)

    def test_a_process_that_inherits_it_does_not_remove_it(self, tmp_path: Path) -> None:
        path = tmp_path / "socket"
        endpoint = Endpoint.open("", 0, path)
        heir = Endpoint.inherit([os.dup(descriptor) for descriptor in endpoint.descriptors])
        assert heir.path == path
        heir.close()
        assert path.is_socket()
        endpoint.close()
        assert not path.exists()
