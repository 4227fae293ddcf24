"""The secret discovery service, asked by a real Envoy that serves with what it is given."""

import asyncio
import contextlib
import random
import socket
import ssl

import pytest
from cryptography import x509
from grpclib.client import Channel
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError

from chaosmesh_ext.errors import LabError
from chaosmesh_ext.lab.envoy import ADMIN_PORT, NodeInfo, Sidecar, bootstrap
from chaosmesh_ext.lab.identity import Authority, SdsServer
from chaosmesh_ext.lab.identity.protobuf import field
from chaosmesh_ext.lab.network import SDS_PORT

PORT = 9443
METHOD = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"


@pytest.fixture
def address():
    """A loopback address of our own whose ports are free."""
    for block in random.sample(range(64, 255), 40):
        host = f"127.{block}.{random.randint(1, 254)}.9"
        with contextlib.suppress(OSError):
            for port in (ADMIN_PORT, SDS_PORT, PORT):
                with contextlib.closing(socket.socket()) as probe:
                    probe.bind((host, port))
            return host
    raise AssertionError("no free address")


def secret(name):
    """How istiod points at a secret."""
    grpc = {"api_type": "GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": True}
    grpc["grpc_services"] = [{"envoy_grpc": {"cluster_name": "sds-grpc"}}]
    return {"name": name, "sds_config": {"api_config_source": grpc, "resource_api_version": "V3"}}


def serving(address, account="bookinfo-details", asked="default"):
    """A bootstrap with one listener that answers over mutual TLS, with the certificate ASKED for by name."""
    node = NodeInfo(
        name="details-v1-abc", namespace="shop", ip=address, admin=address, workload="d", labels={}, account=account
    )
    made = bootstrap(node, (address, 1), (address, SDS_PORT))
    del made["dynamic_resources"]
    tls = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_certificate_sds_secret_configs": [secret(asked)],
            "validation_context_sds_secret_config": secret("ROOTCA"),
        },
    }
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "x",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 204}}],
                }
            ]
        },
    }
    made["static_resources"]["listeners"] = [
        {
            "name": "secured",
            "address": {"socket_address": {"address": address, "port_value": PORT}},
            "filter_chains": [
                {
                    "transport_socket": {"name": "tls", "typed_config": tls},
                    "filters": [{"name": "http", "typed_config": manager}],
                }
            ],
        }
    ]
    return made


def trusting(authority, tmp_path, client):
    """A context that trusts AUTHORITY and shows the certificate CLIENT."""
    context = ssl.create_default_context(cadata=authority.root.decode())
    context.check_hostname = False
    (tmp_path / "client.pem").write_bytes(client.chain + client.key)
    context.load_cert_chain(tmp_path / "client.pem")
    return context


async def shown(address, context):
    """The certificate that the server at ADDRESS shows, once it has answered a request."""
    reader, writer = await asyncio.open_connection(address, PORT, ssl=context)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 204")
        return x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


def spiffe(certificate):
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.get_values_for_type(x509.UniformResourceIdentifier)


@contextlib.asynccontextmanager
async def running(*parts):
    async with contextlib.AsyncExitStack() as stack:
        for part in parts:
            stack.push_async_callback(part.stop)
            await part.start()
        yield


async def test_an_envoy_serves_with_the_identity_of_its_pod(address, tmp_path):
    authority = Authority()
    sidecar = Sidecar("details", serving(address), (address, ADMIN_PORT), tmp_path)
    async with running(SdsServer(authority, address, SDS_PORT), sidecar):
        await sidecar.ready()
        context = trusting(authority, tmp_path, authority.workload("shop", "productpage"))
        assert spiffe(await shown(address, context)) == ["spiffe://cluster.local/ns/shop/sa/bookinfo-details"]


async def test_it_refuses_the_certificate_of_a_stranger(address, tmp_path):
    authority = Authority()
    sidecar = Sidecar("details", serving(address), (address, ADMIN_PORT), tmp_path)
    async with running(SdsServer(authority, address, SDS_PORT), sidecar):
        await sidecar.ready()
        context = trusting(authority, tmp_path, Authority().workload("shop", "productpage"))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await shown(address, context)


