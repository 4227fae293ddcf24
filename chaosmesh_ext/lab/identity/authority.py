"""The lab's certificate authority: keys and certificates in memory, made when they are first asked for."""

from __future__ import annotations

import datetime
import functools
import ipaddress
import time

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chaosmesh_ext.istio.identities import TRUST_DOMAIN, spiffe_id

__all__ = ["Authority", "Certificate"]

_ROOT_LIFE_S = 10 * 365 * 86_400.0
_BACKDATED = datetime.timedelta(minutes=5)
_USAGES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


class Certificate(msgspec.Struct, frozen=True):
    """A certificate and its private key, both PEM. renew_at: when to get another, in seconds since the epoch."""

    chain: bytes
    key: bytes
    renew_at: float


class Authority:
    """Signs certificates with EC P-256 keys; nothing is ever written to disk.

    trust_domain: of the SPIFFE ids. life: of each certificate, in seconds; half-way through it is made anew.
    """

    def __init__(self, trust_domain: str = TRUST_DOMAIN, *, life: float = 86_400.0) -> None:
        self.trust_domain = trust_domain
        self._life = life
        self._made: dict[tuple[str, ...], Certificate] = {}

    @property
    def root(self) -> bytes:
        """The certificate that all others are to be checked against, PEM."""
        return self._root.public_bytes(serialization.Encoding.PEM)

    def spiffe_id(self, namespace: str, account: str) -> str:
        """``spiffe://cluster.local/ns/default/sa/bookinfo-details``."""
        return spiffe_id(namespace, account, self.trust_domain)

    def workload(self, namespace: str, account: str) -> Certificate:
        """The certificate of a service account, for both ends of mutual TLS; the same one until it must be renewed."""
        uri = self.spiffe_id(namespace, account)
        # no subject, so that the alternative name is critical: X.509-SVID, section 4.1
        return self._kept(("workload", uri), "", x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]))

    def server(self, *names: str) -> Certificate:
        """The certificate of a server that is called by these NAMES: DNS names and IP addresses."""
        san = x509.SubjectAlternativeName([_general_name(name) for name in names])
        return self._kept(("server", *names), names[0], san)

    def _kept(self, who: tuple[str, ...], subject: str, san: x509.SubjectAlternativeName) -> Certificate:
        known = self._made.get(who)
        if known is None or known.renew_at <= time.time():
            known = self._made[who] = self._issue(subject, san)
        return known

    def _issue(self, subject: str, san: x509.SubjectAlternativeName) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])] if subject else []
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        signed = (
            _builder(x509.Name(attributes), key.public_key(), self._life)
            .issuer_name(self._root.subject)
            .add_extension(san, critical=not subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage("digital_signature"), critical=True)
            .add_extension(_USAGES, critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Certificate(
            chain=signed.public_bytes(serialization.Encoding.PEM),
            key=key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            renew_at=time.time() + self._life / 2,
        )

    @functools.cached_property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(ec.SECP256R1())

    @functools.cached_property
    def _root(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.trust_domain)])
        public = self._key.public_key()
        return (
            _builder(name, public, _ROOT_LIFE_S)
            .issuer_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage("key_cert_sign"), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _builder(subject: x509.Name, public: ec.EllipticCurvePublicKey, life: float) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(seconds=life))
    )


def _key_usage(*names: str) -> x509.KeyUsage:
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in names for name in every})


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
