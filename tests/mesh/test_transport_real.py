"""The client before a real kube-apiserver: its certificate, its tokens, client certificates, its clock, its permissions."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import loops
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from free_place import free_place

from chaosmesh_ext import errors
from chaosmesh_ext.lab import tools
from chaosmesh_ext.lab.identity import Authority
from chaosmesh_ext.lab.kube.apiserver import ApiServer
from chaosmesh_ext.mesh import Client
from chaosmesh_ext.mesh.connect import load
from chaosmesh_ext.mesh.transport import Kubeconfig

_MISSING = [name for name in ("etcd", "kube-apiserver") if tools.find(name) is None]
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=f"not built: {', '.join(_MISSING)}: chaos mesh lab tools")


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Issuer:
    """An authority for people's certificates."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "people")])
        own = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.root = own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
        )

    def person(self, name: str, group: str) -> tuple[bytes, bytes]:
        """A certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        words = [(NameOID.ORGANIZATION_NAME, group), (NameOID.COMMON_NAME, name)]
        subject = x509.Name([x509.NameAttribute(*word) for word in words])
        usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])
        made = self._builder(subject, key).add_extension(usage, critical=False).sign(self._key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM), pem(key)


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """The lab's kube-apiserver, told to accept certificates of people too."""
    folder = tmp_path_factory.mktemp("real")
    people = Issuer()
    (folder / "people.crt").write_bytes(people.root)
    program = folder / "program"
    program.write_text(f'#!/bin/sh\nexec {tools.need("kube-apiserver")} --client-ca-file={folder}/people.crt "$@"\n')
    program.chmod(0o700)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def call(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(90)

    kube = ApiServer(free_place(folder), etcd=tools.need("etcd"), program=program, definitions=[])
    try:
        call(kube.start())
        config = kube.kubeconfig()
        yield SimpleNamespace(
            people=people,
            cluster=config["clusters"][0]["cluster"],
            token=config["users"][0]["user"]["token"],
        )
    finally:
        call(kube.stop())
        loops.stop(loop)
        thread.join(10)
        loop.close()


@pytest.fixture
def client_of(real, tmp_path):
    """A client by a kubeconfig with this user, and changes to the cluster."""

    def made(user: dict, **cluster) -> Client:
        file = tmp_path / "kubeconfig"
        config = {
            "clusters": [{"name": "c", "cluster": {**real.cluster, **cluster}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        file.write_text(json.dumps(config))
        return Client(load(Kubeconfig((str(file),))))

    return made


def lease(name: str) -> dict:
    meta = {"namespace": "default", "name": name}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": {}}


def test_an_object_lives_by_token_and_authority(real, client_of):
    client = client_of({"token": real.token})
    made = client.create(lease("a"))
    version = made["metadata"]["resourceVersion"]
    ops = [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]
    client.json_patch("Lease", "default", "a", ops, version=version)
    with pytest.raises(errors.Conflict, match="changed meanwhile"):
        client.json_patch("Lease", "default", "a", ops, version=version)
    assert [one["metadata"]["name"] for one in client.list("Lease", labels="a=b")] == ["a"]
    with pytest.raises(errors.Conflict):
        client.delete("Lease", "default", "a", uid="00000000-0000-0000-0000-000000000000")
    client.delete("Lease", "default", "a", uid=made["metadata"]["uid"])
    assert client.find("Lease", "default", "a") is None
    client.close()
    assert client.list("Lease", labels="a=b") == []


def test_another_authority_is_not_believed(real, client_of):
    """Neither a wrong one, nor, without one, this machine's own."""

    wrong = base64.b64encode(Authority().root).decode()
    for cluster in ({"certificate-authority-data": wrong}, {"certificate-authority-data": ""}):
        with pytest.raises(errors.Unreachable, match="certificate verify failed"):
            client_of({"token": real.token}, **cluster).version()


def test_a_client_certificate_says_who_is_asking(real, client_of, tmp_path):
    cert, key = real.people.person("jane", "system:masters")
    (tmp_path / "c").write_bytes(cert)
    (tmp_path / "k").write_bytes(key)
    client = client_of({"client-certificate": "c", "client-key": "k"})
    assert client.may("delete", "Namespace", "")
    cert, key = real.people.person("joe", "nobodies")
    (tmp_path / "c").write_bytes(cert)
    (tmp_path / "k").write_bytes(key)
    client = client_of({"client-certificate": "c", "client-key": "k"})
    assert not client.may("list", "Lease", "default")
    with pytest.raises(errors.Forbidden, match='User "joe" cannot list resource "leases"'):
        client.list("Lease", "default")


def test_a_certificate_of_strangers_is_nobodys(real, client_of, tmp_path):
    cert, key = Issuer().person("jane", "system:masters")
    (tmp_path / "c").write_bytes(cert)
    (tmp_path / "k").write_bytes(key)
    with pytest.raises((errors.Unauthorized, errors.Unreachable)):
        client_of({"client-certificate": "c", "client-key": "k"}).list("Lease")


def test_who_to_act_as_counts(real, client_of):
    client = client_of({"token": real.token, "as": "jack", "as-groups": ["a", "b"]})
    with pytest.raises(errors.Forbidden, match='User "jack"'):
        client.list("Lease")


def test_a_wrong_token_is_refused_in_one_line(client_of):
    with pytest.raises(errors.Unauthorized, match="missing, wrong or expired") as raised:
        client_of({"token": "guessed"}).list("Lease")
    assert "guessed" not in str(raised.value)


def test_a_plugin_whose_first_token_is_no_longer_good_is_asked_again(real, client_of, tmp_path):
    """As when a cloud's token has run out while an experiment goes on."""
    version = "client.authentication.k8s.io/v1"
    script = tmp_path / "plugin"
    script.write_text(
        f"#!{sys.executable}\nimport json, os\n"
        f"new = os.path.exists({str(tmp_path / 'called')!r})\nopen({str(tmp_path / 'called')!r}, 'w').close()\n"
        f"print(json.dumps({{'apiVersion': {version!r}, 'kind': 'ExecCredential',"
        f" 'status': {{'token': {real.token!r} if new else 'old'}}}}))\n"
    )
    script.chmod(0o700)
    client = client_of({"exec": {"command": str(script), "apiVersion": version}})
    assert client.access.authorization == "Bearer old"
    made = client.create(lease("renewed"))
    client.delete("Lease", "default", "renewed", uid=made["metadata"]["uid"])


def test_the_servers_clock_is_read(real, client_of):
    client = client_of({"token": real.token})
    assert abs(client.server_time() - time.time()) < 3


def test_a_url_with_the_wrong_scheme_is_said_in_the_servers_words(real, client_of):
    with pytest.raises(errors.InvalidInput, match="speaks TLS, and its URL says http: correct `server`"):
        client_of({"token": real.token}, server=real.cluster["server"].replace("https:", "http:")).version()
