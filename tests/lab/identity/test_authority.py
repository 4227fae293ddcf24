"""The lab's certificate authority: what it signs is taken by real TLS peers, and nothing else is."""

import datetime
import ipaddress
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from chaosmesh_ext.lab.identity import Authority, Certificate


def parse(certificate: Certificate) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate.chain)


def names(certificate: Certificate) -> x509.SubjectAlternativeName:
    return parse(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def loaded(context: ssl.SSLContext, certificate: Certificate, tmp_path) -> ssl.SSLContext:
    (tmp_path / "chain.pem").write_bytes(certificate.chain)
    (tmp_path / "key.pem").write_bytes(certificate.key)
    context.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")
    return context


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """A real handshake; raises what the client found wrong."""
    left, right = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(left, server_side=True) as secured:
                secured.recv(1)
        except OSError:
            left.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(right, server_hostname=name) as secured:
            secured.send(b"x")
    finally:
        right.close()
        thread.join(10)


def client_trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.root.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # what newer Pythons do by themselves
    return context


def test_a_workload_is_named_by_its_service_account():
    certificate = Authority().workload("shop", "bookinfo-details")
    assert names(certificate).get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://cluster.local/ns/shop/sa/bookinfo-details"
    ]


def test_the_trust_domain_is_the_authoritys():
    certificate = Authority("td.example").workload("shop", "cart")
    assert "spiffe://td.example/ns/shop/sa/cart" in str(names(certificate))


def test_keys_are_of_the_curve_p_256():
    certificate = Authority().workload("default", "default")
    assert isinstance(parse(certificate).public_key().curve, ec.SECP256R1)
    assert b"BEGIN PRIVATE KEY" in certificate.key


def test_a_workload_keeps_its_certificate_and_differs_from_others():
    authority = Authority()
    assert authority.workload("a", "b") is authority.workload("a", "b")
    assert authority.workload("a", "b").chain != authority.workload("a", "c").chain


def test_a_certificate_lives_for_a_day_and_is_made_anew_half_way():
    authority = Authority()
    certificate = authority.workload("a", "b")
    left = parse(certificate).not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(hours=23) < left <= datetime.timedelta(hours=24)
    assert 11 * 3600 < certificate.renew_at - time.time() <= 12 * 3600


def test_one_that_is_due_is_replaced():
    authority = Authority(life=0.0)
    assert authority.workload("a", "b").chain != authority.workload("a", "b").chain


def test_a_server_is_named_by_dns_names_and_addresses():
    found = names(Authority().server("istiod.istio-system.svc", "127.80.0.1"))
    assert found.get_values_for_type(x509.DNSName) == ["istiod.istio-system.svc"]
    assert found.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.80.0.1")]


@pytest.mark.parametrize("name", ["istiod.istio-system.svc", "127.80.0.1"])
def test_a_strict_client_takes_a_servers_certificate(tmp_path, name):
    authority = Authority()
    server = loaded(
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
        authority.server("istiod.istio-system.svc", "127.80.0.1"),
        tmp_path,
    )
    handshake(server, client_trusting(authority), name)


def test_a_client_of_another_authority_does_not(tmp_path):
    server = loaded(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), Authority().server("here"), tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client_trusting(Authority()), "here")