async def test_a_certificate_that_is_due_is_replaced_on_the_open_stream(address, tmp_path):
    authority = Authority(life=5.0)
    sidecar = Sidecar("details", serving(address), (address, ADMIN_PORT), tmp_path)
    async with running(SdsServer(authority, address, SDS_PORT), sidecar):
        await sidecar.ready()

        async def number():
            context = trusting(authority, tmp_path, authority.workload("shop", "productpage"))
            return (await shown(address, context)).serial_number

        first = await number()
        async with asyncio.timeout(60):
            while await number() == first:
                await asyncio.sleep(0.05)


async def test_an_envoy_waits_for_a_server_that_comes_late(address, tmp_path):
    """Parts of a lab may start in any order."""
    authority = Authority()
    sidecar = Sidecar("details", serving(address), (address, ADMIN_PORT), tmp_path)
    async with running(sidecar):
        with pytest.raises(LabError):
            await sidecar.ready(timeout=0.5)
        async with running(SdsServer(authority, address, SDS_PORT)):
            await sidecar.ready()


class Bytes(CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message, message_type):
        return message

    def decode(self, data, message_type):
        return data


@contextlib.asynccontextmanager
async def stream(address):
    async with (
        Channel(address, SDS_PORT, codec=Bytes()) as channel,
        channel.request(METHOD, Cardinality.STREAM_STREAM, bytes, bytes) as opened,
    ):
        yield opened
        await opened.end()


async def asked(address, request_):
    async with stream(address) as opened:
        await opened.send_message(request_)
        return await opened.recv_message()


NODE = field(2, field(1, b"sidecar~127.0.0.1~pod.shop~shop.svc.cluster.local"))


async def test_an_acknowledgement_is_not_answered_and_a_new_name_is(address):
    async with running(SdsServer(Authority(), address, SDS_PORT)), stream(address) as opened:
        await opened.send_message(NODE + field(3, b"ROOTCA"))
        first = await opened.recv_message()
        assert b"BEGIN CERTIFICATE" in first
        await opened.send_message(field(1, b"1") + field(3, b"ROOTCA") + field(5, b"1"))
        await opened.send_message(field(1, b"1") + field(3, b"default") + field(5, b"1"))
        second = await opened.recv_message()
        assert b"BEGIN PRIVATE KEY" in second, "the acknowledgement was answered"


async def test_a_pod_without_a_service_account_in_its_metadata_is_the_default_one(address):
    authority = Authority()
    async with running(SdsServer(authority, address, SDS_PORT)), stream(address) as opened:
        await opened.send_message(NODE + field(3, b"default"))
        assert authority.workload("shop", "default").chain in await opened.recv_message()


async def test_a_secret_that_no_lab_has_is_said_in_the_log(address, caplog):
    async with running(SdsServer(Authority(), address, SDS_PORT)), stream(address) as opened:
        await opened.send_message(NODE + field(3, b"kubernetes://tls"))
        assert b"CERTIFICATE" not in await opened.recv_message()
    assert "asks for the secret kubernetes://tls, which no lab has" in caplog.text


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (field(3, b"default"), "must say which node asks"),
        (field(2, field(1, b"somebody")) + field(3, b"default"), "'somebody' is not the id of a proxy"),
        (b"\x0f", "not protobuf: wire type 7"),
        (b"\x1a\x20abc", "ends after the message"),
        (b"\x80", "ends within a number"),
    ],
)
async def test_nonsense_is_refused_in_words(address, request_, words):
    async with running(SdsServer(Authority(), address, SDS_PORT)):
        with pytest.raises(GRPCError) as caught:
            await asked(address, request_)
    assert caught.value.status is Status.INVALID_ARGUMENT
    assert words in caught.value.message


async def test_a_taken_address_is_said_with_its_port(address):
    async with running(SdsServer(Authority(), address, SDS_PORT)):
        with pytest.raises(LabError, match=rf"secret discovery service cannot listen on {address}:{SDS_PORT}"):
            await SdsServer(Authority(), address, SDS_PORT).start()
