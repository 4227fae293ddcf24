"""etcd and kube-apiserver: how they are started, and what they say when they die."""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chaosmesh_ext.lab.identity import Authority
from chaosmesh_ext.lab.kube.api import CONTEXT
from chaosmesh_ext.lab.network import API_PORT, ETCD_PEER_PORT, ETCD_PORT
from chaosmesh_ext.lab.process import Process
from chaosmesh_ext.lab.state import LAB_VARIABLE

__all__ = ["Secrets", "Words", "api_server", "etcd", "secrets_below"]

_TAIL = 1024 * 1024
"""Bytes of a log in which last words are looked for: Go writes the stacks of all goroutines after them."""
_CERTIFICATE_LIFE_S = 10 * 365 * 86_400.0
_KLOG = re.compile(r"[EF]\d{4} [\d:.]+ +\d+ [^ \]]+\] (.+)")
_HARMLESS = "Found stale data, removed previous endpoints"
"""What every kube-apiserver without an endpoint reconciler complains of."""
_OTHER = re.compile(r"(panic|fatal error|runtime|SIG[A-Z]+|[Ee]rror): .+")

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
        "log-level": "warn",
    }
    return Words("etcd", [str(program), "--unsafe-no-fsync", *_flags(options)], log, _environment())


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
    environment = {**_environment(), "GOMEMLIMIT": "350MiB"}
    return Words("kube-apiserver", [str(program), *_flags(options)], log, environment)


def _flags(options: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]


def _runtime(group_version: str) -> str:
    return group_version if "/" in group_version else f"api/{group_version}"


def _environment() -> dict[str, str]:
    """Nothing of the user's: etcd reads ETCD_…, and both would go through a proxy."""
    return {key: os.environ[key] for key in (LAB_VARIABLE,) if key in os.environ}


class Words(Process):
    """A Go program, whose log has stack traces and JSON: its last words are what it says was wrong."""

    def last_words(self, lines: int = 1) -> str:
        """The last LINES complaints of its log; the last line when it complains of nothing."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
                text = file.read().decode(errors="replace")
        except OSError:
            text = ""
        words = [word for line in text.splitlines() if (word := _complaint(line))]
        return " | ".join(words[-lines:]) or super().last_words(1)


def _complaint(line: str) -> str:
    """What LINE says is wrong: an error in klog's words or in JSON, a panic, a wrong flag."""
    if line.startswith("{"):
        try:
            record = json.loads(line)
        except ValueError:
            return ""
        if record.get("level") not in ("error", "dpanic", "panic", "fatal"):
            return ""
        return ": ".join(str(record[key]) for key in ("msg", "error") if record.get(key))
    if said := _KLOG.match(line):
        return "" if said[1].startswith(_HARMLESS) else said[1]
    return line if _OTHER.fullmatch(line) else ""
