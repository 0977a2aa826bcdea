"""Redis over TLS, with certificates made for the test."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.stores.backends import make_entry
from tests.stores.redis_backend import asked, node
from tests.stores.test_redis_store import refused
from tests.support.redis_server import RedisServer, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = b"http://a.test/"


def certify(folder: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None):
    """Write NAME.pem and NAME.key, and return both; self-signed without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer:
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key())
        builder = builder.add_extension(authority, critical=False)
    certificate = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, key


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    authority = certify(tmp_path, "ca")
    certify(tmp_path, "server", authority)
    certify(tmp_path, "client", authority)
    port = free_port()
    files = {
        kind: f"{tmp_path}/{name}" for kind, name in (("ca", "ca.pem"), ("cert", "client.pem"), ("key", "client.key"))
    }
    tls = {"ssl": True, "ssl_ca_certs": files["ca"], "ssl_certfile": files["cert"], "ssl_keyfile": files["key"]}
    options = ("--port", "0", "--tls-port", str(port), "--tls-ca-cert-file", files["ca"])
    options += ("--tls-cert-file", f"{tmp_path}/server.pem", "--tls-key-file", f"{tmp_path}/server.key")
    running = RedisServer(tmp_path, *options, port=port, client=tls)
    running.files = files
    yield running
    running.close()


def test_a_certificate_opens(server: RedisServer) -> None:
    options = "&".join(f"{kind}={path}" for kind, path in server.files.items())

    async def test() -> None:
        async with node(f"rediss://127.0.0.1:{server.port}?{options}") as store:
            store.put(make_entry(KEY, b"x" * 1_000_000))
            (entry,) = await asked(store.lookup, KEY)
            assert entry.content == b"x" * 1_000_000

    asyncio.run(test())


def test_a_certificate_that_nobody_signed_is_said(server: RedisServer) -> None:
    said = asyncio.run(refused(f"rediss://127.0.0.1:{server.port}"))
    assert "shows a certificate that is not trusted" in said[0]


def test_no_certificate_of_ours_is_said(server: RedisServer) -> None:
    said = asyncio.run(refused(f"rediss://127.0.0.1:{server.port}?ca={server.files['ca']}"))
    assert "cannot be reached" in said[0]


def test_a_file_that_is_not_there_is_said(server: RedisServer) -> None:
    said = asyncio.run(refused(f"rediss://127.0.0.1:{server.port}?ca=/nowhere.pem"))
    assert "cannot be reached" in said[0]


def test_plain_talk_to_a_server_with_tls_is_said(server: RedisServer) -> None:
    said = asyncio.run(refused(f"redis://127.0.0.1:{server.port}"))
    assert "cannot be reached" in said[0]
