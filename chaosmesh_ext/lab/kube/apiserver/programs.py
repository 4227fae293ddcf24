"""etcd and kube-apiserver: how they are started, and the secrets that they need."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chaosmesh_ext.lab.identity import Authority
from chaosmesh_ext.lab.kube.api import CONTEXT
from chaosmesh_ext.lab.network import API_PORT, ETCD_PEER_PORT, ETCD_PORT
from chaosmesh_ext.lab.process import Process

__all__ = ["Secrets", "api_server", "etcd", "secrets_below"]

_CERTIFICATE_LIFE_S = 10 * 365 * 86_400.0
_HARMLESS = ("The manifest file is empty", "Found stale data, removed previous endpoints")
"""What every kube-apiserver without an endpoint reconciler complains of at its start."""

_SERVED = (
    "v1",
    "admissionregistration.k8s.io/v1",
    "apiextensions.k8s.io/v1",
    "apiregistration.k8s.io/v1",
    "apps/v1",
    "authentication.k8s.io/v1",
    "authorization.k8s.io/v1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "events.k8s.io/v1",
    "networking.k8s.io/v1",
    "policy/v1",
    "rbac.authorization.k8s.io/v1",
)
"""What a mesh is made of. Each group that is left out saves memory, and a second of the start."""

_NOT_ADMITTING = (
    # of groups that are not served: they would wait for them for ever
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "ClusterTrustBundleAttest",
    "DefaultIngressClass",
    "DefaultStorageClass",
    "NodeDeclaredFeatureValidator",
    "PersistentVolumeClaimResize",
    "PodTopologyLabels",
    "Priority",
    "RuntimeClass",
    "StorageObjectInUseProtection",
    # of controllers that a lab has not: no account would ever get its token, no node lose its taint
    "ServiceAccount",
    "TaintNodesByCondition",
)


class Secrets(msgspec.Struct, frozen=True):
    """What the API server identifies itself and its clients by.

    token: the administrator's. root: PEM, what clients check the API server against. certificate, key: its own and the
    kubelet's. files: the folder with all of them.
    """

    token: str
    root: bytes
    files: Path

    @property
    def certificate(self) -> Path:
        """The chain that the API server and the lab's kubelet show."""
        return self.files / "server.crt"

    @property
    def key(self) -> Path:
        """Its private key."""
        return self.files / "server.key"


def secrets_below(directory: Path, host: str) -> Secrets:
    """New secrets for a server at HOST, written below DIRECTORY for nobody but the user."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = Authority(life=_CERTIFICATE_LIFE_S)
    serving, calling = authority.server(host), authority.server("kube-apiserver")
    accounts = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    token = secrets.token_urlsafe(32)
    for name, content in (
        ("root.crt", authority.root),
        ("server.crt", serving.chain),
        ("server.key", serving.key),
        ("client.crt", calling.chain),
        ("client.key", calling.key),
        ("accounts.key", accounts),
        ("tokens.csv", f"{token},{CONTEXT},{CONTEXT},system:masters\n".encode()),
    ):
        path = directory / name
        path.unlink(missing_ok=True)
        path.touch(0o600)
        path.write_bytes(content)
    return Secrets(token=token, root=authority.root, files=directory)


def etcd(program: Path, host: str, data: Path, log: Path) -> Process:
    """An etcd of one member, which need not survive a crash of the machine; DATA must be empty."""
    clients, peers = f"http://{host}:{ETCD_PORT}", f"http://{host}:{ETCD_PEER_PORT}"
    options = {
        "data-dir": data,
        "listen-client-urls": clients,
        "advertise-client-urls": clients,
        "listen-peer-urls": peers,
        "initial-advertise-peer-urls": peers,
        "initial-cluster": f"default={peers}",
        # it elects itself: with etcd's own times that takes up to a second
        "heartbeat-interval": 10,
        "election-timeout": 100,
        # a watch that names no version waits until the API server has heard that its cache is up to date
        "experimental-watch-progress-notify-interval": "500ms",
        "log-level": "warn",
    }
    return Process("etcd", [str(program), "--unsafe-no-fsync", *_flags(options)], log)


def api_server(program: Path, host: str, files: Secrets, log: Path) -> Process:
    """A kube-apiserver over the etcd at HOST."""
    below = files.files
    options = {
        "etcd-servers": f"http://{host}:{ETCD_PORT}",
        "bind-address": host,
        "advertise-address": host,
        "secure-port": API_PORT,
        "tls-cert-file": files.certificate,
        "tls-private-key-file": files.key,
        "token-auth-file": below / "tokens.csv",
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": below / "accounts.key",
        "service-account-signing-key-file": below / "accounts.key",
        "service-cluster-ip-range": "10.96.0.0/16",
        "kubelet-certificate-authority": below / "root.crt",
        "kubelet-client-certificate": below / "client.crt",
        "kubelet-client-key": below / "client.key",
        "kubelet-preferred-address-types": "InternalIP",
        # EndpointSlices refuse loopback addresses
        "endpoint-reconciler-type": "none",
        "disable-admission-plugins": ",".join(_NOT_ADMITTING),
        "runtime-config": ",".join(["api/all=false", *(f"{_runtime(name)}=true" for name in _SERVED)]),
        "enable-priority-and-fairness": "false",
        "profiling": "false",
    }
    # as fast as without, and 120 MB less (measured); it is a soft limit
    environment = {"GOMEMLIMIT": "350MiB"}
    return Process("kube-apiserver", [str(program), *_flags(options)], log, environment, harmless=_HARMLESS)


def _flags(options: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]


def _runtime(group_version: str) -> str:
    return group_version if "/" in group_version else f"api/{group_version}"
